"""Tests of `domain`: what its values compute from themselves."""

import pytest

from rc_import_exporter.core.domain import (
    FEEDS,
    Api,
    Counts,
    Exchange,
    Failure,
    InfoAnswer,
    ListAnswer,
    Poll,
    Reason,
    Result,
    State,
    StatusAnswer,
    Success,
)


def failed(api: Api) -> Failure:
    return Failure(exchange=Exchange(api=api, code=None, seconds=0.1), reason=Reason.TIMEOUT, detail="")


STATUS = Success(
    exchange=Exchange(api=Api.STATUS, code=200, seconds=0.1), answer=StatusAnswer(state=State.NONE, operation=None)
)
LIST = Success(exchange=Exchange(api=Api.LIST, code=200, seconds=0.1), answer=ListAnswer(operations=()))
INFO = Success(exchange=Exchange(api=Api.INFO, code=200, seconds=0.1), answer=InfoAnswer(version="8.6"))


@pytest.mark.parametrize(
    ("completed", "failed", "processed"), [(None, None, 0), (3, None, 3), (None, 2, 2), (3, 2, 5), (0, 0, 0)]
)
def test_processed_records_are_the_completed_and_the_failed(
    completed: int | None, failed: int | None, processed: int
) -> None:
    """Rocket.Chat leaves a count out until it is first written."""
    assert Counts(total=9, completed=completed, failed=failed).processed == processed


@pytest.mark.parametrize(
    ("results", "answered"),
    [
        ((STATUS, LIST), True),
        ((failed(Api.STATUS), LIST), True),
        ((STATUS, failed(Api.LIST)), True),
        ((LIST,), True),
        ((failed(Api.STATUS), failed(Api.LIST), INFO), False),
        ((), False),
    ],
)
def test_one_feed_is_enough_for_an_answer(results: tuple[Result, ...], *, answered: bool) -> None:
    assert Poll(started=0.0, ended=0.1, results=results, exchanges=()).answered is answered


def test_a_poll_gives_the_result_of_each_endpoint_that_was_asked() -> None:
    poll = Poll(started=0.0, ended=0.1, results=(STATUS, INFO), exchanges=())
    assert [poll.of(api) for api in (*FEEDS, Api.INFO)] == [STATUS, None, INFO]
