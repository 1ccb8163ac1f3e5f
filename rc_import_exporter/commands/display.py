"""How `watch` shows what it follows: progress bars on a terminal, lines elsewhere, JSON lines for scripts.

A display is called whenever the state may have changed, and prints only changes that matter.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Protocol, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rc_import_exporter.commands import terminal
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.faults import trouble
from rc_import_exporter.commands.pursuit import Verdict
from rc_import_exporter.core import progress
from rc_import_exporter.core.domain import Operation, Outcome
from rc_import_exporter.core.snapshot import Record, Track
from rc_import_exporter.core.verdict import sentence, spell

SHOWN_FIELDS: Final = (
    "at",
    "workspace",
    "message",
    "told",
    "operation_id",
    "importer",
    "state",
    "step",
    "outcome",
    "cause",
    "records",
    "completed",
    "failed",
    "exit_code",
)
"""The keys of a JSON line. Each line has all of them; a value that is unknown is null."""

_UNSTARTED: Final = (Outcome.WAITING, Outcome.DISCARDED)
_LONGEST_NAME: Final = 24
_SHORT_BAR: Final = 8
_LONG_BAR: Final = 40
_GAP: Final = 2
"""Columns of the screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One workspace as a display shows it. `awaited` says what the watch waits for until there is a `track`.

    `verdict` is set once the watch of the workspace has ended, and `look` says where to look then. `left` is the
    estimate of the seconds that remain. `stalled` says that the import has not moved for too long, else it is empty.
    """

    record: Record
    track: Track | None
    awaited: str
    verdict: Verdict | None
    look: str = ""
    left: float | None = None
    stalled: str = ""

    @property
    def begun(self) -> bool:
        """Whether there is anything to show yet."""
        return self.record.polls > 0 or self.verdict is not None

    @property
    def cut(self) -> bool:
        """Whether the import was cut off, and its last counts may still come."""
        return self.verdict is None and self.track is not None and self.track.outcome is Outcome.INTERRUPTED

    @property
    def message(self) -> str:
        """The message for people, without a full stop. The time that is left is not in it."""
        if self.verdict is not None:
            return self.verdict.sentence
        if self.record.polls == 0:
            return "waiting for the first answer"
        if not self.record.told:
            return f"{trouble(self.record)}; trying again"
        if self.track is None:
            return self.awaited
        if self.cut:
            return "cut off; waiting for the last counts"
        return f"{self.stalled}; {sentence(self.track)}" if self.stalled else sentence(self.track)

    @property
    def told(self) -> str:
        """The message, with the percentage while the import goes on."""
        return f"{self.message} ({self.percent})" if self.percent and self.verdict is None else self.message

    @property
    def looks(self) -> Sequence[str]:
        """Where to look once it has ended."""
        return () if self.verdict is None or not self.look else [f"-> {self.look}"]

    @property
    def share(self) -> float | None:
        """Which part of the records is processed, 0 to 1; `None` where that means nothing."""
        if self.track is None or self.track.outcome in _UNSTARTED:
            return None
        return progress.ratio(self.track.operation)

    @property
    def percent(self) -> str:
        """The share as the page shows it, empty without one."""
        return "" if self.share is None else progress.percent(self.share)

    def times(self, now: float, zone: tzinfo | None) -> tuple[str, str]:
        """The time that is left and the expected end, by the clock of this zone; empty if unknown."""
        if self.left is None:
            return "", ""
        return f"about {spell(self.left)} left", f"ends about {_clock_time(now + self.left, now, zone)}"

    @property
    def steps(self) -> Sequence[str]:
        """What to do once it has ended."""
        return () if self.verdict is None else [f"-> {step.replace('`', '')}" for step in self.verdict.steps]


class Display(Protocol):
    """Shows the workspaces by name; `now` is Unix seconds."""

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        """Shows the current state."""

    def close(self) -> None:
        """Restores the terminal."""

    def end(self, farewell: str) -> None:
        """Shows the end. `farewell` is empty, or says that the watch was stopped by a signal."""


class Lines:
    """A line for each step, each failure, and each percent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, object] = {}

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        for name, sight in sights.items():
            news = _news(sight)
            # A cut-off is one line: the verdict follows with the last counts.
            if sight.begun and self._told.get(name) != news and not sight.cut:
                self._told[name] = news
                self._print(f"{_instant(now)} {name}: {self._line(sight, now)}")
                for step in (*sight.steps, *sight.looks):
                    self._print(f"{_instant(now)} {name}: {step}")

    def _line(self, sight: Sight, now: float) -> str:
        return ", ".join(filter(None, (sight.told, *sight.times(now, UTC))))

    def _print(self, line: str) -> None:
        print(terminal.printable(line), file=self._stream, flush=True)

    def close(self) -> None:
        pass

    def end(self, farewell: str) -> None:
        if farewell:
            self._print(farewell)
        elif self._stream.isatty():
            print("\a", end="", file=self._stream, flush=True)


