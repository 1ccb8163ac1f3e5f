"""Tests of `tracking`: what one sighting after another tells of an operation's order, dates, evidence and cause."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from rc_import_exporter.core.domain import Operation, Outcome, Step
from rc_import_exporter.core.history import fold
from rc_import_exporter.core.snapshot import Cause, Moment, Track
from rc_import_exporter.core.tracking import goes_on
from tests.core.test_history import ABORTED, KILLED, RUN, START, finished, full, look, operation, told

NEW: Final = operation("a", Step.NEW, created=0)
LOADS: Final = operation("a", Step.PREPARING_USERS, created=0, updated=10)
READY: Final = operation("a", Step.USER_SELECTION, created=0, updated=10)
IMPORTS: Final = operation("a", Step.IMPORTING_USERS, created=0, updated=10)
ODD: Final = operation("a", Step.UNKNOWN, created=0, updated=10)
DONE: Final = operation("a", Step.DONE, created=0, updated=10)
STAMPED: Final = operation("a", Step.DONE, created=0, updated=9000, valid=False, counts=(1000, 300, 0))


def with_counts(each: Operation, processed: int) -> Operation:
    """The operation with this many records processed, a minute later."""
    return operation(each.id, each.step, created=0, updated=70, valid=bool(each.valid), counts=(1000, processed, 0))


def followed(*versions: Operation, every: float = 15.0) -> Track:
    """The track of `a` after these versions of it, each seen shortly after it was written."""
    looks = [look(each, at=(each.updated or START) - START + min(5, every)) for each in versions]
    return told(*looks).tracks["a"]


@pytest.mark.parametrize(
    ("held", "seen", "most", "later"),
    [
        (NEW, LOADS, 0, True),
        (LOADS, READY, 0, True),
        (NEW, READY, 0, True),
        (READY, IMPORTS, 0, True),
        (IMPORTS, DONE, 0, True),
        (DONE, with_counts(IMPORTS, 900), 500, False),
        (READY, with_counts(NEW, 900), 0, False),
        (IMPORTS, replace(IMPORTS, valid=False), 0, True),
        (replace(IMPORTS, valid=False), with_counts(IMPORTS, 900), 0, False),
        (IMPORTS, with_counts(IMPORTS, 51), 50, True),
        (IMPORTS, with_counts(IMPORTS, 50), 50, False),
        (ODD, with_counts(IMPORTS, 51), 50, True),
        (IMPORTS, with_counts(ODD, 51), 50, True),
        (IMPORTS, IMPORTS, 0, False),
    ],
)
def test_what_an_operation_shows_tells_its_order(held: Operation, seen: Operation, most: int, *, later: bool) -> None:
    """A clock can be set back, but the phase, the validity and the counts change in one direction only."""
    assert goes_on(held, seen, most) is later


def test_of_two_answers_in_one_poll_the_later_phase_counts_in_either_order() -> None:
    ready = operation("a", Step.USER_SELECTION, created=0, updated=50)
    runs = operation("a", Step.IMPORTING_USERS, created=0, updated=20)
    assert told(look(ready, runs)).tracks["a"].operation == runs
    assert told(look(runs, ready)).tracks["a"].operation == runs
    again = operation("a", Step.IMPORTING_USERS, created=0, updated=30)
    assert told(look(runs, again)).tracks["a"].operation == again
    assert told(look(again, runs)).tracks["a"].operation == again


def test_of_two_answers_of_one_date_the_next_poll_s_counts() -> None:
    fewer = replace(RUN[1], counts=None)
    assert told(look(RUN[1]), look(fewer)).tracks["a"].operation == fewer


@pytest.mark.parametrize(
    ("seen", "since"),
    [
        (NEW, 0.0),
        (DONE, 10.0),
        (READY, 10.0),
        (replace(READY, importer="api"), None),
        (LOADS, None),
        (IMPORTS, None),
        (replace(READY, valid=False), None),
        (STAMPED, None),
    ],
)
def test_a_step_s_start_is_known_at_first_sight_if_the_last_write_was_that(
    seen: Operation, since: float | None
) -> None:
    """An API import counts its records while it waits; the others write nothing until they are started."""
    started = told(look(seen)).tracks["a"].step_started
    assert (None if started is None else started - START) == since


@pytest.mark.parametrize(
    ("before", "seen", "since"),
    [
        (LOADS, operation("a", Step.USER_SELECTION, created=0, updated=4000), 4000.0),
        (READY, operation("a", Step.IMPORTING_USERS, created=0, updated=4000), None),
        (READY, operation("a", Step.IMPORTING_USERS, created=0, updated=20), 20.0),
        (NEW, replace(READY, importer="api", updated=START + 4000), None),
        (NEW, replace(READY, importer="api", updated=START + 12), 12.0),
        (IMPORTS, operation("a", Step.DONE, created=0, updated=4000), 4000.0),
        (IMPORTS, STAMPED, None),
    ],
)
def test_a_step_s_start_after_a_long_gap_is_known_if_the_step_writes_once(
    before: Operation, seen: Operation, since: float | None
) -> None:
    started = followed(before, seen).step_started
    assert (None if started is None else started - START) == since


@pytest.mark.parametrize(
    ("versions", "moved"),
    [
        ((IMPORTS, with_counts(IMPORTS, 50)), 70.0),
        ((IMPORTS, replace(with_counts(IMPORTS, 50), valid=False)), 10.0),
        ((IMPORTS, replace(STAMPED, updated=START + 22)), 22.0),
        ((IMPORTS, STAMPED), 10.0),
        ((IMPORTS, replace(IMPORTS, valid=False, updated=START + 22)), 10.0),
        ((IMPORTS, replace(IMPORTS, updated=START + 22)), 22.0),
    ],
)
def test_a_stamp_is_no_movement(versions: Sequence[Operation], moved: float) -> None:
    """If the last write may be that of a restart, the last known progress is the write before it."""
    progressed = followed(*versions).progressed
    assert progressed is not None
    assert progressed - START == moved


def test_a_run_that_was_created_since_the_last_poll_began_then() -> None:
    assert (
        told(look(operation("a", Step.IMPORTING_USERS, created=10, updated=12))).tracks["a"].run_started == START + 12
    )


@pytest.mark.parametrize(
    ("before", "seen", "ran"),
    [
        (READY, operation("a", Step.DONE, created=0, updated=20, counts=(10, 10, 0)), True),
        (READY, operation("a", Step.DONE, created=0, updated=20, counts=(10, 0, 0)), False),
        (READY, operation("a", Step.IMPORT_CANCELLED, created=0, updated=20, counts=(10, 3, 0)), False),
        (READY, operation("a", Step.IMPORTING_USERS, created=0, updated=20), True),
        (NEW, LOADS, False),
    ],
)
def test_only_what_imports_or_has_imported_has_run(before: Operation, seen: Operation, ran: bool) -> None:  # noqa: FBT001
    track = followed(before, seen)
    assert (track.run_start is not None) is ran
    assert track.end is None or seen.step not in {Step.IMPORTING_USERS, Step.PREPARING_USERS}


@pytest.mark.parametrize(("interval", "seen"), [(17.5, True), (17.6, False)])
def test_a_moment_is_seen_if_its_bounds_are_one_poll_apart(interval: float, seen: bool) -> None:  # noqa: FBT001
    """An interval of 15 s, and 2.5 s for the answers."""
    assert look().moment(START, START + interval).seen is seen


def test_an_end_that_was_not_seen_lies_after_the_last_poll_that_saw_it_alive() -> None:
    still = look(RUN[0], at=600)
    failed = operation("a", Step.IMPORT_FAILED, created=0, updated=4800, valid=False)
    track = told(look(RUN[0]), still, look(failed)).tracks["a"]
    assert track.end == Moment(earliest=START + 598, latest=START + 4800, seen=False)


def test_an_end_after_an_unknown_step_lies_after_the_last_write() -> None:
    """An operation in an unknown step does not count as alive."""
    failed = operation("a", Step.IMPORT_FAILED, created=0, updated=4800, valid=False)
    assert followed(ODD, failed).end == Moment(earliest=START + 10, latest=START + 4800, seen=False)


@pytest.mark.parametrize(("gone", "latest"), [(500.0, 11_400.0), (598.0, 11_400.0), (599.0, 599.0)])
def test_a_server_that_was_gone_before_the_import_was_last_seen_ended_nothing(gone: float, latest: float) -> None:
    last = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=590, counts=(1000, 500, 0))
    dead = replace(last, valid=False, updated=START + 11_400)
    track = told(look(last, at=600), look(dead, gone=gone), look(dead, at=11_431)).tracks["a"]
    assert track.end == Moment(earliest=START + 590, latest=START + latest, seen=latest == 599)


def test_the_rate_rests_on_the_movements_of_an_import_that_runs() -> None:
    """A write without new counts is no movement. Only the latest 16 movements are kept."""
    assert followed(with_counts(LOADS, 5)).pace == ()
    assert followed(replace(RUN[0], updated=None)).pace == ()
    counted = [operation("a", Step.IMPORTING_USERS, created=0, updated=10 * n, counts=(99, n, 0)) for n in range(1, 30)]
    assert followed(*counted).pace == tuple((START + 10 * n, n) for n in range(14, 30))
    same = replace(counted[0], updated=START + 15)
    older = replace(counted[2], updated=START + 10)
    assert followed(counted[0], same, counted[1]).pace == ((START + 10, 1), (START + 20, 2))
    assert told(look(counted[0]), look(older)).tracks["a"].pace == ((START + 10, 1),)


def test_a_stamp_by_the_next_one_dates_the_end_before_it() -> None:
    """Otherwise a failure of the next operation at the same instant would not be later than this success."""
    next_one = operation("b", Step.NEW, created=25)
    done = operation("a", Step.DONE, created=0, updated=25, valid=False, counts=(1000, 150, 0))
    history = told(look(RUN[0]), look(done, next_one))
    assert START + 24.99 < history.last_finished["csv", Outcome.SUCCEEDED] < START + 25
    assert history.tracks["a"].cause is None
    valid = told(look(RUN[0]), look(replace(done, valid=True), next_one))
    assert valid.last_finished["csv", Outcome.SUCCEEDED] == START + 25


def test_what_was_first_seen_cut_off_while_finishing_may_still_be_whole() -> None:
    """It was never seen alive, and all its records are processed, so the server's word is believed."""
    cut = operation("a", Step.FINISHING, created=0, updated=20, valid=False, counts=(1000, 1000, 0))
    done = operation("a", Step.DONE, created=0, updated=22, valid=False, counts=(1000, 1000, 0))
    history = told(look(cut, version="6.5"), look(done, version="6.5"))
    assert history.tracks["a"].outcome is Outcome.SUCCEEDED


