"""Folds each poll into the snapshot, and holds the one that is current: the only mutable cell of the program.

`poller` writes; `web` and the commands read. Folding is pure: the same record and the same poll give the same record.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeVar

from rc_import_exporter.core import history as histories
from rc_import_exporter.core.domain import (
    FEEDS,
    REFUSALS,
    Api,
    Exchange,
    Failure,
    InfoAnswer,
    ListAnswer,
    Outcome,
    Poll,
    ProgressAnswer,
    Reason,
    Result,
    State,
    StatusAnswer,
    Success,
)
from rc_import_exporter.core.snapshot import DURATION_BUCKETS, Feed, Histogram, History, Observation, Record, Snapshot
from rc_import_exporter.core.thresholds import CLOCKS_AGREE, RATE_LIMIT_WINDOW
from rc_import_exporter.core.tracking import Look, Sighting
from rc_import_exporter.core.verdict import state_of, told_by_progress

MOST_CODES: Final = 20
"""Status codes of an endpoint that have a series of their own. A server could send 900 different ones."""
OTHER_CODE: Final = "other"

_Key = TypeVar("_Key")


class Store:
    """The cell that holds the current snapshot."""

    _frame: Snapshot
    """Everything that does not come from polls."""
    _records: dict[str, Record]
    _durations: dict[Api, Histogram]
    _current: Snapshot | None
    """The snapshot, if no poll ended since it was read or set. Else it would keep all the old records in memory."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot. It is made when it is read, because many polls can end between two scrapes."""
        if self._current is None:
            self._current = replace(
                self._frame,
                records=MappingProxyType(self._records.copy()),
                durations=MappingProxyType(self._durations.copy()),
            )
        return self._current

    @snapshot.setter
    def snapshot(self, snapshot: Snapshot) -> None:
        self._frame = replace(snapshot, records=MappingProxyType({}), durations=MappingProxyType({}))
        self._records = dict(snapshot.records)
        self._durations = dict(snapshot.durations)
        self._current = snapshot

    def __len__(self) -> int:
        """The number of workspaces."""
        return len(self._records)

    def record(self, name: str) -> Record:
        """The current record of a workspace. Raises `KeyError` if it is not configured."""
        return self._records[name]

    def note_web_configuration(self, well: bool) -> None:  # noqa: FBT001 - the only argument
        """Notes whether the web configuration file could be used when it was last read."""
        self.snapshot = replace(self.snapshot, web_configured_well=well)

    def note_dropped_log_lines(self, count: int) -> None:
        """Notes how many log lines were dropped since the start."""
        if count != self.snapshot.log_lines_dropped:
            self.snapshot = replace(self.snapshot, log_lines_dropped=count)

    def put(self, record: Record, exchanges: Iterable[Exchange] = ()) -> None:
        """Puts in a workspace's new record, and the durations of the requests that led to it."""
        self._records[record.target.name] = record
        for exchange in exchanges:
            self._durations[exchange.api] = _observed(self._durations.get(exchange.api, _NO_DURATION), exchange.seconds)
        self._current = None

    def reconfigure(self, fresh: Snapshot) -> None:
        """Takes over the workspaces of a new configuration, and everything that does not come from polls.

        A workspace whose URL is the same keeps what is known of it.
        """
        known = self.snapshot.records
        records = {name: _renewed(known.get(name), record) for name, record in fresh.records.items()}
        self.snapshot = replace(
            fresh,
            records=MappingProxyType(records),
            durations=self.snapshot.durations,
            web_configured_well=self.snapshot.web_configured_well,
        )

    def refuse_configuration(self) -> None:
        """Notes that a new configuration could not be used."""
        self.snapshot = replace(self.snapshot, configured_well=False)


def _renewed(known: Record | None, fresh: Record) -> Record:
    """The record after a reload. Endpoints that rest after a failure are due again: the cause may be corrected now."""
    if known is None or known.target.url != fresh.target.url:
        return fresh
    is_same = (known.target, known.credentials_loaded) == (fresh.target, fresh.credentials_loaded)
    if is_same and all(feed.ok for feed in known.feeds.values()):
        return known
    feeds = {api: replace(feed, retry=not feed.ok) for api, feed in known.feeds.items() if api in fresh.target.apis}
    return replace(
        known,
        target=fresh.target,
        feeds=MappingProxyType(feeds),
        credentials_loaded=fresh.credentials_loaded,
    )


