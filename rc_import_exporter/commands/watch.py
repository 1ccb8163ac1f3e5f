"""The command `watch`: follows an import until it has ended, or tells whether the server may be restarted now.

`cli` runs it. What is asked and when is the pollers' part, what it means is `pursuit`'s, and how it looks `display`'s.
"""

import asyncio
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from rc_import_exporter import clock
from rc_import_exporter.commands.display import Display, Sight
from rc_import_exporter.commands.exits import SIGNALLED, Exit, worst
from rc_import_exporter.commands.pursuit import Pursuit, Verdict, idleness, pursue
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core import progress
from rc_import_exporter.core.domain import Exchange
from rc_import_exporter.core.snapshot import Record, Snapshot, Track
from rc_import_exporter.core.store import Store
from rc_import_exporter.polling.fleet import Fleet

TICK: Final = 1.0
"""Seconds between two looks at the clock while no poll ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is watched for: `operation_id` empty for the next import that starts, durations in seconds.

    `idle` asks whether an import loads or runs instead; `timeout` is then how long to wait until none does, and
    `or_down` says that a server that is not there will do.
    """

    operation_id: str = ""
    start_within: float | None = None
    timeout: float | None = None
    idle: bool = False
    or_down: bool = False


class Watch:
    """One run of the command over these settings; `now` gives Unix seconds."""

    def __init__(self, settings: Settings, wish: Wish, display: Display, now: Callable[[], float] = clock.now) -> None:
        self._wish = wish
        self._display = display
        self._now = now
        self._news = asyncio.Event()
        self._signal: int | None = None
        self._fleet = Fleet(_attentive(settings), now, lambda snapshot: _NotifyingStore(snapshot, self._news))
        self._began = now()
        self._pursuits = {name: self._pursuit() for name in settings.workspaces}

    def end(self, number: int) -> None:
        """Stops watching because of this signal; the import goes on."""
        self._signal = number
        self._news.set()

    def heed_signals(self) -> None:
        """Lets Ctrl-C and SIGTERM end it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.end, number)

    async def run(self) -> int:
        """Watches until every workspace has its verdict; gives the exit code."""
        await self._fleet.start(spread=False)
        try:
            while (code := self._look()) is None:
                await self._wait()
        finally:
            self._display.close()
            await self._fleet.stop()
        return code

    def _look(self) -> int | None:
        """The exit code, once there is one."""
        at = self._now()
        verdicts = self._verdicts(at)
        records = self._fleet.store.snapshot.records
        self._display.show({name: self._sight(records[name], verdicts[name], at) for name in records}, at)
        if self._signal is not None:
            return SIGNALLED + self._signal
        found = [verdict.exit for verdict in verdicts.values() if verdict is not None]
        return worst(found) if len(found) == len(verdicts) else None

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(TICK):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def _verdicts(self, at: float) -> Mapping[str, Verdict | None]:
        records = self._fleet.store.snapshot.records
        late = self._wish.timeout is not None and at >= self._began + self._wish.timeout
        if self._wish.idle:
            found = {name: idleness(record, at, or_down=self._wish.or_down) for name, record in records.items()}
            return _patient(found, self._wish, late=late)
        self._pursuits = {name: pursue(self._pursuits[name], record, at) for name, record in records.items()}
        too_late = Verdict(exit=Exit.TIMED_OUT, sentence="not ended in time; it goes on unwatched") if late else None
        return {name: pursuit.verdict or too_late for name, pursuit in self._pursuits.items()}

    def _pursuit(self) -> Pursuit:
        within = self._wish.start_within
        return Pursuit(
            began=self._began,
            wanted=self._wish.operation_id,
            start_by=None if within is None else self._began + within,
        )

    def _sight(self, record: Record, verdict: Verdict | None, at: float) -> Sight:
        wanted, seen = self._wish.operation_id, record.observation
        awaited = f"waits for operation {wanted} to appear" if wanted else "waits for the next import to start"
        if self._wish.idle:
            track, awaited = None if seen is None else seen.track, "waits until nothing loads or runs"
        else:
            track = self._pursuits[record.target.name].followed
        left = None if verdict is not None else _seconds_left(record, track, at)
        return Sight(record=record, track=track, awaited=awaited, verdict=verdict, left=left)


class _NotifyingStore(Store):
    """The store that says when there is something new in it."""

    def __init__(self, snapshot: Snapshot, news: asyncio.Event) -> None:
        super().__init__(snapshot)
        self._news = news

    def put(self, record: Record, exchanges: Iterable[Exchange] = ()) -> None:
        """Puts a record, and says so."""
        super().put(record, exchanges)
        self._news.set()


def _seconds_left(record: Record, track: Track | None, at: float) -> float | None:
    """The same estimate as on the live page."""
    return None if track is None or not record.told else progress.seconds_left(track, record.server_time(at))


def _attentive(settings: Settings) -> Settings:
    """The settings with an idle workspace asked as often as a busy one: somebody waits for what comes next."""
    workspaces = {
        name: replace(
            workspace,
            target=replace(
                workspace.target,
                poll_interval_idle=min(workspace.target.poll_interval, workspace.target.poll_interval_idle),
            ),
        )
        for name, workspace in settings.workspaces.items()
    }
    return replace(settings, workspaces=MappingProxyType(workspaces))


def _patient(verdicts: Mapping[str, Verdict | None], wish: Wish, *, late: bool) -> Mapping[str, Verdict | None]:
    """Where there is time to wait, only all of them idle at once is an answer, or the end of that time."""
    idle = all(verdict is not None and verdict.exit is Exit.DONE for verdict in verdicts.values())
    if wish.timeout is None or idle:
        return verdicts
    if late:
        silent = Verdict(exit=Exit.FAILED, sentence="cannot tell whether an import runs: no answer in time")
        return {name: verdict or silent for name, verdict in verdicts.items()}
    return dict.fromkeys(verdicts)
