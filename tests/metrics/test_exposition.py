"""Pages hold exactly what the catalogue reads from a snapshot, in both formats."""

import gzip
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rc_import_exporter.core.domain import (
    Api,
    Counts,
    InfoAnswer,
    Kind,
    ListAnswer,
    Operation,
    Reason,
    Result,
    State,
    StatusAnswer,
    Step,
    Target,
)
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.catalogue import METRICS, WORKSPACE_METRICS
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import (
    HistogramMetric,
    Metric,
    MetricKind,
    ProcessMetric,
    WorkspaceMetric,
    reading,
)
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.metrics.samples import one
from tests.support.parsed import Sample, families, named, samples, with_record, workspaces
from tests.support.pictures import (
    GOLDEN,
    NOW,
    failure,
    finished,
    four_workspaces,
    lost,
    operation,
    picture,
    polled,
    running,
    success,
)

FORMS: Final = tuple(Format)
TEXT: Final = (Format.TEXT, Encoding.IDENTITY)
LATER: Final = NOW + 5.0


def read(snapshot: Snapshot, now: float) -> Iterator[Sample]:
    """The samples of the catalogue, without histograms."""
    for metric in METRICS:
        if isinstance(metric, WorkspaceMetric):
            for record in snapshot.records.values():
                for labels, value in metric.read(record, now):
                    yield metric.full_name, frozenset({("workspace", record.target.name), *labels}), value
        elif isinstance(metric, ProcessMetric):
            for labels, value in metric.read(snapshot):
                yield metric.full_name, frozenset(labels), value


def open_files(page: bytes) -> float:
    """The number of open files in a page."""
    (value,) = (value for name, _, value in samples(page) if name == "process_open_fds")
    return value


@pytest.mark.parametrize("form", FORMS)
def test_the_page_of_four_workspaces_is_the_golden_one(form: Format) -> None:
    """A change of any byte shows in a review. `make generate` writes the golden pages again."""
    assert Exposition(process=False).page(four_workspaces(), LATER, form) == GOLDEN[form].read_bytes()


@pytest.mark.program("promtool")
def test_promtool_finds_nothing_to_say_about_a_whole_page() -> None:
    """Prometheus' own linter knows the conventions for names, types and help."""
    page = Exposition().page(four_workspaces(), LATER)
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("form", FORMS)
def test_a_page_parses_back_to_what_the_catalogue_reads(form: Format) -> None:
    """No sample is lost, added or changed."""
    snapshot = four_workspaces()
    page = Exposition(process=False).page(snapshot, LATER, form)
    expected = set(read(snapshot, LATER))
    found = samples(page, form)
    assert expected <= found
    assert {name.rpartition("_")[0] for name, _, _ in found - expected} == {
        "rocketchat_import_exporter_request_duration_seconds"
    }


@pytest.mark.parametrize("form", FORMS)
def test_families_carry_their_kind_and_help(form: Format) -> None:
    """Prometheus rejects a page that describes a family twice."""
    found = families(Exposition(process=False).page(four_workspaces(), LATER, form), form)
    known = {metric.full_name.removesuffix("_total"): metric for metric in METRICS}
    assert len({family.name for family in found}) == len(found)
    for family in found:
        metric = known[family.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_counters_are_described_with_total_in_text_and_without_in_openmetrics() -> None:
    """OpenMetrics rejects a counter's family whose name ends with `_total`, and its samples must have that ending."""
    exposition, snapshot = Exposition(process=False), four_workspaces()
    text = exposition.page(snapshot, LATER, Format.TEXT).decode()
    openmetrics = exposition.page(snapshot, LATER, Format.OPENMETRICS).decode()
    assert "# TYPE rocketchat_import_exporter_polls_total counter\n" in text
    assert "# TYPE rocketchat_import_exporter_polls counter\n" in openmetrics
    assert all('\nrocketchat_import_exporter_polls_total{workspace="acme"} 2\n' in page for page in (text, openmetrics))


def test_only_openmetrics_ends_with_its_mark() -> None:
    """Prometheus rejects an OpenMetrics page without `# EOF`."""
    exposition, snapshot = Exposition(), four_workspaces()
    assert exposition.page(snapshot, LATER, Format.OPENMETRICS).endswith(b"\n# EOF\n")
    assert exposition.page(snapshot, LATER, Format.OPENMETRICS).count(b"# EOF") == 1
    assert b"# EOF" not in exposition.page(snapshot, LATER, Format.TEXT)


@pytest.mark.parametrize("form", FORMS)
def test_histograms_are_cumulated(form: Format) -> None:
    """Quantiles are wrong unless each bucket counts all smaller ones as well."""
    page = Exposition(process=False).page(four_workspaces(), LATER, form)
    (family,) = (each for each in families(page, form) if each.type == "histogram")
    seen = [sample for sample in family.samples if sample.labels["api"] == Api.LIST]
    buckets = {sample.labels["le"]: sample.value for sample in seen if "le" in sample.labels}
    assert (buckets["0.005"], buckets["0.025"], buckets["1.0"], buckets["30.0"], buckets["+Inf"]) == (1, 3, 4, 4, 5)
    assert [sample.value for sample in seen if sample.name.endswith("_count")] == [5]
    assert [sample.value for sample in seen if sample.name.endswith("_sum")] == [pytest.approx(60.794)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, 2.0**53 - 1, 2.0**60, -7.25, float("inf"), -float("inf")]
)
def test_values_come_back_exactly(form: Format, value: float) -> None:
    """A timestamp that loses a digit is wrong by seconds."""
    metric = WorkspaceMetric(name="x", kind=MetricKind.GAUGE, help="X.", read=reading(lambda facts: value, one))
    page = Exposition([metric], process=False).page(four_workspaces(), LATER, form)
    assert {found for _, _, found in samples(page, form)} == {value}


