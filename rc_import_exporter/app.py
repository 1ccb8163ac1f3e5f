"""Puts the parts together, starts them, and stops them in order."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

from rc_import_exporter import clock, garbage, logs, signals
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.polling.reloading import Reloader
from rc_import_exporter.systemd import ServiceManager
from rc_import_exporter.turns import Turns
from rc_import_exporter.web.auth import Guard
from rc_import_exporter.web.lifecycle import Lifecycle
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application


class App:
    """The exporter: its pollers, and the server that publishes what they store.

    `now` gives Unix seconds. `load` gets the settings in use and reads new ones for a reload; without it they stay the
    same. `manager` is told when the exporter is ready, reloads and stops. With `demo` the pages say that the servers
    are simulated. Construction reads credentials and TLS files, and raises `CredentialsError` or `ConfigurationError`
    if they cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float] = clock.now,
        load: Callable[[Settings], Awaitable[Settings]] | None = None,
        manager: ServiceManager | None = None,
        *,
        demo: bool = False,
    ) -> None:
        async def same(last: Settings) -> Settings:
            return last

        self._settings = settings
        self._fleet = Fleet(settings, now)
        self.store = self._fleet.store
        self._manager = ServiceManager({}) if manager is None else manager
        self.reloader = Reloader(settings, self._fleet, load or same, self._manager)

        def snapshot() -> Snapshot:
            self.store.note_dropped_log_lines(logs.dropped())
            return self.store.snapshot

        exposition, turns = Exposition(), Turns()
        self._publisher = publisher = Publisher(snapshot, now, exposition, turns)
        pages = Pages(lambda: self.store.snapshot, now, turns, demo=demo)
        lifecycle = Lifecycle(self.reloader.reload, enabled=settings.web.enable_lifecycle)
        guard = Guard(settings.web.config_file, settings.web.protection, now, self.store.note_web_configuration)
        routes = [route for each in (publisher, pages, lifecycle) for route in each.routes]
        self._server = Server(create_application(routes), guard)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Starts to listen, then to poll, and returns the port. Raises `OSError` if it cannot listen."""
        listen = self._settings.web.listen
        port = await self._server.start(listen.host, listen.port)
        await self._fleet.start()
        self._begin(self._publisher.prepare())
        if self._settings.auto_reload:
            self._begin(self.reloader.watch())
        return port

    async def stop(self) -> None:
        """Ends running polls, then connections, then the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._fleet.stop()
        await self._server.stop()

    def hang_up(self) -> None:
        """Reloads the configuration: the handler of SIGHUP."""

        async def reload() -> None:
            with suppress(ConfigurationError):
                await self.reloader.reload()

        self._begin(reload())

    async def serve(self, announce: Callable[[int], None]) -> None:
        """Runs until SIGINT or SIGTERM. Calls `announce` with the port once it listens. Raises `OSError`."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        signals.end_by(lambda: loop.call_soon_threadsafe(ended.set))
        signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(self.hang_up))
        with _woken_by_signals(loop), garbage.searched_while_young():
            announce(await self.start())
            self._manager.tell("READY=1")
            self._begin(self._manager.feed_watchdog())
            await ended.wait()
            self._manager.tell("STOPPING=1")
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            await self.stop()

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Lets a signal wake the loop, so that Python calls the handler.

    `loop.add_signal_handler` does this too, but a loop that closes restores the default action, which kills.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, reader.recv, 64)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            loop.remove_reader(reader)
