"""Renders the catalogue as pages of bytes, in the Prometheus text format and in OpenMetrics.

Sample lines are the same in both formats; only the HELP and TYPE lines differ. Bytes are kept until they change:
the lines of a workspace until its record changes or becomes stale, the body of a page until the snapshot changes or
something in it becomes stale. Only a short tail is made at each scrape.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from rc_import_exporter.core.snapshot import Histogram, Record, Snapshot
from rc_import_exporter.metrics.catalogue import (
    METRICS,
    WORKSPACE,
    HistogramMetric,
    Labels,
    Metric,
    ProcessMetric,
    Samples,
    WorkspaceMetric,
)
from rc_import_exporter.metrics.negotiation import Encoding, Format

COMPRESSION_LEVEL: Final = 1
"""On a page of four workspaces, level 6 saves a seventh of the bytes and takes five times as long."""
PROCESS_INTERVAL: Final = 1.0
"""Seconds for which the lines about the process are kept: to read /proc takes longer than all the rest of a page."""

_GZIP_WINDOW: Final = 31
_EXACT_INTEGERS: Final = 2.0**53
_IN_VALUE: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\"", "\0": "\ufffd"})
_IN_TEXT_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\0": "\ufffd"})
_NO_NUMBERS: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_END: Final = {Format.TEXT: b"", Format.OPENMETRICS: b"# EOF\n"}
_RENDER_REGISTRY: Final[dict[Format, Callable[[CollectorRegistry], bytes]]] = {
    Format.TEXT: generate_latest,
    Format.OPENMETRICS: openmetrics.generate_latest,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkspaceLines:
    """The sample lines of a workspace, one block for each metric, and the state that they were made from."""

    record: Record
    is_stale: bool
    blocks: tuple[bytes, ...]


class _Body:
    """The part of a page that stays the same from scrape to scrape, and its compressed form once a client wants it.

    It is current for one snapshot, from `since` until something in it becomes stale.
    """

    def __init__(self, plain: bytes, snapshot: Snapshot, since: float) -> None:
        self._plain = plain
        self._snapshot = snapshot
        self._since = since
        self._until = snapshot.stale_next(since)
        self._start = b""
        self._compressor: zlib._Compress | None = None

    def is_current(self, snapshot: Snapshot, now: float) -> bool:
        return snapshot is self._snapshot and self._since <= now and (self._until is None or now < self._until)

    def followed_by(self, tail: bytes, encoding: Encoding) -> bytes:
        """The whole page. Its gzip form is a single member, because curl and browsers read no second one."""
        if encoding is Encoding.IDENTITY:
            return self._plain + tail
        if self._compressor is None:
            self._compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
            self._start = self._compressor.compress(self._plain) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        # A copy goes on from the end of the body, so that only the tail is compressed at each scrape.
        compressor = self._compressor.copy()
        return b"".join((self._start, compressor.compress(tail), compressor.flush()))


class _ProcessLines:
    """prometheus-client's metrics `process_*` and `python_*`, read at most once in `PROCESS_INTERVAL`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._kept: dict[Format, tuple[float, bytes]] = {}

    def read(self, form: Format, now: float) -> bytes:
        kept = self._kept.get(form)
        if kept is None or not kept[0] <= now < kept[0] + PROCESS_INTERVAL:
            lines = _RENDER_REGISTRY[form](self._registry).removesuffix(_END[form])
            kept = self._kept[form] = (now, lines)
        return kept[1]


