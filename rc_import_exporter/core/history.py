"""Follows a workspace's operations through what the feeds show, judges and counts them.

The server's list shows every operation that came and went between two polls. Each is counted once, by its id. The order
of answers does not matter: an older version of an operation changes nothing. Instants are by the server's clock.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import (
    FINISHED,
    IMPORTING_STEPS,
    LAST_STEPS,
    LOADING_STEPS,
    UNFINISHED,
    WAITING_STEPS,
    Counts,
    Operation,
    Outcome,
    State,
    Step,
    known_importer,
)
from rc_import_exporter.core.snapshot import Cause, Evidence, History, Moment, Track
from rc_import_exporter.core.verdict import counts_twice, judge

MOST_TRACKS: Final = 64
"""Operations remembered: three of the server's lists. A forgotten one raises the horizon: it is not counted again."""
MOST_PACE: Final = 16
"""Movements remembered of an operation, for its rate: eight minutes of them at 30 s each."""
NEVER: Final = float("-inf")
FULL_LIST: Final = 20
"""Operations in a list that may lack others; a shorter one is complete."""
SAME_INSTANT: Final = 0.02
"""Seconds: the API writes milliseconds, and one that is created stamps the others with its own `ts`."""
ABORT: Final = 60.0
"""Seconds within which a running operation notices that another one replaced it, and writes its last step."""
FROZEN: Final = 30.0
"""Seconds without a last step after which an invalid operation no longer has a server that could write one."""
ONE_POLL_MORE: Final = 5.0
"""Seconds that two polls may be further apart than their interval: the answer took that long."""
CLOCK_PRECISION: Final = 2.0
"""Seconds by which our idea of the server's clock may be off: its `Date` has whole ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One operation as one answer showed it, and the server's word for its state."""

    operation: Operation
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one poll showed of a workspace's operations.

    `listed` holds the list's ids, `None` where the list did not answer. `empty` is the server's word that it holds no
    operation. `began` and `ended` are the poll's, by the server's clock; `gone_since` is when the server was first
    found gone since the last success. `interval` is the time from one poll to the next, seconds. `version` is the
    server's.
    """

    sightings: Sequence[Sighting]
    listed: tuple[str, ...] | None
    empty: bool
    began: float
    ended: float
    interval: float
    gone_since: float | None = None
    version: str | None = None

    def moment(self, earliest: float | None, latest: float) -> Moment:
        """The instant between these bounds; seen where they are about one poll apart."""
        least = latest if earliest is None else min(earliest, latest)
        return Moment(earliest=least, latest=latest, seen=latest - least <= self.interval + ONE_POLL_MORE)


def fold(history: History, look: Look) -> History:
    """The history with what this poll showed: each operation followed, judged, and counted once."""
    versions = _latest_versions(look.sightings)
    if history.horizon is None:
        history = replace(history, horizon=max((_age_key(each.operation) for each in versions), default=NEVER))
        expected = frozenset(each.operation.id for each in versions)
    else:
        expected = frozenset()
    known = history.listed
    history = _without_gone(history, versions, look)
    starts = _starts(history, versions)
    current = _newest(history, versions, look)
    for sighting in sorted(versions, key=lambda each: _age_key(each.operation)):
        history = _follow(history, sighting, look, starts, known, expected=sighting.operation.id in expected)
    if look.listed is not None or look.empty:
        history = replace(history, listed=look.listed or (), listed_for=current)
    return _forget(_explain(replace(history, current=current), look))


def _without_gone(history: History, versions: Sequence[Sighting], look: Look) -> History:
    """Parts what the server holds from what it no longer holds: its database may have been restored or emptied.

    A list of fewer than 20 is all that there is. An operation that is missing there, and that `import.status` does not
    name either, is gone; one that was gone may come back.
    """
    there = {each.operation.id for each in versions}
    complete = look.empty or (look.listed is not None and len(look.listed) < FULL_LIST)
    if there.isdisjoint(history.gone) and not (complete and history.tracks.keys() - there):
        return history
    every = {**history.gone, **history.tracks}
    gone = {id: track for id, track in every.items() if id not in there and (complete or id in history.gone)}
    held = {id: track for id, track in every.items() if id not in gone}
    kept = dict(list(gone.items())[-MOST_TRACKS:])
    return replace(history, tracks=MappingProxyType(held), gone=MappingProxyType(kept))


def _starts(history: History, versions: Sequence[Sighting]) -> Sequence[float]:
    """When each operation known was created, in order."""
    operations = {id: track.operation for id, track in history.tracks.items()}
    operations |= {each.operation.id: each.operation for each in versions}
    return sorted(operation.created for operation in operations.values() if operation.created is not None)


def _latest_versions(sightings: Iterable[Sighting]) -> list[Sighting]:
    latest: dict[str, Sighting] = {}
    for sighting in sightings:
        held = latest.get(sighting.operation.id)
        if held is None or _is_later(sighting.operation, held.operation):
            latest[sighting.operation.id] = sighting
    return list(latest.values())


def _is_later(operation: Operation, other: Operation) -> bool:
    """By what they show where that tells, else by date: the servers of a cluster have clocks of their own."""
    if _goes_on(other, operation, _processed(other)):
        return True
    if _goes_on(operation, other, _processed(operation)):
        return False
    return (operation.updated or NEVER) > (other.updated or NEVER)


def _age_key(operation: Operation) -> float:
    return NEVER if operation.created is None else operation.created


def _newest(history: History, versions: Sequence[Sighting], look: Look) -> str | None:
    if look.empty:
        return None
    held = [] if history.newest is None else [history.newest.operation]
    candidates = [each.operation for each in versions] + held
    return max(candidates, key=_age_key).id if candidates else None


def _follow(
    history: History,
    sighting: Sighting,
    look: Look,
    starts: Sequence[float],
    known: tuple[str, ...] | None,
    *,
    expected: bool,
) -> History:
    operation = sighting.operation
    before = history.tracks.get(operation.id)
    if before is None:
        old = expected or not _is_new(history, operation, known)
        track = _first_sight(history, sighting, look, starts, expected=old)
        history = replace(history, started=history.started + (not track.expected))
    elif before.operation == operation:
        return _still(history, before, look)
    elif _is_step_back(before, operation):
        return history
    else:
        track = _next_sight(before, sighting, look, starts)
    return _count(history, before, track)


def _is_new(history: History, operation: Operation, known: tuple[str, ...] | None) -> bool:
    """Whether it was created since the first poll: its date says so, or that a complete list did not have it before."""
    if _age_key(operation) > (NEVER if history.horizon is None else history.horizon):
        return True
    return known is not None and len(known) < FULL_LIST and operation.id not in known


def _still(history: History, track: Track, look: Look) -> History:
    """An operation that is as it was: while it is alive, the time at which it was is kept."""
    if track.outcome not in UNFINISHED:
        return history
    kept = replace(track, alive_at=look.began - CLOCK_PRECISION)
    return replace(history, tracks=MappingProxyType({**history.tracks, track.operation.id: kept}))


def _is_step_back(track: Track, seen: Operation) -> bool:
    """Whether an answer is older than what is known, by its date and by what it shows."""
    held = track.operation
    if held.updated is None or seen.updated is None or seen.updated >= held.updated:
        return False
    return not _goes_on(held, seen, track.high_completed + track.high_failed)


def _goes_on(held: Operation, seen: Operation, most: int) -> bool:
    """Whether the second can only have come after the first, of which `most` records were seen processed.

    `_updatedAt` is the clock of whichever server wrote: clocks of a cluster differ, and a clock can be set back. But an
    operation's phase, its validity and its counts only ever go one way.
    """
    before, after = _phase(held), _phase(seen)
    if before is not None and after is not None and before != after:
        return after > before
    if bool(seen.valid) is not bool(held.valid):
        return not seen.valid
    return _processed(seen) > most


def _processed(operation: Operation) -> int:
    return 0 if operation.counts is None else operation.counts.processed


def _phase(operation: Operation) -> int | None:
    """The place of the step in a run; `None` for a word that no release read so far has written."""
    return next((phase for phase, steps in enumerate(_PHASES) if operation.step in steps), None)


_PHASES: Final = {Step.NEW}, LOADING_STEPS, {Step.USER_SELECTION}, IMPORTING_STEPS, LAST_STEPS


def _first_sight(history: History, sighting: Sighting, look: Look, starts: Sequence[float], *, expected: bool) -> Track:
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
        counted=frozenset(FINISHED) if expected and finished else frozenset(),
        high_completed=counts.completed or 0,
        high_failed=counts.failed or 0,
        alive_at=look.began - CLOCK_PRECISION if outcome in UNFINISHED else None,
        step_started=written if operation.valid and operation.step in WAITING_STEPS | LAST_STEPS else None,
        progressed=operation.updated if operation.valid else None,
        run_start=look.moment(operation.created or NEVER, written) if runs else None,
        end=look.moment(earliest, written) if finished else None,
        dated=(_start_date(history, operation) if stamped else written) if finished else None,
        cause=_cause(operation, outcome, written, look, starts),
        pace=_paced((), operation),
    )


def _start_date(history: History, operation: Operation) -> float | None:
    """The earliest date at which it can have ended: not before it began, nor before the one before it had ended."""
    if operation.created is None:
        return None
    before = [
        track.dated
        for track in history.tracks.values()
        if track.dated is not None and (track.operation.created or NEVER) < operation.created
    ]
    return max([operation.created, *(at for at in before if operation.updated is None or at <= operation.updated)])


_UNWANTED: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE, Outcome.DISCARDED})


def _next_sight(track: Track, sighting: Sighting, look: Look, starts: Sequence[float]) -> Track:
    """An operation that has changed since it was last seen. What changed lies between the two polls."""
    operation = sighting.operation
    at = look.ended if operation.updated is None else operation.updated
    evidence = _evidence(track.evidence, operation, look, starts)
    outcome = _judge_again(track, operation, evidence)
    ended = outcome in FINISHED and track.outcome not in FINISHED
    changed = ended or outcome is not track.outcome
    end = _end(track, operation, outcome, at, look) if changed and outcome in FINISHED else track.end
    stepped = operation.step is not track.operation.step
    sudden = operation.step in WAITING_STEPS | LAST_STEPS and operation.valid is not False
    entered = at if sudden or look.moment(track.alive_at, at).seen else None
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
        run_start=track.run_start or _run_start(track, operation, end, at, look),
        end=end,
        dated=at if ended else track.dated,
        cause=_cause(operation, outcome, at, look, starts) if changed else track.cause,
        pace=_paced(track.pace, operation),
    )


def _run_start(track: Track, operation: Operation, end: Moment | None, at: float, look: Look) -> Moment | None:
    """When it began to import: after the last poll that saw it wait or load, and before it wrote that it imports."""
    ran = operation.step in IMPORTING_STEPS or (operation.step is Step.DONE and _processed(operation) > 0)
    return look.moment(track.alive_at, at if end is None else end.latest) if ran else None


def _end(track: Track, operation: Operation, outcome: Outcome, at: float, look: Look) -> Moment:
    """When it ended.

    What a valid operation wrote last is its end. So is what an invalid one writes after it was seen cut off: the
    server does not write to invalid operations again. An operation whose server has stopped ended between its last
    write and the moment at which nobody answered any more; if it wrote on since, that was no end.
    """
    if operation.valid or outcome is Outcome.DISCARDED or track.outcome is Outcome.INTERRUPTED:
        return look.moment(at, at)
    if outcome is not Outcome.INTERRUPTED:
        return look.moment(track.alive_at, at)
    held = track.operation
    silent = (operation.step, operation.counts) == (held.step, held.counts)
    latest = at if look.gone_since is None or not silent else min(at, look.gone_since)
    return look.moment(held.updated or track.alive_at, latest)


def _judge_again(track: Track, operation: Operation, evidence: Evidence) -> Outcome:
    """A verdict on a finished operation stays; only an interrupted one may still reach its last step."""
    final = track.outcome in FINISHED
    if final and not (track.outcome is Outcome.INTERRUPTED and operation.step in LAST_STEPS):
        return track.outcome
    return judge(operation, evidence)


def _evidence(held: Evidence, operation: Operation, look: Look, starts: Sequence[float]) -> Evidence:
    alone = judge(operation, Evidence())
    invalid = operation.valid is False and operation.updated is not None
    last = operation.step in LAST_STEPS
    return Evidence(
        alive=held.alive or alone in UNFINISHED,
        # In `finishing` everything is imported already.
        cut=held.cut or (alone is Outcome.INTERRUPTED and operation.step is not Step.FINISHING),
        sealed=held.sealed or (operation.valid is True and operation.step in (Step.FINISHING, Step.DONE)),
        next_at_end=invalid and last and _created_at(starts, operation),
        next_before_end=invalid and last and not _created_at(starts, operation) and _created_before(starts, operation),
        doubles=counts_twice(operation, look.version),
    )


def _created_at(starts: Sequence[float], operation: Operation) -> bool:
    """Whether another operation was created at the instant of this one's last write."""
    at = NEVER if operation.updated is None else operation.updated
    return any(abs(at - start) <= SAME_INSTANT for start in starts if start != operation.created)


