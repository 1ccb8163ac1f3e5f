"""What a metric is: its name, type, help text and labels, and the function that reads its values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from rc_import_exporter.core.snapshot import Histogram, Record, Snapshot

PREFIX: Final = "rocketchat_import_"
WORKSPACE: Final = "workspace"

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, float]]


@unique
class MetricKind(StrEnum):
    """The types of metrics in use, by their names in the Prometheus formats."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label. `values` holds every possible value, or is `None` if any text is possible. `means` is for documents."""

    name: str
    values: tuple[str, ...] | None = None
    means: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What every metric has.

    `name` has no prefix, and ends with `_total` if the metric is a counter. `beside` says why the metric exists if no
    dashboard and no rule uses it, and is empty otherwise. `never` names label values that no test scenario can produce,
    each with the reason.
    """

    name: str
    kind: MetricKind = MetricKind.GAUGE
    help: str
    labels: tuple[Label, ...] = ()
    beside: str = ""
    never: Mapping[str, str] | None = None

    @property
    def full_name(self) -> str:
        """The name with the prefix that all metrics share."""
        return PREFIX + self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMetric(Metric):
    """A metric of each workspace. `live` says that its value changes between polls, so each scrape reads it again."""

    read: Callable[[Record, float], Samples]
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMetric(Metric):
    """A metric of the exporter as a whole."""

    read: Callable[[Snapshot], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramMetric(Metric):
    """A histogram over all workspaces. `buckets` are the upper bounds; `read` gives one for each set of labels."""

    buckets: tuple[float, ...]
    read: Callable[[Snapshot], Iterable[tuple[Labels, Histogram]]]
