"""All metrics, one row for each: name, type, help text, labels, and the function that reads its values.

To add a metric, add a row. The pages, the command `metrics` and the tables in the documents all follow from it. Values
are as of the last poll; only `operation_age_seconds` is calculated at the scrape.
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
from rc_import_exporter.core.progress import failed_ratio, progressed
from rc_import_exporter.core.snapshot import DURATION_BUCKETS, Feed, Histogram, Observation, Record, Snapshot, Track

PREFIX: Final = "rocketchat_import_"
WORKSPACE: Final = "workspace"

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, float]]


@unique
class MetricKind(StrEnum):
    """The types of metrics in use, by their names in the Prometheus formats."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label. `values` holds every possible value, or is `None` if any text is possible. `means` is for documents."""

    name: str
    values: tuple[str, ...] | None = None
    means: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What every metric has.

    `name` has no prefix, and ends with `_total` if the metric is a counter. `beside` says why the metric exists if no
    dashboard and no rule uses it, and is empty otherwise. `never` names label values that no test scenario can produce,
    each with the reason.
    """

    name: str
    kind: MetricKind = MetricKind.GAUGE
    help: str
    labels: tuple[Label, ...] = ()
    beside: str = ""
    never: Mapping[str, str] | None = None

    @property
    def full_name(self) -> str:
        """The name with the prefix that all metrics share."""
        return PREFIX + self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMetric(Metric):
    """A metric of each workspace. `live` says that its value changes between polls, so each scrape reads it again."""

    read: Callable[[Record, float], Samples]
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMetric(Metric):
    """A metric of the exporter as a whole."""

    read: Callable[[Snapshot], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramMetric(Metric):
    """A histogram over all workspaces. `buckets` are the upper bounds; `read` gives one for each set of labels."""

    buckets: tuple[float, ...]
    read: Callable[[Snapshot], Iterable[tuple[Labels, Histogram]]]


# Each function from `_value` to `_budget` turns a simpler function into a metric's `read`. Where that gives `None`, the
# metric has no sample.


def _one(value: float | None) -> Samples:
    return () if value is None else (((), value),)


def _value(read: Callable[[Record], float | None]) -> Callable[[Record, float], Samples]:
    return lambda record, now: _one(read(record))


def _held(read: Callable[[Observation], Samples]) -> Callable[[Record, float], Samples]:
    """No sample once the last answer is too old: nothing is published that may no longer be true."""

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


def _progressed(record: Record, now: float) -> Samples:
    observation = record.held(now)
    return () if observation is None or observation.track is None else _one(progressed(record, observation.track))


def _last_finished(record: Record, now: float) -> Samples:
    for (importer, outcome), at in sorted(record.history.last_finished.items()):
        yield (("importer", importer), ("outcome", outcome)), at


def _last_result(read: Callable[[Counts], float | None]) -> Callable[[Record, float], Samples]:
    def samples(record: Record, now: float) -> Samples:
        for importer, track in sorted(record.history.last_results.items()):
            if (value := read(track.operation.counts or Counts())) is not None:
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


def _links(snapshot: Snapshot) -> Samples:
    yield (("external_url", snapshot.links.external_url), ("grafana_url", snapshot.links.grafana_url)), 1.0


def _shard(snapshot: Snapshot) -> Samples:
    if snapshot.shard is not None:
        yield (("index", str(snapshot.shard.index)), ("count", str(snapshot.shard.count))), 1.0


RECENT_OUTCOMES: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.NONE)

_STATE = Label(name="state", values=tuple(State))
_STEP = Label(name="step", values=tuple(Step))
_OUTCOME = Label(name="outcome", values=tuple(Outcome))
_FINISHED = Label(name="outcome", values=FINISHED)
_API = Label(name="api", values=tuple(Api))
_REASON = Label(name="reason", values=tuple(Reason))
_KNOWN_IMPORTER = Label(name="importer", values=(*KNOWN_IMPORTERS, OTHER_IMPORTER))
_EXPECTED_IMPORTER = Label(name="importer", means='as configured; "" for any')
_UNLIMITED: Final = {"info": "the server does not limit calls to it"}
_COUNTER: Final = MetricKind.COUNTER

WORKSPACE_METRICS: Final[tuple[WorkspaceMetric, ...]] = (
    WorkspaceMetric(
        name="up",
        help="1 if the last poll read the import's state and that is not too old, else 0.",
        read=lambda record, now: _one(float(record.up(now))),
    ),
    WorkspaceMetric(
        name="api_up",
        help="1 if the last call to this endpoint succeeded, else 0. Absent before the first call.",
        labels=(_API,),
        read=_feeds(lambda feed: float(feed.ok)),
    ),
    WorkspaceMetric(
        name="failing",
        help="1 if the last call to this endpoint failed, by the reason. Absent if it succeeded.",
        labels=(_API, _REASON),
        read=_failing,
        never={"internal": "only a bug in the exporter gives this reason"},
    ),
    WorkspaceMetric(
        name="last_poll_timestamp_seconds",
        help="Unix time of the last poll, successful or not. Absent before the first.",
        read=_value(lambda record: record.last_poll),
    ),
    WorkspaceMetric(
        name="last_successful_poll_timestamp_seconds",
        help="Unix time of the last poll that read the import's state. Absent before the first.",
        read=_value(lambda record: record.last_success),
    ),
    WorkspaceMetric(
        name="state",
        help="State of the newest import: 1 for the current one, else 0. Absent if the last answer is too old.",
        labels=(_STATE,),
        read=_held(lambda seen: _closed("state", State, seen.state)),
    ),
    WorkspaceMetric(
        name="step",
        help="Step of the newest import: 1 for the current one, else 0. Absent if the last answer is too old.",
        labels=(_STEP,),
        read=_held(lambda seen: _closed("step", Step, seen.step)),
    ),
    WorkspaceMetric(
        name="outcome",
        help="Outcome of the newest import: 1 for the current one, else 0. Absent if the last answer is too old.",
        labels=(_OUTCOME,),
        read=_held(lambda seen: _closed("outcome", Outcome, seen.outcome)),
    ),
    WorkspaceMetric(
        name="workspace_info",
        help="Always 1. The workspace's URL and its configured labels.",
        labels=(Label(name="url"), Label(name="…", means="the workspace's configured labels")),
        read=_info,
    ),
    WorkspaceMetric(
        name="server_info",
        help="Always 1. The version of Rocket.Chat. The patch number is missing if the user may not see it.",
        labels=(Label(name="version"),),
        read=lambda record, now: () if record.version is None else (((("version", record.version),), 1.0),),
    ),
    WorkspaceMetric(
        name="operation_info",
        help="Always 1. The newest operation and the endpoint that tells its state. Absent if there is none.",
        labels=(Label(name="importer"), Label(name="operation_id"), Label(name="source", values=tuple(Api)[:3])),
        read=_held(_operation_info),
    ),
    WorkspaceMetric(
        name="operation_valid",
        help="1 if the server marks the newest operation as valid, else 0. Any later restart sets it to 0.",
        read=_operation(lambda operation: None if operation.valid is None else float(operation.valid)),
    ),
    WorkspaceMetric(
        name="operation_records",
        help="Records in the newest operation (count.total). Grows while it loads. Absent before any is counted.",
        read=_operation(lambda operation: None if operation.counts is None else operation.counts.total),
    ),
    WorkspaceMetric(
        name="operation_records_completed",
        help="Records that the newest operation completed (count.completed). Can exceed the total; up to 499 late.",
        read=_operation(lambda operation: None if operation.counts is None else operation.counts.completed or 0),
    ),
    WorkspaceMetric(
        name="operation_records_failed",
        help="Records that the newest operation rejected (count.error), or more. API imports add users who exist.",
        read=_operation(lambda operation: None if operation.counts is None else operation.counts.failed or 0),
    ),
    WorkspaceMetric(
        name="operation_staged_records",
        help="Records that the newest operation found to import, by kind. Absent for a kind that was not counted.",
        labels=(Label(name="kind", values=tuple(Kind)),),
        read=_held(_staged),
    ),
    WorkspaceMetric(
        name="operation_created_timestamp_seconds",
        help="Unix time at which the newest operation was created (ts).",
        read=_operation(lambda operation: operation.created),
    ),
    WorkspaceMetric(
        name="operation_updated_timestamp_seconds",
        help="Unix time of the server's last write to the newest operation (_updatedAt). A restart can change it.",
        read=_operation(lambda operation: operation.updated),
    ),
    WorkspaceMetric(
        name="operation_age_seconds",
        help="Seconds since the newest operation was created, by the server's clock. Calculated at each scrape.",
        read=_age,
        live=True,
    ),
    WorkspaceMetric(
        name="operation_step_started_timestamp_seconds",
        help="Unix time at which the newest operation entered its step. Absent if the exporter did not see it.",
        read=_track(lambda track: track.step_started),
    ),
    WorkspaceMetric(
        name="operation_run_started_timestamp_seconds",
        help="Unix time at which the newest operation began to import. Absent if the exporter did not see it.",
        read=_track(lambda track: track.run_started),
    ),
    WorkspaceMetric(
        name="operation_progress_timestamp_seconds",
        help="Unix time of the newest operation's last progress: all changes but its validity. Absent if not seen.",
        read=_progressed,
    ),
    WorkspaceMetric(
        name="operation_finished_timestamp_seconds",
        help="Unix time at which the newest operation ended. Absent while it runs, and if its end was not seen.",
        read=_track(lambda track: track.finished),
    ),
    WorkspaceMetric(
        name="last_finished_timestamp_seconds",
        help="Unix time at which an import last finished, by importer and outcome. Absent if none was seen.",
        labels=(_KNOWN_IMPORTER, _FINISHED),
        read=_last_finished,
    ),
    WorkspaceMetric(
        name="last_finished_duration_seconds",
        help="Seconds from the last finished import's creation to its end. Absent if a restart hid the end.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_duration,
    ),
    WorkspaceMetric(
        name="last_finished_records",
        help="Records in each importer's newest finished operation that was not discarded. Absent if not counted.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(lambda counts: counts.total),
    ),
    WorkspaceMetric(
        name="last_finished_records_completed",
        help="Records that each importer's newest finished operation completed. Can exceed its records.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(lambda counts: counts.completed or 0),
    ),
    WorkspaceMetric(
        name="last_finished_records_failed",
        help="Records that each importer's newest finished operation rejected, or more.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(lambda counts: counts.failed or 0),
    ),
    WorkspaceMetric(
        name="last_finished_failed_ratio",
        help="Share that each importer's newest finished operation rejected, 0 to 1. Of people, if they were counted.",
        labels=(_KNOWN_IMPORTER,),
        read=_last_result(failed_ratio),
    ),
    WorkspaceMetric(
        name="server_clock_offset_seconds",
        help="Seconds that Rocket.Chat's clock is ahead (Date header). 0 within 2 s. Absent before the first answer.",
        read=_value(lambda record: record.clock_offset),
    ),
    WorkspaceMetric(
        name="recent_operations",
        help="Operations in the server's list of the latest 20, by outcome. Absent without access to the list.",
        labels=(Label(name="outcome", values=RECENT_OUTCOMES),),
        read=_recent,
    ),
    WorkspaceMetric(
        name="expected_success_interval_seconds",
        help="Longest expected time from one success to the next, seconds (expect.success_every). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.success_every),
    ),
    WorkspaceMetric(
        name="expected_run_seconds",
        help="Longest expected run of an import, seconds (expect.longest_run). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.longest_run),
    ),
    WorkspaceMetric(
        name="expected_failed_ratio",
        help="Largest expected share of rejected records, 0 to 1 (expect.failed_ratio). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.failed_ratio),
    ),
    WorkspaceMetric(
        name="expected_records",
        help="Smallest expected number of records in an import (expect.min_records). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=_expected(lambda record: record.target.expect.min_records),
    ),
    WorkspaceMetric(
        name="records_completed_total",
        kind=_COUNTER,
        help="Records that the exporter saw completed, over all operations.",
        read=_value(lambda record: record.history.completed),
    ),
    WorkspaceMetric(
        name="records_failed_total",
        kind=_COUNTER,
        help="Records that the exporter saw rejected, over all operations.",
        read=_value(lambda record: record.history.failed),
    ),
    WorkspaceMetric(
        name="operations_started_total",
        kind=_COUNTER,
        help="Operations created since the exporter first read the workspace.",
        read=_value(lambda record: record.history.started),
    ),
    WorkspaceMetric(
        name="operations_finished_total",
        kind=_COUNTER,
        help="Operations finished since the exporter first read the workspace, by outcome.",
        labels=(_FINISHED,),
        read=_finished,
    ),
    WorkspaceMetric(
        name="state_transitions_total",
        kind=_COUNTER,
        help="Changes of the import's state that the exporter saw, by the new state.",
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
        help="Failed calls, by endpoint and reason. A refusal counts once if another endpoint tells the state.",
        labels=(_API, _REASON),
        read=_poll_failures,
        never={"internal": "only a bug in the exporter gives this reason"},
    ),
    WorkspaceMetric(
        name="exporter_requests_total",
        kind=_COUNTER,
        help="HTTP requests by endpoint and status code. The code is none without an answer, and other after 20 codes.",
        labels=(_API, Label(name="code")),
        read=_requests,
    ),
    WorkspaceMetric(
        name="exporter_poll_interval_seconds",
        help="Seconds from the start of the last poll to the next one. Grows while polls fail.",
        read=_value(lambda record: None if record.plan is None else record.plan.interval),
    ),
    WorkspaceMetric(
        name="exporter_next_poll_timestamp_seconds",
        help="Unix time of the next poll.",
        read=_value(lambda record: None if record.plan is None else record.plan.next_poll),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit",
        help="Calls to this endpoint that the server allows in 60 s. Absent if it does not limit this user.",
        labels=(_API,),
        never=_UNLIMITED,
        read=_budget(lambda budget: budget.limit),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit_remaining",
        help="Calls that the last answer left in the 60 s. Absent if the server does not limit this user.",
        labels=(_API,),
        never=_UNLIMITED,
        read=_budget(lambda budget: budget.remaining),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit_reset_timestamp_seconds",
        help="Unix time, by the server's clock, at which the 60 s end. Absent if it does not limit this user.",
        labels=(_API,),
        never=_UNLIMITED,
        read=_budget(lambda budget: budget.reset),
    ),
    WorkspaceMetric(
        name="exporter_credentials_last_load_timestamp_seconds",
        help="Unix time at which the exporter last read the workspace's user id and token.",
        read=_value(lambda record: record.credentials_loaded),
    ),
)

PROCESS_METRICS: Final[tuple[ProcessMetric | HistogramMetric, ...]] = (
    ProcessMetric(
        name="exporter_build_info",
        help="Always 1. Version and revision of this exporter, and the version of Python that runs it.",
        labels=(Label(name="version"), Label(name="revision"), Label(name="pythonversion")),
        read=_build_info,
    ),
    ProcessMetric(
        name="exporter_info",
        help="Always 1. The URLs at which people open this exporter and Grafana. Empty where not configured.",
        labels=(Label(name="external_url"), Label(name="grafana_url")),
        read=_links,
    ),
    ProcessMetric(
        name="exporter_shard_info",
        help="Always 1. Which part of the workspaces this exporter polls, from 0, and the number of parts. Absent "
        "without shards.",
        labels=(Label(name="index"), Label(name="count")),
        read=_shard,
        beside="alerts and dashboards follow a workspace from shard to shard; this tells where it is",
    ),
    HistogramMetric(
        name="exporter_request_duration_seconds",
        kind=MetricKind.HISTOGRAM,
        help="Seconds that a request to a workspace took, including the body, by endpoint.",
        labels=(_API,),
        buckets=DURATION_BUCKETS,
        read=lambda snapshot: [((("api", api),), histogram) for api, histogram in snapshot.durations.items()],
    ),
    ProcessMetric(
        name="exporter_config_last_reload_successful",
        help="1 if the last attempt to read the configuration succeeded, else 0.",
        read=lambda snapshot: _one(float(snapshot.configured_well)),
    ),
    ProcessMetric(
        name="exporter_config_last_reload_success_timestamp_seconds",
        help="Unix time at which the configuration was last read successfully.",
        read=lambda snapshot: _one(snapshot.configured_at),
        beside="every Prometheus component has this time beside the flag that the alert reads",
    ),
    ProcessMetric(
        name="exporter_web_config_last_reload_successful",
        help="1 if the last attempt to read the web configuration file and its certificates succeeded, else 0. Absent "
        "without such a file.",
        read=lambda snapshot: _one(snapshot.web_configured_well),
    ),
    ProcessMetric(
        name="exporter_log_lines_dropped_total",
        kind=MetricKind.COUNTER,
        help="Log lines that were lost because the reader of standard error stopped or was too slow.",
        read=lambda snapshot: _one(snapshot.log_lines_dropped),
        beside="only needed when lines are missing in the log",
    ),
)

METRICS: Final[tuple[Metric, ...]] = (*WORKSPACE_METRICS, *PROCESS_METRICS)
