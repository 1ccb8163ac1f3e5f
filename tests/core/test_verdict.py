"""Tests of `verdict`: the state and the outcome that follow from an operation and from what was seen of it."""

from collections.abc import Mapping
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
from rc_import_exporter.core.snapshot import Cause, Evidence, Moment, Track
from rc_import_exporter.core.verdict import counts_twice, judge, sentence, spell, state_of, told_by_progress

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

UNSEEN: Final = Evidence()
ALIVE: Final = Evidence(alive=True)
CUT: Final = Evidence(alive=True, cut=True)
SEALED: Final = Evidence(alive=True, sealed=True)
SPARED: Final = Evidence(alive=True, next_at_end=True)
REPLACED: Final = Evidence(alive=True, next_before_end=True)
DOUBLING: Final = Evidence(doubles=True)
EVIDENCE: Final = tuple(
    Evidence(alive=alive, cut=cut, sealed=sealed, next_at_end=at, next_before_end=before, doubles=doubles)
    for alive, cut, sealed, at, before, doubles in product((False, True), repeat=6)
)


def operation(
    step: Step,
    *,
    valid: bool | None = True,
    total: int | None = None,
    completed: int | None = None,
    failed: int | None = None,
    messages: int | None = None,
    users: int | None = None,
    as_text: bool = True,
) -> Operation:
    """An operation with these counts, or with none at all if none is given."""
    counts = Counts(
        total=total,
        completed=completed,
        failed=failed,
        staged={kind: n for kind, n in ((Kind.MESSAGES, messages), (Kind.USERS, users)) if n is not None},
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
    """A finished operation of 1,000 records, 200 of them users: its counts may be 50 records behind."""
    return operation(Step.DONE, valid=valid, total=1000, completed=completed, failed=failed, users=200)


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
    for evidence, completed, failed in product(EVIDENCE, (0, 400, 2000), (0, 3)):
        counts = Counts(total=1000, completed=completed, failed=failed)
        assert judge(replace(operation(step), counts=counts), evidence) is if_valid
        assert judge(replace(operation(step, valid=False), counts=counts), evidence) is if_not


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
        pytest.param(1000, 0, False, UNSEEN, Outcome.SUCCEEDED, id="found, and everything was imported"),
        pytest.param(1000, 3, False, UNSEEN, Outcome.COMPLETED_WITH_ERRORS, id="the same, with rejected records"),
        pytest.param(997, 3, False, UNSEEN, Outcome.UNCONFIRMED, id="rejected users are among the completed"),
        pytest.param(999, 0, False, UNSEEN, Outcome.UNCONFIRMED, id="found one short: cut off, deselected, unwritten"),
        pytest.param(100, 0, False, UNSEEN, Outcome.UNCONFIRMED, id="found far short: cut off or deselected"),
        pytest.param(1199, 0, False, DOUBLING, Outcome.UNCONFIRMED, id="200 users that count twice could fill it"),
        pytest.param(1200, 0, False, DOUBLING, Outcome.SUCCEEDED, id="more than that cannot have been missing"),
        pytest.param(1190, 10, False, DOUBLING, Outcome.COMPLETED_WITH_ERRORS, id="the same, with rejected records"),
        pytest.param(949, 0, False, ALIVE, Outcome.INCOMPLETE, id="seen running, then 51 short: it was cut off"),
        pytest.param(946, 3, False, ALIVE, Outcome.INCOMPLETE, id="the same with rejected records"),
        pytest.param(950, 0, False, ALIVE, Outcome.UNCONFIRMED, id="50 short: perhaps only not written"),
        pytest.param(1000, 0, False, ALIVE, Outcome.UNCONFIRMED, id="none short, but users may count twice"),
        pytest.param(1200, 0, False, CUT, Outcome.INCOMPLETE, id="seen cut off: no count makes up for it"),
        pytest.param(999, 0, False, Evidence(cut=True), Outcome.INCOMPLETE, id="first seen cut off: the same"),
        pytest.param(100, 0, False, SPARED, Outcome.SUCCEEDED, id="the next import's creation made it invalid"),
        pytest.param(97, 3, False, SPARED, Outcome.COMPLETED_WITH_ERRORS, id="the same, with rejected records"),
        pytest.param(1200, 0, False, REPLACED, Outcome.INCOMPLETE, id="written after the next import's creation"),
        pytest.param(100, 0, False, SEALED, Outcome.SUCCEEDED, id="seen done while valid: what came later is nothing"),
        pytest.param(100, 3, False, SEALED, Outcome.COMPLETED_WITH_ERRORS, id="the same, with rejected records"),
    ],
)
def test_done_is_judged_by_counts_validity_and_what_was_seen(
    completed: int, failed: int, seen: Evidence, outcome: Outcome, *, valid: bool
) -> None:
    """Rocket.Chat says "done" of an import that ended well, of one with errors, and of one that was cut off."""
    assert judge(done(completed, failed, valid=valid), seen) is outcome


