"""The fields that the pages and the JSON API show, each with its meaning; `view` fills them, `templates` show them.

The docstrings are the descriptions in the JSON Schema and in the table of fields. A field is only ever added. Instants
are Unix seconds here and RFC 3339 in UTC in the JSON. Durations are seconds. A `Hidden` field is only for the pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum, unique
from typing import Annotated, TypeVar

from pydantic import Field, PlainSerializer, WithJsonSchema

from rc_import_exporter.core.advice import OUTCOMES
from rc_import_exporter.core.domain import Api, Kind, Outcome, Reason, State, Step
from rc_import_exporter.core.progress import percent


@unique
class Level(StrEnum):
    """How urgent a workspace is, the most urgent first."""

    CRITICAL = "critical"
    WARNING = "warning"
    ACTIVE = "active"
    WAITING = "waiting"
    QUIET = "quiet"


@unique
class Danger(StrEnum):
    """Why Rocket.Chat must not be restarted: an import runs, or one ran and the state cannot be read any more.

    `STALLED` means that the import makes no progress, so that a restart may be needed in the end; `SILENT` that no
    answer comes, so that the server may be down; `UNREAD` that answers do not tell the state.
    """

    RUNS = "runs"
    STALLED = "stalled"
    SILENT = "silent"
    UNREAD = "unread"


def instant(at: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond; `None` also for a date that no calendar holds."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


_T = TypeVar("_T")
Hidden = Annotated[_T, Field(exclude=True)]
Instant = Annotated[_T, PlainSerializer(instant), WithJsonSchema({"type": ["string", "null"], "format": "date-time"})]
NotNegative = Annotated[_T, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The server's counts of records; null before it has counted."""

    total: int | None
    """Records to import. Grows while the import loads."""
    completed: int | None
    """Records done. Can exceed the total."""
    failed: int | None
    """Records rejected, at least."""
    staged: Mapping[Kind, int]
    """Records to import of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """An operation: one import."""

    id: str | None
    """The server's id; null if only `getImportProgress` answers, which has no id."""
    importer: str
    """The importer's key: api, csv, slack, …"""
    valid: bool | None
    """Whether the server still calls it valid; null if that is not known."""
    created: Instant[float | None]
    """When it was created."""
    updated: Instant[float | None]
    """When the server last wrote it."""
    run_started: Instant[float | None]
    """When it began to import, if that was seen."""
    progressed: Instant[float | None]
    """When it last made progress, if that was seen."""
    finished: Instant[float | None]
    """When it ended; null while it runs, and if the end was not seen."""
    ended_after: Instant[float | None]
    """It ended after this; null while it runs."""
    ended_before: Instant[float | None]
    """It ended before this; null while it runs."""
    running_by: Instant[float | None]
    """It ran at this time or earlier; null before it was seen to run."""
    records: Records
    """The server's counts of records."""
    progress_ratio: Annotated[float | None, Field(ge=0, le=1)]
    """The share of records that are done or rejected; null before the total is known."""
    records_per_second: NotNegative[float | None]
    """How fast it is; null unless it runs and moves."""
    seconds_left: NotNegative[float | None]
    """How long it still takes at this rate."""
    level: Hidden[Level]
    """How urgent its outcome is."""
    took: Hidden[str]
    """How long it imported, with "at least" or "at most" if that is not exact; empty while it runs, and if that is not
    known.
    """
    expected_end: Hidden[float | None]
    """When it ends at this rate, by the exporter's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastKnown:
    """What was last known of a workspace whose state is not known now."""

    at: Instant[float | None]
    """When it was known."""
    state: State
    """The server's word for the state."""
    step: Step
    """The step within the state."""
    outcome: Outcome
    """The outcome of the operation."""
    sentence: str
    """The outcome in a sentence."""
    source: Api
    """The endpoint that told it."""
    operation: OperationView | None
    """The newest operation at that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Endpoints that fail for the same reason."""

    apis: tuple[Api, ...]
    """The endpoints that fail."""
    reason: Reason
    """Why they fail, as in the metrics' label `reason`."""
    title: str
    """Why they fail, in a few words."""
    detail: str
    """What exactly happened."""
    since: Instant[float | None]
    """Since when they fail."""
    failures: int
    """How many calls have failed since then."""
    known_limit: bool
    """Whether another endpoint is enough, so that nothing has to be done."""
    advice: tuple[str, ...]
    """What to do, step by step."""
    alert: Hidden[str]
    """The alert for it, without its prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something else to know about a workspace."""

    level: Level
    """How urgent it is."""
    text: str
    """A sentence."""
    title: Hidden[str] = ""
    """The sentence in two or three words."""
    alert: Hidden[str] = ""
    """The alert for it, without its prefix."""
    about: Hidden[str] = ""
    """The count that it explains: done or rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polls:
    """When a workspace is polled."""

    last: Instant[float | None]
    """The end of the last poll."""
    last_success: Instant[float | None]
    """The end of the last poll that read the state."""
    next: Instant[float | None]
    """When the next poll starts."""
    interval_seconds: NotNegative[float]
    """From the start of the last poll to the start of the next, with the wait after failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What the rate limiter allows an endpoint."""

    api: Api
    """The endpoint."""
    limit: int | None
    """Calls that it allows in its window, a minute by default."""
    remaining: int | None
    """Calls that are left."""
    resets: Instant[float | None]
    """When all calls are available again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierOperation:
    """An operation before the newest one."""

    id: str
    """The server's id."""
    importer: str
    """The importer's key."""
    outcome: Outcome
    """Its outcome."""
    sentence: str
    """The outcome in a sentence."""
    created: Instant[float | None]
    """When it was created."""
    finished: Instant[float | None]
    """When it ended; null if that was not seen."""
    title: Hidden[str]
    """The outcome in two or three words."""
    level: Hidden[Level]
    """How urgent the outcome is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A bad end of an earlier import, for the time of its alert, unless the same importer has succeeded since."""

    importer: str
    """The importer's key, or other."""
    outcome: Outcome
    """Its outcome."""
    alert: str
    """The alert for it, without its prefix."""
    sentence: str
    """The outcome and the cause."""
    at: Instant[float | None]
    """When it ended, as the alert dates it: its start if the end was not seen."""
    level: Level
    """How urgent it is."""
    title: Hidden[str]
    """The outcome in two or three words."""
    advice: tuple[str, ...]
    """What to do, step by step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """A workspace at an instant."""

    name: str
    """The configured name."""
    url: str
    """The server's address, without credentials."""
    labels: Mapping[str, str]
    """The configured labels."""
    grafana_url: str | None
    """The workspace's dashboard in Grafana; null unless the option `grafana_url` is set."""
    now: Instant[float]
    """The instant of this answer."""
    up: bool
    """Whether the last poll read the state, and that is not too old."""
    level: Level
    """How urgent it is, from critical to quiet."""
    title: str
    """The outcome in two or three words."""
    sentence: str
    """The outcome and, if it is bad, the cause; or why the state is not known."""
    restart_safe: bool | None
    """Whether Rocket.Chat may be restarted or scaled. False while an import loads or runs, or if one did when the
    server last answered. Null if that is not known."""
    state: State | None
    """The server's word for the state; null, as the next four, if it is not known."""
    step: Step | None
    """The step within the state."""
    outcome: Outcome | None
    """The outcome of the newest operation."""
    source: Api | None
    """The endpoint that the state was read from."""
    source_note: str | None
    """The same in words, and whether it is enough."""
    operation: OperationView | None
    """The newest operation; null also if nothing was imported yet."""
    last_known: LastKnown | None
    """What was last known; null while the state is known, and before it was first known."""
    advice: tuple[str, ...]
    """What to do, step by step. Text between backticks is to be typed or searched for."""
    alerts: tuple[str, ...]
    """The alerts for what is wrong, without their prefix `RocketChatImport`. Each is a heading of the runbook."""
    unresolved: tuple[Unresolved, ...]
    """Earlier imports that still need someone, whatever the newest one does."""
    problems: tuple[Problem, ...]
    """The endpoints that fail now, and what to do about it."""
    remarks: tuple[Remark, ...]
    """What else to know: a stall, a missed expectation, what a count does not mean."""
    polls: Polls
    """When it is polled."""
    rate_limits: tuple[RateLimit, ...]
    """What the rate limiter allows each endpoint; empty if it does not limit the exporter's user."""
    server_version: str | None
    """Rocket.Chat's version, often without the patch number."""
    earlier_operations: tuple[EarlierOperation, ...] = ()
    """The operations before this one that are known, the newest first. Only in the answer for one workspace."""
    danger: Hidden[Danger | None]
    """Why Rocket.Chat must not be restarted; `None` if it may, or if that is not known."""
    there: Hidden[float]
    """The instant of this answer by the server's clock, which dates the operations."""

    @property
    def tab(self) -> str:
        """The title in the browser's tab: how far the import is while it runs, else the title."""
        share = None if self.operation is None else self.operation.progress_ratio
        runs = self.outcome is Outcome.RUNNING and self.title == OUTCOMES[Outcome.RUNNING].title
        return f"{self.title if share is None or not runs else percent(share)} · {self.name}"

    @property
    def import_url(self) -> str:
        """The page in Rocket.Chat that starts imports and lists them."""
        return f"{self.url}/admin/import"

    @property
    def shown_operation(self) -> OperationView | None:
        """The newest operation, or the one last known."""
        return self.operation or (self.last_known.operation if self.last_known else None)

    @property
    def failures(self) -> tuple[Problem, ...]:
        """The problems that someone has to solve."""
        return tuple(problem for problem in self.problems if not problem.known_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release of the exporter."""

    version: str
    """Its version."""
    revision: str
    """The revision it was built from, or unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All workspaces, or those that match a search."""

    now: Instant[float]
    """The instant of this answer."""
    exporter: Release
    """The version of the exporter that answers."""
    restart_safe: bool | None
    """The same for all workspaces, whatever the search: false if it is false for any, else null if it is null for
    any."""
    total: int
    """How many workspaces are configured, whatever the search."""
    levels: Annotated[Mapping[Level, int], Field(json_schema_extra={"required": list(Level)})]
    """How many workspaces have each level, whatever the search."""
    workspaces: tuple[WorkspaceView, ...]
    """The workspaces that match `q` and `level`, the most urgent first."""
    endangered: Hidden[Mapping[Danger, tuple[str, ...]]]
    """The names of all workspaces with an import that would or may end if the server restarts."""

    @property
    def worst(self) -> Level:
        """The most urgent level of all workspaces."""
        return next((each for each in Level if self.levels[each]), Level.QUIET)

    @property
    def tab(self) -> str:
        """The title in the browser's tab: how many workspaces need someone, and the most urgent one."""
        bad = self.levels[Level.CRITICAL] + self.levels[Level.WARNING]
        count = f"({bad}) " if bad else ""
        first = self.workspaces[0] if self.workspaces else None
        busy = first is not None and first.level in (Level.CRITICAL, Level.WARNING, Level.ACTIVE)
        return f"{count}{first.tab if first is not None and busy else 'Rocket.Chat imports'}"
