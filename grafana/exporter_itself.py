"""The board "Rocket.Chat import exporter": how the exporter itself is doing."""

from typing import Final

from grafana.frame import (
    DATA_SOURCE_VARIABLE,
    EXPORTER,
    EXPORTER_VARIABLE,
    INSTANCE,
    JOB,
    OUTWARD,
    TO_IMPORT,
    TO_IMPORTS,
    WORKSPACE,
)
from grafana.panels import DEFAULT, Board, Column, Panel, Query, Section, colored
from grafana.queries import DATA_AGE, SCRAPED, each, series
from grafana.words import BLUE, DEEP_BLUE, GREY, ORANGE, REASONS, SKY, VERMILION, values

_NO_EXPORTER: Final = "No exporter is scraped"
_BUCKETS: Final = f"rate({series('exporter_request_duration_seconds_bucket', selector=SCRAPED)}[$__rate_interval])"
_SUM: Final = f"rate({series('exporter_request_duration_seconds_sum', selector=SCRAPED)}[$__rate_interval])"
_COUNT: Final = f"rate({series('exporter_request_duration_seconds_count', selector=SCRAPED)}[$__rate_interval])"


_BUILD: Final = series("exporter_build_info", selector=SCRAPED)
_OURS: Final = f"and on (job, instance) {_BUILD}"
"""Keeps the metrics that every process has to those of exporters."""


def _process(name: str) -> str:
    return f"{name}{{{SCRAPED}}} {_OURS}"


_CPU: Final = f"rate(process_cpu_seconds_total{{{SCRAPED}}}[$__rate_interval]) {_OURS}"

_NOW: Final = Section(
    panels=[
        Panel(
            kind="stat",
            title="Can it tell every state?",
            description=(
                "The share of the workspaces whose last poll could tell the state of the import, and is not stale."
            ),
            size=(5, 4),
            queries=[Query(expr=f"avg({each('up')})")],
            unit="percentunit",
            decimals=0,
            steps=[(None, VERMILION), (1, DEEP_BLUE)],
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Oldest data",
            description="How long ago the state of the workspace that waited longest could last be told.",
            size=(5, 4),
            queries=[Query(expr=f"max({DATA_AGE})")],
            unit="dtdurations",
            decimals=1,
            steps=[(None, DEFAULT), (120, ORANGE), (180, VERMILION)],
            nothing="No state was told yet",
        ),
        Panel(
            kind="stat",
            title="Most overdue poll",
            description=(
                "How long ago the next poll of any workspace should have begun: more than seconds is a poller that "
                "hangs."
            ),
            size=(5, 4),
            queries=[Query(expr=f"max(clamp_min(time() - {each('exporter_next_poll_timestamp_seconds')}, 0))")],
            unit="dtdurations",
            decimals=1,
            steps=[(None, DEFAULT), (60, ORANGE), (120, VERMILION)],
            nothing="Nothing was polled yet",
        ),
        Panel(
            kind="stat",
            title="Is the configuration in force?",
            description=(
                "Whether the configuration was last read without a mistake; after a mistake the one before stays in "
                "force."
            ),
            size=(5, 4),
            queries=[
                Query(expr=f"min({series('exporter_config_last_reload_successful', selector=SCRAPED)})"),
            ],
            words={"0": ("No: it has a mistake", VERMILION), "1": ("Yes", DEEP_BLUE)},
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Workspaces",
            description="How many workspaces the exporters poll.",
            size=(4, 4),
            queries=[Query(expr=f"count({each('workspace_info')})")],
            unit="none",
            decimals=0,
            nothing=_NO_EXPORTER,
        ),
    ]
)

