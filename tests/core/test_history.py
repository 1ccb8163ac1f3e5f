"""Tests of `history`: how operations are followed, judged and counted, one short story each."""

from collections.abc import Sequence
from typing import Final

import pytest

from rc_import_exporter.core.domain import FINISHED, Counts, Operation, Outcome, State, Step
from rc_import_exporter.core.history import MOST_TRACKS, Look, Sighting, fold
from rc_import_exporter.core.snapshot import Cause, History
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


def look(*seen: Operation, at: float = 1000.0, listed: bool = True, silent: bool = False) -> Look:
    """A poll that shows these operations."""
    return Look(
        sightings=[Sighting(operation=each, state=state_of(each)) for each in seen],
        listed=tuple(each.id for each in seen) if listed else None,
        empty=not seen,
        silent=silent,
        now=START + at,
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


def test_one_missing_record_is_enough_if_the_import_was_seen_running() -> None:
    """The interruption fell between two polls. Only an import that was never seen running may lack its last write."""
    short = operation("a", Step.DONE, created=0, updated=23, valid=False, counts=(1000, 999, 0))
    history = told(look(RUN[0]), look(short))
    assert finished(history) == {Outcome.INCOMPLETE: 1}


def test_an_interrupted_import_with_all_its_records_has_succeeded() -> None:
    """It had nothing left to do when it was stopped."""
    whole = operation("a", Step.DONE, created=0, updated=23, valid=False, counts=(1000, 1000, 0))
    history = told(look(RUN[0]), look(KILLED), look(whole))
    assert finished(history) == {Outcome.INTERRUPTED: 1, Outcome.SUCCEEDED: 1}
    assert list(history.last_finished) == [("csv", Outcome.SUCCEEDED)]


def test_the_date_of_an_earlier_interruption_comes_back() -> None:
    """The later interruption turned out to be something else, so its date must not stay."""
    earlier = operation("z", Step.IMPORTING_USERS, created=-500, updated=-400, valid=False)
    history = told(look(RUN[0], earlier), look(KILLED, earlier), look(ABORTED, earlier))
    assert history.last_finished == {
        ("csv", Outcome.INCOMPLETE): START + 20,
        ("csv", Outcome.INTERRUPTED): START - 400,
    }


@pytest.mark.parametrize(
    ("silent", "superseded", "cause"),
    [
        (False, False, Cause.INVALIDATED),
        (True, False, Cause.RESTARTED),
        (False, True, Cause.SUPERSEDED),
        (True, True, Cause.RESTARTED),
    ],
)
def test_the_cause_of_an_interruption_is_what_was_seen_around_it(
    *, silent: bool, superseded: bool, cause: Cause
) -> None:
    """Lost contact means a restart, even if someone has started another import since."""
    newer = [operation("b", Step.NEW, created=19)] if superseded else []
    history = told(look(RUN[0]), look(KILLED, *newer, silent=silent))
    assert history.tracks["a"].cause is cause


def test_the_cause_stays_when_an_interrupted_import_becomes_incomplete() -> None:
    history = told(look(RUN[0]), look(KILLED, silent=True), look(ABORTED))
    assert history.tracks["a"].cause is Cause.RESTARTED


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
    """Not even when Rocket.Chat writes its last step later."""
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


def test_the_current_operation_never_goes_back_to_an_earlier_start() -> None:
    """After a restart that wrote to more than 20 operations, the newest may be missing from the list."""
    older = operation("o", Step.DONE, created=-100, updated=500, valid=False)
    history = told(look(RUN[0]), look(older))
    assert history.current == "a"


def test_no_operation_is_current_once_the_server_says_that_it_holds_none() -> None:
    history = told(look(RUN[0]), look())
    assert history.newest is None


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
        empty=False,
        silent=False,
        now=START,
    )
    newest = fold(History(), both).newest
    assert newest is not None
    assert newest.state is State.UNKNOWN
    later = Look(
        sightings=[status, Sighting(operation=RUN[1], state=State.IMPORTING)],
        listed=("a",),
        empty=False,
        silent=False,
        now=START,
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
    assert track.finished == START + 90


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
    """The history keeps 64 operations. One that it has dropped may show up again."""
    ends = [
        operation(f"op{n:03}", Step.DONE, created=100.0 * n, updated=100.0 * n + 9, counts=(10, 10, 0))
        for n in range(1, 101)
    ]
    history = told(look(), *(look(each) for each in ends))
    assert len(history.tracks) == MOST_TRACKS
    assert history.started == 100
    again = fold(history, look(ends[-1], ends[0]))
    assert (again.started, again.finished, again.completed) == (history.started, history.finished, history.completed)


def test_an_unknown_importer_s_dates_are_kept_under_other() -> None:
    """The label has a closed set of values: an importer of an app must not add series."""
    history = told(look(operation("a", Step.DONE, created=0, importer="my-own-app")))
    assert list(history.last_finished) == [("other", Outcome.SUCCEEDED)]


def test_an_operation_without_a_date_is_never_new() -> None:
    """Nothing shows that it is not an old one."""
    undated = Operation(id="u", importer="csv", step=Step.DONE, valid=True)
    history = told(look(RUN[0]), look(RUN[0], undated))
    assert history.started == 0
    assert history.current == "a"


def test_only_finished_outcomes_are_counted() -> None:
    history = told(look(), look(RUN[0]), look(KILLED), look(ABORTED))
    assert set(history.finished) <= set(FINISHED)
