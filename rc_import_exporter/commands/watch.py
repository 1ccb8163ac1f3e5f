"""The command `watch`: follows an import until it ends, or says whether the server can be restarted now.

The pollers ask the server, `pursuit` decides what the answers mean, and `display` shows it.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from rc_import_exporter import clock, logs
from rc_import_exporter.commands import terminal
from rc_import_exporter.commands.display import Bars, Display, JsonLines, Lines, Sight
from rc_import_exporter.commands.exits import SIGNALLED, Exit, worst
from rc_import_exporter.commands.faults import trouble
from rc_import_exporter.commands.flags import Command, Flag, Invocation
from rc_import_exporter.commands.pursuit import Pursuit, Verdict, idleness, is_refused_for_good, pursue
from rc_import_exporter.commands.selection import select
from rc_import_exporter.config import values
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core import progress
from rc_import_exporter.core.alerts import Alert
from rc_import_exporter.core.domain import Exchange
from rc_import_exporter.core.snapshot import Record, Snapshot, Track
from rc_import_exporter.core.store import Store
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.web import view

TICK: Final = 1.0
"""Seconds between two looks at the clock while no poll ends."""
_YEAR: Final = 365 * 86_400.0
STOPPED: Final = "Stopped watching. This does not stop the import."

OPERATION_ID: Final = Flag(
    name="--operation-id",
    value=values.text(r"(?s).*", "the id of an operation", "ID"),
    help="Follow this operation, whose id import.new returned. If several workspaces are configured, name its "
    "workspace. If the operation has ended already, its outcome counts. Without this flag the next import that starts "
    "is followed, or one that loads or runs already; an import that had ended before never counts.",
)
START_WITHIN: Final = Flag(
    name="--start-within",
    value=values.seconds(0, _YEAR),
    default="5m",
    help="How long to wait for the import to start, or for the operation to appear.",
)
TIMEOUT: Final = Flag(
    name="--timeout",
    value=values.seconds(0, _YEAR),
    help="How long to watch at most. If unset: without limit, but with --require: not at all.",
)
REQUIRE: Final = Flag(
    name="--require",
    value=values.text("idle|idle-or-down", "idle or idle-or-down", "WORD"),
    help="Guard a restart of the server instead. With idle the exit code is 0 if nothing loads or runs, 7 if an "
    "import does, and 1 if that is unknown. The answer comes at once, or with --timeout as soon as nothing loads or "
    "runs. With idle-or-down the exit code is 0 also if no server answers. Use that where a server waits for this "
    "command before it starts.",
)
FORMAT: Final = Flag(
    name="--format",
    value=values.text("text|json", "text or json", "WORD"),
    default="text",
    help="text shows progress bars on a terminal and lines elsewhere; json prints one object per line.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to watch for. `operation_id` is empty for the next import that starts; durations are seconds.

    With `idle` the question is whether an import loads or runs. `timeout` is then how long to wait until none does, and
    `or_down` says that a server that does not answer counts as idle.
    """

    operation_id: str = ""
    start_within: float | None = None
    timeout: float | None = None
    idle: bool = False
    or_down: bool = False


