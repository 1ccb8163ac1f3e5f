"""Renders the catalogue as pages of bytes, in the Prometheus text format and in OpenMetrics.

Sample lines are the same in both formats; only the HELP and TYPE lines differ. Bytes are kept until they change:
the lines of a workspace until its record changes or becomes stale, the body of a page until the snapshot changes or
something in it becomes stale. Only a short tail is made at each scrape.

A page is made in steps, so that an event loop can do other work between two of them. A step renders one workspace, or
joins or compresses the lines of one metric of `ROWS_IN_PART` workspaces, however many workspaces the page has.
"""

import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate, chain, islice
from math import inf
from typing import Final, TypeVar, cast

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from rc_import_exporter.core.snapshot import Histogram, Record, Snapshot
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import (
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
ROWS_IN_PART: Final = 100
"""Workspaces whose lines of one metric are joined in one step. The longest part has about 250 kB."""

Pieces = tuple[bytes, ...]
"""A page in pieces. Pages that share their first piece share all pieces but the last few."""
Steps = Generator[None, None, Pieces]
"""Makes a page in short steps."""
_Made = TypeVar("_Made")
GZIP_WINDOW: Final = 31
"""zlib's word for gzip with the largest window."""

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
    turns: tuple[float, ...]
    """The instants at which the record becomes fresh and stale."""
    made: float
    blocks: tuple[bytes, ...]

    def is_current(self, record: Record, now: float) -> bool:
        return self.record is record and all((self.made < turn) is (now < turn) for turn in self.turns)


class _Body:
    """The part of a page that stays the same from scrape to scrape. It is made once a client wants it.

    `parts` gives its bytes in order, in parts of bounded size. The body is current for one snapshot, from `since` until
    one of its workspaces becomes stale or fresh.
    """

    def __init__(
        self, parts: Callable[[], Iterable[bytes]], rows: Iterable[_WorkspaceLines], snapshot: Snapshot, since: float
    ) -> None:
        self._parts = parts
        self._snapshot = snapshot
        self._since = since
        self._until = min((turn for row in rows for turn in row.turns if since < turn), default=inf)
        self._plain: Pieces | None = None
        self._start: Pieces = ()
        self._compressor: zlib._Compress | None = None

    def is_current(self, snapshot: Snapshot, now: float) -> bool:
        return snapshot is self._snapshot and self._since <= now < self._until

    def followed_by(self, tail: Pieces, encoding: Encoding) -> Steps:
        """The whole page. Its gzip form is a single member, because curl and browsers read no second one."""
        if encoding is Encoding.IDENTITY:
            if self._plain is None:
                self._plain = yield from _collected(self._parts())
            return self._plain + tail
        if self._compressor is None:
            self._start, self._compressor = yield from self._compressed()
        # A copy goes on from the end of the body, so that only the tail is compressed at each scrape.
        compressor = self._compressor.copy()
        packed = yield from _collected(map(compressor.compress, tail))
        return (*self._start, b"".join((*packed, compressor.flush())))

    def _compressed(self) -> "Generator[None, None, tuple[Pieces, zlib._Compress]]":
        """The compressed body, made without a plain copy in memory."""
        compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
        packed = yield from _collected(map(compressor.compress, self._parts() if self._plain is None else self._plain))
        return (b"".join((*packed, compressor.flush(zlib.Z_SYNC_FLUSH))),), compressor


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
        return b"".join(all_taken(self.page_steps(snapshot, now, form, encoding)))

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

        The page is not kept, but the lines of each workspace are. Raises `KeyError` for an unknown workspace.
        """
        return b"".join(all_taken(self.selection_steps(snapshot, now, names, form, encoding, whole=whole)))

    def page_steps(self, snapshot: Snapshot, now: float, form: Format, encoding: Encoding) -> Steps:
        """The same bytes as `page`, made in short steps."""
        body = self._bodies.get(form)
        if body is None or not body.is_current(snapshot, now):
            body = self._bodies[form] = yield from self._body(
                snapshot, snapshot.records.values(), now, form, whole=True
            )
            self._forget_lines(snapshot)
        tail = yield from self._tail(snapshot.records.values(), now, form, whole=True)
        return (yield from body.followed_by(tail, encoding))

    def selection_steps(
        self,
        snapshot: Snapshot,
        now: float,
        names: Collection[str],
        form: Format,
        encoding: Encoding,
        *,
        whole: bool = True,
    ) -> Steps:
        """The same bytes as `selection`, made in short steps."""
        records = [snapshot.records[name] for name in dict.fromkeys(names)]
        body = yield from self._body(snapshot, records, now, form, whole=whole)
        tail = yield from self._tail(records, now, form, whole=whole)
        return (yield from body.followed_by(tail, encoding))

    def _body(
        self, snapshot: Snapshot, records: Iterable[Record], now: float, form: Format, *, whole: bool
    ) -> Generator[None, None, _Body]:
        rows = []
        for record in records:
            rows.append(self._workspace_lines(record, now))
            yield
        return _Body(partial(self._parts, rows, snapshot, form, whole=whole), rows, snapshot, now)

    def _workspace_lines(self, record: Record, now: float) -> _WorkspaceLines:
        name = record.target.name
        kept = self._lines.get(name)
        if kept is None or not kept.is_current(record, now):
            blocks = tuple(_workspace_lines(metric, record, now) for metric in self._kept_metrics)
            turns = tuple(at for at in (record.fresh_from, record.stale_at) if at is not None)
            kept = _WorkspaceLines(record=record, turns=turns, made=now, blocks=blocks)
            self._lines[name] = kept
        return kept

    def _parts(
        self, rows: Sequence[_WorkspaceLines], snapshot: Snapshot, form: Format, *, whole: bool
    ) -> Iterator[bytes]:
        for index, metric in enumerate(self._kept_metrics):
            yield from self._family(metric, form, (row.blocks[index] for row in rows))
        for each in self._process_metrics if whole else ():
            yield from self._family(each, form, [_process_lines(each, snapshot)])

    def _tail(self, records: Collection[Record], now: float, form: Format, *, whole: bool) -> Steps:
        families = (
            self._family(metric, form, (_workspace_lines(metric, record, now) for record in records))
            for metric in self._live_metrics
        )
        tail = yield from _collected(chain.from_iterable(families))
        if whole and self._process is not None:
            tail = (*tail, self._process.read(form, now))
        return (*tail, _END[form]) if _END[form] else tail

    def _family(self, metric: Metric, form: Format, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The blocks below the lines that describe the metric, some in each part; nothing at all without a sample."""
        head, rest = self._heads[metric.name, form], iter(blocks)
        while some := list(islice(rest, ROWS_IN_PART)):
            if lines := b"".join(some):
                yield head + lines
                head = b""

    def _forget_lines(self, snapshot: Snapshot) -> None:
        """A workspace that left the configuration leaves the memory."""
        if len(self._lines) > len(snapshot.records):
            self._lines = {name: lines for name, lines in self._lines.items() if name in snapshot.records}


def all_taken(steps: Generator[None, None, _Made]) -> _Made:
    """The result of steps that are taken without a pause."""
    try:
        while True:
            next(steps)
    except StopIteration as ended:
        return cast(_Made, ended.value)


def _collected(parts: Iterable[bytes]) -> Steps:
    """The parts that are not empty, one made in each step."""
    made = []
    for part in parts:
        if part:
            made.append(part)
        yield
    return tuple(made)


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
        text = f"{first},{_pairs(labels)}" if first and labels else first or _pairs(labels)
        lines.append(f"{name}{{{text}}} {_number(value)}\n" if text else f"{name} {_number(value)}\n")
    return _bytes("".join(lines))


@lru_cache(maxsize=1024)
def _pairs(labels: Labels) -> str:
    """Labels as text. Most of them are the same in all workspaces."""
    return ",".join(_pair(*label) for label in labels)


def _pair(label: str, text: str) -> str:
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
