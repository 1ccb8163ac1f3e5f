"""Property tests: these laws hold for all polls in any order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rc_import_exporter.core import history as histories
from rc_import_exporter.core import schedule
from rc_import_exporter.core.domain import (
    FINISHED,
    IMPORTING_STEPS,
    LOADING_STEPS,
    Answer,
    Api,
    Budget,
    Counts,
    Exchange,
    Failure,
    ListAnswer,
    Operation,
    Outcome,
    Poll,
    ProgressAnswer,
    Reason,
    Result,
    State,
    StatusAnswer,
    Step,
    Success,
    Target,
)
from rc_import_exporter.core.history import MOST_TRACKS
from rc_import_exporter.core.snapshot import History, Record, Snapshot, Track
from rc_import_exporter.core.store import fold, note_fault
from rc_import_exporter.core.tracking import Look, Sighting
from rc_import_exporter.core.verdict import state_of
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import PREFIX, MetricKind
from rc_import_exporter.metrics.negotiation import Format
from tests.support.pictures import BUILD

START: Final = 1_800_000_000.0
MOST: Final = settings().max_examples
DEFAULT: Final = settings(max_examples=min(50, MOST))
FEWER: Final = settings(max_examples=min(30, MOST))

Life = Sequence[Operation]
"""The versions of one operation, in the order in which a server wrote them."""


@st.composite
def lives(draw: st.DrawFn, name: str, created: float) -> Life:
    """An operation as servers write it: its steps go forward, its counts grow, and it may end early.

    Counts are absent until they are first written.
    """
    total = draw(st.integers(0, 3000))
    steps = [Step.NEW, *draw(subset(LOADING_STEPS)), Step.USER_SELECTION, *draw(subset(IMPORTING_STEPS)), Step.DONE]
    versions, done, failed, at, counted = [], 0, 0, created, False
    for step in steps:
        at += draw(st.integers(1, 100))
        if step in IMPORTING_STEPS:
            done, failed = done + draw(st.integers(0, 600)), failed + draw(st.integers(0, 5))
        counted = counted or bool(draw(st.integers(0, 9)))
        counts = Counts(total=total, completed=done, failed=failed) if counted else Counts()
        versions.append(version(name, step, created, at, counts=counts))
    versions = versions[: draw(st.integers(1, len(versions)))]
    return [*versions, *draw(endings(versions[-1]))]


def version(name: str, step: Step, created: float, updated: float, *, counts: Counts) -> Operation:
    return Operation(
        id=name,
        importer="csv",
        step=step,
        valid=True,
        created=created,
        dated_as_text=True,
        updated=updated,
        counts=counts,
    )


def subset(steps: Iterable[Step]) -> st.SearchStrategy[list[Step]]:
    """Some of these steps, in a fixed order."""
    ordered = sorted(steps)
    return st.lists(st.sampled_from(ordered), unique=True, max_size=3).map(sorted)


def endings(last: Operation) -> st.SearchStrategy[Life]:
    """What may follow: nothing, an error in a phase, or a restart. After some restarts the import goes on a moment."""
    at = last.updated or 0.0
    failed = replace(last, step=Step.IMPORT_FAILED, updated=at + 3)
    dead = replace(last, valid=False, updated=at + 5)
    aborted = replace(dead, step=Step.DONE, updated=at + 8)
    if last.step is Step.DONE:
        return st.sampled_from([[], [dead]])
    if last.step not in IMPORTING_STEPS:
        return st.sampled_from([[], [dead]])
    return st.sampled_from(
        [[], [failed], [failed, replace(failed, valid=False, updated=at + 9)], [dead], [dead, aborted]]
    )


@st.composite
def worlds(draw: st.DrawFn) -> Mapping[str, Life]:
    """Operations one after the other."""
    starts = sorted(draw(st.lists(st.integers(0, 5000), unique=True, min_size=1, max_size=4)))
    return {f"op{n}": draw(lives(f"op{n}", START + start)) for n, start in enumerate(starts)}


@st.composite
def lookings(draw: st.DrawFn) -> tuple[Mapping[str, Life], Sequence[Look]]:
    """A world and polls of it: any versions in any order and number, through one feed or both."""
    world = draw(worlds())
    every = [operation for life in world.values() for operation in life]
    looks = draw(st.lists(st.lists(st.sampled_from(every), max_size=4), max_size=10))
    return world, [look(shown, START + 9000 + 15 * n, listed=draw(st.booleans())) for n, shown in enumerate(looks)]


def look(shown: Sequence[Operation], now: float, *, listed: bool = True) -> Look:
    return Look(
        sightings=[Sighting(operation=each, state=state_of(each)) for each in shown],
        listed=(*dict.fromkeys(each.id for each in shown), *OTHERS) if listed else None,
        began=now,
        ended=now,
        interval=15.0,
    )


OTHERS: Final = tuple(f"other{n}" for n in range(20))
"""What makes a list a full one, which may lack any operation."""


def folded(looks: Iterable[Look]) -> list[History]:
    """The histories after each poll. The first one is empty."""
    passed = [History()]
    for each in looks:
        passed.append(histories.fold(passed[-1], each))
    return passed


def without_polls(history: History) -> Mapping[str, Track]:
    """The operations without the times of polls that last saw them alive."""
    return {id: replace(track, alive_at=None) for id, track in history.tracks.items()}


def counters(history: History) -> list[int]:
    """All values that are published as counters, in a fixed order."""
    finished = [history.finished.get(outcome, 0) for outcome in FINISHED]
    return [history.started, history.completed, history.failed, *finished]


@DEFAULT
@given(lookings())
def test_counters_never_fall(seen: tuple[Mapping[str, Life], Sequence[Look]]) -> None:
    """Prometheus takes a counter that falls for a restart and adds its whole value again."""
    passed = folded(seen[1])
    for before, after in pairwise(passed):
        assert all(old <= new for old, new in zip(counters(before), counters(after), strict=True))


@DEFAULT
@given(lookings())
def test_each_operation_counts_once(seen: tuple[Mapping[str, Life], Sequence[Look]]) -> None:
    """It counts once as started, at most once for each outcome, and once for each record."""
    world, looks = seen
    last = folded(looks)[-1]
    most = [max((each.counts.completed or 0 for each in life if each.counts), default=0) for life in world.values()]
    assert last.started <= len(world)
    assert all(count <= len(world) for count in last.finished.values())
    assert last.completed <= sum(most)
    finals = {outcome: count for outcome, count in last.finished.items() if outcome is not Outcome.INTERRUPTED}
    assert sum(finals.values()) <= len(world)


@DEFAULT
@given(lookings(), st.data())
def test_a_version_that_is_not_newer_changes_nothing(
    seen: tuple[Mapping[str, Life], Sequence[Look]], data: st.DataObject
) -> None:
    """Both feeds are asked at the same time, and either answer may be the older one."""
    world, looks = seen
    last = folded(looks)[-1]
    stale = [
        each
        for life in world.values()
        for each in life
        if each.id in last.tracks and (each.updated or 0) <= (last.tracks[each.id].operation.updated or 0)
    ]
    if stale:
        shown = data.draw(st.lists(st.sampled_from(stale), min_size=1, max_size=4))
        again = histories.fold(last, look(shown, START + 20_000, listed=False))
        assert without_polls(again) == without_polls(last)
        assert counters(again) == counters(last)
        assert again.last_finished == last.last_finished
        assert again.last_duration == last.last_duration


@DEFAULT
@given(lookings())
def test_a_verdict_stays_unless_it_is_an_interruption(seen: tuple[Mapping[str, Life], Sequence[Look]]) -> None:
    """Only an interrupted import may still reach its last step. The date of its end stays even then."""
    passed = folded(seen[1])
    for before, after in pairwise(passed):
        for id, track in before.tracks.items():
            now = after.tracks.get(id)
            if track.outcome in FINISHED and now is not None:
                assert now.dated == track.dated
                assert now.outcome in FINISHED
                assert track.outcome in (Outcome.INTERRUPTED, now.outcome)


@DEFAULT
@given(lookings())
def test_last_finished_never_goes_back(seen: tuple[Mapping[str, Life], Sequence[Look]]) -> None:
    """The exception is an interruption that turns out to be something else: its date goes."""
    passed = folded(seen[1])
    for before, after in pairwise(passed):
        for key, at in before.last_finished.items():
            if key[1] is not Outcome.INTERRUPTED:
                assert after.last_finished[key] >= at
            elif after.last_finished.get(key, 0.0) < at:
                became = [
                    track.outcome
                    for id, track in after.tracks.items()
                    if id in before.tracks and before.tracks[id].outcome is Outcome.INTERRUPTED and track.dated == at
                ]
                assert any(outcome is not Outcome.INTERRUPTED for outcome in became)


@DEFAULT
@given(lookings())
def test_the_current_operation_never_goes_back_to_an_earlier_start(
    seen: tuple[Mapping[str, Life], Sequence[Look]],
) -> None:
    passed = folded(seen[1])
    for before, after in pairwise(passed):
        if before.newest is not None and after.newest is not None:
            assert (after.newest.operation.created or 0) >= (before.newest.operation.created or 0)


@DEFAULT
@given(worlds(), st.data())
def test_the_number_of_polls_does_not_change_what_is_counted(world: Mapping[str, Life], data: st.DataObject) -> None:
    """A slow exporter must count the same imports as a fast one."""
    ends = [life[-1] for life in world.values()]
    once = folded([look([], START), look(ends, START + 9000)])[-1]
    every = sorted((each for life in world.values() for each in life), key=lambda each: each.updated or 0)
    some = [each for each in every if each in ends or data.draw(st.booleans())]
    often = folded([look([], START), *(look([each], START + 9000 + n) for n, each in enumerate(some))])[-1]
    assert once.started == often.started == len(world)
    assert often.completed >= once.completed
    assert {id: track.operation for id, track in once.tracks.items()} == {
        id: track.operation for id, track in often.tracks.items()
    }


@FEWER
@given(st.lists(st.integers(0, 150), min_size=80, max_size=200))
def test_a_forgotten_operation_is_not_counted_again(order: Sequence[int]) -> None:
    """The history keeps 64 of these 151 operations, and any of them may show up again."""
    ends = [
        version(f"op{n:03}", Step.DONE, START + n, START + n + 0.5, counts=Counts(total=10, completed=10))
        for n in range(151)
    ]
    passed = folded([look([], START - 1), *(look([ends[n]], START + 9000 + n) for n in order)])
    assert all(len(history.tracks) <= MOST_TRACKS for history in passed)
    assert passed[-1].started <= len(set(order))
    assert passed[-1].started == passed[-1].finished.get(Outcome.SUCCEEDED, 0)
    assert passed[-1].completed == 10 * passed[-1].started


steps = st.sampled_from([step for step in Step if step is not Step.NONE])
instants = st.none() | st.floats(START - 10_000, START + 10_000)
some_counts = st.none() | st.builds(
    Counts,
    total=st.none() | st.integers(0, 2000),
    completed=st.none() | st.integers(0, 2000),
    failed=st.none() | st.integers(0, 2000),
)
any_operations = st.builds(
    Operation,
    id=st.sampled_from("abc"),
    importer=st.sampled_from(["csv", "api", "own"]),
    step=steps,
    valid=st.booleans(),
    created=instants,
    dated_as_text=st.booleans(),
    updated=instants,
    counts=some_counts,
)
told_by_progress = st.builds(
    Operation, id=st.just(""), importer=st.just("csv"), step=steps, valid=st.none(), counts=some_counts
)
budgets = st.none() | st.builds(
    Budget,
    limit=st.just(10),
    remaining=st.integers(0, 2),
    reset=st.just(START),
    wait=st.floats(0.5, 600),
)
answers: Mapping[Api, st.SearchStrategy[Answer]] = {
    Api.STATUS: st.builds(
        StatusAnswer, state=st.sampled_from([s for s in State if s is not State.NONE]), operation=any_operations
    )
    | st.just(StatusAnswer(state=State.NONE, operation=None)),
    Api.LIST: st.builds(ListAnswer, operations=st.lists(any_operations, max_size=4).map(tuple)),
    Api.PROGRESS: st.builds(ProgressAnswer, operation=st.none() | told_by_progress),
}


@st.composite
def results(draw: st.DrawFn, api: Api) -> Result:
    """Any result of a call."""
    size = draw(st.sampled_from([900, 300_000]))
    exchange = Exchange(api=api, code=200, seconds=0.1, size=size, budget=draw(budgets))
    if draw(st.booleans()):
        return Success(exchange=exchange, answer=draw(answers[api]))
    return Failure(
        exchange=exchange,
        reason=draw(st.sampled_from(Reason)),
        detail="made for a test",
        by_rocketchat=draw(st.booleans()),
    )


@st.composite
def polled(draw: st.DrawFn) -> Sequence[Record]:
    """The records after some polls at the times of the schedule. A bug raises in some polls."""
    apis = draw(st.frozensets(st.sampled_from([Api.STATUS, Api.LIST, Api.PROGRESS]), min_size=1))
    records, now = [Record(target=Target(name="acme", url="https://acme", apis=apis))], START
    for _ in range(draw(st.integers(1, 8))):
        record = records[-1]
        if draw(st.integers(0, 9)) == 0:
            records.append(note_fault(record, now))
            now += record.interval
            continue
        asked = schedule.due(record, now)
        assert asked <= apis
        if asked:
            came = tuple(draw(results(api)) for api in sorted(asked))
            poll = Poll(started=now, ended=now + 0.1, results=came, exchanges=tuple(each.exchange for each in came))
            record = fold(record, poll)
        plan = schedule.plan(record, now, now + 0.1)
        records.append(replace(record, plan=plan))
        now = plan.next_poll
    return records


def page(record: Record, now: float, form: Format) -> str:
    snapshot = Snapshot(build=BUILD, records={record.target.name: record}, configured_at=START)
    return Exposition(process=False).page(snapshot, now, form).decode()


def sampled(text: str, form: Format) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples that prometheus-client reads."""
    families = parse_text(text) if form is Format.TEXT else parse_openmetrics(text)  # type: ignore[no-untyped-call]
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


