"""Random histories of servers: what is imported, how, and what happens to it.

All kinds of events are real, but not how often they happen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from random import Random
from typing import Final

from rc_import_exporter.core.domain import Counts, Operation, Reason, Step
from tests.laws.server_model import Servers
from tests.laws.server_truth import (
    START,
    Blame,
    Course,
    Ending,
    Outage,
    Phase,
    Site,
    Truth,
    staged,
)

LATEST: Final = START + 40_000
FILES: Final = ("csv", "slack", "slack-users", "omnichannel_contact", "hipchatenterprise", "own-importer")
PENDING: Final = ("pending-files", "pending-avatars")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A history of servers, and the truth about it."""

    site: Site
    writes: Sequence[tuple[float, str, Operation | None]]
    outages: Sequence[Outage]
    truths: dict[str, Truth]
    log: Sequence[tuple[float, str]]
    ends: float

    @property
    def clocks_agree(self) -> bool:
        """Whether all servers have the same clock."""
        return len(set(self.site.clocks)) == 1

    @property
    def spread(self) -> float:
        """Seconds between the fastest clock and the slowest."""
        return max(self.site.clocks) - min(self.site.clocks)


def spread_evenly(dice: Random, least: float, most: float) -> float:
    """A random number whose logarithm is uniform: small numbers are as likely as large ones."""
    return exp(dice.uniform(log(least), log(most)))


def random_site(dice: Random) -> Site:
    """A server or a cluster, of any age, whose clocks may be off."""
    offset = 0.0 if dice.random() < 0.6 else dice.choice((-1, 1)) * spread_evenly(dice, 3, 20_000)
    offset += dice.uniform(-0.4, 0.4)
    servers = dice.choice((1, 1, 2, 3))
    apart = 0.0 if dice.random() < 0.8 else spread_evenly(dice, 1, 10)
    return Site(
        clocks=[offset + (dice.uniform(-apart, apart) if apart else 0.0) for _ in range(servers)],
        version=dice.choice(((5, 4), (6, 2), (6, 7), (6, 13), (7, 0), (7, 8), (8, 2), (8, 6), (8, 6), (8, 6))),
        spares_failed=dice.random() < 0.7,
        proxy=dice.random() < 0.2,
    )


def random_course(dice: Random, site: Site, importer: str | None = None) -> Course:
    """The plan of one import."""
    if importer is None:
        importer = dice.choice(("csv", "csv", "csv", "slack", "slack", "api", "api", "api", *FILES, *PENDING))
    if importer == "omnichannel_contact" and site.version < (7, 0):
        importer = "csv"
    if importer == "hipchatenterprise" and site.version >= (7, 0):
        importer = "slack"
    if importer in PENDING:
        return _pending(dice, importer)
    users, channels, messages, contacts = _sizes(dice, importer)
    total = users + channels + messages + contacts
    throws = dice.random() < 0.1
    phases = list(_phases(dice, site, importer, (users, channels, messages, contacts)))
    deselected = importer != "api" and dice.random() < 0.12
    if deselected:
        phases = _deselect(dice, phases)
    full = Counts(total=total, staged=staged(users, channels, messages, contacts))
    attachments = importer == "slack" and any(phase.step is Step.IMPORTING_MESSAGES for phase in phases)
    return Course(
        importer=importer,
        idle=spread_evenly(dice, 0.5, 60),
        preparing=list(_preparing(dice, importer, full)),
        waits=spread_evenly(dice, 1, 2500 if dice.random() < 0.2 else 120),
        phases=phases,
        throws=dice.randrange(len(phases)) if throws and phases else None,
        last_write=dice.random() < 0.7,
        finishing=spread_evenly(dice, 0.01, 3),
        doubled=site.version >= (7, 0) and importer != "api" and users > 0,
        attachments=attachments,
        deselected=deselected,
        goes_on_loading=dice.random() < 0.3,
    )


def _sizes(dice: Random, importer: str) -> tuple[int, int, int, int]:
    def some(most: float) -> int:
        return int(spread_evenly(dice, 1, most))

    if importer == "omnichannel_contact":
        return 0, 0, 0, some(1000)
    users = some(1500) if dice.random() < 0.4 else int(spread_evenly(dice, 100, 3000))
    if importer in ("api", "slack-users"):
        return users, 0, 0, 0
    channels = some(40) if dice.random() < 0.6 else 0
    messages = some(dice.choice((400, 9000, 30_000))) if dice.random() < 0.7 else 0
    return (0 if dice.random() < 0.15 and messages else users), channels, messages, 0


