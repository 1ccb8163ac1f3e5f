"""Renders the catalogue as pages of bytes, in the Prometheus text format and in OpenMetrics.

Sample lines are the same in both formats; only the HELP and TYPE lines differ. Bytes are kept until they change:
the lines of a metric of a workspace until a value that they are made of changes, a compressed cell of a page until one
of its lines does. Only a short tail is made at each scrape.

A page is made in steps, so that an event loop can do other work between two of them. A step renders one workspace, or
collects or compresses one cell of about `ROWS_IN_CELL` rows, however many workspaces the page has. Only to put 5,000
workspaces in order takes three milliseconds.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from math import inf
from operator import is_
from typing import Final
from weakref import ref

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from rc_import_exporter.core import schedule
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
from rc_import_exporter.turns import all_taken

PROCESS_INTERVAL: Final = 1.0
"""Seconds for which the lines about the process are kept: to read /proc takes longer than all the rest of a page."""
ROWS_IN_CELL: Final = 100
"""The lines of one metric of a workspace are a row. The largest cell of a page has about 250 kB."""

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


_Columns = Sequence[Sequence[bytes]]
"""For each metric, the blocks of `ROWS_IN_CELL` workspaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """The part of a page that stays the same from scrape to scrape.

    It is current for one snapshot, from `since` until one of its workspaces becomes stale or fresh.
    """

    rows: Sequence[_WorkspaceLines]
    columns: Sequence[_Columns]
    cells: Cells
    snapshot: Callable[[], Snapshot | None]
    since: float
    until: float

    def is_current(self, snapshot: Snapshot, now: float) -> bool:
        return snapshot is self.snapshot() and self.since <= now < self.until


