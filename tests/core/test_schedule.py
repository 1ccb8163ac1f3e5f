"""Tests of `schedule`: which endpoints are asked when. Each test plays answers through it and looks at the calls."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from rc_import_exporter.core.snapshot import Feed, Record
from rc_import_exporter.core.store import fold
from rc_import_exporter.core.verdict import state_of

START: Final = 1_800_000_000.0
LARGE: Final = 300_000
FEEDS: Final = frozenset({Api.STATUS, Api.LIST})
Answering = Callable[[Api, float], Result]
"""The result of a call to this endpoint, this many seconds after the start."""


def operation(name: str = "a", step: Step = Step.IMPORTING_USERS) -> Operation:
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
    exchange = Exchange(api=api, code=None, seconds=0.1, budget=budget)
    return Failure(exchange=exchange, reason=reason, detail="", by_rocketchat=ours)


def asked(
    answering: Answering, until: float, target: Target | None = None, took: float = 0.1
) -> list[tuple[float, Api]]:
    """Every call that the schedule makes: seconds after the start, and endpoint. `info` is left out.

    `took` is the duration of each poll in seconds.
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
    exchanges = tuple(result.exchange for result in results)
    return Poll(started=started, ended=started + took, results=tuple(results), exchanges=exchanges)


def of(calls: list[tuple[float, Api]], api: Api) -> list[float]:
    """The times of one endpoint's calls."""
    return [at for at, each in calls if each is api]


def gaps(instants: Sequence[float]) -> list[float]:
    """The seconds from each to the next."""
    return [round(after - before, 3) for before, after in pairwise(instants)]


def importing(api: Api, at: float) -> Result:
    """Every call succeeds, and an import runs."""
    return good(api, operation())


@pytest.mark.parametrize(
    ("step", "interval"),
    [
        (Step.NEW, 15),
        (Step.USER_SELECTION, 15),
        (Step.PREPARING_USERS, 15),
        (Step.IMPORTING_USERS, 15),
        (Step.DONE, 30),
        (Step.IMPORT_FAILED, 30),
        (Step.UNKNOWN, 15),
        (None, 30),
    ],
)
def test_the_interval_is_longer_while_no_import_is_active(step: Step | None, interval: float) -> None:
    """Both feeds are asked in the same poll."""
    seen = None if step is None else operation(step=step)
    calls = asked(lambda api, at: good(api, seen), 300)
    assert of(calls, Api.STATUS) == of(calls, Api.LIST)
    assert set(gaps(of(calls, Api.STATUS))) == {interval}


@pytest.mark.parametrize("took", [0.1, 5.0, 14.9])
def test_the_duration_of_a_poll_does_not_delay_the_next(took: float) -> None:
    assert set(gaps(of(asked(importing, 300, took=took), Api.STATUS))) == {15}


@pytest.mark.parametrize(
    ("late", "wait"), [(0.0, 15.0), (0.5, 14.5), (7.4, 7.6), (7.6, 22.4), (15.0, 15.0), (604.0, 11.0)]
)
def test_a_poll_that_begins_late_does_not_move_the_next(late: float, wait: float) -> None:
    """It comes a whole number of intervals after the planned start, and not too soon after this one."""
    record = fold(Record(target=Target(name="acme", url="u")), polled([importing(Api.STATUS, 0)], START, 0.1))
    plan = schedule.plan(record, START, START + 0.1, late)
    assert plan.next_poll - START == pytest.approx(wait)
    assert plan.interval == 15.0


@pytest.mark.parametrize("late", [0.01, 0.04, 3.0])
def test_an_endpoint_that_failed_in_a_late_poll_is_asked_at_the_next(late: float) -> None:
    """It rests from its call, and the next poll counts from the planned start."""
    results: list[Result] = [importing(Api.STATUS, 0), bad(Api.LIST, Reason.TIMEOUT)]
    record = fold(Record(target=Target(name="acme", url="u")), polled(results, START, 0.1))
    plan = schedule.plan(record, START, START + 0.1, late)
    assert schedule.due(record, plan.next_poll) >= FEEDS
    assert plan.next_poll - START <= 15.0 + schedule.EARLY


