"""An exporter that watches a story, while clocks are set, the machine sleeps, or the exporter is stopped or killed.

The story goes on in true time, whose zero is its start. The exporter and the server each have a clock that can be set.
No socket is opened: the real poller asks a client that reads the story.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from typing import Final

from rc_import_exporter.config.credentials import Credentials, Given, Source
from rc_import_exporter.core.domain import Api, Exchange, Failure, Reason, Result, Target
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import Store
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.polling.poller import Poller
from rc_import_exporter.rocketchat import diagnosis
from rc_import_exporter.rocketchat.client import Client
from rc_import_exporter.rocketchat.diagnosis import Response
from rc_import_exporter.simulator.importer import Document, iso_date
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.script import Call, Reply
from tests.support.pictures import picture

START: Final = 1_800_000_000.0
INTERVAL: Final = 15.0
LAST_STEPS: Final = frozenset({"done", "import_failed", "import_cancelled"})

_DATED: Final = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]{12}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClock:
    """A clock that is right until it is set, at a true time. From then on it is `by` seconds ahead."""

    at: float = float("inf")
    by: float = 0.0

    def shown(self, true: float) -> float:
        """Unix seconds by this clock at a true time."""
        return START + true + (self.by if true >= self.at else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The exporter does not run between these true times.

    If the whole machine sleeps, the clock of timers stands still, and the next poll comes that much later.
    """

    begins: float = float("inf")
    ends: float = float("inf")
    machine: bool = False

    def resumed(self, planned: float) -> float:
        """When what was planned for this time happens."""
        if planned < self.begins:
            return planned
        return planned + self.ends - self.begins if self.machine else max(planned, self.ends)


@dataclass(slots=True, kw_only=True)
class World:
    """A story at a true time. `answered` is when the server last answered, and `asked` has the times of all calls."""

    story: Story
    exporter_clock: SetClock = field(default_factory=SetClock)
    server_clock: SetClock = field(default_factory=SetClock)
    at: float = 0.0
    answered: float = float("-inf")
    asked: list[float] = field(default_factory=list)

    def now(self) -> float:
        """Unix seconds by the exporter's clock."""
        return self.exporter_clock.shown(self.at)

    def redated(self, found: re.Match[bytes]) -> bytes:
        """A date of the story by the server's clock."""
        return iso_date(self.server_clock.shown(datetime.fromisoformat(found[0].decode()).timestamp() - START)).encode()


class StoryClient(Client):
    """Asks a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ask(self, api: Api, credentials: Credentials) -> Result:
        """What the server answers now, dated by its clock."""
        world = self._world
        world.asked.append(world.at)
        answer = world.story.answer(Call(endpoint=api, at=world.at, started=START))
        if not isinstance(answer, Reply):
            exchange = Exchange(api=api, code=None, seconds=0.01)
            return Failure(exchange=exchange, reason=Reason.CONNECTION, detail="made for a test")
        world.answered = world.at
        date = formatdate(world.server_clock.shown(world.at), usegmt=True)
        body = _DATED.sub(world.redated, answer.body)
        response = Response(status=answer.status, headers={**answer.headers, "Date": date}, body=body)
        skew = (diagnosis.date_of(response) or 0.0) - world.now()
        exchange = Exchange(api=api, code=answer.status, seconds=0.01, size=len(body), skew=skew)
        return diagnosis.read(exchange, response)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What is known at a true time. `now` is the exporter's clock, `age` the true age of the last answer."""

    at: float
    now: float
    age: float
    record: Record


async def watch(world: World, *, ends: float, every: float = 5.0, pause: Pause | None = None) -> list[Scrape]:
    """What an exporter shows that starts now, every few seconds of true time, until the story is so old."""
    pause = pause or Pause()
    target = Target(name="acme", url="http://x", poll_interval=INTERVAL, poll_interval_idle=INTERVAL)
    store = Store(picture([Record(target=target)]))
    source = Source(user_id=Given(option="user_id", value="u"), auth_token=Given(option="auth_token", value="t"))
    keyring = Keyring(source, world.now, "acme")
    poller = Poller("acme", StoryClient(world), keyring, store, world.now)
    begun, scrapes = world.at, []
    scrape, poll = pause.resumed(begun), pause.resumed(begun)
    while min(scrape, poll) < ends:
        world.at = min(scrape, poll)
        if poll < scrape:
            poll = world.at + await poller.attempt()
            if world.at < pause.begins <= poll:
                poll = pause.resumed(poll)
        else:
            record = store.snapshot.records["acme"]
            scrapes.append(Scrape(at=world.at, now=world.now(), age=world.at - world.answered, record=record))
            scrape += every
            if pause.begins <= scrape < pause.ends:
                scrape = pause.ends
    return scrapes


def ends_of(story: Story) -> Mapping[str, Sequence[float]]:
    """When each operation of the story became invalid before its last step, and when it wrote that, in true time."""
    ends: dict[str, list[float]] = {}
    over: set[str] = set()
    for at, documents in moments_of(story):
        for document in documents:
            name, is_over = document.id(START), document.step in LAST_STEPS
            if name not in over and (is_over or (not document.valid and name not in ends)):
                ends.setdefault(name, []).append(min(at, document.updated))
                over.update([name] if is_over else [])
    return ends


def ended_by(ends: Mapping[str, Sequence[float]], at: float, clock: SetClock) -> Mapping[str, float]:
    """The operations that have ended by this true time, and the latest date of that by a clock."""
    seen = {name: [clock.shown(each) for each in times if each <= at] for name, times in ends.items()}
    return {name: max(dates) for name, dates in seen.items() if dates}


def moments_of(story: Story) -> Iterator[tuple[float, tuple[Document, ...]]]:
    """The operations at each second of the story, if they are others than before."""
    before: tuple[Document, ...] = ()
    for at in range(int(story.length) + 1):
        documents = story.operations(at)
        if documents is not before:
            yield at, documents
            before = documents


def moved_at(story: Story, at: float) -> float:
    """When the newest operation was last written to, in true time; now without one."""
    newest = story.newest(at)
    return at if newest is None else newest.updated
