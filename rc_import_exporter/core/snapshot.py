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
    LAST_STEPS,
    REFUSALS,
    RUNNING_STEPS,
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
"""Bytes. A list larger than this is requested rarely: it contains old `fileData`, which can be megabytes."""
LARGE_LIST_INTERVAL: Final = 300.0
LEAST_STALE_AFTER: Final = 90.0
INTERVALS_UNTIL_STALE: Final = 3


@unique
class Cause(StrEnum):
    """Why an operation ended early, as far as it is known."""

    UNCERTAIN = "uncertain"
    RESTARTED = "restarted"
    SUPERSEDED = "superseded"
    INVALIDATED = "invalidated"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant that lies between two bounds, Unix seconds by the server's clock.

    `seen` is true if the bounds are about one poll apart. Then `latest` is exact enough to be shown.
    """

    earliest: float
    latest: float
    seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of an operation, besides its latest version.

    `alive`: it was seen valid and unfinished. `cut`: it was seen invalid while it still loaded or imported. `sealed`:
    it was seen done or finishing while valid, so it was never cut off. `next_at_end`: another operation was created at
    the instant of its last write. So that write made it invalid, and it was done before. `next_before_end`: it was last
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
    """One operation and what was seen of it so far. Instants are Unix seconds by the server's clock.

    `state` is the server's word for it. `expected` is true if it existed at the first poll or is older: its start and
    the records that it had processed until then are not counted. `counted` holds the finished outcomes already counted.
    `high_completed` and `high_failed` are the greatest counts seen. `pace` holds the latest instants at which the
    number of processed records changed, with that number, oldest first.

    `alive_at` is the latest instant at which it was seen valid and unfinished. `step_started` and `progressed` are
    `None` if they were not seen. `moved` is `progressed` by our own clock, as both clocks were then. `run_start` and
    `end` are bounds, `None` if it has not started or ended. `dated` is the date of a finished operation for alerts: if
    it was already finished when first seen, `dated` is never later than its end. `gone_at` is when its server was found
    gone before its end.
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
        """When it began to import; `None` if that was not seen."""
        return self.run_start.latest if self.run_start is not None and self.run_start.seen else None

    @property
    def finished(self) -> float | None:
        """When it ended; `None` if that was not seen."""
        return self.end.latest if self.end is not None and self.end.seen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The operations of a workspace, and the counts over all of them.

    `horizon` is the greatest `ts` of the first poll and of the operations forgotten since; an operation with a later
    `ts` is new. It is `None` until one of the feeds has answered. `listed` holds the ids of the latest list, `None`
    before any, and `listed_for` the operation that was the newest then. `gone` holds operations that the server no
    longer has: if one comes back, it is not new.
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
        """The operation with the greatest `ts`. The state of the workspace is its state."""
        return self.tracks.get(self.current) if self.current is not None else None

    @property
    def emptied(self) -> bool:
        """Whether the server had operations before and has none now."""
        return bool(self.gone) and not self.tracks

    @property
    def last_results(self) -> Mapping[str, Track]:
        """The newest finished operation of each importer, without those that were discarded before they ran."""
        ended = [
            each for each in self.tracks.values() if each.outcome in FINISHED and each.outcome is not Outcome.DISCARDED
        ]
        ended.sort(key=lambda each: each.operation.created or 0.0)
        return {known_importer(each.operation.importer): each for each in ended}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One endpoint of one workspace, as of its last call.

    `at` is the start of that poll, `answered` its end. `failures` counts the calls that failed since the last success,
    `since` is when the first of them ended. `alone` says that no other endpoint of that server answered as Rocket.Chat
    in the same poll. `size` is the number of bytes in the last good body. `budget` is the latest known rate limit, and
    `blocked_until` is the instant before which the last answer wants no further call. `gone_since` is when a connection
    first failed since the last success. `retry` says that the endpoint may be called at once, because the configuration
    was reloaded.
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
        """Seconds between calls that spread the remaining calls of the rate limit over the rest of its window."""
        if self.budget is None or self.budget.remaining is None:
            return 0.0
        return self.budget.wait / max(1, self.budget.remaining)

    @property
    def refused(self) -> bool:
        """Whether the server refused this endpoint, or did not have it, at the last call."""
        return self.reason in REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The result of the last poll that read the state.

    `operation` is `None` if the server has none. `track` is `None` then, and also if only `getImportProgress` answered,
    which has no id. `others_run` says that another operation of the latest list loads or runs: each server of a cluster
    has its own clock, so the operation with the greatest `ts` may not be the one that runs.
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
        """Whether an operation waits, loads or runs. One in an unknown step may do so.

        This comes from the operation and not from its outcome, which stays even if a finished operation goes on.
        """
        return self.operation is not None and self.operation.valid is not False and self.step not in LAST_STEPS

    @property
    def fragile(self) -> bool:
        """Whether an operation loads or runs. A server that starts now would end it."""
        return self.others_run or (self.active and self.step in RUNNING_STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When a workspace is polled next, and the seconds to that from the planned start of the last poll."""

    next_poll: float
    interval: float


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Record:
    """One workspace. `told` says whether the last poll read the state. `last_state` is the latest one from a feed."""

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
        """Seconds from one poll to the next as long as nothing fails.

        Before the first success, a workspace counts as busy. If only a large list answers, it is requested every 5
        minutes.
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
        """Seconds after the last success after which the observation is no longer published."""
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
        """The observation is also stale before this instant: the clock was set back, so its age is unknown."""
        return None if self.last_success is None else self.last_success - CLOCKS_AGREE

    def held(self, now: float) -> Observation | None:
        """The observation, as long as it is not stale."""
        fresh_from, stale_at = self.fresh_from, self.stale_at
        known = fresh_from is not None and stale_at is not None and fresh_from <= now < stale_at
        return self.observation if known else None

    def up(self, now: float) -> bool:
        """Whether the last poll read the state and that is not stale."""
        return self.told and self.held(now) is not None

    def restart_safe(self, now: float) -> bool | None:
        """Whether a server of Rocket.Chat may start now without ending an import; `None` if that is not known.

        An import that loaded or ran when it was last seen may still do so, even if that was long ago.
        """
        if self.observation is not None and self.observation.fragile:
            return False
        held = self.held(now) if self.told else None
        return None if held is None or (held.active and held.step is Step.UNKNOWN) else True

    @property
    def refused_everywhere(self) -> bool:
        """Whether only `getImportProgress` is left: both feeds are refused, missing, or not allowed by `apis`."""
        return all(
            api not in self.target.apis or ((feed := self.feeds.get(api)) is not None and feed.refused) for api in FEEDS
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Request durations of one endpoint in all workspaces. `counts` is for each bucket alone, the last for +Inf."""

    counts: tuple[int, ...]
    total: float = 0.0


DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, seconds. A healthy server answers in tens of milliseconds; the default timeout is 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The version that runs."""

    version: str
    revision: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Snapshot:
    """All workspaces by name, and facts about the exporter. `elsewhere` has the names that other shards poll."""

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