def _created_before(starts: Sequence[float], operation: Operation) -> bool:
    """Whether the next operation was created shortly before this one's last write."""
    place = bisect_right(starts, _age_key(operation))
    at = NEVER if operation.updated is None else operation.updated
    return place < len(starts) and 0 < at - starts[place] <= ABORT


def _cause(operation: Operation, outcome: Outcome, at: float, look: Look, starts: Sequence[float]) -> Cause | None:
    """Why it ended before its work was done, by the marks in its document."""
    if outcome not in _UNWANTED:
        return None
    if _created_at(starts, operation) or (outcome is Outcome.INCOMPLETE and _created_before(starts, operation)):
        return Cause.SUPERSEDED
    if outcome is Outcome.INCOMPLETE:
        # Its server lived on to write the last step.
        return Cause.INVALIDATED
    if operation.step is Step.USER_SELECTION:
        # A restart spares what is ready to start.
        return Cause.CLEARED
    frozen = operation.step in IMPORTING_STEPS and look.ended - at > FROZEN
    return Cause.RESTARTED if frozen else Cause.UNCERTAIN


def _explain(history: History, look: Look) -> History:
    """Names the cause of a cut that time tells: an import whose server lives notices it, and writes its last step."""
    frozen = {
        track.operation.id: replace(track, cause=Cause.RESTARTED)
        for track in history.tracks.values()
        if track.outcome is Outcome.INTERRUPTED
        and track.cause is Cause.UNCERTAIN
        and track.operation.step in IMPORTING_STEPS
        and look.ended - (track.operation.updated or look.ended) > FROZEN
    }
    return replace(history, tracks=MappingProxyType({**history.tracks, **frozen})) if frozen else history


