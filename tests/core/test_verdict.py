"""Tests of `verdict`: the state and the outcome that follow from an operation and from what was seen of it."""

from dataclasses import replace
from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.core.domain import (
    IMPORTING_STEPS,
    LAST_STEPS,
    LOADING_STEPS,
    WAITING_STEPS,
    Counts,
    Kind,
    Operation,
    Outcome,
    State,
    Step,
)
from rc_import_exporter.core.snapshot import Cause, Track, Witness
from rc_import_exporter.core.verdict import judge, sentence, spell, state_of, told_by_progress

STEPS: Final[dict[Step, tuple[State, State]]] = {
    Step.NEW: (State.NEW, State.ERROR),
    Step.UPLOADING: (State.LOADING, State.ERROR),
    Step.DOWNLOADING_FILE: (State.LOADING, State.ERROR),
    Step.FILE_LOADED: (State.LOADING, State.ERROR),
    Step.PREPARING_STARTED: (State.LOADING, State.ERROR),
    Step.PREPARING_USERS: (State.LOADING, State.ERROR),
    Step.PREPARING_CHANNELS: (State.LOADING, State.ERROR),
    Step.PREPARING_MESSAGES: (State.LOADING, State.ERROR),
    Step.PREPARING_CONTACTS: (State.LOADING, State.ERROR),
    Step.USER_SELECTION: (State.READY, State.ERROR),
    Step.IMPORTING_STARTED: (State.IMPORTING, State.ERROR),
    Step.IMPORTING_USERS: (State.IMPORTING, State.ERROR),
    Step.IMPORTING_CONTACTS: (State.IMPORTING, State.ERROR),
    Step.IMPORTING_CHANNELS: (State.IMPORTING, State.ERROR),
    Step.IMPORTING_MESSAGES: (State.IMPORTING, State.ERROR),
    Step.IMPORTING_FILES: (State.IMPORTING, State.ERROR),
    Step.FINISHING: (State.IMPORTING, State.ERROR),
    Step.DONE: (State.DONE, State.DONE),
    Step.IMPORT_FAILED: (State.ERROR, State.ERROR),
    Step.IMPORT_CANCELLED: (State.CANCELED, State.ERROR),
    Step.UNKNOWN: (State.UNKNOWN, State.ERROR),
}
"""The state that Rocket.Chat gives an operation in each step: while it is valid, and when it is not."""
OUTCOMES: Final[dict[State, tuple[Outcome, Outcome]]] = {
    State.NEW: (Outcome.WAITING, Outcome.DISCARDED),
    State.READY: (Outcome.WAITING, Outcome.DISCARDED),
    State.LOADING: (Outcome.LOADING, Outcome.INTERRUPTED),
    State.IMPORTING: (Outcome.RUNNING, Outcome.INTERRUPTED),
    State.ERROR: (Outcome.FAILED, Outcome.FAILED),
    State.CANCELED: (Outcome.CANCELED, Outcome.CANCELED),
    State.UNKNOWN: (Outcome.UNKNOWN, Outcome.UNKNOWN),
}
"""The outcome by the state that the step has in a valid operation: while it is valid, and when it is not."""

UNSEEN: Final = Witness()
ALIVE: Final = Witness(alive=True)
CUT: Final = Witness(alive=True, cut=True)
SEALED: Final = Witness(alive=True, sealed=True)
WITNESSES: Final = tuple(
    Witness(alive=alive, cut=cut, sealed=sealed) for alive, cut, sealed in product((False, True), repeat=3)
)


def operation(
    step: Step,
    *,
    valid: bool | None = True,
    total: int | None = None,
    completed: int | None = None,
    failed: int | None = None,
    messages: int | None = None,
    as_text: bool = True,
) -> Operation:
    """An operation with these counts, or with none at all if none is given."""
    counts = Counts(
        total=total,
        completed=completed,
        failed=failed,
        staged={} if messages is None else {Kind.MESSAGES: messages},
    )
    return Operation(
        id="a1",
        importer="csv",
        step=step,
        valid=valid,
        created=1000.0,
        dated_as_text=as_text,
        updated=2000.0,
        counts=None if counts == Counts() else counts,
    )


def done(completed: int, failed: int, *, valid: bool) -> Operation:
    """A finished operation of 1,000 records without messages: its counts may be 50 records behind."""
    return operation(Step.DONE, valid=valid, total=1000, completed=completed, failed=failed)


def test_the_tables_have_a_row_for_every_step_and_state() -> None:
    assert set(STEPS) == set(Step) - {Step.NONE}
    assert set(OUTCOMES) == set(State) - {State.NONE, State.DONE}


@pytest.mark.parametrize("step", STEPS)
def test_the_state_is_the_one_that_rocket_chat_computes(step: Step) -> None:
    """The list tells no state. What the page shows must not depend on which endpoint answers."""
    if_valid, if_not = STEPS[step]
    assert state_of(operation(step)) is if_valid
    assert state_of(operation(step, valid=False)) is if_not
    assert state_of(operation(step, valid=None)) is if_valid