_POLLS: Final = Section(
    title="Polls",
    panels=[
        Panel(
            kind="timeseries",
            title="How long do calls to Rocket.Chat take?",
            description=(
                "Request durations over all workspaces, body included: half, 95 % and 99 % take at most so long; and "
                "their mean."
            ),
            size=(12, 8),
            queries=[
                *(
                    Query(
                        expr=f"histogram_quantile({quantile}, sum by (le) ({_BUCKETS}))",
                        legend=f"{quantile * 100:g} %",
                        range=True,
                    )
                    for quantile in (0.5, 0.95, 0.99)
                ),
                Query(expr=f"sum({_SUM}) / sum({_COUNT})", legend="mean", range=True),
            ],
            unit="s",
            overrides=[colored("A", SKY), colored("B", BLUE), colored("C", ORANGE), colored("D", GREY)],
            nothing="No calls in this time",
        ),
        Panel(
            kind="timeseries",
            title="Which calls fail, and why?",
            description=(
                "Failed calls per minute, by endpoint and reason. A refusal counts once where another endpoint is "
                "enough."
            ),
            size=(12, 8),
            queries=[
                Query(
                    expr=(
                        "sum by (api, reason) "
                        f"(rate({series('exporter_poll_failures_total')}[$__rate_interval])) * 60 > 0"
                    ),
                    legend="{{api}}: {{reason}}",
                    range=True,
                )
            ],
            unit="cpm",
            custom={"showPoints": "always", "pointSize": 6},
            nothing="No call has failed in this time",
        ),
        Panel(
            kind="timeseries",
            title="How many calls does it make?",
            description="Requests per minute, by endpoint and HTTP status; none is a call without an answer.",
            size=(12, 8),
            queries=[
                Query(
                    expr=f"sum by (api, code) (rate({series('exporter_requests_total')}[$__rate_interval])) * 60",
                    legend="{{api}} {{code}}",
                    range=True,
                ),
                Query(
                    expr=f"sum(rate({series('exporter_polls_total')}[$__rate_interval])) * 60",
                    legend="polls",
                    range=True,
                ),
            ],
            unit="cpm",
            nothing="No calls in this time",
        ),
        Panel(
            kind="timeseries",
            title="How much of the rate limit is left?",
            description=(
                "Calls left in the server's window of 60 s, the least of all workspaces, and the limit. Two "
                "exporters behind one address share it; below 2 one of them will be refused."
            ),
            size=(12, 8),
            queries=[
                Query(
                    expr=f"min by (api) ({series('exporter_rate_limit_remaining')})", legend="{{api}} left", range=True
                ),
                Query(expr=f"min({series('exporter_rate_limit')})", legend="limit", range=True),
            ],
            unit="none",
            decimals=0,
            overrides=[colored("B", GREY)],
            nothing="Not limited: the user bypasses the limiter, or it is off",
        ),
        Panel(
            kind="timeseries",
            title="How old is the data?",
            description=(
                "Seconds since the state of each workspace could last be told; 20 workspaces at most, the oldest."
            ),
            size=(12, 8),
            queries=[Query(expr=f"topk(20, {DATA_AGE})", legend="{{workspace}}", range=True)],
            unit="s",
            custom={"thresholdsStyle": {"mode": "line"}},
            steps=[(None, "transparent"), (180, VERMILION)],
            nothing="No state was told in this time",
        ),
        Panel(
            kind="timeseries",
            title="How often does it poll?",
            description=(
                "Seconds from one poll to the next, 20 workspaces at most, the longest: it grows while polls fail."
            ),
            size=(12, 8),
            queries=[
                Query(expr=f"topk(20, {each('exporter_poll_interval_seconds')})", legend="{{workspace}}", range=True)
            ],
            unit="s",
            custom={"lineInterpolation": "stepAfter"},
            nothing="Nothing was polled in this time",
        ),
        Panel(
            kind="table",
            title="What does each workspace's access look like?",
            description=(
                "For each endpoint: whether the last call succeeded and what it failed of, and when the rate "
                "limiter's window ends by the server's clock. An empty cell: it does not fail, or it is not limited."
            ),
            size=(24, 9),
            queries=[
                Query(expr=each("api_up", "api"), table=True),
                Query(expr=each("failing", "api", "reason"), table=True),
                Query(expr=f"{each('exporter_rate_limit_reset_timestamp_seconds', 'api')} * 1000", table=True),
                Query(expr=f"{each('api_up', 'api')} * 0 + on (workspace) group_left () {each('up')}", table=True),
            ],
            columns=[
                Column(source="workspace", title="Workspace"),
                Column(source="api", title="Endpoint"),
                Column(
                    source="A",
                    title="Last call",
                    words={"0": ("failed", VERMILION), "1": ("succeeded", DEFAULT)},
                    cell="color-text",
                ),
                Column(source="reason", title="Why", words=values(REASONS), cell="color-text", width=400),
                Column(source="C", title="Limit's window ends", unit="time:HH:mm:ss", width=150),
                Column(
                    source="D",
                    title="State told?",
                    words={"0": ("no", VERMILION), "1": ("yes", DEFAULT)},
                    cell="color-text",
                    width=95,
                ),
            ],
            sort="Last call",
            descending=False,
            nothing="Nothing was called yet",
        ),
        Panel(
            kind="table",
            title="When was each workspace last polled?",
            description=(
                "The last poll, whatever came of it, and when user id and token were last read from their source."
            ),
            size=(24, 8),
            queries=[
                Query(expr=f"{each('last_poll_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('exporter_credentials_last_load_timestamp_seconds')} * 1000", table=True),
            ],
            columns=[
                Column(source="workspace", title="Workspace"),
                Column(source="A", title="Last poll", unit="time:MMM D, HH:mm:ss"),
                Column(source="B", title="Credentials read", unit="time:MMM D, HH:mm:ss"),
            ],
            sort="Last poll",
            descending=False,
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="bargauge",
            title="What did it see in this time?",
            description="Operations that were created and changes of state, by the state entered, over the time shown.",
            size=(24, 11),
            queries=[
                Query(
                    expr=(f"round(sum(max by (workspace) (increase({series('operations_started_total')}[$__range]))))"),
                    legend="imports created",
                ),
                Query(
                    expr=(
                        "round(sum by (state) (max by (workspace, state) "
                        f"(increase({series('state_transitions_total')}[$__range])))) > 0"
                    ),
                    legend="to {{state}}",
                ),
            ],
            unit="none",
            decimals=0,
            limits=(0, None),
            steps=[(None, BLUE)],
            nothing=_NO_EXPORTER,
        ),
    ],
)

