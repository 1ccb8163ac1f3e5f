"""Which of the shipped alerts a workspace raises, from the same facts and by the same limits as the rules.

The rules are the same conditions in PromQL (`deploy/prometheus`), and a test compares the two at every scrape. It
leaves out what one exporter cannot know: a target that is gone, a replica that sees more, an outage that comes and
goes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from rc_import_exporter.core.domain import FEEDS, Api, Counts, Expectation, Outcome, Reason, State, Step, known_importer
from rc_import_exporter.core.progress import failed_ratio, progressed
from rc_import_exporter.core.snapshot import Observation, Record, Track
from rc_import_exporter.core.thresholds import (
    ATTEMPT,
    FAILED_RATIO,
    LATE_POLL,
    LOADING_STALLED_AFTER,
    LONGEST_RUN,
    LONGEST_WAIT,
    LOST_SIGHT,
    SLACK,
    SLACK_OF_USERS,
    STALLED_AFTER,
    TOLD_FOR,
)

SUCCESSES: Final = (Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS)
BAD_ENDS: Final = (Outcome.FAILED, Outcome.INCOMPLETE, Outcome.INTERRUPTED)
ANY: Final = ""
"""The importer of an expectation that is about all of them."""
WITH_MESSAGES: Final = frozenset({"csv", "slack", "hipchatenterprise", "other"})
"""Importers that may import messages, whose counts are written every 500 records."""

_BEFORE_6_3: Final = re.compile(r"[0-5]\..*|6\.[0-2](\..*)?")
_UNREACHABLE: Final = frozenset(
    {
        Reason.CONNECTION,
        Reason.TIMEOUT,
        Reason.TLS,
        Reason.SERVER,
        Reason.INVALID,
        Reason.TOO_LARGE,
        Reason.REDIRECTED,
        Reason.PROXY,
        Reason.INTERNAL,
    }
)


@unique
class Alert(StrEnum):
    """An alert's name without its prefix `RocketChatImport`."""

    FAILED = "Failed"
    CUT_OFF = "CutOff"
    STALLED = "Stalled"
    LOST_SIGHT = "LostSight"
    OVERDUE = "Overdue"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    NOTHING_IMPORTED = "NothingImported"
    UNCONFIRMED = "Unconfirmed"
    HIGH_ERROR_RATIO = "HighErrorRatio"
    RUNNING_TOO_LONG = "RunningTooLong"
    UNKNOWN_STATE = "UnknownState"
    WORKSPACE_UNREACHABLE = "WorkspaceUnreachable"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    PERMISSION_MISSING = "PermissionMissing"
    RATE_LIMITED = "RateLimited"
    DATA_STALE = "DataStale"
    WAITING_FOR_START = "WaitingForStart"
    CANCELED = "Canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alert whose condition holds, so that it is pending or fires.

    `importer` is empty where the alert is not about one. `value` is what the rule gives: seconds, a share, a number of
    records, or for the end of an import its instant in Unix seconds.
    """

    alert: Alert
    importer: str = ANY
    value: float = 1.0


def raised(record: Record, now: float) -> Iterator[Raised]:
    """The alerts that this workspace raises now."""
    there = record.server_time(now)
    yield from _ends(record, there)
    yield from _results(record, there)
    yield from _sight(record, now)
    yield from _overdue(record, now, there)
    held = record.held(now)
    if held is not None:
        yield from _unknown(held)
        yield from _rejects(record, held)
        if held.track is not None:
            yield from _progress(record, held.track, there)


def _ends(record: Record, there: float) -> Iterator[Raised]:
    """The bad end of each importer within the last 20 hours, if the same importer has not succeeded since."""
    dates = record.history.last_finished
    for alert, outcomes in _END_ALERTS.items():
        for importer in sorted({importer for importer, outcome in dates if outcome in outcomes}):
            ended = max(at for (of, outcome), at in dates.items() if of == importer and outcome in outcomes)
            success = _last_success(dates, importer)
            # An end that is known to be bad says more than one that may be bad.
            bad = (at for (of, outcome), at in dates.items() if of == importer and outcome in BAD_ENDS)
            known = alert is Alert.UNCONFIRMED and max(bad, default=ended - 1) >= ended
            if ended > there - TOLD_FOR and (success is None or success < ended) and not known:
                yield Raised(alert=alert, importer=importer, value=ended)


_END_ALERTS: Final[Mapping[Alert, tuple[Outcome, ...]]] = {
    Alert.FAILED: (Outcome.FAILED,),
    Alert.CUT_OFF: (Outcome.INCOMPLETE, Outcome.INTERRUPTED),
    Alert.UNCONFIRMED: (Outcome.UNCONFIRMED,),
    Alert.CANCELED: (Outcome.CANCELED,),
}


def _last_success(dates: Mapping[tuple[str, Outcome], float], importer: str) -> float | None:
    of = (at for (each, outcome), at in dates.items() if outcome in SUCCESSES and importer in (ANY, each))
    return max(of, default=None)


def _results(record: Record, there: float) -> Iterator[Raised]:
    """The records that the last finished operation of each importer rejected or left out, if it is done and ended
    recently.
    """
    dates = record.history.last_finished
    for importer, track in record.history.last_results.items():
        done = _last_success(dates, importer)
        if done is None or done != _last_end(dates, importer) or done <= there - TOLD_FOR:
            continue
        counts = track.operation.counts or Counts()
        limit = failed_ratio_limit(record.target.expect, importer)
        ratio = failed_ratio(counts)
        if _nothing_imported(record, importer, track, limit):
            yield Raised(alert=Alert.NOTHING_IMPORTED, importer=importer, value=float(counts.processed))
        elif limit is not None and ratio is not None and ratio > limit:
            yield Raised(alert=Alert.COMPLETED_WITH_ERRORS, importer=importer, value=ratio)


def _last_end(dates: Mapping[tuple[str, Outcome], float], importer: str) -> float | None:
    return max((at for (of, outcome), at in dates.items() if of == importer and outcome in _ENDS), default=None)


_ENDS: Final = (*SUCCESSES, *BAD_ENDS, Outcome.UNCONFIRMED, Outcome.CANCELED)
"""The outcomes that an operation can have after it ran."""


def _nothing_imported(record: Record, importer: str, track: Track, limit: float | None) -> bool:
    counts, total = track.operation.counts, 0
    completed = failed = 0
    if counts is not None:
        total, completed, failed = counts.total or 0, counts.completed or 0, counts.failed or 0
    least = record.target.expect.min_records if concerns(record.target.expect, importer) else None
    if least is not None and completed + failed < least:
        return True
    if counts is None or completed or limit is None:
        return False
    old = record.version is not None and _BEFORE_6_3.fullmatch(record.version) is not None
    return failed > 0 or total > (SLACK if importer in WITH_MESSAGES or old else SLACK_OF_USERS)


def concerns(expect: Expectation, importer: str) -> bool:
    """Whether the configured expectations are about this importer."""
    return expect.importer == ANY or known_importer(expect.importer) == known_importer(importer)


def failed_ratio_limit(expect: Expectation, importer: str) -> float | None:
    """The share of rejected records that is still acceptable; `None` if no number is too high.

    An API import counts each user who already exists as rejected, so only a configured limit can say how many are too
    many.
    """
    if expect.failed_ratio is not None and concerns(expect, importer):
        return expect.failed_ratio
    return None if importer == "api" else FAILED_RATIO


def _progress(record: Record, track: Track, there: float) -> Iterator[Raised]:
    """What takes too long."""
    limit = LOADING_STALLED_AFTER if track.outcome is Outcome.LOADING else STALLED_AFTER
    moved = progressed(record, track)
    still = 0.0 if moved is None else there - moved
    if track.outcome in (Outcome.LOADING, Outcome.RUNNING) and still > limit:
        yield Raised(alert=Alert.STALLED, value=still)
    if track.outcome is Outcome.RUNNING:
        expect = record.target.expect
        expected = expect.longest_run if concerns(expect, track.operation.importer) else None
        running = 0.0 if track.run_start is None else there - track.run_start.latest
        if running > (LONGEST_RUN if expected is None else expected) and still <= limit:
            yield Raised(alert=Alert.RUNNING_TOO_LONG, value=running)
    # Its last write is no earlier than its step, so it waits at least that long.
    since = track.step_started or track.operation.updated or there
    if track.outcome is Outcome.WAITING and there - since > LONGEST_WAIT:
        yield Raised(alert=Alert.WAITING_FOR_START, value=there - since)


def _rejects(record: Record, held: Observation) -> Iterator[Raised]:
    """Whether a running import rejects too many records."""
    if held.outcome is Outcome.RUNNING and held.operation is not None:
        ratio = failed_ratio(held.operation.counts)
        most = failed_ratio_limit(record.target.expect, held.operation.importer)
        if ratio is not None and most is not None and ratio > most:
            yield Raised(alert=Alert.HIGH_ERROR_RATIO, value=ratio)


def _unknown(held: Observation) -> Iterator[Raised]:
    if Step.UNKNOWN is held.step or State.UNKNOWN is held.state:
        yield Raised(alert=Alert.UNKNOWN_STATE)


def _sight(record: Record, now: float) -> Iterator[Raised]:
    """Why the state is not known: the reason to solve first. If an import ran, its state is no longer known either."""
    late = record.plan is not None and now - record.plan.next_poll > LATE_POLL
    if record.up(now):
        if late:
            yield Raised(alert=Alert.DATA_STALE)
        return
    yield Raised(alert=Alert.LOST_SIGHT if _was_active(record, now) else _blind(record, late=late))


def _was_active(record: Record, now: float) -> bool:
    """Whether an import loaded or ran when the state was last known, within the last 12 hours."""
    seen, stale_at = record.observation, record.stale_at
    active = seen is not None and seen.outcome in (Outcome.LOADING, Outcome.RUNNING)
    return active and stale_at is not None and now < stale_at + LOST_SIGHT


def _blind(record: Record, *, late: bool) -> Alert:
    reasons = {
        api: feed.reason for api, feed in record.feeds.items() if feed.reason is not None and api is not Api.INFO
    }
    if late:
        return Alert.DATA_STALE
    if Reason.UNAUTHORIZED in reasons.values():
        return Alert.CREDENTIALS_REFUSED
    if any(reasons.get(api) in _UNREACHABLE for api in FEEDS):
        return Alert.WORKSPACE_UNREACHABLE
    if Reason.RATE_LIMITED in reasons.values():
        return Alert.RATE_LIMITED
    if Reason.FORBIDDEN in reasons.values():
        return Alert.PERMISSION_MISSING
    return Alert.WORKSPACE_UNREACHABLE if reasons else Alert.DATA_STALE


def _overdue(record: Record, now: float, there: float) -> Iterator[Raised]:
    """No import has succeeded in the expected time.

    The first interval begins when the exporter first knows the expectation. Other alerts are about an import that runs,
    a bad end within the last interval, and a workspace whose state is not known.
    """
    expect, seen = record.target.expect, record.observation
    if expect.success_every is None or record.first_poll is None or not record.up(now):
        return
    importer = known_importer(expect.importer) if expect.importer else ANY
    dates = record.history.last_finished
    last = max(
        (at for at in (_last_success(dates, importer), last_complete(record, importer)) if at is not None), default=None
    )
    missing = min(now - record.first_poll, there - last if last is not None else float("inf"))
    bad = max(
        (at for (of, outcome), at in dates.items() if outcome in BAD_ENDS and importer in (ANY, of)), default=None
    )
    told = bad is not None and bad > there - min(ATTEMPT, expect.success_every)
    active = seen is not None and seen.outcome in (Outcome.LOADING, Outcome.RUNNING)
    if missing > expect.success_every and not told and not active and not _may_be_later(record, importer, there):
        yield Raised(alert=Alert.OVERDUE, importer=importer, value=missing)


def last_complete(record: Record, importer: str) -> float | None:
    """The date of a last import that is unconfirmed and processed every record: nothing can be missing from it."""
    dates = []
    for of, track in record.history.last_results.items():
        counts, at = track.operation.counts, record.history.last_finished.get((of, Outcome.UNCONFIRMED))
        if at is not None and importer in (ANY, of) and counts is not None and counts.total is not None:
            complete = counts.processed >= counts.total and at == _last_end(record.history.last_finished, of)
            dates += [at] if complete else []
    return max(dates, default=None)


def _may_be_later(record: Record, importer: str, there: float) -> bool:
    """Whether the newest operation is a success that is dated by its start, so that it may have ended within the
    interval.
    """
    track = None if record.observation is None else record.observation.track
    every = record.target.expect.success_every
    if (
        track is None
        or every is None
        or track.finished is not None
        or track.outcome not in (*SUCCESSES, Outcome.UNCONFIRMED)
    ):
        return False
    updated = track.operation.updated
    return (
        importer in (ANY, known_importer(track.operation.importer)) and updated is not None and updated > there - every
    )