def _has_moved(held: Operation, seen: Operation) -> bool:
    """Whether anything but the validity moved; a write that changed nothing known and not the validity did."""
    if (seen.step, seen.counts) != (held.step, held.counts):
        return True
    return seen.updated != held.updated and seen.valid == held.valid


def _paced(pace: tuple[tuple[float, int], ...], operation: Operation) -> tuple[tuple[float, int], ...]:
    if operation.step not in IMPORTING_STEPS or operation.updated is None:
        return pace
    processed = _processed(operation)
    if pace and (pace[-1][1] == processed or pace[-1][0] >= operation.updated):
        return pace
    return (*pace, (operation.updated, processed))[-MOST_PACE:]


def _count(history: History, before: Track | None, track: Track) -> History:
    counts = track.operation.counts or Counts()
    completed, failed = max(track.high_completed, counts.completed or 0), max(track.high_failed, counts.failed or 0)
    finishes = track.outcome in FINISHED and track.outcome not in track.counted
    finished = dict(history.finished)
    if finishes:
        finished[track.outcome] = finished.get(track.outcome, 0) + 1
    kept = replace(
        track,
        high_completed=completed,
        high_failed=failed,
        counted=track.counted | {track.outcome} if finishes else track.counted,
    )
    history = replace(
        history,
        tracks=MappingProxyType({**history.tracks, track.operation.id: kept}),
        completed=history.completed + completed - track.high_completed,
        failed=history.failed + failed - track.high_failed,
        finished=MappingProxyType(finished),
    )
    return _date(history, before, kept)


