"""Tests of `journal`: each change is one line of the log, and what stays the same is none."""

from collections.abc import Sequence
from dataclasses import replace
from logging import ERROR, INFO, WARNING
from typing import Final

import pytest

from rc_import_exporter.core.domain import (
    FEEDS,
    Api,
    Counts,
    Exchange,
    Failure,
    ListAnswer,
    Operation,
    Poll,
    ProgressAnswer,
    Reason,
    Result,
    StatusAnswer,
    Step,
    Success,
    Target,
)
from rc_import_exporter.core.journal import LogEntry, entries
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import fold
from rc_import_exporter.core.verdict import state_of

START: Final = 1_800_000_000.0


def operation(step: Step, *, at: float, name: str = "a", valid: bool = True, failed: int = 0) -> Operation:
    """An operation of 100 records."""
    counts = Counts(total=100, completed=100 - failed, failed=failed)
    return Operation(
        id=name,
        importer="csv",
        step=step,
        valid=valid,
        created=START + 1 + ord(name),
        dated_as_text=True,
        updated=START + at,
        counts=counts,
    )


def showing(*seen: Operation) -> Sequence[Result]:
    """Both feeds show these operations, the newest first."""
    status = StatusAnswer(state=state_of(seen[0]), operation=seen[0])
    return [
        Success(exchange=Exchange(api=Api.STATUS, code=200, seconds=0.1), answer=status),
        Success(exchange=Exchange(api=Api.LIST, code=200, seconds=0.1), answer=ListAnswer(operations=seen)),
    ]


def failing(*apis: Api, reason: Reason = Reason.CONNECTION) -> Sequence[Result]:
    """These endpoints fail for one reason."""
    return [
        Failure(exchange=Exchange(api=api, code=None, seconds=0.1), reason=reason, detail="made for a test")
        for api in apis
    ]


def told(*polls: Sequence[Result]) -> list[list[LogEntry]]:
    """The entries after each poll."""
    record, written = Record(target=Target(name="acme", url="u")), []
    for index, results in enumerate(polls):
        at = START + 200 + 15 * index
        after = fold(record, Poll(started=at, ended=at + 0.1, results=tuple(results), exchanges=()))
        written.append(list(entries(record, after)))
        record = after
    return written


def events(written: list[LogEntry]) -> list[tuple[int, str]]:
    return [(entry.level, entry.event) for entry in written]


RUNS: Final = showing(operation(Step.IMPORTING_USERS, at=150))
GONE: Final = failing(Api.STATUS, Api.LIST)


def test_a_state_is_logged_when_it_changes_and_not_again() -> None:
    first, second = told(RUNS, RUNS)
    assert events(first) == [(INFO, "import state")]
    assert second == []


def test_a_change_of_state_is_logged_with_the_state_before() -> None:
    _, changed = told(RUNS, showing(operation(Step.DONE, at=190)))
    assert dict(changed[-1].fields) == {
        "state": "done",
        "was": "importing",
        "step": "done",
        "source": "import.status",
        "outcome": "succeeded",
        "importer": "csv",
        "operation_id": "a",
    }


def test_the_state_told_by_progress_is_logged_without_an_operation() -> None:
    """`getImportProgress` names none."""
    seen = Operation(id="", importer="csv", step=Step.IMPORTING_USERS, valid=None)
    progress = Success(
        exchange=Exchange(api=Api.PROGRESS, code=200, seconds=0.1), answer=ProgressAnswer(operation=seen)
    )
    (written,) = told([*failing(*FEEDS, reason=Reason.FORBIDDEN), progress])
    assert dict(written[-1].fields) == {
        "state": "importing",
        "step": "importing_users",
        "source": "getImportProgress",
    }


def test_an_import_that_starts_is_logged_only_as_a_change_of_state() -> None:
    ended = operation(Step.DONE, at=100, name="a")
    _, started = told(showing(ended), showing(operation(Step.IMPORTING_USERS, at=210, name="b"), ended))
    assert events(started) == [(INFO, "import state")]


