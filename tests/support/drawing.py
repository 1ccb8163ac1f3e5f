"""Draws dashboards as HTML from their JSON and real query results, for pictures: a small stand-in for Grafana.

It knows the kinds of panels, the units and the field options that the project's dashboards use, in a dark and a light
theme at a laptop's width, and refuses others. Times are UTC.
"""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from tests.support.interpolation import Tree, Window, annotations, children, variables
from tests.support.prometheus import Labels, Prometheus, Series

WIDTH: Final = 1366
ROW: Final = 38
GAP: Final = 8
_MARGIN: Final = 16
_TOP: Final = 92
_LINE: Final = 30
_COLUMN: Final = (WIDTH - 2 * _MARGIN + GAP) / 24
_PALETTE: Final = ("#3B8BD4", "#CC7A0A", "#7FC4F2", "#F2CC4D", "#8E99A8", "#D9540F", "#2166AC", "#4B9E8F")
_LETTER: Final = 0.56
"""Mean width of a letter as a share of the font's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours of Grafana's themes, roughly."""

    name: str
    canvas: str
    panel: str
    line: str
    text: str
    faint: str
    link: str


DARK: Final = Theme(
    name="dark", canvas="#111217", panel="#181b1f", line="#2c3036", text="#d5d7e3", faint="#a3a9b8", link="#6e9fff"
)
LIGHT: Final = Theme(
    name="light", canvas="#f4f5f5", panel="#ffffff", line="#dcdfe3", text="#24292e", faint="#555c66", link="#1f62e0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How values of one series or column are shown."""

    name: str
    options: Tree

    def text(self, value: float | str, now: float) -> str:
        """The value in its unit, or the word that it is mapped to."""
        word = self._word(value)
        if word is not None:
            return str(word["text"])
        if isinstance(value, str):
            return value
        return in_unit(value, str(self.options.get("unit", "")), cast("int | None", self.options.get("decimals")), now)

    def color(self, value: float | str, theme: Theme) -> str:
        """The colour of a value: its word's, a fixed one, or that of the threshold it reached."""
        word = self._word(value)
        fixed = cast("Tree", self.options.get("color", {}))
        if word is not None:
            return str(word["color"])
        if fixed.get("mode") == "fixed":
            return str(fixed["fixedColor"])
        steps = children(cast("Tree", self.options["thresholds"]), "steps")
        number = value if isinstance(value, float) else 0.0
        reached = [step for step in steps if step["value"] is None or number >= cast("float", step["value"])]
        return str(reached[-1]["color"])

    def custom(self, name: str) -> object:
        """An option that only this kind of panel has."""
        return cast("Tree", self.options.get("custom", {})).get(name)

    def _word(self, value: float | str) -> Tree | None:
        key = value if isinstance(value, str) else f"{value:g}"
        for mapping in children(self.options, "mappings"):
            found = cast("dict[str, Tree]", mapping["options"]).get(key)
            if found is not None:
                return found
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One dashboard, as it looks at the end of a window of time."""

    board: Tree
    prometheus: Prometheus
    window: Window
    theme: Theme

    def page(self, *, lines: int | None = None) -> tuple[str, int]:
        """The page, and its height in pixels; `lines` of the grid from the top, else all of it."""
        shown = [panel for panel in children(self.board, "panels") if lines is None or _place(panel)[1] < lines]
        height = round(self._top + max(y + h for _, y, _, h in map(_place, shown)) * ROW + _MARGIN)
        body = self._head() + "".join(self._box(panel) for panel in shown)
        return _PAGE.format(style=self._style(), body=body, title=html.escape(str(self.board["title"]))), height

    @property
    def _top(self) -> float:
        """Where the grid begins: many variables leave the links a line of their own."""
        return _TOP + (_LINE if len(variables(self.board)) > 6 else 0)

    def _head(self) -> str:
        chips = "".join(
            f'<span class="chip"><i>{html.escape(str(each["label"]))}</i>{html.escape(self._chosen(each))}</span>'
            for each in variables(self.board)
        )
        links = " ".join(f"<a>{html.escape(str(link['title']))}</a>" for link in children(self.board, "links"))
        begin, end = _moment(self.window.start, "YYYY-MM-DD HH:mm"), _moment(self.window.end, "HH:mm")
        span = f"{begin} to {end} UTC, drawn without Grafana"
        return f"<h1>{html.escape(str(self.board['title']))}<small>{span}</small></h1><p>{chips}<em>{links}</em></p>"

    def _chosen(self, variable: Tree) -> str:
        chosen = self.window.variables.get(str(variable["name"]))
        if variable["type"] in {"datasource", "textbox"}:
            return str(variable["query"]).capitalize() if variable["type"] == "datasource" else str(variable["query"])
        return "All" if chosen is None else ", ".join(chosen)

    def _box(self, panel: Tree) -> str:
        x, y, w, h = _place(panel)
        left, top = _MARGIN + x * _COLUMN, self._top + y * ROW
        width, height = w * _COLUMN - GAP, h * ROW - GAP
        place = f"left:{left:.0f}px;top:{top:.0f}px;width:{width:.0f}px;height:{height:.0f}px"
        title = html.escape(str(panel["title"]))
        if panel["type"] == "row":
            return f'<h2 style="{place}">⌄ {title}</h2>'
        content = _KINDS[str(panel["type"])](self, panel, width - 16, height - 38)
        return f'<section style="{place}"><h3>{title}</h3>{content}</section>'

    def results(self, panel: Tree) -> list[tuple[str, Series, Field]]:
        """What the panel's queries bring: the letter, the series, and how it is shown."""
        found: list[tuple[str, Series, Field]] = []
        for target in children(panel, "targets"):
            least = cast("str | None", target.get("interval"))
            query = self.window.fill(str(target["expr"]), self.board, least)
            if target["range"]:
                step = self.window.step(least)
                series = self.prometheus.range(query, self.window.start, self.window.end, step)
            else:
                series = self.prometheus.instant(query, self.window.end)
            letter = str(target["refId"])
            for each in series:
                name = _named(str(target["legendFormat"]), each.labels)
                found.append((letter, each, field_of(panel, letter, name)))
        return found

    def nothing(self, panel: Tree) -> str:
        """What the panel says where there is nothing."""
        told = cast("Tree", cast("Tree", panel["fieldConfig"])["defaults"]).get("noValue", "No data")
        return f'<div class="none">{html.escape(str(told))}</div>'

    def stat(self, panel: Tree, width: float, height: float) -> str:
        """Tiles with large values, side by side or one below the other."""
        options = cast("Tree", panel["options"])
        found = self.results(panel)
        if not found:
            return self.nothing(panel)
        named = options["textMode"] == "value_and_name" or (options["textMode"] == "auto" and len(found) > 1)
        upright = len(found) > 1 and (options["orientation"] == "vertical" or width < 130 * len(found))
        columns = 1 if upright else len(found)
        high = (height - 4 * (len(found) // columns - 1)) / (len(found) / columns)
        tiles = ""
        for _, series, field in found:
            text, color = field.text(series.last, self.window.end), field.color(series.last, self.theme)
            room = (width / columns - 24) * (0.7 if named and upright else 1)
            size = min(high * (0.62 if not named or upright else 0.42), room / (len(text) * _LETTER), 56)
            filled = options["colorMode"] == "background" and color not in {"transparent", "text"}
            style = f"background:{color};color:{_ink(color)}" if filled else f"color:{_plain(color, self.theme)}"
            label = f"<small>{html.escape(field.name)}</small>" if named else ""
            turn = "row" if upright else "column"
            tiles += (
                f'<div class="tile fit" style="{style};height:{high:.0f}px;flex-direction:{turn}">{label}'
                f'<b style="font-size:{size:.0f}px">{html.escape(text)}</b></div>'
            )
        return f'<div class="tiles" style="grid-template-columns:repeat({columns},1fr)">{tiles}</div>'

    def bargauge(self, panel: Tree, width: float, height: float) -> str:
        """A bar for each value."""
        found = self.results(panel)
        if not found:
            return self.nothing(panel)
        most = max(cast("float", each[2].options.get("max") or 0) or each[1].last for each in found) or 1
        named = len(found) > 1 or cast("list[Tree]", panel["targets"])[0]["legendFormat"] != "{{workspace}}"
        high = min(height / len(found) - (22 if named else 0), 56)
        rows = ""
        for _, series, field in found:
            text, color = field.text(series.last, self.window.end), field.color(series.last, self.theme)
            long = min(1.0, series.last / most) * (width - 86)
            label = f"<small>{html.escape(field.name)}</small>" if named else ""
            rows += (
                f'{label}<div class="bar" style="height:{high - 4:.0f}px"><span style="width:{width - 86:.0f}px">'
                f'<i style="width:{long:.0f}px;background:{color}"></i></span>'
                f'<b style="font-size:{min(high * 0.5, 26):.0f}px">{html.escape(text)}</b></div>'
            )
        return f'<div class="bars">{rows}</div>'

    def timeseries(self, panel: Tree, width: float, height: float) -> str:
        """Lines, areas or bars over time, with a scale and a legend."""
        found = self.results(panel)
        if not found:
            return self.nothing(panel)
        left, bottom, legend = 64, 20, 24
        wide, high = width - left - 8, height - bottom - legend - 6
        stacked = found[0][2].custom("stacking") is not None
        heights: dict[float, float] = {}
        layers: list[list[tuple[float, float, float]]] = []
        for _, series, _ in found:
            layer = []
            for at, value in series.points:
                base = heights.get(at, 0.0) if stacked else 0.0
                heights[at] = base + value if stacked else max(heights.get(at, 0.0), value)
                layer.append((at, base, base + value))
            layers.append(layer)
        marks = _scale(max(heights.values()))

        def across(at: float) -> float:
            return left + (at - self.window.start) / (self.window.end - self.window.start) * wide

        def up(value: float) -> float:
            return 6 + high * (1 - value / marks[-1])

        lines = "".join(
            f'<line x1="{left}" x2="{left + wide:.0f}" y1="{up(mark):.1f}" y2="{up(mark):.1f}" class="grid"/>'
            f'<text x="{left - 6}" y="{up(mark) + 4:.1f}" text-anchor="end">'
            f"{html.escape(found[0][2].text(mark, self.window.end))}</text>"
            for mark in marks
        )
        entries = ""
        for place, ((_, series, field), layer) in enumerate(zip(found, layers, strict=True)):
            fixed = cast("Tree", field.options["color"]).get("mode") == "fixed"
            color = field.color(series.last, self.theme) if fixed else _PALETTE[place % len(_PALETTE)]
            if field.custom("drawStyle") == "bars" or stacked:
                step = self.window.step("1m" if field.custom("drawStyle") == "bars" else None)
                thick = max(2.0, step / (self.window.end - self.window.start) * wide + 0.6)
                lines += "".join(
                    f'<rect x="{across(at) - thick / 2:.1f}" y="{up(top):.1f}" width="{thick:.1f}" '
                    f'height="{up(base) - up(top):.1f}" fill="{color}"/>'
                    for at, base, top in layer
                )
            else:
                lines += _lines(layer, across, up, color, 2.5 * self.window.step("1m"))
            entries += f'<span><i style="background:{color}"></i>{html.escape(field.name)}</span>'
        lines += self._hours(across, 6 + high) + self._annotations(across, 6, 6 + high)
        picture = f'<svg width="{width:.0f}" height="{high + bottom + 6:.0f}">{lines}</svg>'
        return f'{picture}<div class="legend">{entries}</div>'

    def timeline(self, panel: Tree, width: float, height: float) -> str:
        """A band for each series, coloured and labelled by what it was."""
        found = self.results(panel)
        if not found:
            return self.nothing(panel)
        left = 8 + max(len(each[2].name) for each in found) * 7.0
        wide, high = width - left - 4, (height - 22) / len(found)

        def across(at: float) -> float:
            return left + (at - self.window.start) / (self.window.end - self.window.start) * wide

        shapes = ""
        for place, (_, series, field) in enumerate(found):
            top = place * high + high * 0.08
            middle = f'y="{top + high * 0.5:.0f}"'
            shapes += f'<text x="{left - 8:.0f}" {middle} text-anchor="end">{html.escape(field.name)}</text>'
            for begin, end, value in _spells(series, self.window.step()):
                long = across(min(end, self.window.end)) - across(begin)
                color, text = field.color(value, self.theme), field.text(value, self.window.end)
                shapes += (
                    f'<rect x="{across(begin):.1f}" y="{top:.1f}" width="{long:.1f}" height="{high * 0.84:.1f}" '
                    f'fill="{color}"/>'
                )
                if long > len(text) * 6.6 + 10:
                    shapes += (
                        f'<text x="{across(begin) + 6:.1f}" {middle} style="fill:{_ink(color)}">'
                        f"{html.escape(text)}</text>"
                    )
        shapes += self._hours(across, height - 20) + self._annotations(across, 0, height - 22)
        return f'<svg width="{width:.0f}" height="{height:.0f}">{shapes}</svg>'

    def table(self, panel: Tree, width: float, height: float) -> str:
        """Rows joined by their labels, in the order that the panel asks for."""
        columns = _columns(panel)
        rows: dict[tuple[str, ...], dict[str, float | str]] = {}
        found = self.results(panel)
        shared = set.intersection(*(set(series.labels) for _, series, _ in found)) if found else set()
        for letter, series, _ in found:
            key = tuple(series.labels[label] for label in sorted(shared))
            rows.setdefault(key, {}).update({**series.labels, letter: series.last})
        if not rows:
            return self.nothing(panel)
        ordered = list(rows.values())
        for sort in children(cast("Tree", panel["options"]), "sortBy"):
            source = next(source for source, title in columns.items() if title == sort["displayName"])
            ordered.sort(key=lambda row: (source in row, row.get(source, 0)), reverse=bool(sort["desc"]))
        head = "".join(f"<th>{html.escape(title)}</th>" for title in columns.values())
        fields = {source: field_of(panel, source, title) for source, title in columns.items()}
        fit = max(1, int((height - 30) / 32))
        body = "".join(
            f"<tr>{''.join(self._cell(fields[source], row.get(source)) for source in columns)}</tr>"
            for row in ordered[:fit]
        )
        return f"<table><tr>{head}</tr>{body}</table>"

    def _cell(self, field: Field, value: float | str | None) -> str:
        if value is None:
            return "<td></td>"
        kind = cast("Tree", field.custom("cellOptions") or {}).get("type")
        text, color = html.escape(field.text(value, self.window.end)), field.color(value, self.theme)
        width = f' width="{field.custom("width")}"' if field.custom("width") else ""
        if kind == "color-background":
            return f'<td{width} style="background:{color};color:{_ink(color)}">{text}</td>'
        if kind == "gauge" and isinstance(value, float):
            bar = f'<i style="width:{value * 90:.0f}px;background:{color}"></i>'
            return f'<td{width}><div class="cell">{bar}{text}</div></td>'
        if field.options.get("links"):
            return f"<td{width}><a>{text}</a></td>"
        return f'<td{width} style="color:{_plain(color, self.theme)}">{text}</td>'

    def prose(self, panel: Tree, width: float, height: float) -> str:
        """Markdown, as far as the dashboards use it: numbered points with stress, code and links."""
        content = self.window.fill(str(cast("Tree", panel["options"])["content"]), self.board)
        text = html.escape(re.sub(r"\n {3}", " ", content), quote=False)
        for pattern, form in (
            (r"\*\*(.+?)\*\*", r"<b>\1</b>"),
            (r"\*(.+?)\*", r"<em>\1</em>"),
            (r"`(.+?)`", r"<code>\1</code>"),
            (r"\[(.+?)\]\(.+?\)", r"<a>\1</a>"),
            (r"(?m)^\d+\. (.+)$", r"<li>\1</li>"),
        ):
            text = re.sub(pattern, form, text)
        return f"<ol>{text}</ol>"

    def alerts(self, panel: Tree, width: float, height: float) -> str:
        """The place of Grafana's own list, which needs Grafana."""
        return '<div class="none">Here Grafana lists the alerts that fire</div>'

    def _hours(self, across: Callable[[float], float], y: float) -> str:
        step = next(each for each in (300, 600, 1800, 3600) if across(each) - across(0) > 44)
        first = -(-self.window.start // step) * step
        count = int((self.window.end - first) // step) + 1
        return "".join(
            f'<text x="{across(at):.1f}" y="{y + 15:.0f}" text-anchor="middle">{_moment(at, "HH:mm")}</text>'
            for at in (first + step * place for place in range(count))
            if across(at) - across(self.window.start) > 18
        )

    def _annotations(self, across: Callable[[float], float], top: float, bottom: float) -> str:
        marks = ""
        for annotation in annotations(self.board):
            query = self.window.fill(str(annotation["expr"]), self.board)
            for series in self.prometheus.range(query, self.window.start, self.window.end, self.window.step()):
                times = {value / 1000 for _, value in series.points} if annotation["useValueForTime"] else set[float]()
                for at in sorted(times):
                    marks += (
                        f'<line x1="{across(at):.1f}" x2="{across(at):.1f}" y1="{top}" y2="{bottom:.0f}" '
                        f'stroke="{annotation["iconColor"]}" stroke-dasharray="4 3" stroke-width="1.5"/>'
                    )
        return marks

    def _style(self) -> str:
        theme = self.theme
        return (
            f"body{{background:{theme.canvas};color:{theme.text}}}section{{background:{theme.panel};border-color:{theme.line}}}"
            f"svg text{{fill:{theme.faint}}}.grid{{stroke:{theme.line}}}small,th,.legend,.chip i{{color:{theme.faint}}}"
            f".chip{{background:{theme.panel};border-color:{theme.line}}}a{{color:{theme.link}}}"
            f".bar span{{background:{theme.line}}}td,th{{border-color:{theme.line}}}.none{{color:{theme.faint}}}"
            f"code{{background:{theme.line}}}"
        )


def field_of(panel: Tree, source: str, name: str) -> Field:
    """How a series, by its query's letter and its name, is shown: the defaults, and what overrides them."""
    config = cast("Tree", panel["fieldConfig"])
    options = dict(cast("Tree", config["defaults"]))
    options["custom"] = dict(cast("Tree", options["custom"]))
    for override in children(config, "overrides"):
        matcher = cast("Tree", override["matcher"])
        if matcher["options"] != (source if matcher["id"] == "byFrameRefID" else name):
            continue
        for each in children(override, "properties"):
            key = str(each["id"])
            if key.startswith("custom."):
                cast("Tree", options["custom"])[key.removeprefix("custom.")] = each["value"]
            else:
                options[key] = each["value"]
    return Field(name=str(options.get("displayName", name)), options=options)


def in_unit(value: float, unit: str, decimals: int | None, now: float) -> str:
    """A number in one of Grafana's units; raises `KeyError` for one that no dashboard uses."""
    if unit.startswith("time:"):
        return _moment(value / 1000, unit.removeprefix("time:"))
    return _UNITS[unit](value, decimals, now)


def _span(seconds: float, parts: int) -> str:
    told: list[str] = []
    for name, long in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= long or told:
            count, seconds = divmod(seconds, long)
            told.append(f"{count:.0f} {name}{'' if count == 1 else 's'}")
        if len(told) == parts:
            break
    return ", ".join(told) or "0 s"


def _plain_number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"


def _short(value: float, decimals: int | None) -> str:
    for letter, unit in (("M", 1e6), ("K", 1e3)):
        if abs(value) >= unit:
            return f"{value / unit:.3g} {letter}"
    return _plain_number(value, decimals)


def _share(value: float, decimals: int | None) -> str:
    percent = value * 100
    return f"{percent:.{decimals or 0}f}%" if percent >= 1 or not percent else f"{percent:.2g}%"


def _seconds(value: float) -> str:
    if value >= 120:
        return f"{value / 60:.3g} min"
    return f"{value:.3g} s" if value >= 1 or not value else f"{value * 1000:.3g} ms"


def _from_now(value: float, now: float) -> str:
    return f"{_span(max(0.0, now - value / 1000), 1)} ago"


_UNITS: Final[Mapping[str, Callable[[float, int | None, float], str]]] = {
    "": lambda value, decimals, now: _plain_number(value, decimals),
    "none": lambda value, decimals, now: _plain_number(value, decimals),
    "short": lambda value, decimals, now: _short(value, decimals),
    "locale": lambda value, decimals, now: f"{value:,.0f}",
    "percentunit": lambda value, decimals, now: _share(value, decimals),
    "s": lambda value, decimals, now: _seconds(value),
    "bytes": lambda value, decimals, now: f"{value / 2**20:.1f} MiB",
    "cpm": lambda value, decimals, now: f"{value:.3g} cpm",
    "dtdurations": lambda value, decimals, now: _span(value, (decimals or 0) + 1),
    "dateTimeFromNow": lambda value, decimals, now: _from_now(value, now),
}
_KINDS: Final[Mapping[str, Callable[[Drawing, Tree, float, float], str]]] = {
    "stat": Drawing.stat,
    "bargauge": Drawing.bargauge,
    "timeseries": Drawing.timeseries,
    "state-timeline": Drawing.timeline,
    "table": Drawing.table,
    "text": Drawing.prose,
    "alertlist": Drawing.alerts,
}


def _named(legend: str, labels: Labels) -> str:
    """A legend with its labels filled in."""
    return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), legend)


def _moment(at: float, form: str) -> str:
    """An instant in the words of Moment.js."""
    codes = {
        "YYYY": "%Y",
        "MMM": "%b",
        "MM": "%m",
        "DD": "%d",
        "D": "%-d",
        "ddd": "%a",
        "HH": "%H",
        "mm": "%M",
        "ss": "%S",
    }
    pattern = re.sub("|".join(codes), lambda code: codes[code[0]], form)
    return datetime.fromtimestamp(at, UTC).strftime(pattern)


def _place(panel: Tree) -> tuple[int, int, int, int]:
    place = cast("dict[str, int]", panel["gridPos"])
    return place["x"], place["y"], place["w"], place["h"]


def _columns(panel: Tree) -> Mapping[str, str]:
    """A table's columns by their source, a query's letter or a label, in their order."""
    organize = next(each for each in children(panel, "transformations") if each["id"] == "organize")
    names = cast("dict[str, str]", cast("Tree", organize["options"])["renameByName"])
    return {"A" if name == "Value" else name.removeprefix("Value #"): title for name, title in names.items()}


def _spells(series: Series, step: float) -> Sequence[tuple[float, float, float]]:
    """From when to when a series had one value."""
    spells: list[tuple[float, float, float]] = []
    for at, value in series.points:
        if spells and spells[-1][2] == value and at - spells[-1][1] <= step:
            spells[-1] = (spells[-1][0], at, value)
        else:
            if spells and at - spells[-1][1] <= step:
                spells[-1] = (spells[-1][0], at, spells[-1][2])
            spells.append((at, at, value))
    return spells


def _lines(
    layer: Sequence[tuple[float, float, float]],
    across: Callable[[float], float],
    up: Callable[[float], float],
    color: str,
    longest: float,
) -> str:
    """A line that ends where nothing was seen for longer than that."""
    path, before = "", None
    for at, _, top in layer:
        path += f"{'L' if before is not None and at - before <= longest else 'M'}{across(at):.1f} {up(top):.1f}"
        before = at
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2.2"/>'


def _scale(most: float) -> Sequence[float]:
    """Round marks from 0 to the greatest value or a little more."""
    rough = (most or 1.0) / 4
    power = 10.0 ** (len(f"{rough:.0f}") - 1 if rough >= 1 else -len(re.sub(r"[^0]", "", f"{rough:.9f}".rstrip("0"))))
    step = next(power * times for times in (1, 2, 2.5, 5, 10, 20, 50, 100) if power * times >= rough)
    count = 1
    while step * count < most:
        count += 1
    return [step * place for place in range(count + 1)]


def _ink(color: str) -> str:
    """Black or white, whichever is read better on a colour."""
    red, green, blue = (int(color[index : index + 2], 16) / 255 for index in (1, 3, 5))
    return "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "#111217"


def _plain(color: str, theme: Theme) -> str:
    return theme.text if color in {"transparent", "text"} else color


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
*{{box-sizing:border-box}}body{{margin:0;font:13px/1.4 "Noto Sans","DejaVu Sans",sans-serif;position:relative}}
h1{{font-size:20px;font-weight:500;margin:0;padding:14px 18px 6px}}h1 small{{float:right;font-size:13px;
padding-top:6px}}
p{{margin:0;padding:0 16px;display:flex;gap:8px;align-items:center;white-space:nowrap;flex-wrap:wrap}}
p em{{margin-left:auto;font-style:normal}}p a{{margin-left:10px}}
.chip{{border:1px solid;border-radius:3px;padding:2px 8px;font-size:12px}}.chip i{{font-style:normal;
margin-right:8px}}
section,h2{{position:absolute;margin:0}}section{{border:1px solid;border-radius:3px;padding:0 8px;overflow:hidden}}
h2{{font-size:15px;font-weight:500;padding-top:4px}}h3{{font-size:13px;font-weight:500;margin:0;
padding:6px 2px 4px;white-space:nowrap}}
.tiles{{display:grid;gap:4px}}.tile{{display:flex;align-items:center;justify-content:center;border-radius:3px;
padding:0 8px;
white-space:nowrap;overflow:hidden;gap:0 12px}}.tile b{{font-weight:500;line-height:1.15}}
.tile small{{color:inherit;opacity:.85}}
.bars small{{display:block}}.bar{{display:flex;align-items:center;gap:10px;margin:2px 0}}
.bar span{{display:block;height:100%;border-radius:2px}}
.bar i{{display:block;height:100%;border-radius:2px}}.bar b{{font-weight:500}}
.none{{display:flex;align-items:center;justify-content:center;height:calc(100% - 34px);text-align:center;
font-size:14px}}
svg{{display:block}}svg text{{font-size:11.5px}}.legend{{font-size:12px;white-space:nowrap;overflow:hidden}}
.legend span{{margin-right:14px}}.legend i{{display:inline-block;width:12px;height:4px;border-radius:2px;
margin-right:5px;vertical-align:middle}}
table{{border-collapse:collapse;width:100%;font-size:12.5px;white-space:nowrap}}
th{{text-align:left;font-weight:500;padding:4px 8px;border-bottom:1px solid}}td{{padding:0 8px;height:32px;
border-bottom:1px solid}}
.cell{{display:flex;align-items:center;gap:8px}}.cell i{{display:inline-block;height:16px;border-radius:2px}}
ol{{margin:6px 0;padding-left:24px;font-size:14px}}li{{margin-bottom:8px}}code{{border-radius:3px;padding:1px 4px}}
</style><style>{style}</style></head><body>{body}</body></html>
"""
