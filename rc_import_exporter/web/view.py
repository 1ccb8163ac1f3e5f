"""What a page and the JSON API show of a workspace: a pure reading of its record and the clock.

`pages` makes HTML of it, `report` JSON. Instants are Unix seconds and durations seconds, as everywhere; ages of what a
server dated are measured by that server's clock, as far as its answers told it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from rc_import_exporter.core import advice
from rc_import_exporter.core.domain import (
    FEEDS,
    LOADING_STEPS,
    Api,
    Counts,
    Kind,
    Operation,
    Outcome,
    Reason,
    State,
    Step,
    known_importer,
)
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Snapshot, Track
from rc_import_exporter.core.verdict import sentence, spell

STALLED_AFTER: Final = 1800.0
"""The limits of the alerts Stalled, RunningTooLong, WaitingForStart and HighErrorRatio, seconds and a share."""
LONGEST_RUN: Final = 43_200.0
LONGEST_WAIT: Final = 14_400.0
FAILED_RATIO: Final = 0.05
SETTLED_SKEW: Final = 2.0
"""Seconds that a server's clock may differ from ours without a correction: `Date` has whole ones."""
NOTABLE_SKEW: Final = 30.0
STILL_AFTER: Final = 60.0
"""Seconds without movement, and three of the gaps between movements before, after which a rate says nothing."""
GAPS_UNTIL_STILL: Final = 3.0
SUCCESSES: Final = (Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS)


@unique
class Level(StrEnum):
    """How much a workspace wants to be looked at, worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    ACTIVE = "active"
    WAITING = "waiting"
    QUIET = "quiet"


_ORDER: Final = tuple(Level)
_LEVELS: Final[Mapping[Outcome, Level]] = {
    Outcome.NONE: Level.QUIET,
    Outcome.WAITING: Level.WAITING,
    Outcome.LOADING: Level.ACTIVE,
    Outcome.RUNNING: Level.ACTIVE,
    Outcome.SUCCEEDED: Level.QUIET,
    Outcome.COMPLETED_WITH_ERRORS: Level.WARNING,
    Outcome.INCOMPLETE: Level.CRITICAL,
    Outcome.UNCONFIRMED: Level.WARNING,
    Outcome.FAILED: Level.CRITICAL,
    Outcome.INTERRUPTED: Level.CRITICAL,
    Outcome.DISCARDED: Level.QUIET,
    Outcome.CANCELED: Level.WARNING,
    Outcome.UNKNOWN: Level.WARNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """An operation, what it has done, and how fast.

    `progress` is a share from 0 to 1, `None` before it is ready, when the total still grows. `records_per_second` and
    `seconds_left` are `None` unless it runs and moves.
    """

    id: str
    importer: str
    valid: bool | None
    created: float | None
    updated: float | None
    run_started: float | None = None
    progressed: float | None = None
    finished: float | None = None
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    staged: Mapping[Kind, int]
    progress: float | None = None
    records_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a poll told: the server's words, the outcome, and the cause in a sentence. `at` is when it was told.

    `level` is the outcome's own; what else is known of the workspace may make its level a worse one.
    """

    at: float | None
    state: State
    step: Step
    outcome: Outcome
    sentence: str
    source: Api
    level: Level
    operation: OperationView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Endpoints that fail alike. `known_limit` says that another way is enough, so that nothing has to be done."""

    apis: tuple[Api, ...]
    reason: Reason
    title: str
    detail: str
    since: float | None
    failures: int
    known_limit: bool
    advice: tuple[str, ...]
    alert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something else to know, and how much it wants to be looked at; `title` and `alert` as in `advice`."""

    level: Level
    text: str
    title: str = ""
    alert: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """An endpoint's budget: calls in a minute, calls left, and when it is full again by our clock."""

    api: Api
    limit: int | None
    remaining: int | None
    resets: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An operation of before."""

    id: str
    importer: str
    outcome: Outcome
    title: str
    sentence: str
    level: Level
    created: float | None
    finished: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """Everything that is shown of one workspace at the instant `now`.

    `current` is `None` where the state cannot be told; `last_known` is there only then. `fragile` says that a server
    of Rocket.Chat that starts now would end an import, `restart_safe` that none would, where that can be told: false
    also for an import that is out of sight. `alerts` are those that tell of what is wrong, without their
    prefix: headings of the runbook.
    """

    name: str
    url: str
    labels: Mapping[str, str]
    now: float
    up: bool
    level: Level
    title: str
    sentence: str
    fragile: bool
    restart_safe: bool | None
    current: Sight | None
    last_known: Sight | None
    source: str
    advice: tuple[str, ...]
    alerts: tuple[str, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[Remark, ...]
    rate_limits: tuple[RateLimit, ...]
    server_version: str | None
    last_poll: float | None
    last_success: float | None
    next_poll: float | None
    interval: float

    @property
    def shown(self) -> Sight | None:
        """What there is to show, be it of now or of before."""
        return self.current or self.last_known

    @property
    def failures(self) -> tuple[Problem, ...]:
        """The problems that are to be solved."""
        return tuple(problem for problem in self.problems if not problem.known_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Workspaces, the worst first: those that a search left, and of all of them how many want which attention.

    `restart_safe` is false if it is so for any of all, else `None` if it cannot be told for any of them.
    """

    now: float
    workspaces: tuple[WorkspaceView, ...]
    levels: Mapping[Level, int]
    fragile: tuple[str, ...]
    restart_safe: bool | None
    total: int