def test_a_poll_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    """Two polls of one workspace never overlap."""
    assert set(gaps(of(asked(importing, 300, took=20), Api.STATUS))) == {20}


@pytest.mark.parametrize(
    "reason", [Reason.CONNECTION, Reason.TIMEOUT, Reason.TLS, Reason.SERVER, Reason.PROXY, Reason.INVALID]
)
def test_a_server_that_is_down_is_tried_at_least_every_minute(reason: Reason) -> None:
    """The waits double from one interval up to a minute, less a share that depends on the name."""
    waits = gaps(of(asked(lambda api, at: bad(api, reason), 900), Api.STATUS))
    assert waits[0] == 15
    assert 27 <= waits[1] <= 30
    assert all(54 <= wait <= 60 for wait in waits[2:])


def test_a_thousand_that_lose_the_network_at_once_stay_spread_over_time() -> None:
    """In no second do more than twice the usual number of polls come, while the servers are away and after that."""
    down, names = range(20, 150), [f"tenant-{number:04}" for number in range(1000)]
    polls: Counter[int] = Counter()
    for name in names:
        begun = schedule.first_poll(name, len(names), 15.0)

        def answering(api: Api, at: float, begun: float = begun) -> Result:
            return bad(api, Reason.CONNECTION) if int(begun + at) in down else good(api, operation())

        target = Target(name=name, url="u", apis=frozenset({Api.STATUS}))
        calls = [begun + at for at, _ in asked(answering, 212 - begun, target)]
        assert [at for at in calls if down.stop <= at <= down.stop + schedule.SOON]
        polls.update(map(int, calls))
    assert max(polls.values()) <= 2 * len(names) / 15


@pytest.mark.parametrize("reason", [Reason.UNAUTHORIZED, Reason.REDIRECTED, Reason.TOO_LARGE])
def test_a_problem_that_a_person_must_solve_is_tried_every_five_minutes(reason: Reason) -> None:
    """More calls would only fill the server's log."""
    waits = gaps(of(asked(lambda api, at: bad(api, reason), 3600), Api.STATUS))
    assert waits[0] == 15
    assert waits == sorted(waits)
    assert all(270 <= wait <= 300 for wait in waits[5:])


def test_workspaces_retry_at_different_times() -> None:
    """A thousand workspaces behind one proxy must not come back at the same moment."""
    waits = {
        gaps(of(asked(lambda api, at: bad(api, Reason.CONNECTION), 200, Target(name=name, url="u")), Api.STATUS))[1]
        for name in ("acme", "beta", "gamma", "delta")
    }
    assert len(waits) == 4


def test_a_failing_feed_does_not_slow_the_other() -> None:
    calls = asked(lambda api, at: bad(api, Reason.TIMEOUT) if api is Api.LIST else good(api, operation()), 300)
    assert set(gaps(of(calls, Api.STATUS))) == {15}
    assert max(gaps(of(calls, Api.LIST))) == 60


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.NOT_FOUND])
@pytest.mark.parametrize("refused", [Api.STATUS, Api.LIST])
def test_a_refused_feed_rests_five_minutes_while_the_other_goes_on(reason: Reason, refused: Api) -> None:
    """A permission that is granted later is noticed within five minutes."""
    calls = asked(lambda api, at: bad(api, reason) if api is refused else good(api, operation()), 1000)
    (other,) = FEEDS - {refused}
    assert of(calls, refused) == [0, 300, 600, 900]
    assert set(gaps(of(calls, other))) == {15}


def test_a_404_from_every_endpoint_is_tried_again_within_a_minute() -> None:
    """A proxy gives it while the server behind it restarts."""
    waits = gaps(of(asked(lambda api, at: bad(api, Reason.NOT_FOUND), 600), Api.STATUS))
    assert max(waits) <= 60


def test_progress_is_asked_at_every_interval_if_both_feeds_are_refused() -> None:
    """The feeds are tried again every five minutes."""

    def answering(api: Api, at: float) -> Result:
        return bad(api, Reason.FORBIDDEN, ours=True) if api in FEEDS else good(api, operation())

    calls = asked(answering, 650)
    assert of(calls, Api.STATUS) == of(calls, Api.LIST) == [0, 300, 600]
    assert set(gaps(of(calls, Api.PROGRESS))) == {15}
    assert of(calls, Api.PROGRESS)[0] == 0


