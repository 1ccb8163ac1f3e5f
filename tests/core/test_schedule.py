"""When each endpoint is called: the intervals, the rests and the waits after each kind of answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from rc_import_exporter.core import schedule
from rc_import_exporter.core.domain import (
    Answer,
    Api,
    Budget,
    Exchange,
    Failure,
    InfoAnswer,
    ListAnswer,
    Operation,
    Poll,
    ProgressAnswer,
    Reason,
    Result,
    State,
    StatusAnswer,
    Step,
    Success,
    Target,
)
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import fold
from rc_import_exporter.core.verdict import state_of

START: Final = 1_800_000_000.0
LARGE: Final = 300_000
FEEDS: Final = frozenset({Api.STATUS, Api.LIST})
Answering = Callable[[Api, float], Result]
"""What an endpoint's call comes to, so many seconds after the start."""


def operation(name: str = "a", step: Step = Step.IMPORTING_USERS) -> Operation:
    """A valid operation."""
    return Operation(id=name, importer="csv", step=step, valid=True, created=START + ord(name), updated=START)


def good(api: Api, seen: Operation | None = None, *, size: int = 900, budget: Budget | None = None) -> Success:
    """The endpoint's answer about this operation, or about none."""
    answers: dict[Api, Answer] = {
        Api.STATUS: StatusAnswer(state=State.NONE if seen is None else state_of(seen), operation=seen),
        Api.LIST: ListAnswer(operations=() if seen is None else (seen,)),
        Api.PROGRESS: ProgressAnswer(operation=None if seen is None else replace(seen, id="", valid=None)),
        Api.INFO: InfoAnswer(version="8.6"),
    }
    exchange = Exchange(api=api, code=200, seconds=0.1, size=size, budget=budget)
    return Success(exchange=exchange, answer=answers[api])


def bad(api: Api, reason: Reason, *, ours: bool = False, budget: Budget | None = None) -> Failure:
    """A call that failed."""
    exchange = Exchange(api=api, code=None, seconds=0.1, budget=budget)
    return Failure(exchange=exchange, reason=reason, detail="", by_rocketchat=ours)


def asked(
    answering: Answering, until: float, target: Target | None = None, took: float = 0.1
) -> list[tuple[float, Api]]:
    """Every call that the schedule makes: how many seconds after the start, and to which endpoint, `info` left out.

    `took` is how many seconds each poll takes.
    """
    record = Record(target=target or Target(name="acme", url="u"))
    calls: list[tuple[float, Api]] = []
    at = 0.0
    while at <= until:
        started = START + at
        apis = sorted(schedule.due(record, started))
        if apis:
            results = [answering(api, at) for api in apis]
            poll = polled(results, started, took)
            if schedule.fallback_due(fold(record, poll), started) and Api.PROGRESS not in apis:
                poll = polled([*results, answering(Api.PROGRESS, at)], started, took)
            calls += [(round(at, 3), result.exchange.api) for result in poll.results]
            record = fold(record, poll)
        at = schedule.plan(record, started, started + took).next_poll - START
    return [(at, api) for at, api in calls if api is not Api.INFO]


def polled(results: Sequence[Result], started: float, took: float) -> Poll:
    """A poll with these results."""
    exchanges = tuple(result.exchange for result in results)
    return Poll(started=started, ended=started + took, results=tuple(results), exchanges=exchanges)


def of(calls: list[tuple[float, Api]], api: Api) -> list[float]:
    """The times of one endpoint's calls."""
    return [at for at, each in calls if each is api]


def gaps(instants: Sequence[float]) -> list[float]:
    """The seconds between them."""
    return [round(after - before, 3) for before, after in pairwise(instants)]


def importing(api: Api, at: float) -> Result:
    """Answers of both feeds about a running import."""
    return good(api, operation())