def test_what_is_no_number_is_written_as_both_formats_have_it() -> None:
    """Prometheus rejects Python's `inf` and `nan`."""
    values = iter([float("nan"), float("inf"), float("-inf")])
    metric = WorkspaceMetric(name="x", kind=MetricKind.GAUGE, help="X.", read=reading(lambda facts: next(values), one))
    page = Exposition([metric], process=False).page(picture([running("a"), running("b"), running("c")]), LATER)
    assert [line.rpartition(b" ")[2] for line in page.splitlines()[2:]] == [b"NaN", b"+Inf", b"-Inf"]


@pytest.mark.parametrize("form", FORMS)
def test_help_with_quotes_and_line_ends_comes_back(form: Format) -> None:
    """The two formats escape quotes differently."""
    told = 'A "quoted" \\ word,\nand a second line.'
    metric = WorkspaceMetric(name="x", kind=MetricKind.GAUGE, help=told, read=reading(lambda facts: 1.0, one))
    (family,) = families(Exposition([metric], process=False).page(four_workspaces(), LATER, form), form)
    assert family.documentation == told


hostile = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    ['"', "\\", "\n", "\\n", '\\"', "}", '"} 1\nup 0\n', "\r\n", "\u2028", "# EOF", "<script>"]
)


@pytest.mark.parametrize("form", FORMS)
@given(text=hostile)
def test_any_label_value_comes_back_and_brings_no_line_of_its_own(form: Format, text: str) -> None:
    """A hostile server must not add series by the name of its importer."""
    read = reading(lambda facts: text, lambda value: (((("a", value),), 1.0),))
    metric = WorkspaceMetric(name="x", kind=MetricKind.GAUGE, help="X.", read=read)
    page = Exposition([metric], process=False).page(picture([running("acme")]), LATER, form)
    assert samples(page, form) == {("rocketchat_import_x", frozenset({("workspace", "acme"), ("a", text)}), 1.0)}


@pytest.mark.program("promtool")
def test_characters_that_no_format_can_carry_are_replaced() -> None:
    """Half a surrogate pair is not UTF-8, and Prometheus stops reading at a NUL."""
    read = reading(lambda facts: "1\ud8002\0003", lambda value: (((("a", value),), 1.0),))
    metric = WorkspaceMetric(name="x", kind=MetricKind.GAUGE, help="X.", read=read)
    page = Exposition([metric], process=False).page(picture([running("acme")]), LATER)
    assert 'a="1?2\ufffd3"'.encode() in page
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert done.returncode == 0


counts = st.none() | st.builds(
    Counts,
    total=st.none() | st.integers(0, 10**9),
    completed=st.none() | st.integers(0, 10**9),
    failed=st.none() | st.integers(0, 10**9),
    staged=st.dictionaries(st.sampled_from(Kind), st.integers(0, 10**9)),
)
operations = st.builds(
    Operation,
    id=hostile,
    importer=hostile,
    step=st.sampled_from(Step),
    valid=st.booleans(),
    created=st.none() | st.floats(NOW - 10_000.0, NOW + 10_000.0),
    dated_as_text=st.booleans(),
    updated=st.none() | st.floats(NOW - 10_000.0, NOW + 10_000.0),
    counts=counts,
)
results = st.tuples(
    st.builds(
        success,
        st.just(Api.STATUS),
        st.builds(StatusAnswer, state=st.sampled_from(State), operation=st.none() | operations),
    )
    | st.builds(failure, st.just(Api.STATUS), st.sampled_from(Reason), st.none() | st.integers(100, 599)),
    st.builds(success, st.just(Api.LIST), st.builds(ListAnswer, operations=st.lists(operations, max_size=3).map(tuple)))
    | st.builds(failure, st.just(Api.LIST), st.sampled_from(Reason), st.none() | st.integers(100, 599)),
    st.builds(success, st.just(Api.INFO), st.builds(InfoAnswer, version=hostile)),
)