records = st.integers(0, 1200)
evidences = st.sampled_from(EVIDENCE)


@given(completed=records, failed=records, valid=st.booleans(), seen=evidences)
def test_more_records_never_make_a_verdict_worse(*, completed: int, failed: int, valid: bool, seen: Evidence) -> None:
    """Users of file imports are counted twice, so the counts may go beyond the total."""
    if judge(done(completed, failed, valid=valid), seen) is not Outcome.INCOMPLETE:
        for more in ((completed + 1, failed), (completed, failed + 1), (2 * completed, failed)):
            assert judge(done(*more, valid=valid), seen) is not Outcome.INCOMPLETE


@given(completed=records, failed=records, valid=st.booleans(), seen=evidences)
def test_no_import_that_was_seen_cut_off_is_a_success(
    *, completed: int, failed: int, valid: bool, seen: Evidence
) -> None:
    if seen.cut and not seen.sealed and not valid:
        assert judge(done(completed, failed, valid=valid), seen) is Outcome.INCOMPLETE


@given(completed=records, failed=records, seen=evidences)
def test_only_evidence_makes_an_invalid_end_a_success(*, completed: int, failed: int, seen: Evidence) -> None:
    """Without it the exporter says that it cannot tell."""
    judged = judge(done(completed, failed, valid=False), seen)
    if judged in (Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS):
        assert seen.sealed or seen.next_at_end or (not seen.alive and completed + failed >= 1000)


def test_every_outcome_of_an_operation_can_occur() -> None:
    """An outcome that never occurs would be a dead row in tables and dashboards. `none` means no operation."""
    reached = {
        judge(operation(step, valid=valid, total=1000, completed=100, failed=failed), seen)
        for step, valid, failed, seen in product(STEPS, (True, False), (0, 1), (UNSEEN, CUT))
    }
    assert reached == set(Outcome) - {Outcome.NONE}


@pytest.mark.parametrize(
    ("messages", "as_text", "slack"),
    [(None, True, 50), (0, True, 50), (1, True, 500), (None, False, 500), (5000, False, 500)],
)
def test_counts_may_be_one_write_behind(messages: int | None, *, as_text: bool, slack: int) -> None:
    """Servers write counts every 50 records, every 500 with messages, and before 6.3 (dates as numbers) every 500."""
    for short, outcome in ((slack, Outcome.UNCONFIRMED), (slack + 1, Outcome.INCOMPLETE)):
        found = operation(
            Step.DONE, valid=False, total=9000, completed=9000 - short, messages=messages, as_text=as_text
        )
        assert judge(found, ALIVE) is outcome


