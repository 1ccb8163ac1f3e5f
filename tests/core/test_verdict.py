"""What an operation has come to: the tables of states and outcomes, row by row and in full."""

from dataclasses import replace
from itertools import product
from typing import Final

import pytest

from rc_import_exporter.core.domain import (
    IMPORTING_STEPS,
    LOADING_STEPS,
    WAITING_STEPS,
    Counts,
    Kind,
    Operation,
    Outcome,
    Step,
)
from rc_import_exporter.core.snapshot import Cause, Track, Witness
from rc_import_exporter.core.verdict import judge, sentence, spell, state_of, told_by_progress

LOADING: Final = [
    "uploading",
    "downloading_file",
    "file_loaded",
    "preparing_started",
    "preparing_users",
    "preparing_channels",
    "preparing_messages",
    "preparing_contacts",
]
IMPORTING: Final = [
    "importing_started",
    "importing_users",
    "importing_contacts",
    "importing_channels",
    "importing_messages",
    "importing_files",
    "finishing",
]
STATES: Final[dict[str, tuple[str, str]]] = {
    "new": ("new", "error"),
    **dict.fromkeys(LOADING, ("loading", "error")),
    "user_selection": ("ready", "error"),
    **dict.fromkeys(IMPORTING, ("importing", "error")),
    "done": ("done", "done"),
    "import_failed": ("error", "error"),
    "import_cancelled": ("canceled", "error"),
    "unknown": ("unknown", "error"),
}
"""Step, and the state that the server gives it while valid and afterwards."""
SENT: Final = tuple(step for step in Step if step is not Step.NONE)
WITNESSES: Final = tuple(
    Witness(alive=alive, cut=cut, sealed=sealed) for alive, cut, sealed in product((False, True), repeat=3)
)
UNSEEN: Final = Witness()


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
    """An operation with these counts; without any count where none is given."""
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


def test_the_table_of_states_has_every_step() -> None:
    """So that none is forgotten below."""
    assert set(STATES) == set(SENT)
    assert set(LOADING) == LOADING_STEPS
    assert set(IMPORTING) == IMPORTING_STEPS


@pytest.mark.parametrize("step", SENT)
def test_a_state_follows_from_step_and_validity_as_on_the_server(step: Step) -> None:
    """Where validity is not told, as if it held."""
    valid, invalid = STATES[step]
    assert state_of(operation(step)) == valid
    assert state_of(operation(step, valid=False)) == invalid
    assert state_of(operation(step, valid=None)) == valid


def expected(step: Step, witness: Witness, *, valid: bool, completed: int, failed: int) -> Outcome:
    """The design's table for 1,000 records and no messages, dated as text, from its first row on."""
    if valid and step in ("new", "user_selection"):
        return Outcome.WAITING
    if valid and step in LOADING:
        return Outcome.LOADING
    if valid and step in IMPORTING:
        return Outcome.RUNNING
    if step == "done":
        slack = 0 if witness.alive or witness.cut else 50
        if not valid and not witness.sealed and completed + failed + slack < 1000:
            return Outcome.INCOMPLETE
        return Outcome.COMPLETED_WITH_ERRORS if failed else Outcome.SUCCEEDED
    if step == "import_failed":
        return Outcome.FAILED
    if not valid and step in (*LOADING, *IMPORTING):
        return Outcome.INTERRUPTED
    if not valid and step in ("new", "user_selection"):
        return Outcome.DISCARDED
    return Outcome.CANCELED if step == "import_cancelled" else Outcome.UNKNOWN


@pytest.mark.parametrize("step", SENT)
def test_every_operation_is_judged_whatever_was_seen_of_it(step: Step) -> None:
    """Step by validity by witness by counts, by the first row that matches."""
    for valid, witness, completed, failed in product((True, False), WITNESSES, (0, 949, 950, 999, 1000, 2000), (0, 1)):
        judged = judge(operation(step, valid=valid, total=1000, completed=completed, failed=failed), witness)
        wanted = expected(step, witness, valid=valid, completed=completed, failed=failed)
        assert judged is wanted, (valid, witness, completed, failed)


def test_every_outcome_of_an_operation_is_reached() -> None:
    """A set with a member that nothing comes to would have no use; `none` is the absence of an operation."""
    reached = {
        judge(operation(step, valid=valid, total=1000, completed=100, failed=failed), UNSEEN)
        for step, valid, failed in product(SENT, (True, False), (0, 1))
    }
    assert reached == set(Outcome) - {Outcome.NONE}