def test_progress_is_not_asked_if_the_server_is_down() -> None:
    """It would be one more failure."""
    assert not of(asked(lambda api, at: bad(api, Reason.CONNECTION), 300), Api.PROGRESS)


def test_progress_is_no_longer_asked_once_a_feed_answers_again() -> None:

    def answering(api: Api, at: float) -> Result:
        return bad(api, Reason.FORBIDDEN, ours=True) if api in FEEDS and at < 100 else good(api, operation())

    assert max(of(asked(answering, 900), Api.PROGRESS)) <= 300


def test_nothing_is_asked_for_five_minutes_if_everything_is_refused() -> None:
    """Only a person can change that."""
    calls = asked(lambda api, at: bad(api, Reason.FORBIDDEN, ours=True), 650)
    assert {at for at, _ in calls} == {0, 300, 600}


@pytest.mark.parametrize("wait", [42.0, 5.0])
def test_a_used_up_budget_delays_only_its_endpoint(wait: float) -> None:
    """Polls keep to their ticks: the endpoint is asked at the first tick after the window."""

    def answering(api: Api, at: float) -> Result:
        spent = Budget(limit=10, remaining=0, reset=None, wait=wait)
        return good(api, operation(), budget=spent if api is Api.STATUS and at == 0 else None)

    calls = asked(answering, 100)
    assert of(calls, Api.STATUS)[1] == (45 if wait > 15 else 15)
    assert of(calls, Api.LIST) == [0, 15, 30, 45, 60, 75, 90]


def test_if_all_budgets_are_used_up_the_next_poll_is_when_the_first_window_ends() -> None:

    def answering(api: Api, at: float) -> Result:
        spent = Budget(limit=10, remaining=0, reset=None, wait=30 if api is Api.STATUS else 50)
        return good(api, operation(), budget=spent)

    calls = asked(answering, 60)
    assert set(calls[:2]) == {(0, Api.STATUS), (0, Api.LIST)}
    assert calls[2] == (30.1, Api.STATUS)


def test_a_rate_limited_endpoint_waits_a_minute_if_no_header_says_how_long() -> None:
    calls = asked(lambda api, at: bad(api, Reason.RATE_LIMITED), 300)
    assert gaps(of(calls, Api.STATUS))[0] == 60.1


@pytest.mark.parametrize(("size", "interval"), [(262_144, 15), (262_145, 300)])
def test_a_large_list_is_asked_for_every_five_minutes(size: int, interval: float) -> None:
    """It carries megabytes of old operations. The status is about one, so it is asked at every interval in any case."""
    calls = asked(lambda api, at: good(api, operation(), size=size), 1000)
    assert set(gaps(of(calls, Api.LIST))) == {interval}
    assert set(gaps(of(calls, Api.STATUS))) == {15}


def test_a_large_list_is_asked_for_when_the_status_shows_another_operation() -> None:
    """Only the list shows how the operation before it ended."""

    def answering(api: Api, at: float) -> Result:
        return good(api, operation("b" if at >= 100 else "a"), size=LARGE if api is Api.LIST else 900)

    assert of(asked(answering, 400), Api.LIST) == [0, 120]


def test_a_large_list_is_asked_for_when_the_status_fails() -> None:
    """Then only the list can tell the state."""

    def answering(api: Api, at: float) -> Result:
        if api is Api.STATUS and at >= 60:
            return bad(api, Reason.TIMEOUT)
        return good(api, operation(), size=LARGE if api is Api.LIST else 900)

    assert of(asked(answering, 100), Api.LIST)[1] == 75


@pytest.mark.parametrize("apis", [frozenset({Api.LIST}), frozenset(Api)])
def test_a_workspace_read_by_a_large_list_alone_is_polled_every_five_minutes(apis: frozenset[Api]) -> None:
    """Its data is stale only after three of those intervals."""

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
def test_only_configured_endpoints_are_asked(apis: set[Api], called: set[Api]) -> None:
    target = Target(name="acme", url="u", apis=frozenset(apis))
    assert {api for _, api in asked(importing, 100, target)} == called
    for reason in Reason:
        assert {api for _, api in asked(failing(reason), 900, target)} <= apis


