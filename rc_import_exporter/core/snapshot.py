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
    FINISHED,
    IMPORTING_STEPS,
    LAST_STEPS,
    LOADING_STEPS,
    REFUSALS,
    Api,
    Budget,
    Links,
    Operation,
    Outcome,
    Reason,
    State,
    Step,
    Target,
    known_importer,
)
from rc_import_exporter.core.shard import Shard
from rc_import_exporter.core.thresholds import CLOCKS_AGREE

LARGE_LIST: Final = 256 * 1024
"""Bytes from which on the list is asked for rarely: it then carries old `fileData`, megabytes at worst."""
LARGE_LIST_INTERVAL: Final = 300.0
LEAST_STALE_AFTER: Final = 90.0
INTERVALS_UNTIL_STALE: Final = 3


@unique
class Cause(StrEnum):
    """Why an operation ended before its work was done, as far as the evidence goes."""

    UNCERTAIN = "uncertain"
    RESTARTED = "restarted"
    SUPERSEDED = "superseded"
    INVALIDATED = "invalidated"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant that lies between two bounds, Unix seconds by the server's clock.

    `seen` is true where the bounds are no further apart than two polls are: `latest` is then good enough to state.
    """

    earliest: float
    latest: float
    seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of an operation, beside its latest version, that its verdict rests on.

    `alive`: it was seen valid and unfinished. `cut`: it was seen invalid while it still loaded or imported. `sealed`:
    it was seen done or finishing while valid, so it was never cut off. `next_at_end`: another operation was created at
    the very instant of its last write, which invalidated it when it was done already. `next_before_end`: it was last
    written shortly after another one was created, so it still ran then. `doubles`: users may count twice.
    """

    alive: bool = False
    cut: bool = False
    sealed: bool = False
    next_at_end: bool = False
    next_before_end: bool = False
    doubles: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One operation as it has been followed. Instants are Unix seconds by the server's clock.

    `state` is the server's word for the version held. `expected` is true for an operation that was there at the first
    poll or is older: its start, and whatever it had finished by then, are not counted. `counted` holds the finished
    outcomes already counted. `high_completed` and `high_failed` are the greatest counts seen. `pace` holds the latest
    instants at which the processed records moved, with their number, oldest first.

    `alive_at` is the latest instant at which it was seen valid and unfinished. `step_started` and `progressed` are
    `None` if they were not seen. `moved` is `progressed` by our own clock, as both clocks were then. `run_start` and
    `end` are bounds, `None` if it has not started or ended. `dated` is the cautious date of a finished one: if it was
    finished when first seen, this is never later than its end. `gone_at` is when its server was found gone before its
    end.
    """

    operation: Operation
    state: State
    outcome: Outcome
    evidence: Evidence
    expected: bool
    counted: frozenset[Outcome]
    high_completed: int = 0
    high_failed: int = 0
    alive_at: float | None = None
    step_started: float | None = None
    progressed: float | None = None
    moved: float | None = None
    run_start: Moment | None = None
    end: Moment | None = None
    dated: float | None = None
    cause: Cause | None = None
    gone_at: float | None = None
    pace: tuple[tuple[float, int], ...] = ()

    @property
    def run_started(self) -> float | None:
        """When it began to import; `None` where that was not seen."""
        return self.run_start.latest if self.run_start is not None and self.run_start.seen else None

    @property
    def finished(self) -> float | None:
        """When it ended; `None` where that was not seen."""
        return self.end.latest if self.end is not None and self.end.seen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The operations of a workspace, and what was counted over them.

    `horizon` is the greatest `ts` known at the first poll, or forgotten since: a later operation is new. It is `None`
    until the first successful poll of either feed. `listed` holds the ids of the latest list, `None` before any, and
    `listed_for` the operation that was the newest then. `gone` holds operations that the server no longer holds:
    one that comes back is not new.
    """

    tracks: Mapping[str, Track] = field(default_factory=lambda: MappingProxyType({}))
    horizon: float | None = None
    listed: tuple[str, ...] | None = None
    listed_for: str | None = None
    current: str | None = None
    gone: Mapping[str, Track] = field(default_factory=lambda: MappingProxyType({}))
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

    @property
    def emptied(self) -> bool:
        """Whether the server held operations before and holds none now."""
        return bool(self.gone) and not self.tracks

    @property
    def last_results(self) -> Mapping[str, Track]:
        """The newest finished operation of each importer; one that was discarded before it ran is no result."""
        ended = [
            each for each in self.tracks.values() if each.outcome in FINISHED and each.outcome is not Outcome.DISCARDED
        ]
        ended.sort(key=lambda each: each.operation.created or 0.0)
        return {known_importer(each.operation.importer): each for each in ended}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One endpoint of one workspace, as of its last call.

    `at` is the start of that poll, `answered` its end. `failures` counts the calls that failed since the last success,
    `since` is when the first of them ended. `alone` says that nothing else of that server answered as Rocket.Chat in
    the same poll. `size` is the last good body's, bytes. `budget` is the latest that was told, and `blocked_until` the
    instant until which the last answer asked for patience. `gone_since` is when a connection first failed since
    the last success: the server was not there then. `retry` says that the call is due again, whatever its rest: the
    configuration was reloaded.
    """

    api: Api
    at: float
    answered: float
    reason: Reason | None = None
    detail: str = ""
    remedy: str = ""
    failures: int = 0
    since: float | None = None
    alone: bool = False
    size: int = 0
    budget: Budget | None = None
    blocked_until: float | None = None
    gone_since: float | None = None
    skew: float | None = None
    retry: bool = False

    @property
    def ok(self) -> bool:
        """Whether the last call succeeded."""
        return self.reason is None

    @property
    def spacing(self) -> float:
        """Seconds from call to call that spread what is left of the rate limit over the rest of its window."""
        if self.budget is None or self.budget.remaining is None:
            return 0.0
        return self.budget.wait / max(1, self.budget.remaining)

    @property
    def refused(self) -> bool:
        """Whether the server would not, or could not, answer this endpoint at the last call."""
        return self.reason in REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the last poll that could tell the state told.

    `operation` is `None` where the server holds none; `track` is `None` there, and where only `getImportProgress`
    answered, which names no operation. `others_run` says that another operation of the latest list loads or runs: the
    servers of a cluster have clocks of their own, so the one with the greatest `ts` may not be the one that runs.
    """

    source: Api
    state: State
    outcome: Outcome
    operation: Operation | None
    track: Track | None
    others_run: bool = False

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
        return self.others_run or (self.active and self.step in LOADING_STEPS | IMPORTING_STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When a workspace is polled next, and how long after the start of the last poll that is."""

    next_poll: float
    interval: float


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
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
    first_poll: float | None = None
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
    def clock_offset(self) -> float | None:
        """Seconds that the server's clock is ahead of ours, by the `Date` of its latest answer; `None` before any.

        0 within `CLOCKS_AGREE`, because `Date` has whole seconds.
        """
        told = [feed for feed in self.feeds.values() if feed.skew is not None]
        if not told:
            return None
        offset = max(told, key=lambda feed: (feed.ok, feed.at)).skew or 0.0
        return 0.0 if abs(offset) <= CLOCKS_AGREE else offset

    def server_time(self, now: float) -> float:
        """`now` by the server's clock, which dates the operations."""
        return now + (self.clock_offset or 0.0)

    @property
    def interval(self) -> float:
        """Seconds from one poll to the next as long as nothing fails: the interval in force.

        A workspace is idle once it is known to be. Where only a large list answers, it is asked for every 5 minutes.
        """
        if self.observation is None or self.observation.active or self.observation.fragile:
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
        telling = [feed.spacing for api, feed in self.feeds.items() if feed.ok and api is not Api.INFO]
        return max(LEAST_STALE_AFTER, INTERVALS_UNTIL_STALE * max(self.interval, min(telling, default=0.0)))

    @property
    def stale_at(self) -> float | None:
        """The instant at which the observation goes stale; `None` before the first."""
        return None if self.last_success is None else self.last_success + self.stale_after

    @property
    def fresh_from(self) -> float | None:
        """The instant before which the observation is stale as well: the clock was set back, so its age is unknown."""
        return None if self.last_success is None else self.last_success - CLOCKS_AGREE

    def held(self, now: float) -> Observation | None:
        """The observation, as long as it is not stale."""
        fresh_from, stale_at = self.fresh_from, self.stale_at
        known = fresh_from is not None and stale_at is not None and fresh_from <= now < stale_at
        return self.observation if known else None

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


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Snapshot:
    """All workspaces by name, and what is not of any one of them. `elsewhere` has the names that other shards poll."""

    build: Build
    records: Mapping[str, Record]
    durations: Mapping[Api, Histogram] = field(default_factory=lambda: MappingProxyType({}))
    configured_at: float
    configured_well: bool = True
    web_configured_well: bool | None = None
    log_lines_dropped: int = 0
    links: Links = field(default_factory=Links)
    shard: Shard | None = None
    elsewhere: frozenset[str] = frozenset()