def overview(snapshot: Snapshot, now: float, search: str = "", level: str = "") -> Overview:
    """All workspaces, or those in whose name or labels every word of `search` occurs, and that have this level."""
    views = [view(record, now) for record in snapshot.records.values()]
    words = search.lower().split()
    found = [each for each in views if _matches(each, words) and level in ("", each.level)]
    return Overview(
        now=now,
        workspaces=tuple(sorted(found, key=_urgency)),
        levels={each: sum(one.level is each for one in views) for each in Level},
        fragile=tuple(sorted(each.name for each in views if each.fragile)),
        restart_safe=_all_safe([each.restart_safe for each in views]),
        total=len(views),
    )


def view(record: Record, now: float) -> WorkspaceView:
    """One workspace as it is shown now."""
    held = record.held(now)
    there = _server_time(record, now)
    current = None if held is None else _sight(held, record, there)
    known = None if held is not None or record.observation is None else _sight(record.observation, record, there)
    up = record.up(now)
    problems = tuple(_problems(record, now, up=up))
    remarks = tuple(_remarks(record, held, there, now))
    level = min([_level(record, held, up=up), *(remark.level for remark in remarks)], key=_ORDER.index)
    title, told = _headline(record, current, problems)
    title = next((each.title for each in remarks if each.title and each.level is level), title)
    return WorkspaceView(
        name=record.target.name,
        url=record.target.url,
        labels=record.target.labels,
        now=now,
        up=up,
        level=level,
        title=title,
        sentence=told,
        fragile=held is not None and held.fragile,
        restart_safe=record.restart_safe(now),
        current=current,
        last_known=known,
        source=_source(record, held),
        advice=() if current is None else advice.OUTCOMES[current.outcome].advice,
        alerts=tuple(dict.fromkeys(_alerts(current, remarks, problems))),
        problems=problems,
        remarks=remarks,
        rate_limits=tuple(_rate_limits(record)),
        server_version=record.version,
        last_poll=record.last_poll,
        last_success=record.last_success,
        next_poll=None if record.plan is None else record.plan.next_poll,
        interval=record.interval if record.plan is None else record.plan.interval,
    )


def _all_safe(told: Collection[bool | None]) -> bool | None:
    if False in told:
        return False
    return None if None in told else True


def _matches(each: WorkspaceView, words: Iterable[str]) -> bool:
    known = [each.name, *(f"{key}={value}".lower() for key, value in each.labels.items())]
    return all(any(word in text for text in known) for word in words)


def _urgency(each: WorkspaceView) -> tuple[int, float, str]:
    """Worst first, then what happened last, then by name."""
    operation = None if each.shown is None else each.shown.operation
    at = None if operation is None else operation.finished or operation.created
    return _ORDER.index(each.level), -(at or 0.0), each.name


def _server_time(record: Record, now: float) -> float:
    """Now, by the clock that dated the operations."""
    skew = _skew(record)
    return now if skew is None or abs(skew) < SETTLED_SKEW else now + skew


def _skew(record: Record) -> float | None:
    return next((feed.skew for feed in record.feeds.values() if feed.ok and feed.skew is not None), None)


