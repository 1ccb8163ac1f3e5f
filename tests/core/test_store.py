"""Tests of `store`: what one poll changes in a workspace's record."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from weakref import ref

import pytest

from rc_import_exporter.core.domain import (
    Answer,
    Api,
    Budget,
    Counts,
    Exchange,
    Failure,
    InfoAnswer,
    ListAnswer,
    Operation,
    Outcome,
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
from rc_import_exporter.core.snapshot import Build, Cause, Record, Snapshot
from rc_import_exporter.core.store import Store, fold, note_fault

START: Final = 1_800_000_000.0
NEW: Final = Record(target=Target(name="acme", url="https://acme"))


def operation(name: str = "a", step: Step = Step.IMPORTING_USERS, *, at: float = 0, valid: bool = True) -> Operation:
    """An operation of 100 records, 40 of them completed, last written `at` seconds after the start."""
    return Operation(
        id=name,
        importer="csv",
        step=step,
        valid=valid,
        created=START - 100 + ord(name),
        dated_as_text=True,
        updated=START + at,
        counts=Counts(total=100, completed=40),
    )


def went(api: Api, answer: Answer, budget: Budget | None = None, size: int = 900) -> Success:
    return Success(exchange=Exchange(api=api, code=200, seconds=0.1, size=size, budget=budget), answer=answer)


def status(seen: Operation | None, state: State = State.IMPORTING) -> Success:
    """An answer of `import.status`."""
    return went(Api.STATUS, StatusAnswer(state=state if seen else State.NONE, operation=seen))


def listing(*seen: Operation) -> Success:
    """An answer of `getLatestImportOperations`."""
    return went(Api.LIST, ListAnswer(operations=seen))


def progress(seen: Operation | None) -> Success:
    """An answer of `getImportProgress`."""
    return went(Api.PROGRESS, ProgressAnswer(operation=seen))


def nameless(step: Step) -> Operation:
    """An operation as `getImportProgress` shows it."""
    return Operation(id="", importer="csv", step=step, valid=None)


def failed(api: Api, reason: Reason, *, ours: bool = True, budget: Budget | None = None) -> Failure:
    code = None if reason in (Reason.CONNECTION, Reason.TIMEOUT) else 400
    exchange = Exchange(api=api, code=code, seconds=0.1, budget=budget)
    return Failure(exchange=exchange, reason=reason, detail=f"{reason}", by_rocketchat=ours)


def poll(*results: Result, at: float = 0) -> Poll:
    """A poll with these results, a tenth of a second long."""
    exchanges = tuple(result.exchange for result in results)
    return Poll(started=START + at, ended=START + at + 0.1, results=results, exchanges=exchanges)


def after(*polls: Sequence[Result]) -> Record:
    """The record after these polls, 15 s apart."""
    record = NEW
    for index, results in enumerate(polls):
        record = fold(record, poll(*results, at=15.0 * index))
    return record


DOWN: Final = (failed(Api.STATUS, Reason.CONNECTION), failed(Api.LIST, Reason.CONNECTION))


@pytest.mark.parametrize("reason", Reason)
def test_the_list_tells_the_state_if_the_status_fails(reason: Reason) -> None:
    """The operation with the latest `ts` counts, wherever in the list it is."""
    record = after([failed(Api.STATUS, reason), listing(operation("a"), operation("b", Step.USER_SELECTION))])
    assert record.told
    assert record.observation is not None
    assert (record.observation.source, record.observation.state) == (Api.LIST, State.READY)


@pytest.mark.parametrize("reason", Reason)
def test_a_workspace_is_up_if_only_the_list_fails(reason: Reason) -> None:
    record = after([status(operation()), failed(Api.LIST, reason)])
    assert record.up(START + 1)
    assert record.observation is not None
    assert record.observation.source is Api.STATUS


def test_the_state_is_the_one_that_import_status_gives_even_if_unknown() -> None:
    """A newer Rocket.Chat may have a state that this release cannot derive from the step."""
    record = after([status(operation(), State.UNKNOWN), listing(operation())])
    assert record.observation is not None
    assert record.observation.state is State.UNKNOWN


def test_progress_tells_the_state_if_both_feeds_are_refused() -> None:
    """It names no operation, so nothing can be counted."""
    refused = failed(Api.STATUS, Reason.FORBIDDEN), failed(Api.LIST, Reason.FORBIDDEN)
    steps = Step.IMPORTING_USERS, Step.DONE, Step.NEW, Step.IMPORT_FAILED
    polls: list[Sequence[Result]] = [[*refused, progress(nameless(step))] for step in steps]
    record = after(*polls)
    assert record.told
    assert record.observation is not None
    assert record.observation.source is Api.PROGRESS
    assert (record.observation.state, record.observation.outcome) == (State.ERROR, Outcome.FAILED)
    assert record.observation.track is None
    assert not record.history.tracks
    assert (record.history.started, dict(record.history.finished), dict(record.transitions)) == (0, {}, {})


@pytest.mark.parametrize(
    "results",
    [
        [status(None)],
        [listing()],
        [status(None), listing()],
        [failed(Api.STATUS, Reason.FORBIDDEN), failed(Api.LIST, Reason.FORBIDDEN), progress(None)],
    ],
)
def test_without_any_import_state_step_and_outcome_are_none(results: list[Result]) -> None:
    observation = after(results).observation
    assert observation is not None
    assert (observation.state, observation.step, observation.outcome) == (State.NONE, Step.NONE, Outcome.NONE)


def test_the_last_observation_stays_until_it_is_stale() -> None:
    """`up` is 0 at the first failure, but a short outage must not remove all other series."""
    record = after([status(operation())], DOWN)
    assert not record.up(START + 16)
    assert record.held(START + 90) is not None
    assert record.held(START + 90.2) is None


def test_a_stale_workspace_is_down_even_if_no_poll_has_failed() -> None:
    """A poller that hangs cannot report itself."""
    record = after([status(operation())])
    assert record.up(START + 90)
    assert not record.up(START + 90.2)


def test_an_answer_from_the_future_is_stale() -> None:
    """The clock was set back, so the age is unknown. Two seconds are a correction that means nothing."""
    record = after([status(operation())])
    assert record.up(START - 1)
    for now in (START - 2.1, START - 60, START - 3600):
        assert record.held(now) is None
        assert not record.up(now)


@pytest.mark.parametrize("back", [20.0, 60.0, 3600.0, 86400.0])
@pytest.mark.parametrize("faulty", [False, True])
def test_a_clock_that_is_set_back_makes_nothing_fresh_once_more(back: float, *, faulty: bool) -> None:
    """While the server is down, no answer comes with the new time. The state must go within `stale_after` all the same.

    `elapsed` is the true time; the clock is set back 30 s after the answer, and again a minute later.
    """
    record, fresh_at = after([status(operation())]), []
    for turn in range(1, 4 * 60):
        elapsed = 15.0 * turn
        now = elapsed - (back if elapsed >= 30 else 0.0) - (back if elapsed >= 90 else 0.0)
        record = note_fault(record, START + now) if faulty else fold(record, poll(*DOWN, at=now))
        fresh_at += [elapsed + more for more in range(15) if record.held(START + now + 0.1 + more) is not None]
    assert 30 <= max(fresh_at) <= record.stale_after + 1


@pytest.mark.parametrize(
    ("target", "step", "seconds"),
    [
        (Target(name="acme", url="u"), Step.IMPORTING_USERS, 90),
        (Target(name="acme", url="u"), Step.DONE, 90),
        (Target(name="acme", url="u", poll_interval_idle=60), Step.DONE, 180),
        (Target(name="acme", url="u", poll_interval=40), Step.IMPORTING_USERS, 120),
        (Target(name="acme", url="u", poll_interval=1, poll_interval_idle=1), Step.DONE, 90),
        (Target(name="acme", url="u", stale_after=30), Step.DONE, 30),
    ],
)
def test_data_is_stale_after_three_intervals_and_not_before_90_seconds(
    target: Target, step: Step, seconds: float
) -> None:
    record = fold(Record(target=target), poll(status(operation(step=step))))
    assert record.stale_after == seconds


def test_a_transition_is_a_change_of_state_between_two_answers() -> None:
    """Neither the first state nor an outage between two answers is a change."""
    record = after(
        [status(operation(step=Step.NEW), State.NEW)],
        [status(operation(step=Step.IMPORTING_USERS, at=15))],
        DOWN,
        [status(operation(step=Step.IMPORTING_USERS, at=15))],
        [status(operation(step=Step.DONE, at=60), State.DONE)],
    )
    assert dict(record.transitions) == {State.IMPORTING: 1, State.DONE: 1}


@pytest.mark.parametrize("reason", Reason)
def test_one_failed_poll_does_not_decide_the_cause(reason: Reason) -> None:
    """One database error does not prove a restart. The next write of the import tells."""
    dead, done = operation(at=20, valid=False), operation(step=Step.DONE, at=22, valid=False)
    gap = failed(Api.STATUS, reason), failed(Api.LIST, reason)
    start = [status(operation())], gap, [status(dead, State.ERROR), listing(dead)]
    assert after(*start).history.tracks["a"].cause is Cause.UNCERTAIN
    assert after(*start, [listing(done)]).history.tracks["a"].cause is Cause.INVALIDATED
    assert after(*start, [listing(dead)], [listing(dead)]).history.tracks["a"].cause is Cause.RESTARTED


def test_an_import_ended_before_its_server_was_found_gone() -> None:
    """The first refused connection is a bound, even if later calls fail in other ways."""
    slow, gone = (
        tuple(failed(api, reason, ours=False) for api in (Api.STATUS, Api.LIST))
        for reason in (Reason.TIMEOUT, Reason.CONNECTION)
    )
    dead = operation(at=3600, valid=False)
    record = after([listing(operation(at=-5))], slow, gone, slow, gone, *[[listing(dead)]] * 240)
    end = record.history.tracks["a"].end
    assert end is not None
    assert (end.earliest, end.latest) == (START - 5, START + 30.1)


def dated(api: Api, skew: float | None) -> Success:
    answer = listing(operation(at=3600)) if api is Api.LIST else status(operation(at=3600))
    return replace(answer, exchange=replace(answer.exchange, skew=skew))


@pytest.mark.parametrize(
    ("skew", "offset"), [(None, None), (1.9, 0.0), (-1.9, 0.0), (2.0, 0.0), (2.1, 2.1), (-3600.0, -3600.0)]
)
def test_the_clock_offset_is_that_of_the_date_header(skew: float | None, offset: float | None) -> None:
    """`Date` has whole seconds, so up to two are none."""
    assert NEW.clock_offset is None
    record = after([dated(Api.STATUS, skew)])
    assert record.clock_offset == offset
    assert record.server_time(START) == START + (offset or 0.0)


def test_an_answer_is_as_old_as_it_is_and_not_as_its_poll() -> None:
    """The exporter may have stood still for ten minutes between the answer and the end of the poll."""
    answer = status(operation())
    slept = replace(answer, exchange=replace(answer.exchange, answered=START + 0.2))
    record = fold(NEW, replace(poll(slept), ended=START + 600))
    assert record.last_success == START + 0.2
    assert record.held(START + 600) is None
    late = fold(NEW, poll(replace(answer, exchange=replace(answer.exchange, answered=START + 3600))))
    assert late.last_success == poll(answer).ended


def test_the_clock_offset_stays_where_an_answer_does_not_tell_it() -> None:
    """The answer came while a clock was set. Without the last offset, all dates would be wrong until the next poll."""
    assert after([dated(Api.STATUS, 3600.0)], [dated(Api.STATUS, None)]).clock_offset == 3600.0


def test_the_clock_offset_stays_while_the_server_is_gone() -> None:
    """A proxy that answers instead of the server has another clock."""
    proxy = failed(Api.STATUS, Reason.PROXY, ours=False)
    other = replace(proxy, exchange=replace(proxy.exchange, skew=99.0))
    assert after([dated(Api.STATUS, 3600.0)], DOWN).clock_offset == 3600.0
    assert after([dated(Api.STATUS, 3600.0)], [other]).clock_offset == 3600.0


def test_an_import_that_is_not_the_newest_makes_a_restart_unsafe() -> None:
    """A server whose clock is fast created an operation; another one replaced it, and its `ts` is smaller."""
    fast, runs = operation("b", Step.NEW, valid=False), operation("a")
    record = after([status(fast, State.ERROR), listing(fast, runs)])
    assert record.history.current == "b"
    assert record.restart_safe(START + 1) is False
    ended = operation("a", Step.DONE, at=20)
    assert after([listing(fast, runs)], [listing(fast, ended)]).restart_safe(START + 16) is True


def test_failures_are_counted_by_endpoint_and_reason() -> None:
    record = after(DOWN, DOWN, [failed(Api.STATUS, Reason.TIMEOUT), listing(operation())])
    assert dict(record.failures) == {
        (Api.STATUS, Reason.CONNECTION): 2,
        (Api.LIST, Reason.CONNECTION): 2,
        (Api.STATUS, Reason.TIMEOUT): 1,
    }
    assert dict(record.requests) == {(Api.STATUS, "none"): 3, (Api.LIST, "none"): 2, (Api.LIST, "200"): 1}


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.NOT_FOUND])
def test_a_refusal_counts_once_if_another_endpoint_tells_the_state(reason: Reason) -> None:
    """A permission that is not needed must not look like a failure at every poll."""
    enough = failed(Api.STATUS, reason), listing(operation())
    assert after(enough, enough, enough).failures == {(Api.STATUS, reason): 1}
    nothing = failed(Api.STATUS, reason), failed(Api.LIST, reason)
    assert after(nothing, nothing).failures == {(Api.STATUS, reason): 2, (Api.LIST, reason): 2}


def test_an_endpoint_fails_since_its_first_failure_after_a_success() -> None:
    record = after([status(operation())], DOWN, DOWN)
    feed = record.feeds[Api.STATUS]
    assert (feed.failures, feed.since, feed.reason) == (2, START + 15.1, Reason.CONNECTION)
    healed = fold(record, poll(status(operation()), at=60)).feeds[Api.STATUS]
    assert (healed.ok, healed.failures, healed.since) == (True, 0, None)


def test_the_failure_of_the_fallback_ends_when_a_feed_answers() -> None:
    """The fallback is no longer asked then, so nothing else would end its failure."""
    refused = failed(Api.STATUS, Reason.FORBIDDEN), failed(Api.LIST, Reason.FORBIDDEN)
    record = after([*refused, failed(Api.PROGRESS, Reason.FORBIDDEN)])
    assert not record.told
    assert Api.PROGRESS not in fold(record, poll(listing(operation()), at=300)).feeds


LEFT: Final = Budget(limit=10, remaining=5, reset=START + 42, wait=42.0)
SPENT: Final = Budget(limit=10, remaining=0, reset=START + 42, wait=42.0)


def test_a_used_up_budget_blocks_only_its_endpoint() -> None:
    """Rocket.Chat counts the calls of each endpoint separately."""
    spent = went(Api.STATUS, StatusAnswer(state=State.IMPORTING, operation=operation()), SPENT)
    record = after([spent, went(Api.LIST, ListAnswer(operations=()), LEFT)])
    assert record.feeds[Api.STATUS].blocked_until == START + 42.1
    assert record.feeds[Api.LIST].blocked_until is None


@pytest.mark.parametrize(("budget", "wait"), [(None, 60), (SPENT, 42), (LEFT, 42)])
def test_a_refusal_by_the_limiter_blocks_until_the_window_ends(budget: Budget | None, wait: float) -> None:
    """Without headers its end is unknown: a whole window is safe."""
    record = after([failed(Api.STATUS, Reason.RATE_LIMITED, budget=budget), listing(operation())])
    assert record.feeds[Api.STATUS].blocked_until == START + 0.1 + wait
    assert record.told


def test_the_last_budget_stays_known_through_a_failure() -> None:
    """An answer without headers ends it: the caller is exempt from the limit."""
    limited = went(Api.STATUS, StatusAnswer(state=State.IMPORTING, operation=operation()), LEFT)
    record = after([limited], DOWN)
    assert record.feeds[Api.STATUS].budget == LEFT
    assert fold(record, poll(status(operation()), at=30)).feeds[Api.STATUS].budget is None


def test_a_404_is_alone_if_no_other_answer_is_rocket_chat_s() -> None:
    """Then it may come from a proxy while the server restarts."""
    missing = failed(Api.STATUS, Reason.NOT_FOUND, ours=False)
    assert after([missing, failed(Api.LIST, Reason.NOT_FOUND, ours=False)]).feeds[Api.STATUS].alone
    assert not after([missing, listing()]).feeds[Api.STATUS].alone
    assert not after([missing, failed(Api.LIST, Reason.FORBIDDEN)]).feeds[Api.STATUS].alone


def test_a_version_stays_known() -> None:
    """It is asked for once an hour."""
    record = after([status(None), went(Api.INFO, InfoAnswer(version="8.6.1"))], [status(None)], DOWN)
    assert record.version == "8.6.1"


def test_a_bug_in_a_poll_counts_as_a_failure_and_keeps_the_last_observation() -> None:
    record = note_fault(after([status(operation())]), START + 15)
    assert not record.up(START + 15)
    assert record.polls == 2
    assert sum(count for (_, reason), count in record.failures.items() if reason is Reason.INTERNAL) == 1
    assert record.held(START + 15) is not None


def test_a_bug_in_a_poll_is_counted_for_a_configured_endpoint() -> None:
    """A series of an endpoint that is never asked would mislead its reader."""
    restricted = Record(target=Target(name="acme", url="u", apis=frozenset({Api.LIST})))
    assert set(note_fault(restricted, START).failures) == {(Api.LIST, Reason.INTERNAL)}


def test_the_store_holds_the_latest_snapshot_and_all_durations() -> None:
    """A snapshot that someone is reading must not change."""
    before = Snapshot(build=Build(version="1", revision="r", python="3"), records={"acme": NEW}, configured_at=START)
    store = Store(before)
    exchanges = [Exchange(api=Api.LIST, code=200, seconds=seconds) for seconds in (0.001, 0.005, 0.3, 99.0)]
    store.put(after([status(None)]), exchanges[:2])
    store.put(after([status(None)]), exchanges[2:])
    assert before.records["acme"] is NEW
    assert store.snapshot.records["acme"].polls == 1
    histogram = store.snapshot.durations[Api.LIST]
    assert (sum(histogram.counts), histogram.counts[0], histogram.counts[-1]) == (4, 2, 1)
    assert histogram.total == pytest.approx(99.306)


def test_a_snapshot_that_was_read_does_not_change() -> None:
    """A page is written in slices, and polls end in between."""
    store = Store(Snapshot(build=Build(version="1", revision="r", python="3"), records={}, configured_at=START))
    exchanges = [Exchange(api=Api.LIST, code=200, seconds=1.0)]
    store.put(NEW, exchanges)
    read = store.snapshot
    assert store.snapshot is read
    store.put(replace(NEW, polls=1), exchanges)
    assert read.records["acme"] is NEW
    assert sum(read.durations[Api.LIST].counts) == 1
    assert store.record("acme").polls == store.snapshot.records["acme"].polls == 1


def test_folding_is_pure() -> None:
    """The same record and the same poll give the same record, and the old record stays as it was."""
    record = after([status(operation()), listing(operation())])
    once = poll(status(operation(step=Step.DONE, at=20), State.DONE), at=15)
    assert fold(record, once) == fold(record, once)
    assert record == after([status(operation()), listing(operation())])


def test_a_snapshot_that_nobody_holds_keeps_no_old_record() -> None:
    """Else the records of thousands of workspaces would be freed at once, at the next scrape."""
    store = Store(
        Snapshot(
            build=Build(version="1", revision="r", python="3"), records={"acme": replace(NEW)}, configured_at=START
        )
    )
    old = ref(store.snapshot.records["acme"])
    store.put(replace(NEW, polls=1))
    assert old() is None
    assert store.snapshot.records["acme"].polls == 1
    assert store.snapshot is store.snapshot