class Watch:
    """One run of the command; `now` gives Unix seconds."""

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
        """Stops watching because of this signal. The import goes on."""
        self._signal = number
        self._news.set()

    def heed_signals(self) -> None:
        """Stops watching on Ctrl-C and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.end, number)

    async def run(self) -> int:
        """Watches until every workspace has its verdict; returns the exit code."""
        await self._fleet.start(spread=False)
        try:
            while (code := self._look()) is None:
                await self._wait()
        finally:
            self._display.close()
            await self._fleet.stop()
        self._display.end("" if self._signal is None else STOPPED)
        return code

    def _look(self) -> int | None:
        """The exit code, or `None` if the watch goes on."""
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
            hopeless = any(is_refused_for_good(record) for record in records.values())
            return found if hopeless else _patient(found, self._wish, late=late)
        self._pursuits = {name: pursue(self._pursuits[name], record, at) for name, record in records.items()}
        return {
            name: pursuit.verdict or (_too_late(pursuit, records[name]) if late else None)
            for name, pursuit in self._pursuits.items()
        }

    def _pursuit(self) -> Pursuit:
        within = self._wish.start_within
        return Pursuit(
            began=self._began,
            wanted=self._wish.operation_id,
            start_by=None if within is None else self._began + within,
        )

    def _sight(self, record: Record, verdict: Verdict | None, at: float) -> Sight:
        wanted, seen = self._wish.operation_id, record.observation
        awaited = f"waiting for operation {wanted} to appear" if wanted else "waiting for the next import to start"
        if self._wish.idle:
            track = seen.track if seen is not None and seen.fragile else None
            awaited = "nothing loads or runs"
        else:
            track = self._pursuits[record.target.name].followed
        moving = track if verdict is None and record.told else None
        return Sight(
            record=record,
            track=track,
            awaited=awaited,
            verdict=verdict,
            look="" if self._wish.idle else self._where_to_look(record),
            # The same estimate and the same words as on the page.
            left=None if moving is None else progress.seconds_left(moving, record.server_time(at)),
            stalled="" if moving is None else _stalled(record, moving, at),
        )

    def _where_to_look(self, record: Record) -> str:
        if not record.told and record.last_success is None:
            return "rc-import-exporter check, with the same flags, tests each part of the connection"
        external_url = self._fleet.store.snapshot.links.external_url
        if external_url:
            return f"Look at {external_url}/workspaces/{record.target.name}"
        return f"Look at {record.target.url}/admin/import"


class _NotifyingStore(Store):
    """A store that sets an event when it changes."""

    def __init__(self, snapshot: Snapshot, news: asyncio.Event) -> None:
        super().__init__(snapshot)
        self._news = news

    def put(self, record: Record, exchanges: Iterable[Exchange] = ()) -> None:
        """Puts a record and sets the event."""
        super().put(record, exchanges)
        self._news.set()


def _stalled(record: Record, track: Track, at: float) -> str:
    """That the import has not moved for too long; empty if it moves. The page says the same."""
    if track.operation.id != record.history.current:
        return ""
    remarks = view.view(record, at).remarks
    return next((f"{each.title}: {each.text}" for each in remarks if each.alert is Alert.STALLED), "")


def _too_late(pursuit: Pursuit, record: Record) -> Verdict:
    """The verdict when the time to watch is over."""
    if not record.told:
        return Verdict(exit=Exit.TIMED_OUT, sentence=f"timed out; how the import ends is unknown: {trouble(record)}")
    if pursuit.followed is None:
        return Verdict(exit=Exit.TIMED_OUT, sentence="timed out before an import started")
    return Verdict(exit=Exit.TIMED_OUT, sentence="not ended in time; the import goes on")


def _attentive(settings: Settings) -> Settings:
    """The settings with idle workspaces polled as often as busy ones, because someone waits for the next import."""
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
    """With a timeout the answer comes when all are idle at the same time, or when the timeout is over."""
    idle = all(verdict is not None and verdict.exit is Exit.DONE for verdict in verdicts.values())
    if wish.timeout is None or idle:
        return verdicts
    if late:
        silent = Verdict(exit=Exit.FAILED, sentence="whether an import runs is unknown: no answer in time")
        return {name: verdict or silent for name, verdict in verdicts.items()}
    return dict.fromkeys(verdicts)


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs the command."""
    wish = _wish(invocation)
    configured = select(invocation, environ, logs.NOTHING)
    if wish.operation_id and len(configured.workspaces) > 1:
        names = ", ".join(sorted(configured.workspaces)[:20])
        raise ConfigurationError([f"flag {OPERATION_ID.name}: name the workspace of the operation, one of {names}"])
    display = JsonLines(sys.stdout) if invocation[FORMAT] == "json" else _display()
    return asyncio.run(_watch(Watch(configured, wish, display)))


def _wish(invocation: Invocation) -> Wish:
    operation_id, required = invocation.get(OPERATION_ID) or "", invocation.get(REQUIRE)
    if required and operation_id:
        raise ConfigurationError([f"flag {REQUIRE.name}: is about all imports; leave {OPERATION_ID.name} out"])
    return Wish(
        operation_id=operation_id,
        start_within=invocation[START_WITHIN],
        timeout=invocation.get(TIMEOUT),
        idle=required is not None,
        or_down=required == "idle-or-down",
    )


def _display() -> Display:
    """Bars if the terminal can redraw them in place."""
    drawable = sys.stdout.isatty() and not terminal.console(sys.stdout).is_dumb_terminal
    return Bars(sys.stdout) if drawable else Lines(sys.stdout)


async def _watch(watch: Watch) -> int:
    watch.heed_signals()
    return await watch.run()


COMMAND: Final = Command(
    name="watch",
    run=run,
    summary="Follow an import until it ends, or check whether the server can be restarted.",
    details="Exit code: 0 succeeded, 1 unknown, 2 the configuration is wrong, 3 done with errors, 4 failed, cut off, "
    "canceled or discarded, 5 nothing started, 6 timed out, 7 not idle (--require); 130 and 143 after Ctrl-C and "
    "SIGTERM, which do not stop the import. For several workspaces it is the worst of theirs, in the order "
    "2, 7, 4, 1, 6, 5, 3, 0.",
    flags=(OPERATION_ID, START_WITHIN, TIMEOUT, REQUIRE, FORMAT),
    operands="[WORKSPACE...]",
    examples=(
        "watch --config.file=config.yml acme",
        "watch --config.file=config.yml --operation-id=ID --start-within=1m acme",
        "watch --config.file=config.yml --require=idle --timeout=30m",
    ),
)
