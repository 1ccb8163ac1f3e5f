"""Follows one operation from poll to poll: what is known of its start, its end, and the cause of its end.

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
from rc_import_exporter.core.thresholds import CLOCKS_AGREE
from rc_import_exporter.core.verdict import counts_twice, judge

MOST_PACE: Final = 16
"""Movements of an operation to remember for its rate. With one every 30 s, these are eight minutes."""
NEVER: Final = float("-inf")
FOREVER: Final = float("inf")
SAME_INSTANT: Final = 0.02
"""Seconds. Two dates this close are the same: a new operation writes its own `ts` into all others, in milliseconds."""
ABORT: Final = 60.0
"""Seconds within which a running operation notices that another one replaced it, and writes its last step."""
ONE_POLL_MORE: Final = 2.5
"""Seconds for which an answer may take longer, so that two polls are further apart than their interval."""
CLOCK_PRECISION: Final = CLOCKS_AGREE
"""Seconds by which the measured time of the server may be wrong, because `Date` has whole seconds."""


class Sighting(NamedTuple):
    """One operation in one answer, and the server's word for its state."""

    operation: Operation
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The operations that one poll showed.

    `listed` has the ids in the list, and is `None` if the list did not answer. `named` is the id of the operation that
    `import.status` named as the newest, and is `None` if it did not answer or named none. `began` and `ended` are the
    start and the end of the poll by the server's clock. `gone_since` is when a connection first failed since the last
    success. `interval` is the seconds from one poll to the next. `offset` is how many seconds the server's clock is
    ahead of ours. `version` is the server's version.
    """

    sightings: Sequence[Sighting]
    listed: tuple[str, ...] | None
    began: float
    ended: float
    interval: float
    offset: float = 0.0
    named: str | None = None
    gone_since: float | None = None
    version: str | None = None

    def moment(self, earliest: float | None, latest: float) -> Moment:
        """The instant between these bounds. It counts as seen if they are about one poll apart."""
        least = latest if earliest is None else min(earliest, latest)
        return Moment(earliest=least, latest=latest, seen=latest - least <= self.interval + ONE_POLL_MORE)


def age_key(operation: Operation) -> float:
    """When it was created, for sorting. An operation without a date is older than all others."""
    return NEVER if operation.created is None else operation.created


def goes_on(held: Operation, seen: Operation, most: int) -> bool:
    """Whether `seen` must be a later version than `held`, of which `most` records were seen processed.

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
    """The place of the step in a run; `None` for an unknown step."""
    return next((phase for phase, steps in enumerate(_PHASES) if operation.step in steps), None)


_PHASES: Final = {Step.NEW}, LOADING_STEPS, {Step.USER_SELECTION}, IMPORTING_STEPS, LAST_STEPS
# One object for all tracks: this set is as large as the rest of a track.
_EVERY_END: Final = frozenset(FINISHED)


def first_sight(sighting: Sighting, look: Look, starts: Sequence[float], *, expected: bool) -> Track:
    """A track of an operation that is seen for the first time. Only its document tells what it did before.

    The import itself wrote a valid operation last, at `_updatedAt`. A restart may have written to an invalid one long
    after its end. Then only bounds of the end are known: the creation and that write.
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
    """When it entered its step, if its last write must have been that.

    An API import also writes counts while it waits.
    """
    ready = operation.step is Step.USER_SELECTION and operation.importer != "api"
    sudden = ready or operation.step is Step.NEW or operation.step in LAST_STEPS
    return written if operation.valid and sudden else None


def _run_there(operation: Operation, written: float, look: Look) -> Moment:
    """When a run began that is seen for the first time: at this poll or earlier.

    If the operation was created less than one poll ago, the time counts as seen.
    """
    seen = look.moment(operation.created or NEVER, written)
    return seen if seen.seen else Moment(earliest=seen.earliest, latest=max(written, look.ended), seen=False)


_UNWANTED: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE, Outcome.DISCARDED})


def next_sight(track: Track, sighting: Sighting, look: Look, starts: Sequence[float]) -> Track:
    """The track of an operation that has changed since it was last seen. The changes happened between the two polls."""
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
    """When it began to import: after the last poll that showed it waiting or loading, and before this write."""
    if track.operation.step in LAST_STEPS:
        return None
    ran = operation.step in IMPORTING_STEPS or (operation.step is Step.DONE and processed(operation) > 0)
    return look.moment(track.alive_at, at if end is None else end.latest) if ran else None


def _end(track: Track, operation: Operation, outcome: Outcome, at: float, look: Look) -> Moment:
    """When it ended.

    The last write of a valid operation is its end. After an operation was seen cut off, its next write is its end too,
    because a restart does not write to invalid operations again. An operation that was cut off ended between its last
    own write and the write that made it invalid.
    """
    if operation.valid or outcome is Outcome.DISCARDED or track.outcome is Outcome.INTERRUPTED:
        return look.moment(at, at)
    if outcome is not Outcome.INTERRUPTED:
        return look.moment(track.alive_at or track.operation.updated, at)
    return look.moment(track.operation.updated or track.alive_at, at)


def _gone_at(track: Track, operation: Operation, look: Look) -> float | None:
    """When its server was first found gone. `None` if the operation was seen alive or wrote something after that."""
    held = track.operation
    silent = (operation.step, operation.counts) == (held.step, held.counts)
    later = look.gone_since is not None and look.gone_since > (track.alive_at or NEVER)
    return look.gone_since if silent and later else None


def _date(operation: Operation, at: float, starts: Sequence[float]) -> float:
    """The date of an end.

    An invalid one ended before the next operation was created, because that ends or stamps it.
    """
    return at if operation.valid else min(at, _next_start(starts, operation) - 0.001)


def _judge_again(track: Track, operation: Operation, evidence: Evidence) -> Outcome:
    """The outcome now. That of a finished operation stays, but an interrupted one may still reach its last step."""
    final = track.outcome in FINISHED
    if final and not (track.outcome is Outcome.INTERRUPTED and operation.step in LAST_STEPS):
        return track.outcome
    return judge(operation, evidence)


def _evidence(held: Evidence, operation: Operation, look: Look, starts: Sequence[float]) -> Evidence:
    alone = judge(operation, Evidence())
    replaced = _created_before(starts, operation)
    evidence = Evidence(
        alive=held.alive or alone in UNFINISHED,
        # In `finishing` all records are imported.
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
    """Why it ended early, by the dates and the step in its document."""
    if outcome not in _UNWANTED:
        return None
    replaced = outcome is Outcome.INCOMPLETE and _created_before(starts, operation)
    if held is Cause.SUPERSEDED or replaced or _created_at(starts, operation):
        return Cause.SUPERSEDED
    if outcome is Outcome.INCOMPLETE:
        # Its server still ran, and wrote the last step.
        return Cause.INVALIDATED
    if operation.step is Step.USER_SELECTION:
        # A restart does not invalidate an import that is ready to start.
        return Cause.CLEARED
    return Cause.UNCERTAIN


def _has_moved(held: Operation, seen: Operation) -> bool:
    """Whether it made progress: its step or counts changed, or it was written without a change of its validity."""
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
