"""What stands around the panels of every board: variables, links, annotations."""

from typing import Final

from grafana.panels import DATA_SOURCE, Annotation, Json
from grafana.queries import SCRAPED, each, series
from grafana.words import BLUE, DEEP_BLUE, SLATE

IMPORT: Final = "rocketchat-import"
IMPORTS: Final = "rocketchat-imports"
EXPORTER: Final = "rocketchat-import-exporter"

EXPORTER_PAGE: Final = "${exporter:raw}/"
RUNBOOK: Final = "${exporter:raw}/runbook"

_EVERYTHING: Final[Json] = {"selected": True, "text": ["All"], "value": ["$__all"]}

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
    "description": "Where your browser reaches the exporter: links to its page and to the runbook begin with it.",
    "query": "http://localhost:19458",
    "current": {"selected": True, "text": "http://localhost:19458", "value": "http://localhost:19458"},
    "hide": 0,
    "options": [{"selected": True, "text": "http://localhost:19458", "value": "http://localhost:19458"}],
    "skipUrlSync": False,
}


def chosen(name: str, label: str, description: str, query: str, *, multi: bool = True, regex: str = "") -> Json:
    """A variable whose choices a query brings; several can be chosen, and all are at first."""
    some: Json = {"allValue": ".+", "includeAll": True, "multi": True, "current": _EVERYTHING}
    one: Json = {"includeAll": False, "multi": False}
    return {
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
        "options": [],
        "skipUrlSync": False,
    } | (some if multi else one)


JOB: Final = chosen(
    "job",
    "Job",
    "Prometheus' scrape job.",
    "label_values(rocketchat_import_exporter_build_info, job)",
)
INSTANCE: Final = chosen(
    "instance",
    "Exporter",
    "The exporters that are scraped.",
    'label_values(rocketchat_import_exporter_build_info{job=~"$job"}, instance)',
)
WORKSPACE: Final = chosen(
    "workspace",
    "Workspace",
    "The Rocket.Chat servers, by their configured names.",
    f"label_values({series('workspace_info', selector=SCRAPED)}, workspace)",
)


def to_board(uid: str, title: str, tooltip: str) -> Json:
    """A link to another board that keeps time and variables."""
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


TO_IMPORT: Final = to_board(IMPORT, "One import", "State, progress and end of an import")
TO_IMPORTS: Final = to_board(IMPORTS, "All workspaces", "A row for each workspace, the worst first")
TO_EXPORTER: Final = to_board(EXPORTER, "Exporter", "How the exporter itself is doing")
TO_RUNBOOK: Final = to_page(RUNBOOK, "Runbook", "What to do about each alert", "doc")
OUTWARD: Final = (
    to_page(EXPORTER_PAGE, "Exporter's page", "The exporter's own live page", "external link"),
    TO_RUNBOOK,
    {
        "type": "dashboards",
        "title": "Rocket.Chat",
        "tooltip": "Other dashboards tagged rocketchat",
        "url": "",
        "icon": "external link",
        "asDropdown": True,
        "includeVars": False,
        "keepTime": True,
        "tags": ["rocketchat"],
        "targetBlank": False,
    },
)

ANNOTATIONS: Final = (
    Annotation(
        name="Import created",
        expr=f"{each('operation_created_timestamp_seconds')} * 1000 > $__from",
        color=BLUE,
        title="{{workspace}}: an import was created",
        at_value=True,
    ),
    Annotation(
        name="Import ended",
        expr=f"{each('operation_finished_timestamp_seconds')} * 1000 > $__from",
        color=DEEP_BLUE,
        title="{{workspace}}: the import ended",
        at_value=True,
    ),
    Annotation(
        name="Out of sight",
        expr=f"{each('up')} == bool 0 > 0",
        color=SLATE,
        title="{{workspace}}: the exporter cannot tell the state",
    ),
)