@pytest.mark.parametrize(
    ("messages", "as_text", "slack"),
    [(None, True, 50), (0, True, 50), (1, True, 500), (None, False, 500), (5000, False, 500)],
)
def test_a_last_write_may_be_missing(messages: int | None, *, as_text: bool, slack: int) -> None:
    """Servers write every 50 records, every 500 messages, and before 6.3, where dates were numbers, every 500."""
    for short, outcome in ((slack, Outcome.SUCCEEDED), (slack + 1, Outcome.INCOMPLETE)):
        found = operation(
            Step.DONE, valid=False, total=9000, completed=9000 - short, messages=messages, as_text=as_text
        )
        assert judge(found, UNSEEN) is outcome


def test_an_operation_that_was_never_counted_is_not_short() -> None:
    """Absent counts are 0."""
    for witness in WITNESSES:
        assert judge(operation(Step.DONE, valid=False), witness) is Outcome.SUCCEEDED
        assert judge(operation(Step.DONE, valid=False, completed=5), witness) is Outcome.SUCCEEDED


def test_done_while_valid_is_never_incomplete() -> None:
    """The server stops an import only after re-reading `valid` as false: an import at 2 % has deselected the rest."""
    deselected = operation(Step.DONE, total=5000, completed=100)
    for witness in WITNESSES:
        assert judge(deselected, witness) is Outcome.SUCCEEDED
    later = operation(Step.DONE, valid=False, total=5000, completed=100)
    assert judge(later, Witness(alive=True, sealed=True)) is Outcome.SUCCEEDED


def test_users_who_are_counted_twice_cannot_hide_an_error() -> None:
    """`completed` may exceed the total."""
    assert judge(operation(Step.DONE, total=20, completed=40, failed=3), UNSEEN) is Outcome.COMPLETED_WITH_ERRORS


@pytest.mark.parametrize("step", SENT)
def test_progress_alone_tells_only_what_holds_either_way(step: Step) -> None:
    """It ignores validity: after a restart that killed an import it says that it imports, for ever."""
    told = told_by_progress(operation(step, valid=None, total=1000, completed=400))
    known = {Step.IMPORT_FAILED: Outcome.FAILED, Step.IMPORT_CANCELLED: Outcome.CANCELED}
    assert told is known.get(step, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("completed", "failed", "outcome"),
    [(1000, 0, Outcome.SUCCEEDED), (997, 3, Outcome.COMPLETED_WITH_ERRORS), (999, 0, Outcome.UNKNOWN)],
)
def test_progress_tells_of_the_end_where_the_counts_are_whole(completed: int, failed: int, outcome: Outcome) -> None:
    """Short of its total it may have been cut off, or deselected."""
    assert told_by_progress(operation(Step.DONE, valid=None, total=1000, completed=completed, failed=failed)) is outcome


def test_progress_without_counts_cannot_tell_the_end() -> None:
    """Servers before 6.3 say 0 of 0."""
    assert told_by_progress(operation(Step.DONE, valid=None)) is Outcome.UNKNOWN


def track(
    found: Operation,
    outcome: Outcome,
    *,
    cause: Cause | None = None,
    run_started: float | None = None,
    finished: float | None = None,
) -> Track:
    """An operation that came to this."""
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
    """For pages, logs and JSON: one line without a full stop, whatever is missing."""
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
def test_a_cut_off_import_says_where_when_and_why(cause: Cause, words: str) -> None:
    """The cause in a sentence."""
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
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_duration_is_spelt_in_its_two_greatest_units(seconds: float, text: str) -> None:
    """As people say it."""
    assert spell(seconds) == text


def test_the_groups_of_steps_do_not_overlap() -> None:
    """A step waits, loads or imports, or none of these."""
    assert not WAITING_STEPS & LOADING_STEPS
    assert not WAITING_STEPS & IMPORTING_STEPS
    assert not LOADING_STEPS & IMPORTING_STEPS


@pytest.mark.parametrize(("importer", "told"), [("api", "rejected or there already"), ("csv", "rejected")])
def test_of_an_api_import_the_sentence_does_not_call_everyone_rejected(importer: str, told: str) -> None:
    """An API import counts everyone who exists already as an error."""
    found = replace(operation(Step.DONE, total=8000, completed=5, failed=7995), importer=importer)
    assert sentence(track(found, Outcome.COMPLETED_WITH_ERRORS)) == f"completed with errors: 7,995 of 8,000 {told}"
