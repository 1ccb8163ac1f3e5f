"""The dashboard "Rocket.Chat import exporter": the health of the exporter itself."""

from typing import Final

from grafana.frame import (
    EXPORTER,
    EXPORTER_VARIABLE,
    FOR_MANY,
    OUTWARD,
    PLACE,
    TO_IMPORT,
    TO_IMPORTS,
)
from grafana.panels import DEFAULT, Board, Column, Panel, Query, Section, colored
from grafana.queries import DATA_AGE, EXPORTER_LABELS, NAME, SCRAPED, WORKSPACE_LABELS, each, series
from grafana.words import BLUE, DEEP_BLUE, GREY, ORANGE, REASONS, SKY, VERMILION, values

_NO_EXPORTER: Final = "Prometheus scrapes no exporter"
_BUCKETS: Final = f"rate({series('exporter_request_duration_seconds_bucket', selector=SCRAPED)}[$__rate_interval])"
_SUM: Final = f"rate({series('exporter_request_duration_seconds_sum', selector=SCRAPED)}[$__rate_interval])"
_COUNT: Final = f"rate({series('exporter_request_duration_seconds_count', selector=SCRAPED)}[$__rate_interval])"


_CONFIGURED: Final = series("exporter_config_last_reload_successful", selector=SCRAPED)
_WEB_CONFIGURED: Final = series("exporter_web_config_last_reload_successful", selector=SCRAPED)
_BUILD: Final = series("exporter_build_info", selector=SCRAPED)
_ADDRESS: Final = "{{instance}} {{namespace}} {{cluster}}"
_OURS: Final = f"and on ({EXPORTER_LABELS}) {_BUILD}"
"""Limits metrics that any process can have to those of exporters."""


def _process(name: str) -> str:
    return f"{name}{{{SCRAPED}}} {_OURS}"


