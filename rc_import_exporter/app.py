"""Puts the parts together, starts them, and stops them in order. `cli` runs it; tests run it in virtual time."""

import asyncio
import ssl
from collections.abc import Callable
from types import MappingProxyType
from typing import NoReturn

import aiohttp
from aiohttp import web

from rc_import_exporter import build, clock, schedule
from rc_import_exporter.client import Access, Client, open_session
from rc_import_exporter.exposition import Exposition
from rc_import_exporter.keyring import Keyring
from rc_import_exporter.poller import Poller
from rc_import_exporter.resolver import Resolver
from rc_import_exporter.settings import Settings, Workspace
from rc_import_exporter.snapshot import Record, Snapshot
from rc_import_exporter.store import Store
from rc_import_exporter.tls import Tls
from rc_import_exporter.web import Publisher, Server, create_application, index


class App:
    """The exporter: pollers, store, and the server that publishes.

    `now` gives Unix seconds. Construction reads credentials and TLS files, and raises `CredentialsError` or
    `ConfigurationError` where they cannot be used.
    """

    def __init__(self, settings: Settings, now: Callable[[], float] = clock.now) -> None:
        self._settings = settings
        self._now = now
        self._keyrings = {
            name: Keyring(workspace.credentials, now, name) for name, workspace in settings.workspaces.items()
        }
        contexts = {tls: tls.context() for tls in {each.tls for each in settings.workspaces.values()} - {Tls()}}
        self._accesses = {
            name: _access(workspace, contexts.get(workspace.tls)) for name, workspace in settings.workspaces.items()
        }
        self.store = Store(self._unpolled())
        publisher = Publisher(lambda: self.store.snapshot, now, Exposition())
        self._server = Server(create_application([*publisher.routes, web.get("/", index)]))
        self._session: aiohttp.ClientSession | None = None
        self._pollers: list[asyncio.Task[NoReturn]] = []

    async def start(self) -> int:
        """Listens, then begins to poll; gives the port. Raises `OSError` where it cannot listen."""
        listen = self._settings.web.listen
        port = await self._server.start(listen.host, listen.port)
        self._session = open_session(Resolver())
        for name, access in self._accesses.items():
            client = Client(self._session, access, self._now)
            poller = Poller(name, client, self._keyrings[name], self.store, self._now)
            self._pollers.append(asyncio.create_task(poller.run(self._first_poll(name)), name=f"poller {name}"))
        return port

    async def stop(self) -> None:
        """Ends polls under way, then connections, then the server."""
        for poller in self._pollers:
            poller.cancel()
        await asyncio.gather(*self._pollers, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        await self._server.stop()

    def _unpolled(self) -> Snapshot:
        records = {
            name: Record(target=workspace.target, credentials_loaded=self._keyrings[name].loaded_at)
            for name, workspace in self._settings.workspaces.items()
        }
        return Snapshot(build=build.current(), records=MappingProxyType(records), configured_at=self._now())

    def _first_poll(self, name: str) -> float:
        interval = self._settings.workspaces[name].target.poll_interval
        return schedule.first_poll(name, len(self._settings.workspaces), interval)


def _access(workspace: Workspace, context: ssl.SSLContext | None) -> Access:
    proxy_url = workspace.proxy_url
    return Access(
        url=workspace.url.get_secret_value(),
        timeout=workspace.timeout,
        max_bytes=workspace.max_response_bytes,
        tls=context,
        server_name=workspace.tls.server_name,
        proxy_url=None if proxy_url is None else proxy_url.get_secret_value(),
    )