def test_an_operation_without_a_total_has_nothing_missing() -> None:
    assert judge(operation(Step.DONE, valid=False), UNSEEN) is Outcome.SUCCEEDED
    assert judge(operation(Step.DONE, valid=False, completed=5), UNSEEN) is Outcome.SUCCEEDED
    assert judge(operation(Step.DONE, valid=False), ALIVE) is Outcome.UNCONFIRMED


@pytest.mark.parametrize(
    ("importer", "version", "as_text", "twice"),
    [
        ("csv", "8.6", True, True),
        ("csv", "7.0", True, True),
        ("csv", "6.13", True, False),
        ("csv", "10.1", True, True),
        ("csv", None, True, True),
        ("csv", "nightly", True, True),
        ("csv", "8.6", False, False),
        ("api", "8.6", True, False),
    ],
)
def test_users_count_twice_in_file_imports_since_7_0(
    importer: str, version: str | None, *, as_text: bool, twice: bool
) -> None:
    """An operation whose date is a number was created before 6.3, whatever the server is now."""
    assert counts_twice(replace(operation(Step.DONE, as_text=as_text), importer=importer), version) is twice


@pytest.mark.parametrize("step", STEPS)
def test_progress_tells_only_what_holds_whether_valid_or_not(step: Step) -> None:
    """`getImportProgress` ignores validity: it says "importing" for ever of an import that a restart has killed."""
    told = told_by_progress(operation(step, valid=None, total=1000, completed=400), None)
    known = {Step.IMPORT_FAILED: Outcome.FAILED, Step.IMPORT_CANCELLED: Outcome.CANCELED}
    assert told is known.get(step, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("importer", "version", "completed", "failed", "outcome"),
    [
        ("api", "8.6", 1000, 0, Outcome.SUCCEEDED),
        ("api", "8.6", 997, 3, Outcome.COMPLETED_WITH_ERRORS),
        ("api", "8.6", 999, 0, Outcome.UNKNOWN),
        ("csv", "8.6", 1999, 0, Outcome.UNKNOWN),
        ("csv", None, 1999, 0, Outcome.UNKNOWN),
        ("csv", "8.6", 2000, 0, Outcome.SUCCEEDED),
        ("csv", "6.13", 1000, 0, Outcome.SUCCEEDED),
        ("csv", "6.13", 1000, 3, Outcome.COMPLETED_WITH_ERRORS),
        ("csv", "6.13", 997, 3, Outcome.UNKNOWN),
    ],
)
def test_progress_tells_the_end_if_all_records_are_counted(
    importer: str, version: str | None, completed: int, failed: int, outcome: Outcome
) -> None:
    """If records are missing, either an administrator deselected them or the import was cut off.

    It does not say how many records are users, which count twice in file imports since 7.0: all may be.
    """
    found = operation(Step.DONE, valid=None, total=1000, completed=completed, failed=failed, as_text=False)
    assert told_by_progress(replace(found, importer=importer), version) is outcome


def test_progress_without_counts_cannot_tell_the_end() -> None:
    """Servers before 6.3 report 0 of 0."""
    assert told_by_progress(operation(Step.DONE, valid=None), None) is Outcome.UNKNOWN


