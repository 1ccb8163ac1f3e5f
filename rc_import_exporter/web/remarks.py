"""What else there is to know of a workspace: what takes too long, what was rejected, what was expected and is missing.

Most remarks stand for an alert and use its limits. They are pure, as all of `view` is.
"""

from collections.abc import Iterator
from typing import Final

from rc_import_exporter.core.domain import Counts, Kind, Outcome, known_importer
from rc_import_exporter.core.snapshot import Observation, Record, Track
from rc_import_exporter.core.thresholds import CLOCKS_DISAGREE, FAILED_RATIO, LONGEST_RUN, LONGEST_WAIT, STALLED_AFTER
from rc_import_exporter.core.verdict import spell
from rc_import_exporter.web.fields import Level, Remark

SUCCESSES: Final = (Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS)


def remarks(record: Record, held: Observation | None, there: float) -> Iterator[Remark]:
    """All remarks on a workspace. `held` is the observation that is not too old, `there` now by the server's clock."""
    if held is None and record.observation is not None and record.observation.fragile:
        text = "An import was under way when the server last answered"
        yield Remark(level=Level.CRITICAL, title="Lost sight", alert="LostSight", text=text)
    if held is not None and held.track is not None:
        yield from _of_progress(record, held.track, there)
        yield from _of_result(record, held.track)
    yield from _of_schedule(record, held, there)
    ahead = record.clock_offset
    if ahead is not None and abs(ahead) >= CLOCKS_DISAGREE:
        way = "ahead of" if ahead > 0 else "behind"
        yield Remark(level=Level.QUIET, text=f"The server's clock is {spell(abs(ahead))} {way} the exporter's")


def _of_progress(record: Record, track: Track, there: float) -> Iterator[Remark]:
    """What takes too long."""
    running = track.outcome in (Outcome.LOADING, Outcome.RUNNING)
    if running and track.progressed is not None and there - track.progressed >= STALLED_AFTER:
        still = spell(there - track.progressed)
        yield Remark(level=Level.CRITICAL, title="Stalled", alert="Stalled", text=f"It has not moved for {still}")
    longest = (record.target.expect.longest_run if _is_expected(record, track) else None) or LONGEST_RUN
    if track.outcome is Outcome.RUNNING and track.run_started is not None and there - track.run_started > longest:
        taken = spell(there - track.run_started)
        text = f"It has been running for {taken}, longer than {spell(longest)}"
        yield Remark(level=Level.WARNING, title="Running too long", alert="RunningTooLong", text=text)
    created = track.operation.created
    if track.outcome is Outcome.WAITING and created is not None and there - created > LONGEST_WAIT:
        text = f"It has been waiting to be started for {spell(there - created)}"
        yield Remark(level=Level.WARNING, alert="WaitingForStart", text=text)


def _of_result(record: Record, track: Track) -> Iterator[Remark]:
    """What was done and rejected, what was expected of it, and what the counts do not mean."""
    counts = track.operation.counts
    if counts is None or track.outcome not in (*SUCCESSES, Outcome.RUNNING):
        return
    done, total = counts.processed, counts.total or 0
    if total and done > total:
        yield Remark(level=Level.QUIET, text="More than 100 %: Rocket.Chat counts the users of a file import twice")
    if track.outcome not in SUCCESSES:
        return
    if done < total:
        text = "Less than 100 %: the total includes deselected records, and the last counts may be missing"
        yield Remark(level=Level.QUIET, text=text)
    yield from _of_rejections(record, track, counts)
    least = record.target.expect.min_records if _is_expected(record, track) else None
    if least is not None and done < least:
        text = f"{done:,} records, but at least {least:,} are expected"
        yield Remark(level=Level.WARNING, title="Too few records", alert="NothingImported", text=text)


def _of_rejections(record: Record, track: Track, counts: Counts) -> Iterator[Remark]:
    """Whether too much was rejected.

    An API import counts each user who exists already as rejected. Only a configured limit can tell how many are too
    many there.
    """
    limit = record.target.expect.failed_ratio if _is_expected(record, track) else None
    if limit is None and track.operation.importer == "api":
        if counts.failed:
            yield Remark(level=Level.QUIET, text="An API import counts everyone who already exists as rejected")
        return
    ratio = _failed_ratio(counts)
    if ratio > (FAILED_RATIO if limit is None else limit):
        text = f"{100 * ratio:.0f} % of the {'people' if _people(counts) else 'records'} were rejected"
        yield Remark(level=Level.WARNING, alert="HighErrorRatio", text=text)


def _failed_ratio(counts: Counts) -> float:
    """The share that was rejected: of the people if they were counted, for Rocket.Chat rejects nothing else."""
    parts = [each for each in (counts.processed, counts.total or 0, _people(counts)) if each > 0]
    return min(1.0, (counts.failed or 0) / min(parts)) if parts else 0.0


def _people(counts: Counts) -> int:
    return counts.staged.get(Kind.USERS, 0) + counts.staged.get(Kind.CONTACTS, 0)


def _of_schedule(record: Record, held: Observation | None, there: float) -> Iterator[Remark]:
    """Whether the last success is longer ago than expected."""
    expect = record.target.expect
    if expect.success_every is None or record.history.horizon is None:
        return
    wanted = known_importer(expect.importer) if expect.importer else ""
    successes = [
        at
        for (importer, outcome), at in record.history.last_finished.items()
        if outcome in SUCCESSES and wanted in ("", importer)
    ]
    every = spell(expect.success_every)
    if not successes:
        # Nothing is wrong yet if the first import runs now or is still to come.
        first = not record.history.last_finished or (held is not None and held.active)
        text = f"No success is known, but one is expected every {every}"
        yield Remark(level=Level.QUIET if first else Level.WARNING, text=text)
    elif there - max(successes) > expect.success_every:
        ago = spell(there - max(successes))
        text = f"The last success is {ago} ago, but one is expected every {every}"
        yield Remark(level=Level.CRITICAL, title="Overdue", alert="Overdue", text=text)


def _is_expected(record: Record, track: Track) -> bool:
    """Whether the configured expectations are about this importer."""
    return record.target.expect.importer in ("", track.operation.importer)
