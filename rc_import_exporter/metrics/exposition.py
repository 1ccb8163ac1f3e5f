"""The catalogue's families as pages of bytes; `web` serves them, `once` writes them to a file.

Bytes are made once per change: a workspace's lines until its record changes or goes stale, a page's body until the
snapshot changes or something in it goes stale. What moves in between is a short tail, made at each scrape. Sample lines
are the same in both formats, only the lines that describe a family differ.
"""

import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from rc_import_exporter.core.snapshot import Histogram, Record, Snapshot
from rc_import_exporter.metrics.catalogue import (
    METRICS,
    WORKSPACE,
    HistogramMetric,
    Labels,
    Metric,
    MetricKind,
    ProcessMetric,
    Samples,
    WorkspaceMetric,
)
from rc_import_exporter.metrics.negotiation import Encoding, Format

COMPRESSION_LEVEL: Final = 1
"""Measured on the page of four workspaces: 6 saves a seventh of the bytes and takes five times as long."""
PROCESS_INTERVAL: Final = 1.0
"""Seconds for which the lines about the process are kept: reading /proc costs more than all the rest of a page."""

_GZIP_WINDOW: Final = 31
_EXACT_INTEGERS: Final = 2.0**53
_IN_VALUE: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\"", "\0": "\ufffd"})
_IN_TEXT_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\0": "\ufffd"})
_NO_NUMBERS: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_END: Final = {Format.TEXT: b"", Format.OPENMETRICS: b"# EOF\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """A workspace's sample lines by family, and what they were made from."""

    record: Record
    held: bool
    blocks: tuple[bytes, ...]


@dataclass(slots=True, kw_only=True)
class _Body:
    """The part of a page that stays until something changes, and its gzip form once someone asked for it."""

    plain: bytes
    packed: "_Packed | None" = None


@dataclass(slots=True, kw_only=True)
class _Kept:
    """The bodies of a snapshot, by format, good from `since` up to `until`, when something in it goes stale."""

    snapshot: Snapshot
    since: float
    until: float | None
    bodies: dict[Format, _Body] = field(default_factory=dict)

    def good_for(self, snapshot: Snapshot, now: float) -> bool:
        return snapshot is self.snapshot and self.since <= now and (self.until is None or now < self.until)


class _Packed:
    """A body as the beginning of a gzip member that any number of tails can be put behind."""

    def __init__(self, body: bytes) -> None:
        self._compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self._start = self._compressor.compress(body) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def followed_by(self, tail: bytes) -> bytes:
        """The whole page, one gzip member: curl and browsers stop at the end of the first."""
        compressor = self._compressor.copy()
        return b"".join((self._start, compressor.compress(tail), compressor.flush()))


class _Family:
    """A family's describing lines in either format, around its sample lines."""

    def __init__(self, name: str, kind: str, meaning: str) -> None:
        told, told_openmetrics = meaning.translate(_IN_TEXT_HELP), meaning.translate(_IN_VALUE)
        base = name.removesuffix("_total") if kind == MetricKind.COUNTER else name
        self.heads = {
            Format.TEXT: _bytes(f"# HELP {name} {told}\n# TYPE {name} {kind}\n"),
            Format.OPENMETRICS: _bytes(f"# HELP {base} {told_openmetrics}\n# TYPE {base} {kind}\n"),
        }

    def around(self, blocks: Iterable[bytes], form: Format) -> bytes:
        """The blocks under the family's head; nothing at all without a sample."""
        lines = b"".join(blocks)
        return self.heads[form] + lines if lines else b""


class _Process:
    """prometheus-client's `process_*` and `python_*`, read at most once in `PROCESS_INTERVAL`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._read_at: float | None = None
        self._pages: dict[Format, bytes] = {}

    def lines(self, form: Format, now: float) -> bytes:
        if self._read_at is None or not self._read_at <= now < self._read_at + PROCESS_INTERVAL:
            self._read_at = now
            self._pages = self._read()
        return self._pages[form]

    def _read(self) -> dict[Format, bytes]:
        pages = dict.fromkeys(Format, b"")
        for metric in self._registry.collect():
            name = metric.name + "_total" if metric.type == MetricKind.COUNTER else metric.name
            lines = [_lines(each.name, [(tuple(each.labels.items()), each.value)]) for each in metric.samples]
            family = _Family(name, metric.type, metric.documentation)
            for form in Format:
                pages[form] += family.around(lines, form)
        return pages


class Exposition:
    """Pages of the given metrics, with lines about the process itself where `process` says so.

    It keeps what it made: use one for as long as the program runs. Instants are Unix seconds.
    """

    def __init__(self, metrics: Sequence[Metric] = METRICS, *, process: bool = True) -> None:
        of_workspaces = [metric for metric in metrics if isinstance(metric, WorkspaceMetric)]
        self._kept_metrics = [metric for metric in of_workspaces if not metric.live]
        self._live_metrics = [metric for metric in of_workspaces if metric.live]
        self._whole_metrics = [metric for metric in metrics if isinstance(metric, ProcessMetric | HistogramMetric)]
        self._families = {metric.name: _Family(metric.full_name, metric.kind, metric.help) for metric in metrics}
        self._process = _Process() if process else None
        self._lines: dict[str, _Lines] = {}
        self._kept: _Kept | None = None

    def page(
        self, snapshot: Snapshot, now: float, form: Format = Format.TEXT, encoding: Encoding = Encoding.IDENTITY
    ) -> bytes:
        """Everything; what did not change since the last call is not made again."""
        body = self._body(snapshot, now, form)
        tail = self._tail(snapshot.records.values(), now, form, whole=True)
        if encoding is Encoding.IDENTITY:
            return body.plain + tail
        if body.packed is None:
            body.packed = _Packed(body.plain)
        return body.packed.followed_by(tail)

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
        """These workspaces' series only, and those of the exporter as a whole where `whole` says so.

        It is joined from the same lines as `page` and not kept. Raises `KeyError` for an unknown workspace.
        """
        records = [snapshot.records[name] for name in dict.fromkeys(names)]
        plain = self._joined(snapshot, records, now, form, whole=whole) + self._tail(records, now, form, whole=whole)
        return plain if encoding is Encoding.IDENTITY else _Packed(plain).followed_by(b"")

    def _body(self, snapshot: Snapshot, now: float, form: Format) -> _Body:
        kept = self._kept
        if kept is None or not kept.good_for(snapshot, now):
            self._lines = {name: self._lines[name] for name in snapshot.records if name in self._lines}
            kept = self._kept = _Kept(snapshot=snapshot, since=now, until=snapshot.stale_next(now))
        if form not in kept.bodies:
            kept.bodies[form] = _Body(plain=self._joined(snapshot, snapshot.records.values(), now, form, whole=True))
        return kept.bodies[form]

    def _joined(self, snapshot: Snapshot, records: Iterable[Record], now: float, form: Format, *, whole: bool) -> bytes:
        rows = [self._blocks(record, now) for record in records]
        columns = [(metric, [row[index] for row in rows]) for index, metric in enumerate(self._kept_metrics)]
        wholes = [(metric, [_whole_lines(metric, snapshot)]) for metric in self._whole_metrics] if whole else []
        return b"".join(self._families[metric.name].around(blocks, form) for metric, blocks in (*columns, *wholes))

    def _blocks(self, record: Record, now: float) -> tuple[bytes, ...]:
        held = record.held(now) is not None
        known = self._lines.get(record.target.name)
        if known is None or known.record is not record or known.held is not held:
            blocks = tuple(_workspace_lines(metric, record, now) for metric in self._kept_metrics)
            known = self._lines[record.target.name] = _Lines(record=record, held=held, blocks=blocks)
        return known.blocks

    def _tail(self, records: Collection[Record], now: float, form: Format, *, whole: bool) -> bytes:
        parts = [
            self._families[metric.name].around([_workspace_lines(metric, record, now) for record in records], form)
            for metric in self._live_metrics
        ]
        if whole and self._process is not None:
            parts.append(self._process.lines(form, now))
        parts.append(_END[form])
        return b"".join(parts)


def _workspace_lines(metric: WorkspaceMetric, record: Record, now: float) -> bytes:
    return _lines(metric.full_name, metric.read(record, now), _pair(WORKSPACE, record.target.name))


def _whole_lines(metric: ProcessMetric | HistogramMetric, snapshot: Snapshot) -> bytes:
    if isinstance(metric, ProcessMetric):
        return _lines(metric.full_name, metric.read(snapshot))
    return b"".join(_histogram_lines(metric, labels, histogram) for labels, histogram in metric.read(snapshot))


def _histogram_lines(metric: HistogramMetric, labels: Labels, histogram: Histogram) -> bytes:
    bounds = [*map(_bound, metric.buckets), _bound(float("inf"))]
    counts = list(accumulate(histogram.counts))
    buckets = [((*labels, ("le", bound)), count) for bound, count in zip(bounds, counts, strict=True)]
    return (
        _lines(f"{metric.full_name}_bucket", buckets)
        + _lines(f"{metric.full_name}_sum", [(labels, histogram.total)])
        + _lines(f"{metric.full_name}_count", [(labels, counts[-1])])
    )


def _lines(name: str, samples: Samples, first: str = "") -> bytes:
    """Sample lines of a name; `first` is a label already written, that each of them begins with."""
    lines = []
    for labels, value in samples:
        pairs = ",".join(
            [first, *[_pair(*label) for label in labels]] if first else [_pair(*label) for label in labels]
        )
        lines.append(f"{name}{{{pairs}}} {_number(value)}\n" if pairs else f"{name} {_number(value)}\n")
    return _bytes("".join(lines))


def _pair(label: str, text: str) -> str:
    return f'{label}="{text.translate(_IN_VALUE)}"'


def _number(value: float) -> str:
    """A value as both formats read it: whole numbers without a fraction, the others as exactly as they are held."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < _EXACT_INTEGERS):
        return str(int(value))
    text = repr(value)
    return _NO_NUMBERS.get(text, text)


def _bound(bound: float) -> str:
    """A bucket's bound; OpenMetrics wants it with a fraction, and the text format does not mind."""
    return "+Inf" if bound == float("inf") else repr(float(bound))


def _bytes(text: str) -> bytes:
    """UTF-8; half a surrogate pair, which JSON can carry and UTF-8 cannot, becomes a question mark."""
    return text.encode(errors="replace")