def _sight(seen: Observation, record: Record, there: float) -> Sight:
    return Sight(
        at=record.last_success,
        state=seen.state,
        step=seen.step,
        outcome=seen.outcome,
        sentence=_capital(_told(seen)),
        source=seen.source,
        level=_level_seen(seen),
        operation=None if seen.operation is None else _operation(seen.operation, seen.track, there, moving=record.told),
    )


def _told(seen: Observation) -> str:
    if seen.track is not None:
        return sentence(seen.track)
    if seen.operation is None:
        return "nothing was ever imported"
    counts = seen.operation.counts
    done = "" if counts is None or not counts.total else f", {counts.processed:,} of {counts.total:,} records"
    return f"all that can be told: {advice.STEPS[seen.step]}{done}"


def _operation(operation: Operation, track: Track | None, there: float, *, moving: bool) -> OperationView:
    counts = operation.counts or Counts()
    rate = _rate(track, there) if moving and track is not None and track.outcome is Outcome.RUNNING else None
    return OperationView(
        id=operation.id,
        importer=operation.importer,
        valid=operation.valid,
        created=operation.created,
        updated=operation.updated,
        run_started=None if track is None else track.run_started,
        progressed=None if track is None else track.progressed,
        finished=None if track is None else track.finished,
        total=counts.total,
        completed=counts.completed if operation.counts is None else counts.completed or 0,
        failed=counts.failed if operation.counts is None else counts.failed or 0,
        staged=counts.staged,
        progress=_progress(operation),
        records_per_second=rate,
        seconds_left=None if rate is None else _seconds_left(counts, rate),
    )


def _progress(operation: Operation) -> float | None:
    counts = operation.counts
    if counts is None or not counts.total or operation.step in {Step.NEW, *LOADING_STEPS}:
        return None
    return min(1.0, counts.processed / counts.total)


def _rate(track: Track, there: float) -> float | None:
    """Records per second over the movements remembered; `None` where it has stopped moving."""
    if len(track.pace) < 2:
        return None
    (began, before), (ended, after) = track.pace[0], track.pace[-1]
    gap = (ended - began) / (len(track.pace) - 1)
    if gap <= 0 or after <= before or there - ended > max(STILL_AFTER, GAPS_UNTIL_STILL * gap):
        return None
    return (after - before) / (ended - began)


def _seconds_left(counts: Counts, rate: float) -> float | None:
    left = (counts.total or 0) - counts.processed
    return left / rate if left > 0 else None


def _level(record: Record, held: Observation | None, *, up: bool) -> Level:
    if held is None:
        return _level_unseen(record)
    level = _level_seen(held)
    return level if up else min(level, Level.WARNING, key=_ORDER.index)


def _level_unseen(record: Record) -> Level:
    """Losing sight of an import is worse than not seeing a workspace at rest; not to have looked yet is neither."""
    if record.polls == 0:
        return Level.WAITING
    return Level.CRITICAL if record.observation is not None and record.observation.fragile else Level.WARNING


def _level_seen(held: Observation) -> Level:
    if held.outcome is Outcome.UNKNOWN and held.active and held.step is not Step.UNKNOWN:
        return Level.ACTIVE if held.fragile else Level.WAITING
    importer = "" if held.operation is None else held.operation.importer
    if held.outcome is Outcome.COMPLETED_WITH_ERRORS and importer == "api":
        # Everyone who exists already is an error of an API import: only an expectation can tell what is too much.
        return Level.QUIET
    return _LEVELS[held.outcome]


def _headline(record: Record, current: Sight | None, problems: Iterable[Problem]) -> tuple[str, str]:
    if current is not None:
        guessed = current.outcome is Outcome.UNKNOWN and current.level is Level.ACTIVE
        return "Seems to import" if guessed else advice.OUTCOMES[current.outcome].title, current.sentence
    if record.polls == 0:
        return "Not polled yet", "The first poll comes in a moment"
    failing = next((each for each in problems if not each.known_limit), None)
    return "Cannot tell", "Its answers are too old" if failing is None else f"{failing.title}: {failing.detail}"


def _alerts(current: Sight | None, remarks: Iterable[Remark], problems: Iterable[Problem]) -> Iterator[str]:
    yield from (each.alert for each in remarks if each.alert)
    if current is not None and current.level in (Level.CRITICAL, Level.WARNING):
        yield from filter(None, [advice.OUTCOMES[current.outcome].alert])
    yield from (each.alert for each in problems if each.alert)


