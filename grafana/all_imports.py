"""The dashboard "Rocket.Chat imports, all workspaces": one row for each of many workspaces, the worst first."""

from typing import Final

from grafana.frame import (
    EXPORTER_VARIABLE,
    FOR_MANY,
    IMPORT,
    IMPORTS,
    OUTWARD,
    PLACE,
    TO_EXPORTER,
    TO_IMPORT,
    chosen,
)
from grafana.panels import DEFAULT, Board, Column, Panel, Query, Section, renamed
from grafana.queries import (
    DATA_AGE,
    FRAGILE,
    OUTCOME,
    PROGRESS,
    REJECTED_SO_FAR,
    RUN_AGE,
    RUNNING,
    SCRAPED,
    SUCCESSES,
    TROUBLED,
    WORKSPACE_LABELS,
    by_known_importer,
    by_word,
    each,
    is_one_of,
    one_of,
    our_milliseconds,
    series,
    since,
    since_of_importer,
    where,
)
from grafana.words import (
    BLUE,
    ORANGE,
    OUTCOME_NUMBERS,
    OUTCOMES,
    SLATE,
    VERMILION,
    YELLOW,
)
from rc_import_exporter.core import advice
from rc_import_exporter.core.domain import Outcome

_INFRASTRUCTURE: Final = (
    "__.*|exported_.*|.*replica.*|cluster|cluster_name|container|endpoint|host|hostname|instance|job|k8s_.*|namespace"
    "|node|nodename|pod|pod_.*|prometheus|receive|scrape_.*|service|shard|tenant_id|url"
)
"""Labels that Prometheus, Thanos or Mimir add to all series."""
_LABEL: Final = chosen(
    "label",
    "Filter by label",
    "A label from the workspaces' configuration, such as team or tenant.",
    "label_names(rocketchat_import_workspace_info)",
    multi=False,
    everything="workspace",
    current="workspace",
    regex=f"/^(?!(?:{_INFRASTRUCTURE})$).*$/",
)
_VALUE: Final = chosen(
    "value",
    "Label value",
    "The values of that label to show.",
    f"label_values({series('workspace_info', selector=SCRAPED)}, $label)",
)
_LOST: Final = f"{each('up')} == 0 unless on ({WORKSPACE_LABELS}) {each('outcome')}"
_OUTCOME_HELD: Final = f"{each('outcome', 'outcome')} == 1"
_FILTER: Final = f"max by ({WORKSPACE_LABELS}) (" + series("workspace_info", '$label=~"$value"') + ")"


def _filtered(expr: str) -> str:
    """Only the workspaces whose label has a selected value. Only `workspace_info` has the configured labels."""
    return f"({expr})\nand on ({WORKSPACE_LABELS}) {_FILTER}"


def _stat(title: str, description: str, condition: str, color: str) -> Panel:
    return Panel(
        kind="stat",
        title=title,
        description=description,
        size=(4, 3),
        queries=[Query(expr=f"count({_filtered(condition)}) or vector(0)")],
        unit="none",
        decimals=0,
        steps=[(None, "transparent"), (1, color)],
        options={"colorMode": "background"},
        nothing="0",
    )


_COUNTS: Final = Section(
    panels=[
        _stat(
            "Need attention",
            "Workspaces whose newest import failed or was cut off, or where nobody saw whether it was.",
            TROUBLED,
            VERMILION,
        ),
        _stat(
            advice.UNSEEN,
            "Workspaces whose state is not known: an import may be running there.",
            _LOST,
            SLATE,
        ),
        _stat(
            advice.OUTCOMES[Outcome.COMPLETED_WITH_ERRORS].title,
            "Workspaces whose newest import is done but rejected records. API imports reject users who already exist.",
            is_one_of("outcome", [Outcome.COMPLETED_WITH_ERRORS]),
            ORANGE,
        ),
        _stat(
            "Do not restart",
            "Workspaces where an import loads or runs. Any server that starts there cuts it off.",
            FRAGILE,
            BLUE,
        ),
        _stat(
            advice.OUTCOMES[Outcome.WAITING].title,
            "Workspaces with a new or ready import that someone has to start.",
            is_one_of("outcome", [Outcome.WAITING]),
            YELLOW,
        ),
        _stat("Workspaces", "All configured workspaces that match the filters.", each("workspace_info"), "transparent"),
    ]
)