class Exposition:
    """Pages of these metrics, with lines about the process itself if `process` is set.

    It keeps what it renders: use one for the life of the program. Instants are Unix seconds.
    """

    def __init__(self, metrics: Sequence[Metric] = METRICS, *, process: bool = True) -> None:
        of_workspaces = [metric for metric in metrics if isinstance(metric, WorkspaceMetric)]
        self._kept_metrics = [metric for metric in of_workspaces if not metric.live]
        self._live_metrics = [metric for metric in of_workspaces if metric.live]
        self._process_metrics = [metric for metric in metrics if isinstance(metric, ProcessMetric | HistogramMetric)]
        self._heads = {(metric.name, form): _head(metric, form) for metric in metrics for form in Format}
        self._process = _ProcessLines() if process else None
        self._lines: dict[str, _WorkspaceLines] = {}
        self._bodies: dict[Format, _Body] = {}

    def page(
        self, snapshot: Snapshot, now: float, form: Format = Format.TEXT, encoding: Encoding = Encoding.IDENTITY
    ) -> bytes:
        """All series. What did not change since the last call is not rendered again."""
        body = self._bodies.get(form)
        if body is None or not body.is_current(snapshot, now):
            plain = self._render_body(snapshot, snapshot.records.values(), now, form, whole=True)
            body = self._bodies[form] = _Body(plain, snapshot, now)
        return body.followed_by(self._render_tail(snapshot.records.values(), now, form, whole=True), encoding)

    def selection(
        self,
        snapshot: Snapshot,
        now: float,
        names: Collection[str],
        form: Format = Format.TEXT,
        encoding: Encoding = Encoding.IDENTITY,
        *,
        whole: bool = True,
    ) -> bytes:
        """The series of these workspaces, and those of the exporter as a whole if `whole` is set.

        The page is not kept. Raises `KeyError` for an unknown workspace.
        """
        records = [snapshot.records[name] for name in dict.fromkeys(names)]
        body = self._render_body(snapshot, records, now, form, whole=whole)
        return _Body(body, snapshot, now).followed_by(self._render_tail(records, now, form, whole=whole), encoding)

    def _render_body(
        self, snapshot: Snapshot, records: Iterable[Record], now: float, form: Format, *, whole: bool
    ) -> bytes:
        # A workspace that left the configuration leaves the memory.
        self._lines = {name: lines for name, lines in self._lines.items() if name in snapshot.records}
        rows = [self._workspace_blocks(record, now) for record in records]
        families = [
            self._family(metric, form, (row[index] for row in rows)) for index, metric in enumerate(self._kept_metrics)
        ]
        if whole:
            families += [
                self._family(metric, form, [_process_lines(metric, snapshot)]) for metric in self._process_metrics
            ]
        return b"".join(families)

    def _workspace_blocks(self, record: Record, now: float) -> tuple[bytes, ...]:
        is_stale = record.held(now) is None
        kept = self._lines.get(record.target.name)
        if kept is None or kept.record is not record or kept.is_stale is not is_stale:
            blocks = tuple(_workspace_lines(metric, record, now) for metric in self._kept_metrics)
            kept = self._lines[record.target.name] = _WorkspaceLines(record=record, is_stale=is_stale, blocks=blocks)
        return kept.blocks

    def _render_tail(self, records: Collection[Record], now: float, form: Format, *, whole: bool) -> bytes:
        families = [
            self._family(metric, form, (_workspace_lines(metric, record, now) for record in records))
            for metric in self._live_metrics
        ]
        if whole and self._process is not None:
            families.append(self._process.read(form, now))
        return b"".join((*families, _END[form]))

    def _family(self, metric: Metric, form: Format, blocks: Iterable[bytes]) -> bytes:
        """The blocks below the lines that describe the metric; nothing at all without a sample."""
        lines = b"".join(blocks)
        return self._heads[metric.name, form] + lines if lines else b""


def _head(metric: Metric, form: Format) -> bytes:
    name = metric.full_name
    if form is Format.OPENMETRICS:
        name = name.removesuffix("_total")
    text = metric.help.translate(_IN_TEXT_HELP if form is Format.TEXT else _IN_VALUE)
    return _bytes(f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n")


def _workspace_lines(metric: WorkspaceMetric, record: Record, now: float) -> bytes:
    return _lines(metric.full_name, metric.read(record, now), _pair(WORKSPACE, record.target.name))


def _process_lines(metric: ProcessMetric | HistogramMetric, snapshot: Snapshot) -> bytes:
    if isinstance(metric, ProcessMetric):
        return _lines(metric.full_name, metric.read(snapshot))
    return b"".join(_histogram_lines(metric, labels, histogram) for labels, histogram in metric.read(snapshot))


def _histogram_lines(metric: HistogramMetric, labels: Labels, histogram: Histogram) -> bytes:
    # OpenMetrics wants a bound with a fraction, and the text format allows it.
    bounds = [*(repr(float(bound)) for bound in metric.buckets), "+Inf"]
    counts = list(accumulate(histogram.counts))
    buckets = [((*labels, ("le", bound)), count) for bound, count in zip(bounds, counts, strict=True)]
    return (
        _lines(f"{metric.full_name}_bucket", buckets)
        + _lines(f"{metric.full_name}_sum", [(labels, histogram.total)])
        + _lines(f"{metric.full_name}_count", [(labels, counts[-1])])
    )


def _lines(name: str, samples: Samples, first: str = "") -> bytes:
    """Sample lines of one name. `first` is a label that stands in front of each line's own, already written."""
    lines = []
    for labels, value in samples:
        pairs = [_pair(*label) for label in labels]
        text = ",".join([first, *pairs] if first else pairs)
        lines.append(f"{name}{{{text}}} {_number(value)}\n" if text else f"{name} {_number(value)}\n")
    return _bytes("".join(lines))


def _pair(label: str, text: str) -> str:
    return f'{label}="{text.translate(_IN_VALUE)}"'


def _number(value: float) -> str:
    """The value with all its digits. Whole numbers have no fraction."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < _EXACT_INTEGERS):
        return str(int(value))
    text = repr(value)
    return _NO_NUMBERS.get(text, text)


def _bytes(text: str) -> bytes:
    """The text in UTF-8. Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    return text.encode(errors="replace")