def test_what_was_cut_off_while_it_loaded_stays_so_where_it_loads_on() -> None:
    """Some importers do not notice that they were cut off before they have loaded everything."""
    cut = replace(LOADS, valid=False, updated=START + 20)
    loaded = operation("a", Step.USER_SELECTION, created=0, updated=30, valid=False)
    assert followed(LOADS, cut, loaded).outcome is Outcome.INTERRUPTED


def test_an_operation_that_was_cleared_as_it_was_created_was_not_replaced_by_itself() -> None:
    cleared = operation("a", Step.NEW, created=0, updated=0, valid=False)
    assert told(look(cleared)).tracks["a"].cause is Cause.UNCERTAIN


@pytest.mark.parametrize("step", [Step.PREPARING_USERS, Step.NEW])
def test_only_an_import_writes_a_last_step_when_it_is_cut_off(step: Step) -> None:
    """Then it is not known how a load ended that stopped long ago."""
    assert told(look(operation("a", step, created=0, updated=20, valid=False), at=1000)).tracks["a"].cause is (
        Cause.UNCERTAIN
    )


def test_an_end_of_its_own_has_no_cause() -> None:
    failed = operation("a", Step.IMPORT_FAILED, created=0, updated=20, valid=False)
    assert followed(RUN[0], failed).cause is None
    assert told(look(failed, operation("b", Step.NEW, created=20))).tracks["a"].cause is None


