"""Whether the import that `watch` follows has come to its end, and how: a pure answer, folded from poll to poll.

Without an id the next operation that starts is followed. One that was finished at the first poll never counts; one that
loads or runs then has started; one that waits then, left behind perhaps weeks ago, counts once its step changes. An
operation asked for by its id counts in any case, since a short import may be over before the first poll.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.core.domain import FEEDS, FINISHED, UNFINISHED, Api, Outcome, Reason, Step
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Track
from rc_import_exporter.core.verdict import sentence

GRACE: Final = 15.0
"""Seconds for which an interrupted import may yet end as done: the server notices within one batch of records."""
POLLS_OF_GRACE: Final = 2
PATIENCE: Final = 600.0
"""Seconds out of sight that a restart of a server with a large database explains, once it was in sight."""
FINAL_REASONS: Final = frozenset(
    {Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.NOT_FOUND, Reason.REDIRECTED, Reason.TLS, Reason.TOO_LARGE}
)
"""What nobody needs to wait for before the first success: someone has to mend it."""

_EXITS: Final = {
    Outcome.SUCCEEDED: Exit.DONE,
    Outcome.COMPLETED_WITH_ERRORS: Exit.WITH_ERRORS,
    Outcome.UNCONFIRMED: Exit.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How it ended: the exit code, and a sentence for people without a full stop."""

    exit: Exit
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pursuit:
    """One workspace, watched since the instant `began`.

    `wanted` is the id of the operation to follow, empty for the next one; it has to be there by `start_by`.
    `under_way` holds the steps of what was not finished at the first success. `seen` is when the followed operation,
    or before it the workspace, was last in sight, `cut_since` when the followed one was first seen interrupted.
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
    """The pursuit after what the latest poll showed; a verdict stays."""
    if pursuit.verdict is not None:
        return pursuit
    looked = _look(pursuit, record, now)
    return replace(looked, verdict=_verdict(looked, record, now))


def idleness(record: Record, now: float, *, or_down: bool = False) -> Verdict | None:
    """Whether the server may be restarted as far as the last poll tells; `None` before the first.

    With `or_down` a server that is not there is idle too: it has nothing to lose, and one that is about to start must
    not wait for itself.
    """
    if record.polls == 0:
        return None
    seen = record.observation
    if or_down and not record.told and _is_down(record):
        return Verdict(exit=Exit.DONE, sentence=f"no server is there: {trouble(record)}")
    if seen is None or not record.up(now):
        return Verdict(exit=Exit.FAILED, sentence=f"cannot tell whether an import runs: {trouble(record)}")
    match record.restart_safe(now):
        case True:
            return Verdict(exit=Exit.DONE, sentence="nothing loads or runs")
        case False:
            doing = f"do not restart Rocket.Chat now, it would kill the import: {_doing(seen)}"
            return Verdict(exit=Exit.BUSY, sentence=doing)
        case None:
            return Verdict(exit=Exit.FAILED, sentence="cannot tell: the import's step is none that this release knows")


def _doing(seen: Observation) -> str:
    """What it does now; the sentence of one whose verdict stays says what was."""
    return sentence(seen.track) if seen.track is not None and seen.outcome in UNFINISHED else f"at step {seen.step}"


def _is_down(record: Record) -> bool:
    """Whether nobody answers, or a proxy in place of whoever should; one that is slow may be busy with an import."""
    feeds = [record.feeds.get(api) for api in FEEDS if api in record.target.apis]
    return all(feed is not None and feed.reason in _ABSENCES for feed in feeds)


_ABSENCES: Final = frozenset({Reason.CONNECTION, Reason.PROXY})


def trouble(record: Record) -> str:
    """What fails now, for people: each reason once, with the endpoints it is about."""
    alike: dict[str, list[str]] = {}
    for feed in record.feeds.values():
        if feed.reason is not None and feed.api is not Api.INFO:
            alike.setdefault(feed.detail, []).append(feed.api)
    if not alike and record.polls > 0:
        return "a fault of the exporter itself, which --log.level=error shows"
    return "; ".join(f"{', '.join(apis)}: {detail}" for detail, apis in alike.items()) or "no answer yet"


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
    """Whether the last poll told of operations by their ids, which `getImportProgress` does not."""
    return record.told and record.observation is not None and record.observation.source in FEEDS


def _next_started(tracks: Mapping[str, Track], under_way: Mapping[str, Step]) -> Track | None:
    """The oldest that counts: what came after it is the next one's business."""
    started = [track for track in tracks.values() if _has_started(track, under_way)]
    return min(started, key=lambda track: track.operation.created or 0.0, default=None)


def _has_started(track: Track, under_way: Mapping[str, Step]) -> bool:
    if not track.expected:
        return True
    step = under_way.get(track.operation.id)
    moved = step is not None and step is not track.operation.step
    return moved or (step is not None and track.outcome in (Outcome.LOADING, Outcome.RUNNING))


def _is_in_sight(track: Track, record: Record) -> bool:
    """Whether the last poll told of it: the newest is in both feeds, an earlier one in the list alone."""
    id, listing = track.operation.id, record.feeds.get(Api.LIST)
    listed = listing is not None and listing.ok and id in (record.history.listed or ())
    return id == record.history.current or listed


def _verdict(pursuit: Pursuit, record: Record, now: float) -> Verdict | None:
    track = pursuit.followed
    if track is not None and track.outcome in FINISHED:
        if _may_end_otherwise(pursuit, record, now):
            return None
        return Verdict(exit=_EXITS.get(track.outcome, Exit.BROKEN_OFF), sentence=sentence(track))
    late = track is None and pursuit.start_by is not None and now >= pursuit.start_by
    if _is_out_of_sight(pursuit, record, now) or (late and not _told_by_feed(record)):
        return Verdict(exit=Exit.FAILED, sentence=f"cannot tell how the import ends: {_why_blind(record)}")
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
    return _is_refused_for_good(record) or now - pursuit.began > record.stale_after


def _is_refused_for_good(record: Record) -> bool:
    feeds = [record.feeds.get(api) for api in FEEDS if api in record.target.apis]
    return all(feed is not None and _is_final(feed) for feed in feeds)


def _is_final(feed: Feed) -> bool:
    """A missing endpoint is no last word as long as a proxy may say so during a restart."""
    return feed.reason in FINAL_REASONS and not (feed.reason is Reason.NOT_FOUND and feed.alone)


def _why_blind(record: Record) -> str:
    if not _told_by_feed(record):
        return trouble(record)
    return "another one took its place, and only getLatestImportOperations tells of it then"
