"""Follows a workspace's operations through what the feeds show, judges and counts them. `store` calls it at each poll.

The server's list tells of every operation that came and went between two polls; what is counted is counted once for
each id. Nothing here goes by the order of answers: an older version of an operation changes nothing.
"""

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
    Counts,
    Operation,
    Outcome,
    State,
    Step,
    known_importer,
)
from rc_import_exporter.core.snapshot import Cause, History, Track, Witness
from rc_import_exporter.core.verdict import judge

MOST_TRACKS: Final = 64
"""Operations remembered: three of the server's lists. A forgotten one raises the horizon: it is not counted again."""
MOST_PACE: Final = 16
"""Movements remembered of an operation, for its rate: eight minutes of them at 30 s each."""
NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One operation as one answer showed it, and the server's word for its state."""

    operation: Operation
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one poll showed of a workspace's operations.

    `listed` holds the list's ids, `None` where the list did not answer. `empty` is the server's word that it holds no
    operation. `silent` says that contact was lost before. `now` is the poll's end.
    """

    sightings: Sequence[Sighting]
    listed: tuple[str, ...] | None
    empty: bool
    silent: bool
    now: float


def fold(history: History, look: Look) -> History:
    """The history with what this poll showed: each operation followed, judged, and counted once."""
    versions = _latest_versions(look.sightings)
    if history.horizon is None:
        history = replace(history, horizon=max((_age_key(each.operation) for each in versions), default=NEVER))
        expected = frozenset(each.operation.id for each in versions)
    else:
        expected = frozenset()
    current = _newest(history, versions, look)
    for sighting in sorted(versions, key=lambda each: _age_key(each.operation)):
        history = _follow(history, sighting, look, current, expected=sighting.operation.id in expected)
    if look.listed is not None:
        history = replace(history, listed=look.listed, listed_for=current)
    return _forget(replace(history, current=current))


def _latest_versions(sightings: Iterable[Sighting]) -> list[Sighting]:
    latest: dict[str, Sighting] = {}
    for sighting in sightings:
        held = latest.get(sighting.operation.id)
        if held is None or _is_later(sighting.operation, held.operation):
            latest[sighting.operation.id] = sighting
    return list(latest.values())


def _is_later(operation: Operation, other: Operation) -> bool:
    return (operation.updated or NEVER) > (other.updated or NEVER) or _goes_on(other, operation, _processed(other))


def _age_key(operation: Operation) -> float:
    return NEVER if operation.created is None else operation.created


def _newest(history: History, versions: Sequence[Sighting], look: Look) -> str | None:
    if look.empty:
        return None
    held = [] if history.newest is None else [history.newest.operation]
    candidates = [each.operation for each in versions] + held
    return max(candidates, key=_age_key).id if candidates else None


def _follow(history: History, sighting: Sighting, look: Look, current: str | None, *, expected: bool) -> History:
    before = history.tracks.get(sighting.operation.id)
    if before is None:
        horizon = NEVER if history.horizon is None else history.horizon
        track = _first_sight(sighting, expected=expected or _age_key(sighting.operation) <= horizon)
        history = replace(history, started=history.started + (not track.expected))
    elif before.operation == sighting.operation or _is_step_back(before, sighting.operation):
        return history
    else:
        track = _next_sight(before, sighting, look, superseded=current != sighting.operation.id)
    return _count(history, before, track)


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


def _first_sight(sighting: Sighting, *, expected: bool) -> Track:
    operation = sighting.operation
    witness = _witness(Witness(), operation)
    outcome = judge(operation, Witness(sealed=witness.sealed))
    counts = operation.counts if expected and operation.counts is not None else Counts()
    finished = outcome in FINISHED
    dated_by_start = finished and operation.step in LAST_STEPS and not operation.valid
    return Track(
        operation=operation,
        state=sighting.state,
        outcome=outcome,
        witness=witness,
        expected=expected,
        counted=frozenset(FINISHED) if expected and finished else frozenset(),
        high_completed=counts.completed or 0,
        high_failed=counts.failed or 0,
        step_started=operation.updated,
        run_started=operation.updated if outcome is Outcome.RUNNING else None,
        progressed=operation.updated,
        finished=(operation.created if dated_by_start else operation.updated) if finished else None,
        dated_by_start=dated_by_start,
        cause=Cause.FOUND if outcome in _UNWANTED else None,
        pace=_paced((), operation),
    )


_UNWANTED: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE, Outcome.DISCARDED})


def _next_sight(track: Track, sighting: Sighting, look: Look, *, superseded: bool) -> Track:
    operation = sighting.operation
    at = look.now if operation.updated is None else operation.updated
    outcome = _judge_again(track, operation)
    ended = outcome in FINISHED and track.outcome not in FINISHED
    stepped = operation.step is not track.operation.step
    runs = outcome is Outcome.RUNNING and track.run_started is None
    return replace(
        track,
        operation=operation,
        state=sighting.state,
        outcome=outcome,
        witness=_witness(track.witness, operation),
        step_started=at if stepped else track.step_started,
        run_started=at if runs else track.run_started,
        progressed=at if _has_moved(track.operation, operation) else track.progressed,
        finished=at if ended else track.finished,
        cause=_cause(look, superseded=superseded) if ended and outcome in _UNWANTED else track.cause,
        pace=_paced(track.pace, operation),
    )


def _judge_again(track: Track, operation: Operation) -> Outcome:
    """A verdict on a finished operation stays; only an interrupted one may yet come to its last step."""
    final = track.outcome in FINISHED
    if final and not (track.outcome is Outcome.INTERRUPTED and operation.step in LAST_STEPS):
        return track.outcome
    return judge(operation, _witness(track.witness, operation))


def _witness(witness: Witness, operation: Operation) -> Witness:
    unsealed = judge(operation, Witness())
    return Witness(
        alive=witness.alive or unsealed in UNFINISHED,
        cut=witness.cut or unsealed is Outcome.INTERRUPTED,
        sealed=witness.sealed or (operation.step is Step.DONE and operation.valid is True),
    )


def _has_moved(held: Operation, seen: Operation) -> bool:
    """Whether anything but the validity moved; a write that changed nothing known and not the validity did."""
    if (seen.step, seen.counts) != (held.step, held.counts):
        return True
    return seen.updated != held.updated and seen.valid == held.valid


def _cause(look: Look, *, superseded: bool) -> Cause:
    if look.silent:
        return Cause.RESTARTED
    return Cause.SUPERSEDED if superseded else Cause.INVALIDATED


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
    if track.finished is None or track.outcome not in FINISHED:
        return history
    importer = known_importer(track.operation.importer)
    dates = dict(history.last_finished)
    if before is not None and before.outcome is Outcome.INTERRUPTED and track.outcome is not Outcome.INTERRUPTED:
        _take_back(dates, importer, before, history.tracks)
    key = importer, track.outcome
    dates[key] = max(track.finished, dates.get(key, NEVER))
    durations = dict(history.last_duration)
    if track.finished >= durations.get(importer, (NEVER, None))[0]:
        durations[importer] = track.finished, _duration(track)
    return replace(history, last_finished=MappingProxyType(dates), last_duration=MappingProxyType(durations))


def _take_back(
    dates: dict[tuple[str, Outcome], float], importer: str, before: Track, tracks: Mapping[str, Track]
) -> None:
    """Dates the interruption that has become something else back to the one before it, if there was one."""
    key = importer, Outcome.INTERRUPTED
    if dates.get(key) != before.finished:
        return
    del dates[key]
    others = (track for track in tracks.values() if track.outcome is Outcome.INTERRUPTED)
    earlier = [
        each.finished for each in others if each.finished and known_importer(each.operation.importer) == importer
    ]
    if earlier:
        dates[key] = max(earlier)


def _duration(track: Track) -> float | None:
    if track.finished is None or track.operation.created is None or track.dated_by_start:
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
