"""The immutable picture that everything published is read from.

`store` folds polls into it; `catalogue`, `web` and the commands only read. A `Record` is one workspace, a `Track` one
operation as this exporter has followed it, a `Feed` one endpoint of one workspace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import (
    FEEDS,
    IMPORTING_STEPS,
    LAST_STEPS,
    LOADING_STEPS,
    REFUSALS,
    Api,
    Budget,
    Operation,
    Outcome,
    Reason,
    State,
    Step,
    Target,
)

LARGE_LIST: Final = 256 * 1024
"""Bytes from which on the list is asked for rarely: it then carries old `fileData`, megabytes at worst."""
LARGE_LIST_INTERVAL: Final = 300.0
LEAST_STALE_AFTER: Final = 90.0
INTERVALS_UNTIL_STALE: Final = 3


@unique
class Cause(StrEnum):
    """What was seen around the end of an operation that did not end well."""

    FOUND = "found"
    RESTARTED = "restarted"
    SUPERSEDED = "superseded"
    INVALIDATED = "invalidated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What was seen of an operation before: enough, with the operation itself, to judge it.

    `alive`: valid and unfinished. `cut`: interrupted. `sealed`: done while valid, so never cut off.
    """

    alive: bool = False
    cut: bool = False
    sealed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One operation as it has been followed.

    `state` is the server's word for the version held; `expected` says that it was there at the baseline or is older
    than it, so that its start and whatever it had finished by then are not counted. `counted` holds the finished
    outcomes already counted. `high_completed` and `high_failed` are the greatest counts seen. `pace` holds the latest
    instants at which the processed records moved, with their number, oldest first.
    """

    operation: Operation
    state: State
    outcome: Outcome
    witness: Witness
    expected: bool
    counted: frozenset[Outcome]
    high_completed: int = 0
    high_failed: int = 0
    step_started: float | None = None
    run_started: float | None = None
    progressed: float | None = None
    finished: float | None = None
    dated_by_start: bool = False
    cause: Cause | None = None
    pace: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The operations of a workspace, and what was counted over them.

    `horizon` is the greatest `ts` known at the baseline, or forgotten since: only a later operation is new. It is
    `None` until the first successful poll of either feed. `listed` holds the ids of the latest list, `None` before any,
    and `listed_for` the operation that was the newest then.
    """

    tracks: Mapping[str, Track] = field(default_factory=lambda: MappingProxyType({}))
    horizon: float | None = None
    listed: tuple[str, ...] | None = None
    listed_for: str | None = None
    current: str | None = None
    started: int = 0
    finished: Mapping[Outcome, int] = field(default_factory=lambda: MappingProxyType({}))
    completed: int = 0
    failed: int = 0
    last_finished: Mapping[tuple[str, Outcome], float] = field(default_factory=lambda: MappingProxyType({}))
    last_duration: Mapping[str, tuple[float, float | None]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def newest(self) -> Track | None:
        """The operation that the workspace's state is about, by its greatest `ts`."""
        return self.tracks.get(self.current) if self.current is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One endpoint of one workspace, as of its last call.

    `at` is the start of that poll, `answered` its end. `failures` counts the calls that failed since the last success,
    `since` is when the first of them ended. `alone` says that nothing else of that server answered as Rocket.Chat in
    the same poll. `size` is the last good body's, bytes. `budget` is the latest that was told, and `blocked_until` the
    instant until which the last answer asked for patience.
    """

    api: Api
    at: float
    answered: float
    reason: Reason | None = None
    detail: str = ""
    failures: int = 0
    since: float | None = None
    alone: bool = False
    size: int = 0
    budget: Budget | None = None
    blocked_until: float | None = None
    skew: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the last call succeeded."""
        return self.reason is None

    @property
    def refused(self) -> bool:
        """Whether the server would not, or could not, answer this endpoint at the last call."""
        return self.reason in REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the last poll that could tell the state told.

    `operation` is `None` where nothing was ever imported; `track` is `None` there, and where only `getImportProgress`
    answered, which names no operation.
    """

    source: Api
    state: State
    outcome: Outcome
    operation: Operation | None
    track: Track | None

    @property
    def step(self) -> Step:
        """The operation's step, `none` without one."""
        return Step.NONE if self.operation is None else self.operation.step

    @property
    def active(self) -> bool:
        """Whether an operation waits, loads or runs, as far as can be told; one in an unknown step may.

        Read from the operation and not from its outcome, which stays even where a finished operation goes on.
        """
        return self.operation is not None and self.operation.valid is not False and self.step not in LAST_STEPS

    @property
    def fragile(self) -> bool:
        """Whether an operation loads or runs, so that a server that starts now would kill it."""
        return self.active and self.step in LOADING_STEPS | IMPORTING_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When a workspace is polled next, and how long after the start of the last poll that is."""

    next_poll: float
    interval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One workspace: everything known of it.

    `told` says whether the last poll could tell the state; `last_state` is the latest that either feed told.
    """

    target: Target
    feeds: Mapping[Api, Feed] = field(default_factory=lambda: MappingProxyType({}))
    history: History = field(default_factory=History)
    observation: Observation | None = None
    told: bool = False
    polls: int = 0
    last_poll: float | None = None
    last_success: float | None = None
    requests: Mapping[tuple[Api, str], int] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[tuple[Api, Reason], int] = field(default_factory=lambda: MappingProxyType({}))
    last_state: State | None = None
    transitions: Mapping[State, int] = field(default_factory=lambda: MappingProxyType({}))
    credentials_loaded: float | None = None
    version: str | None = None
    plan: Plan | None = None

    @property
    def interval(self) -> float:
        """Seconds from one poll to the next as long as nothing fails: the interval in force.

        A workspace is idle once it is known to be. Where only a large list answers, it is asked for every 5 minutes.
        """
        if self.observation is None or self.observation.active:
            interval = self.target.poll_interval
        else:
            interval = self.target.poll_interval_idle
        return max(interval, LARGE_LIST_INTERVAL) if self._rests_on_large_list else interval

    @property
    def _rests_on_large_list(self) -> bool:
        large = self.feeds.get(Api.LIST)
        if large is None or not large.ok or large.size <= LARGE_LIST:
            return False
        status = self.feeds.get(Api.STATUS)
        return Api.STATUS not in self.target.apis or (status is not None and status.refused)

    @property
    def stale_after(self) -> float:
        """Seconds after the last success from which on nothing of the observation is published."""
        if self.target.stale_after is not None:
            return self.target.stale_after
        return max(LEAST_STALE_AFTER, INTERVALS_UNTIL_STALE * self.interval)

    @property
    def stale_at(self) -> float | None:
        """The instant at which the observation goes stale; `None` before the first."""
        return None if self.last_success is None else self.last_success + self.stale_after

    def held(self, now: float) -> Observation | None:
        """The observation, as long as it is not stale."""
        stale_at = self.stale_at
        return self.observation if stale_at is not None and now < stale_at else None

    def up(self, now: float) -> bool:
        """Whether the last poll could tell the state and that is not stale."""
        return self.told and self.held(now) is not None

    def restart_safe(self, now: float) -> bool | None:
        """Whether a server of Rocket.Chat may start now without ending an import; `None` where that cannot be told.

        What loaded or ran when it was last seen may do so still, however long ago that was.
        """
        if self.observation is not None and self.observation.fragile:
            return False
        held = self.held(now) if self.told else None
        return None if held is None or (held.active and held.step is Step.UNKNOWN) else True

    @property
    def refused_everywhere(self) -> bool:
        """Whether both feeds were refused, are missing, or may not be asked: only `getImportProgress` is left."""
        return all(
            api not in self.target.apis or ((feed := self.feeds.get(api)) is not None and feed.refused) for api in FEEDS
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Request durations of one endpoint over all workspaces: `counts` per bucket, not cumulated, the last one +Inf."""

    counts: tuple[int, ...]
    total: float = 0.0


DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, seconds. A healthy server answers in tens of milliseconds; the default timeout is 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is running."""

    version: str
    revision: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All workspaces by name, and what is not of any one of them."""

    build: Build
    records: Mapping[str, Record]
    durations: Mapping[Api, Histogram] = field(default_factory=lambda: MappingProxyType({}))
    configured_at: float
    configured_well: bool = True

    def stale_next(self, now: float) -> float | None:
        """The next instant after `now` at which something in here goes stale."""
        return min((at for record in self.records.values() if (at := record.stale_at) and at > now), default=None)
