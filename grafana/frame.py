"""Variables, links and annotations that the dashboards share."""

from typing import Final

from grafana.panels import DATA_SOURCE, Annotation, Column, Json
from grafana.queries import IN_CLUSTER, IN_NAMESPACE, OF_JOB, SCRAPED, each, our_milliseconds, series
from grafana.words import BLUE, DEEP_BLUE, SLATE
from rc_import_exporter.core import advice

IMPORT: Final = "rocketchat-import"
IMPORTS: Final = "rocketchat-imports"
EXPORTER: Final = "rocketchat-import-exporter"

EXPORTER_PAGE: Final = "${exporter:raw}/"
RUNBOOK: Final = "${exporter:raw}/runbook"

DATA_SOURCE_VARIABLE: Final[Json] = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "description": "The Prometheus that scrapes the exporter.",
    "query": "prometheus",
    "regex": "",
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "skipUrlSync": False,
}
EXPORTER_VARIABLE: Final[Json] = {
    "type": "textbox",
    "name": "exporter",
    "label": "Exporter's address",
    "description": "The exporter's address in your browser. Links to its page and to the runbook start with it.",
    "query": "http://localhost:19458",
    "current": {"selected": True, "text": "http://localhost:19458", "value": "http://localhost:19458"},
    "hide": 0,
    "options": [{"selected": True, "text": "http://localhost:19458", "value": "http://localhost:19458"}],
    "skipUrlSync": False,
}


def chosen(
    name: str,
    label: str,
    description: str,
    query: str,
    *,
    multi: bool = True,
    everything: str = ".+",
    regex: str = "",
    current: str = "",
) -> Json:
    """A variable whose values come from a query.

    With `multi`, users can select several. All is selected at first and stands for the regular expression
    `everything`; `.*` also matches series without the label. Without `everything` there is no All.
    """
    made: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "regex": regex,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": multi,
        "includeAll": bool(everything),
        "options": [],
        "skipUrlSync": False,
    }
    if everything:
        whole: Json = {"text": ["All"], "value": ["$__all"]} if multi else {"text": "All", "value": "$__all"}
        made |= {"allValue": everything, "current": {"selected": True} | whole}
    if current:
        made["current"] = {"selected": True, "text": current, "value": current}
    return made


def _where(*, multi: bool) -> tuple[Json, ...]:
    """The variables that say which exporters: by cluster, namespace, job and address."""
    info = "rocketchat_import_exporter_build_info"
    cluster, namespace = "The cluster, if the series have that label.", "The namespace, if the series have that label."
    return (
        chosen("cluster", "Cluster", cluster, f"label_values({info}, cluster)", multi=multi, everything=".*"),
        chosen(
            "namespace",
            "Namespace",
            namespace,
            f"label_values({info}{{{IN_CLUSTER}}}, namespace)",
            multi=multi,
            everything=".*",
        ),
        chosen("job", "Job", "The scrape job in Prometheus.", f"label_values({info}{{{IN_NAMESPACE}}}, job)"),
        chosen(
            "instance",
            "Exporter",
            "The exporters that Prometheus scrapes.",
            f"label_values({info}{{{OF_JOB}}}, instance)",
        ),
    )


_WORKSPACES: Final = f"label_values({series('workspace_info', selector=SCRAPED)}, workspace)"
FOR_MANY: Final = (
    DATA_SOURCE_VARIABLE,
    *_where(multi=True),
    chosen(
        "workspace",
        "Workspace",
        "The Rocket.Chat servers, by their names in the exporter's configuration.",
        _WORKSPACES,
    ),
)
"""The variables of a dashboard for many workspaces."""
FOR_ONE: Final = (
    DATA_SOURCE_VARIABLE,
    *_where(multi=False),
    chosen(
        "workspace",
        "Workspace",
        "The Rocket.Chat server, by its name in the exporter's configuration.",
        _WORKSPACES,
        multi=False,
        everything="",
    ),
)
"""The variables of a dashboard for one workspace."""


def to_board(uid: str, title: str, tooltip: str) -> Json:
    """A link to another dashboard that keeps time range and variables."""
    return {
        "type": "link",
        "title": title,
        "tooltip": tooltip,
        "url": f"/d/{uid}",
        "icon": "dashboard",
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "tags": [],
        "targetBlank": False,
    }


def to_page(url: str, title: str, tooltip: str, icon: str) -> Json:
    """A link out of Grafana."""
    return {
        "type": "link",
        "title": title,
        "tooltip": tooltip,
        "url": url,
        "icon": icon,
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "tags": [],
        "targetBlank": True,
    }


TO_IMPORT: Final = to_board(IMPORT, "One import", "State, progress and outcome of an import")
TO_IMPORTS: Final = to_board(IMPORTS, "All workspaces", "One row for each workspace, the worst first")
TO_EXPORTER: Final = to_board(EXPORTER, "Exporter", "Health of the exporter itself")
TO_RUNBOOK: Final = to_page(RUNBOOK, "Runbook", "What to do about each alert", "doc")
OUTWARD: Final = (
    to_page(EXPORTER_PAGE, "Exporter's page", "The exporter's own web page", "external link"),
    TO_RUNBOOK,
    {
        "type": "dashboards",
        "title": "Rocket.Chat",
        "tooltip": "Other dashboards with the tag rocketchat",
        "url": "",
        "icon": "external link",
        "asDropdown": True,
        "includeVars": False,
        "keepTime": True,
        "tags": ["rocketchat"],
        "targetBlank": False,
    },
)

PLACE: Final = (
    Column(source="cluster", title="Cluster", width=110),
    Column(source="namespace", title="Namespace", width=130),
)
"""Columns of tables of many workspaces. Grafana leaves them out if the series do not have the labels."""

ANNOTATIONS: Final = (
    Annotation(
        name="Import created",
        expr=f"{our_milliseconds('operation_created_timestamp_seconds')} > $__from",
        color=BLUE,
        title="{{workspace}}: import created",
        at_value=True,
    ),
    Annotation(
        name="Import ended",
        expr=f"{our_milliseconds('operation_finished_timestamp_seconds')} > $__from",
        color=DEEP_BLUE,
        title="{{workspace}}: import ended",
        at_value=True,
    ),
    Annotation(
        name=advice.UNSEEN,
        expr=f"{each('up')} == bool 0 > 0",
        color=SLATE,
        title="{{workspace}}: the state is not known",
    ),
)
