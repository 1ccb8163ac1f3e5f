"""Whether the import that `watch` follows has ended, and how. Each poll makes a new `Pursuit` of the one before.

Without an id the next operation that starts is followed. An operation that was finished at the first poll never counts.
One that loads or runs at the first poll has started. One that waits at the first poll may be weeks old, so it counts
only when its step changes. An operation given by its id always counts, because a short import may end before the first
poll.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.faults import faults, trouble
from rc_import_exporter.core.advice import OUTCOMES, fitting
from rc_import_exporter.core.domain import FEEDS, FINISHED, RUNNING_STEPS, UNFINISHED, Api, Outcome, Reason, Step
from rc_import_exporter.core.snapshot import Observation, Record, Track
from rc_import_exporter.core.verdict import sentence

GRACE: Final = 15.0
"""Seconds in which an interrupted import may still end as done: the server notices within one batch of records."""
POLLS_OF_GRACE: Final = 2
"""Polls in which it may, if they take longer than that."""
PATIENCE: Final = 600.0
"""Seconds without news after which an import that was seen is given up: a server with a large database may need that
long to restart.
"""
FINAL_REASONS: Final = frozenset(
    {Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.NOT_FOUND, Reason.REDIRECTED, Reason.TLS, Reason.TOO_LARGE}
)
FINAL_CODES: Final = frozenset({"401", "403", "404"})
"""Reasons and HTTP codes that end the watch before the first success, because waiting does not help."""

_EXITS: Final = {
    Outcome.SUCCEEDED: Exit.DONE,
    Outcome.COMPLETED_WITH_ERRORS: Exit.WITH_ERRORS,
    Outcome.UNCONFIRMED: Exit.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the watch of a workspace ended: the exit code, a sentence without a full stop, and what to do now."""

    exit: Exit
    sentence: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pursuit:
    """One workspace, watched since the instant `began`.

    `wanted` is the id of the operation to follow, empty for the next one. It must appear by `start_by`. `under_way`
    holds the steps of the operations that were not finished at the first successful poll. `seen` is when a poll last
    showed the followed operation, or any state before it starts. `cut_since` is when it was first seen interrupted.
    """

    began: float
    wanted: str = ""
    start_by: float | None = None
    under_way: Mapping[str, Step] | None = None
    followed: Track | None = None
    seen: float | None = None
    cut_since: float | None = None
    verdict: Verdict | None = None


def pursue(pursuit: Pursuit, record: Record, now: float) -> Pursuit:
    """The pursuit after the latest poll. A verdict stays."""
    if pursuit.verdict is not None:
        return pursuit
    looked = _look(pursuit, record, now)
    return replace(looked, verdict=_verdict(looked, record, now))


def idleness(record: Record, now: float, *, or_down: bool = False) -> Verdict | None:
    """Whether the server can be restarted, by the last poll; `None` before the first.

    With `or_down` a server that does not answer is idle too, because a server that is about to start must not wait for
    itself.
    """
    if record.polls == 0:
        return None
    seen = record.observation
    if or_down and not record.told and _is_down(record):
        return Verdict(exit=Exit.DONE, sentence=f"no server answers: {trouble(record)}")
    if seen is None or not record.up(now):
        return _unknown("whether an import runs is unknown", record)
    match record.restart_safe(now):
        case True:
            return Verdict(exit=Exit.DONE, sentence="nothing loads or runs")
        case False:
            doing = f"do not restart Rocket.Chat now, that would cut off the import: {_doing(seen)}"
            return Verdict(exit=Exit.BUSY, sentence=doing)
        case None:
            return Verdict(exit=Exit.FAILED, sentence="unknown: this release does not know the import's step")


def _doing(seen: Observation) -> str:
    """What the operation does now. After a final outcome the sentence is about the past, so the step is used."""
    if seen.others_run and seen.step not in RUNNING_STEPS:
        return "it is not the newest one"
    return sentence(seen.track) if seen.track is not None and seen.outcome in UNFINISHED else f"at step {seen.step}"


def _is_down(record: Record) -> bool:
    """Whether no server answers, or only a proxy. A slow server may be busy with an import."""
    feeds = [record.feeds.get(api) for api in FEEDS if api in record.target.apis]
    return all(feed is not None and feed.reason in _ABSENCES for feed in feeds)


_ABSENCES: Final = frozenset({Reason.CONNECTION, Reason.PROXY})