def _source(record: Record, held: Observation | None) -> str:
    """Which endpoint told the state, and whether that is enough, in words."""
    if held is None:
        return ""
    status, listing = record.feeds.get(Api.STATUS), record.feeds.get(Api.LIST)
    match held.source:
        case Api.LIST if status is None or status.refused:
            return "the list of operations (read-only: enough)"
        case Api.LIST:
            return "the list of operations, because import.status fails"
        case Api.PROGRESS:
            return "getImportProgress alone, which does not tell whether an import is still valid"
        case _ if listing is not None and listing.ok:
            return "import.status and the list of operations"
        case _:
            return "import.status; what comes and goes between two polls is not seen"


def _problems(record: Record, now: float, *, up: bool) -> Iterator[Problem]:
    """Endpoints that fail alike are one problem, those to be solved first."""
    alike: dict[tuple[bool, Reason, str], list[Feed]] = {}
    for api, feed in sorted(record.feeds.items()):
        if feed.reason is not None:
            alike.setdefault((_is_known_limit(api, feed, up=up), feed.reason, feed.detail), []).append(feed)
    for (known_limit, reason, detail), feeds in sorted(alike.items(), key=lambda item: item[0][0]):
        yield _problem(reason, detail, feeds, known_limit=known_limit)
    if _is_our_fault(record):
        lost = Feed(
            api=Api.STATUS,
            at=now,
            answered=now,
            since=record.last_poll,
            failures=record.failures[Api.STATUS, Reason.INTERNAL],
        )
        yield _problem(Reason.INTERNAL, "the last poll was lost", [lost], known_limit=False)


def _problem(reason: Reason, detail: str, feeds: Sequence[Feed], *, known_limit: bool) -> Problem:
    apis = tuple(feed.api for feed in feeds)
    return Problem(
        apis=apis,
        reason=reason,
        title=advice.REASONS[reason].title,
        detail=detail,
        since=min((feed.since for feed in feeds if feed.since is not None), default=None),
        failures=max(feed.failures for feed in feeds),
        known_limit=known_limit,
        advice=() if known_limit else advice.advice_on(reason, apis),
        alert="" if known_limit else advice.REASONS[reason].alert,
    )


def _is_known_limit(api: Api, feed: Feed, *, up: bool) -> bool:
    return up and (feed.refused or api not in FEEDS)


def _is_our_fault(record: Record) -> bool:
    """Whether the last poll died of a fault of ours: it left no trace at any endpoint."""
    if record.told or record.polls == 0 or any(not feed.ok for feed in record.feeds.values()):
        return False
    return (Api.STATUS, Reason.INTERNAL) in record.failures


def _remarks(record: Record, held: Observation | None, there: float, now: float) -> Iterator[Remark]:
    if held is None and record.observation is not None and record.observation.fragile:
        text = "An import was under way when it was last seen"
        yield Remark(level=Level.CRITICAL, title="Lost sight", alert="LostSight", text=text)
    if held is not None and held.track is not None:
        yield from _of_progress(record, held.track, there)
        yield from _of_result(record, held.track)
    yield from _of_schedule(record, held, there)
    skew = _skew(record)
    if skew is not None and abs(skew) >= NOTABLE_SKEW:
        way = "ahead of" if skew > 0 else "behind"
        yield Remark(level=Level.QUIET, text=f"The server's clock is {spell(abs(skew))} {way} the exporter's")


def _of_progress(record: Record, track: Track, there: float) -> Iterator[Remark]:
    """What takes too long."""
    expected = _expects(record, track)
    longest = (record.target.expect.longest_run if expected else None) or LONGEST_RUN
    running = track.outcome in (Outcome.LOADING, Outcome.RUNNING)
    if running and track.progressed is not None and there - track.progressed >= STALLED_AFTER:
        still = spell(there - track.progressed)
        yield Remark(level=Level.CRITICAL, title="Stalled", alert="Stalled", text=f"It has not moved for {still}")
    if track.outcome is Outcome.RUNNING and track.run_started is not None and there - track.run_started > longest:
        taken = spell(there - track.run_started)
        text = f"It has been running for {taken}, longer than {spell(longest)}"
        yield Remark(level=Level.WARNING, title="Takes long", alert="RunningTooLong", text=text)
    created = track.operation.created
    if track.outcome is Outcome.WAITING and created is not None and there - created > LONGEST_WAIT:
        text = f"It has been waiting to be started for {spell(there - created)}"
        yield Remark(level=Level.WARNING, alert="WaitingForStart", text=text)