def _preparing(dice: Random, importer: str, full: Counts) -> Sequence[tuple[Step, float, Counts | None]]:
    slow = dice.choice((1.0, 1.0, 10.0, 60.0))

    def seconds() -> float:
        return spread_evenly(dice, 0.2, 2) * slow

    if importer == "api":
        total, parts = full.total or 0, dice.randint(1, 4)
        shares = [total * part // parts for part in range(1, parts + 1)]
        return [
            (Step.USER_SELECTION, seconds(), Counts(total=share, staged=staged(share, 0, 0, 0))) for share in shares
        ]
    steps: list[tuple[Step, float, Counts | None]] = [(Step.UPLOADING, seconds(), None)]
    if dice.random() < 0.2:
        steps.append((Step.DOWNLOADING_FILE, seconds(), None))
    steps += [(Step.FILE_LOADED, seconds(), None), (Step.PREPARING_STARTED, seconds(), None)]
    return [*steps, (Step.PREPARING_USERS, seconds(), None), (Step.PREPARING_MESSAGES, seconds(), full)]


def _phases(dice: Random, site: Site, importer: str, sizes: tuple[int, int, int, int]) -> Sequence[Phase]:
    users, channels, messages, contacts = sizes
    rejected = 0.0 if dice.random() < 0.6 else dice.choice((0.02, 0.3, 1.0))
    small, large = 50 if site.version >= (6, 3) else 500, 500
    interleaved = dice.random() < 0.5
    pace = _pace(dice)

    def batches(number: int, size: int, extra: float = 0.0) -> list[tuple[float, int, int]]:
        parts = [size] * (number // size) + ([number % size] if number % size else [])
        return [(pace() * part / size + 0.02, part + int(part * extra), 0) for part in parts]

    phases = []
    if users:
        phases.append(Phase(step=Step.IMPORTING_USERS, batches=_users(batches(users, small), rejected, importer)))
        if site.version >= (7, 0) and importer != "api":
            again = [(seconds, done - worse, 0) for seconds, done, worse in phases[0].batches]
            first = phases[0].batches
            mixed = [each for pair in zip(first, again, strict=True) for each in pair]
            phases = [Phase(step=Step.IMPORTING_USERS, batches=mixed if interleaved else [*first, *again])]
    if contacts:
        phases.append(Phase(step=Step.IMPORTING_CONTACTS, batches=batches(contacts, small)))
    if channels:
        phases.append(Phase(step=Step.IMPORTING_CHANNELS, batches=batches(channels, small)))
    if messages:
        extra = dice.choice((0.0, 0.1, 0.5)) if importer == "slack" else 0.0
        phases.append(Phase(step=Step.IMPORTING_MESSAGES, batches=batches(messages, large, extra)))
    return phases


def _users(batches: list[tuple[float, int, int]], rejected: float, importer: str) -> list[tuple[float, int, int]]:
    """Rejected users: in an API import they only fail, in a file import they complete too."""
    lost = [(seconds, part, round(part * rejected)) for seconds, part, _ in batches]
    if importer == "api":
        return [(seconds, part - worse, worse) for seconds, part, worse in lost]
    return lost


def _pace(dice: Random) -> Callable[[], float]:
    """Seconds for a batch: about the same in one import, sometimes with a pause."""
    usual = spread_evenly(dice, 0.4, 8) if dice.random() < 0.8 else spread_evenly(dice, 8, 25)
    pauses = dice.random() < 0.08

    def seconds() -> float:
        if pauses and dice.random() < 0.1:
            return spread_evenly(dice, 30, 600)
        return usual * dice.uniform(0.8, 1.25)

    return seconds


def _deselect(dice: Random, phases: Sequence[Phase]) -> list[Phase]:
    kept = [phase for phase in phases if dice.random() < 0.6] or [phases[0]]
    share = dice.choice((0.02, 0.5, 0.95, 1.0))
    return [replace(each, batches=each.batches[: max(1, int(len(each.batches) * share))]) for each in kept]


def _pending(dice: Random, importer: str) -> Course:
    """Files that are fetched later. Such an import has no selection and does not wait."""
    files = 0 if dice.random() < 0.3 else int(spread_evenly(dice, 1, 800))
    counts = Counts(total=files) if files else None
    pace = _pace(dice)
    parts = [50] * (files // 50) + ([files % 50] if files % 50 else [])
    batches = [(pace() * part / 50 + 0.02, part, 0) for part in parts]
    return Course(
        importer=importer,
        idle=spread_evenly(dice, 0.05, 2),
        preparing=[(Step.PREPARING_STARTED, spread_evenly(dice, 0.1, 5), counts)],
        waits=None,
        phases=[Phase(step=Step.IMPORTING_FILES, batches=batches)],
        throws=0 if dice.random() < 0.05 else None,
        last_write=dice.random() < 0.7,
        finishing=0.01,
    )


class Script:
    """The events: operations one after another, and disturbances at some stage of one of them."""

    def __init__(self, dice: Random, site: Site) -> None:
        self.dice = dice
        self.servers = Servers(dice, site)
        self.left = dice.choice((1, 1, 2, 2, 3, 4))
        self.importers = [dice.choice((None, None, "csv", "api", "slack")) for _ in range(5)]
        self.events: dict[tuple[int, str], list[Callable[[], None]]] = {}
        self.number = 0
        self.backup: dict[str, Operation] = {}
        self._booked = False
        self._plan_events()
        self.servers.on_stage = self._stage
        self.servers.on_end = self._book

    def play(self) -> World:
        """Play the whole history."""
        _prehistory(self.dice, self.servers)
        self.servers.at(START + spread_evenly(self.dice, 1, 200), self._create)
        self.servers.play(LATEST)
        last = max((at for at, _, _ in self.servers.writes), default=START)
        last = max([last, *(outage.ends for outage in self.servers.outages)])
        return World(
            site=self.servers.site,
            writes=self.servers.writes,
            outages=sorted(self.servers.outages, key=lambda outage: outage.begins),
            truths=self.servers.truths,
            log=self.servers.log,
            ends=min(last, LATEST) + self.dice.uniform(70, 400),
        )

    def _plan_events(self) -> None:
        for _ in range(self.dice.choice((0, 1, 1, 1, 2, 2, 3))):
            stage = self.dice.choice(("new", "loading", "waiting", *["importing"] * 6, "ended", "ended"))
            event = self.dice.choice(self._repertoire(stage))
            self.events.setdefault((self.dice.randrange(self.left) + 1, stage), []).append(event)

    def _repertoire(self, stage: str) -> list[Callable[[], None]]:
        rare = [self._lose_database] if self.dice.random() < 0.3 else []
        common = [self._crash, self._crash, self.servers.clear, self._interpose, self._blip, *rare]
        return common if self.servers.site.lone else [*common, self._scale, self._scale, self._scale]

    def _stage(self, truth: Truth, stage: str, seconds: float) -> None:
        number = self.number
        if stage == "importing" and self.dice.random() < 0.3:
            self.backup = dict(self.servers.docs)
        for event in self.events.pop((number, stage), ()):
            delay = seconds * self.dice.random() if seconds else spread_evenly(self.dice, 0.3, 100)
            if stage == "importing" and self.dice.random() < 0.15:
                delay = max(0.0, seconds + self.dice.uniform(-2, 2))
            self.servers.at(self.servers.now + delay, event)

    def _book(self) -> None:
        if self.left > 0 and not self._booked:
            self._booked = True
            most = self.dice.choice((30, 300, 300, 2000))
            self.servers.at(self.servers.now + spread_evenly(self.dice, 1, most), self._create)

    def _create(self) -> None:
        servers = self.servers
        if servers.now < servers.down_until:
            servers.at(servers.down_until + self.dice.uniform(0.5, 60), self._create)
            return
        self._booked = False
        if self.left > 0:
            self.left -= 1
            self.number += 1
            servers.create(random_course(self.dice, servers.site, self.dice.choice(self.importers)))

    def _interpose(self) -> None:
        """A new operation while another one may run."""
        self._booked = True
        self.left = max(self.left, 1)
        self._create()

    def _crash(self) -> None:
        servers = self.servers
        if servers.now < servers.down_until:
            return
        homes = [truth.server for truth in servers.truths.values() if truth.ending is Ending.OPEN] or [0]
        down: float | None = spread_evenly(self.dice, 1, self.dice.choice((10, 100, 3000)))
        if not servers.site.lone and self.dice.random() < 0.3:
            down = None
        servers.crash(homes[-1], down)
        if self.dice.random() < 0.1 and down is not None:
            servers.at(servers.now + down + self.dice.uniform(5, 60), self._crash)

    def _scale(self) -> None:
        """Another server of the cluster starts."""
        self.servers.start_server(self.dice.randrange(1, len(self.servers.site.clocks)), Blame.STARTED)

    def _blip(self) -> None:
        if self.dice.random() < 0.5:
            self.servers.fail(spread_evenly(self.dice, 1, 30), Reason.SERVER, 400)
        else:
            self.servers.fail(spread_evenly(self.dice, 1, 60), Reason.TIMEOUT, None)

    def _lose_database(self) -> None:
        old = self.backup if self.dice.random() < 0.6 else {}
        self.servers.replace_database(dict(old), spread_evenly(self.dice, 2, 100))


def _prehistory(dice: Random, servers: Servers) -> None:
    """Past operations, and the restart or the next operation that invalidated them."""
    number = dice.choice((0, 0, 0, 1, 2, 4, 19, 20, 23))
    if not number:
        return
    ages = sorted((spread_evenly(dice, 400, 3e6) for _ in range(number)), reverse=True)
    restarted = spread_evenly(dice, 1, ages[-1])
    for nth, age in enumerate(ages):
        # What is dated by a number was imported before an upgrade.
        numeric = servers.site.numeric or dice.random() < 0.2
        course = random_course(dice, replace(servers.site, version=(5, 4)) if numeric else servers.site)
        begun = START - age
        took = min(spread_evenly(dice, 3, 300), age - restarted - 1)
        next_begun = START - ages[nth + 1] if nth + 1 < len(ages) else START - restarted
        took = min(took, (next_begun - begun) * 0.9)
        doc, truth = _past(dice, servers, course, (begun, took, next_begun))
        servers.place(replace(doc, dated_as_text=not numeric), truth)


def _past(dice: Random, servers: Servers, course: Course, times: tuple[float, float, float]) -> tuple[Operation, Truth]:
    begun, took, invalid = times
    clock = servers.site.clocks[0]
    ending = dice.choice((Ending.WELL, Ending.WELL, Ending.WELL, Ending.CUT, Ending.FAILED, Ending.DISCARDED))
    batches = [batch for phase in course.phases for batch in phase.batches]
    if ending is Ending.CUT and not batches:
        ending = Ending.WELL
    if ending is Ending.CUT:
        batches = batches[: int(len(batches) * dice.random())]
    full = course.preparing[-1][2] if course.preparing else None
    total = full.total if full is not None else None
    counts = Counts(
        total=total,
        completed=sum(batch[1] for batch in batches) if batches else None,
        failed=sum(batch[2] for batch in batches) if batches else None,
        staged={} if full is None else full.staged,
    )
    step = {Ending.FAILED: Step.IMPORT_FAILED, Ending.DISCARDED: Step.USER_SELECTION}.get(ending, Step.DONE)
    frozen = ending is Ending.CUT and dice.random() < 0.5
    if frozen:
        step = course.phases[0].step if course.phases else Step.IMPORTING_STARTED
    ended = begun + took if ending is not Ending.DISCARDED else invalid
    truth = Truth(
        id=servers.name(),
        course=course,
        created=begun,
        server=0,
        run_started=begun + took * 0.3,
        invalid=invalid,
        ended=(ended, ended),
        ending=ending,
        blames=set(Blame),
        moved=[begun + took],
    )
    stamped = invalid if ending is not Ending.CUT or frozen else begun + took
    doc = Operation(
        id=truth.id,
        importer=course.importer,
        step=step,
        valid=False,
        created=_milliseconds(begun + clock),
        updated=_milliseconds(stamped + clock),
        counts=counts,
    )
    return doc, truth


def _milliseconds(at: float) -> float:
    return int(at * 1000) / 1000


def random_world(seed: int) -> World:
    """The world of this seed."""
    dice = Random(seed)
    return Script(dice, random_site(dice)).play()
