"""Puts the parts together, starts them, and stops them in order. `cli` runs it; tests run it in virtual time."""

from collections.abc import Callable

from rc_import_exporter import clock
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.server import Publisher, Server, create_application


class App:
    """The exporter: its pollers, and the server that publishes what they put into the store.

    `now` gives Unix seconds. Construction reads credentials and TLS files, and raises `CredentialsError` or
    `ConfigurationError` where they cannot be used.
    """

    def __init__(self, settings: Settings, now: Callable[[], float] = clock.now) -> None:
        self._settings = settings
        self._fleet = Fleet(settings, now)
        self.store = self._fleet.store
        publisher = Publisher(lambda: self.store.snapshot, now, Exposition())
        pages = Pages(lambda: self.store.snapshot, now)
        self._server = Server(create_application([*publisher.routes, *pages.routes]))

    async def start(self) -> int:
        """Listens, then begins to poll; gives the port. Raises `OSError` where it cannot listen."""
        listen = self._settings.web.listen
        port = await self._server.start(listen.host, listen.port)
        await self._fleet.start()
        return port

    async def stop(self) -> None:
        """Ends polls under way, then connections, then the server."""
        await self._fleet.stop()
        await self._server.stop()
