"""Writes samples as lines of text, as in the Prometheus text format and in OpenMetrics."""

from functools import lru_cache
from itertools import accumulate
from typing import Final

from rc_import_exporter.core.snapshot import Histogram, Snapshot
from rc_import_exporter.metrics.metric import HistogramMetric, Labels, Metric, ProcessMetric, Samples
from rc_import_exporter.metrics.negotiation import Format

_EXACT_INTEGERS: Final = 2.0**53
_IN_VALUE: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\"", "\0": "\ufffd"})
_IN_TEXT_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\0": "\ufffd"})
_NO_NUMBERS: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


def head(metric: Metric, form: Format) -> bytes:
    """The lines that describe a metric."""
    name = metric.full_name
    if form is Format.OPENMETRICS:
        name = name.removesuffix("_total")
    text = metric.help.translate(_IN_TEXT_HELP if form is Format.TEXT else _IN_VALUE)
    return _bytes(f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n")


def process_lines(metric: ProcessMetric | HistogramMetric, snapshot: Snapshot) -> bytes:
    """The lines of a metric of the exporter as a whole."""
    if isinstance(metric, ProcessMetric):
        return sample_lines(metric.full_name, metric.read(snapshot))
    return b"".join(_histogram_lines(metric, labels, histogram) for labels, histogram in metric.read(snapshot))


def _histogram_lines(metric: HistogramMetric, labels: Labels, histogram: Histogram) -> bytes:
    # OpenMetrics wants a bound with a fraction, and the text format allows it.
    bounds = [*(repr(float(bound)) for bound in metric.buckets), "+Inf"]
    counts = list(accumulate(histogram.counts))
    buckets = [((*labels, ("le", bound)), count) for bound, count in zip(bounds, counts, strict=True)]
    return (
        sample_lines(f"{metric.full_name}_bucket", buckets)
        + sample_lines(f"{metric.full_name}_sum", [(labels, histogram.total)])
        + sample_lines(f"{metric.full_name}_count", [(labels, counts[-1])])
    )


def sample_lines(name: str, samples: Samples, first: str = "") -> bytes:
    """Sample lines of one name. `first` is a label that stands in front of each line's own, already written."""
    written = []
    for labels, value in samples:
        text = f"{first},{_pairs(labels)}" if first and labels else first or _pairs(labels)
        written.append(f"{name}{{{text}}} {_number(value)}\n" if text else f"{name} {_number(value)}\n")
    return _bytes("".join(written))


@lru_cache(maxsize=1024)
def _pairs(labels: Labels) -> str:
    """Labels as text. Most of them are the same in all workspaces."""
    return ",".join(pair(*label) for label in labels)


def pair(label: str, text: str) -> str:
    """A label as text."""
    return f'{label}="{text.translate(_IN_VALUE)}"'


@lru_cache(maxsize=1024)
def _number(value: float) -> str:
    """The value with all its digits. Whole numbers have no fraction."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < _EXACT_INTEGERS):
        return str(int(value))
    text = repr(value)
    return _NO_NUMBERS.get(text, text)


def _bytes(text: str) -> bytes:
    """The text in UTF-8. Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    return text.encode(errors="replace")
