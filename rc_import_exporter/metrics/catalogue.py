"""All metrics, one row for each: name, type, help text, labels, and the function that reads its values.

To add a metric, add a row. The pages, the command `metrics` and the tables in the documents all follow from it. Values
are as of the last poll; only `operation_age_seconds` is calculated at the scrape.
"""

from typing import Final

from rc_import_exporter.core.domain import (
    FINISHED,
    KNOWN_IMPORTERS,
    OTHER_IMPORTER,
    Api,
    Kind,
    Outcome,
    Reason,
    State,
    Step,
)
from rc_import_exporter.core.progress import failed_ratio
from rc_import_exporter.core.snapshot import DURATION_BUCKETS
from rc_import_exporter.metrics import samples
from rc_import_exporter.metrics.metric import HistogramMetric, Label, Metric, MetricKind, ProcessMetric, WorkspaceMetric
from rc_import_exporter.metrics.samples import RECENT_OUTCOMES

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
        read=samples.UP,
    ),
    WorkspaceMetric(
        name="api_up",
        help="1 if the last call to this endpoint succeeded, else 0. Absent before the first call.",
        labels=(_API,),
        read=samples.of_feeds(lambda feed: float(feed.ok)),
    ),
    WorkspaceMetric(
        name="failing",
        help="1 if the last call to this endpoint failed, by the reason. Absent if it succeeded.",
        labels=(_API, _REASON),
        read=samples.FAILING,
        never={"internal": "only a bug in the exporter gives this reason"},
    ),
    WorkspaceMetric(
        name="last_poll_timestamp_seconds",
        help="Unix time of the last poll, successful or not. Absent before the first.",
        read=samples.of_record(lambda record: record.last_poll),
    ),
    WorkspaceMetric(
        name="last_successful_poll_timestamp_seconds",
        help="Unix time of the last poll that read the import's state. Absent before the first.",
        read=samples.of_record(lambda record: record.last_success),
    ),
    WorkspaceMetric(
        name="state",
        help="State of the newest import: 1 for the current one, else 0. Absent if the last answer is too old.",
        labels=(_STATE,),
        read=samples.flags("state", State, lambda seen: seen.state),
    ),
    WorkspaceMetric(
        name="step",
        help="Step of the newest import: 1 for the current one, else 0. Absent if the last answer is too old.",
        labels=(_STEP,),
        read=samples.flags("step", Step, lambda seen: seen.step),
    ),
    WorkspaceMetric(
        name="outcome",
        help="Outcome of the newest import: 1 for the current one, else 0. Absent if the last answer is too old.",
        labels=(_OUTCOME,),
        read=samples.flags("outcome", Outcome, lambda seen: seen.outcome),
    ),
    WorkspaceMetric(
        name="workspace_info",
        help="Always 1. The workspace's URL and its configured labels.",
        labels=(Label(name="url"), Label(name="…", means="the workspace's configured labels")),
        read=samples.WORKSPACE_INFO,
    ),
    WorkspaceMetric(
        name="server_info",
        help="Always 1. The version of Rocket.Chat. The patch number is missing if the user may not see it.",
        labels=(Label(name="version"),),
        read=samples.SERVER_INFO,
    ),
    WorkspaceMetric(
        name="operation_info",
        help="Always 1. The newest operation and the endpoint that tells its state. Absent if there is none.",
        labels=(Label(name="importer"), Label(name="operation_id"), Label(name="source", values=tuple(Api)[:3])),
        read=samples.OPERATION_INFO,
    ),
    WorkspaceMetric(
        name="operation_valid",
        help="1 if the server marks the newest operation as valid, else 0. Any later restart sets it to 0.",
        read=samples.of_operation(lambda operation: None if operation.valid is None else float(operation.valid)),
    ),
    WorkspaceMetric(
        name="operation_records",
        help="Records in the newest operation (count.total). Grows while it loads. Absent before any is counted.",
        read=samples.of_operation(lambda operation: None if operation.counts is None else operation.counts.total),
    ),
    WorkspaceMetric(
        name="operation_records_completed",
        help="Records that the newest operation completed (count.completed). Can exceed the total; up to 499 late.",
        read=samples.of_operation(
            lambda operation: None if operation.counts is None else operation.counts.completed or 0
        ),
    ),
    WorkspaceMetric(
        name="operation_records_failed",
        help="Records that the newest operation rejected (count.error), or more. API imports add users who exist.",
        read=samples.of_operation(lambda operation: None if operation.counts is None else operation.counts.failed or 0),
    ),
    WorkspaceMetric(
        name="operation_staged_records",
        help="Records that the newest operation found to import, by kind. Absent for a kind that was not counted.",
        labels=(Label(name="kind", values=tuple(Kind)),),
        read=samples.STAGED_RECORDS,
    ),
    WorkspaceMetric(
        name="operation_created_timestamp_seconds",
        help="Unix time at which the newest operation was created (ts).",
        read=samples.of_operation(lambda operation: operation.created),
    ),
    WorkspaceMetric(
        name="operation_updated_timestamp_seconds",
        help="Unix time of the server's last write to the newest operation (_updatedAt). A restart can change it.",
        read=samples.of_operation(lambda operation: operation.updated),
    ),
    WorkspaceMetric(
        name="operation_age_seconds",
        help="Seconds since the newest operation was created, by the server's clock. Calculated at each scrape.",
        read=samples.OPERATION_AGE,
    ),
    WorkspaceMetric(
        name="operation_step_started_timestamp_seconds",
        help="Unix time at which the newest operation entered its step. Absent if the exporter did not see it.",
        read=samples.of_track(lambda track: track.step_started),
    ),
    WorkspaceMetric(
        name="operation_run_started_timestamp_seconds",
        help="Unix time at which the newest operation began to import. Absent if the exporter did not see it.",
        read=samples.of_track(lambda track: track.run_started),
    ),
    WorkspaceMetric(
        name="operation_progress_timestamp_seconds",
        help="Unix time of the newest operation's last progress: all changes but its validity. Absent if not seen.",
        read=samples.PROGRESS_TIME,
    ),
    WorkspaceMetric(
        name="operation_finished_timestamp_seconds",
        help="Unix time at which the newest operation ended. Absent while it runs, and if its end was not seen.",
        read=samples.of_track(lambda track: track.finished),
    ),
    WorkspaceMetric(
        name="last_finished_timestamp_seconds",
        help="Unix time at which an import last finished, by importer and outcome. Absent if none was seen.",
        labels=(_KNOWN_IMPORTER, _FINISHED),
        read=samples.LAST_FINISHED,
    ),
    WorkspaceMetric(
        name="last_finished_duration_seconds",
        help="Seconds from the last finished import's creation to its end. Absent if a restart hid the end.",
        labels=(_KNOWN_IMPORTER,),
        read=samples.LAST_DURATIONS,
    ),
    WorkspaceMetric(
        name="last_finished_records",
        help="Records in each importer's newest finished operation that was not discarded. Absent if not counted.",
        labels=(_KNOWN_IMPORTER,),
        read=samples.of_last_results(lambda counts: counts.total),
    ),
    WorkspaceMetric(
        name="last_finished_records_completed",
        help="Records that each importer's newest finished operation completed. Can exceed its records.",
        labels=(_KNOWN_IMPORTER,),
        read=samples.of_last_results(lambda counts: counts.completed or 0),
    ),
    WorkspaceMetric(
        name="last_finished_records_failed",
        help="Records that each importer's newest finished operation rejected, or more.",
        labels=(_KNOWN_IMPORTER,),
        read=samples.of_last_results(lambda counts: counts.failed or 0),
    ),
    WorkspaceMetric(
        name="last_finished_failed_ratio",
        help="Share that each importer's newest finished operation rejected, 0 to 1. Of people, if they were counted.",
        labels=(_KNOWN_IMPORTER,),
        read=samples.of_last_results(failed_ratio),
    ),
    WorkspaceMetric(
        name="server_clock_offset_seconds",
        help="Seconds that Rocket.Chat's clock is ahead (Date header). 0 within 2 s. Absent before the first answer.",
        read=samples.of_record(lambda record: record.clock_offset),
    ),
    WorkspaceMetric(
        name="recent_operations",
        help="Operations in the server's list of the latest 20, by outcome. Absent without access to the list.",
        labels=(Label(name="outcome", values=RECENT_OUTCOMES),),
        read=samples.RECENT_OPERATIONS,
    ),
    WorkspaceMetric(
        name="expected_success_interval_seconds",
        help="Longest expected time from one success to the next, seconds (expect.success_every). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=samples.of_expectation(lambda record: record.target.expect.success_every),
    ),
    WorkspaceMetric(
        name="expected_run_seconds",
        help="Longest expected run of an import, seconds (expect.longest_run). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=samples.of_expectation(lambda record: record.target.expect.longest_run),
    ),
    WorkspaceMetric(
        name="expected_failed_ratio",
        help="Largest expected share of rejected records, 0 to 1 (expect.failed_ratio). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=samples.of_expectation(lambda record: record.target.expect.failed_ratio),
    ),
    WorkspaceMetric(
        name="expected_records",
        help="Smallest expected number of records in an import (expect.min_records). Absent if not set.",
        labels=(_EXPECTED_IMPORTER,),
        read=samples.of_expectation(lambda record: record.target.expect.min_records),
    ),
    WorkspaceMetric(
        name="records_completed_total",
        kind=_COUNTER,
        help="Records that the exporter saw completed, over all operations.",
        read=samples.of_record(lambda record: record.history.completed),
    ),
    WorkspaceMetric(
        name="records_failed_total",
        kind=_COUNTER,
        help="Records that the exporter saw rejected, over all operations.",
        read=samples.of_record(lambda record: record.history.failed),
    ),
    WorkspaceMetric(
        name="operations_started_total",
        kind=_COUNTER,
        help="Operations created since the exporter first read the workspace.",
        read=samples.of_record(lambda record: record.history.started),
    ),
    WorkspaceMetric(
        name="operations_finished_total",
        kind=_COUNTER,
        help="Operations finished since the exporter first read the workspace, by outcome.",
        labels=(_FINISHED,),
        read=samples.OPERATIONS_FINISHED,
    ),
    WorkspaceMetric(
        name="state_transitions_total",
        kind=_COUNTER,
        help="Changes of the import's state that the exporter saw, by the new state.",
        labels=(_STATE,),
        read=samples.STATE_TRANSITIONS,
    ),
    WorkspaceMetric(
        name="exporter_polls_total",
        kind=_COUNTER,
        help="Polls of the workspace.",
        read=samples.of_record(lambda record: record.polls),
    ),
    WorkspaceMetric(
        name="exporter_poll_failures_total",
        kind=_COUNTER,
        help="Failed calls, by endpoint and reason. A refusal counts once if another endpoint tells the state.",
        labels=(_API, _REASON),
        read=samples.POLL_FAILURES,
        never={"internal": "only a bug in the exporter gives this reason"},
    ),
    WorkspaceMetric(
        name="exporter_requests_total",
        kind=_COUNTER,
        help="HTTP requests by endpoint and status code. The code is none without an answer, and other after 20 codes.",
        labels=(_API, Label(name="code")),
        read=samples.REQUESTS,
    ),
    WorkspaceMetric(
        name="exporter_poll_interval_seconds",
        help="Seconds from the start of the last poll to the next one. Grows while polls fail.",
        read=samples.of_record(lambda record: None if record.plan is None else record.plan.interval),
    ),
    WorkspaceMetric(
        name="exporter_next_poll_timestamp_seconds",
        help="Unix time of the next poll.",
        read=samples.of_record(lambda record: None if record.plan is None else record.plan.next_poll),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit",
        help="Calls to this endpoint that the server allows in 60 s. Absent if it does not limit this user.",
        labels=(_API,),
        never=_UNLIMITED,
        read=samples.of_budget(lambda budget: budget.limit),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit_remaining",
        help="Calls that the last answer left in the 60 s. Absent if the server does not limit this user.",
        labels=(_API,),
        never=_UNLIMITED,
        read=samples.of_budget(lambda budget: budget.remaining),
    ),
    WorkspaceMetric(
        name="exporter_rate_limit_reset_timestamp_seconds",
        help="Unix time, by the server's clock, at which the 60 s end. Absent if it does not limit this user.",
        labels=(_API,),
        never=_UNLIMITED,
        read=samples.of_budget(lambda budget: budget.reset),
    ),
    WorkspaceMetric(
        name="exporter_credentials_last_load_timestamp_seconds",
        help="Unix time at which the exporter last read the workspace's user id and token.",
        read=samples.of_record(lambda record: record.credentials_loaded),
    ),
)

