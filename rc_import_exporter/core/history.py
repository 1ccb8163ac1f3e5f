"""Follows the operations of a workspace from poll to poll, judges them, and counts them.

The server's list also shows an operation that came and went between two polls. Each operation is counted once, by its
id. The order of answers does not matter: an older version of an operation changes nothing. Instants are by the server's
clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import (
    FINISHED,
    IMPORTING_STEPS,
    RUNNING_STEPS,
    UNFINISHED,
    Counts,
    Operation,
    Outcome,
    known_importer,
)
from rc_import_exporter.core.snapshot import Cause, History, Moment, Track
from rc_import_exporter.core.tracking import (
    CLOCK_PRECISION,
    FOREVER,
    NEVER,
    Look,
    Sighting,
    age_key,
    first_sight,
    goes_on,
    next_sight,
    processed,
)

MOST_TRACKS: Final = 64
"""Operations to remember: three times as many as the server lists.

An operation that is forgotten raises the horizon, so it is not counted again.
"""
FROZEN: Final = 30.0
"""Seconds. If an invalid operation writes no last step for so long, no server runs it any more."""
FULL_LIST: Final = 20
"""Operations in a full list. The server may have more. A shorter list is complete."""


def fold(history: History, look: Look) -> History:
    """The history after this poll. Each operation that the poll showed is followed, judged, and counted once."""
    versions = _latest_versions(look.sightings)
    if history.horizon is None:
        history = replace(history, horizon=max((age_key(each.operation) for each in versions), default=NEVER))
        expected = frozenset(each.operation.id for each in versions)
    else:
        expected = frozenset()
    known = history.listed
    history = _without_gone(history, versions, look)
    current = _newest(history, versions)
    # Most polls show one operation that changed, and 19 that are as they were.
    changed, alive = _changed(history, versions, look)
    if alive:
        history = replace(history, tracks=MappingProxyType({**history.tracks, **alive}))
    starts = _starts(history, versions) if changed else ()
    for sighting in sorted(changed, key=lambda each: age_key(each.operation)):
        history = _follow(history, sighting, look, starts, known, expected=sighting.operation.id in expected)
    if look.listed is not None or not versions:
        history = replace(history, current=current, listed=look.listed or (), listed_for=current)
    else:
        history = replace(history, current=current)
    return _forget(_explain(history, look))


def running_beside(history: History) -> Sequence[Track]:
    """The listed operations that load or run, without the newest one."""
    listed = [history.tracks[id] for id in history.listed or () if id in history.tracks and id != history.current]
    return [track for track in listed if track.operation.valid and track.operation.step in RUNNING_STEPS]


def _changed(
    history: History, versions: Iterable[Sighting], look: Look
) -> tuple[Sequence[Sighting], Mapping[str, Track]]:
    """The operations that are new or not as they were. Of the others, those that are alive, with the time of that."""
    changed, alive = [], {}
    for sighting in versions:
        operation = sighting.operation
        track = history.tracks.get(operation.id)
        # Tuples compare the objects first, and the parser gives the same object for the same JSON.
        if track is None or (track.operation, track.state) != sighting:
            changed.append(sighting)
        elif track.outcome in UNFINISHED:
            alive[operation.id] = replace(track, alive_at=look.began - CLOCK_PRECISION)
    return changed, alive


def _without_gone(history: History, versions: Sequence[Sighting], look: Look) -> History:
    """Marks the operations that the server no longer has: its database may have been restored or emptied.

    A list of fewer than 20 has all operations. An operation that is missing there is gone, unless `import.status` names
    it. Operations that are newer than the one that `import.status` names as the newest are gone, too, unless the list
    shows them. They may come back later.
    """
    complete = (look.listed is not None or not versions) and len(look.listed or ()) < FULL_LIST
    last = _named_start(versions, look)
    newest = history.newest
    overtaken = newest is not None and age_key(newest.operation) > last
    there = {each.operation.id for each in versions} if complete or overtaken or history.gone else set()
    if there.isdisjoint(history.gone) and not overtaken and not (complete and history.tracks.keys() - there):
        return history
    every = {**history.gone, **history.tracks}
    gone = {
        id: track
        for id, track in every.items()
        if id not in there and (complete or id in history.gone or age_key(track.operation) > last)
    }
    held = {id: track for id, track in every.items() if id not in gone}
    kept = dict(list(gone.items())[-MOST_TRACKS:])
    return replace(history, tracks=MappingProxyType(held), gone=MappingProxyType(kept))


def _named_start(versions: Sequence[Sighting], look: Look) -> float:
    """When the operation was created that `import.status` named; infinity where that is not known."""
    created = (each.operation.created for each in versions if each.operation.id == look.named)
    return next((at for at in created if at is not None), FOREVER)


def _starts(history: History, versions: Sequence[Sighting]) -> Sequence[float]:
    """The creation times of all known operations, in order."""
    operations = {id: track.operation for id, track in history.tracks.items()}
    operations |= {each.operation.id: each.operation for each in versions}
    return sorted(operation.created for operation in operations.values() if operation.created is not None)


def _latest_versions(sightings: Iterable[Sighting]) -> list[Sighting]:
    latest: dict[str, Sighting] = {}
    for sighting in sightings:
        operation = sighting.operation
        held = latest.get(operation.id)
        if held is None or _is_later(operation, held.operation):
            latest[operation.id] = sighting
    return list(latest.values())


def _is_later(operation: Operation, other: Operation) -> bool:
    """Whether the first is the later version.

    Their step, validity and counts decide, and the date only if these are no help, because each server of a cluster has
    its own clock.
    """
    if goes_on(other, operation, processed(other)):
        return True
    if goes_on(operation, other, processed(operation)):
        return False
    return (operation.updated or NEVER) > (other.updated or NEVER)


def _newest(history: History, versions: Sequence[Sighting]) -> str | None:
    held = [] if history.newest is None else [history.newest.operation]
    candidates = [each.operation for each in versions] + held
    return max(candidates, key=age_key).id if candidates else None


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
        track = first_sight(sighting, look, starts, expected=old)
        history = replace(history, started=history.started + (not track.expected))
    elif _is_step_back(before, operation):
        return history
    else:
        track = next_sight(before, sighting, look, starts)
    return _count(history, before, track)


def _is_new(history: History, operation: Operation, known: tuple[str, ...] | None) -> bool:
    """Whether it was created since the first poll, by its date, or because it is missing in a complete earlier list."""
    if age_key(operation) > (NEVER if history.horizon is None else history.horizon):
        return True
    return known is not None and len(known) < FULL_LIST and operation.id not in known


def _is_step_back(track: Track, seen: Operation) -> bool:
    """Whether an answer is older than what is known, by its date and by what it shows."""
    held = track.operation
    if held.updated is None or seen.updated is None or seen.updated >= held.updated:
        return False
    return not goes_on(held, seen, track.high_completed + track.high_failed)


def _explain(history: History, look: Look) -> History:
    """Finds why an import was cut off.

    If its server still runs, that server notices the cut and writes `done`. If nothing is written, the server has
    stopped. Then the import ended before that server stopped answering.
    """
    frozen = {
        id: replace(track, cause=Cause.RESTARTED, end=_end_of_frozen(track, look))
        for id, track in history.tracks.items()
        if track.outcome is Outcome.INTERRUPTED
        and track.cause is Cause.UNCERTAIN
        and track.operation.step in IMPORTING_STEPS
        and look.ended - (track.operation.updated or look.ended) > FROZEN
    }
    return replace(history, tracks=MappingProxyType({**history.tracks, **frozen})) if frozen else history


def _end_of_frozen(track: Track, look: Look) -> Moment | None:
    if track.end is None or track.gone_at is None:
        return track.end
    return look.moment(track.end.earliest, min(track.end.latest, track.gone_at))


def _count(history: History, before: Track | None, track: Track) -> History:
    counts = track.operation.counts or Counts()
    completed, failed = max(track.high_completed, counts.completed or 0), max(track.high_failed, counts.failed or 0)
    finishes = track.outcome in FINISHED and track.outcome not in track.counted
    finished = history.finished
    if finishes:
        finished = MappingProxyType({**finished, track.outcome: finished.get(track.outcome, 0) + 1})
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
        finished=finished,
    )
    return _date(history, before, kept)


def _date(history: History, before: Track | None, track: Track) -> History:
    if track.dated is None:
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
    """Removes the date of an interruption that has ended differently, or goes back to the one before it."""
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
    """Drops the oldest operations beyond `MOST_TRACKS`, except the newest operation and those in the latest list."""
    needed = {history.current, *(history.listed or ())}
    spare = sorted(
        (track for id, track in history.tracks.items() if id not in needed),
        key=lambda track: age_key(track.operation),
    )[: max(0, len(history.tracks) - MOST_TRACKS)]
    if not spare:
        return history
    dropped = {track.operation.id for track in spare}
    return replace(
        history,
        tracks=MappingProxyType({id: track for id, track in history.tracks.items() if id not in dropped}),
        horizon=max(NEVER if history.horizon is None else history.horizon, age_key(spare[-1].operation)),
    )