_NOW: Final = Section(
    panels=[
        Panel(
            kind="stat",
            title="State known",
            description="The share of workspaces whose last poll read the state of the import and is not too old.",
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
            description="The greatest time since the last poll of a workspace that read the state.",
            size=(5, 4),
            queries=[Query(expr=f"max({DATA_AGE})")],
            unit="dtdurations",
            decimals=0,
            steps=[(None, DEFAULT), (120, ORANGE), (180, VERMILION)],
            nothing="No state read yet",
        ),
        Panel(
            kind="stat",
            title="Most overdue poll",
            description=(
                "How late the most overdue poll of any workspace is. If it is more than a few seconds, the poller "
                "hangs."
            ),
            size=(5, 4),
            queries=[Query(expr=f"max(clamp_min(time() - {each('exporter_next_poll_timestamp_seconds')}, 0))")],
            unit="dtdurations",
            decimals=0,
            steps=[(None, DEFAULT), (60, ORANGE), (120, VERMILION)],
            nothing="No poll yet",
        ),
        Panel(
            kind="stat",
            title="Configuration",
            description=(
                "Whether the configuration and the web configuration file had no mistakes when they were last read. If "
                "one had, the exporter still uses the previous one."
            ),
            size=(5, 4),
            queries=[
                Query(expr=f"min({_CONFIGURED} * {_WEB_CONFIGURED} or {_CONFIGURED})"),
            ],
            words={"0": ("Has mistakes", VERMILION), "1": ("In use", DEEP_BLUE)},
            options={"colorMode": "background"},
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="stat",
            title="Workspaces",
            description="The number of workspaces that the exporters poll.",
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
            title="Duration of calls to Rocket.Chat",
            description=(
                "The duration that 50 %, 95 % and 99 % of calls to all workspaces do not exceed, and the mean. It "
                "includes reading the body."
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
            nothing="No calls in this time range",
        ),
        Panel(
            kind="timeseries",
            title="Failed calls",
            description=(
                "Failed calls per minute by endpoint and reason. If one endpoint refuses and another is enough, the "
                "refusal is counted once."
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
            nothing="No call failed in this time range",
        ),
        Panel(
            kind="timeseries",
            title="Calls per minute",
            description="Calls by endpoint and HTTP status. The status none is a call without an answer.",
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
            nothing="No calls in this time range",
        ),
        Panel(
            kind="timeseries",
            title="Rate limit",
            description=(
                "The fewest calls left of all workspaces in the server's window of 60 s, and the limit. Exporters with "
                "the same address share the limit: below 2, the server will refuse one of two exporters."
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
            nothing="Not limited: the user may bypass the limit, or it is off",
        ),
        Panel(
            kind="timeseries",
            title="Data age",
            description=("Time since the last poll that read the state, for the 20 workspaces with the oldest data."),
            size=(12, 8),
            queries=[Query(expr=f"topk(20, {DATA_AGE})", legend=NAME, range=True)],
            unit="s",
            custom={"thresholdsStyle": {"mode": "line"}},
            steps=[(None, "transparent"), (180, VERMILION)],
            nothing="No state read in this time range",
        ),
        Panel(
            kind="timeseries",
            title="Poll interval",
            description=(
                "Time from one poll to the next, for the 20 workspaces with the longest. It grows while polls fail."
            ),
            size=(12, 8),
            queries=[Query(expr=f"topk(20, {each('exporter_poll_interval_seconds')})", legend=NAME, range=True)],
            unit="s",
            custom={"lineInterpolation": "stepAfter"},
            nothing="No poll in this time range",
        ),
        Panel(
            kind="table",
            title="API access by workspace",
            description=(
                "For each endpoint, whether the last call succeeded, the reason if it failed, and when the window of "
                "the rate limit ends by the server's clock. A dash means that the endpoint does not fail or is not "
                "limited."
            ),
            size=(24, 9),
            queries=[
                Query(expr=each("api_up", "api"), table=True),
                Query(expr=each("failing", "api", "reason"), table=True),
                Query(expr=f"{each('exporter_rate_limit_reset_timestamp_seconds', 'api')} * 1000", table=True),
                Query(
                    expr=f"{each('api_up', 'api')} * 0 + on ({WORKSPACE_LABELS}) group_left () {each('up')}", table=True
                ),
            ],
            columns=[
                *PLACE,
                Column(source="workspace", title="Workspace"),
                Column(source="api", title="Endpoint"),
                Column(
                    source="A",
                    title="Last call",
                    words={"0": ("failed", VERMILION), "1": ("succeeded", DEFAULT)},
                    cell="color-text",
                ),
                Column(source="reason", title="Reason", words=values(REASONS), cell="color-text", width=400),
                Column(source="C", title="Limit window ends", unit="time:HH:mm:ss", width=150),
                Column(
                    source="D",
                    title="State known?",
                    words={"0": ("no", VERMILION), "1": ("yes", DEFAULT)},
                    cell="color-text",
                    width=95,
                ),
            ],
            sort="Last call",
            descending=False,
            nothing="No call yet",
        ),
        Panel(
            kind="table",
            title="Last polls",
            description=(
                "When each workspace was last polled, successfully or not, and when its user id and token were last "
                "read."
            ),
            size=(24, 8),
            queries=[
                Query(expr=f"{each('last_poll_timestamp_seconds')} * 1000", table=True),
                Query(expr=f"{each('exporter_credentials_last_load_timestamp_seconds')} * 1000", table=True),
                Query(expr=each("server_clock_offset_seconds"), table=True),
            ],
            columns=[
                *PLACE,
                Column(source="workspace", title="Workspace"),
                Column(source="A", title="Last poll", unit="time:MMM D, HH:mm:ss"),
                Column(source="B", title="Credentials read", unit="time:MMM D, HH:mm:ss"),
                Column(source="C", title="Clock offset", unit="s", decimals=0),
            ],
            sort="Last poll",
            descending=False,
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="bargauge",
            title="Imports created and states entered",
            description="Imports that were created, and changes of state by new state, in this time range.",
            size=(24, 11),
            queries=[
                Query(
                    expr=(
                        f"round(sum(max by ({WORKSPACE_LABELS}) ("
                        f"increase({series('operations_started_total')}[$__range]))))"
                    ),
                    legend="imports created",
                ),
                Query(
                    expr=(
                        f"round(sum by (state) (max by ({WORKSPACE_LABELS}, state) "
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
            title="Memory",
            description="Resident memory of each exporter.",
            size=(8, 7),
            queries=[Query(expr=_process("process_resident_memory_bytes"), legend=_ADDRESS, range=True)],
            unit="bytes",
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="timeseries",
            title="CPU",
            description="The share of one CPU that each exporter uses.",
            size=(8, 7),
            queries=[
                Query(
                    expr=f"rate(process_cpu_seconds_total{{{SCRAPED}}}[$__rate_interval]) {_OURS}",
                    legend=_ADDRESS,
                    range=True,
                )
            ],
            unit="percentunit",
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="timeseries",
            title="Open files",
            description="Open file descriptors of each exporter, including connections.",
            size=(8, 7),
            queries=[Query(expr=_process("process_open_fds"), legend=_ADDRESS, range=True)],
            unit="none",
            decimals=0,
            nothing=_NO_EXPORTER,
        ),
        Panel(
            kind="table",
            title="Exporters",
            description=("Each scraped exporter with its version and start time. The address links to its page."),
            size=(24, 5),
            queries=[
                Query(
                    expr=f"max by ({EXPORTER_LABELS}, version, revision, pythonversion) ({_BUILD})",
                    table=True,
                ),
                Query(expr=f"max by ({EXPORTER_LABELS}) ({_process('process_start_time_seconds')}) * 1000", table=True),
            ],
            columns=[
                Column(
                    source="instance",
                    title="Address",
                    link=("The exporter's page", "http://${__value.text}/"),
                    cell="color-text",
                ),
                *PLACE,
                Column(source="job", title="Job"),
                Column(source="version", title="Version"),
                Column(source="revision", title="Revision"),
                Column(source="pythonversion", title="Python"),
                Column(source="B", title="Started", unit="time:YYYY-MM-DD HH:mm"),
            ],
            nothing=_NO_EXPORTER,
        ),
    ],
)

BOARD: Final = Board(
    uid=EXPORTER,
    title="Rocket.Chat import exporter",
    description="Does the exporter reach every workspace, in time and within the rate limits?",
    since="3h",
    variables=[*FOR_MANY, EXPORTER_VARIABLE],
    links=[TO_IMPORTS, TO_IMPORT, *OUTWARD],
    annotations=(),
    sections=[_NOW, _POLLS, _PROCESS],
)
