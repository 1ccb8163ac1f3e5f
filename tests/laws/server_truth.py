"""The truth about servers and operations: the plan of an import, how it ended, and why.

Times are true time in Unix seconds, durations seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rc_import_exporter.core.domain import Counts, Kind, Reason, Step

START: Final = 1_800_000_000.0


class Ending(StrEnum):
    """How an operation really ended."""

    OPEN = "open"
    WELL = "ended well"
    CUT = "cut off"
    CUT_LOADING = "cut off while it loaded"
    FAILED = "failed"
    DISCARDED = "discarded"
    LOST = "lost with its database"


class Blame(StrEnum):
    """Why an operation ended early."""

    CRASH = "its own server stopped"
    SUPERSEDED = "a new operation"
    CLEARED = "an administrator"
    STARTED = "another server started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a run: its step, and for each batch the seconds and the records then completed and failed."""

    step: Step
    batches: Sequence[tuple[float, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The course of an operation without disturbance.

    `preparing` has steps, seconds and the counts from then on. `waits` is `None` if it runs by itself. `throws` is the
    phase in which it fails. `last_write` says whether the last counts are written.
    """

    importer: str
    idle: float
    preparing: Sequence[tuple[Step, float, Counts | None]]
    waits: float | None
    phases: Sequence[Phase]
    throws: int | None
    last_write: bool
    finishing: float
    doubled: bool = False
    attachments: bool = False
    deselected: bool = False
    goes_on_loading: bool = False

    @property
    def loads_for(self) -> float:
        """Seconds of loading."""
        return sum(seconds for _, seconds, _ in self.preparing)

    @property
    def runs_for(self) -> float:
        """Seconds of importing."""
        return sum(seconds for phase in self.phases for seconds, _, _ in phase.batches)

    @property
    def even(self) -> bool:
        """Whether its speed is so constant that the end can be predicted."""
        took = [seconds for phase in self.phases for seconds, _, _ in phase.batches]
        smooth = max(took, default=0.0) <= 3 * min(took[:-1], default=0.0)
        return len(self.phases) == 1 and smooth and not self.deselected and not self.attachments


@dataclass(slots=True, kw_only=True)
class Truth:
    """The truth about one operation. Times are true time. `ended` is the range of its end."""

    id: str
    course: Course
    created: float
    server: int
    entered: list[tuple[float, Step]] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    run_started: float | None = None
    whole: float | None = None
    invalid: float | None = None
    dead: float | None = None
    ended: tuple[float, float] | None = None
    ending: Ending = Ending.OPEN
    blames: set[Blame] = field(default_factory=set)
    restored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which calls fail, and how."""

    begins: float
    ends: float
    reason: Reason
    code: int | None
    by_rocketchat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Servers: how far each clock is ahead, the version, and behaviour that depends on the version."""

    clocks: Sequence[float]
    version: tuple[int, int]
    spares_failed: bool = True
    proxy: bool = False

    @property
    def lone(self) -> bool:
        """Whether it has only one server."""
        return len(self.clocks) == 1

    @property
    def numeric(self) -> bool:
        """Whether dates of operations are numbers."""
        return self.version < (6, 3)


def staged(users: int, channels: int, messages: int, contacts: int) -> dict[Kind, int]:
    """The kinds of records with at least one record."""
    kinds = {Kind.USERS: users, Kind.CHANNELS: channels, Kind.MESSAGES: messages, Kind.CONTACTS: contacts}
    return {kind: count for kind, count in kinds.items() if count}