def track(
    found: Operation,
    outcome: Outcome,
    *,
    cause: Cause | None = None,
    run: Moment | None = None,
    end: Moment | None = None,
) -> Track:
    return Track(
        operation=found,
        state=state_of(found),
        outcome=outcome,
        evidence=UNSEEN,
        expected=False,
        counted=frozenset(),
        cause=cause,
        run_start=run,
        end=end,
    )


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("cause", [None, *Cause])
def test_every_verdict_has_a_sentence(outcome: Outcome, cause: Cause | None) -> None:
    """Pages, logs and the JSON show it as one line: it has no line break and no full stop, whatever is unknown."""
    for found in (operation(Step.DONE, valid=False), operation(Step.NEW, total=0), operation(Step.DONE, completed=1)):
        told = sentence(track(found, outcome, cause=cause))
        assert told
        assert "\n" not in told
        assert "None" not in told
        assert not told.endswith(".")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause.RESTARTED, "the server that ran it stopped or crashed"),
        (Cause.SUPERSEDED, "another import took its place"),
        (Cause.INVALIDATED, "an administrator cleared it, or another server of the cluster started"),
        (Cause.CLEARED, "an administrator cleared it"),
        (
            Cause.UNCERTAIN,
            "the server restarted, another server of the cluster started, or an administrator cleared it",
        ),
    ],
)
def test_the_sentence_of_a_cut_off_import_says_how_far_how_long_and_why(cause: Cause, words: str) -> None:
    found = operation(Step.DONE, valid=False, total=5020, completed=1500)
    told = sentence(track(found, Outcome.INCOMPLETE, cause=cause, run=at(1000), end=at(1000 + 42 * 60)))
    assert told == f"cut off at 1,500 or more of 5,020 records, ran 42 min: {words}"


def at(instant: float) -> Moment:
    return Moment(earliest=instant, latest=instant, seen=True)


def soon(earliest: float, latest: float) -> Moment:
    """Between two polls."""
    return Moment(earliest=earliest, latest=latest, seen=True)


def between(earliest: float, latest: float) -> Moment:
    return Moment(earliest=earliest, latest=latest, seen=False)


@pytest.mark.parametrize(
    ("run", "end", "words"),
    [
        (at(1100), at(1280), ", ran 3 min"),
        (at(1100), between(1690, 1715), ", ran about 10 min"),
        (at(1100), between(1200, 1225), ", ran about 1 min"),
        (at(1100), between(1200, 1230), ", ran at most 2 min"),
        (at(1100), between(1160, 5900), ", ran at most 1 h 20 min"),
        (soon(1086, 1100), at(1280), ", ran 3 min"),
        (soon(1086, 1100), at(1108), ", ran at least 8 s"),
        (soon(1086, 1100), at(1101), ", ran at least 1 s"),
        (soon(1086, 1100), at(1100), ", ran at most 14 s"),
        (between(1000, 11_800), at(11_820), ", ran at least 20 s"),
        (between(1000, 11_800), at(11_801), ", ran at least 1 s"),
        (between(1000, 6400), at(6400), ", 1 h 30 min after it was created"),
        (None, at(1180), ", 3 min after it was created"),
        (None, at(1001), ", 1 s after it was created"),
        (None, between(1000, 9000), ""),
        (at(1100), None, ""),
        (None, at(1000), ""),
    ],
)
def test_a_duration_says_what_it_is_counted_from_and_whether_it_is_a_bound(
    run: Moment | None, end: Moment | None, words: str
) -> None:
    """A run of 3 s after an hour of waiting must not look like a run of an hour.

    A time that was not seen is shown as a bound.
    """
    found = operation(Step.DONE, total=10, completed=10)
    assert sentence(track(found, Outcome.SUCCEEDED, run=run, end=end)) == f"succeeded: all 10 records{words}"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELED, Outcome.INTERRUPTED])
def test_an_end_before_the_first_count_is_told_in_words(outcome: Outcome) -> None:
    """Servers write no counts before something is loaded."""
    told = sentence(track(replace(operation(Step.DONE), counts=None), outcome))
    assert " before any record was counted" in told


