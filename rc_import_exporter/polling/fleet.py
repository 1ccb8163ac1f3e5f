"""The pollers of all configured workspaces. They share one HTTP session and one store."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NoReturn

import aiohttp

from rc_import_exporter import build, clock, descriptors
from rc_import_exporter.config import layer
from rc_import_exporter.config.settings import Settings, Workspace
from rc_import_exporter.config.tls import Tls
from rc_import_exporter.core import schedule
from rc_import_exporter.core.domain import Api
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.core.store import Store
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.polling.poller import Poller
from rc_import_exporter.rocketchat.client import Access, Client, open_session
from rc_import_exporter.rocketchat.host_names import Resolver

AT_ONCE: Final = 32
"""Workspaces that `poll_once` polls at the same time."""


class Fleet:
    """One poller for each workspace in the settings.

    `now` gives Unix seconds, and `store` makes the store that the pollers write to. The constructor reads credentials
    and TLS files. It raises `CredentialsError` or `ConfigurationError` if they cannot be used.
    """

    def __init__(
        self, settings: Settings, now: Callable[[], float] = clock.now, store: Callable[[Snapshot], Store] = Store
    ) -> None:
        self._settings = settings
        self._now = now
        self._keyrings = {
            name: Keyring(workspace.credentials, now, name) for name, workspace in settings.workspaces.items()
        }
        contexts = {tls: tls.context() for tls in {each.tls for each in settings.workspaces.values()} - {Tls()}}
        self._accesses = {
            name: _access(workspace, contexts.get(workspace.tls)) for name, workspace in settings.workspaces.items()
        }
        self.store = store(self._unpolled())
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[NoReturn]] = []

    async def start(self, *, spread: bool = True) -> None:
        """Starts polling: all workspaces at once or, with `spread`, each a little after the other."""
        workspaces = self._settings.workspaces
        for name, poller in self._pollers().items():
            interval = workspaces[name].target.poll_interval
            delay = schedule.first_poll(name, len(workspaces), interval) if spread else 0.0
            self._tasks.append(asyncio.create_task(poller.run(delay), name=f"poller {name}"))

    async def poll_once(self) -> None:
        """Polls every workspace once, then closes the connections."""
        places = asyncio.Semaphore(AT_ONCE)

        async def attempt(poller: Poller) -> None:
            async with places:
                await poller.attempt()

        try:
            await asyncio.gather(*(attempt(poller) for poller in self._pollers().values()))
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Cancels running polls, then closes the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _pollers(self) -> dict[str, Poller]:
        # Idle connections are kept only if the process may open enough files for all of them.
        share = descriptors.share()
        places = asyncio.Semaphore(share)
        self._session = session = open_session(Resolver(), keep=len(self._accesses) * len(Api) <= share)
        clients = {name: Client(session, access, self._now, places) for name, access in self._accesses.items()}
        return {
            name: Poller(name, client, self._keyrings[name], self.store, self._now) for name, client in clients.items()
        }

    def _unpolled(self) -> Snapshot:
        records = {
            name: Record(target=workspace.target, credentials_loaded=self._keyrings[name].loaded_at)
            for name, workspace in self._settings.workspaces.items()
        }
        return Snapshot(
            build=build.current(),
            records=MappingProxyType(records),
            configured_at=self._now(),
            links=self._settings.web.links,
        )


def chosen(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings with these workspaces only, or with all of them if there is no name.

    Raises `ConfigurationError` for a workspace that is not configured.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in settings.workspaces]
    if unknown:
        known = ", ".join(sorted(settings.workspaces)[:20])
        told = dict.fromkeys(f"{_shown(name)}: no such workspace is configured; there are {known}" for name in unknown)
        raise ConfigurationError(list(told))
    kept = {name: workspace for name, workspace in settings.workspaces.items() if not names or name in names}
    return replace(settings, workspaces=MappingProxyType(kept))


def _shown(name: str) -> str:
    """The name as it is safe to print. A word with capital letters is no workspace's name and could be a secret."""
    return layer.name((name if name == name.lower() else "…",))


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
