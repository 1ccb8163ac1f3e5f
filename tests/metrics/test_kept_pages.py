"""Only what changed is read, rendered and compressed again, in short steps, and nothing more is kept."""

import gzip
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from itertools import pairwise
from typing import Final
from weakref import ref

import pytest

from rc_import_exporter.core import schedule
from rc_import_exporter.core.domain import State
from rc_import_exporter.metrics import exposition as exposition_module
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import Facts, MetricKind, Samples, WorkspaceMetric, live_reading, reading
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.metrics.samples import one
from rc_import_exporter.turns import all_taken
from tests.support.parsed import with_record, workspaces
from tests.support.pictures import NOW, finished, four_workspaces, lost, picture, running

FORMS: Final = tuple(Format)
TEXT: Final = (Format.TEXT, Encoding.IDENTITY)
LATER: Final = NOW + 5.0


class Readings:
    """A metric that records which workspaces it was read for."""

    def __init__(self, *, live: bool = False) -> None:
        self.names: list[str] = []
        read = live_reading(lambda facts: facts.record.target.name, self._note) if live else reading(self._name, one)
        self.metric = WorkspaceMetric(name="probe", kind=MetricKind.GAUGE, help="Made for a test.", read=read)

    def _name(self, facts: Facts) -> float:
        self.names.append(facts.record.target.name)
        return 1.0

    def _note(self, name: str, now: float) -> Samples:
        self.names.append(name)
        return (((), 1.0),)


def test_nothing_is_read_again_while_nothing_changes() -> None:
    """Several Prometheus servers can scrape at the cost of one."""
    readings, snapshot = Readings(), four_workspaces()
    exposition = Exposition([readings.metric], process=False)
    first = exposition.page(snapshot, LATER)
    assert readings.names == ["acme", "beta", "gone", "new"]
    for form in FORMS:
        for encoding in Encoding:
            exposition.page(snapshot, LATER + 1.0, form, encoding)
    assert exposition.page(snapshot, LATER + 1.0) == first
    assert readings.names == ["acme", "beta", "gone", "new"]


def test_a_poll_makes_only_its_own_workspace_read_again() -> None:
    """With a thousand workspaces, one poll must not cost the rendering of all."""
    readings, snapshot = Readings(), four_workspaces()
    exposition = Exposition([readings.metric], process=False)
    exposition.page(snapshot, LATER)
    readings.names.clear()
    exposition.page(with_record(snapshot, finished("beta")), LATER)
    assert readings.names == ["beta"]


def test_only_the_workspace_that_goes_stale_is_read_again() -> None:
    """The others are still fresh, so their lines stay."""
    beta = finished("beta")
    lasting = replace(beta, target=replace(beta.target, stale_after=300.0))
    readings, snapshot = Readings(), picture([running("acme"), lasting])
    exposition = Exposition([readings.metric], process=False)
    exposition.page(snapshot, LATER)
    readings.names.clear()
    exposition.page(snapshot, NOW + 100.0)
    assert readings.names == ["acme"]


def test_lines_that_were_made_before_a_scrape_are_not_read_at_it() -> None:
    """With a thousand workspaces, the lines take far longer than all the rest of a page."""
    readings, snapshot = Readings(), four_workspaces()
    exposition = Exposition([readings.metric], process=False)
    assert len(list(exposition.prepare(snapshot, LATER))) >= len(snapshot.records)
    readings.names.clear()
    page = exposition.page(snapshot, LATER)
    assert (workspaces(page), readings.names) == (set(snapshot.records), [])


def test_a_line_is_written_again_only_if_a_value_changed() -> None:
    """A poll changes few of the series of a workspace."""
    written: list[str] = []

    def note(state: StrEnum | None) -> Samples:
        written.append(str(state))
        return (((), 1.0),)

    state = reading(lambda facts: facts.record.last_state, note)
    metric = WorkspaceMetric(name="probe", kind=MetricKind.GAUGE, help="Made for a test.", read=state)
    exposition, record = Exposition([metric], process=False), running("acme")
    for now in (LATER, LATER + 1.0):
        exposition.page(picture([replace(record, polls=int(now))]), now)
    exposition.page(picture([replace(record, last_state=State.DONE)]), LATER)
    assert written == ["importing", "done"]


def test_only_what_polls_changed_is_made_before_a_scrape() -> None:
    """Thousands of workspaces are not compared again and again, and an old record does not stay in memory."""
    readings, old = Readings(), four_workspaces()
    exposition = Exposition([readings.metric], process=False)
    all_taken(exposition.prepare(old, LATER))
    snapshot, record = with_record(old, finished("beta")), ref(old.records["beta"])
    del old
    readings.names.clear()
    all_taken(exposition.prepare(snapshot, LATER))
    assert (readings.names, record()) == (["beta"], None)
    shorter = replace(snapshot, records={name: snapshot.records[name] for name in ("acme", "beta")})
    all_taken(exposition.prepare(shorter, LATER))
    assert readings.names == ["beta"]