def _date(history: History, before: Track | None, track: Track) -> History:
    if track.dated is None or track.outcome not in FINISHED:
        return history
    importer = known_importer(track.operation.importer)
    dates = dict(history.last_finished)
    if before is not None and before.outcome is Outcome.INTERRUPTED and track.outcome is not Outcome.INTERRUPTED:
        _take_back(dates, importer, before, history.tracks)
    key = importer, track.outcome
    dates[key] = max(track.dated, dates.get(key, NEVER))
    durations = dict(history.last_duration)
    if track.dated >= durations.get(importer, (NEVER, None))[0]:
        durations[importer] = track.dated, _duration(track)
    return replace(history, last_finished=MappingProxyType(dates), last_duration=MappingProxyType(durations))


def _take_back(
    dates: dict[tuple[str, Outcome], float], importer: str, before: Track, tracks: Mapping[str, Track]
) -> None:
    """Dates the interruption that has become something else back to the one before it, if there was one."""
    key = importer, Outcome.INTERRUPTED
    if dates.get(key) != before.dated:
        return
    del dates[key]
    others = (track for track in tracks.values() if track.outcome is Outcome.INTERRUPTED)
    earlier = [each.dated for each in others if each.dated and known_importer(each.operation.importer) == importer]
    if earlier:
        dates[key] = max(earlier)


def _duration(track: Track) -> float | None:
    if track.finished is None or track.operation.created is None:
        return None
    return max(0.0, track.finished - track.operation.created)


def _forget(history: History) -> History:
    """Drops the oldest operations beyond `MOST_TRACKS` that neither the list nor the state is about."""
    needed = {history.current, *(history.listed or ())}
    spare = sorted(
        (track for id, track in history.tracks.items() if id not in needed),
        key=lambda track: _age_key(track.operation),
    )[: max(0, len(history.tracks) - MOST_TRACKS)]
    if not spare:
        return history
    dropped = {track.operation.id for track in spare}
    return replace(
        history,
        tracks=MappingProxyType({id: track for id, track in history.tracks.items() if id not in dropped}),
        horizon=max(NEVER if history.horizon is None else history.horizon, _age_key(spare[-1].operation)),
    )