def test_operations_without_dates_are_followed_too() -> None:
    """A server may leave out any of them."""
    undated = Operation(id="u", importer="csv", step=Step.IMPORTING_USERS, valid=False)
    other = operation("b", Step.DONE, created=50, updated=60)
    assert told(look(undated, other)).tracks["u"].cause is Cause.UNCERTAIN
    done = replace(undated, step=Step.DONE)
    history = told(look(other), look(other, done))
    assert history.tracks["u"].dated is None
    assert list(history.last_finished) == [("csv", Outcome.SUCCEEDED)]
    found = replace(undated, updated=START + 80)
    assert told(look(found, other)).tracks["u"].dated == START + 80
    stamped = operation("c", Step.DONE, created=100, updated=9000, valid=False, counts=(10, 10, 0))
    before = operation("o", Step.DONE, created=0, updated=70)
    assert (
        told(look(replace(before, created=None)), look(replace(before, created=None), stamped)).tracks["c"].dated
        == START + 100
    )
    dateless = told(look(replace(RUN[0], updated=None)), look(replace(RUN[1], updated=None))).tracks["a"]
    assert dateless.operation.step is Step.IMPORTING_MESSAGES
    assert dateless.step_started is not None
    lost = told(look(RUN[0], other), look(KILLED, other), look(replace(ABORTED, updated=None), other)).tracks["a"]
    assert lost.cause is Cause.INVALIDATED


def test_where_no_list_answers_only_the_newest_is_known() -> None:
    """The other operations may still exist, unless the server says that it has none."""
    other = operation("o", Step.DONE, created=-100)
    assert "o" in told(look(RUN[0], other), look(RUN[1], listed=False)).tracks
    assert told(look(RUN[0], other), look(listed=False)).emptied