@pytest.mark.parametrize(
    ("results", "entry"),
    [
        (
            [*failing(Api.STATUS, reason=Reason.FORBIDDEN), RUNS[1]],
            (INFO, "endpoint refused, another one is enough"),
        ),
        ([*failing(Api.STATUS, reason=Reason.TIMEOUT), RUNS[1]], (WARNING, "poll failed")),
        (failing(*FEEDS, reason=Reason.FORBIDDEN), (WARNING, "poll failed")),
    ],
)
def test_a_refused_endpoint_is_a_warning_only_if_no_other_one_tells_the_state(
    results: Sequence[Result], entry: tuple[int, str]
) -> None:
    """A token without one of the permissions is a supported setup, and its log must not look like a problem."""
    (written,) = told(results)
    assert events(written)[0] == entry


def test_endpoints_that_fail_for_the_same_reason_share_one_line() -> None:
    """A server that is down for a night must not fill the log."""
    _, lost, still, back = told(RUNS, GONE, GONE, RUNS)
    assert events(lost) == [(WARNING, "poll failed")]
    assert lost[0].fields["api"] == "import.status,getLatestImportOperations"
    assert still == []
    assert events(back) == [(INFO, "poll succeeds again")]


def test_a_new_reason_is_logged() -> None:
    """Someone may have repaired one problem and now meets the next."""
    _, other = told(GONE, failing(Api.STATUS, Api.LIST, reason=Reason.UNAUTHORIZED))
    assert [entry.fields["reason"] for entry in other] == [Reason.UNAUTHORIZED]


def test_the_log_level_follows_from_the_outcome() -> None:
    ends = {
        (Step.DONE, True, 0): INFO,
        (Step.DONE, True, 3): WARNING,
        (Step.IMPORT_CANCELLED, True, 0): WARNING,
        (Step.IMPORT_FAILED, True, 0): ERROR,
        (Step.IMPORTING_USERS, False, 0): ERROR,
    }
    for (step, valid, failed), level in ends.items():
        _, written = told(RUNS, showing(operation(step, at=190, valid=valid, failed=failed)))
        assert written[0].level is level
        assert written[0].event.startswith("import ")


def test_an_import_that_came_and_went_between_two_polls_is_logged() -> None:
    """Operations of the first poll are not logged: they ended before the exporter looked."""
    old = operation(Step.DONE, at=100, name="a")
    first, second = told(showing(old), showing(operation(Step.DONE, at=210, name="b"), old))
    assert [entry.event for entry in first] == ["import state"]
    assert [entry.fields["operation_id"] for entry in second] == ["b"]


def test_a_list_of_a_thousand_ends_is_a_hundred_lines_and_their_sum() -> None:
    """A server that shows other operations at each poll must not fill the log."""

    def another(poll: int) -> list[Operation]:
        first = operation(Step.DONE, at=100)
        created = [START + 1000 * poll + number for number in range(1000)]
        return [replace(first, id=f"{at:.0f}", created=at, updated=at + 1) for at in reversed(created)]

    _, *later = told(showing(operation(Step.DONE, at=100)), showing(*another(1)), showing(*another(2)))
    for poll, written in enumerate(later, start=1):
        ends = [entry.fields["operation_id"] for entry in written if entry.event.startswith("import succeeded")]
        assert ends == [f"{START + 1000 * poll + number:.0f}" for number in range(900, 1000)]
        (rest,) = [entry for entry in written if entry.event.startswith("more imports ended")]
        assert (rest.level, rest.fields["count"]) == (WARNING, "900")


def test_an_import_that_is_cut_off_is_one_line() -> None:
    """The server writes more counts and `done` a moment later. In the log that is one event."""
    cut = operation(Step.IMPORTING_USERS, at=190, valid=False)
    _, first, second = told(RUNS, showing(cut), showing(operation(Step.DONE, at=192, valid=False, failed=3)))
    (entry,) = first
    assert entry.event.startswith("import cut off")
    assert (entry.fields["state"], entry.fields["was"]) == ("error", "importing")
    assert second == []


def test_the_end_of_an_import_is_one_line() -> None:
    _, ended = told(RUNS, showing(operation(Step.DONE, at=190)))
    (entry,) = ended
    assert entry.event.startswith("import succeeded: all 100 records")


def test_a_state_that_an_older_import_has_again_is_logged() -> None:
    """A restored database takes the newest import away: no import ended."""
    ended = operation(Step.DONE, at=100, name="a")
    _, _, restored = told(
        showing(ended), showing(operation(Step.IMPORTING_USERS, at=210, name="b"), ended), showing(ended)
    )
    assert [(entry.event, entry.fields["state"]) for entry in restored] == [("import state", "done")]