_TO_ONE: Final = (
    "Open this import",
    (
        f"/d/{IMPORT}?var-datasource=${{datasource}}&var-workspace=${{__value.text}}&var-"
        f"exporter=${{exporter}}&${{cluster:queryparam}}&${{namespace:queryparam}}&${{__url_time_range}}"
    ),
)

_ANY: Final = 'importer=""'
_SOME: Final = 'importer!=""'
_LAST_SUCCESS: Final = "last_finished_timestamp_seconds", one_of("outcome", list(SUCCESSES))


def _table(*parts: tuple[Column, str]) -> tuple[list[Column], list[Query]]:
    """The columns and their queries. Each column names its query by letter."""
    return [column for column, _ in parts], [Query(expr=_filtered(expr), table=True) for _, expr in parts]


_COLUMNS, _QUERIES = _table(
    (Column(source="A", title="Outcome", words=OUTCOME_NUMBERS, width=180), OUTCOME),
    (
        Column(
            source="B",
            title="Progress",
            unit="percentunit",
            decimals=0,
            maximum=1,
            steps=[(None, BLUE)],
            cell="gauge",
            width=150,
        ),
        PROGRESS,
    ),
    (Column(source="C", title="Records", unit="locale", width=95), each("operation_records")),
    (
        Column(source="D", title="Rejected", unit="locale", steps=[(None, DEFAULT), (1, ORANGE)], width=90),
        each("operation_records_failed"),
    ),
    (
        Column(source="E", title="Last progress", unit="dateTimeFromNow", width=160, align="left"),
        our_milliseconds("operation_progress_timestamp_seconds"),
    ),
    (
        Column(source="F", title="Last success", unit="dateTimeFromNow", width=160, align="left"),
        our_milliseconds(*_LAST_SUCCESS),
    ),
    (
        Column(
            source="G",
            title="Data age",
            unit="dtdurations",
            decimals=0,
            steps=[(None, DEFAULT), (120, ORANGE), (180, VERMILION)],
            width=105,
        ),
        DATA_AGE,
    ),
    (
        Column(
            source="H",
            title="API",
            words={"0": ("failing", VERMILION), "1": ("answers", DEFAULT)},
            cell="color-text",
            width=80,
        ),
        each("up"),
    ),
    (
        Column(source="version", title="Server", width=75),
        f"topk by ({WORKSPACE_LABELS}) (1, {each('server_info', 'version')})",
    ),
)

_WORKSPACES: Final = Section(
    panels=[
        Panel(
            kind="table",
            title="Newest import of each workspace",
            description=(
                "The worst outcome first. A workspace's name links to its own dashboard. The funnel of a column "
                "filters the list. A dash is no value: no progress before an import is loaded, or no "
                "success yet."
            ),
            size=(24, 15),
            queries=_QUERIES,
            columns=[
                Column(source="workspace", title="Workspace", link=_TO_ONE, cell="color-text"),
                *PLACE,
                *_COLUMNS,
            ],
            custom={"filterable": True},
            sort="Outcome",
            nothing="No workspace matches the filters, or Prometheus scrapes no exporter",
        ),
        Panel(
            kind="timeseries",
            title="Workspaces by outcome",
            description=("The number of workspaces by the outcome of their newest import over time."),
            size=(24, 8),
            queries=[
                Query(
                    expr=by_word(_filtered(_OUTCOME_HELD), "count"),
                    legend="{{word}}",
                    range=True,
                ),
                Query(expr=f"count({_filtered(_LOST)})", legend="unseen", range=True),
            ],
            unit="none",
            decimals=0,
            custom={
                "fillOpacity": 60,
                "lineWidth": 0,
                "lineInterpolation": "stepAfter",
                "stacking": {"mode": "normal", "group": "A"},
            },
            overrides=[
                renamed(value, text, color)
                for value, text, color in [
                    *((word.value.value, word.text, word.color) for word in OUTCOMES),
                    ("unseen", advice.UNSEEN, SLATE),
                ]
            ],
            nothing="Prometheus scraped no exporter in this time range",
        ),
    ]
)


def _expected(name: str) -> str:
    """The expectation for the newest import of a workspace: one for any importer, or for the import's own importer."""
    of_this = (
        f"{by_known_importer(name, _SOME)} and on ({WORKSPACE_LABELS}, importer) {by_known_importer('operation_info')}"
    )
    return f"({each(name, matchers=[_ANY])} or max by ({WORKSPACE_LABELS}) ({of_this}))"