def fold(record: Record, poll: Poll) -> Record:
    """The record after this poll."""
    answers = {result.exchange.api: result.answer for result in poll.results if isinstance(result, Success)}
    info = answers.get(Api.INFO)
    asked = replace(
        record,
        feeds=_fold_feeds(record, poll),
        version=info.version if isinstance(info, InfoAnswer) else record.version,
    )
    look = _look(record, asked, answers, poll)
    history = record.history if look is None else histories.fold(record.history, look)
    observation = _observe(answers, history, asked.version)
    told = observation is not None
    state = observation.state if observation is not None and look is not None else record.last_state
    return replace(
        asked,
        history=history,
        observation=observation if told else record.observation,
        told=told,
        polls=record.polls + 1,
        first_poll=poll.ended if record.first_poll is None else record.first_poll,
        last_poll=poll.ended,
        last_success=_answered(poll, observation.source)
        if observation is not None
        else _moved(record, poll.started, poll.ended),
        requests=_count_requests(record.requests, poll.exchanges),
        failures=_add(record.failures, _counted_failures(record, poll, told=told)),
        last_state=state,
        transitions=_add(record.transitions, _transition(record.last_state, state)),
    )


def _answered(poll: Poll, source: Api) -> float:
    """When the answer with the state came. If the exporter was stopped after that, the poll ended much later."""
    came = (each.exchange.answered for each in poll.results if each.exchange.api is source)
    return min(at for at in (poll.ended, *came) if at is not None)


def _moved(record: Record, started: float, ended: float) -> float | None:
    """The time of the last success. If the clock was set back since the last poll, it moves back too, so its age stays.

    Otherwise an old answer would count as fresh when the clock shows that time again.
    """
    if record.last_success is None or record.last_poll is None or ended >= record.last_poll - CLOCKS_AGREE:
        return record.last_success
    since = record.interval if record.plan is None else record.plan.interval
    return ended - (record.last_poll - record.last_success) - since - max(0.0, ended - started)


def note_fault(record: Record, now: float) -> Record:
    """The record after a poll that a bug of ours ended. It counts as `internal`, and the state was not read."""
    api = next(api for api in Api if api in record.target.apis)
    return replace(
        record,
        told=False,
        polls=record.polls + 1,
        last_poll=now,
        last_success=_moved(record, now, now),
        failures=_add(record.failures, [(api, Reason.INTERNAL)]),
    )


def _look(before: Record, after: Record, answers: Mapping[Api, object], poll: Poll) -> Look | None:
    """The operations that the poll showed, with times by the server's clock; `None` if neither feed answered."""
    status, listing = answers.get(Api.STATUS), answers.get(Api.LIST)
    sightings: list[Sighting] = []
    if isinstance(status, StatusAnswer) and status.operation is not None:
        sightings.append(Sighting(status.operation, status.state))
    if isinstance(listing, ListAnswer):
        sightings += [Sighting(each, state_of(each)) for each in listing.operations]
    elif not isinstance(status, StatusAnswer):
        return None
    gone = [feed.gone_since for api, feed in before.feeds.items() if api in FEEDS and feed.gone_since is not None]
    ahead = after.clock_offset or 0.0
    return Look(
        sightings=sightings,
        listed=_listed(listing, before.history.listed),
        named=status.operation.id if isinstance(status, StatusAnswer) and status.operation is not None else None,
        began=poll.started + ahead,
        ended=poll.ended + ahead,
        gone_since=min(gone) + ahead if gone else None,
        interval=before.interval,
        offset=ahead,
        version=after.version,
    )


