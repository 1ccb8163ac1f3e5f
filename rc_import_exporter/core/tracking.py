"""Follows one operation from sighting to sighting: what is known of its start, its end, and the cause of its end.

Instants are Unix seconds by the server's clock.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

from rc_import_exporter.core.domain import (
    FINISHED,
    IMPORTING_STEPS,
    LAST_STEPS,
    LOADING_STEPS,
    UNFINISHED,
    Counts,
    Operation,
    Outcome,
    State,
    Step,
)
from rc_import_exporter.core.snapshot import Cause, Evidence, Moment, Track
from rc_import_exporter.core.verdict import counts_twice, judge

MOST_PACE: Final = 16
"""Movements remembered of an operation, for its rate: eight minutes of them at 30 s each."""
NEVER: Final = float("-inf")
FOREVER: Final = float("inf")
SAME_INSTANT: Final = 0.02
"""Seconds: the API writes milliseconds, and one that is created stamps the others with its own `ts`."""
ABORT: Final = 60.0
"""Seconds within which a running operation notices that another one replaced it, and writes its last step."""
ONE_POLL_MORE: Final = 2.5
"""Seconds that two polls may be further apart than their interval: the answer took that long."""
CLOCK_PRECISION: Final = 2.0
"""Seconds by which our idea of the server's clock may be off: its `Date` has whole ones."""


