"""How far an import is, how fast it moves, and how long it still takes."""

from math import floor
from typing import Final

from rc_import_exporter.core.domain import LOADING_STEPS, Counts, Kind, Operation, Outcome, Step
from rc_import_exporter.core.snapshot import Record, Track
from rc_import_exporter.core.thresholds import CLOCKS_DISAGREE

STILL_AFTER: Final = 60.0
"""Seconds without movement after which an import has no rate."""
GAPS_UNTIL_STILL: Final = 3.0
"""The same, as a number of the gaps between the movements before. The longer of the two counts."""


def progressed(record: Record, track: Track) -> float | None:
    """When it last made progress, by the server's clock as it is now; `None` if that was not seen.

    If that clock was set ahead since then, the date in the document alone would look like a stall.
    """
    if track.progressed is None or track.moved is None:
        return track.progressed
    moved = record.server_time(track.moved)
    return moved if moved > track.progressed + CLOCKS_DISAGREE else track.progressed


def ratio(operation: Operation) -> float | None:
    """The share of records that are done or rejected, 0 to 1; `None` before the total is known.

    It is also `None` while the import loads, because the total still grows.
    """
    counts = operation.counts
    if counts is None or not counts.total or operation.step in {Step.NEW, *LOADING_STEPS}:
        return None
    return min(1.0, counts.processed / counts.total)


def percent(share: float) -> str:
    """A share in whole percents for people, rounded down: `100 %` only if all is done."""
    # 0.29 * 100 is a little less than 29.
    return f"{floor(share * 100 + 1e-9)} %"


def rate(track: Track, now: float) -> float | None:
    """Records per second over the latest movements; `None` if it does not run or has stopped moving."""
    if track.outcome is not Outcome.RUNNING or len(track.pace) < 2:
        return None
    (began, before), (ended, after) = track.pace[0], track.pace[-1]
    gap = (ended - began) / (len(track.pace) - 1)
    # A server writes its counts in batches. An import whose batches take long is not still after a minute.
    if gap <= 0 or after <= before or now - ended > max(STILL_AFTER, GAPS_UNTIL_STILL * gap):
        return None
    return (after - before) / (ended - began)


def seconds_left(track: Track, now: float) -> float | None:
    """How long the import still takes at this rate; `None` without a rate.

    Where users count twice, there is more to do than the total says.
    """
    counts, speed = track.operation.counts, rate(track, now)
    if counts is None or speed is None:
        return None
    twice = counts.staged.get(Kind.USERS, 0) if track.evidence.doubles else 0
    left = (counts.total or 0) + twice - accounted(track.operation, doubles=track.evidence.doubles)
    return left / speed if left > 0 else None


def accounted(operation: Operation, *, doubles: bool) -> int:
    """Records that were completed or rejected, each counted once, unless users count twice.

    File imports before 7.0 count rejected users as completed, too.
    """
    counts = operation.counts or Counts()
    if operation.importer == "api" or doubles:
        return counts.processed
    return counts.completed or 0


def people(counts: Counts) -> int:
    """The users and contacts among the records, if they were counted."""
    return counts.staged.get(Kind.USERS, 0) + counts.staged.get(Kind.CONTACTS, 0)


def failed_ratio(counts: Counts | None) -> float | None:
    """The share that was rejected, 0 to 1; `None` before anything is counted.

    It is a share of the people if they were counted, because Rocket.Chat rejects nothing else. It is a share of the
    processed records, because deselected records are in the total but never processed.
    """
    if counts is None:
        return None
    parts = [each for each in (counts.processed, counts.total or 0, people(counts)) if each > 0]
    return min(1.0, (counts.failed or 0) / min(parts)) if parts else None