@settings(max_examples=min(40, settings().max_examples))
@given(
    histories=st.lists(st.lists(results, max_size=3), max_size=3),
    elapsed=st.sampled_from([0.0, 0.25, 100.0, 4_000.0]),
)
def test_any_history_renders_and_parses_back(histories: list[list[tuple[Result, ...]]], elapsed: float) -> None:
    """No sequence of answers may break a page or let old values stay in it."""
    snapshot = picture(folded(f"w{index}", history) for index, history in enumerate(histories))
    exposition, now = Exposition(process=False), NOW + 30.0 + elapsed
    for form in FORMS:
        page = exposition.page(snapshot, now, form)
        assert samples(page, form) == set(read(snapshot, now))
        assert gzip.decompress(exposition.page(snapshot, now, form, Encoding.GZIP)) == page


def test_an_operation_of_the_list_that_is_gone_is_not_counted() -> None:
    """A restored database may lack it. `import.status` tells that first where the list does not answer."""
    older, newer = (operation(name, Step.DONE, created=age) for name, age in (("older", 90.0), ("newer", 60.0)))
    there = [success(Api.STATUS, StatusAnswer(state=State.DONE, operation=newer))]
    there.append(success(Api.LIST, ListAnswer(operations=(newer, older))))
    restored = success(Api.STATUS, StatusAnswer(state=State.DONE, operation=older))
    record = folded("acme", [(*there,), (restored, failure(Api.LIST, Reason.TIMEOUT))])
    read = samples(Exposition(process=False).page(picture([record]), NOW + 16.0))
    assert sum(value for name, _, value in read if name == "rocketchat_import_recent_operations") == 1


def folded(name: str, history: Sequence[tuple[Result, ...]]) -> Record:
    """A workspace's record after these polls, 15 s apart."""
    record = Record(target=Target(name=name, url="https://x"))
    for index, each in enumerate(history):
        record = polled(record, NOW + 15.0 * index, *each)
    return record


def test_staleness_makes_exactly_the_named_series_vanish() -> None:
    """The state, step, outcome and operation may no longer be true; counters and the rest still are."""
    snapshot, exposition = picture([running("acme")]), Exposition(process=False)
    stale_at = snapshot.records["acme"].stale_at
    assert stale_at is not None
    fresh, stale = (samples(exposition.page(snapshot, at)) for at in (stale_at - 0.001, stale_at))
    gone = {name.removeprefix("rocketchat_import_") for name, _, _ in fresh - stale}
    assert {name for name in gone if not name.startswith("operation_")} == {
        "up",
        "state",
        "step",
        "outcome",
        "recent_operations",
    }
    assert {name for name, _, _ in stale - fresh} == {"rocketchat_import_up"}
    assert not [name for name, _, _ in stale if "_operation_" in name]


def test_a_stale_workspace_leaves_the_others_as_they_are() -> None:
    """One lost server must not hide the others."""
    snapshot, exposition = picture([running("acme"), running("beta", polls=1)]), Exposition(process=False)
    silent = with_record(snapshot, replace(snapshot.records["beta"], last_success=NOW - 80.0))
    before, after = (exposition.page(silent, at) for at in (NOW + 9.0, NOW + 11.0))
    assert named(before, "state") - named(after, "state") == {
        sample for sample in named(before, "state") if ("workspace", "beta") in sample[1]
    }


def test_a_clock_that_is_set_back_brings_what_was_stale_back() -> None:
    """After a correction of the machine's clock the page must be right at once."""
    snapshot, exposition = picture([running("acme")]), Exposition(process=False)
    first = exposition.page(snapshot, LATER)
    assert exposition.page(snapshot, NOW + 500.0) != first
    assert exposition.page(snapshot, LATER) == first


def test_an_age_moves_with_the_clock_between_two_polls() -> None:
    """An age that only changed at polls would be wrong by up to a minute."""
    snapshot, exposition = picture([running("acme")]), Exposition(process=False)
    first, second = (exposition.page(snapshot, at) for at in (NOW + 1.0, NOW + 2.5))
    assert {name for name, _, _ in samples(first) ^ samples(second)} == {"rocketchat_import_operation_age_seconds"}
    (before,), (after,) = (named(page, "operation_age_seconds") for page in (first, second))
    assert (before[2], after[2]) == (2_521.25, 2_522.75)


