"""Remarks on a workspace: what takes too long, what was rejected, which expectations are not met, and bad ends of
earlier imports that still need someone.

Problems come from `alerts`, so that a page names an alert only if the rules raise it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rc_import_exporter.core import advice
from rc_import_exporter.core.alerts import ANY, SUCCESSES, Alert, Raised, concerns, failed_ratio_limit, last_complete
from rc_import_exporter.core.domain import Api, Outcome, known_importer
from rc_import_exporter.core.history import running_beside
from rc_import_exporter.core.progress import people
from rc_import_exporter.core.snapshot import History, Observation, Record, Track
from rc_import_exporter.core.thresholds import CLOCKS_DISAGREE, LONGEST_RUN
from rc_import_exporter.core.verdict import counts_twice, rejected, sentence, spell
from rc_import_exporter.web.fields import Level, Remark, Unresolved
from rc_import_exporter.web.writing import capital

TOO_FEW: Final = "Too few records"
"""The title if an import is done and imported nothing, or fewer records than expected."""

GONE: Final = "A newer import has deleted the errors of its records. Rocket.Chat's log may still have some."
"""Instead of steps that read these errors."""
LET_IT_END: Final = "An import goes on now. First let it end, and do not start another one."


def remarks(record: Record, held: Observation | None, raised: Sequence[Raised], there: float) -> Iterator[Remark]:
    """All remarks on a workspace.

    `held` is the observation that is not too old. `there` is the current time by the server's clock.
    """
    named = {each.alert for each in raised}
    for each in raised:
        if (remark := _of_alert(record, held, each, there)) is not None:
            yield remark
    if held is not None and held.track is not None:
        yield from _of_counts(record, held.track)
        if Alert.NOTHING_IMPORTED not in named:
            yield from _of_number(record, held.track)
    if Alert.OVERDUE not in named:
        yield from _of_schedule(record, held, there)
    if held is not None and held.source is Api.LIST and held.track is not None:
        yield from _of_list(record.history)
    if held is not None and held.others_run:
        yield from _of_others(record.history)
    ahead = record.clock_offset
    if ahead is not None and abs(ahead) >= CLOCKS_DISAGREE:
        way = "ahead of" if ahead > 0 else "behind"
        yield Remark(level=Level.QUIET, text=f"The server's clock is {spell(abs(ahead))} {way} the exporter's")


def _of_list(history: History) -> Iterator[Remark]:
    if history.current not in (history.listed or ()):
        text = "The server's list of 20 operations lacks the newest one: its state may have changed"
        yield Remark(level=Level.WARNING, text=text)


def _of_others(history: History) -> Iterator[Remark]:
    """The imports that load or run beside the newest one."""
    for track in running_beside(history):
        yield Remark(level=Level.ACTIVE, text=f"Another import goes on as well: {track.operation.importer}")


def _of_alert(record: Record, held: Observation | None, raised: Raised, there: float) -> Remark | None:
    """The alert in a sentence; `None` for one that the outcome or the failing endpoints already tell."""
    level, title, text = Level.WARNING, "", ""
    match raised.alert:
        case Alert.LOST_SIGHT if held is None:
            level, title, text = Level.CRITICAL, "Lost sight", "An import was under way when the server last answered"
        case Alert.STALLED:
            level, title, text = Level.CRITICAL, "Stalled", f"No progress for {spell(raised.value)}"
        case Alert.RUNNING_TOO_LONG:
            title, text = "Running too long", _too_long(record, raised.value)
        case Alert.WAITING_FOR_START:
            track = record.history.newest
            least = "at least " if track is None or track.step_started is None else ""
            text = f"It has been waiting to be started for {least}{spell(raised.value)}"
        case Alert.HIGH_ERROR_RATIO | Alert.COMPLETED_WITH_ERRORS:
            text = _rejected(record, held, raised)
        case Alert.NOTHING_IMPORTED:
            title, text = TOO_FEW, _too_few(record, raised)
        case Alert.OVERDUE:
            level, title, text = Level.CRITICAL, "Overdue", _overdue(record, there)
        case _:
            return None
    return Remark(level=level, title=title, alert=raised.alert, text=text)


def _too_long(record: Record, seconds: float) -> str:
    track = record.history.newest
    seen = track is not None and track.run_started is not None
    expect, importer = record.target.expect, "" if track is None else track.operation.importer
    limit = expect.longest_run if expect.longest_run is not None and concerns(expect, importer) else LONGEST_RUN
    return f"It has been running for {'' if seen else 'at least '}{spell(seconds)}, longer than {spell(limit)}"


def _rejected(record: Record, held: Observation | None, raised: Raised) -> str:
    """Says that too many records were rejected. When an import is done, its own sentence says how many."""
    operation = None if held is None else held.operation
    limit = failed_ratio_limit(
        record.target.expect, raised.importer or ("" if operation is None else operation.importer)
    )
    more = "" if limit is None else f", more than the limit of {100 * limit:g} %"
    if operation is None or raised.alert is Alert.COMPLETED_WITH_ERRORS:
        return f"{100 * raised.value:.0f} % rejected{more}"
    return f"{rejected(operation)} so far{more}"


def _too_few(record: Record, raised: Raised) -> str:
    least = record.target.expect.min_records if concerns(record.target.expect, raised.importer) else None
    if least is not None and raised.value < least:
        return _fewer(raised.value, least)
    return "No record was imported"


def _fewer(done: float, least: int) -> str:
    return f"{done:,.0f} records, but at least {least:,} are expected"


def _overdue(record: Record, there: float) -> str:
    every = spell(record.target.expect.success_every or 0.0)
    dates = _dates(record)
    if not dates:
        return f"No success is known, but one is expected every {every}"
    last = max(dates)
    ago = f"{_at_most(record, last)}{spell(there - last)} ago"
    return f"The last {dates[last]} is {ago}, but one is expected every {every}"


def _dates(record: Record) -> Mapping[float, str]:
    """What counts as an expected success, by its date: a success, or an unconfirmed import that processed all."""
    wanted = known_importer(record.target.expect.importer) if record.target.expect.importer else ANY
    complete = last_complete(record, wanted)
    dates = {} if complete is None else {complete: "complete import"}
    for (importer, outcome), at in record.history.last_finished.items():
        if outcome in SUCCESSES and wanted in (ANY, importer):
            dates[at] = "success"
    return dates


def _at_most(record: Record, last: float) -> str:
    """Says that the success is more recent than its date: it had ended when the exporter first saw it, so it is dated
    by its start.
    """
    by_start = any(track.dated == last and track.finished is None for track in record.history.tracks.values())
    return "at most " if by_start else ""


def _of_counts(record: Record, track: Track) -> Iterator[Remark]:
    """What the counts do not mean."""
    counts, importer = track.operation.counts, track.operation.importer
    if counts is None or track.outcome not in (*SUCCESSES, Outcome.RUNNING):
        return
    done, total = counts.processed, counts.total or 0
    # Rejected users of a file import are counted as completed, too.
    most = total + people(counts) + (counts.failed or 0) if counts_twice(track.operation, record.version) else total
    if total < done <= most:
        text = "More than the total is normal: Rocket.Chat counts the users of a file import twice"
        yield Remark(level=Level.QUIET, text=text, about="done")
    elif importer != "api" and total < done <= total + (counts.failed or 0):
        text = "More than the total is normal: a file import counts a rejected user as completed, too"
        yield Remark(level=Level.QUIET, text=text, about="done")
    elif total and done > total:
        text = "More than the total is normal: Rocket.Chat does not count attachments in it"
        yield Remark(level=Level.QUIET, text=text, about="done")
    if track.outcome in SUCCESSES and done < total:
        text = "Less than the total is normal: it includes deselected records, and the last counts may be missing"
        yield Remark(level=Level.QUIET, text=text, about="done")
    if track.outcome in SUCCESSES and counts.failed and failed_ratio_limit(record.target.expect, importer) is None:
        text = "An API import counts each user who already exists as rejected"
        yield Remark(level=Level.QUIET, text=text, about="rejected")


def _of_number(record: Record, track: Track) -> Iterator[Remark]:
    """Says that an import had fewer records than expected, when the alert about that is over."""
    expect, counts = record.target.expect, track.operation.counts
    if expect.min_records is None or counts is None or not concerns(expect, track.operation.importer):
        return
    if track.outcome in SUCCESSES and counts.processed < expect.min_records:
        yield Remark(level=Level.QUIET, text=_fewer(counts.processed, expect.min_records))


def _of_schedule(record: Record, held: Observation | None, there: float) -> Iterator[Remark]:
    """Says that a success is missing while the alert does not: it waits for one interval, and for a running import."""
    every, dates = record.target.expect.success_every, _dates(record)
    if every is None or record.history.horizon is None:
        return
    # Nothing is wrong if the first import runs now or has not come yet.
    first = not record.history.last_finished or (held is not None and held.active)
    if not dates or there - max(dates) > every:
        yield Remark(level=Level.QUIET if first else Level.WARNING, text=_overdue(record, there))


def is_earlier(record: Record, each: Raised) -> bool:
    """Whether an alert is about the end of an import before the newest operation."""
    newest = record.history.newest
    if each.alert in _OF_ENDS:
        return (
            newest is None or newest.dated != each.value or known_importer(newest.operation.importer) != each.importer
        )
    return each.alert in _OF_RESULTS and record.history.last_results.get(each.importer) is not newest


_OF_ENDS: Final = frozenset({Alert.FAILED, Alert.CUT_OFF, Alert.UNCONFIRMED, Alert.CANCELED})
_OF_RESULTS: Final = frozenset({Alert.COMPLETED_WITH_ERRORS, Alert.NOTHING_IMPORTED})


def unresolved(record: Record, alerts: Iterable[Raised]) -> Iterator[Unresolved]:
    """The bad ends of earlier imports that these alerts are about. A newer import has deleted the errors of records."""
    for each in alerts:
        track = _ended(record, each) if is_earlier(record, each) else None
        if track is not None:
            words = advice.OUTCOMES[track.outcome]
            found = advice.fitting((*advice.ALERTS.get(each.alert, ()), *words.advice), track.operation.importer)
            steps = (GONE if step in advice.COMMANDS else step for step in found)
            yield Unresolved(
                importer=each.importer,
                outcome=track.outcome,
                alert=each.alert,
                sentence=capital(sentence(track)),
                at=track.dated,
                level=Level.CRITICAL if each.alert in (Alert.FAILED, Alert.CUT_OFF) else Level.WARNING,
                title=TOO_FEW if each.alert is Alert.NOTHING_IMPORTED else words.title,
                advice=tuple(dict.fromkeys([LET_IT_END, *steps] if _goes_on(record) else steps)),
            )


def _goes_on(record: Record) -> bool:
    seen = record.observation
    return seen is not None and seen.outcome in (Outcome.LOADING, Outcome.RUNNING)


def _ended(record: Record, each: Raised) -> Track | None:
    """The operation that an alert on an end is about."""
    if each.alert in _OF_RESULTS:
        return record.history.last_results.get(each.importer)
    ends = [track for track in record.history.tracks.values() if track.dated == each.value]
    return next((track for track in ends if known_importer(track.operation.importer) == each.importer), None)