def failing(reason: Reason) -> Answering:
    return lambda api, at: bad(api, reason)


def test_progress_replaces_the_only_configured_feed_if_that_is_refused() -> None:
    target = Target(name="acme", url="u", apis=frozenset({Api.STATUS, Api.PROGRESS}))
    calls = asked(
        lambda api, at: bad(api, Reason.FORBIDDEN) if api is Api.STATUS else good(api, operation()), 100, target
    )
    assert of(calls, Api.PROGRESS)[:2] == [0, 15]


def test_the_fallback_is_not_asked_once_progress_has_told_the_state() -> None:
    refused = [bad(api, Reason.FORBIDDEN, ours=True) for api in sorted(FEEDS)]
    target = Target(name="acme", url="u")
    undecided = fold(Record(target=target), polled(refused, START, 0.1))
    assert schedule.fallback_due(undecided, START)
    told = fold(Record(target=target), polled([*refused, good(Api.PROGRESS, operation())], START, 0.1))
    assert not schedule.fallback_due(told, START + 15)


def test_a_fallback_that_is_refused_rests_five_minutes() -> None:
    results = [bad(api, Reason.FORBIDDEN, ours=True) for api in (Api.STATUS, Api.LIST, Api.PROGRESS)]
    record = fold(Record(target=Target(name="acme", url="u")), polled(results, START, 0.1))
    assert not schedule.fallback_due(record, START + 285)
    assert schedule.fallback_due(record, START + 300)


def test_an_endpoint_is_due_also_if_the_timer_fires_a_moment_early() -> None:
    """Timers and the wall clock differ by milliseconds. Without this, a poll would come a whole interval late."""
    results: list[Result] = [bad(Api.STATUS, Reason.FORBIDDEN), good(Api.LIST, operation())]
    record = fold(Record(target=Target(name="acme", url="u")), polled(results, START, 0.1))
    assert Api.STATUS not in schedule.due(record, START + 299.98)
    assert Api.STATUS in schedule.due(record, START + 299.995)


def test_the_version_is_asked_only_if_configured() -> None:
    apis = frozenset({Api.STATUS})
    assert schedule.due(Record(target=Target(name="acme", url="u", apis=apis)), START) == apis


def test_the_version_is_asked_for_hourly_and_only_together_with_a_feed() -> None:
    record = Record(target=Target(name="acme", url="u"))
    assert schedule.due(record, START) == FEEDS | {Api.INFO}
    record = fold(record, polled([good(api, operation()) for api in (*FEEDS, Api.INFO)], START, 0.1))
    assert schedule.due(record, START + 3585) == FEEDS
    assert schedule.due(record, START + 3600) == FEEDS | {Api.INFO}


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    """A rest that would now end in the far future does not count."""
    results: list[Result] = [bad(Api.STATUS, Reason.FORBIDDEN), good(Api.LIST, operation(), size=LARGE)]
    record = fold(Record(target=Target(name="acme", url="u")), polled(results, START, 0.1))
    assert schedule.due(record, START + 15) == frozenset()
    earlier = START - 86_400
    assert schedule.due(record, earlier) >= FEEDS
    assert schedule.plan(record, earlier, earlier + 0.1).interval <= 86_400 + 300


def test_first_polls_are_spread_by_name() -> None:
    """A thousand workspaces must not be asked all at once when the exporter starts."""
    names = [f"w{n}" for n in range(1000)]
    delays = [schedule.first_poll(name, 1000, 15) for name in names]
    assert 0 <= min(delays) < 1
    assert 14 < max(delays) < 15
    assert 1.4 < max(schedule.first_poll(name, 100, 15) for name in names) <= 1.5
    assert max(schedule.first_poll(name, 1000, 1) for name in names) < 1
    assert schedule.first_poll("acme", 1, 15) <= 0.015
    assert schedule.first_poll("acme", 9, 15) == schedule.first_poll("acme", 9, 15)