@pytest.mark.parametrize("step", [step for step in STEPS if step is not Step.DONE])
def test_before_done_the_outcome_depends_on_step_and_validity_alone(step: Step) -> None:
    if_valid, if_not = OUTCOMES[STEPS[step][0]]
    for witness, completed, failed in product(WITNESSES, (0, 400, 2000), (0, 3)):
        counts = Counts(total=1000, completed=completed, failed=failed)
        assert judge(replace(operation(step), counts=counts), witness) is if_valid
        assert judge(replace(operation(step, valid=False), counts=counts), witness) is if_not


@pytest.mark.parametrize(
    ("completed", "failed", "valid", "seen", "outcome"),
    [
        pytest.param(1000, 0, True, UNSEEN, Outcome.SUCCEEDED, id="everything was imported"),
        pytest.param(997, 3, True, UNSEEN, Outcome.COMPLETED_WITH_ERRORS, id="three records were rejected"),
        pytest.param(0, 1000, True, UNSEEN, Outcome.COMPLETED_WITH_ERRORS, id="all records were rejected"),
        pytest.param(100, 0, True, UNSEEN, Outcome.SUCCEEDED, id="an administrator deselected nine of ten records"),
        pytest.param(100, 0, True, CUT, Outcome.SUCCEEDED, id="valid at its end: nothing stopped it for good"),
        pytest.param(2000, 0, True, UNSEEN, Outcome.SUCCEEDED, id="users of file imports are counted twice"),
        pytest.param(2000, 3, True, UNSEEN, Outcome.COMPLETED_WITH_ERRORS, id="counting twice hides no error"),
        pytest.param(1000, 0, False, UNSEEN, Outcome.SUCCEEDED, id="a restart after the end makes it invalid"),
        pytest.param(997, 3, False, UNSEEN, Outcome.COMPLETED_WITH_ERRORS, id="the same, with rejected records"),
        pytest.param(950, 0, False, UNSEEN, Outcome.SUCCEEDED, id="the last 50 may be done and not yet written"),
        pytest.param(949, 0, False, UNSEEN, Outcome.INCOMPLETE, id="51 records short: it was stopped"),
        pytest.param(947, 3, False, UNSEEN, Outcome.COMPLETED_WITH_ERRORS, id="a rejected record is processed, too"),
        pytest.param(946, 3, False, UNSEEN, Outcome.INCOMPLETE, id="incomplete is worse than rejected records"),
        pytest.param(999, 0, False, ALIVE, Outcome.INCOMPLETE, id="seen running, then invalid: one missing is enough"),
        pytest.param(999, 0, False, CUT, Outcome.INCOMPLETE, id="seen cut off: one missing is enough"),
        pytest.param(999, 0, False, Witness(cut=True), Outcome.INCOMPLETE, id="first seen cut off: the same"),
        pytest.param(999, 1, False, ALIVE, Outcome.COMPLETED_WITH_ERRORS, id="seen running, and none is missing"),
        pytest.param(1000, 0, False, CUT, Outcome.SUCCEEDED, id="cut off when nothing was left to do"),
        pytest.param(100, 0, False, SEALED, Outcome.SUCCEEDED, id="seen done while valid: what came later is nothing"),
        pytest.param(100, 3, False, SEALED, Outcome.COMPLETED_WITH_ERRORS, id="the same, with rejected records"),
    ],
)
def test_done_is_judged_by_counts_validity_and_what_was_seen(
    completed: int, failed: int, seen: Witness, outcome: Outcome, *, valid: bool
) -> None:
    """Rocket.Chat says "done" of an import that ended well, of one with errors, and of one that was cut off."""
    assert judge(done(completed, failed, valid=valid), seen) is outcome


records = st.integers(0, 1200)
witnesses = st.sampled_from(WITNESSES)


@given(completed=records, failed=records, valid=st.booleans(), seen=witnesses)
def test_more_records_never_make_an_import_incomplete(
    *, completed: int, failed: int, valid: bool, seen: Witness
) -> None:
    """Users of file imports are counted twice, so the counts may go beyond the total."""
    if judge(done(completed, failed, valid=valid), seen) is not Outcome.INCOMPLETE:
        for more in ((completed + 1, failed), (completed, failed + 1), (2 * completed, failed)):
            assert judge(done(*more, valid=valid), seen) is not Outcome.INCOMPLETE


@given(completed=records, failed=records, seen=witnesses)
def test_an_import_seen_running_or_cut_off_is_not_judged_more_kindly(
    *, completed: int, failed: int, seen: Witness
) -> None:
    found = done(completed, failed, valid=False)
    if judge(found, seen) is Outcome.INCOMPLETE:
        assert judge(found, replace(seen, alive=True)) is Outcome.INCOMPLETE
        assert judge(found, replace(seen, cut=True)) is Outcome.INCOMPLETE


def test_every_outcome_of_an_operation_can_occur() -> None:
    """An outcome that never occurs would be a dead row in tables and dashboards. `none` means no operation."""
    reached = {
        judge(operation(step, valid=valid, total=1000, completed=100, failed=failed), UNSEEN)
        for step, valid, failed in product(STEPS, (True, False), (0, 1))
    }
    assert reached == set(Outcome) - {Outcome.NONE}


