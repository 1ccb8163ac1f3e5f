"""Exporters that run beside a random server: what each of their polls returns, folded poll by poll."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor
from random import Random
from typing import Final

from rc_import_exporter.core import schedule
from rc_import_exporter.core.domain import (
    IMPORTING_STEPS,
    LOADING_STEPS,
    Answer,
    Api,
    Exchange,
    Failure,
    InfoAnswer,
    ListAnswer,
    Operation,
    Poll,
    ProgressAnswer,
    Reason,
    Result,
    State,
    StatusAnswer,
    Step,
    Success,
    Target,
)
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import fold
from tests.laws.server_truth import START, Outage
from tests.laws.server_worlds import World, spread_evenly

MOST_POLLS: Final = 100
QUIET: Final = 3
"""Polls without news after which a brief exporter sleeps."""
AWAKE: Final = 2
"""Polls of a brief exporter before the next event."""
LISTED: Final = 20
PERMISSION: Final = "a permission is missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One exporter: when it starts and ends, how often it polls, what it may read, and when its calls fail."""

    begins: float
    ends: float
    busy: float
    idle: float
    forbidden: frozenset[Api]
    blind: Sequence[Outage]
    asleep: Sequence[tuple[float, float]]
    slow: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A poll: when each answer was read, what it showed (`None`: no answer), and the record after it.

    `shown` has every operation in the answers, in its later version.
    """

    poll: Poll
    at: float
    status: Operation | None
    shown: Sequence[Operation]
    answered: bool
    record: Record


class Database:
    """The operations at a time that only increases."""

    def __init__(self, world: World) -> None:
        self._writes = world.writes
        self._next = 0
        self._docs: dict[str, Operation] = {}
        self._listed: tuple[Operation, ...] | None = ()

    def go(self, at: float) -> None:
        """Go to this time."""
        while self._next < len(self._writes) and self._writes[self._next][0] <= at:
            _, id, doc = self._writes[self._next]
            self._next += 1
            self._listed = None
            if doc is None:
                self._docs.pop(id, None)
            else:
                self._docs[id] = doc

    @property
    def listed(self) -> tuple[Operation, ...]:
        """The operations last written."""
        if self._listed is None:
            self._listed = tuple(sorted(self._docs.values(), key=lambda doc: doc.updated or 0, reverse=True)[:LISTED])
        return self._listed

    @property
    def newest(self) -> Operation | None:
        """The operation with the greatest `ts`."""
        return max(self._docs.values(), key=lambda doc: doc.created or 0, default=None)


def random_exporters(dice: Random, world: World) -> Sequence[Exporter]:
    """One exporter, or one exporter and its restart."""
    first = _random_exporter(dice, world, _beginning(dice, world))
    if dice.random() < 0.7:
        return [first]
    second = first.ends if dice.random() < 0.3 else _beginning(dice, world)
    return [first, replace(_random_exporter(dice, world, second), forbidden=first.forbidden)]


def _beginning(dice: Random, world: World) -> float:
    """The start of an exporter: before all operations, during one, soon after its end, or at any time."""
    truth = dice.choice(list(world.truths.values()))
    ended = truth.ended[1] if truth.ended is not None else world.ends
    return max(
        START + 0.001,
        dice.choice(
            (
                START,
                START,
                dice.uniform(truth.created, ended),
                dice.uniform(truth.run_started or truth.created, ended),
                ended + spread_evenly(dice, 1, 1000),
                dice.uniform(START, world.ends),
            )
        ),
    )


def _random_exporter(dice: Random, world: World, begins: float) -> Exporter:
    old = {Api.STATUS} if world.site.numeric else set()
    forbidden = dice.choice(([], [], [], [Api.STATUS], [Api.STATUS], [Api.LIST]))
    if dice.random() < 0.02:
        forbidden = [Api.STATUS, Api.LIST]
    blind, asleep = [], []
    for _ in range(dice.choice((0, 0, 0, 0, 1, 1, 2))):
        at, seconds = dice.uniform(begins, max(begins, world.ends)), spread_evenly(dice, 5, 900)
        if dice.random() < 0.4:
            asleep.append((at, at + seconds * dice.choice((1, 6))))
        else:
            reason, code = dice.choice(
                ((Reason.CONNECTION, None), (Reason.TIMEOUT, None), (Reason.PROXY, 502), (Reason.UNAUTHORIZED, 401))
            )
            blind.append(Outage(begins=at, ends=at + seconds, reason=reason, code=code))
    busy, idle = dice.choice(((15.0, 60.0), (15.0, 60.0), (15.0, 15.0), (5.0, 5.0)))
    return Exporter(
        begins=begins,
        ends=world.ends if dice.random() < 0.8 else dice.uniform(begins, max(begins, world.ends)),
        busy=busy,
        idle=idle,
        forbidden=frozenset([*old, *forbidden]),
        blind=blind,
        asleep=asleep,
        slow=spread_evenly(dice, 0.02, 0.8),
    )


def live(dice: Random, world: World, exporter: Exporter, *, brief: bool = False) -> Iterator[Look]:
    """All polls of this exporter.

    With `brief` it sleeps while nothing happens: after some polls that showed the same, until shortly before the next
    event. The polls between would say nothing new, and are most of all.
    """
    target = Target(name="acme", url="https://acme", poll_interval=exporter.busy, poll_interval_idle=exporter.idle)
    record = Record(target=target)
    eyes = _Eyes(dice, world, exporter)
    now = exporter.begins
    shown: Sequence[Operation] = ()
    same = 0
    for _ in range(MOST_POLLS):
        if now > exporter.ends:
            return
        asked = schedule.due(record, now)
        if asked:
            look = eyes.look(record, asked, now)
            record = look.record
            same = same + 1 if look.shown == shown else 0
            shown = look.shown
            yield look
        plan = schedule.plan(record, now, now + exporter.slow)
        record = replace(record, plan=plan)
        now = eyes.awake(plan.next_poll)
        if brief and same >= QUIET:
            now = max(now, eyes.next_event(now) - AWAKE * record.interval)


class _Eyes:
    """Makes the server's answers."""

    def __init__(self, dice: Random, world: World, exporter: Exporter) -> None:
        self._dice = dice
        self._world = world
        self._exporter = exporter
        self._bases = {api: Database(world) for api in (Api.STATUS, Api.LIST, Api.PROGRESS)}
        self._trouble = sorted([*world.outages, *exporter.blind], key=lambda outage: outage.begins)
        self._flaky = 0.03 if dice.random() < 0.1 else 0.0
        limits = [(each.begins, each.ends) for each in self._trouble] + [*exporter.asleep]
        ends = [at for limit in limits for at in limit]
        self._events = sorted([*(at for at, _, _ in world.writes), *ends, exporter.ends])

    def next_event(self, at: float) -> float:
        """When something happens next: a write, or the begin or end of an outage; or when the exporter ends."""
        place = bisect_right(self._events, at)
        return self._events[place] if place < len(self._events) else at

    def awake(self, at: float) -> float:
        """The next time at which the exporter is awake."""
        for begins, ends in self._exporter.asleep:
            if begins <= at < ends:
                return ends
        return at

    def look(self, record: Record, asked: frozenset[Api], now: float) -> Look:
        results = [self._ask(api, now) for api in sorted(asked)]
        poll = self._poll(results, now)
        after = fold(record, poll)
        if not poll.answered and Api.PROGRESS not in asked and schedule.fallback_due(after, now):
            poll = self._poll([*results, self._ask(Api.PROGRESS, now)], now)
            after = fold(record, poll)
        answers = [result.answer for result in poll.results if isinstance(result, Success)]
        took = {result.exchange.api: result.exchange.seconds for result in poll.results}
        status = next((each.operation for each in answers if isinstance(each, StatusAnswer)), None)
        listed = next((each.operations for each in answers if isinstance(each, ListAnswer)), ())
        named = () if status is None else (status,)
        in_order = (*named, *listed) if took.get(Api.STATUS, 0.0) < took.get(Api.LIST, 0.0) else (*listed, *named)
        return Look(
            poll=poll,
            at=now,
            status=status,
            shown=list({doc.id: doc for doc in in_order}.values()),
            answered=poll.answered,
            record=after,
        )

    def _poll(self, results: Sequence[Result], now: float) -> Poll:
        ended = now + max(each.exchange.seconds for each in results)
        return Poll(
            started=now, ended=ended, results=tuple(results), exchanges=tuple(each.exchange for each in results)
        )

    def _ask(self, api: Api, now: float) -> Result:
        seconds = self._exporter.slow * self._dice.uniform(0.3, 1)
        at = now + seconds * 0.9
        trouble = next((each for each in self._trouble if each.begins <= at < each.ends), None)
        if trouble is not None:
            exchange = Exchange(api=api, code=trouble.code, seconds=seconds)
            return Failure(
                exchange=exchange, reason=trouble.reason, detail="made up", by_rocketchat=trouble.by_rocketchat
            )
        skew = floor(at + self._dice.choice(self._world.site.clocks)) - (now + seconds)
        if api in self._exporter.forbidden or (api is Api.STATUS and self._world.site.numeric):
            code, reason = (403, Reason.FORBIDDEN) if api in self._exporter.forbidden else (404, Reason.NOT_FOUND)
            exchange = Exchange(api=api, code=code, seconds=seconds, skew=skew)
            return Failure(exchange=exchange, reason=reason, detail=PERMISSION, by_rocketchat=True)
        if self._flaky and self._dice.random() < self._flaky:
            exchange = Exchange(api=api, code=None, seconds=seconds)
            return Failure(exchange=exchange, reason=Reason.TIMEOUT, detail="made up")
        exchange = Exchange(api=api, code=200, seconds=seconds, size=900, skew=skew)
        return Success(exchange=exchange, answer=self._answer(api, at))

    def _answer(self, api: Api, at: float) -> Answer:
        if api is Api.INFO:
            major, minor = self._world.site.version
            return InfoAnswer(version=f"{major}.{minor}")
        base = self._bases[api]
        base.go(at)
        if api is Api.LIST:
            return ListAnswer(operations=base.listed)
        newest = base.newest
        if api is Api.STATUS:
            return StatusAnswer(state=State.NONE if newest is None else word(newest), operation=newest)
        if newest is None:
            return ProgressAnswer(operation=None)
        bare = Operation(id="", importer=newest.importer, step=newest.step, valid=None, counts=newest.counts)
        return ProgressAnswer(operation=bare)


def word(doc: Operation) -> State:
    """What `import.status` calls this operation."""
    if doc.step is Step.DONE:
        return State.DONE
    if not doc.valid or doc.step is Step.IMPORT_FAILED:
        return State.ERROR
    if doc.step is Step.NEW:
        return State.NEW
    if doc.step in LOADING_STEPS:
        return State.LOADING
    if doc.step is Step.USER_SELECTION:
        return State.READY
    return State.IMPORTING if doc.step in IMPORTING_STEPS else State.UNKNOWN
