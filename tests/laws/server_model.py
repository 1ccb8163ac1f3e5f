"""A Rocket.Chat server or cluster and its imports: what it writes into its database, and what is true.

It follows the description of the API and knows nothing of this exporter. `now` is true time in Unix seconds. Each
server writes dates by its own clock.
"""

import heapq
from collections.abc import Callable, Generator
from dataclasses import replace
from math import floor
from random import Random

from rc_import_exporter.core.domain import IMPORTING_STEPS, LOADING_STEPS, Counts, Operation, Reason, Step
from tests.laws.server_truth import START, Blame, Course, Ending, Outage, Site, Truth

Doing = Generator[float, None, None]
"""What a server does for an operation; each number is the seconds until it goes on."""


class Servers:
    """The servers of one workspace and their database, played event by event."""

    def __init__(self, dice: Random, site: Site) -> None:
        self.dice = dice
        self.site = site
        self.now = START
        self.docs: dict[str, Operation] = {}
        self.truths: dict[str, Truth] = {}
        self.writes: list[tuple[float, str, Operation | None]] = []
        self.outages: list[Outage] = []
        self.log: list[tuple[float, str]] = []
        self.down_until = START
        self.on_stage: Callable[[Truth, str, float], None] = lambda truth, stage, seconds: None
        self.on_end: Callable[[], None] = lambda: None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._booked = 0
        self._doing: dict[str, Doing] = {}
        self._home: dict[str, int | None] = {}
        self._names: list[str] = [
            letter + digit for digit in ("", *"123456789") for letter in "ABCDEFGHJKLMNPQRSTUVWXYZ"
        ]
        dice.shuffle(self._names)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Plan an event."""
        self._booked += 1
        heapq.heappush(self._agenda, (when, self._booked, act))

    def play(self, until: float) -> None:
        """Let all events before this time happen."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, act = heapq.heappop(self._agenda)
            act()

    def stamp(self, server: int) -> float:
        """The current time of this server's clock, in whole milliseconds."""
        return floor((self.now + self.site.clocks[server]) * 1000) / 1000

    def tell(self, text: str) -> None:
        """Write a line into the log."""
        self.log.append((self.now, text))

    def place(self, doc: Operation, truth: Truth) -> None:
        """Put an old operation into the database."""
        self.docs[doc.id] = doc
        self.truths[doc.id] = truth
        self.writes.append((self.now, doc.id, doc))

    def name(self) -> str:
        """A random unused id."""
        return self._names.pop()

    # What people and machines do to it.

    def create(self, course: Course) -> Truth:
        """Create an operation. All earlier ones become invalid at the same time."""
        server = self.dice.randrange(len(self.site.clocks))
        new = self.name()
        self.tell(f"{new} ({course.importer}) is created by server {server}")
        self.invalidate(server, Blame.SUPERSEDED)
        truth = Truth(id=new, course=course, created=self.now, server=server)
        self.truths[new] = truth
        stamp = self.stamp(server)
        self.docs[new] = Operation(
            id=new,
            importer=course.importer,
            step=Step.NEW,
            valid=True,
            created=stamp,
            dated_as_text=not self.site.numeric,
            updated=stamp,
        )
        self._written(new)
        truth.entered.append((self.now, Step.NEW))
        self._doing[new] = self._live(truth)
        self._go_on(new, self._doing[new])
        return truth

    def clear(self) -> None:
        """An administrator clears the import."""
        server = self.dice.randrange(len(self.site.clocks))
        self.tell("an administrator clears")
        self.invalidate(server, Blame.CLEARED)

    def start_server(self, server: int, blame: Blame) -> None:
        """A server starts.

        It invalidates valid operations, except those that wait and, in some versions, failed ones.
        """
        self.tell(f"server {server} starts")
        newest = max(self.docs.values(), key=lambda doc: doc.created or 0, default=None)
        spared = {Step.USER_SELECTION, Step.IMPORT_FAILED} if self.site.spares_failed else {Step.USER_SELECTION}
        keep = newest.id if newest is not None and newest.step in spared else None
        self.invalidate(server, blame, keep)

    def invalidate(self, server: int, blame: Blame, keep: str | None = None) -> None:
        """Set `valid` to false on all valid operations in one write."""
        for id, doc in self.docs.items():
            if doc.valid and id != keep:
                self.docs[id] = replace(doc, valid=False, updated=self.stamp(server))
                self._written(id)
                self._invalidated(self.truths[id], doc.step, blame)

    def crash(self, server: int, down: float | None) -> None:
        """A server stops and starts again after `down` seconds.

        If it is the only one, connections are refused until then.
        """
        self.tell(f"server {server} stops" + ("" if down is None else f" for {down:.1f} s"))
        for id, home in list(self._home.items()):
            if home == server:
                self._killed(self.truths[id])
        if self.site.lone:
            down = 30.0 if down is None else down
            reason, code = (Reason.PROXY, 502) if self.site.proxy else (Reason.CONNECTION, None)
            self.outages.append(Outage(begins=self.now, ends=self.now + down, reason=reason, code=code))
            self.down_until = self.now + down
        if down is not None:
            blame = Blame.CRASH if self.site.lone else Blame.STARTED
            self.at(self.now + down, lambda: self.start_server(server, blame))

    def fail(self, seconds: float, reason: Reason, code: int | None) -> None:
        """Calls fail for a while. Nothing else happens."""
        self.tell(f"calls fail for {seconds:.1f} s: {reason}")
        by = reason is Reason.SERVER
        self.outages.append(
            Outage(begins=self.now, ends=self.now + seconds, reason=reason, code=code, by_rocketchat=by)
        )

    def replace_database(self, old: dict[str, Operation], down: float) -> None:
        """All servers stop. After `down` seconds they start with a database that has only these operations."""
        self.tell(f"the database is {'restored' if old else 'emptied'}")
        self._doing.clear()
        self._home.clear()
        for truth in self.truths.values():
            truth.restored = True
            if truth.ending is Ending.OPEN:
                truth.ending = Ending.LOST
                truth.ended = (self.now, self.now + down)
        self.outages.append(Outage(begins=self.now, ends=self.now + down, reason=Reason.CONNECTION, code=None))
        self.down_until = self.now + down
        for id in [id for id in self.docs if id not in old]:
            del self.docs[id]
            self._written(id)
        for id, doc in old.items():
            self.docs[id] = doc
            self._written(id)
        self.at(self.now + down, lambda: self.start_server(0, Blame.CRASH))
        self.on_end()

    # What happens inside.

    def _written(self, id: str) -> None:
        self.writes.append((self.now, id, self.docs.get(id)))

    def _write(self, truth: Truth, step: Step, counts: Counts | None, server: int) -> None:
        doc = self.docs[truth.id]
        if step is not doc.step:
            truth.entered.append((self.now, step))
        truth.moved.append(self.now)
        self.docs[truth.id] = Operation(
            id=doc.id,
            importer=doc.importer,
            step=step,
            valid=doc.valid,
            created=doc.created,
            dated_as_text=doc.dated_as_text,
            updated=self.stamp(server),
            counts=counts,
        )
        self._written(truth.id)

    def _go_on(self, id: str, doing: Doing) -> None:
        if self._doing.get(id) is not doing:
            return
        try:
            seconds = next(doing)
        except StopIteration:
            del self._doing[id]
            self._home.pop(id, None)
            self.on_end()
        else:
            self.at(self.now + seconds, lambda: self._go_on(id, doing))

    def _stop(self, truth: Truth) -> None:
        self._doing.pop(truth.id, None)
        self._home.pop(truth.id, None)
        self.on_end()

    def _killed(self, truth: Truth) -> None:
        truth.dead = self.now
        truth.ended = (truth.invalid or self.now, self.now)
        truth.blames.add(Blame.CRASH)
        truth.ending = Ending.CUT_LOADING if truth.run_started is None else Ending.CUT
        self._stop(truth)

    def _invalidated(self, truth: Truth, step: Step, blame: Blame) -> None:
        """The effect of invalidation on this operation."""
        truth.invalid = self.now
        if truth.ending is not Ending.OPEN:
            if truth.dead is not None and blame is Blame.SUPERSEDED:
                truth.blames.add(blame)
        elif step in LOADING_STEPS:
            truth.ending, truth.ended, truth.blames = Ending.CUT_LOADING, (self.now, self.now), {blame}
        elif step in IMPORTING_STEPS:
            truth.blames = {blame}
        else:
            truth.ending, truth.ended, truth.blames = Ending.DISCARDED, (self.now, self.now), {blame}
            self._stop(truth)

    def _until_up(self) -> Doing:
        while self.now < self.down_until:
            yield self.down_until - self.now + self.dice.uniform(1, 20)

    def _live(self, truth: Truth) -> Doing:
        course, server = truth.course, truth.server
        self.on_stage(truth, "new", course.idle)
        yield course.idle
        yield from self._until_up()
        counts: Counts | None = None
        if course.preparing:
            self._home[truth.id] = server
            self.on_stage(truth, "loading", course.loads_for)
        for step, seconds, counts in course.preparing:
            self._write(truth, step, counts, server)
            if step is Step.USER_SELECTION:
                self._home[truth.id] = None
            yield seconds
            if truth.ending is Ending.CUT_LOADING and not course.goes_on_loading:
                return
            if truth.ending is Ending.CUT_LOADING:
                truth.ended = (truth.invalid or self.now, self.now)
        if truth.ending is Ending.CUT_LOADING:
            return
        if course.waits is not None:
            self._home[truth.id] = None
            if self.docs[truth.id].step is not Step.USER_SELECTION:
                self._write(truth, Step.USER_SELECTION, counts, server)
            self.on_stage(truth, "waiting", course.waits)
            yield course.waits
            yield from self._until_up()
        truth.server = self.dice.randrange(len(self.site.clocks))
        self._home[truth.id] = truth.server
        yield from self._run(truth, counts)

    def _run(self, truth: Truth, counts: Counts | None) -> Doing:
        course, server = truth.course, truth.server
        truth.run_started = self.now
        self.on_stage(truth, "importing", course.runs_for)
        if truth.course.waits is not None:
            self._write(truth, Step.IMPORTING_STARTED, counts, server)
            yield self.dice.choice((0.01, 0.1, 0.5))
        written = counts or Counts()
        completed = failed = 0
        for number, phase in enumerate(course.phases):
            self._write(truth, phase.step, counts, server)
            for nth, (seconds, more, worse) in enumerate(phase.batches, 1):
                yield seconds
                completed, failed = completed + more, failed + worse
                counts = Counts(total=written.total, completed=completed, failed=failed, staged=written.staged)
                if nth == len(phase.batches) and number == len(course.phases) - 1:
                    break
                self._write(truth, phase.step, counts, server)
                if truth.invalid is not None:
                    yield from self._abort(truth, counts)
                    return
            if course.throws == number:
                self._write(truth, Step.IMPORT_FAILED, counts, server)
                truth.ending, truth.ended = Ending.FAILED, (truth.invalid or self.now, self.now)
                return
        truth.whole = self.now
        seen = self.docs[truth.id].counts
        self._write(truth, Step.FINISHING, counts if course.last_write else seen, server)
        yield course.finishing
        self._write(truth, Step.DONE, counts if course.last_write else seen, server)
        truth.ending, truth.ended = Ending.WELL, (truth.invalid or self.now, self.now)
        self.on_stage(truth, "ended", 0.0)

    def _abort(self, truth: Truth, counts: Counts | None) -> Doing:
        yield self.dice.uniform(0.005, 0.05)
        self._write(truth, Step.DONE, counts, truth.server)
        truth.ending, truth.ended = Ending.CUT, (truth.invalid or self.now, self.now)
        self.on_stage(truth, "ended", 0.0)
