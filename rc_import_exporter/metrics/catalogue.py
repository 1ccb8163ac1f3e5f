"""Everything that is published, as data: a family's name, kind, help, labels, and the pure function that reads it.

`exposition` renders it, `metrics` prints it, the README's table is generated from it, and tests hold dashboards, rules
and runbook to it. Values are as of the last poll; only `operation_age_seconds` is evaluated at the scrape.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from rc_import_exporter.core.domain import (
    FINISHED,
    KNOWN_IMPORTERS,
    OTHER_IMPORTER,
    Api,
    Budget,
    Counts,
    Kind,
    Operation,
    Outcome,
    Reason,
    State,
    Step,
)
from rc_import_exporter.core.progress import failed_ratio
from rc_import_exporter.core.snapshot import DURATION_BUCKETS, Feed, Histogram, Observation, Record, Snapshot, Track

PREFIX: Final = "rocketchat_import_"
WORKSPACE: Final = "workspace"

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, float]]


@unique
class MetricKind(StrEnum):
    """Types of the Prometheus formats that are used here."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label and, where they are known beforehand, all its values; `values` is `None` for an open set."""

    name: str
    values: tuple[str, ...] | None = None
    means: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What every family has. `name` is the sample's name, with `_total` where it is a counter.

    `beside` is empty where a panel or a rule shows the metric, and else tells why it is published all the same.
    `never` names closed label values that no scenario can bring forth, with the reason.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[Label, ...] = ()
    beside: str = ""
    never: Mapping[str, str] | None = None

    @property
    def full_name(self) -> str:
        """The name with the exporter's prefix."""
        return PREFIX + self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMetric(Metric):
    """A family with series for each workspace; `live` ones move between polls and are read at each scrape."""

    read: Callable[[Record, float], Samples]
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMetric(Metric):
    """A family about the exporter as a whole."""

    read: Callable[[Snapshot], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramMetric(Metric):
    """A histogram over all workspaces; `read` gives one for each set of labels, with the bounds `buckets`."""

    buckets: tuple[float, ...]
    read: Callable[[Snapshot], Iterable[tuple[Labels, Histogram]]]


def _one(value: float | None) -> Samples:
    return () if value is None else (((), value),)


def _value(read: Callable[[Record], float | None]) -> Callable[[Record, float], Samples]:
    return lambda record, now: _one(read(record))


def _held(read: Callable[[Observation], Samples]) -> Callable[[Record, float], Samples]:
    def samples(record: Record, now: float) -> Samples:
        observation = record.held(now)
        return () if observation is None else read(observation)

    return samples


def _operation(read: Callable[[Operation], float | None]) -> Callable[[Record, float], Samples]:
    return _held(lambda seen: () if seen.operation is None else _one(read(seen.operation)))


def _track(read: Callable[[Track], float | None]) -> Callable[[Record, float], Samples]:
    return _held(lambda seen: () if seen.track is None else _one(read(seen.track)))


def _feeds(read: Callable[[Feed], float | None]) -> Callable[[Record, float], Samples]:
    def samples(record: Record, now: float) -> Iterator[tuple[Labels, float]]:
        for api, feed in record.feeds.items():
            if (value := read(feed)) is not None:
                yield (("api", api),), value

    return samples


def _budget(read: Callable[[Budget], float | None]) -> Callable[[Record, float], Samples]:
    return _feeds(lambda feed: None if feed.budget is None else read(feed.budget))


def _closed(label: str, members: Iterable[StrEnum], current: StrEnum) -> Samples:
    return [(((label, member),), float(member is current)) for member in members]


def _info(record: Record, now: float) -> Samples:
    yield (("url", record.target.url), *record.target.labels.items()), 1.0


def _failing(record: Record, now: float) -> Samples:
    for api, feed in record.feeds.items():
        if feed.reason is not None:
            yield (("api", api), ("reason", feed.reason)), 1.0


def _operation_info(seen: Observation) -> Samples:
    if seen.operation is not None:
        labels = ("importer", seen.operation.importer), ("operation_id", seen.operation.id), ("source", seen.source)
        yield labels, 1.0


def _staged(seen: Observation) -> Samples:
    if seen.operation is not None and seen.operation.counts is not None:
        for kind, count in seen.operation.counts.staged.items():
            yield (("kind", kind),), count


def _age(record: Record, now: float) -> Samples:
    observation = record.held(now)
    if observation is not None and observation.operation is not None and observation.operation.created is not None:
        yield (), max(0.0, round(record.server_time(now) - observation.operation.created, 3))


def _last_finished(record: Record, now: float) -> Samples:
    for (importer, outcome), at in sorted(record.history.last_finished.items()):
        yield (("importer", importer), ("outcome", outcome)), at


def _last_result(read: Callable[[Counts], float | None]) -> Callable[[Record, float], Samples]:
    def samples(record: Record, now: float) -> Samples:
        for importer, track in sorted(record.history.last_results.items()):
            counts = track.operation.counts
            if counts is not None and (value := read(counts)) is not None:
                yield (("importer", importer),), value

    return samples


def _last_duration(record: Record, now: float) -> Samples:
    for importer, (_, seconds) in sorted(record.history.last_duration.items()):
        if seconds is not None:
            yield (("importer", importer),), seconds


def _recent(record: Record, now: float) -> Samples:
    listed = record.history.listed
    if listed is None or record.held(now) is None:
        return
    outcomes = [record.history.tracks[id].outcome for id in listed]
    for outcome in RECENT_OUTCOMES:
        yield (("outcome", outcome),), outcomes.count(outcome)


def _expected(read: Callable[[Record], float | None]) -> Callable[[Record, float], Samples]:
    def samples(record: Record, now: float) -> Samples:
        if (value := read(record)) is not None:
            yield (("importer", record.target.expect.importer),), value

    return samples


def _finished(record: Record, now: float) -> Samples:
    return [((("outcome", each),), record.history.finished.get(each, 0)) for each in FINISHED]


def _transitions(record: Record, now: float) -> Samples:
    return [((("state", each),), record.transitions.get(each, 0)) for each in State]


def _poll_failures(record: Record, now: float) -> Samples:
    return [((("api", api), ("reason", reason)), n) for (api, reason), n in sorted(record.failures.items())]


def _requests(record: Record, now: float) -> Samples:
    return [((("api", api), ("code", code)), n) for (api, code), n in sorted(record.requests.items())]


def _build_info(snapshot: Snapshot) -> Samples:
    build = snapshot.build
    yield (("version", build.version), ("revision", build.revision), ("pythonversion", build.python)), 1.0


RECENT_OUTCOMES: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.NONE)