@pytest.mark.parametrize(
    ("messages", "as_text", "slack"),
    [(None, True, 50), (0, True, 50), (1, True, 500), (None, False, 500), (5000, False, 500)],
)
def test_counts_may_be_one_write_behind(messages: int | None, *, as_text: bool, slack: int) -> None:
    """Servers write counts every 50 records, every 500 with messages, and before 6.3 (dates as numbers) every 500."""
    for short, outcome in ((slack, Outcome.SUCCEEDED), (slack + 1, Outcome.INCOMPLETE)):
        found = operation(
            Step.DONE, valid=False, total=9000, completed=9000 - short, messages=messages, as_text=as_text
        )
        assert judge(found, UNSEEN) is outcome


@pytest.mark.parametrize("seen", WITNESSES)
def test_an_operation_without_a_total_is_not_incomplete(seen: Witness) -> None:
    assert judge(operation(Step.DONE, valid=False), seen) is Outcome.SUCCEEDED
    assert judge(operation(Step.DONE, valid=False, completed=5), seen) is Outcome.SUCCEEDED


@pytest.mark.parametrize("step", STEPS)
def test_progress_tells_only_what_holds_whether_valid_or_not(step: Step) -> None:
    """`getImportProgress` ignores validity: it says "importing" for ever of an import that a restart has killed."""
    told = told_by_progress(operation(step, valid=None, total=1000, completed=400))
    known = {Step.IMPORT_FAILED: Outcome.FAILED, Step.IMPORT_CANCELLED: Outcome.CANCELED}
    assert told is known.get(step, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("completed", "failed", "outcome"),
    [(1000, 0, Outcome.SUCCEEDED), (997, 3, Outcome.COMPLETED_WITH_ERRORS), (999, 0, Outcome.UNKNOWN)],
)
def test_progress_tells_the_end_if_all_records_are_counted(completed: int, failed: int, outcome: Outcome) -> None:
    """If records are missing, either an administrator deselected them or the import was cut off."""
    assert told_by_progress(operation(Step.DONE, valid=None, total=1000, completed=completed, failed=failed)) is outcome


def test_progress_without_counts_cannot_tell_the_end() -> None:
    """Servers before 6.3 report 0 of 0."""
    assert told_by_progress(operation(Step.DONE, valid=None)) is Outcome.UNKNOWN


def track(
    found: Operation,
    outcome: Outcome,
    *,
    cause: Cause | None = None,
    run_started: float | None = None,
    finished: float | None = None,
) -> Track:
    return Track(
        operation=found,
        state=state_of(found),
        outcome=outcome,
        witness=UNSEEN,
        expected=False,
        counted=frozenset(),
        cause=cause,
        run_started=run_started,
        finished=finished,
    )


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("cause", [None, *Cause])
def test_every_verdict_has_a_sentence(outcome: Outcome, cause: Cause | None) -> None:
    """Pages, logs and the JSON put it into a line of their own: one line without a full stop, whatever is unknown."""
    for found in (operation(Step.DONE, valid=False), operation(Step.NEW, total=0), operation(Step.DONE, completed=1)):
        told = sentence(track(found, outcome, cause=cause))
        assert told
        assert "\n" not in told
        assert "None" not in told
        assert not told.endswith(".")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause.RESTARTED, "the server restarted"),
        (Cause.SUPERSEDED, "another import took its place"),
        (Cause.INVALIDATED, "an administrator cleared it, or another server of the cluster started"),
        (Cause.FOUND, "it was so when this exporter first saw it"),
    ],
)
def test_the_sentence_of_a_cut_off_import_says_how_far_how_long_and_why(cause: Cause, words: str) -> None:
    found = operation(Step.DONE, valid=False, total=5020, completed=1500)
    told = sentence(track(found, Outcome.INCOMPLETE, cause=cause, run_started=1000.0, finished=1000.0 + 42 * 60))
    assert told.startswith("cut off at 1,500 of 5,020 records after 42 min: ")
    assert words in told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (11_100, "3 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert spell(seconds) == text


def test_the_groups_of_steps_do_not_overlap() -> None:
    assert not WAITING_STEPS & LOADING_STEPS
    assert not WAITING_STEPS & IMPORTING_STEPS
    assert not LOADING_STEPS & IMPORTING_STEPS
    assert not LAST_STEPS & (WAITING_STEPS | LOADING_STEPS | IMPORTING_STEPS)


@pytest.mark.parametrize(("importer", "told"), [("api", "rejected or there already"), ("csv", "rejected")])
def test_the_sentence_of_an_api_import_does_not_call_existing_users_rejected(importer: str, told: str) -> None:
    """An API import counts each user who already exists as an error."""
    found = replace(operation(Step.DONE, total=8000, completed=5, failed=7995), importer=importer)
    assert sentence(track(found, Outcome.COMPLETED_WITH_ERRORS)) == f"completed with errors: 7,995 of 8,000 {told}"
