"""Tests of `history`: how operations are followed, judged and counted, one short story each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from rc_import_exporter.core.domain import FINISHED, Counts, Operation, Outcome, State, Step
from rc_import_exporter.core.history import fold, running_beside
from rc_import_exporter.core.snapshot import Cause, History, Moment
from rc_import_exporter.core.tracking import Look, Sighting
from rc_import_exporter.core.verdict import state_of

START: Final = 1_800_000_000.0


def operation(
    name: str,
    step: Step,
    *,
    created: float,
    updated: float | None = None,
    valid: bool = True,
    counts: tuple[int, int, int] | None = None,
    importer: str = "csv",
) -> Operation:
    """An operation; instants are seconds after `START`, counts are total, completed, failed."""
    total, completed, failed = counts or (None, None, None)
    return Operation(
        id=name,
        importer=importer,
        step=step,
        valid=valid,
        created=START + created,
        dated_as_text=True,
        updated=START + (created if updated is None else updated),
        counts=None if counts is None else Counts(total=total, completed=completed, failed=failed),
    )


def look(
    *seen: Operation, at: float | None = None, listed: bool = True, gone: float | None = None, version: str = "8.6"
) -> Look:
    """A poll that showed these operations; without `at` it came 5 s after the last write."""
    latest = max((each.updated or START for each in seen), default=START)
    ended = latest + 5 if at is None else START + at
    return Look(
        sightings=[Sighting(operation=each, state=state_of(each)) for each in seen],
        listed=tuple(each.id for each in seen) if listed else None,
        began=ended,
        ended=ended,
        interval=15.0,
        gone_since=None if gone is None else START + gone,
        version=version,
    )


def told(*looks: Look) -> History:
    """The history after these polls."""
    history = History()
    for each in looks:
        history = fold(history, each)
    return history


def versions(*steps: Step, created: float = 0.0, of: int = 1000) -> Sequence[Operation]:
    """One valid operation in these steps, ten seconds apart, with a hundred records more in each."""
    return [
        operation("a", step, created=created, updated=created + 10 * n, counts=(of, 100 * n, 0))
        for n, step in enumerate(steps)
    ]


def finished(history: History) -> dict[Outcome, int]:
    """The outcomes that were counted, without zeros."""
    return {outcome: count for outcome, count in history.finished.items() if count}


@pytest.mark.parametrize("step", [Step.IMPORTING_USERS, Step.DONE])
def test_a_state_that_was_wrong_is_corrected_by_the_next_answer(step: Step) -> None:
    """The operation itself does not change. Only the state shows the difference."""
    right = look(operation("a", step, created=0))
    wrong = replace(right, sightings=[each._replace(state=State.UNKNOWN) for each in right.sightings])
    history = told(wrong, right)
    assert history.newest is not None
    assert history.newest.state is state_of(history.newest.operation)
    assert history == told(right, right)


RUN: Final = versions(Step.IMPORTING_USERS, Step.IMPORTING_MESSAGES)
KILLED: Final = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=20, valid=False, counts=(1000, 150, 0))
ABORTED: Final = operation("a", Step.DONE, created=0, updated=23, valid=False, counts=(1000, 150, 0))


def test_an_import_that_a_second_server_cuts_off_is_interrupted_then_incomplete() -> None:
    """Rocket.Chat writes the error first, then done with records missing. The date of the first write stays."""
    history = told(look(RUN[0]), look(RUN[1]), look(KILLED), look(ABORTED))
    assert finished(history) == {Outcome.INTERRUPTED: 1, Outcome.INCOMPLETE: 1}
    assert history.last_finished == {("csv", Outcome.INCOMPLETE): START + 20}
    assert history.newest is not None
    assert history.newest.outcome is Outcome.INCOMPLETE
    assert history.newest.cause is Cause.INVALIDATED


@pytest.mark.parametrize(("done", "outcome"), [(949, Outcome.INCOMPLETE), (950, Outcome.UNCONFIRMED)])
def test_an_interruption_that_nobody_saw_is_told_by_counts_alone(done: int, outcome: Outcome) -> None:
    """Seen while valid and unfinished, then done and invalid: a restart after a good end leaves the same document."""
    end = operation("a", Step.DONE, created=0, updated=23, valid=False, counts=(1000, done, 0))
    history = told(look(RUN[0]), look(end))
    assert finished(history) == {outcome: 1}


def test_no_count_makes_a_success_of_an_import_that_was_seen_cut_off() -> None:
    """Users of a file import count twice, so 1,050 of 1,000 records is no proof."""
    whole = operation("a", Step.DONE, created=0, updated=23, valid=False, counts=(1000, 1050, 0))
    history = told(look(RUN[0]), look(KILLED), look(whole))
    assert finished(history) == {Outcome.INTERRUPTED: 1, Outcome.INCOMPLETE: 1}
    assert history.last_finished == {("csv", Outcome.INCOMPLETE): START + 20}


def test_an_import_whose_end_the_next_one_stamped_ended_well() -> None:
    """The creation of an operation invalidates all others at its own `ts`; one that still ran writes again later."""
    next_one = operation("b", Step.NEW, created=25.001)
    done = operation("a", Step.DONE, created=0, updated=25.0, valid=False, counts=(1000, 150, 0))
    assert finished(told(look(RUN[0]), look(done, next_one))) == {Outcome.SUCCEEDED: 1}
    assert finished(told(look(), look(done, next_one))) == {Outcome.SUCCEEDED: 1}
    again = operation("c", Step.NEW, created=25.201)
    cut = operation("a", Step.DONE, created=0, updated=25.2, valid=False, counts=(1000, 1000, 0))
    assert finished(told(look(RUN[0]), look(cut, next_one, again))) == {Outcome.INCOMPLETE: 1}
    late = operation("a", Step.DONE, created=0, updated=26.3, valid=False, counts=(1000, 1150, 0))
    history = told(look(RUN[0]), look(late, next_one))
    assert finished(history) == {Outcome.INCOMPLETE: 1}
    assert history.tracks["a"].cause is Cause.SUPERSEDED


@pytest.mark.parametrize(
    ("late", "outcome"),
    [(0.019, Outcome.SUCCEEDED), (0.021, Outcome.INCOMPLETE), (60.0, Outcome.INCOMPLETE), (60.1, Outcome.UNCONFIRMED)],
)
def test_how_close_a_stamp_is_to_the_next_creation_decides(late: float, outcome: Outcome) -> None:
    next_one = operation("b", Step.NEW, created=25.0)
    done = operation("a", Step.DONE, created=0, updated=25.0 + late, valid=False, counts=(1000, 980, 0))
    assert finished(told(look(RUN[0]), look(done, next_one))) == {outcome: 1}


def test_the_last_step_before_the_end_has_nothing_left_to_cut_off() -> None:
    """In `finishing` everything is imported."""
    finishing = operation("a", Step.FINISHING, created=0, updated=20, counts=(1000, 1000, 0))
    done = operation("a", Step.DONE, created=0, updated=200, valid=False, counts=(1000, 1000, 0))
    assert finished(told(look(RUN[0]), look(finishing), look(done))) == {Outcome.SUCCEEDED: 1}


def test_what_was_found_done_and_invalid_is_a_success_only_if_nothing_can_be_missing() -> None:
    """Nobody saw whether it was cut off, and which records were deselected."""
    for counts, outcome in (((343, 0, 0), Outcome.UNCONFIRMED), ((343, 343, 0), Outcome.SUCCEEDED)):
        found = operation("a", Step.DONE, created=0, updated=900, valid=False, counts=counts)
        newest = told(look(found)).newest
        assert newest is not None
        assert newest.outcome is outcome


def test_the_date_of_an_earlier_interruption_comes_back() -> None:
    """The later interruption turned out to be something else, so its date must not stay."""
    earlier = operation("z", Step.IMPORTING_USERS, created=-500, updated=-400, valid=False)
    history = told(look(RUN[0], earlier), look(KILLED, earlier), look(ABORTED, earlier))
    assert history.last_finished == {
        ("csv", Outcome.INCOMPLETE): START + 20,
        ("csv", Outcome.INTERRUPTED): START - 400,
    }


def cause(*looks: Look) -> Cause | None:
    return told(*looks).tracks["a"].cause


def test_the_cause_is_uncertain_until_time_or_a_last_step_tells() -> None:
    """A server that still runs notices within a batch of records that its import is invalid, and writes `done`."""
    seen = (look(RUN[0]), look(KILLED))
    assert cause(*seen) is Cause.UNCERTAIN
    assert cause(*seen, look(ABORTED)) is Cause.INVALIDATED
    assert cause(*seen, look(KILLED, at=50)) is Cause.UNCERTAIN
    assert cause(*seen, look(KILLED, at=50.1)) is Cause.RESTARTED
    assert cause(*seen, look(KILLED, at=50.1), look(ABORTED)) is Cause.INVALIDATED
    assert cause(look(KILLED, at=1000)) is Cause.RESTARTED


def test_another_import_is_the_cause_only_if_it_was_created_at_that_instant() -> None:
    """An operation that is created after another server has cut off the import is not the cause."""
    assert cause(look(RUN[0]), look(KILLED, operation("b", Step.NEW, created=20))) is Cause.SUPERSEDED
    assert cause(look(RUN[0]), look(KILLED, operation("b", Step.NEW, created=19))) is Cause.UNCERTAIN
    later = operation("b", Step.NEW, created=33)
    assert cause(look(RUN[0]), look(ABORTED, later)) is Cause.INVALIDATED


def test_a_restart_is_no_cause_for_what_was_ready() -> None:
    """Rocket.Chat spares an operation in `user_selection` when it starts."""
    ready = operation("a", Step.USER_SELECTION, created=0, updated=10)
    gone = operation("a", Step.USER_SELECTION, created=0, updated=20, valid=False)
    assert cause(look(ready), look(gone)) is Cause.CLEARED
    assert cause(look(ready), look(gone, operation("b", Step.NEW, created=20))) is Cause.SUPERSEDED
    new = operation("a", Step.NEW, created=0, updated=20, valid=False)
    assert cause(look(operation("a", Step.NEW, created=0)), look(new)) is Cause.UNCERTAIN


def test_a_restart_after_the_end_changes_no_verdict_and_no_date() -> None:
    """A server that starts makes every operation invalid and gives it a new `_updatedAt`."""
    done = operation("a", Step.DONE, created=0, updated=30, counts=(1000, 20, 0))
    stamped = operation("a", Step.DONE, created=0, updated=9000, valid=False, counts=(1000, 20, 0))
    history = told(look(RUN[0]), look(done), look(stamped))
    assert finished(history) == {Outcome.SUCCEEDED: 1}
    assert history.last_finished == {("csv", Outcome.SUCCEEDED): START + 30}
    assert history.newest is not None
    assert history.newest.outcome is Outcome.SUCCEEDED
    assert history.newest.operation.valid is False
    assert history.newest.progressed == START + 30


def test_an_old_failure_is_not_new_after_a_restart() -> None:
    """An operation first seen invalid is dated by its start, the only date that a restart does not change."""
    old = operation("a", Step.IMPORT_FAILED, created=-2_000_000, updated=500, valid=False)
    history = told(look(old))
    assert history.last_finished == {("csv", Outcome.FAILED): START - 2_000_000}
    assert history.last_duration == {"csv": (START - 2_000_000, None)}


@pytest.mark.parametrize("step", [Step.IMPORTING_USERS, Step.NEW, Step.PREPARING_USERS])
def test_an_import_that_never_reached_its_last_step_is_dated_by_its_last_write(step: Step) -> None:
    """A server that starts does not write to operations that are already invalid."""
    history = told(look(operation("a", step, created=0, updated=500, valid=False)))
    assert list(history.last_finished.values()) == [START + 500]


def test_operations_of_the_first_poll_are_not_counted() -> None:
    """They started, and some of them ended, before this exporter looked."""
    there = [
        operation("done", Step.DONE, created=-300, counts=(10, 10, 0)),
        operation("dead", Step.IMPORTING_USERS, created=-200, valid=False, counts=(10, 3, 0)),
        operation("runs", Step.IMPORTING_USERS, created=-100, counts=(10, 5, 1)),
    ]
    history = told(look(*there), look(*there))
    assert history.started == 0
    assert finished(history) == {}
    assert (history.completed, history.failed) == (0, 0)


def test_an_import_running_at_the_first_poll_counts_when_it_finishes() -> None:
    """Of its records, only those processed after the first poll count."""
    end = operation("a", Step.DONE, created=0, updated=60, counts=(1000, 990, 10))
    history = told(look(RUN[1]), look(end), look(end))
    assert finished(history) == {Outcome.COMPLETED_WITH_ERRORS: 1}
    assert (history.completed, history.failed) == (890, 10)
    assert history.started == 0


def test_an_import_cut_off_before_the_first_poll_is_never_counted() -> None:
    """This is also true if Rocket.Chat writes its last step later."""
    history = told(look(KILLED), look(ABORTED))
    assert finished(history) == {}
    assert list(history.last_finished) == [("csv", Outcome.INCOMPLETE)]


def test_old_operations_in_a_list_that_opens_later_are_not_counted() -> None:
    """When someone grants the permission for the list, it shows up to 20 old operations at once."""
    older = [operation(f"o{n}", Step.DONE, created=-100.0 * n, counts=(10, 10, 0)) for n in range(1, 20)]
    history = told(look(RUN[0], listed=False), look(RUN[0], *older))
    assert history.started == 0
    assert finished(history) == {}
    assert history.completed == 0


def test_an_operation_that_came_and_went_between_two_polls_is_counted() -> None:
    """A short import may start and end between two polls; the list still shows it."""
    came = operation("b", Step.DONE, created=100, updated=130, counts=(20, 19, 1))
    history = told(look(RUN[0]), look(RUN[0], came))
    assert history.started == 1
    assert finished(history) == {Outcome.COMPLETED_WITH_ERRORS: 1}
    assert (history.completed, history.failed) == (19, 1)
    assert history.current == "b"


def test_the_first_import_of_an_empty_workspace_counts_as_started() -> None:
    history = told(look(), look(operation("a", Step.NEW, created=5)))
    assert history.started == 1


def test_an_import_after_the_state_none_counts_as_started() -> None:
    """The exporter may not be allowed to read the list."""
    history = told(look(listed=False), look(operation("a", Step.NEW, created=5)))
    assert history.started == 1


def full(*seen: Operation) -> list[Operation]:
    """A list of 20: these, and old ones."""
    return [*seen, *(operation(f"old{n}", Step.DONE, created=-9000.0 - n) for n in range(20 - len(seen)))]


def test_the_current_operation_never_goes_back_to_an_earlier_start() -> None:
    """After a restart that wrote to more than 20 operations, the newest may be missing from the list."""
    older = operation("o", Step.DONE, created=-100, updated=500, valid=False)
    history = told(look(*full(RUN[0])), look(*full(older)))
    assert history.current == "a"


def test_what_a_complete_list_lacks_is_gone() -> None:
    """A database was restored, and the import that ran is not in it. It must not be shown as running for ever."""
    older = operation("o", Step.DONE, created=-100, counts=(10, 10, 0))
    history = told(look(RUN[0], older), look(older))
    assert history.current == "o"
    assert set(history.tracks) == {"o"}


def test_what_the_status_names_is_there_though_the_list_was_read_before_it() -> None:
    """Both endpoints are called at the same time."""
    older = operation("o", Step.DONE, created=-100, counts=(10, 10, 0))
    both = look(RUN[0], older)
    assert told(look(older), replace(both, listed=("o",))).current == "a"


def test_an_operation_that_a_complete_list_did_not_have_is_new_whatever_its_date() -> None:
    """Each server of a cluster has its own clock."""
    slow = operation("b", Step.NEW, created=-3)
    assert told(look(RUN[0]), look(RUN[0], slow)).started == 1
    assert told(look(*full(RUN[0])), look(*full(slow, RUN[0]))).started == 0


def test_a_workspace_whose_operations_are_gone_has_none() -> None:
    """If the server has no operations now, that is believed. It does not mean that nothing was ever imported."""
    history = told(look(RUN[0]), look())
    assert history.newest is None
    assert history.emptied
    assert not told(look(), look()).emptied
    assert told(look(RUN[0]), look(), look()).emptied
    assert not told(look(RUN[0]), look(), look(operation("n", Step.NEW, created=90))).emptied


def test_an_operation_that_comes_back_is_not_new() -> None:
    """A backup is restored in two steps. Operations that were counted are not counted again."""
    done = operation("b", Step.DONE, created=50, updated=60, counts=(10, 10, 0))
    history = told(look(), look(RUN[0]), look(RUN[0], done), look(), look(RUN[0], done))
    assert history.started == 2
    assert finished(history) == {Outcome.SUCCEEDED: 1}
    assert history.completed == 10


def test_an_older_answer_changes_nothing() -> None:
    """Both feeds are asked at the same time, and one of the answers may be late."""
    history = told(look(*RUN[:1]), look(RUN[1]))
    assert fold(history, look(RUN[0])).tracks == history.tracks


def test_an_older_answer_changes_nothing_after_an_unknown_step() -> None:
    """A step of a newer Rocket.Chat has no place in the known order of steps."""
    odd = operation("a", Step.UNKNOWN, created=0, updated=20, counts=(1000, 200, 0))
    history = told(look(RUN[0]), look(odd))
    assert fold(history, look(RUN[1])).tracks == history.tracks


def test_an_import_that_a_server_with_a_slow_clock_makes_invalid_is_interrupted() -> None:
    """Each server of a cluster writes its own time, but an invalid operation never becomes valid again."""
    slow = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=5, valid=False, counts=(1000, 100, 0))
    assert finished(told(look(RUN[0]), look(RUN[1]), look(slow))) == {Outcome.INTERRUPTED: 1}


def test_an_import_is_followed_after_the_servers_clock_was_set_back() -> None:
    """Steps and counts only go forward, so the answer that shows more of them is newer, whatever its date."""
    begun = operation("a", Step.IMPORTING_USERS, created=0, updated=4000, counts=(1000, 100, 0))
    later = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=500, counts=(1000, 900, 0))
    history = told(look(begun), look(later, at=2000))
    assert history.newest is not None
    assert history.newest.operation == later
    assert history.completed == 800


def test_of_two_answers_in_one_poll_the_one_that_shows_the_end_counts() -> None:
    """The status was read before a server with a slow clock made the import invalid, the list after."""
    status, listed = (
        RUN[1],
        operation("a", Step.IMPORTING_MESSAGES, created=0, updated=5, valid=False, counts=(1000, 100, 0)),
    )
    history = told(look(RUN[0]), look(status, listed))
    assert history.newest is not None
    assert history.newest.outcome is Outcome.INTERRUPTED


def test_of_two_answers_in_one_poll_the_later_write_counts() -> None:
    """If both show the same write, the state is the one that `import.status` gave."""
    status = Sighting(operation=RUN[0], state=State.UNKNOWN)
    both = Look(
        sightings=[status, Sighting(operation=RUN[0], state=State.IMPORTING)],
        listed=("a",),
        began=START,
        ended=START,
        interval=15.0,
    )
    newest = fold(History(), both).newest
    assert newest is not None
    assert newest.state is State.UNKNOWN
    later = Look(
        sightings=[status, Sighting(operation=RUN[1], state=State.IMPORTING)],
        listed=("a",),
        began=START,
        ended=START,
        interval=15.0,
    )
    newest = fold(History(), later).newest
    assert newest is not None
    assert newest.operation == RUN[1]


def test_dates_are_those_of_the_server_s_writes() -> None:
    """A poll may come much later than the write that it shows."""
    waits = operation("a", Step.USER_SELECTION, created=0, updated=10, counts=(1000, 0, 0))
    runs = operation("a", Step.IMPORTING_USERS, created=0, updated=20, counts=(1000, 0, 0))
    moves = operation("a", Step.IMPORTING_USERS, created=0, updated=35, counts=(1000, 50, 0))
    next_step = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=50, counts=(1000, 50, 0))
    dead = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=90, valid=False, counts=(1000, 50, 0))
    history = told(look(waits), look(runs), look(moves))
    track = history.tracks["a"]
    assert (track.step_started, track.run_started, track.progressed) == (START + 20, START + 20, START + 35)
    track = told(look(waits), look(runs), look(moves), look(next_step), look(dead)).tracks["a"]
    assert (track.step_started, track.run_started, track.progressed) == (START + 50, START + 20, START + 50)
    assert track.end == Moment(earliest=START + 50, latest=START + 90, seen=False)
    assert track.finished is None


def test_a_run_that_was_there_already_has_no_beginning_that_was_seen() -> None:
    """The first poll that saw it is a bound: it began at that moment or earlier."""
    track = told(look(operation("a", Step.IMPORTING_MESSAGES, created=-9000, updated=20))).tracks["a"]
    assert track.run_start == Moment(earliest=START - 9000, latest=START + 25, seen=False)
    assert (track.run_started, track.step_started, track.progressed) == (None, None, START + 20)


def test_a_run_that_began_in_a_long_gap_between_two_polls_has_none_either() -> None:
    """An import waited for 90 minutes and ran for 3 seconds: neither is a run of 90 minutes."""
    ready = operation("a", Step.USER_SELECTION, created=0, updated=10)
    done = operation("a", Step.DONE, created=0, updated=5410, counts=(10, 10, 0))
    track = told(look(ready, at=15), look(done, at=5412)).tracks["a"]
    assert track.run_started is None
    assert track.finished == START + 5410


def test_an_import_that_died_with_its_server_ended_before_nobody_answered() -> None:
    """The restart writes to it hours later. Its last own write and the refused connection are the bounds."""
    last = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=590, counts=(1000, 500, 0))
    dead = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=11_400, valid=False, counts=(1000, 500, 0))
    track = told(look(last, at=600), look(dead, gone=615)).tracks["a"]
    assert track.end == Moment(earliest=START + 590, latest=START + 11_400, seen=False)
    track = told(look(last, at=600), look(dead, gone=615), look(dead, at=11_431)).tracks["a"]
    assert track.end == Moment(earliest=START + 590, latest=START + 615, seen=False)
    on = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=11_400, valid=False, counts=(1000, 900, 0))
    track = told(look(last, at=600), look(on, gone=615), look(on, at=11_431)).tracks["a"]
    assert track.end == Moment(earliest=START + 590, latest=START + 11_400, seen=False)


def test_a_failure_that_a_restart_stamped_has_no_date_that_was_seen() -> None:
    """It failed between the last poll that saw it run and the restart."""
    failed = operation("a", Step.IMPORT_FAILED, created=0, updated=4800, valid=False)
    track = told(look(RUN[0], at=20), look(failed)).tracks["a"]
    assert track.end is not None
    assert (track.finished, track.end.latest) == (None, START + 4800)
    assert track.progressed == RUN[0].updated


def test_what_was_first_seen_invalid_never_moved() -> None:
    """The write of a restart is not progress."""
    found = operation("a", Step.DONE, created=0, updated=9000, valid=False, counts=(10, 10, 0))
    assert told(look(found)).tracks["a"].progressed is None


@pytest.mark.parametrize("step", [Step.IMPORTING_USERS, Step.PREPARING_MESSAGES])
@pytest.mark.parametrize("valid", [True, False])
def test_a_success_is_dated_no_earlier_than_the_end_of_the_one_before(step: Step, *, valid: bool) -> None:
    """The creation of the later operation ended the earlier one, although that one may go on writing for minutes."""
    cut = operation("a", step, created=0, updated=9000, valid=False)
    done = operation("b", Step.DONE, created=100, updated=400, valid=valid, counts=(10, 10, 0))
    dates = told(look(cut, done)).last_finished
    assert START + 99.99 < dates["csv", Outcome.INTERRUPTED] < START + 100
    assert dates["csv", Outcome.SUCCEEDED] == START + (400 if valid else 100)


def test_a_write_that_changes_nothing_visible_is_progress() -> None:
    """Rocket.Chat writes only if something changes, and not all of that is shown."""
    again = operation("a", Step.IMPORTING_USERS, created=0, updated=33, counts=(1000, 0, 0))
    assert told(look(RUN[0]), look(again)).tracks["a"].progressed == START + 33


def test_the_last_duration_is_that_of_the_import_that_ended_last() -> None:
    first = operation("a", Step.DONE, created=0, updated=60, counts=(10, 10, 0))
    second = operation("b", Step.DONE, created=100, updated=400, counts=(10, 10, 0))
    assert told(look(first), look(second, first)).last_duration == {"csv": (START + 400, 300.0)}
    assert told(look(second, first)).last_duration == {"csv": (START + 400, 300.0)}


def test_counts_that_fall_are_not_counted_again() -> None:
    """A counter must not count the same record twice."""
    steps = [
        operation("a", Step.IMPORTING_USERS, created=5, updated=10.0 * n, counts=(100, completed, 0))
        for n, completed in enumerate((0, 60, 20, 70), start=1)
    ]
    assert told(look(), *(look(each) for each in steps)).completed == 70


def test_a_forgotten_operation_is_not_counted_again() -> None:
    """The oldest ones are dropped if there are more than 64. If one of them comes back, it is not new."""
    ends = [
        operation(f"op{n:03}", Step.DONE, created=100.0 * n, updated=100.0 * n + 9, counts=(10, 10, 0))
        for n in range(1, 101)
    ]
    lists = [look(*ends[max(0, n - 20) : n]) for n in range(1, 101)]
    history = told(look(), *lists)
    assert len(history.tracks) == 64
    assert history.started == 100
    for first, last in ((0, 1), (35, 36)):
        again = fold(history, look(*ends[-19:], *ends[first:last]))
        assert (again.started, again.finished) == (history.started, history.finished)
        assert again.completed == history.completed


def test_an_unknown_importer_s_dates_are_kept_under_other() -> None:
    """The label has a fixed set of values. The importer of an app must not add series."""
    history = told(look(operation("a", Step.DONE, created=0, importer="my-own-app")))
    assert list(history.last_finished) == [("other", Outcome.SUCCEEDED)]


def test_an_operation_without_a_start_is_new_only_if_a_complete_list_lacked_it() -> None:
    undated = Operation(id="u", importer="csv", step=Step.DONE, valid=True)
    history = told(look(*full(RUN[0])), look(*full(RUN[0], undated)))
    assert history.started == 0
    assert history.current == "a"
    assert told(look(RUN[0]), look(RUN[0], undated)).started == 1


def test_only_finished_outcomes_are_counted() -> None:
    history = told(look(), look(RUN[0]), look(KILLED), look(ABORTED))
    assert set(history.finished) <= set(FINISHED)


def test_what_was_cut_off_while_finishing_is_judged_by_its_counts() -> None:
    """In this step everything is imported, so a cut does not prove that something is missing."""
    cut = operation("a", Step.FINISHING, created=0, updated=20, valid=False, counts=(1000, 1000, 0))
    done = operation("a", Step.DONE, created=0, updated=22, valid=False, counts=(1000, 1000, 0))
    assert finished(told(look(RUN[0]), look(cut), look(done))) == {Outcome.INTERRUPTED: 1, Outcome.UNCONFIRMED: 1}


def test_a_bad_end_is_later_than_the_success_that_its_own_creation_stamped() -> None:
    """If both had the same date, the success would count as the repair of what failed after it."""
    done = operation("a", Step.DONE, created=0, updated=100, valid=False, counts=(10, 10, 0))
    failed = operation("b", Step.IMPORT_FAILED, created=100, updated=900, valid=False)
    dates = told(look(done, failed)).last_finished
    assert dates["csv", Outcome.SUCCEEDED] < dates["csv", Outcome.FAILED] == START + 100


def test_a_cause_that_was_certain_stays() -> None:
    """A replaced import may take minutes to notice, and then looks like one that was cleared."""
    replaced = operation("a", Step.IMPORTING_MESSAGES, created=0, updated=20, valid=False, counts=(1000, 150, 0))
    late = operation("a", Step.DONE, created=0, updated=95, valid=False, counts=(1000, 200, 0))
    newer = operation("b", Step.NEW, created=20)
    assert cause(look(RUN[0]), look(replaced, newer), look(late, newer)) is Cause.SUPERSEDED


def test_the_stamp_of_a_restart_is_no_start_of_a_run() -> None:
    done = operation("a", Step.DONE, created=0, updated=50, counts=(10, 10, 0))
    stamped = operation("a", Step.DONE, created=0, updated=170, valid=False, counts=(10, 10, 0))
    assert told(look(done), look(stamped)).tracks["a"].run_start is None


@pytest.mark.parametrize(("gap", "seen"), [(15.4, True), (15.6, False)])
def test_a_start_is_seen_if_the_polls_around_it_are_one_interval_apart(gap: float, seen: bool) -> None:  # noqa: FBT001
    """An interval and the time that an answer takes; the server's clock is known to 2 s."""
    ready = operation("a", Step.USER_SELECTION, created=0, updated=10)
    runs = operation("a", Step.IMPORTING_USERS, created=0, updated=100 + gap)
    track = told(look(ready, at=100), look(runs)).tracks["a"]
    assert (track.run_started is not None) is seen


def test_a_list_of_nineteen_is_complete() -> None:
    nineteen = full()[:19]
    assert told(look(RUN[0], *nineteen[:18]), look(*nineteen)).current != "a"


def test_only_valid_listed_operations_that_load_or_run_run_beside_the_newest() -> None:
    """A server that starts would end them, too."""
    newest = operation("n", Step.IMPORTING_USERS, created=100)
    loads = operation("l", Step.UPLOADING, created=50)
    dead = operation("d", Step.IMPORTING_USERS, created=40, valid=False)
    waits = operation("w", Step.USER_SELECTION, created=30)
    history = told(look(newest, loads, dead, waits))
    assert [track.operation.id for track in running_beside(history)] == ["l"]
    assert running_beside(told(look(newest, loads, listed=False))) == []
    gone = replace(history, tracks={id: track for id, track in history.tracks.items() if id != "l"})
    assert running_beside(gone) == []
    assert running_beside(History()) == []