class Sighting(NamedTuple):
    """One operation as one answer showed it, and the server's word for its state."""

    operation: Operation
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one poll showed of a workspace's operations.

    `listed` holds the list's ids, `None` where the list did not answer. `began` and `ended` are the poll's, by the
    server's clock; `gone_since` is when the server was first found gone since the last success. `interval` is the time
    from one poll to the next, seconds. `offset` is how many seconds that clock is ahead of ours. `version` is the
    server's.
    """

    sightings: Sequence[Sighting]
    listed: tuple[str, ...] | None
    began: float
    ended: float
    interval: float
    offset: float = 0.0
    gone_since: float | None = None
    version: str | None = None

    def moment(self, earliest: float | None, latest: float) -> Moment:
        """The instant between these bounds; seen where they are about one poll apart."""
        least = latest if earliest is None else min(earliest, latest)
        return Moment(earliest=least, latest=latest, seen=latest - least <= self.interval + ONE_POLL_MORE)


def age_key(operation: Operation) -> float:
    """When it was created, for sorting: one without a date is older than every other."""
    return NEVER if operation.created is None else operation.created


def goes_on(held: Operation, seen: Operation, most: int) -> bool:
    """Whether the second can only have come after the first, of which `most` records were seen processed.

    The server that writes sets `_updatedAt` by its own clock. The clocks of a cluster differ, and a clock can be set
    back. An operation's phase, validity and counts change in one direction only.
    """
    before, after = _phase(held), _phase(seen)
    if before is not None and after is not None and before != after:
        return after > before
    if bool(seen.valid) is not bool(held.valid):
        return not seen.valid
    return processed(seen) > most


def processed(operation: Operation) -> int:
    """Records completed or rejected; 0 before any is counted."""
    return 0 if operation.counts is None else operation.counts.processed


def _phase(operation: Operation) -> int | None:
    """The place of the step in a run; `None` for a word that no release read so far has written."""
    return next((phase for phase, steps in enumerate(_PHASES) if operation.step in steps), None)


_PHASES: Final = {Step.NEW}, LOADING_STEPS, {Step.USER_SELECTION}, IMPORTING_STEPS, LAST_STEPS
# One object for all tracks: a set has as many bytes as all else of a track.
_EVERY_END: Final = frozenset(FINISHED)


def first_sight(sighting: Sighting, look: Look, starts: Sequence[float], *, expected: bool) -> Track:
    """An operation seen for the first time. What it did before is known only as far as its document tells.

    A valid one was last written by its import, so `_updatedAt` is the time of that. An invalid one may have been
    stamped by a restart long after its end: then only bounds are known, from its creation to that stamp.
    """
    operation = sighting.operation
    evidence = _evidence(Evidence(), operation, look, starts)
    outcome = judge(operation, replace(evidence, alive=False))
    counts = operation.counts if expected and operation.counts is not None else Counts()
    finished = outcome in FINISHED
    written = look.ended if operation.updated is None else operation.updated
    stamped = operation.step in LAST_STEPS and not operation.valid
    exact = bool(operation.valid) or outcome is Outcome.DISCARDED
    earliest = written if exact else operation.created
    runs = operation.step in IMPORTING_STEPS
    return Track(
        operation=operation,
        state=sighting.state,
        outcome=outcome,
        evidence=evidence,
        expected=expected,
        counted=_EVERY_END if expected and finished else frozenset(),
        high_completed=counts.completed or 0,
        high_failed=counts.failed or 0,
        alive_at=look.began - CLOCK_PRECISION if outcome in UNFINISHED else None,
        step_started=_step_there(operation, written),
        progressed=operation.updated if operation.valid else None,
        moved=operation.updated - look.offset if operation.valid and operation.updated is not None else None,
        run_start=_run_there(operation, written, look) if runs else None,
        end=look.moment(earliest, written) if finished else None,
        dated=(operation.created if stamped else _date(operation, written, starts)) if finished else None,
        cause=_cause(operation, outcome, starts, None),
        pace=_paced((), operation),
    )


def _step_there(operation: Operation, written: float) -> float | None:
    """When it entered its step, where its last write can only have been that: an API import counts while it waits."""
    ready = operation.step is Step.USER_SELECTION and operation.importer != "api"
    sudden = ready or operation.step is Step.NEW or operation.step in LAST_STEPS
    return written if operation.valid and sudden else None


def _run_there(operation: Operation, written: float, look: Look) -> Moment:
    """When a run began that was there already: at this poll or earlier, unless it was created since the one before."""
    seen = look.moment(operation.created or NEVER, written)
    return seen if seen.seen else Moment(earliest=seen.earliest, latest=max(written, look.ended), seen=False)


_UNWANTED: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE, Outcome.DISCARDED})


def next_sight(track: Track, sighting: Sighting, look: Look, starts: Sequence[float]) -> Track:
    """An operation that has changed since it was last seen. What changed lies between the two polls."""
    operation = sighting.operation
    at = look.ended if operation.updated is None else operation.updated
    evidence = _evidence(track.evidence, operation, look, starts)
    outcome = _judge_again(track, operation, evidence)
    ended = outcome in FINISHED and track.outcome not in FINISHED
    changed = ended or outcome is not track.outcome
    end = _end(track, operation, outcome, at, look) if changed and outcome in FINISHED else track.end
    stepped = operation.step is not track.operation.step
    entered = at if look.moment(track.alive_at, at).seen else _step_there(operation, at)
    certain = operation.valid is not False or (end is not None and end.seen)
    moved = certain and _has_moved(track.operation, operation)
    return replace(
        track,
        operation=operation,
        state=sighting.state,
        outcome=outcome,
        evidence=evidence,
        alive_at=look.began - CLOCK_PRECISION if outcome in UNFINISHED else track.alive_at,
        step_started=entered if stepped else track.step_started,
        progressed=at if moved else track.progressed,
        moved=at - look.offset if moved else track.moved,
        run_start=track.run_start or _run_start(track, operation, end, at, look),
        end=end,
        dated=_date(operation, at, starts) if ended else track.dated,
        cause=_cause(operation, outcome, starts, track.cause) if changed else track.cause,
        gone_at=_gone_at(track, operation, look) if ended else track.gone_at,
        pace=_paced(track.pace, operation),
    )


def _run_start(track: Track, operation: Operation, end: Moment | None, at: float, look: Look) -> Moment | None:
    """When it began to import: after the last poll that saw it wait or load, and before it wrote that it imports."""
    if track.operation.step in LAST_STEPS:
        return None
    ran = operation.step in IMPORTING_STEPS or (operation.step is Step.DONE and processed(operation) > 0)
    return look.moment(track.alive_at, at if end is None else end.latest) if ran else None


def _end(track: Track, operation: Operation, outcome: Outcome, at: float, look: Look) -> Moment:
    """When it ended.

    What a valid operation wrote last is its end. So is what an invalid one writes after it was seen cut off: the
    server does not write to invalid operations again. One that was cut off ended between its last write and the stamp.
    """
    if operation.valid or outcome is Outcome.DISCARDED or track.outcome is Outcome.INTERRUPTED:
        return look.moment(at, at)
    if outcome is not Outcome.INTERRUPTED:
        return look.moment(track.alive_at or track.operation.updated, at)
    return look.moment(track.operation.updated or track.alive_at, at)


def _gone_at(track: Track, operation: Operation, look: Look) -> float | None:
    """When its server was found gone, after it was last seen alive and before it wrote anything more."""
    held = track.operation
    silent = (operation.step, operation.counts) == (held.step, held.counts)
    later = look.gone_since is not None and look.gone_since > (track.alive_at or NEVER)
    return look.gone_since if silent and later else None


def _date(operation: Operation, at: float, starts: Sequence[float]) -> float:
    """The date of an end: before the creation of the next operation, for that ends or stamps what is invalid."""
    return at if operation.valid else min(at, _next_start(starts, operation) - 0.001)


def _judge_again(track: Track, operation: Operation, evidence: Evidence) -> Outcome:
    """A verdict on a finished operation stays; only an interrupted one may still reach its last step."""
    final = track.outcome in FINISHED
    if final and not (track.outcome is Outcome.INTERRUPTED and operation.step in LAST_STEPS):
        return track.outcome
    return judge(operation, evidence)


def _evidence(held: Evidence, operation: Operation, look: Look, starts: Sequence[float]) -> Evidence:
    alone = judge(operation, Evidence())
    replaced = _created_before(starts, operation)
    evidence = Evidence(
        alive=held.alive or alone in UNFINISHED,
        # In `finishing` everything is imported already.
        cut=held.cut or (alone is Outcome.INTERRUPTED and operation.step is not Step.FINISHING),
        sealed=held.sealed or (operation.valid is True and operation.step in (Step.FINISHING, Step.DONE)),
        next_at_end=not replaced and _created_at(starts, operation),
        next_before_end=replaced,
        doubles=counts_twice(operation, look.version),
    )
    return _shared(evidence)


@lru_cache(maxsize=64)
def _shared(evidence: Evidence) -> Evidence:
    """The same object for equal ones: 100,000 operations have a few kinds of evidence."""
    return evidence


def _created_at(starts: Sequence[float], operation: Operation) -> bool:
    """Whether another operation was created at the instant of this one's last write."""
    at = NEVER if operation.updated is None else operation.updated
    return any(abs(at - start) <= SAME_INSTANT for start in starts if start != operation.created)


