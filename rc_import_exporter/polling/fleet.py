"""The pollers of all configured workspaces, over one HTTP session and one store. `app` runs them for as long as it
runs; `check` and `once` poll once, `watch` until an import has ended.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NoReturn

import aiohttp

from rc_import_exporter import build, clock, limits
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
from rc_import_exporter.rocketchat.resolver import Resolver

AT_ONCE: Final = 32
"""Workspaces that are polled side by side where all of them are polled once."""


class Fleet:
    """One poller for each workspace of the settings.

    `now` gives Unix seconds; `store` makes the cell that they write to. Construction reads credentials and TLS files,
    and raises `CredentialsError` or `ConfigurationError` where they cannot be used.
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
        """Begins to poll: at once, or, with `spread`, one workspace soon after the other."""
        for name, poller in self._pollers().items():
            delay = self._first_poll(name) if spread else 0.0
            self._tasks.append(asyncio.create_task(poller.run(delay), name=f"poller {name}"))

    async def poll_once(self) -> None:
        """Polls every workspace once, and ends."""
        places = asyncio.Semaphore(AT_ONCE)

        async def attempt(poller: Poller) -> None:
            async with places:
                await poller.attempt()

        try:
            await asyncio.gather(*(attempt(poller) for poller in self._pollers().values()))
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Ends polls under way, then connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _pollers(self) -> dict[str, Poller]:
        share = limits.share()
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
        return Snapshot(build=build.current(), records=MappingProxyType(records), configured_at=self._now())

    def _first_poll(self, name: str) -> float:
        interval = self._settings.workspaces[name].target.poll_interval
        return schedule.first_poll(name, len(self._settings.workspaces), interval)


def chosen(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings with these workspaces alone, or as they are where none is named.

    Raises `ConfigurationError` for names that are not configured.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in settings.workspaces]
    if unknown:
        known = ", ".join(sorted(settings.workspaces)[:20])
        told = dict.fromkeys(f"{_shown(name)}: no such workspace is configured; there are {known}" for name in unknown)
        raise ConfigurationError(list(told))
    kept = {name: workspace for name, workspace in settings.workspaces.items() if not names or name in names}
    return replace(settings, workspaces=MappingProxyType(kept))


def _shown(name: str) -> str:
    """The word as it may be repeated: a stray one could be a secret, and no workspace's name has capital letters."""
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
