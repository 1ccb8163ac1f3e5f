"""Panels and dashboards as values, and the JSON that they become.

The JSON has schema version 38, which Grafana 11.6 to 13 read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

Json = dict[str, object]

WIDTH: Final = 24
DATA_SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION: Final = 38
RATE_STEP: Final = "1m"
"""The smallest step of queries with `$__rate_interval`. That is then 4 min: enough for scrapes every 15 s and 60 s."""

SELECTED_WORKSPACES: Final = "<workspaces>"
"""Stands in queries for the dashboard's own matcher of workspaces, `Board.workspaces`."""
EMPTY: Final = "\N{EN DASH}"
"""What a table's cell without a value shows. Without this text it would show the text for an empty table."""

_LEGEND: Final[Json] = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
_LAST_VALUE: Final[Json] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[Mapping[str, Json]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": _LAST_VALUE,
        "textMode": "auto",
    },
    "bargauge": {
        "displayMode": "basic",
        "minVizHeight": 10,
        "minVizWidth": 0,
        "orientation": "horizontal",
        "reduceOptions": _LAST_VALUE,
        "showUnfilled": True,
        "valueMode": "color",
    },
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "state-timeline": {
        "alignValue": "left",
        "legend": {**_LEGEND, "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "table": {"cellHeight": "sm", "showHeader": True},
    "text": {"mode": "markdown"},
    "alertlist": {
        "alertInstanceLabelFilter": "",
        "alertName": "RocketChatImport",
        "dashboardAlerts": False,
        "groupBy": [],
        "groupMode": "default",
        "maxItems": 20,
        "sortOrder": 3,
        "stateFilter": {"error": True, "firing": True, "noData": False, "normal": False, "pending": True},
        "viewMode": "list",
    },
}
_CUSTOM: Final[Mapping[str, Json]] = {
    "timeseries": {
        "drawStyle": "line",
        "fillOpacity": 8,
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "showPoints": "never",
        "spanNulls": False,
        "axisSoftMin": 0,
    },
    "state-timeline": {"fillOpacity": 90, "lineWidth": 0},
    "table": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A PromQL query of a panel: `range` for values over time, `table` for one row for each series."""

    expr: str
    legend: str = ""
    table: bool = False
    range: bool = False

    def json(self, place: int) -> Json:
        """The query as Grafana's Prometheus data source reads it; `place` is its position in the panel."""
        instant = not self.range
        target: Json = {
            "datasource": DATA_SOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": "table" if self.table else "time_series",
            "instant": instant,
            "legendFormat": self.legend,
            "range": not instant,
            "refId": chr(ord("A") + place),
        }
        return target | ({"interval": RATE_STEP} if "$__rate_interval" in self.expr else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table. `source` is the letter of its query or the name of its label."""

    source: str
    title: str
    unit: str = ""
    words: Mapping[str, tuple[str, str]] | None = None
    steps: Sequence[tuple[float | None, str]] = ()
    width: int = 0
    decimals: int | None = None
    maximum: float | None = None
    cell: str = ""
    align: str = ""
    link: tuple[str, str] | None = None

    def override(self) -> Json:
        """The field override for this column."""
        properties: list[Json] = []

        def show(name: str, value: object) -> None:
            properties.append({"id": name, "value": value})

        if self.unit:
            show("unit", self.unit)
        if self.decimals is not None:
            show("decimals", self.decimals)
        if self.maximum is not None:
            show("min", 0)
            show("max", self.maximum)
        if self.words:
            show("mappings", [*mappings(self.words), empty_cell(DEFAULT if self.cell else "transparent")])
        if self.steps:
            show("thresholds", thresholds(self.steps))
        if self.cell or self.words or self.steps:
            show("custom.cellOptions", _cell(self.cell or ("color-background" if self.words else "color-text")))
        if self.width:
            show("custom.width", self.width)
        if self.align:
            show("custom.align", self.align)
        if self.link:
            show("links", [{"title": self.link[0], "url": self.link[1], "targetBlank": False}])
        return {"matcher": {"id": "byName", "options": self.title}, "properties": properties}

    @property
    def field_name(self) -> str:
        """The name of the column before it is renamed."""
        return f"Value #{self.source}" if len(self.source) == 1 else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel. `size` is width and height in the grid of 24 columns; `nothing` is shown if a query returns nothing."""

    kind: str
    title: str
    description: str
    size: tuple[int, int]
    queries: Sequence[Query] = ()
    unit: str = ""
    decimals: int | None = None
    nothing: str = ""
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    steps: Sequence[tuple[float | None, str]] = ()
    color: str = ""
    limits: tuple[float | None, float | None] = (None, None)
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    columns: Sequence[Column] = ()
    overrides: Sequence[Json] = ()
    sort: str = ""
    descending: bool = True
    links: Sequence[Json] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel as JSON, with its id and its position in the grid."""
        made: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.size[0], "h": self.size[1]},
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": _OPTIONS[self.kind] | self.options | self._sorted(),
        }
        if self.queries:
            made["datasource"] = DATA_SOURCE
            made["targets"] = [query.json(place) for place, query in enumerate(self.queries)]
        if self.columns:
            made["transformations"] = self._transformations()
        if self.links:
            made["links"] = list(self.links)
        return made

    def _defaults(self) -> Json:
        least, most = self.limits
        color: Json = {"mode": "fixed", "fixedColor": self.color} if self.color else {"mode": "thresholds"}
        if self.kind in {"timeseries", "state-timeline"} and not self.color:
            color = {"mode": "palette-classic"}
        given: Json = {
            "unit": self.unit,
            "decimals": self.decimals,
            "noValue": self.nothing,
            "min": least,
            "max": most,
        }
        made: Json = {name: value for name, value in given.items() if value not in ("", None)}
        made["color"] = color
        made["mappings"] = [*mappings(self.words), *([empty_cell(DEFAULT)] if self.kind == "table" else [])]
        made["thresholds"] = thresholds(self.steps or [(None, DEFAULT)])
        made["custom"] = _CUSTOM.get(self.kind, {}) | self.custom
        return made

    def _overrides(self) -> list[Json]:
        return [*(column.override() for column in self.columns), *self.overrides]

    def _sorted(self) -> Json:
        return {"sortBy": [{"displayName": self.sort, "desc": self.descending}]} if self.sort else {}

    def _transformations(self) -> list[Json]:
        """Join the queries' rows by their labels, then keep only the columns, in their order."""
        renamed = {column.field_name: column.title for column in self.columns}
        if len(self.queries) == 1:
            renamed = {"Value" if name == "Value #A" else name: title for name, title in renamed.items()}
        merge: list[Json] = [{"id": "merge", "options": {}}] if len(self.queries) > 1 else []
        kept: Json = {"id": "filterFieldsByName", "options": {"include": {"names": list(renamed)}}}
        order = {name: place for place, name in enumerate(renamed)}
        organize: Json = {
            "id": "organize",
            "options": {"excludeByName": {}, "indexByName": order, "renameByName": renamed},
        }
        return [*merge, kept, organize]


DEFAULT: Final = "text"
"""The theme's own text colour, which is readable in the dark and the light theme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Panels, placed in the grid from left to right and top to bottom, under a heading if there is a title."""

    title: str = ""
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Marks on the time axis. With `at_value`, the query's values are the times of the marks in milliseconds."""

    name: str
    expr: str
    color: str
    title: str
    at_value: bool = False

    def json(self) -> Json:
        """The annotation as JSON. Its query is at the top level, where Grafana 11 to 13 find it."""
        return {
            "datasource": DATA_SOURCE,
            "enable": True,
            "expr": self.expr,
            "hide": False,
            "iconColor": self.color,
            "name": self.name,
            "step": RATE_STEP,
            "tagKeys": "cluster,namespace,workspace",
            "textFormat": "",
            "titleFormat": self.title,
            "useValueForTime": self.at_value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard. `since` is the length of its time range; `variables` and `links` are Grafana's JSON.

    `workspaces` is the matcher by which its queries select workspaces. Grafana writes several values as a regular
    expression, and a single one as it is.
    """

    uid: str
    title: str
    description: str
    since: str
    variables: Sequence[Json]
    links: Sequence[Json]
    annotations: Sequence[Annotation]
    sections: Sequence[Section]
    workspaces: str = 'workspace=~"$workspace"'

    def json(self) -> Json:
        """The dashboard as JSON."""
        made = json.dumps(self._json())
        return cast("Json", json.loads(made.replace(SELECTED_WORKSPACES, json.dumps(self.workspaces)[1:-1])))

    def _json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["rocketchat", "rocketchat-import"],
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "schemaVersion": SCHEMA_VERSION,
            "time": {"from": f"now-{self.since}", "to": "now"},
            "timepicker": {},
            "timezone": "browser",
            "weekStart": "",
            "fiscalYearStartMonth": 0,
            "liveNow": False,
            "links": list(self.links),
            "templating": {"list": list(self.variables)},
            "annotations": {"list": [annotation.json() for annotation in self.annotations]},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        made: list[Json] = []
        y = 0
        for section in self.sections:
            if section.title:
                made.append(_heading(section.title, len(made) + 1, y))
                y += 1
            x = tallest = 0
            for panel in section.panels:
                width, height = panel.size
                if x + width > WIDTH:
                    x, y, tallest = 0, y + tallest, 0
                made.append(panel.json(len(made) + 1, x, y))
                x, tallest = x + width, max(tallest, height)
            y += tallest
        return made


def mappings(words: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Value mappings: the text and colour of each value."""
    options = {
        value: {"text": text, "color": color, "index": place}
        for place, (value, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}] if options else []


def empty_cell(color: str) -> Json:
    """The value mapping of a table's cell without a value."""
    return {"type": "special", "options": {"match": "null", "result": {"text": EMPTY, "color": color, "index": 99}}}


def thresholds(steps: Sequence[tuple[float | None, str]]) -> Json:
    """The colour from each value upwards; the first value is `None`."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def of_frame(query: str, name: str, value: object) -> Json:
    """The override of one property of all series of a query, given by its letter."""
    return {"matcher": {"id": "byFrameRefID", "options": query}, "properties": [{"id": name, "value": value}]}


def colored(query: str, color: str) -> Json:
    """The override that gives all series of a query one colour."""
    return of_frame(query, "color", {"mode": "fixed", "fixedColor": color})


def renamed(name: str, text: str, color: str) -> Json:
    """The override that gives the series with this name a text and a colour."""
    properties = [
        {"id": "displayName", "value": text},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": color}},
    ]
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def _cell(kind: str) -> Json:
    if kind == "gauge":
        return {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    return {"type": kind, "mode": "basic"} if kind == "color-background" else {"type": kind}


def _heading(title: str, number: int, y: int) -> Json:
    place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