@pytest.mark.parametrize(
    ("step", "interval"),
    [
        (Step.NEW, 15),
        (Step.USER_SELECTION, 15),
        (Step.PREPARING_USERS, 15),
        (Step.IMPORTING_USERS, 15),
        (Step.DONE, 60),
        (Step.IMPORT_FAILED, 60),
        (Step.UNKNOWN, 15),
        (None, 60),
    ],
)
def test_an_idle_workspace_is_left_in_peace(step: Step | None, interval: float) -> None:
    """Most workspaces have no import most of the time, and need few calls."""
    seen = None if step is None else operation(step=step)
    calls = asked(lambda api, at: good(api, seen), 300)
    assert of(calls, Api.STATUS) == of(calls, Api.LIST)
    assert set(gaps(of(calls, Api.STATUS))) == {interval}


@pytest.mark.parametrize("took", [0.1, 5.0, 14.9])
def test_polls_keep_their_rate_whatever_they_take(took: float) -> None:
    """Slow answers must not make polls rarer."""
    assert set(gaps(of(asked(importing, 300, took=took), Api.STATUS))) == {15}


def test_a_poll_that_takes_longer_than_the_interval_is_followed_at_once() -> None:
    """Two polls of one workspace must not run at the same time."""
    assert set(gaps(of(asked(importing, 300, took=20), Api.STATUS))) == {20}


@pytest.mark.parametrize(
    "reason", [Reason.CONNECTION, Reason.TIMEOUT, Reason.TLS, Reason.SERVER, Reason.PROXY, Reason.INVALID]
)
def test_a_server_that_may_be_back_soon_is_tried_each_minute_at_least(reason: Reason) -> None:
    """After a restart of the server the state should be known again within a minute."""
    waits = gaps(of(asked(lambda api, at: bad(api, reason), 900), Api.STATUS))
    assert waits[0] == 15
    assert 27 <= waits[1] <= 30
    assert all(54 <= wait <= 60 for wait in waits[2:])


@pytest.mark.parametrize("reason", [Reason.UNAUTHORIZED, Reason.REDIRECTED, Reason.TOO_LARGE])
def test_what_somebody_has_to_mend_is_tried_each_five_minutes_at_least(reason: Reason) -> None:
    """More calls would only fill the server's log."""
    waits = gaps(of(asked(lambda api, at: bad(api, reason), 3600), Api.STATUS))
    assert waits[0] == 15
    assert waits == sorted(waits)
    assert all(270 <= wait <= 300 for wait in waits[5:])


def test_workspaces_come_back_at_instants_of_their_own() -> None:
    """A thousand workspaces behind one proxy must not return at the same time."""
    waits = {
        gaps(of(asked(lambda api, at: bad(api, Reason.CONNECTION), 200, Target(name=name, url="u")), Api.STATUS))[1]
        for name in ("acme", "beta", "gamma", "delta")
    }
    assert len(waits) == 4


def test_a_failing_feed_does_not_slow_the_other() -> None:
    """The other feed still tells the state."""
    calls = asked(lambda api, at: bad(api, Reason.TIMEOUT) if api is Api.LIST else good(api, operation()), 300)
    assert set(gaps(of(calls, Api.STATUS))) == {15}
    assert max(gaps(of(calls, Api.LIST))) == 60


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.NOT_FOUND])
@pytest.mark.parametrize("refused", [Api.STATUS, Api.LIST])
def test_a_refused_feed_rests_five_minutes_while_the_other_goes_on(reason: Reason, refused: Api) -> None:
    """A refusal does not go away by itself, but a new permission must be noticed."""
    calls = asked(lambda api, at: bad(api, reason) if api is refused else good(api, operation()), 1000)
    (other,) = FEEDS - {refused}
    assert of(calls, refused) == [0, 300, 600, 900]
    assert set(gaps(of(calls, other))) == {15}


def test_a_missing_server_is_tried_as_after_a_lost_connection() -> None:
    """If everything is a 404, a proxy may answer for a server that restarts."""
    waits = gaps(of(asked(lambda api, at: bad(api, Reason.NOT_FOUND), 600), Api.STATUS))
    assert max(waits) <= 60