def _look(pursuit: Pursuit, record: Record, now: float) -> Pursuit:
    if not _told_by_feed(record):
        return pursuit
    tracks = record.history.tracks
    under_way = pursuit.under_way
    if under_way is None:
        under_way = {id: track.operation.step for id, track in tracks.items() if track.outcome not in FINISHED}
    if pursuit.followed is None:
        followed = tracks.get(pursuit.wanted) if pursuit.wanted else _next_started(tracks, under_way)
    else:
        followed = tracks.get(pursuit.followed.operation.id, pursuit.followed)
    cut = followed is not None and followed.outcome is Outcome.INTERRUPTED
    return replace(
        pursuit,
        under_way=under_way,
        followed=followed,
        seen=record.last_success if followed is None or _is_in_sight(followed, record) else pursuit.seen,
        cut_since=(now if pursuit.cut_since is None else pursuit.cut_since) if cut else None,
    )


def _told_by_feed(record: Record) -> bool:
    """Whether the last poll showed operations with their ids. `getImportProgress` does not."""
    return record.told and record.observation is not None and record.observation.source in FEEDS


def _next_started(tracks: Mapping[str, Track], under_way: Mapping[str, Step]) -> Track | None:
    """The oldest operation that counts, or `None`."""
    started = [track for track in tracks.values() if _has_started(track, under_way)]
    return min(started, key=lambda track: track.operation.created or 0.0, default=None)


def _has_started(track: Track, under_way: Mapping[str, Step]) -> bool:
    if not track.expected:
        return True
    step = under_way.get(track.operation.id)
    moved = step is not None and step is not track.operation.step
    return moved or (step is not None and track.outcome in (Outcome.LOADING, Outcome.RUNNING))


def _is_in_sight(track: Track, record: Record) -> bool:
    """Whether the last poll showed it: the newest is in both feeds, an earlier one only in the list."""
    id, listing = track.operation.id, record.feeds.get(Api.LIST)
    listed = listing is not None and listing.ok and id in (record.history.listed or ())
    return id == record.history.current or listed


def _verdict(pursuit: Pursuit, record: Record, now: float) -> Verdict | None:
    track = pursuit.followed
    if track is not None and track.outcome in FINISHED:
        if _may_end_otherwise(pursuit, record, now):
            return None
        code = _EXITS.get(track.outcome, Exit.BROKEN_OFF)
        return Verdict(
            exit=code, sentence=sentence(track), steps=fitting(OUTCOMES[track.outcome].advice, track.operation.importer)
        )
    late = track is None and pursuit.start_by is not None and now >= pursuit.start_by
    if _is_out_of_sight(pursuit, record, now) or (late and not _told_by_feed(record)):
        return _unseen(pursuit, record)
    if late:
        nothing = f"no operation {pursuit.wanted} was seen" if pursuit.wanted else "no import started"
        return Verdict(exit=Exit.NOTHING_STARTED, sentence=f"{nothing} in time")
    return None


def _may_end_otherwise(pursuit: Pursuit, record: Record, now: float) -> bool:
    since = pursuit.cut_since
    return since is not None and now < since + max(GRACE, POLLS_OF_GRACE * record.interval)


def _is_out_of_sight(pursuit: Pursuit, record: Record, now: float) -> bool:
    if pursuit.seen is not None:
        return now - pursuit.seen > max(PATIENCE, record.stale_after)
    return is_refused_for_good(record) or now - pursuit.began > record.stale_after


def is_refused_for_good(record: Record) -> bool:
    """Whether the feeds never answered, and waiting does not help."""
    feeds = [record.feeds.get(api) for api in FEEDS if api in record.target.apis]
    final = all(feed is not None and feed.reason in FINAL_REASONS for feed in feeds)
    codes = {code for api, code in record.requests if api in FEEDS}
    # A proxy can refuse in Rocket.Chat's place.
    return record.last_success is None and (final or bool(codes and codes <= FINAL_CODES))


def _unseen(pursuit: Pursuit, record: Record) -> Verdict:
    what = "how the import ends is unknown"
    if not _told_by_feed(record):
        return _unknown(what, record)
    if pursuit.followed is not None and pursuit.followed.operation.id in record.history.gone:
        return Verdict(exit=Exit.FAILED, sentence=f"{what}: the server does not hold it any more")
    why = "another import took its place, and only getLatestImportOperations shows the earlier one"
    return Verdict(exit=Exit.FAILED, sentence=f"{what}: {why}")


def _unknown(what: str, record: Record) -> Verdict:
    """Nothing is known, because of what fails now."""
    steps = tuple(step for fault in faults(record) for step in fault.steps)
    return Verdict(exit=Exit.FAILED, sentence=f"{what}: {trouble(record)}", steps=steps)