_PROCESS: Final = Section(
    title="The process",
    panels=[
        Panel(
            kind="timeseries",
            title="How much memory does it take?",
            description="Resident memory of each exporter.",
            size=(8, 7),
            queries=[Query(expr=_process("process_resident_memory_bytes"), legend="{{instance}}", range=True)],
            unit="bytes",
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="timeseries",
            title="How much CPU does it take?",
            description="Share of one CPU that each exporter uses.",
            size=(8, 7),
            queries=[
                Query(
                    expr=f"rate(process_cpu_seconds_total{{{SCRAPED}}}[$__rate_interval]) {_OURS}",
                    legend="{{instance}}",
                    range=True,
                )
            ],
            unit="percentunit",
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="timeseries",
            title="How many files has it open?",
            description="Open file descriptors of each exporter, connections included.",
            size=(8, 7),
            queries=[Query(expr=_process("process_open_fds"), legend="{{instance}}", range=True)],
            unit="none",
            decimals=0,
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="table",
            title="What runs?",
            description=(
                "Each exporter that is scraped, its version, and since when it runs. The address leads to its page."
            ),
            size=(24, 5),
            queries=[
                Query(
                    expr=f"max by (job, instance, version, revision, pythonversion) ({_BUILD})",
                    table=True,
                ),
                Query(expr=f"max by (job, instance) ({_process('process_start_time_seconds')}) * 1000", table=True),
            ],
            columns=[
                Column(
                    source="instance",
                    title="Address",
                    link=("The exporter's page", "http://${__value.text}/"),
                    cell="color-text",
                ),
                Column(source="job", title="Job"),
                Column(source="version", title="Version"),
                Column(source="revision", title="Revision"),
                Column(source="pythonversion", title="Python"),
                Column(source="B", title="Runs since", unit="time:YYYY-MM-DD HH:mm"),
            ],
            nothing=_NO_EXPORTER,
        ),
    ],
)

BOARD: Final = Board(
    uid=EXPORTER,
    title="Rocket.Chat import exporter",
    description="Is the exporter well: does it reach every workspace, in time, within the rate limit?",
    since="3h",
    variables=[DATA_SOURCE_VARIABLE, JOB, INSTANCE, WORKSPACE, EXPORTER_VARIABLE],
    links=[TO_IMPORTS, TO_IMPORT, *OUTWARD],
    annotations=(),
    sections=[_NOW, _POLLS, _PROCESS],
)