def _created_before(starts: Sequence[float], operation: Operation) -> bool:
    """Whether the next operation was created shortly before this one's last write."""
    at = NEVER if operation.updated is None else operation.updated
    return SAME_INSTANT < at - _next_start(starts, operation) <= ABORT


def _next_start(starts: Sequence[float], operation: Operation) -> float:
    """When the next operation was created; positive infinity if none was."""
    place = bisect_right(starts, age_key(operation))
    return starts[place] if operation.created is not None and place < len(starts) else FOREVER


def _cause(operation: Operation, outcome: Outcome, starts: Sequence[float], held: Cause | None) -> Cause | None:
    """Why it ended before its work was done, by the marks in its document."""
    if outcome not in _UNWANTED:
        return None
    replaced = outcome is Outcome.INCOMPLETE and _created_before(starts, operation)
    if held is Cause.SUPERSEDED or replaced or _created_at(starts, operation):
        return Cause.SUPERSEDED
    if outcome is Outcome.INCOMPLETE:
        # Its server lived on to write the last step.
        return Cause.INVALIDATED
    if operation.step is Step.USER_SELECTION:
        # A restart spares what is ready to start.
        return Cause.CLEARED
    return Cause.UNCERTAIN


def _has_moved(held: Operation, seen: Operation) -> bool:
    """Whether anything but the validity moved; a write that changed nothing known and not the validity did."""
    if (seen.step, seen.counts) != (held.step, held.counts):
        return True
    return seen.updated != held.updated and seen.valid == held.valid


def _paced(pace: tuple[tuple[float, int], ...], operation: Operation) -> tuple[tuple[float, int], ...]:
    if operation.step not in IMPORTING_STEPS or operation.updated is None:
        return pace
    done = processed(operation)
    if pace and (pace[-1][1] == done or pace[-1][0] >= operation.updated):
        return pace
    return (*pace, (operation.updated, done))[-MOST_PACE:]
