"""Compares the exporter's statements with the truth.

The oracle knows the world. It also decides whether the answers that the exporter saw were enough to know it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from rc_import_exporter.core import progress
from rc_import_exporter.core.domain import (
    FINISHED,
    IMPORTING_STEPS,
    LAST_STEPS,
    LOADING_STEPS,
    Operation,
    Outcome,
    Step,
)
from rc_import_exporter.core.snapshot import Moment, Record, Track
from tests.laws.claims import (
    BLAMED,
    CUTS,
    SUCCESSES,
    Kind,
    Row,
    Said,
    durations_in,
    published,
    said_of,
)
from tests.laws.exporter_lives import Exporter, Look
from tests.laws.server_truth import Ending, Truth
from tests.laws.server_worlds import World

SAME_MOMENT: Final = 0.02
UNTIL_ABORTED: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A statement: its row and operation, whether it was wrong, and whether the answers could show the truth."""

    row: Row
    kind: Kind
    id: str
    at: float
    wrong: bool
    excused: bool = False
    text: str = ""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What an exporter saw of one operation."""

    first: Operation
    baseline: bool
    old: bool
    alive: bool = False
    ended: Operation | None = None
    ended_at: float = 0.0
    sealed: bool = False
    cut: bool = False
    completed: tuple[int, int] = (0, 0)
    failed: tuple[int, int] = (0, 0)
    outcomes: set[Outcome] = field(default_factory=set)

    @property
    def new(self) -> bool:
        """Whether it was created after the first poll."""
        return not self.baseline and not self.old

    @property
    def kind(self) -> Kind:
        """How the exporter found it."""
        if self.alive:
            return Kind.FOLLOWED
        return Kind.FOUND if self.baseline or self.old else Kind.BETWEEN


class _Found(Protocol):
    def __call__(self, row: Row, id: str, *, wrong: bool, text: object = "") -> Iterator[Finding]: ...


class Oracle:
    """Watches one exporter in one world."""

    def __init__(self, world: World, exporter: Exporter) -> None:
        self.world = world
        self.seen: dict[str, Seen] = {}
        self._poll_gap = max(exporter.busy, exporter.idle) + exporter.slow
        self._slack = 2.5 + 2 * world.spread
        self._clock = world.site.clocks[0]
        self._shown: Sequence[Operation] = ()
        self._tracks: Mapping[str, Track] = {}
        self._horizon: float | None = None
        self._looked = False
        self._counters: tuple[int, ...] = ()
        self.record: Record | None = None
        self._unsafe = False
        self._true: set[tuple[Row, str]] = set()

    @property
    def tolerance(self) -> float:
        """Seconds by which a stated time may be wrong: one poll, and the inaccuracy of clocks."""
        return self._poll_gap + self._slack

    def look(self, look: Look) -> Iterator[Finding]:
        """The findings after this poll."""
        # The operations of a world are the same objects from answer to answer.
        for doc in look.shown if look.shown != self._shown else ():
            self._witness(doc, look.poll.ended)
        if look.answered and not self._looked:
            self._looked = True
            self._horizon = max((doc.created or 0 for doc in look.shown), default=0.0)
        self.record = look.record
        tracks = look.record.history.tracks
        for id, track in tracks.items():
            if track is not self._tracks.get(id) and id in self.seen:
                self.seen[id].outcomes.add(track.outcome)
                yield from self._judge(id, track, look.poll.ended)
        self._tracks = tracks
        yield from self._now(look)

    def _witness(self, doc: Operation, at: float) -> None:
        seen = self.seen.get(doc.id)
        if seen is None:
            old = self._horizon is not None and (doc.created or 0) <= self._horizon
            seen = self.seen[doc.id] = Seen(first=doc, baseline=not self._looked, old=old)
            if seen.baseline or old:
                seen.completed, seen.failed = (_both(doc)[0],) * 2, (_both(doc)[1],) * 2
        completed, failed = _both(doc)
        seen.completed = seen.completed[0], max(seen.completed[1], completed)
        seen.failed = seen.failed[0], max(seen.failed[1], failed)
        unfinished = doc.step not in LAST_STEPS
        seen.alive = seen.alive or (bool(doc.valid) and unfinished)
        seen.sealed = seen.sealed or (doc.step is Step.DONE and bool(doc.valid))
        seen.cut = seen.cut or (not doc.valid and doc.step in IMPORTING_STEPS)
        if seen.ended is None and not (doc.valid and unfinished):
            seen.ended, seen.ended_at = doc, at

    # What it says of an operation's end.

    def _judge(self, id: str, track: Track, at: float) -> Iterator[Finding]:
        truth, seen = self.world.truths[id], self.seen[id]
        if truth.restored:
            return
        said = said_of(track)

        def found(row: Row, *, wrong: bool, excused: bool = False, text: str = "") -> Finding:
            excused = wrong and excused
            return Finding(
                row=row, kind=seen.kind, id=id, at=at, wrong=wrong and not excused, excused=excused, text=text
            )

        if said.run_started is not None:
            yield found(Row.RUN_STARTED, wrong=not self._is_near(said.run_started, truth.run_started))
        if said.run_start is not None:
            yield found(Row.RUN_BOUNDS, wrong=not self._spans(said.run_start, truth.run_started, truth.run_started))
        if said.outcome not in FINISHED:
            return
        for row, wrong, excused in self._outcome(said, truth, seen):
            yield found(row, wrong=wrong, excused=excused, text=said.outcome)
        if truth.ended is None:
            return
        if truth.ending in (Ending.CUT, Ending.CUT_LOADING, Ending.DISCARDED) and said.outcome not in SUCCESSES:
            blames = None if said.cause is None else BLAMED.get(said.cause)
            if said.outcome is not Outcome.UNCONFIRMED:
                wrong = blames is not None and not blames & truth.blames
                yield found(Row.CAUSE, wrong=wrong, text=f"{said.cause}, not {[*truth.blames]}")
        yield from (found(row, wrong=wrong, text=text) for row, wrong, text in self._times(said, truth, seen))

    def _outcome(self, said: Said, truth: Truth, seen: Seen) -> Iterator[tuple[Row, bool, bool]]:
        outcome, ending = said.outcome, truth.ending
        if ending is Ending.CUT:
            whole = truth.whole is not None
            yield Row.FALSE_SUCCESS, outcome in SUCCESSES, whole or self._could_be_well(seen)
            yield Row.UNCONFIRMED_CUT, outcome is Outcome.UNCONFIRMED, False
            yield Row.OUTCOME, outcome not in CUTS | SUCCESSES | {Outcome.UNCONFIRMED}, False
        elif ending is Ending.WELL:
            yield Row.FALSE_CUT, outcome in CUTS, self._could_be_cut(seen)
            yield Row.UNCONFIRMED_WELL, outcome is Outcome.UNCONFIRMED, False
            yield Row.UNCONFIRMED_SEALED, outcome is Outcome.UNCONFIRMED and seen.sealed, False
            yield Row.OUTCOME, outcome not in CUTS | SUCCESSES | {Outcome.UNCONFIRMED}, False
        else:
            right = {
                Ending.CUT_LOADING: {*CUTS, Outcome.DISCARDED},
                Ending.FAILED: {Outcome.FAILED},
                Ending.DISCARDED: {Outcome.DISCARDED},
            }
            # An operation that was invalid and went on is still open: what it will come to is not known yet.
            yield Row.OUTCOME, outcome not in right.get(ending, FINISHED), seen.cut

    def _could_be_cut(self, seen: Seen) -> bool:
        """Whether an import that ended well looked like one that was cut off."""
        return seen.cut or (not seen.sealed and self._stamped_by(seen) != "ended before")

    def _could_be_well(self, seen: Seen) -> bool:
        """Whether an import that was cut off looked as if it ended well: done, with all records or a certain date."""
        ended = seen.ended
        if seen.cut or ended is None or ended.step is not Step.DONE or self._stamped_by(seen) == "replaced":
            return False
        if self._stamped_by(seen) == "ended before":
            return True
        counts = ended.counts
        return counts is None or counts.processed >= (counts.total or 0)

    def _stamped_by(self, seen: Seen) -> str:
        """What `_updatedAt` shows about an operation that was done and invalid when its end was first seen."""
        ended = seen.ended
        if ended is None or ended.step is not Step.DONE or ended.valid:
            return ""
        later = [each.first.created or 0 for each in self.seen.values()]
        later = [created for created in later if created > (ended.created or 0)]
        if not later:
            return ""
        after = (ended.updated or 0) - min(later)
        if abs(after) <= SAME_MOMENT:
            return "ended before"
        return "replaced" if 0 < after <= UNTIL_ABORTED and self.world.clocks_agree else ""

    # Times.

    def _times(self, said: Said, truth: Truth, seen: Seen) -> Iterator[tuple[Row, bool, str]]:
        begins, ends = (0.0, 0.0) if truth.ended is None else truth.ended
        begins, ends = begins + self._clock, ends + self._clock
        gap = self.tolerance
        if said.finished is not None:
            off = max(begins - said.finished, said.finished - ends)
            yield Row.FINISHED, off > gap, f"{said.finished - ends:+.1f} s"
        if said.end is not None:
            yield Row.END_BOUNDS, not self._spans(said.end, *(truth.ended or (0, 0))), f"{said.end}"
        if said.dated is not None:
            yield self._dated(said.dated, truth, seen, ends)
        for duration in durations_in(said.sentence):
            start = truth.created if duration.since_created else truth.run_started
            if start is None:
                start = truth.created
            base = start + self._clock
            holds = duration.holds(begins - base, ends - base, gap)
            yield Row.DURATION, not holds, f"{said.sentence!r}, not {begins - base:.1f}..{ends - base:.1f} s"

    def _dated(self, dated: float, truth: Truth, seen: Seen, ends: float) -> tuple[Row, bool, str]:
        """An end must not be dated later than it was written or seen.

        An operation that stays in an importing step ends when it becomes invalid, because no answer shows more.
        """
        limit = ends
        if truth.ending in (Ending.CUT, Ending.CUT_LOADING) and truth.invalid is not None:
            limit = max(ends, truth.invalid + self._clock)
        if seen.kind is not Kind.FOUND:
            limit = max(limit, seen.ended_at + self._clock)
        return Row.DATED, dated > limit + self._slack, f"{dated - limit:+.1f} s"

    def _is_near(self, said: float, true: float | None) -> bool:
        return true is not None and abs(said - true - self._clock) <= self.tolerance

    def _spans(self, span: Moment, earliest: float | None, latest: float | None) -> bool:
        if earliest is None or latest is None:
            return False
        earliest, latest = earliest + self._clock, latest + self._clock
        return span.earliest - self._slack <= latest and earliest <= span.latest + self._slack

    # What it says of now.

    def _now(self, look: Look) -> Iterator[Finding]:
        now, record = look.poll.ended, look.record

        def found(row: Row, id: str, *, wrong: bool, text: object = "") -> Iterator[Finding]:
            # What was true once before is no news.
            if wrong or (row, id) not in self._true:
                self._true.add((row, id))
                kind = self.seen[id].kind if id in self.seen else Kind.FOLLOWED
                yield Finding(row=row, kind=kind, id=id, at=now, wrong=wrong, text=str(text))

        if look.answered and look.shown != self._shown:
            self._shown = look.shown
            self._unsafe = any(doc.valid and doc.step in LOADING_STEPS | IMPORTING_STEPS for doc in look.shown)
        if self._unsafe:
            yield from found(Row.RESTART, "", wrong=record.restart_safe(now) is True)
        counters = _counters(record)
        if self._counters:
            fell = any(before > after for before, after in zip(self._counters, counters, strict=True))
            yield from found(Row.FALLING, "", wrong=fell)
        self._counters = counters
        observation = record.observation
        if not look.answered or observation is None or observation.track is None:
            return
        doc = observation.track.operation
        truth = self.world.truths[doc.id]
        yield from self._current(look, doc, found)
        if self.world.clocks_agree and doc.created is not None and not truth.restored:
            age = published("operation_age_seconds", record, now)
            wrong = age is not None and abs(age - max(0.0, now + self._clock - doc.created)) > self._slack + 1
            yield from found(Row.AGE, doc.id, wrong=wrong, text=age)
        if not truth.restored and observation.track.outcome in (Outcome.WAITING, Outcome.RUNNING, Outcome.LOADING):
            yield from self._under_way(look, observation.track, truth, found)

    def _current(self, look: Look, doc: Operation, found: _Found) -> Iterator[Finding]:
        if look.status is not None:
            newest = max(look.shown, key=lambda each: each.created or 0)
            yield from found(Row.CURRENT, doc.id, wrong=newest.id != doc.id, text=newest.id)

    def _under_way(self, look: Look, track: Track, truth: Truth, found: _Found) -> Iterator[Finding]:
        now, waits, moves = look.poll.ended, track.step_started, track.progressed
        there = look.record.server_time(now) - self._clock
        if track.outcome is Outcome.WAITING and waits is not None:
            since = next((at for at, step in reversed(truth.entered) if step is track.operation.step), truth.created)
            wrong = not self._is_near(waits, since)
            yield from found(Row.WAITING, truth.id, wrong=wrong, text=waits - since - self._clock)
        if track.outcome is not Outcome.RUNNING or not truth.moved:
            return
        # What was written while the answer was on its way may be in it or not.
        first, last = (max(0, bisect_right(truth.moved, at) - 1) for at in (look.at, now))
        moved = truth.moved[first : last + 1]
        if moves is not None:
            off = min(abs(moves - each - self._clock) for each in moved)
            yield from found(Row.MOVED, truth.id, wrong=off > self.tolerance, text=off)
            stall = there - (moves - self._clock)
            off = min(abs(stall - (now - each)) for each in moved)
            yield from found(Row.STALL, truth.id, wrong=off > self.tolerance, text=(stall, off))
        if truth.ending is Ending.WELL and truth.course.even and truth.whole:
            left = progress.seconds_left(track, look.record.server_time(now))
            if left is not None:
                real = max(0.0, truth.whole - now)
                wrong = abs(left - real) > 20 and (left > 3 * real or real > 3 * left)
                yield from found(Row.LEFT, truth.id, wrong=wrong, text=(left, real))


def _both(doc: Operation) -> tuple[int, int]:
    counts = doc.counts
    return (0, 0) if counts is None else (counts.completed or 0, counts.failed or 0)


def _counters(record: Record) -> tuple[int, ...]:
    history = record.history
    finished = (history.finished.get(outcome, 0) for outcome in FINISHED)
    return (history.started, history.completed, history.failed, *finished, *map(len, [record.requests]))