def test_a_workspace_that_left_the_snapshot_leaves_the_page() -> None:
    """What is kept of a workspace must not outlive it."""
    exposition = Exposition(process=False)
    assert workspaces(exposition.page(picture([running("acme"), running("beta")]), LATER)) == {"acme", "beta"}
    assert workspaces(exposition.page(picture([running("beta"), running("cool")]), LATER)) == {"beta", "cool"}


def test_families_without_a_sample_are_not_described() -> None:
    """A HELP line without samples tells nothing and costs space."""
    page = Exposition(process=False).page(picture([]), LATER)
    assert workspaces(page) == set()
    assert b"rocketchat_import_up" not in page
    assert b"rocketchat_import_exporter_build_info{" in page


@pytest.mark.parametrize("form", FORMS)
def test_a_gzip_page_is_one_member_with_the_whole_page(form: Format) -> None:
    """Curl and browsers stop reading at the end of the first member."""
    exposition, snapshot = Exposition(process=False), four_workspaces()
    for now in (NOW + 1.0, NOW + 2.0, NOW + 3.0):
        decoder = zlib.decompressobj(31)
        page = decoder.decompress(exposition.page(snapshot, now, form, Encoding.GZIP))
        assert (page, decoder.eof, decoder.unused_data) == (exposition.page(snapshot, now, form), True, b"")


def test_a_selection_has_the_named_workspaces_and_the_exporter_itself() -> None:
    """A scrape with `?workspace=` must not differ from the whole page in what it shows."""
    snapshot, exposition = four_workspaces(), Exposition(process=False)
    page = exposition.selection(snapshot, LATER, ["new", "acme", "acme"])
    whole = samples(exposition.page(snapshot, LATER))
    assert samples(page) == {
        (name, labels, value)
        for name, labels, value in whole
        if dict(labels).get("workspace", "acme") in {"acme", "new"}
    }
    assert page.count(b'rocketchat_import_up{workspace="acme"}') == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_selection_alone_has_nothing_but_the_workspace(form: Format) -> None:
    """A probe of one workspace must not repeat the exporter's own series."""
    page = Exposition().selection(four_workspaces(), LATER, ["acme"], form, whole=False)
    assert {dict(labels).get("workspace") for _, labels, _ in samples(page, form)} == {"acme"}


def test_a_selection_of_what_is_not_there_is_refused() -> None:
    """An empty page would hide a misspelt name."""
    with pytest.raises(KeyError, match="nobody"):
        Exposition().selection(four_workspaces(), LATER, ["nobody"])


def test_a_page_can_be_made_of_some_families_only() -> None:
    """A file for node_exporter's textfile collector must not hold lines about a process that has ended."""
    chosen: list[Metric] = [
        metric
        for metric in WORKSPACE_METRICS
        if metric.kind is MetricKind.GAUGE and not metric.name.startswith("exporter_")
    ]
    page = Exposition(chosen, process=False).page(four_workspaces(), LATER)
    names = {name for name, _, _ in samples(page)}
    assert names <= {metric.full_name for metric in chosen}
    assert {"rocketchat_import_up", "rocketchat_import_operation_age_seconds"} <= names


def test_the_process_is_told_in_whole_pages_and_read_once_a_second() -> None:
    """To read /proc takes longer than the rest of a page, so it is not read at every scrape."""
    exposition, snapshot = Exposition(), picture([])
    first = exposition.page(snapshot, NOW)
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= {
        name for name, _, _ in samples(first)
    }
    with Path("/dev/null").open("rb"):
        assert exposition.page(snapshot, NOW + 0.9) == first
        (before, after) = (open_files(page) for page in (first, exposition.page(snapshot, NOW + 1.0)))
    assert after == before + 1


@pytest.mark.parametrize(
    "metric", [metric for metric in WORKSPACE_METRICS if not metric.live], ids=lambda metric: metric.name
)
def test_only_live_families_move_while_a_record_stays_fresh(metric: WorkspaceMetric) -> None:
    """Lines are kept from scrape to scrape, so they must not depend on the clock."""
    for record in (running("acme"), finished("beta"), lost("gone")):
        assert list(metric.read(record, NOW + 1.0)) == list(metric.read(record, NOW + 60.0))


def test_histograms_are_the_only_families_of_several_names() -> None:
    """The comparison of pages with the catalogue above relies on it."""
    assert [metric.name for metric in METRICS if isinstance(metric, HistogramMetric)] == [
        "exporter_request_duration_seconds"
    ]