def test_many_workspaces_are_in_the_order_of_their_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were polled since the last page stand together. A few stay in the order of the configuration."""
    names = ["acme", "beta", "cool", "zeta"]
    snapshot = picture(map(running, names))
    lines = Exposition([Readings().metric], process=False)
    assert [line.split('"')[1] for line in lines.page(snapshot, LATER).decode().splitlines()[2:]] == names
    monkeypatch.setattr(schedule, "MANY", 4)
    lines = Exposition([Readings().metric], process=False)
    shown = [line.split('"')[1] for line in lines.page(snapshot, LATER).decode().splitlines()[2:]]
    assert shown == sorted(names, key=schedule.share) != names
    delays = [schedule.first_poll(name, 4, 15.0) for name in shown]
    assert delays == sorted(delays)


@pytest.mark.parametrize("encoding", Encoding)
def test_what_did_not_change_is_not_made_again(encoding: Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces of two pages are the same objects, except the first, the last and those with a changed line.

    So a page is neither compressed nor held in memory twice.
    """
    monkeypatch.setattr(exposition_module, "ROWS_IN_CELL", 2)
    exposition, names = Exposition(process=False), ("acme", "beta", "cool", "zeta")
    before = picture(map(running, names))
    after = with_record(before, replace(before.records["zeta"], polls=99))
    pages = [all_taken(exposition.page_steps(each, LATER, Format.TEXT, encoding)) for each in (before, before, after)]
    # Each cell of metrics that change with the clock is a piece of its own, or all are in the piece that ends gzip.
    ends = 2 if encoding is Encoding.IDENTITY else 1
    starts = [page[:-ends] for page in pages]
    assert all(old is new for old, new in zip(starts[0], starts[1], strict=True))
    changed = [index for index, (old, new) in enumerate(zip(starts[0], starts[2], strict=True)) if old is not new]
    assert len(changed) == 2
    assert changed[0] == 0


def test_a_page_keeps_no_old_record_in_memory() -> None:
    """At 5,000 workspaces, the records of the last scrape would be as large as those of now."""
    exposition = Exposition(process=False)
    old = picture([running("acme")])
    snapshot, record = ref(old), ref(old.records["acme"])
    for encoding in Encoding:
        exposition.page(old, LATER, encoding=encoding)
    del old
    assert (snapshot(), record()) == (None, None)


def test_live_families_are_read_at_every_scrape() -> None:
    """Their values depend on the time of the scrape."""
    readings, snapshot = Readings(live=True), picture([running("acme")])
    exposition = Exposition([readings.metric], process=False)
    for _ in range(3):
        exposition.page(snapshot, LATER)
    assert readings.names == ["acme"] * 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_joined_page_equals_a_page_rendered_whole(form: Format, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither old lines of the unchanged workspaces nor the borders between two parts may show."""
    before = picture([running("acme"), finished("beta"), lost("gone"), running("new"), finished("zeta")])
    after = with_record(with_record(before, running("beta")), finished("new"))
    whole = Exposition(process=False).page(after, LATER, form)
    monkeypatch.setattr(exposition_module, "ROWS_IN_CELL", rows)
    exposition = Exposition(process=False)
    exposition.page(before, LATER, form)
    assert exposition.page(after, LATER, form) == whole
    assert gzip.decompress(exposition.page(after, LATER, form, Encoding.GZIP)) == whole
    assert gzip.decompress(Exposition(process=False).page(after, LATER, form, Encoding.GZIP)) == whole


def test_two_pages_can_be_made_at_once() -> None:
    """Two clients ask while polls go on. Each gets the page of one instant."""
    before = picture([running("acme"), finished("beta")])
    after = with_record(before, running("beta"))
    exposition, texts = Exposition(process=False), (Format.TEXT, Encoding.GZIP)
    slow = exposition.page_steps(before, LATER, *texts)
    next(slow)
    fast = exposition.page(after, LATER, *texts)
    assert b"".join(map(bytes, all_taken(slow))) == Exposition(process=False).page(before, LATER, *texts)
    assert fast == Exposition(process=False).page(after, LATER, *texts)


@pytest.mark.parametrize("encoding", Encoding)
def test_a_step_stays_short_whatever_the_number_of_workspaces(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls and probes wait for one step at the most. Nothing is measured: a step may only do so much."""
    monkeypatch.setattr(exposition_module, "ROWS_IN_CELL", 5)
    kept, live = Readings(), Readings(live=True)
    snapshot = picture(running(f"w{index}") for index in range(23))
    exposition = Exposition([kept.metric, replace(live.metric, name="live")], process=False)
    steps, read = exposition.page_steps(snapshot, LATER, Format.TEXT, encoding), []
    with suppress(StopIteration):
        while True:
            next(steps)
            read.append((len(kept.names), len(live.names)))
    sizes = [(a[0] - b[0], a[1] - b[1]) for a, b in pairwise(reversed(read))]
    assert max(sizes) == (1, 0)
    assert max(of_live for _, of_live in sizes) == 5
    assert all(len(piece) < 1_000 for piece in all_taken(exposition.page_steps(snapshot, LATER, *TEXT)))


def test_a_selection_is_not_kept_in_place_of_the_page() -> None:
    """A scrape of one workspace must not change what the next scrape gets."""
    snapshot, exposition = four_workspaces(), Exposition(process=False)
    exposition.selection(snapshot, LATER, ["acme"])
    assert workspaces(exposition.page(snapshot, LATER)) == {"acme", "beta", "gone", "new"}
    selected = exposition.selection(snapshot, LATER, ["beta"], encoding=Encoding.GZIP)
    assert gzip.decompress(selected) == exposition.selection(snapshot, LATER, ["beta"])