_STATE = Label(name="state", values=tuple(State))
_STEP = Label(name="step", values=tuple(Step))
_OUTCOME = Label(name="outcome", values=tuple(Outcome))
_FINISHED = Label(name="outcome", values=FINISHED)
_API = Label(name="api", values=tuple(Api))
_REASON = Label(name="reason", values=tuple(Reason))
_KNOWN_IMPORTER = Label(name="importer", values=(*KNOWN_IMPORTERS, OTHER_IMPORTER))
_EXPECTED_IMPORTER = Label(name="importer", means='as configured; "" for any')
_UNLIMITED: Final = {"info": "the server limits no calls to it"}
_GAUGE, _COUNTER, _HISTOGRAM = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.HISTOGRAM

WORKSPACE_METRICS: Final[tuple[WorkspaceMetric, ...]] = (
    WorkspaceMetric(
        name="up",
        kind=_GAUGE,
        help="Whether the last poll could tell the state of the workspace's import and that is not stale.",
        read=lambda record, now: _one(float(record.up(now))),
    ),
    WorkspaceMetric(
        name="api_up",
        kind=_GAUGE,
        help="Whether the last call to this endpoint succeeded; absent where it was never called.",
        labels=(_API,),
        read=_feeds(lambda feed: float(feed.ok)),
    ),
    WorkspaceMetric(
        name="failing",
        kind=_GAUGE,
        help="1 while the last call to this endpoint failed, for this reason.",
        labels=(_API, _REASON),
        read=_failing,
        never={"internal": "a fault of the exporter itself"},
    ),
    WorkspaceMetric(
        name="last_poll_timestamp_seconds",
        kind=_GAUGE,
        help="When the workspace was last polled, whatever came of it.",
        read=_value(lambda record: record.last_poll),
    ),
    WorkspaceMetric(
        name="last_successful_poll_timestamp_seconds",
        kind=_GAUGE,
        help="When a poll could last tell the state.",
        read=_value(lambda record: record.last_success),
    ),
    WorkspaceMetric(
        name="state",
        kind=_GAUGE,
        help="State of the newest import by the server's word, as of the last poll: 1 for the one, 0 for the others.",
        labels=(_STATE,),
        read=_held(lambda seen: _closed("state", State, seen.state)),
    ),
    WorkspaceMetric(
        name="step",
        kind=_GAUGE,
        help="Step of the newest import, as of the last poll: 1 for the one, 0 for the others.",
        labels=(_STEP,),
        read=_held(lambda seen: _closed("step", Step, seen.step)),
    ),
    WorkspaceMetric(
        name="outcome",
        kind=_GAUGE,
        help="What the newest import has come to, judged by what was seen of it: 1 for the one, 0 for the others.",
        labels=(_OUTCOME,),
        read=_held(lambda seen: _closed("outcome", Outcome, seen.outcome)),
    ),
    WorkspaceMetric(
        name="workspace_info",
        kind=_GAUGE,
        help="The workspace's address and its configured labels.",
        labels=(Label(name="url"), Label(name="…", means="the workspace's configured labels")),
        read=_info,
    ),
    WorkspaceMetric(
        name="server_info",
        kind=_GAUGE,
        help="Version of the Rocket.Chat server, asked hourly; strangers are told no patch number.",
        labels=(Label(name="version"),),
        read=lambda record, now: () if record.version is None else (((("version", record.version),), 1.0),),
    ),
    WorkspaceMetric(
        name="operation_info",
        kind=_GAUGE,
        help="The newest import operation, and the endpoint that its state was read from.",
        labels=(Label(name="importer"), Label(name="operation_id"), Label(name="source", values=tuple(Api)[:3])),
        read=_held(_operation_info),
    ),
    WorkspaceMetric(
        name="operation_valid",
        kind=_GAUGE,
        help="Whether the server still holds the operation for valid; any later restart makes it 0.",
        read=_operation(lambda operation: None if operation.valid is None else float(operation.valid)),
    ),
    WorkspaceMetric(
        name="operation_records",
        kind=_GAUGE,
        help="Records that the operation counted to import (count.total); grows while loading.",
        read=_operation(lambda operation: None if operation.counts is None else operation.counts.total),
    ),
    WorkspaceMetric(
        name="operation_records_completed",
        kind=_GAUGE,
        help="Records that the operation completed (count.completed); can exceed the total, and lags by up to 499.",
        read=_operation(lambda operation: None if operation.counts is None else operation.counts.completed or 0),
    ),
    WorkspaceMetric(
        name="operation_records_failed",
        kind=_GAUGE,
        help="Records that the operation rejected (count.error); a lower bound, and for API imports also who existed.",
        read=_operation(lambda operation: None if operation.counts is None else operation.counts.failed or 0),
    ),
    WorkspaceMetric(
        name="operation_staged_records",
        kind=_GAUGE,
        help="Records that the operation counted to import, by kind.",
        labels=(Label(name="kind", values=tuple(Kind)),),
        read=_held(_staged),
    ),
    WorkspaceMetric(
        name="operation_created_timestamp_seconds",
        kind=_GAUGE,
        help="When the operation was created (ts).",
        read=_operation(lambda operation: operation.created),
    ),
    WorkspaceMetric(
        name="operation_updated_timestamp_seconds",
        kind=_GAUGE,
        help="When the server last wrote to the operation (_updatedAt); any restart may rewrite it.",
        read=_operation(lambda operation: operation.updated),
        beside="raw; a restart of the server moves it, so the progress timestamp is what panels and rules read",
    ),
    WorkspaceMetric(
        name="operation_age_seconds",
        kind=_GAUGE,
        help="Seconds since the operation was created, by the server's clock, evaluated at the scrape.",
        read=_age,
        live=True,
    ),
    WorkspaceMetric(
        name="operation_step_started_timestamp_seconds",
        kind=_GAUGE,
        help="When the operation entered its step; absent if that was not seen.",
        read=_track(lambda track: track.step_started),
    ),
    WorkspaceMetric(
        name="operation_run_started_timestamp_seconds",
        kind=_GAUGE,
        help="When the operation began to import; absent if that was not seen.",
        read=_track(lambda track: track.run_started),
    ),
    WorkspaceMetric(
        name="operation_progress_timestamp_seconds",
        kind=_GAUGE,
        help="When the operation last changed its step, its counts or anything but its validity; absent if not seen.",
        read=_track(lambda track: track.progressed),
    ),
    WorkspaceMetric(
        name="operation_finished_timestamp_seconds",
        kind=_GAUGE,
        help="When the operation ended; absent while it runs, and if its end was not seen.",
        read=_track(lambda track: track.finished),
    ),
    WorkspaceMetric(
        name="last_finished_timestamp_seconds",
        kind=_GAUGE,
        help="When an operation last finished so, over all operations known.",
        labels=(_KNOWN_IMPORTER, _FINISHED),
        read=_last_finished,
    ),
    WorkspaceMetric(
        name="last_finished_duration_seconds",
        kind=_GAUGE,
        help="Seconds from the creation of the last finished operation to its end; absent where a restart hid the end.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_duration,
    ),
    WorkspaceMetric(
        name="last_finished_records",
        kind=_GAUGE,
        help="Records to import of the newest finished operation of each importer, discarded ones left out.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(lambda counts: counts.total),
    ),
    WorkspaceMetric(
        name="last_finished_records_completed",
        kind=_GAUGE,
        help="Records completed of the newest finished operation of each importer; can exceed its records.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(lambda counts: counts.completed or 0),
    ),
    WorkspaceMetric(
        name="last_finished_records_failed",
        kind=_GAUGE,
        help="Records rejected of the newest finished operation of each importer, at least.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(lambda counts: counts.failed or 0),
    ),
    WorkspaceMetric(
        name="last_finished_failed_ratio",
        kind=_GAUGE,
        help="Share of the records, or of the people if they were counted, that the newest finished operation of each "
        "importer rejected, 0 to 1.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(failed_ratio),
    ),
    WorkspaceMetric(
        name="server_clock_offset_seconds",
        kind=_GAUGE,
        help="Seconds that Rocket.Chat's clock is ahead of the exporter's, by its Date header; 0 within 2 s, absent "
        "before the first answer.",
        read=_value(lambda record: record.clock_offset),
    ),
    WorkspaceMetric(
        name="recent_operations",
        kind=_GAUGE,
        help="Operations in the server's list of the latest 20, by what they came to.",
        labels=(Label(name="outcome", values=RECENT_OUTCOMES),),
        read=_recent,
    ),
    WorkspaceMetric(
        name="expected_success_interval_seconds",
        kind=_GAUGE,
        help="Within how many seconds of the last success another one is expected (expect.success_every).",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.success_every),
    ),
    WorkspaceMetric(
        name="expected_run_seconds",
        kind=_GAUGE,
        help="How many seconds an import is expected to run at the most (expect.longest_run).",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.longest_run),
    ),
    WorkspaceMetric(
        name="expected_failed_ratio",
        kind=_GAUGE,
        help="Which share of the records is expected to be rejected at the most (expect.failed_ratio).",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.failed_ratio),
    ),
    WorkspaceMetric(
        name="expected_records",
        kind=_GAUGE,
        help="How many records an import is expected to process at the least (expect.min_records).",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.min_records),
    ),
    WorkspaceMetric(
        name="records_completed_total",
        kind=_COUNTER,
        help="Records seen to be completed, over all operations.",
        read=_value(lambda record: record.history.completed),
    ),
    WorkspaceMetric(
        name="records_failed_total",
        kind=_COUNTER,
        help="Records seen to be rejected, over all operations.",
        read=_value(lambda record: record.history.failed),
    ),
    WorkspaceMetric(
        name="operations_started_total",
        kind=_COUNTER,
        help="Operations that were created since this exporter first saw the workspace.",
        read=_value(lambda record: record.history.started),
    ),
    WorkspaceMetric(
        name="operations_finished_total",
        kind=_COUNTER,
        help="Operations that finished since this exporter first saw the workspace, by what they came to.",
        labels=(_FINISHED,),
        read=_finished,
    ),
    WorkspaceMetric(
        name="state_transitions_total",
        kind=_COUNTER,
        help="Changes of the state that were seen, by the state entered.",
        labels=(_STATE,),
        read=_transitions,
    ),
    WorkspaceMetric(
        name="exporter_polls_total",
        kind=_COUNTER,
        help="Polls of the workspace.",
        read=_value(lambda record: record.polls),
    ),
    WorkspaceMetric(
        name="exporter_poll_failures_total",
        kind=_COUNTER,
        help="Calls that failed, by endpoint and reason; a refusal counts once where another endpoint is enough.",
        labels=(_API, _REASON),
        read=_poll_failures,
        never={"internal": "a fault of the exporter itself"},
    ),
    WorkspaceMetric(
        name="exporter_requests_total",
        kind=_COUNTER,
        help="Requests to the workspace, by endpoint and HTTP status (none where there was no answer).",
        labels=(_API, Label(name="code")),
        read=_requests,
    ),
    WorkspaceMetric(
        name="exporter_poll_interval_seconds",
        kind=_GAUGE,
        help="Seconds from the start of the last poll to the next one; grows while polls fail.",
        read=_value(lambda record: None if record.plan is None else record.plan.interval),
    ),
    WorkspaceMetric(
        name="exporter_next_poll_timestamp_seconds",
        kind=_GAUGE,
        help="When the workspace is polled next.",
        read=_value(lambda record: None if record.plan is None else record.plan.next_poll),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit",
        kind=_GAUGE,
        help="Calls that the server's rate limiter allows to this endpoint in its window of 60 s.",
        labels=(_API,),
        never=_UNLIMITED,
        read=_budget(lambda budget: budget.limit),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit_remaining",
        kind=_GAUGE,
        help="Calls that are left in the window, as of the last answer.",
        labels=(_API,),
        never=_UNLIMITED,
        read=_budget(lambda budget: budget.remaining),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit_reset_timestamp_seconds",
        kind=_GAUGE,
        help="When the rate limiter's window ends, by the server's clock.",
        labels=(_API,),
        never=_UNLIMITED,
        read=_budget(lambda budget: budget.reset),
    ),
    WorkspaceMetric(
        name="exporter_credentials_last_load_timestamp_seconds",
        kind=_GAUGE,
        help="When the workspace's user id and token were last read from their source.",
        read=_value(lambda record: record.credentials_loaded),
    ),
)

