"""Renders the catalogue as pages of bytes, in the Prometheus text format and in OpenMetrics.

Sample lines are the same in both formats; only the HELP and TYPE lines differ. Bytes are kept until they change:
the lines of a metric of a workspace until a value that they are made of changes, a compressed cell of a page until one
of its lines does. Only a short tail is made at each scrape.

A page is made in steps, so that an event loop can do other work between two of them. A step renders one workspace, or
joins or compresses one cell of about `ROWS_IN_CELL` rows, however many workspaces the page has.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar, cast
from weakref import ref

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.cells import Cells, Steps
from rc_import_exporter.metrics.lines import head, pair, process_lines, sample_lines
from rc_import_exporter.metrics.metric import (
    WORKSPACE,
    HistogramMetric,
    LiveReading,
    Metric,
    ProcessMetric,
    Reading,
    WorkspaceMetric,
    facts,
)
from rc_import_exporter.metrics.negotiation import Encoding, Format

PROCESS_INTERVAL: Final = 1.0
"""Seconds for which the lines about the process are kept: to read /proc takes longer than all the rest of a page."""
ROWS_IN_CELL: Final = 100
"""The lines of one metric of a workspace are a row. The largest cell of a page has about 250 kB."""

_Made = TypeVar("_Made")
_END: Final = {Format.TEXT: b"", Format.OPENMETRICS: b"# EOF\n"}
_RENDER_REGISTRY: Final[dict[Format, Callable[[CollectorRegistry], bytes]]] = {
    Format.TEXT: generate_latest,
    Format.OPENMETRICS: openmetrics.generate_latest,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkspaceLines:
    """The lines of a workspace, one block for each metric, and the values that they were made of.

    The record that the values were read from is not kept in memory: it may be replaced many times between two scrapes.
    """

    label: str
    record: "ref[Record]"
    since: float
    until: float
    """The next instant at which the record becomes fresh or stale; `since` is the last one."""
    values: Sequence[object]
    blocks: Sequence[bytes]
    live: Sequence[object]
    """The values of the metrics that change with the clock."""

    def is_current(self, record: Record, now: float) -> bool:
        return self.record() is record and self.since <= now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """The part of a page that stays the same from scrape to scrape.

    It is current for one snapshot, from `since` until one of its workspaces becomes stale or fresh.
    """

    rows: Sequence[_WorkspaceLines]
    cells: Cells
    snapshot: "ref[Snapshot]"
    since: float
    until: float

    def is_current(self, snapshot: Snapshot, now: float) -> bool:
        return snapshot is self.snapshot() and self.since <= now < self.until


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
        self._kept = [(each.full_name, each.read) for each in of_workspaces if isinstance(each.read, Reading)]
        self._live = [(each.full_name, each.read) for each in of_workspaces if isinstance(each.read, LiveReading)]
        self._process_metrics = [metric for metric in metrics if isinstance(metric, ProcessMetric | HistogramMetric)]
        self._heads = {(metric.full_name, form): head(metric, form) for metric in metrics for form in Format}
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
            kept = Cells(()) if body is None else body.cells
            old: list[object] = [] if body is None else [*kept.cells, *body.rows]
            body = self._bodies[form] = yield from self._body(
                snapshot, snapshot.records.values(), now, form, kept, whole=True
            )
            self._forget_lines(snapshot)
            del kept
            yield from _freed(old)
        return (yield from self._page(body, now, form, encoding, whole=True))

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
        body = yield from self._body(snapshot, records, now, form, Cells(()), whole=whole)
        return (yield from self._page(body, now, form, encoding, whole=whole))

    def fresh_lines(self, snapshot: Snapshot, now: float) -> Generator[None, None, None]:
        """Renders what changed since the last page, in short steps, so that the next one is made sooner."""
        for number, record in enumerate(snapshot.records.values()):
            kept = self._lines.get(record.target.name)
            is_current = kept is not None and kept.is_current(record, now)
            if not is_current:
                self._workspace_lines(record, now)
            if not is_current or number % ROWS_IN_CELL == 0:
                yield

    def _page(self, body: _Body, now: float, form: Format, encoding: Encoding, *, whole: bool) -> Steps:
        tail = yield from self._tail(body.rows, now, form, whole=whole)
        if encoding is Encoding.IDENTITY:
            return (yield from body.cells.plain()) + tail
        return (yield from body.cells.packed_with(tail))

    def _body(
        self, snapshot: Snapshot, records: Iterable[Record], now: float, form: Format, kept: Cells, *, whole: bool
    ) -> Generator[None, None, _Body]:
        rows, until = [], inf
        for record in records:
            row = self._workspace_lines(record, now)
            rows.append(row)
            until = min(until, row.until)
            yield
        cells = yield from kept.renewed(self._blocks(rows, snapshot, form, whole=whole))
        return _Body(rows=rows, cells=cells, snapshot=ref(snapshot), since=now, until=until)

    def _workspace_lines(self, record: Record, now: float) -> _WorkspaceLines:
        """The lines of a workspace. Only those of which a value changed are written again."""
        name = record.target.name
        kept = self._lines.get(name)
        if kept is None or not kept.is_current(record, now):
            kept = self._lines[name] = self._renewed_lines(kept, record, now)
        return kept

    def _renewed_lines(self, kept: _WorkspaceLines | None, record: Record, now: float) -> _WorkspaceLines:
        read = facts(record, now)
        label = pair(WORKSPACE, record.target.name) if kept is None else kept.label
        values: list[object] = []
        blocks: list[bytes] = []
        for index, (metric, reading) in enumerate(self._kept):
            value = reading.values(read)
            if kept is not None and kept.values[index] == value:
                values.append(kept.values[index])
                blocks.append(kept.blocks[index])
            else:
                values.append(value)
                blocks.append(sample_lines(metric, reading.samples(value), label))
        turns = [at for at in (record.fresh_from, record.stale_at) if at is not None]
        return _WorkspaceLines(
            label=label,
            record=ref(record),
            since=max([turn for turn in turns if turn <= now], default=-inf),
            until=min([turn for turn in turns if now < turn], default=inf),
            values=tuple(values),
            blocks=tuple(blocks),
            live=tuple([reading.values(read) for _, reading in self._live]),
        )

    def _blocks(
        self, rows: Sequence[_WorkspaceLines], snapshot: Snapshot, form: Format, *, whole: bool
    ) -> Iterator[list[bytes]]:
        """The blocks of each cell. A cell has rows of several metrics if the workspaces are few."""
        parts = [rows[start : start + ROWS_IN_CELL] for start in range(0, len(rows), ROWS_IN_CELL)]
        cell: list[bytes] = []
        number = 0
        for index, (metric, _) in enumerate(self._kept):
            above = self._heads[metric, form]
            for part in parts:
                blocks = [row.blocks[index] for row in part]
                number += len(blocks)
                if any(blocks):
                    cell.append(above)
                    cell += blocks
                    above = b""
                if number >= ROWS_IN_CELL:
                    yield cell
                    cell, number = [], 0
        for each in self._process_metrics if whole else ():
            if lines := process_lines(each, snapshot):
                cell += (self._heads[each.full_name, form], lines)
        yield cell

    def _tail(self, rows: Sequence[_WorkspaceLines], now: float, form: Format, *, whole: bool) -> Steps:
        tail = []
        for index, (metric, reading) in enumerate(self._live):
            above = self._heads[metric, form]
            for start in range(0, len(rows), ROWS_IN_CELL):
                part = rows[start : start + ROWS_IN_CELL]
                if lines := b"".join(
                    [sample_lines(metric, reading.samples(row.live[index], now), row.label) for row in part]
                ):
                    tail.append(above + lines)
                    above = b""
                yield
        if whole and self._process is not None:
            tail.append(self._process.read(form, now))
        tail.append(_END[form])
        return tuple(filter(None, tail))

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


def _freed(old: list[object]) -> Generator[None, None, None]:
    """Lets go of what is used no more, in short steps. Python would free 5,000 workspaces at once in 15 ms."""
    while old:
        del old[-ROWS_IN_CELL:]
        yield