def test_progress_is_asked_at_the_interval_where_both_feeds_are_refused() -> None:
    """Then only `getImportProgress` tells the state."""

    def answering(api: Api, at: float) -> Result:
        return bad(api, Reason.FORBIDDEN, ours=True) if api in FEEDS else good(api, operation())

    calls = asked(answering, 650)
    assert of(calls, Api.STATUS) == of(calls, Api.LIST) == [0, 300, 600]
    assert set(gaps(of(calls, Api.PROGRESS))) == {15}
    assert of(calls, Api.PROGRESS)[0] == 0


def test_progress_is_not_asked_where_the_server_is_gone() -> None:
    """It would fail as well."""
    assert not of(asked(lambda api, at: bad(api, Reason.CONNECTION), 300), Api.PROGRESS)


def test_progress_is_left_alone_once_a_feed_is_open_again() -> None:
    """A feed tells more than `getImportProgress`."""

    def answering(api: Api, at: float) -> Result:
        return bad(api, Reason.FORBIDDEN, ours=True) if api in FEEDS and at < 100 else good(api, operation())

    assert max(of(asked(answering, 900), Api.PROGRESS)) <= 300


def test_where_everything_is_refused_there_is_peace_for_five_minutes() -> None:
    """Only a new permission can help."""
    calls = asked(lambda api, at: bad(api, Reason.FORBIDDEN, ours=True), 650)
    assert {at for at, _ in calls} == {0, 300, 600}


@pytest.mark.parametrize("wait", [42.0, 5.0])
def test_a_used_up_budget_is_waited_for_by_its_endpoint_alone(wait: float) -> None:
    """The other endpoint still tells the state."""

    def answering(api: Api, at: float) -> Result:
        spent = Budget(limit=10, remaining=0, reset=None, wait=wait)
        return good(api, operation(), budget=spent if api is Api.STATUS and at == 0 else None)

    calls = asked(answering, 100)
    assert of(calls, Api.STATUS)[1] == (45 if wait > 15 else 15)
    assert of(calls, Api.LIST) == [0, 15, 30, 45, 60, 75, 90]


def test_where_all_budgets_are_used_up_the_first_window_s_end_is_the_next_poll() -> None:
    """A call before that would be refused."""

    def answering(api: Api, at: float) -> Result:
        spent = Budget(limit=10, remaining=0, reset=None, wait=30 if api is Api.STATUS else 50)
        return good(api, operation(), budget=spent)

    calls = asked(answering, 60)
    assert set(calls[:2]) == {(0, Api.STATUS), (0, Api.LIST)}
    assert calls[2] == (30.1, Api.STATUS)


def test_a_refusal_by_the_limiter_is_waited_out() -> None:
    """Without a header, the wait is the limiter's minute."""
    calls = asked(lambda api, at: bad(api, Reason.RATE_LIMITED), 300)
    assert gaps(of(calls, Api.STATUS))[0] == 60.1


def test_a_large_list_is_asked_for_every_five_minutes() -> None:
    """Such a list has megabytes of old documents, and the status alone tells the state."""
    calls = asked(lambda api, at: good(api, operation(), size=LARGE if api is Api.LIST else 900), 1000)
    assert of(calls, Api.LIST) == [0, 300, 600, 900]
    assert set(gaps(of(calls, Api.STATUS))) == {15}


def test_a_large_list_is_asked_for_when_the_status_shows_another_operation() -> None:
    """Only the list says how the operation before ended."""

    def answering(api: Api, at: float) -> Result:
        return good(api, operation("b" if at >= 100 else "a"), size=LARGE if api is Api.LIST else 900)

    assert of(asked(answering, 400), Api.LIST) == [0, 120]


def test_a_large_list_is_asked_for_when_the_status_fails() -> None:
    """Then only the list tells the state."""

    def answering(api: Api, at: float) -> Result:
        if api is Api.STATUS and at >= 60:
            return bad(api, Reason.TIMEOUT)
        return good(api, operation(), size=LARGE if api is Api.LIST else 900)

    assert of(asked(answering, 100), Api.LIST)[1] == 75


