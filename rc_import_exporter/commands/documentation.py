"""The tables in the README that repeat code, written from it: metrics, options, JSON. `metrics` prints the first.

The README holds each between two comments, `<!-- metrics -->` and `<!-- /metrics -->`;
`python -m rc_import_exporter.commands.documentation README.md` writes them anew.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rc_import_exporter.config.options import ANY, DOTTED, Group, Option
from rc_import_exporter.config.settings import OPTIONS
from rc_import_exporter.metrics.catalogue import METRICS, WORKSPACE, Label, Metric, WorkspaceMetric
from rc_import_exporter.web import api

SHORT_ENOUGH: Final = 12
"""Values of a label that a table lists; what has more is listed elsewhere in words."""


def metric_rows(metrics: Sequence[Metric] = METRICS) -> list[tuple[str, str, str, str]]:
    """Name, type, labels and meaning of each metric, as text."""
    return [(metric.full_name, metric.kind, ", ".join(_labels(metric)), metric.help) for metric in metrics]


def metrics_table() -> str:
    """The catalogue in Markdown; names without their common beginning."""
    rows = [(f"`{metric.name}`", metric.kind, _marked_labels(metric), metric.help) for metric in METRICS]
    return _markdown(("name", "type", "labels", "meaning"), rows)


def options_table() -> str:
    """The options in Markdown, by group."""
    rows = [
        (f"`{_path(option)}`", option.help, option.allowed, f"`{option.default}`" if option.default else "")
        for group in Group
        for option in OPTIONS
        if option.group is group
    ]
    return _markdown(("option", "what it is", "allowed", "default"), rows)


def fields_table() -> str:
    """The fields of a workspace in the JSON API in Markdown, as its schema describes them."""
    rows = [(f"`{path}`", form, meaning) for path, form, meaning in api.field_rows()]
    return _markdown(("field", "type", "meaning"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "metrics": metrics_table,
    "options": options_table,
    "json": fields_table,
}


def renewed(document: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The document with each table between its two comments written anew; one that has no place is left out."""
    for name, table in tables.items():
        before, begin, rest = document.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if end:
            document = f"{before}{begin}{table()}{end}{after}"
    return document


def main(names: Sequence[str]) -> None:
    """Writes the tables in these files anew."""
    for document in map(Path, names):
        document.write_text(renewed(document.read_text()))


def _labels(metric: Metric) -> list[str]:
    first = [WORKSPACE] if isinstance(metric, WorkspaceMetric) else []
    return [*first, *(label.name for label in metric.labels)]


def _marked_labels(metric: Metric) -> str:
    labels = ", ".join(map(_marked_label, metric.labels))
    if isinstance(metric, WorkspaceMetric):
        return labels
    return f"{labels} (*process*)" if labels else "(*process*)"


def _marked_label(label: Label) -> str:
    if label.means:
        return f"`{label.name}` ({label.means})"
    if label.values is None or len(label.values) > SHORT_ENOUGH:
        return f"`{label.name}`"
    return f"`{label.name}` ({', '.join(label.values)})"


def _path(option: Option) -> str:
    return DOTTED.write(tuple("NAME" if key == ANY else key for key in option.path))


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(_line(line) for line in lines)


def _line(cells: Sequence[str]) -> str:
    if set(cells) == {"---"}:
        return f"|{'|'.join(cells)}|\n"
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


if __name__ == "__main__":
    main(sys.argv[1:])