PROCESS_METRICS: Final[tuple[ProcessMetric | HistogramMetric, ...]] = (
    ProcessMetric(
        name="exporter_build_info",
        help="Always 1. Version and revision of this exporter, and the version of Python that runs it.",
        labels=(Label(name="version"), Label(name="revision"), Label(name="pythonversion")),
        read=samples.build_info,
    ),
    ProcessMetric(
        name="exporter_info",
        help="Always 1. The URLs at which people open this exporter and Grafana. Empty where not configured.",
        labels=(Label(name="external_url"), Label(name="grafana_url")),
        read=samples.addresses,
    ),
    ProcessMetric(
        name="exporter_shard_info",
        help="Always 1. Which part of the workspaces this exporter polls, from 0, and the number of parts. Absent "
        "without shards.",
        labels=(Label(name="index"), Label(name="count")),
        read=samples.shard_info,
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
        read=lambda snapshot: samples.one(float(snapshot.configured_well)),
    ),
    ProcessMetric(
        name="exporter_config_last_reload_success_timestamp_seconds",
        help="Unix time at which the configuration was last read successfully.",
        read=lambda snapshot: samples.one(snapshot.configured_at),
        beside="every Prometheus component has this time beside the flag that the alert reads",
    ),
    ProcessMetric(
        name="exporter_web_config_last_reload_successful",
        help="1 if the last attempt to read the web configuration file and its certificates succeeded, else 0. Absent "
        "without such a file.",
        read=lambda snapshot: samples.one(snapshot.web_configured_well),
    ),
    ProcessMetric(
        name="exporter_log_lines_dropped_total",
        kind=MetricKind.COUNTER,
        help="Log lines that were lost because the reader of standard error stopped or was too slow.",
        read=lambda snapshot: samples.one(snapshot.log_lines_dropped),
        beside="only needed when lines are missing in the log",
    ),
)

METRICS: Final[tuple[Metric, ...]] = (*WORKSPACE_METRICS, *PROCESS_METRICS)
