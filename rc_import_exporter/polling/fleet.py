"""The pollers of all configured workspaces. They share one HTTP session and one store."""

import asyncio
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NoReturn, cast

import aiohttp

from rc_import_exporter import build, clock, descriptors, logs
from rc_import_exporter.config import layer
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.config.settings import Settings, Workspace
from rc_import_exporter.config.tls import Trust
from rc_import_exporter.core import schedule
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.core.store import Store
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.polling.poller import Poller
from rc_import_exporter.rocketchat.client import Access, Client, identity, keep_connections, open_session
from rc_import_exporter.rocketchat.host_names import Resolver
from rc_import_exporter.turns import Turns, all_taken

AT_ONCE: Final = 32
"""Workspaces that `poll_once` polls at the same time."""
NAMED_AT_MOST: Final = 20
"""Workspaces that one log line names."""
UNVERIFIED: Final = "tls.verify is false: anyone on the network path can read the token"


class Fleet:
    """One poller for each workspace in the settings, or for each of this exporter's shard.

    `now` gives Unix seconds, and `store` makes the store that the pollers write to. The constructor reads credentials
    and TLS files. It raises `CredentialsError` or `ConfigurationError` if they cannot be used.
    """

    def __init__(
        self, settings: Settings, now: Callable[[], float] = clock.now, store: Callable[[Snapshot], Store] = Store
    ) -> None:
        self._now = now
        self._members: Mapping[str, _Member] = all_taken(self._enlisted(settings, {}))
        self.store = store(all_taken(_fresh(settings, self._members, now())))
        self._places = asyncio.Semaphore(max(1, descriptors.share() // 2))
        self._session: aiohttp.ClientSession | None = None
        self._pollers: dict[str, Poller] = {}
        self._tasks: dict[str, asyncio.Task[NoReturn]] = {}

    async def start(self, *, spread: bool = True) -> None:
        """Starts polling: all workspaces at once or, with `spread`, each a little after the other."""
        self._open()
        self._begin(self._members, spread=spread)

    async def poll_once(self) -> None:
        """Polls every workspace once, then closes the connections."""
        session = self._open()
        places = asyncio.Semaphore(AT_ONCE)

        async def attempt(name: str) -> None:
            async with places:
                await self._poller(name, session).attempt()

        try:
            await asyncio.gather(*map(attempt, self._members))
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Cancels running polls, then closes the connections."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def reconfigure(self, settings: Settings) -> None:
        """Takes over new settings while polling goes on.

        Workspaces whose settings are the same keep their pollers. Endpoints that rest after a failure are called soon.
        Raises `CredentialsError` or `ConfigurationError`, and changes nothing then.
        """
        # In turns, because polls, probes and scrapes would wait for thousands of workspaces.
        members = await Turns().others(self._enlisted(settings, self._members))
        fresh = await Turns().others(_fresh(settings, members, self._now()))
        gone = [name for name, member in self._members.items() if members.get(name) is not member]
        tasks = [self._tasks.pop(name) for name in gone if name in self._tasks]
        for task in tasks:
            task.cancel()
        # From here to the last poller nothing waits, so no poll sees half of the new settings.
        self._members = members
        self._pollers = {name: poller for name, poller in self._pollers.items() if name not in gone}
        if settings.refused is not None:
            fresh = replace(fresh, configured_at=self.store.snapshot.configured_at, configured_well=False)
        self.store.reconfigure(fresh)
        if self._session is not None:
            keep_connections(self._session, keep=self._keeps)
            self._begin([name for name in members if name not in self._tasks], spread=True)
            await Turns().others(self._wake())
        await asyncio.gather(*tasks, return_exceptions=True)

    def _enlisted(
        self, settings: Settings, known: Mapping[str, "_Member"]
    ) -> Generator[None, None, dict[str, "_Member"]]:
        """The members by name: those that are known if they have the same settings, else new ones."""
        trusts = {member.workspace.tls: member.trust for member in known.values() if member.trust is not None}
        members = {}
        for name, workspace in settings.workspaces.items():
            if settings.shard is not None and not settings.shard.holds(name):
                continue
            external_url = settings.web.links.external_url
            member = known.get(name)
            if member is None or (member.workspace, member.external_url) != (workspace, external_url):
                if workspace.tls not in trusts and workspace.uses_tls:
                    trusts[workspace.tls] = Keyring(workspace.tls, self._now, what="certificates")
                keyring = Keyring(workspace.credentials, self._now, name)
                trust = trusts.get(workspace.tls)
                member = _Member(workspace=workspace, keyring=keyring, trust=trust, external_url=external_url)
            members[name] = member
            yield
        return members

    @property
    def _keeps(self) -> bool:
        # Idle connections are kept only if the process may open enough files for all of them.
        return len(self._members) <= descriptors.share()

    def _open(self) -> aiohttp.ClientSession:
        self._session = open_session(Resolver(), keep=self._keeps)
        return self._session

    def _begin(self, names: Collection[str], *, spread: bool) -> None:
        """Starts the pollers of these members."""
        unverified = sorted(name for name in names if not self._members[name].workspace.tls.verify)
        if unverified:
            shown = ",".join(unverified[:NAMED_AT_MOST])
            logs.logger().warning(UNVERIFIED, workspaces=len(unverified), names=shown)
        for name in names:
            poller = self._pollers[name] = self._poller(name, cast(aiohttp.ClientSession, self._session))
            delay = self._delay(name) if spread else 0.0
            self._tasks[name] = asyncio.create_task(poller.run(delay), name=f"poller {name}")

    def _wake(self) -> Generator[None, None, None]:
        """Polls the workspaces that have an endpoint to call again soon."""
        for name, poller in self._pollers.items():
            if any(feed.retry for feed in self.store.record(name).feeds.values()):
                poller.wake(self._delay(name))
            yield

    def _delay(self, name: str) -> float:
        return schedule.first_poll(name, len(self._members), self._members[name].workspace.target.poll_interval)

    def _poller(self, name: str, session: aiohttp.ClientSession) -> Poller:
        member = self._members[name]
        client = Client(session, member.access, self._now, self._places)
        return Poller(name, client, member.keyring, self.store, self._now, member.trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A workspace of the fleet, with what its calls present. Workspaces with the same `tls` options share `trust`."""

    workspace: Workspace
    keyring: Keyring[Credentials]
    trust: Keyring[Trust] | None
    external_url: str

    @property
    def access(self) -> Access:
        """How to reach it."""
        workspace, trust = self.workspace, self.trust
        proxy_url = workspace.proxy_url
        return Access(
            url=workspace.url.get_secret_value(),
            timeout=workspace.timeout,
            max_bytes=workspace.max_response_bytes,
            tls=lambda: None if trust is None else trust.current.context,
            server_name=workspace.tls.server_name,
            proxy_url=None if proxy_url is None else proxy_url.get_secret_value(),
            user_agent=identity(self.external_url),
        )


def _fresh(settings: Settings, members: Mapping[str, _Member], now: float) -> Generator[None, None, Snapshot]:
    """A snapshot without any poll."""
    records = {}
    for name, member in members.items():
        records[name] = Record(target=member.workspace.target, credentials_loaded=member.keyring.loaded_at)
        yield
    return Snapshot(
        build=build.current(),
        records=MappingProxyType(records),
        configured_at=now,
        links=settings.web.links,
        shard=settings.shard,
        elsewhere=frozenset(settings.workspaces.keys() - members.keys()),
    )


def chosen(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings with these workspaces only, or with all of them if there is no name, whatever the shard.

    Raises `ConfigurationError` for a workspace that is not configured.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in settings.workspaces]
    if unknown:
        known = ", ".join(sorted(settings.workspaces)[:20])
        told = dict.fromkeys(f"{_shown(name)}: no such workspace is configured; there are {known}" for name in unknown)
        raise ConfigurationError(list(told))
    kept = {name: workspace for name, workspace in settings.workspaces.items() if not names or name in names}
    return replace(settings, workspaces=MappingProxyType(kept), shard=None)


def _shown(name: str) -> str:
    """The name as it is safe to print. A word with capital letters is no workspace's name and could be a secret."""
    return layer.name((name if name == name.lower() else "…",))
