"""How `watch` shows what it follows: progress bars on a terminal, lines elsewhere, JSON lines for scripts.

A display is called whenever the state may have changed, and prints only changes that matter.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, TextIO

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from rc_import_exporter.commands import terminal
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.pursuit import Verdict, trouble
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One workspace as a display shows it. `awaited` says what the watch waits for until there is a `track`.

    `verdict` is set once the watch of the workspace has ended. `left` is the estimate of the seconds that remain.
    """

    record: Record
    track: Track | None
    awaited: str
    verdict: Verdict | None
    left: float | None = None

    @property
    def begun(self) -> bool:
        """Whether there is anything to show yet."""
        return self.record.polls > 0 or self.verdict is not None

    @property
    def message(self) -> str:
        """The message for people, without a full stop."""
        if self.verdict is not None:
            return self.verdict.sentence
        if self.record.polls == 0:
            return "waiting for the first answer"
        if not self.record.told:
            return f"no answer, trying again: {trouble(self.record)}"
        if self.track is None:
            return self.awaited
        if self.track.outcome is Outcome.INTERRUPTED:
            return f"{sentence(self.track)}; waiting for its final state"
        return sentence(self.track) + ("" if self.left is None else f", about {spell(self.left)} left")

    @property
    def share(self) -> float | None:
        """Which part of the records is processed, 0 to 1; `None` where that means nothing yet."""
        return None if self.track is None else progress.ratio(self.track.operation)


class Display(Protocol):
    """Shows the workspaces by name; `now` is Unix seconds."""

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        """Shows the current state."""

    def close(self) -> None:
        """Restores the terminal."""


class Lines:
    """A line for each step, each failure, and each percent."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, object] = {}

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        for name, sight in sights.items():
            news = _news(sight)
            if sight.begun and self._told.get(name) != news:
                self._told[name] = news
                percent = (
                    "" if sight.share is None or sight.verdict is not None else f" ({progress.percent(sight.share)}%)"
                )
                line = f"{_instant(now)} {name}: {terminal.printable(sight.message)}{percent}"
                print(line, file=self._stream, flush=True)

    def close(self) -> None:
        pass


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


class Bars:
    """A progress bar for each workspace, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[percent]:>4}", markup=False),
            TextColumn(
                "{task.fields[message]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            console=terminal.console(stream),
            auto_refresh=False,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun = False

    def show(self, sights: Mapping[str, Sight], now: float) -> None:
        if not self._begun:
            self._begun = True
            self._progress.start()
        for name, sight in sights.items():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=None, message="", percent="")
            share = 1.0 if sight.verdict is not None and sight.verdict.exit is Exit.DONE else sight.share
            self._progress.update(
                self._tasks[name],
                total=None if share is None and sight.verdict is None else 1.0,
                completed=share or 0.0,
                percent="" if share is None else f"{progress.percent(share)}%",
                message=terminal.printable(sight.message),
            )
        self._progress.refresh()

    def close(self) -> None:
        if self._begun:
            self._progress.stop()


def _news(sight: Sight) -> object:
    """What a new line is printed for."""
    track = sight.track
    about = None if track is None else (track.operation.id, track.operation.step, track.outcome)
    percent = None if sight.share is None else progress.percent(sight.share)
    return sight.record.told, about, percent, sight.verdict


def _fields(name: str, sight: Sight) -> dict[str, str | int | bool | None]:
    track = sight.track
    operation = None if track is None else track.operation
    return {
        "workspace": name,
        "message": sight.message,
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