def _listed(listing: object, before: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The ids of the list, as the same object as before if they are the same: 5,000 workspaces have 100,000 of them."""
    if not isinstance(listing, ListAnswer):
        return None
    listed = tuple(dict.fromkeys([operation.id for operation in listing.operations]))
    return before if listed == before else listed


def _observe(answers: Mapping[Api, object], history: History, version: str | None) -> Observation | None:
    """The state by this poll: from `import.status`, else from the list, else from `getImportProgress`."""
    source = next((api for api in FEEDS if api in answers), None)
    if source is not None:
        track = history.newest
        if track is None:
            return _nothing(source)
        return Observation(
            source=source,
            state=track.state,
            outcome=track.outcome,
            operation=track.operation,
            track=track,
            others_run=bool(histories.running_beside(history)),
        )
    progress = answers.get(Api.PROGRESS)
    if not isinstance(progress, ProgressAnswer):
        return None
    if progress.operation is None:
        return _nothing(Api.PROGRESS)
    return Observation(
        source=Api.PROGRESS,
        state=state_of(progress.operation),
        outcome=told_by_progress(progress.operation, version),
        operation=progress.operation,
        track=None,
    )


def _nothing(source: Api) -> Observation:
    return Observation(source=source, state=State.NONE, outcome=Outcome.NONE, operation=None, track=None)


def _fold_feeds(record: Record, poll: Poll) -> Mapping[Api, Feed]:
    feeds = record.feeds
    folded = {
        **feeds,
        **{each.exchange.api: _fold_feed(feeds.get(each.exchange.api), each, poll) for each in poll.results},
    }
    if Api.PROGRESS in folded and poll.answered and not folded[Api.PROGRESS].ok:
        del folded[Api.PROGRESS]
    return MappingProxyType({api: folded[api] for api in Api if api in folded and api in record.target.apis})


def _fold_feed(before: Feed | None, result: Result, poll: Poll) -> Feed:
    exchange = result.exchange
    held = None if before is None else before.skew
    # If a proxy answers instead of the server, the date is by the proxy's clock.
    skew = exchange.skew if exchange.skew is not None and _is_rocketchats(result) else held
    feed = Feed(
        api=exchange.api,
        at=poll.started,
        answered=poll.ended,
        budget=exchange.budget,
        blocked_until=_blocked_until(result, poll.ended),
        skew=skew,
        size=exchange.size,
    )
    if isinstance(result, Success):
        return feed
    return replace(
        feed,
        size=0,
        budget=exchange.budget if before is None or exchange.budget is not None else before.budget,
        reason=result.reason,
        detail=result.detail,
        remedy=result.remedy,
        failures=1 if before is None else before.failures + 1,
        since=poll.ended if before is None or before.since is None else before.since,
        gone_since=_gone_since(before, result, poll),
        alone=not any(_is_rocketchats(other) for other in poll.results if other is not result),
    )


def _gone_since(before: Feed | None, failure: Failure, poll: Poll) -> float | None:
    if failure.by_rocketchat:
        return None
    if before is not None and before.gone_since is not None:
        return before.gone_since
    return poll.ended if failure.reason is Reason.CONNECTION else None


def _blocked_until(result: Result, now: float) -> float | None:
    budget = result.exchange.budget
    if budget is not None and budget.remaining == 0:
        return now + budget.wait
    limited = isinstance(result, Failure) and result.reason is Reason.RATE_LIMITED
    return now + (RATE_LIMIT_WINDOW if budget is None else budget.wait) if limited else None


def _is_rocketchats(result: Result) -> bool:
    return isinstance(result, Success) or result.by_rocketchat


def _counted_failures(record: Record, poll: Poll, *, told: bool) -> Iterable[tuple[Api, Reason]]:
    """The failures to count. If another endpoint tells the state, a refusal is a known limit and counts only once."""
    for result in poll.results:
        if isinstance(result, Failure):
            before = record.feeds.get(result.exchange.api)
            known = before is not None and before.reason is result.reason
            if not (told and known and result.reason in REFUSALS):
                yield result.exchange.api, result.reason


def _transition(before: State | None, after: State | None) -> Iterable[State]:
    return [after] if before is not None and after is not None and after is not before else []


def _count_requests(
    counts: Mapping[tuple[Api, str], int], exchanges: Iterable[Exchange]
) -> Mapping[tuple[Api, str], int]:
    counted = dict(counts)
    for exchange in exchanges:
        key = exchange.api, _code(exchange)
        if key not in counted and [api for api, _ in counted].count(exchange.api) >= MOST_CODES:
            key = exchange.api, OTHER_CODE
        counted[key] = counted.get(key, 0) + 1
    return MappingProxyType(counted)


def _code(exchange: Exchange) -> str:
    return "none" if exchange.code is None else str(exchange.code)


def _add(counts: Mapping[_Key, int], keys: Iterable[_Key]) -> Mapping[_Key, int]:
    added: dict[_Key, int] = {}
    for key in keys:
        added[key] = added.get(key, counts.get(key, 0)) + 1
    return MappingProxyType({**counts, **added}) if added else counts


_NO_DURATION: Final = Histogram(counts=(0,) * (len(DURATION_BUCKETS) + 1))


def _observed(histogram: Histogram, seconds: float) -> Histogram:
    counts = list(histogram.counts)
    counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
    return Histogram(counts=tuple(counts), total=histogram.total + seconds)