class JsonLines:
    """A JSON object for each change, one a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, object] = {}

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        for name, sight in sights.items():
            fields = _fields(name, sight)
            if sight.begun and self._told.get(name) != fields:
                self._told[name] = fields
                print(json.dumps({"at": _instant(now), **fields}), file=self._stream, flush=True)

    def close(self) -> None:
        pass

    def end(self, farewell: str) -> None:
        pass


class Bars:
    """A progress bar, the times and a message for each workspace, redrawn in place; at the end the final sentences."""

    def __init__(self, stream: TextIO) -> None:
        self._console = terminal.console(stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._sights: Mapping[str, Sight] = {}

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        self._sights = sights
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._drawn(now), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def end(self, farewell: str) -> None:
        for name, sight in self._sights.items():
            # The terminal breaks long lines itself, so that they can be copied as one.
            style = _STYLES[sight.verdict.exit] if sight.verdict is not None else ""
            self._console.print(terminal.printable(f"{name}: {sight.told}"), style=style, soft_wrap=True)
            for step in sight.steps:
                self._console.print(Padding(terminal.printable(step), (0, 0, 0, _GAP)))
            for look in sight.looks:
                self._console.print(terminal.printable(f"  {look}"), soft_wrap=True)
        if farewell:
            self._console.print(farewell)
        else:
            self._console.bell()

    def _drawn(self, now: float) -> RenderableType:
        width = self._console.width
        name_width = min(max(map(len, self._sights), default=0), _LONGEST_NAME, width // 3)
        parts = (part for each in self._sights.items() for part in self._parts(*each, now, name_width))
        # The terminal writes ^C where the cursor stands: on an empty line it moves nothing.
        return Group(*parts, Text(""))

    def _parts(self, name: str, sight: Sight, now: float, name_width: int) -> Iterator[RenderableType]:
        """A row with the bar, the percentage and the times, and the message below. Times that do not fit come next."""
        times = sight.times(now, None)
        beside = sum(len(text) + _GAP for text in times if text)
        room = self._console.width - name_width - len("100 %") - 2 * _GAP
        fits = room - beside >= _SHORT_BAR
        row = Table.grid(padding=(0, _GAP, 0, 0))
        row.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
        cells: list[RenderableType] = [Text(name, style="bold")]
        if sight.share is not None:
            cells += [
                ProgressBar(
                    total=1.0, completed=sight.share, width=min(_LONG_BAR, room - (beside if fits else 0) - _GAP)
                ),
                Text(f"{sight.percent:>5}"),
                *(Text(text) for text in times if text and fits),
            ]
        row.add_row(*cells)
        yield row
        if not fits:
            yield Padding(Text("\n".join(filter(None, times))), (0, 0, 0, _GAP))
        style = "red" if sight.stalled or (sight.verdict is not None and sight.verdict.exit is not Exit.DONE) else ""
        yield Padding(Text(terminal.printable(sight.message), style=style), (0, 0, 0, _GAP))


_STYLES: Final = {
    **dict.fromkeys(Exit, "bold red"),
    Exit.DONE: "bold green",
    Exit.WITH_ERRORS: "bold yellow",
    Exit.NOTHING_STARTED: "bold yellow",
}


def _clock_time(at: float, now: float, zone: tzinfo | None) -> str:
    """An instant as a clock shows it, with its zone, and with the date if it is not today. `None`: the local zone."""
    moment, today = (datetime.fromtimestamp(each, UTC).astimezone(zone) for each in (at, now))
    return moment.strftime("%H:%M %Z" if moment.date() == today.date() else "%a %d %b %H:%M %Z")


def _news(sight: Sight) -> object:
    """What a new line is printed for."""
    track = sight.track
    about = None if track is None else (track.operation.id, track.operation.step, track.outcome)
    return sight.record.told, about, sight.percent, bool(sight.stalled), sight.verdict


def _fields(name: str, sight: Sight) -> dict[str, str | int | bool | None]:
    track = sight.track
    operation = None if track is None else track.operation
    left = "" if sight.left is None else f", about {spell(sight.left)} left"
    return {
        "workspace": name,
        "message": sight.message + left,
        "told": sight.record.told,
        "operation_id": None if operation is None else operation.id,
        "importer": None if operation is None else operation.importer,
        "state": None if track is None else track.state,
        "step": None if operation is None else operation.step,
        "outcome": None if track is None else track.outcome,
        "cause": None if track is None else track.cause,
        **_counts(operation),
        "exit_code": None if sight.verdict is None else int(sight.verdict.exit),
    }


def _counts(operation: Operation | None) -> dict[str, int | None]:
    counts = None if operation is None else operation.counts
    if counts is None:
        return {"records": None, "completed": None, "failed": None}
    return {"records": counts.total, "completed": counts.completed or 0, "failed": counts.failed or 0}


def _instant(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