@pytest.mark.parametrize(("limit", "window"), [(10, 600.0), (10, 60.0), (4, 1800.0)])
def test_calls_are_spread_over_the_window_of_the_rate_limit(limit: int, window: float) -> None:
    """If all calls came at once, the state would be unknown for the rest of the window."""
    called: dict[Api, list[float]] = {}

    def answering(api: Api, at: float) -> Result:
        calls = called.setdefault(api, [])
        # As Rocket.Chat counts: a window begins at the first call after the last one ended.
        begin = next(iter(calls), at)
        if at >= begin + window:
            calls.clear()
            begin = at
        calls.append(at)
        left = max(0, limit - len(calls))
        assert len(calls) <= limit
        return good(api, operation(), budget=Budget(limit=limit, remaining=left, reset=None, wait=begin + window - at))

    times = of(asked(answering, 3 * window), Api.STATUS)
    fair = max(15.0, window / limit)
    assert all(0.5 * fair <= gap <= 1.5 * fair for gap in gaps(times))
    assert len(times) >= 3 * window / fair * 0.8


@pytest.mark.parametrize(("remaining", "gap"), [(None, 30), (9, 30), (2, 30), (1, 60)])
def test_an_idle_workspace_notices_an_import_as_soon_as_the_rate_limit_allows(
    remaining: int | None, gap: float
) -> None:
    """By default within 30 s. If the limit leaves fewer calls for the next minute, later."""
    budget = None if remaining is None else Budget(limit=10, remaining=remaining, reset=None, wait=60.0)
    idle = asked(lambda api, at: good(api, operation(step=Step.DONE), budget=budget), 300)
    assert set(gaps(of(idle, Api.STATUS))) == {gap}


def test_data_is_not_stale_between_two_calls_that_a_rate_limit_allows() -> None:
    """`up` would be 0 most of the time, although all calls succeed."""
    budget = Budget(limit=4, remaining=3, reset=None, wait=1800.0)
    results = [good(api, operation(), budget=budget) for api in sorted(FEEDS)]
    record = fold(Record(target=Target(name="acme", url="u")), polled(results, START, 0.1))
    assert schedule.plan(record, START, START).interval == 600
    assert record.stale_after == 1800
    unlimited = [good(api, operation(), budget=budget if api is Api.STATUS else None) for api in sorted(FEEDS)]
    assert fold(Record(target=Target(name="acme", url="u")), polled(unlimited, START, 0.1)).stale_after == 90


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.UNAUTHORIZED, Reason.CONNECTION])
def test_an_endpoint_that_rests_is_due_after_a_reload(reason: Reason) -> None:
    """The reload may have corrected the cause. A rate limit is heeded all the same."""
    feed = Feed(api=Api.STATUS, at=START, answered=START, reason=reason, failures=9)
    record = Record(target=Target(name="acme", url="u", apis=frozenset({Api.STATUS})), feeds={Api.STATUS: feed})
    assert not schedule.due(record, START + 10)
    assert schedule.due(replace(record, feeds={Api.STATUS: replace(feed, retry=True)}), START + 10) == {Api.STATUS}
    blocked = replace(feed, retry=True, blocked_until=START + 60)
    assert not schedule.due(replace(record, feeds={Api.STATUS: blocked}), START + 10)


@given(at=st.floats(0, 1e6), workspaces=st.integers(1, 5_000))
def test_polls_of_many_workspaces_wake_the_processor_together(at: float, workspaces: int) -> None:
    """A few workspaces are polled when they are due. Many wait for each other, for less than a slot."""
    wake = schedule.wake(at, workspaces)
    if workspaces < schedule.MANY:
        assert wake == at
    else:
        slot = schedule.slot(workspaces)
        assert -schedule.EARLY - 1e-6 <= wake - at <= slot
        assert wake / slot == pytest.approx(round(wake / slot), abs=1e-6)


def test_many_workspaces_keep_their_interval() -> None:
    """A poll that begins a moment after its slot does not move the next one to a later slot."""
    begun = schedule.wake(1000.0, schedule.MANY)
    assert schedule.wake(begun + 0.005 + 15.0, schedule.MANY) == pytest.approx(begun + 15.0)
