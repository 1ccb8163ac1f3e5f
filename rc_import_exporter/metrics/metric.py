"""What a metric is: its name, type, help text and labels, and the function that reads its values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, TypeVar, cast

from rc_import_exporter.core.snapshot import Histogram, Observation, Record, Snapshot, Track

PREFIX: Final = "rocketchat_import_"
WORKSPACE: Final = "workspace"

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, float]]
_Values = TypeVar("_Values")


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
class Facts:
    """What the metrics of a workspace are read from, worked out once for all of them.

    `held` is the observation, or `None` if it is stale. `results` has the last finished operation of each importer.
    """

    record: Record
    held: Observation | None
    results: Mapping[str, Track]


def facts(record: Record, now: float) -> Facts:
    """The facts of a workspace."""
    return Facts(record=record, held=record.held(now), results=record.history.last_results)


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads samples in two steps: a few values, then the samples made of them.

    Equal values give equal samples, so lines are written again only after a value changed.
    """

    values: Callable[[Facts], object]
    samples: Callable[[object], Samples]

    def __call__(self, record: Record, now: float) -> Samples:
        """The samples of a workspace."""
        return self.samples(self.values(facts(record, now)))


@dataclass(frozen=True, slots=True)
class LiveReading:
    """The same for samples that change with the clock as well."""

    values: Callable[[Facts], object]
    samples: Callable[[object, float], Samples]

    def __call__(self, record: Record, now: float) -> Samples:
        """The samples of a workspace."""
        return self.samples(self.values(facts(record, now)), now)


def reading(values: Callable[[Facts], _Values], samples: Callable[[_Values], Samples]) -> Reading:
    """A reading whose second step takes what the first one gives."""
    return Reading(values, cast(Callable[[object], Samples], samples))


def live_reading(values: Callable[[Facts], _Values], samples: Callable[[_Values, float], Samples]) -> LiveReading:
    """The same with the clock."""
    return LiveReading(values, cast(Callable[[object, float], Samples], samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMetric(Metric):
    """A metric of each workspace."""

    read: Reading | LiveReading

    @property
    def live(self) -> bool:
        """Whether its value changes between polls, so that each scrape makes its lines again."""
        return isinstance(self.read, LiveReading)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMetric(Metric):
    """A metric of the exporter as a whole."""

    read: Callable[[Snapshot], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramMetric(Metric):
    """A histogram over all workspaces. `buckets` are the upper bounds; `read` gives one for each set of labels."""

    buckets: tuple[float, ...]
    read: Callable[[Snapshot], Iterable[tuple[Labels, Histogram]]]
