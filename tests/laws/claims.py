"""The exporter's statements about an operation, read from its record, and whether a duration in words can be true."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rc_import_exporter.core.domain import Outcome
from rc_import_exporter.core.snapshot import Cause, Moment, Record, Track
from rc_import_exporter.core.verdict import sentence
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import WorkspaceMetric
from tests.laws.server_truth import Blame


class Kind(StrEnum):
    """How the exporter found an operation."""

    FOLLOWED = "followed"
    BETWEEN = "between"
    FOUND = "found"


class Row(StrEnum):
    """A kind of statement that can be wrong."""

    FALSE_SUCCESS = "cut off, called a success"
    FALSE_CUT = "ended well, called cut off"
    UNCONFIRMED_CUT = "cut off, called unconfirmed"
    UNCONFIRMED_WELL = "ended well, called unconfirmed"
    UNCONFIRMED_SEALED = "unconfirmed, though seen done and valid"
    OUTCOME = "another outcome"
    CAUSE = "cause"
    DURATION = "duration in the sentence"
    FINISHED = "finished"
    END_BOUNDS = "bounds of the end"
    RUN_STARTED = "run started"
    RUN_BOUNDS = "bounds of the run's start"
    DATED = "dated later than it ended"
    MOVED = "last moved"
    AGE = "age"
    STALL = "still for"
    WAITING = "waiting for"
    LEFT = "time left"
    RESTART = "restart is safe"
    CURRENT = "the newest operation"
    STARTED = "counter of started"
    ENDED = "counter of finished"
    RECORDS = "counters of records"
    FALLING = "a counter that fell"
    LAST_RESULT = "last result of an importer"
    LAST_DURATION = "last duration of an importer"
    REPAIRED = "a bad end dated before an older success"
    UNREPAIRED = "a success dated before an older bad end"


CUTS: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE})
SUCCESSES: Final = frozenset({Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS})

BLAMED: Final = {
    Cause.RESTARTED: frozenset({Blame.CRASH}),
    Cause.SUPERSEDED: frozenset({Blame.SUPERSEDED}),
    Cause.INVALIDATED: frozenset({Blame.CLEARED, Blame.STARTED}),
    Cause.CLEARED: frozenset({Blame.CLEARED}),
}
"""What each cause that is stated can mean; a cause that is not here names only what is possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The statements about one operation. Times are by the server's clock."""

    outcome: Outcome
    cause: Cause | None
    sentence: str
    finished: float | None
    run_started: float | None
    end: Moment | None
    run_start: Moment | None
    dated: float | None


def said_of(track: Track) -> Said:
    """The statements about this operation."""
    return Said(
        outcome=track.outcome,
        cause=track.cause,
        sentence=sentence(track),
        finished=track.finished,
        run_started=track.run_started,
        end=track.end,
        run_start=track.run_start,
        dated=track.dated,
    )


def published(name: str, record: Record, now: float) -> float | None:
    """The metric of this name, without labels."""
    return next((value for _, value in _READ[name].read(record, now)), None)


_READ: Final = {each.name: each for each in METRICS if isinstance(each, WorkspaceMetric)}

_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_SPELLED: Final = r"(\d+) (s|min|h|d)\b(?: (\d+) (min|h)\b)?"
_STATED: Final = re.compile(
    rf"\b(?P<base>ran|after|ended)(?: (?P<how>at least|at most|about|within))? (?P<spelled>{_SPELLED})"
    r"(?P<created> after it was created)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A duration in words: its start, how certain it is, and the seconds that the words can mean."""

    since_created: bool
    how: str
    least: float
    most: float

    def holds(self, least: float, most: float, slack: float) -> bool:
        """Whether it can be true if the real duration is between `least` and `most` seconds."""
        match self.how:
            case "at least":
                return most >= self.least - slack
            case "at most" | "within":
                return least <= self.most + slack
            case "about":
                return least / 2 - slack <= self.most and self.least <= most * 2 + slack
            case _:
                return least - slack <= self.most and self.least <= most + slack


def durations_in(text: str) -> list[Duration]:
    """The durations in a sentence."""
    found = []
    for match in _STATED.finditer(text):
        numbers = re.fullmatch(_SPELLED, match["spelled"])
        if numbers is None:
            continue
        first, unit, second, smaller = numbers.groups()
        least = int(first) * _UNITS[unit] + (int(second) * _UNITS[smaller] if second else 0)
        grain = {"s": 1, "min": 60, "h": 60, "d": 3600}[unit]
        found.append(
            Duration(
                since_created=match["created"] is not None, how=match["how"] or "", least=least - 1, most=least + grain
            )
        )
    return found