def _of_result(record: Record, track: Track) -> Iterator[Remark]:
    """What came out, held against what is expected, and what its counts do not mean."""
    counts, expect = track.operation.counts, record.target.expect
    if counts is None or track.outcome not in (*SUCCESSES, Outcome.RUNNING):
        return
    done, total = counts.processed, counts.total or 0
    if total and done > total:
        yield Remark(level=Level.QUIET, text="More than all: Rocket.Chat counts the users of a file import twice")
    if track.outcome not in SUCCESSES:
        return
    if done < total:
        text = "Fewer than all: records that were deselected stay in the total, and the last counts may be missing"
        yield Remark(level=Level.QUIET, text=text)
    watched = _expects(record, track)
    limit = expect.failed_ratio if watched else None
    judged = limit is not None or track.operation.importer != "api"
    if not judged and counts.failed:
        yield Remark(level=Level.QUIET, text="An API import counts everyone who already exists as rejected")
    ratio = _failed_ratio(counts)
    if judged and ratio > (FAILED_RATIO if limit is None else limit):
        text = f"{100 * ratio:.0f} % of the {'people' if _people(counts) else 'records'} were rejected"
        yield Remark(level=Level.WARNING, alert="HighErrorRatio", text=text)
    least = expect.min_records if watched else None
    if least is not None and done < least:
        text = f"{done:,} records, where at least {least:,} are expected"
        yield Remark(level=Level.WARNING, title="Too few records", alert="NothingImported", text=text)


def _failed_ratio(counts: Counts) -> float:
    """Of the people, where they were counted, for only they are ever told as rejected."""
    parts = [each for each in (counts.processed, counts.total or 0, _people(counts)) if each > 0]
    return min(1.0, (counts.failed or 0) / min(parts)) if parts else 0.0


def _people(counts: Counts) -> int:
    return counts.staged.get(Kind.USERS, 0) + counts.staged.get(Kind.CONTACTS, 0)


def _of_schedule(record: Record, held: Observation | None, there: float) -> Iterator[Remark]:
    """Whether the last success is longer ago than what is expected; the first may be under way, or still to come."""
    expect = record.target.expect
    if expect.success_every is None or record.history.horizon is None:
        return
    wanted = known_importer(expect.importer) if expect.importer else ""
    dates = [
        at
        for (importer, outcome), at in record.history.last_finished.items()
        if outcome in SUCCESSES and wanted in ("", importer)
    ]
    every = spell(expect.success_every)
    if not dates:
        text = f"No success is known, and one is expected every {every}"
        first = not record.history.last_finished or (held is not None and held.active)
        yield Remark(level=Level.QUIET if first else Level.WARNING, text=text)
    elif there - max(dates) > expect.success_every:
        ago = spell(there - max(dates))
        text = f"The last success is {ago} ago, and one is expected every {every}"
        yield Remark(level=Level.CRITICAL, title="Overdue", alert="Overdue", text=text)


def _expects(record: Record, track: Track) -> bool:
    return record.target.expect.importer in ("", track.operation.importer)


def _rate_limits(record: Record) -> Iterator[RateLimit]:
    for api, feed in sorted(record.feeds.items()):
        if feed.budget is not None:
            full_at = feed.answered + feed.budget.wait
            yield RateLimit(api=api, limit=feed.budget.limit, remaining=feed.budget.remaining, resets=full_at)


def past(record: Record) -> Iterator[Past]:
    """The operations before the current one that are known, the newest first."""
    tracks = sorted(record.history.tracks.items(), key=lambda item: -(item[1].operation.created or 0.0))
    for id, track in tracks:
        if id != record.history.current:
            yield Past(
                id=id,
                importer=track.operation.importer,
                outcome=track.outcome,
                title=advice.OUTCOMES[track.outcome].title,
                sentence=_capital(sentence(track)),
                level=_LEVELS[track.outcome],
                created=track.operation.created,
                finished=track.finished,
            )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
