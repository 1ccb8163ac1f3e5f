"""What the page and the alerts say about small histories that are easily described wrongly.

Times are seconds since `START`, as in `test_truth`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import pytest

from rc_import_exporter.core.domain import (
    Api,
    Expectation,
    Failure,
    InfoAnswer,
    Kind,
    Operation,
    Reason,
    Result,
    Step,
    Success,
)
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import fold
from rc_import_exporter.web.fields import Level, WorkspaceView
from rc_import_exporter.web.view import view
from tests.laws.server_truth import START
from tests.laws.test_truth import IMPORTING, NOTHING, Shown, doc, poll

DONE: Final = doc("O", Step.DONE, ts=-9000, upd=-8000, counts=(100, 100, 0))


def read(record: Record, at: float, shown: Shown, *, forbidden: Iterable[Api] = ()) -> Record:
    """The record after a poll with a token that may not use some endpoints."""
    told = poll(at, shown)
    results: list[Result] = [
        Failure(exchange=each.exchange, reason=Reason.FORBIDDEN, detail="no permission", by_rocketchat=True)
        if each.exchange.api in forbidden
        else each
        for each in told.results
    ]
    return fold(record, replace(told, results=tuple(results)))


def page(record: Record, at: float) -> WorkspaceView:
    return view(record, START + at)


def texts(seen: WorkspaceView) -> list[str]:
    return [each.text for each in seen.remarks]


def full(*newest: Operation) -> list[Operation]:
    """A list of 20: these, and others that are older."""
    others = [doc(f"old{n}", Step.DONE, ts=-90_000 + n, upd=5, valid=False) for n in range(20 - len(newest))]
    return [*newest, *others]


@pytest.mark.parametrize("forbidden", [[], [Api.STATUS], [Api.LIST]])
def test_a_workspace_without_imports_lacks_nothing(forbidden: list[Api]) -> None:
    seen = page(read(NOTHING, 0, [], forbidden=forbidden), 0)
    assert (seen.title, seen.level, texts(seen)) == ("Nothing imported yet", Level.QUIET, [])


@pytest.mark.parametrize("forbidden", [[], [Api.STATUS], [Api.LIST]])
def test_an_emptied_database_holds_no_operation(forbidden: list[Api]) -> None:
    record = read(read(NOTHING, 0, [IMPORTING], forbidden=forbidden), 15, [], forbidden=forbidden)
    seen = page(record, 15)
    assert (seen.title, seen.level, texts(seen)) == ("No operation", Level.QUIET, [])
    assert "Nothing" not in seen.sentence


def test_a_read_only_token_s_list_that_lacks_the_newest_is_said_so() -> None:
    """After a restart that wrote to more than 20 operations."""
    record = read(NOTHING, 0, full(IMPORTING), forbidden=[Api.STATUS])
    assert texts(page(record, 0)) == []
    record = read(record, 15, full(), forbidden=[Api.STATUS])
    (said,) = texts(page(record, 15))
    assert "lacks the newest" in said


def test_an_import_that_runs_beside_the_newest_is_named() -> None:
    """Nobody may restart the server then, and must see why."""
    runs = doc("B", Step.IMPORTING_USERS, ts=-20, upd=14, importer="slack", counts=(100, 50, 0))
    seen = page(read(NOTHING, 15, [doc("A", Step.DONE, ts=0, upd=9, counts=(5, 5, 0)), runs]), 15)
    assert seen.restart_safe is False
    assert seen.level is Level.ACTIVE
    assert texts(seen) == ["Another import goes on as well: slack"]


def test_a_wait_whose_start_was_not_seen_is_at_least_as_long_as_since_the_last_write() -> None:
    """An API import counts while it waits."""
    counts = (100, None, None)
    api = doc("A", Step.USER_SELECTION, ts=0, upd=900, importer="api", counts=counts)
    assert texts(page(read(NOTHING, 16_000, [api]), 16_000)) == [
        "It has been waiting to be started for at least 4 h 11 min"
    ]
    csv = doc("A", Step.USER_SELECTION, ts=0, upd=900, counts=counts)
    assert texts(page(read(NOTHING, 16_000, [csv]), 16_000)) == ["It has been waiting to be started for 4 h 11 min"]


def test_an_unconfirmed_import_that_processed_all_is_no_missing_success() -> None:
    """Overdue counts it, so the page does too."""
    nightly = replace(NOTHING, target=replace(NOTHING.target, expect=Expectation(success_every=3600)))
    users = {Kind.USERS: 100}
    found = doc("A", Step.DONE, ts=100, upd=900, valid=False, counts=(100, 100, 0), staged=users)
    record = read(read(nightly, 0, []), 1000, [found])
    assert texts(page(record, 1000)) == []
    late = page(read(record, 4900, [found]), 4900)
    assert late.alerts == ("Unconfirmed", "Overdue")
    assert texts(late) == ["The last complete import is at most 1 h 20 min ago, but one is expected every 1 h"]
    short = replace(found, counts=doc("A", Step.DONE, ts=0, upd=0, counts=(100, 99, 0), staged=users).counts)
    record = read(read(nightly, 0, []), 1000, [short])
    assert texts(page(record, 1000)) == ["No success is known, but one is expected every 1 h"]


@pytest.mark.parametrize(
    ("importer", "version", "counts", "reason"),
    [
        ("csv", "8.6", (100, 130, 5), "counts the users of a file import twice"),
        ("csv", "6.13", (100, 100, 5), "counts a rejected user as completed, too"),
        ("slack", "6.13", (100, 130, 5), "does not count attachments in it"),
        ("slack", "8.6", (100, 179, 0), "does not count attachments in it"),
        ("api", "8.6", (100, 95, 5), ""),
    ],
)
def test_more_than_the_total_is_explained_by_what_can_be(
    importer: str, version: str, counts: tuple[int, int, int], reason: str
) -> None:
    done = doc("A", Step.DONE, ts=0, upd=9, importer=importer, counts=counts, staged={Kind.USERS: 40})
    told = poll(15, [done])
    results = [
        replace(each, answer=InfoAnswer(version=version))
        if isinstance(each, Success) and each.exchange.api is Api.INFO
        else each
        for each in told.results
    ]
    said = [text for text in texts(page(fold(NOTHING, replace(told, results=tuple(results))), 15)) if "total" in text]
    assert [text.endswith(reason) for text in said] == ([True] if reason else [])


@pytest.mark.parametrize("forbidden", [[], [Api.LIST]])
def test_what_a_restored_database_lacks_forbids_no_restart(forbidden: list[Api]) -> None:
    """The status names an operation that is older, so what ran is gone, though the list of 20 may lack some."""
    record = read(NOTHING, 0, full(DONE, IMPORTING), forbidden=forbidden)
    assert page(record, 0).restart_safe is False
    seen = page(read(record, 15, full(DONE), forbidden=forbidden), 15)
    assert (seen.restart_safe, seen.title) == (True, "Succeeded")
