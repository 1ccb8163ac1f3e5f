"""Changes are logged once, and nothing is repeated."""

from collections.abc import Sequence
from logging import ERROR, INFO, WARNING
from typing import Final

from rc_import_exporter.core.domain import (
    Api,
    Counts,
    Exchange,
    Failure,
    ListAnswer,
    Operation,
    Poll,
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
    """Answers of both feeds about these operations, the newest first."""
    status = StatusAnswer(state=state_of(seen[0]), operation=seen[0])
    return [
        Success(exchange=Exchange(api=Api.STATUS, code=200, seconds=0.1), answer=status),
        Success(exchange=Exchange(api=Api.LIST, code=200, seconds=0.1), answer=ListAnswer(operations=seen)),
    ]


def failing(*apis: Api, reason: Reason = Reason.CONNECTION) -> Sequence[Result]:
    """These endpoints, failing for the same reason."""
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
    """The level and the text of each entry."""
    return [(entry.level, entry.event) for entry in written]


RUNS: Final = showing(operation(Step.IMPORTING_USERS, at=150))
GONE: Final = failing(Api.STATUS, Api.LIST)


def test_a_state_that_stays_is_no_line() -> None:
    """An import of a day must not fill the log."""
    first, second = told(RUNS, RUNS)
    assert events(first) == [(INFO, "import state")]
    assert second == []


def test_endpoints_that_fail_alike_are_one_line() -> None:
    """One outage is one line, and its end is another."""
    _, lost, still, back = told(RUNS, GONE, GONE, RUNS)
    assert events(lost) == [(WARNING, "poll failed")]
    assert lost[0].fields["api"] == "import.status,getLatestImportOperations"
    assert still == []
    assert events(back) == [(INFO, "poll succeeds again")]


def test_another_reason_is_another_line() -> None:
    """A new reason can show that a repair worked in part."""
    _, other = told(GONE, failing(Api.STATUS, Api.LIST, reason=Reason.UNAUTHORIZED))
    assert [entry.fields["reason"] for entry in other] == [Reason.UNAUTHORIZED]


def test_an_end_is_as_loud_as_it_is_bad() -> None:
    """Levels decide which lines wake someone."""
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


def test_an_operation_that_came_and_went_is_told() -> None:
    """An import can start and end between two polls; those from before the start are not news."""
    old = operation(Step.DONE, at=100, name="a")
    first, second = told(showing(old), showing(operation(Step.DONE, at=210, name="b"), old))
    assert [entry.event for entry in first] == ["import state"]
    assert [entry.fields["operation_id"] for entry in second] == ["b"]
