"""What the pages and the JSON API show of a workspace: a pure function of its record and the clock.

`fields` declares what is shown, and `templates` lay it out. The ages of operations are measured by the server's clock,
which dated them.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final

from rc_import_exporter.core import advice, progress
from rc_import_exporter.core.alerts import raised
from rc_import_exporter.core.domain import FEEDS, Api, Counts, Outcome, Reason, Step
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Snapshot
from rc_import_exporter.core.verdict import duration, sentence
from rc_import_exporter.turns import all_taken
from rc_import_exporter.web.fields import (
    Danger,
    EarlierOperation,
    LastKnown,
    Level,
    OperationView,
    Overview,
    Polls,
    Problem,
    RateLimit,
    Records,
    Release,
    WorkspaceView,
)
from rc_import_exporter.web.remarks import is_earlier, remarks, unresolved
from rc_import_exporter.web.steps import danger, steps
from rc_import_exporter.web.writing import capital

DASHBOARD: Final = "/d/rocketchat-import"
"""The path of the dashboard of one workspace in Grafana."""
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


def overview(snapshot: Snapshot, now: float, search: str = "", level: str = "") -> Overview:
    """The workspaces with this level whose name or labels contain every word of `search`; empty matches all."""
    return all_taken(matching(all_taken(overview_steps(snapshot, now)), search, level))


def overview_steps(snapshot: Snapshot, now: float) -> Generator[None, None, Overview]:
    """All workspaces, one in each step."""
    ranked = []
    for record in snapshot.records.values():
        each = view(record, now, snapshot.links.grafana_url)
        ranked.append((_urgency(each), each))
        yield
    views = [each for _, each in sorted(ranked, key=itemgetter(0))]
    levels = Counter(each.level for each in views)
    return Overview(
        now=now,
        exporter=Release(version=snapshot.build.version, revision=snapshot.build.revision),
        restart_safe=_all_safe([each.restart_safe for each in views]),
        total=len(views),
        levels={each: levels[each] for each in Level},
        workspaces=tuple(views),
        endangered={why: tuple(sorted(each.name for each in views if each.danger is why)) for why in Danger},
    )


def matching(seen: Overview, search: str, level: str) -> Generator[None, None, Overview]:
    """The same with only the workspaces that `overview` would find, one in each step."""
    words, found = search.lower().split(), []
    for each in seen.workspaces:
        if level in ("", each.level) and _matches(each, words):
            found.append(each)
        yield
    return replace(seen, workspaces=tuple(found))


def details(record: Record, now: float, grafana_url: str = "") -> WorkspaceView:
    """One workspace with its earlier operations."""
    return replace(view(record, now, grafana_url), earlier_operations=tuple(_earlier_operations(record)))


def view(record: Record, now: float, grafana_url: str = "") -> WorkspaceView:
    """One workspace without its earlier operations. `grafana_url` is empty if it is not configured."""
    held, there = record.held(now), record.server_time(now)
    up = record.up(now)
    problems = tuple(_problems(record, now, up=up))
    alerts = tuple(raised(record, now))
    earlier = tuple(unresolved(record, alerts))
    of_now = [each for each in alerts if not is_earlier(record, each)]
    remarked = tuple(remarks(record, held, of_now, there))
    endangered = danger(record, now, of_now)
    own = [_level(record, held, up=up), *(each.level for each in remarked)]
    level = min((*own, *(each.level for each in earlier)), key=_ORDER.index)
    title, told = _headline(record, held, problems)
    # The title says what makes the workspace urgent.
    urgent = [each.title for each in remarked if each.title and each.level is level]
    if level not in own and (held is None or not held.active):
        urgent += [f"{each.title} before" for each in earlier if each.level is level]
    title = next(iter(urgent), title)
    return WorkspaceView(
        name=record.target.name,
        url=record.target.url,
        labels=dict(record.target.labels),
        grafana_url=f"{grafana_url}{DASHBOARD}?var-workspace={record.target.name}" if grafana_url else None,
        now=now,
        up=up,
        level=level,
        title=title,
        sentence=told,
        restart_safe=record.restart_safe(now),
        state=None if held is None else held.state,
        step=None if held is None else held.step,
        outcome=None if held is None else held.outcome,
        source=None if held is None else held.source,
        source_note=None if held is None else _source_note(record, held),
        operation=None if held is None else _operation(record, held, there),
        last_known=None if held is not None or record.observation is None else _last_known(record, there),
        advice=steps(record, held, of_now, problems, endangered, earlier),
        alerts=tuple(dict.fromkeys(each.alert for each in alerts)),
        unresolved=earlier,
        problems=problems,
        remarks=remarked,
        polls=_polls(record),
        rate_limits=tuple(_rate_limits(record)),
        server_version=record.version,
        danger=endangered,
        there=there,
    )


def _all_safe(each: Collection[bool | None]) -> bool | None:
    if False in each:
        return False
    return None if None in each else True


def _matches(each: WorkspaceView, words: Iterable[str]) -> bool:
    known = [each.name, *(f"{key}={value}".lower() for key, value in each.labels.items())]
    return all(any(word in text for text in known) for word in words)


def _urgency(each: WorkspaceView) -> tuple[int, float, str]:
    """Sorts the most urgent first, then what happened last, then by name."""
    operation = each.shown_operation
    at = None if operation is None else operation.ended_before or operation.created
    return _ORDER.index(each.level), -(at or 0.0), each.name


def _last_known(record: Record, there: float) -> LastKnown | None:
    seen = record.observation
    if seen is None:
        return None
    return LastKnown(
        at=record.last_success,
        state=seen.state,
        step=seen.step,
        outcome=seen.outcome,
        sentence=_told(record, seen),
        source=seen.source,
        operation=_operation(record, seen, there),
    )


def _told(record: Record, seen: Observation) -> str:
    if seen.track is not None:
        return capital(sentence(seen.track))
    if seen.operation is None:
        return "The server holds no import operation any more" if record.history.emptied else "Nothing was imported yet"
    counts = seen.operation.counts
    done = "" if counts is None or not counts.total else f", {counts.processed:,} of {counts.total:,} records"
    return f"Only the step is known: {advice.STEPS[seen.step]}{done}"


def _operation(record: Record, seen: Observation, there: float) -> OperationView | None:
    operation, track = seen.operation, seen.track
    if operation is None:
        return None
    # A rate is only of now if the last poll was answered.
    moving = track if record.told else None
    left = None if moving is None else progress.seconds_left(moving, there)
    return OperationView(
        id=operation.id or None,
        importer=operation.importer,
        valid=operation.valid,
        created=operation.created,
        updated=operation.updated,
        run_started=None if track is None else track.run_started,
        progressed=None if track is None else progress.progressed(record, track),
        finished=None if track is None else track.finished,
        ended_after=None if track is None or track.end is None else track.end.earliest,
        ended_before=None if track is None or track.end is None else track.end.latest,
        running_by=None if track is None or track.run_start is None else track.run_start.latest,
        records=_records(operation.counts),
        progress_ratio=progress.ratio(operation),
        records_per_second=None if moving is None else progress.rate(moving, there),
        seconds_left=left,
        level=_level_seen(seen),
        took="" if track is None else duration(track),
        expected_end=None if left is None else there - (record.clock_offset or 0.0) + left,
    )


def _records(counts: Counts | None) -> Records:
    if counts is None:
        return Records(total=None, completed=None, failed=None, staged={})
    return Records(
        total=counts.total, completed=counts.completed or 0, failed=counts.failed or 0, staged=dict(counts.staged)
    )


def _level(record: Record, held: Observation | None, *, up: bool) -> Level:
    """The level without the remarks."""
    if held is not None:
        level = _level_seen(held)
        return level if up else min(level, Level.WARNING, key=_ORDER.index)
    if record.polls == 0:
        return Level.WAITING
    # To lose sight of an import is worse than to lose sight of a workspace at rest.
    return Level.CRITICAL if record.observation is not None and record.observation.fragile else Level.WARNING


def _level_seen(seen: Observation) -> Level:
    """The level of the outcome."""
    # `getImportProgress` alone does not tell whether an import is still valid, so its outcome is unknown.
    if seen.outcome is Outcome.UNKNOWN and seen.active and seen.step is not Step.UNKNOWN:
        return Level.ACTIVE if seen.fragile else Level.WAITING
    importer = "" if seen.operation is None else seen.operation.importer
    if seen.outcome is Outcome.COMPLETED_WITH_ERRORS and importer == "api":
        # An API import counts each user who already exists as an error. A remark tells if there are too many.
        return Level.QUIET
    return _LEVELS[seen.outcome]


def _headline(record: Record, held: Observation | None, problems: Iterable[Problem]) -> tuple[str, str]:
    """The title and the sentence."""
    if held is not None:
        return _title(record, held), _told(record, held)
    if record.polls == 0:
        return "Not polled yet", "The first poll comes in a moment"
    failing = next((each for each in problems if not each.known_limit), None)
    return advice.UNSEEN, "The last answer is too old" if failing is None else f"{failing.title}: {failing.detail}"


def _title(record: Record, held: Observation) -> str:
    if held.operation is None and record.history.emptied:
        return "No operation"
    guessed = held.outcome is Outcome.UNKNOWN and _level_seen(held) is Level.ACTIVE
    return "Probably importing" if guessed else advice.OUTCOMES[held.outcome].title


def _source_note(record: Record, held: Observation) -> str:
    """Which endpoint told the state, and whether that is enough."""
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
            return "import.status; an import that starts and ends between two polls is not seen"


def _problems(record: Record, now: float, *, up: bool) -> Iterator[Problem]:
    """Endpoints that fail alike are one problem. Known limits come last."""
    alike: dict[tuple[bool, Reason, str], list[Feed]] = {}
    for api, feed in sorted(record.feeds.items()):
        if feed.reason is not None:
            known_limit = up and (feed.refused or api not in FEEDS)
            alike.setdefault((known_limit, feed.reason, feed.detail), []).append(feed)
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
        yield _problem(Reason.INTERNAL, "the last poll ended with an error", [lost], known_limit=False)


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
        advice=() if known_limit else advice.advice_on(reason, apis, feeds[0].remedy),
        alert="" if known_limit else advice.REASONS[reason].alert,
    )


def _is_our_fault(record: Record) -> bool:
    """Whether a bug in the exporter ended the last poll: then no endpoint has failed, and no state was read."""
    if record.told or record.polls == 0 or any(not feed.ok for feed in record.feeds.values()):
        return False
    return (Api.STATUS, Reason.INTERNAL) in record.failures


def _polls(record: Record) -> Polls:
    return Polls(
        last=record.last_poll,
        last_success=record.last_success,
        next=None if record.plan is None else record.plan.next_poll,
        interval_seconds=record.interval if record.plan is None else record.plan.interval,
    )


def _rate_limits(record: Record) -> Iterator[RateLimit]:
    for api, feed in sorted(record.feeds.items()):
        if feed.budget is not None:
            full_at = feed.answered + feed.budget.wait
            yield RateLimit(api=api, limit=feed.budget.limit, remaining=feed.budget.remaining, resets=full_at)


def _earlier_operations(record: Record) -> Iterator[EarlierOperation]:
    tracks = sorted(record.history.tracks.items(), key=lambda item: -(item[1].operation.created or 0.0))
    for id, track in tracks:
        if id != record.history.current:
            yield EarlierOperation(
                id=id,
                importer=track.operation.importer,
                outcome=track.outcome,
                sentence=capital(sentence(track)),
                created=track.operation.created,
                finished=track.finished,
                title=advice.OUTCOMES[track.outcome].title,
                level=_LEVELS[track.outcome],
            )