@pytest.mark.parametrize("apis", [frozenset({Api.LIST}), frozenset(Api)])
def test_a_large_list_that_alone_tells_the_state_sets_the_pace(apis: frozenset[Api]) -> None:
    """Megabytes every 15 seconds would burden the server, and the state must not become stale between polls."""

    def answering(api: Api, at: float) -> Result:
        return good(api, operation(), size=LARGE) if api is Api.LIST else bad(api, Reason.FORBIDDEN, ours=True)

    target = Target(name="acme", url="u", apis=apis)
    assert of(asked(answering, 1000, target), Api.LIST) == [0, 300, 600, 900]
    results = [answering(api, 0) for api in apis]
    assert fold(Record(target=target), polled(results, START, 0.1)).stale_after == 900


@pytest.mark.parametrize(
    ("apis", "called"),
    [
        ({Api.STATUS}, {Api.STATUS}),
        ({Api.LIST}, {Api.LIST}),
        ({Api.PROGRESS}, {Api.PROGRESS}),
        ({Api.STATUS, Api.PROGRESS}, {Api.STATUS}),
    ],
)
def test_only_endpoints_that_may_be_asked_are_asked(apis: set[Api], called: set[Api]) -> None:
    """An administrator excluded the others, also as a fallback."""
    target = Target(name="acme", url="u", apis=frozenset(apis))
    assert {api for _, api in asked(importing, 100, target)} == called
    for reason in Reason:
        assert {api for _, api in asked(failing(reason), 900, target)} <= apis


def failing(reason: Reason) -> Answering:
    """Every call fails for this reason."""
    return lambda api, at: bad(api, reason)


def test_progress_stands_in_for_the_one_feed_that_may_be_asked() -> None:
    """An excluded feed is like a refused one."""
    target = Target(name="acme", url="u", apis=frozenset({Api.STATUS, Api.PROGRESS}))
    calls = asked(
        lambda api, at: bad(api, Reason.FORBIDDEN) if api is Api.STATUS else good(api, operation()), 100, target
    )
    assert of(calls, Api.PROGRESS)[:2] == [0, 15]


def test_the_version_is_asked_for_hourly_and_never_by_itself() -> None:
    """The version changes rarely and is not worth a poll of its own."""
    record = Record(target=Target(name="acme", url="u"))
    assert schedule.due(record, START) == FEEDS | {Api.INFO}
    record = fold(record, polled([good(api, operation()) for api in (*FEEDS, Api.INFO)], START, 0.1))
    assert schedule.due(record, START + 3585) == FEEDS
    assert schedule.due(record, START + 3600) == FEEDS | {Api.INFO}


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    """After a correction of the machine's clock polls must go on at once."""
    results: list[Result] = [bad(Api.STATUS, Reason.FORBIDDEN), good(Api.LIST, operation(), size=LARGE)]
    record = fold(Record(target=Target(name="acme", url="u")), polled(results, START, 0.1))
    assert schedule.due(record, START + 15) == frozenset()
    earlier = START - 86_400
    assert schedule.due(record, earlier) >= FEEDS
    assert schedule.plan(record, earlier, earlier + 0.1).interval <= 86_400 + 300


def test_first_polls_are_spread_by_the_names() -> None:
    """A thousand workspaces must not be called in the same moment at the start."""
    names = [f"w{n}" for n in range(1000)]
    delays = [schedule.first_poll(name, 1000, 15) for name in names]
    assert 0 <= min(delays) < 1
    assert 14 < max(delays) < 15
    assert max(schedule.first_poll(name, 1000, 1) for name in names) < 1
    assert schedule.first_poll("acme", 1, 15) <= 0.015
    assert schedule.first_poll("acme", 9, 15) == schedule.first_poll("acme", 9, 15)
