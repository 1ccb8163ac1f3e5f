# ruff: noqa: INP001 - beside the package, not a part of it
"""What Grafana's own alerts remember, and how: Grafana has no recording rules, so each query looks back by itself."""

from collections.abc import Mapping
from typing import Final

BY: Final = "cluster, namespace, workspace"
_TARGET: Final = "cluster, namespace, job, instance"
_ACTIVE: Final = 'last_over_time(rocketchat_import_outcome{outcome=~"loading|running"}[12h])'
_RUNNING: Final = (
    f"max by ({BY}, operation_id) (rocketchat_import_operation_info) "
    f'and on ({BY}) (rocketchat_import_outcome{{outcome="running"}} == 1)'
)
_JOB: Final = "cluster, namespace, job"
_EXPORTERS: Final = f"count by ({_JOB}) (rocketchat_import_exporter_build_info)"
_GONE: Final = (
    f"quantile_over_time(0.5, (max by ({_TARGET}) (rocketchat_import_exporter_build_info) "
    f"* on ({_JOB}) group_left () {_EXPORTERS})[7d:30m]) > on ({_JOB}) group_left () {_EXPORTERS} "
    f"or last_over_time(rocketchat_import_exporter_build_info[7d]) "
    f"unless on ({_JOB}) (rocketchat_import_exporter_build_info or rocketchat_import_up)"
)
"""Exporters whose job has fewer exporters now than it had, by the median, while they were there."""
_LONG_AGO: Final = " or ".join(
    f"rocketchat_import_up offset {age}" for age in ("12h", "1d", "2d", "3d", "4d", "5d", "6d", "7d")
)
"""Workspaces that were watched within a week, and for a day or longer. To read all samples of a week would be slow."""
KNOWN: Final = (
    f"timestamp(rocketchat_import_workspace_info) "
    f"or on ({BY}) max_over_time(timestamp(rocketchat_import_workspace_info)[12h:10m])"
)
"""The labels of workspaces for Grafana, which remembers them as long as a running import."""
WITHOUT_MEMORY: Final[Mapping[str, str]] = {
    "rocketchat_import:last_finished_timestamp_seconds": (
        f"max by ({BY}, importer, outcome) (max_over_time(rocketchat_import_last_finished_timestamp_seconds{{}}[1d]))"
    ),
    "rocketchat_import:server_time_seconds": (
        f"time() + (max by ({BY}) (last_over_time(rocketchat_import_server_clock_offset_seconds[1h])) or 0 * max by "
        f"({BY}) (last_over_time(rocketchat_import_up[1d]) or rocketchat_import_last_finished_timestamp_seconds))"
    ),
    "rocketchat_import:expected_since_timestamp_seconds": (
        f"min by ({BY}, importer) ("
        "min_over_time(timestamp(rocketchat_import:expected_success_interval_seconds)[1d:30m]) "
        'or label_replace(min_over_time(timestamp(rocketchat_import:expected_success_interval_seconds)[31d:1d]), "of", '
        '"days", "", ""))'
    ),
    "rocketchat_import:last_active_timestamp_seconds": (
        f"max by ({BY}) ({_ACTIVE} and on ({BY}, job, instance) rocketchat_import_up or on ({BY}) {_ACTIVE}) * time()"
    ),
    "rocketchat_import:run_seen_timestamp_seconds": (
        f"min by ({BY}, operation_id) (min_over_time(timestamp({_RUNNING})[1d:30m]))"
    ),
    "rocketchat_import:watched_timestamp_seconds": (
        f"max by ({BY}, job, instance) (last_over_time(rocketchat_import_up[6h])) ^ 0"
    ),
    "rocketchat_import:exporter": f"max by ({_TARGET}) (last_over_time(rocketchat_import_exporter_build_info[7d]))",
    "rocketchat_import:exporter_timestamp_seconds": (
        "max by (cluster, namespace) (last_over_time(rocketchat_import_exporter_build_info[7d]) "
        "or last_over_time(rocketchat_import_up[6h])) ^ 0"
    ),
}
"""Replacements for the rules that read their own past, for Grafana, which has no recording rules. They remember the end
of an import for an hour, a running import for 12 hours, the start of a run for a day, what watched a workspace for 6
hours, an exporter for a week, and an expectation for a month. `{}` is replaced by the matchers of the reference."""
IN_ALERTS: Final[Mapping[str, str]] = {
    "rocketchat_import:watched_timestamp_seconds": (
        f"(max by ({BY}, job, instance) ("
        f"last_over_time(rocketchat_import_up[6h]) or ({_LONG_AGO}) and on ({_TARGET}) ({_GONE})) ^ 0)"
    ),
}
"""Replacements in the alerts' own expressions, which remember longer: what an exporter watched that is gone, a week.
Recording rules read only what still runs, and many alerts read those."""