def test_what_is_newer_than_the_newest_that_the_status_names_is_gone() -> None:
    """A restored database may hold 20 operations or more, and a token may not read the list."""
    older, oldest = operation("o", Step.DONE, created=-100), operation("p", Step.DONE, created=-200)
    known = look(RUN[0], older, oldest)
    alone = replace(look(older, listed=False), named="o")
    assert set(told(known, alone).gone) == {"a"}
    assert told(known, alone).current == "o"
    assert set(told(known, replace(look(*full(older)), named="o")).gone) == {"a"}
    assert set(told(known, replace(look(*full(older, RUN[0])), named="o")).gone) == set()
    assert set(told(known, replace(look(RUN[1], listed=False), named="a")).gone) == set()
    twin = operation("t", Step.DONE, created=0)
    assert set(told(known, replace(look(twin, listed=False), named="t")).gone) == set()
    later = operation("l", Step.NEW, created=50)
    assert set(told(look(later, twin, older, oldest), replace(look(RUN[0], listed=False), named="a")).gone) == {"l"}
    dateless = replace(older, created=None)
    assert set(told(known, replace(look(dateless, listed=False), named="o")).gone) == set()
    assert set(told(known, alone, known).gone) == set()
    assert told(known, alone, known).started == 0


def test_what_comes_back_from_a_backup_in_part_leaves_the_rest_gone() -> None:
    """A full list may lack existing operations. But it does not bring back an operation that was gone."""
    first, second = operation("a", Step.DONE, created=0), operation("b", Step.DONE, created=10)
    history = told(look(first, second), look(), look(*full(first)))
    assert set(history.gone) == {"b"}
    assert "b" not in history.tracks


def test_the_last_step_of_a_cut_off_import_tells_how_long_it_took() -> None:
    assert told(look(RUN[0]), look(KILLED), look(ABORTED)).last_duration == {"csv": (START + 20, 23.0)}


def test_only_an_interruption_of_the_same_importer_comes_back() -> None:
    """The other importer keeps its own date."""
    slack = operation("z", Step.IMPORTING_USERS, created=-500, updated=-400, valid=False, importer="slack")
    history = told(look(RUN[0], slack), look(KILLED, slack), look(ABORTED, slack))
    assert set(history.last_finished) == {("csv", Outcome.INCOMPLETE), ("slack", Outcome.INTERRUPTED)}


def test_a_later_interruption_keeps_its_date_when_an_earlier_one_ends() -> None:
    """This is also true if the later one is gone."""
    later = operation("b", Step.IMPORTING_USERS, created=40, updated=50, valid=False)
    history = told(look(RUN[0]), look(KILLED, later), look(ABORTED))
    assert history.last_finished["csv", Outcome.INTERRUPTED] == START + 50


def test_what_a_list_still_shows_is_not_forgotten() -> None:
    """A restart stamps old operations, and they come first in the list again."""
    ends = [operation(f"op{n:03}", Step.DONE, created=100.0 * n, counts=(10, 10, 0)) for n in range(1, 101)]
    history = told(look(*ends[:20]), *(look(*ends[max(0, n - 19) : n], ends[0]) for n in range(21, 101)))
    assert "op001" in history.tracks
    assert "op099" in history.tracks
    between = operation("x", Step.DONE, created=1250, counts=(10, 10, 0))
    assert fold(history, look(*ends[-18:], ends[0], between)).started == 80


def test_the_horizon_of_the_first_poll_stays_when_older_operations_are_forgotten() -> None:
    old = [operation(f"o{n:02}", Step.DONE, created=100.0 * n, counts=(10, 10, 0)) for n in range(1, 21)]
    new = [operation(f"n{n:02}", Step.DONE, created=9000.0 + n, counts=(10, 10, 0)) for n in range(50)]
    history = told(look(*old), *(look(*new[n : n + 20]) for n in range(0, 31, 10)))
    assert "o03" not in history.tracks
    assert fold(history, look(*new[-19:], operation("x", Step.DONE, created=1050))).started == history.started
    assert finished(history) == {Outcome.SUCCEEDED: 50}


def test_a_movement_is_dated_by_our_own_clock_as_well() -> None:
    """The server's clock may be set before the next one."""
    first, later = IMPORTS, with_counts(IMPORTS, 900)
    ahead = replace(look(first), offset=3600.0)
    assert told(ahead).tracks["a"].moved == START + 10 - 3600
    still = replace(look(first, at=40), offset=0.0)
    assert told(ahead, still).tracks["a"].moved == START + 10 - 3600
    assert told(ahead, replace(look(later, at=75), offset=60.0)).tracks["a"].moved == START + 70 - 60
    assert told(replace(look(STAMPED), offset=60.0)).tracks["a"].moved is None