COUNTERS: Final = {metric.name for metric in METRICS if metric.kind is MetricKind.COUNTER}


@FEWER
@given(polled())
def test_any_history_gives_the_same_page_in_both_formats_and_counters_never_fall(records: Sequence[Record]) -> None:
    """Exactly one state, step and outcome is 1 as long as the data is not stale."""
    before: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for record in records:
        now = (record.last_poll or START) + 1
        seen = sampled(page(record, now, Format.TEXT), Format.TEXT)
        assert seen == sampled(page(record, now, Format.OPENMETRICS), Format.OPENMETRICS)
        for closed in ("state", "step", "outcome"):
            values = [value for (name, _), value in seen.items() if name == closed]
            assert (sorted(values)[-2:] == [0.0, 1.0]) if record.held(now) else not values
        for key, value in before.items():
            if key[0] in COUNTERS:
                assert seen[key] >= value
        before = seen


@FEWER
@given(polled())
def test_up_is_1_exactly_if_the_last_poll_told_the_state(records: Sequence[Record]) -> None:
    for before, after in pairwise(records):
        if after.polls == before.polls:
            continue
        assert after.last_poll is not None
        assert after.up(after.last_poll) is after.told
        assert after.last_success == (after.last_poll if after.told else before.last_success)


@FEWER
@given(polled())
def test_the_next_poll_comes_after_one_interval_and_within_ten_minutes(records: Sequence[Record]) -> None:
    """In these histories the rate limiter asks for ten minutes at most; every other rest is shorter."""
    for record in records[1:]:
        if record.plan is not None and record.last_poll is not None:
            assert record.plan.interval >= record.target.poll_interval
            assert record.plan.interval <= 601


@FEWER
@given(polled())
def test_only_configured_endpoints_are_published(records: Sequence[Record]) -> None:
    for record in records:
        assert set(record.feeds) <= record.target.apis
        assert {api for api, _ in record.requests} <= record.target.apis
