"""The catalogue as a table: rows of text for a terminal, and Markdown."""

from collections.abc import Iterable, Sequence
from typing import Final

from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import WORKSPACE, Label, Metric, WorkspaceMetric

_LONGEST_LIST: Final = 12
"""A label with more values than this is shown without them."""


def rows(metrics: Sequence[Metric] = METRICS) -> list[tuple[str, str, str, str]]:
    """Name, type, labels and meaning of each metric."""
    return [(metric.full_name, metric.kind, ", ".join(_label_names(metric)), metric.help) for metric in metrics]


def markdown() -> str:
    """The catalogue in Markdown. Names are without the exporter's prefix, labels are without `workspace`."""
    return markdown_table(
        ("name", "type", "labels", "meaning"),
        [(f"`{metric.name}`", metric.kind, _labels(metric), metric.help) for metric in METRICS],
    )


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(heads)}", *lines[1:], ""])


def _label_names(metric: Metric) -> list[str]:
    first = [WORKSPACE] if isinstance(metric, WorkspaceMetric) else []
    return [*first, *(label.name for label in metric.labels)]


def _labels(metric: Metric) -> str:
    labels = ", ".join(map(_label, metric.labels))
    if isinstance(metric, WorkspaceMetric):
        return labels
    return f"{labels} (*process*)".strip()


def _label(label: Label) -> str:
    if label.means:
        return f"`{label.name}` ({label.means})"
    if label.values is None or len(label.values) > _LONGEST_LIST:
        return f"`{label.name}`"
    return f"`{label.name}` ({', '.join(label.values)})"