_NOTHING: Final = _Body(rows=(), columns=(), cells=Cells(()), snapshot=lambda: None, since=inf, until=-inf)


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
        self._old: list[object] = []
        """Parts of earlier pages, to be freed in short steps."""
        self._prepared: list[int] = []
        """The ids of the records at the last preparation, not the records themselves: these would stay in memory."""

    def page(
        self, snapshot: Snapshot, now: float, form: Format = Format.TEXT, encoding: Encoding = Encoding.IDENTITY
    ) -> bytes:
        """All series. What did not change since the last call is not rendered again."""
        return b"".join(map(bytes, all_taken(self.page_steps(snapshot, now, form, encoding))))

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
        steps = self.selection_steps(snapshot, now, names, form, encoding, whole=whole)
        return b"".join(map(bytes, all_taken(steps)))

    def page_steps(self, snapshot: Snapshot, now: float, form: Format, encoding: Encoding) -> Steps:
        """The same bytes as `page`, made in short steps."""
        body = self._bodies.get(form)
        if body is None or not body.is_current(snapshot, now):
            yield from _freed(self._old)
            kept = body or _NOTHING
            body = self._bodies[form] = yield from self._body(
                snapshot, _in_order_of_polls(snapshot), now, form, kept, whole=True
            )
            self._forget_lines(snapshot)
            self._old += (*kept.cells.cells, *chain.from_iterable(kept.columns), *kept.rows)
            del kept
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
        body = yield from self._body(snapshot, records, now, form, _NOTHING, whole=whole)
        return (yield from self._page(body, now, form, encoding, whole=whole))

    def prepare(self, snapshot: Snapshot, now: float) -> Generator[None, None, None]:
        """Renders what polls have changed since the last call, in short steps, so that the next page is made sooner."""
        yield from _freed(self._old)
        records = list(snapshot.records.values())
        ids = list(map(id, records))
        yield
        # A new record may have the id of an old one. Then the page renders it.
        changed = [record for record, old in zip_longest(records, self._prepared) if record and id(record) != old]
        yield from self._rows(changed, now)
        self._prepared = ids

    def _page(self, body: _Body, now: float, form: Format, encoding: Encoding, *, whole: bool) -> Steps:
        tail = yield from self._tail(body.rows, now, form, whole=whole)
        if encoding is Encoding.IDENTITY:
            return (*body.cells.plain(), *tail)
        return (yield from body.cells.packed_with(tail))

    def _body(
        self, snapshot: Snapshot, records: Iterable[Record], now: float, form: Format, kept: _Body, *, whole: bool
    ) -> Generator[None, None, _Body]:
        rows = yield from self._rows(records, now)
        columns = yield from _columns(rows, kept)
        cells = yield from kept.cells.renewed(self._cells(columns, snapshot, form, whole=whole))
        until = min([row.until for row in rows], default=inf)
        return _Body(rows=rows, columns=columns, cells=cells, snapshot=ref(snapshot), since=now, until=until)

    def _rows(self, records: Iterable[Record], now: float) -> Generator[None, None, list[_WorkspaceLines]]:
        rows: list[_WorkspaceLines] = []
        for record in records:
            name = record.target.name
            row = self._lines.get(name)
            is_new = row is None or not row.is_current(record, now)
            if row is None or is_new:
                row = self._lines[name] = self._renewed_lines(row, record, now)
            rows.append(row)
            if is_new or len(rows) % ROWS_IN_CELL == 0:
                yield
        return rows

    def _renewed_lines(self, kept: _WorkspaceLines | None, record: Record, now: float) -> _WorkspaceLines:
        """The lines of a workspace. Only those of which a value changed are written again."""
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

    def _cells(
        self, columns: Sequence[_Columns], snapshot: Snapshot, form: Format, *, whole: bool
    ) -> Iterator[list[Sequence[bytes]]]:
        """The groups of blocks of each cell. A cell has rows of several metrics if the workspaces are few."""
        cell: list[Sequence[bytes]] = []
        number = 0
        for index, (metric, _) in enumerate(self._kept):
            above: Sequence[bytes] = (self._heads[metric, form],)
            for part in columns:
                blocks = part[index]
                number += len(blocks)
                if any(blocks):
                    cell += (above, blocks)
                    above = ()
                if number >= ROWS_IN_CELL:
                    yield cell
                    cell, number = [], 0
        for each in self._process_metrics if whole else ():
            if lines := process_lines(each, snapshot):
                cell.append((self._heads[each.full_name, form], lines))
        yield cell

    def _tail(
        self, rows: Sequence[_WorkspaceLines], now: float, form: Format, *, whole: bool
    ) -> Generator[None, None, list[bytes]]:
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
        return [lines for lines in tail if lines]

    def _forget_lines(self, snapshot: Snapshot) -> None:
        """A workspace that left the configuration leaves the memory."""
        if len(self._lines) > len(snapshot.records):
            self._lines = {name: lines for name, lines in self._lines.items() if name in snapshot.records}


def _in_order_of_polls(snapshot: Snapshot) -> Iterable[Record]:
    """Many workspaces are in the order of their polls, so that fewer cells change from page to page."""
    if len(snapshot.records) < schedule.MANY:
        return snapshot.records.values()
    return sorted(snapshot.records.values(), key=lambda record: schedule.share(record.target.name))


def _columns(rows: Sequence[_WorkspaceLines], kept: _Body) -> Generator[None, None, list[_Columns]]:
    """The columns of these rows. Where all rows are the same as before, the old columns are taken over."""
    columns: list[_Columns] = []
    for start in range(0, len(rows), ROWS_IN_CELL):
        part, before = (each[start : start + ROWS_IN_CELL] for each in (rows, kept.rows))
        if len(part) == len(before) and all(map(is_, part, before)):
            columns.append(kept.columns[len(columns)])
        else:
            columns.append(tuple(zip(*[row.blocks for row in part], strict=True)))
        yield
    return columns


def _freed(old: list[object]) -> Generator[None, None, None]:
    """Lets go of what is used no more, in short steps. Python would free 5,000 workspaces at once in 15 ms."""
    while old:
        del old[-ROWS_IN_CELL:]
        yield
