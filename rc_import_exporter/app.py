"""Puts the parts together, starts them, and stops them in order."""

import asyncio
import signal
from collections.abc import Callable

from rc_import_exporter import clock
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.server import Publisher, Server, create_application


class App:
    """The exporter: its pollers, and the server that publishes what they store.

    `now` gives Unix seconds. Construction reads credentials and TLS files, and raises `CredentialsError` or
    `ConfigurationError` if they cannot be used. With `demo` the pages say that the servers are simulated.
    """

    def __init__(self, settings: Settings, now: Callable[[], float] = clock.now, *, demo: bool = False) -> None:
        self._settings = settings
        self._fleet = Fleet(settings, now)
        self.store = self._fleet.store
        publisher = Publisher(lambda: self.store.snapshot, now, Exposition())
        pages = Pages(lambda: self.store.snapshot, now, demo=demo)
        self._server = Server(create_application([*publisher.routes, *pages.routes]))

    async def start(self) -> int:
        """Starts to listen, then to poll, and returns the port. Raises `OSError` if it cannot listen."""
        listen = self._settings.web.listen
        port = await self._server.start(listen.host, listen.port)
        await self._fleet.start()
        return port

    async def stop(self) -> None:
        """Ends running polls, then connections, then the server."""
        await self._fleet.stop()
        await self._server.stop()

    async def serve(self, announce: Callable[[int], None]) -> None:
        """Runs until SIGINT or SIGTERM. Calls `announce` with the port once it listens. Raises `OSError`."""
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        announce(await self.start())
        await ended.wait()
        await self.stop()