PROCESS_METRICS: Final[tuple[ProcessMetric | HistogramMetric, ...]] = (
    ProcessMetric(
        name="exporter_build_info",
        kind=_GAUGE,
        help="Version and revision of this exporter and the Python that runs it.",
        labels=(Label(name="version"), Label(name="revision"), Label(name="pythonversion")),
        read=_build_info,
    ),
    HistogramMetric(
        name="exporter_request_duration_seconds",
        kind=_HISTOGRAM,
        help="Seconds that requests to the workspaces took, body included, by endpoint.",
        labels=(_API,),
        buckets=DURATION_BUCKETS,
        read=lambda snapshot: [((("api", api),), histogram) for api, histogram in snapshot.durations.items()],
    ),
    ProcessMetric(
        name="exporter_config_last_reload_successful",
        kind=_GAUGE,
        help="Whether the configuration was last read without a mistake.",
        read=lambda snapshot: _one(float(snapshot.configured_well)),
    ),
    ProcessMetric(
        name="exporter_config_last_reload_success_timestamp_seconds",
        kind=_GAUGE,
        help="When the configuration was last read without a mistake.",
        read=lambda snapshot: _one(snapshot.configured_at),
        beside="the time beside the flag that the alert reads, as every Prometheus component has it",
    ),
)

METRICS: Final[tuple[Metric, ...]] = (*WORKSPACE_METRICS, *PROCESS_METRICS)