@pytest.mark.parametrize(
    ("found", "outcome", "told"),
    [
        (operation(Step.NEW), Outcome.WAITING, "was created, and waits"),
        (operation(Step.USER_SELECTION), Outcome.WAITING, "waits to be started"),
        (operation(Step.PREPARING_USERS), Outcome.LOADING, "loads its data"),
        (operation(Step.PREPARING_USERS, total=2100), Outcome.LOADING, "loads its data: 2,100 records so far"),
        (operation(Step.IMPORTING_USERS, total=1, completed=0), Outcome.RUNNING, "importing: 0 of 1 record"),
        (operation(Step.DONE, total=1, completed=1), Outcome.SUCCEEDED, "succeeded: 1 record"),
        (operation(Step.IMPORTING_USERS, completed=7), Outcome.RUNNING, "importing: 7 records"),
        (operation(Step.IMPORTING_USERS), Outcome.RUNNING, "importing: no record counted"),
        (
            operation(Step.USER_SELECTION, valid=False),
            Outcome.DISCARDED,
            (
                "discarded before it ran: the server restarted, another server of the cluster started, or an "
                "administrator cleared it"
            ),
        ),
        (
            operation(Step.DONE, valid=False, total=10, completed=10),
            Outcome.INCOMPLETE,
            (
                "cut off at 10 of 10 records: the server restarted, another server of the cluster started, or an "
                "administrator cleared it"
            ),
        ),
    ],
)
def test_a_sentence_tells_what_is_known(found: Operation, outcome: Outcome, told: str) -> None:
    assert sentence(track(found, outcome)) == told


def test_an_unconfirmed_end_says_what_cannot_be_told() -> None:
    short = track(operation(Step.DONE, valid=False, total=9000, completed=180), Outcome.UNCONFIRMED)
    whole = track(operation(Step.DONE, valid=False, total=10, completed=10), Outcome.UNCONFIRMED)
    doubt = "it cannot be told whether it was cut off"
    assert sentence(short) == f"done by its own word, 180 of 9,000 records; {doubt} or records were deselected"
    assert sentence(whole) == f"done by its own word, 10 of 10 records; {doubt}"


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


@pytest.mark.parametrize(
    ("completed", "users", "doubles", "words"),
    [
        (20_640, 300, True, "all 20,340 records"),
        (20_340, 300, False, "all 20,340 records"),
        (20_340, 300, True, "20,340 of 20,340 records"),
        (20_400, 300, True, "counted 20,400 for 20,340 records"),
        (19_900, 300, False, "19,900 of 20,340 records"),
    ],
)
def test_a_success_counts_no_more_records_than_exist(completed: int, users: int, *, doubles: bool, words: str) -> None:
    """Users of a file import count twice, so more than the total is normal, and the total alone may be too few."""
    counts = Counts(total=20_340, completed=completed, staged={Kind.USERS: users})
    found = track(replace(operation(Step.DONE), counts=counts), Outcome.SUCCEEDED)
    told = sentence(replace(found, evidence=replace(UNSEEN, doubles=doubles)))
    assert told == f"succeeded: {words}"


@pytest.mark.parametrize(
    ("staged", "words"),
    [
        ({Kind.USERS: 300, Kind.MESSAGES: 20_000}, "41 of 300 users rejected"),
        ({Kind.USERS: 300, Kind.CONTACTS: 10}, "41 of 310 users and contacts rejected"),
        ({Kind.CONTACTS: 50}, "41 of 50 contacts rejected"),
        ({}, "41 of 20,300 rejected"),
    ],
)
def test_rejections_are_told_of_the_people(staged: Mapping[Kind, int], words: str) -> None:
    """Rocket.Chat rejects only users and contacts. A share of all records would look harmless."""
    counts = Counts(total=20_300, completed=20_300, failed=41, staged=staged)
    found = replace(operation(Step.DONE), counts=counts)
    assert sentence(track(found, Outcome.COMPLETED_WITH_ERRORS)) == f"done with errors: {words}"


@pytest.mark.parametrize(("importer", "told"), [("api", "rejected or there already"), ("csv", "rejected")])
def test_the_sentence_of_an_api_import_does_not_call_existing_users_rejected(importer: str, told: str) -> None:
    """An API import counts each user who already exists as an error."""
    found = replace(operation(Step.DONE, total=8000, completed=5, failed=7995), importer=importer)
    assert sentence(track(found, Outcome.COMPLETED_WITH_ERRORS)) == f"done with errors: 7,995 of 8,000 {told}"