def _since_success() -> str:
    """The time since the last success as a share of the interval in which one is expected."""
    name, matcher = _LAST_SUCCESS
    interval = "expected_success_interval_seconds"
    every = each(interval, matchers=[_ANY])
    every_of_it = by_known_importer(interval, _SOME)
    return (
        f"{since(name, matcher)} / {every}\n"
        f"or max by ({WORKSPACE_LABELS}) "
        f"({since_of_importer(name, matcher)} / on ({WORKSPACE_LABELS}, importer) {every_of_it})"
    )


def _by_limit(of_importer: str, limit: str, worst: str) -> str:
    """A number of each importer as a share of its limit, the worst of each workspace: `max` or `min`."""
    any_importer = f"{worst} by ({WORKSPACE_LABELS}) ({of_importer}) / ({each(limit, matchers=[_ANY])} > 0)"
    own = f"({by_known_importer(limit, _SOME)} > 0)"
    return (
        f"{any_importer}\nor {worst} by ({WORKSPACE_LABELS}) ({of_importer} / on ({WORKSPACE_LABELS}, importer) {own})"
    )


def _rejected() -> str:
    """The share of rejected records as a share of the limit: of each importer's last import, and of one that runs."""
    finished = _by_limit(each("last_finished_failed_ratio", "importer"), "expected_failed_ratio", "max")
    running = f"{REJECTED_SO_FAR} / ({_expected('expected_failed_ratio')} > 0)"
    return f'max by ({WORKSPACE_LABELS}) (\n  {finished}\n  or label_replace({running}, "of", "running", "", "")\n)'


def _share(title: str, letter: str) -> Column:
    return Column(
        source=letter,
        title=title,
        unit="percentunit",
        decimals=0,
        steps=[(None, DEFAULT), (0.8, ORANGE), (1, VERMILION)],
    )


_LAST_PROCESSED: Final = (
    f"({each('last_finished_records_completed', 'importer')} + {each('last_finished_records_failed', 'importer')})"
)
_EXPECTING: Final = " or ".join(
    each(f"expected_{limit}") for limit in ("success_interval_seconds", "run_seconds", "failed_ratio", "records")
)
"""The workspaces with an expectation."""

_EXPECTED_COLUMNS, _EXPECTED_QUERIES = _table(
    (Column(source="A", title="Outcome", words=OUTCOME_NUMBERS, width=180), where(OUTCOME, _EXPECTING)),
    (Column(source="B", title="Data age", unit="dtdurations", decimals=0, width=105), where(DATA_AGE, _EXPECTING)),
    (_share("Time since success", "C"), _since_success()),
    (
        _share("Running time", "D"),
        (f"{where(RUN_AGE, RUNNING)} / {_expected('expected_run_seconds')}"),
    ),
    (_share("Rejected", "E"), _rejected()),
    (
        Column(
            source="F",
            title="Least records",
            unit="percentunit",
            decimals=0,
            steps=[(None, VERMILION), (1, DEFAULT)],
        ),
        _by_limit(_LAST_PROCESSED, "expected_records", "min"),
    ),
)

_EXPECTATIONS: Final = Section(
    title="Expectations",
    panels=[
        Panel(
            kind="table",
            title="Share of each limit",
            description=(
                "Each value as a share of the configured limit. At 100 % or more the next success is overdue, the run "
                "takes too long, or too many records are rejected: by the last import of an importer, or by one that "
                "runs. The last import of each importer should have 100 % or more of the least records."
            ),
            size=(24, 8),
            queries=_EXPECTED_QUERIES,
            columns=[
                Column(source="workspace", title="Workspace", link=_TO_ONE, cell="color-text"),
                *PLACE,
                *_EXPECTED_COLUMNS,
            ],
            sort="Time since success",
            nothing="No expectations: set options such as expect.success_every for a workspace",
        )
    ],
)

BOARD: Final = Board(
    uid=IMPORTS,
    title="Rocket.Chat imports, all workspaces",
    description="Which workspace needs attention?",
    since="24h",
    variables=[*FOR_MANY, _LABEL, _VALUE, EXPORTER_VARIABLE],
    links=[TO_IMPORT, TO_EXPORTER, *OUTWARD],
    annotations=(),
    sections=[_COUNTS, _WORKSPACES, _EXPECTATIONS],
)
