"""How to write a story. A `Stage` keeps the time and the state of the world; a `Story` plays what happened on it.

A story is a function that gets a stage and calls its methods in order. No clock is read here: all times are seconds
since the story began, so a story always gives the same answer at the same time.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator import importer as service
from rc_import_exporter.simulator.answers import RUN_IMPORT, VIEW_OPERATIONS, Fault, World, answer
from rc_import_exporter.simulator.importer import Document, Version, Write, listed_of, newest_of
from rc_import_exporter.simulator.script import Answer, Call, Outage

ABORT_DELAY: Final = 3.0
"""Seconds until a running import notices that it was made invalid, and ends as done."""
LATEST: Final[Version] = (8, 6, 1)

Change = Callable[[Document], Document]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Later:
    """A write that a running import will make to its document, unless something stops it first."""

    at: float
    turn: int
    number: int = field(compare=False)
    change: Change = field(compare=False)


class Stage:
    """The world of a story. Each method changes it at the current time, `now`.

    `wait`, `load`, `run` and `crash` let time pass, and a running import goes on meanwhile.
    """

    def __init__(self, *, world: World, now: float = 0.0, created: int = 0) -> None:
        self.now = now
        self.created = created
        self.frames: list[tuple[float, World]] = [(now, world)]
        self._agenda: list[_Later] = []
        self._turns = count()

    @property
    def world(self) -> World:
        """The world as it is now."""
        return self.frames[-1][1]

    @property
    def current(self) -> Document:
        """The newest operation. Raises `LookupError` if none exists yet."""
        newest = newest_of(self.world.documents)
        if newest is None:
            raise LookupError("no operation was created yet")
        return newest

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        until = self.now + seconds
        while self._agenda and self._agenda[-1].at <= until:
            later = self._agenda.pop()
            self.now = max(self.now, later.at)
            self._rewrite(later.number, later.change)
        self.now = until

    def create(self, importer: str = "csv") -> None:
        """Someone creates a new import. The others become invalid, and a running one aborts soon after."""
        self._invalidate_all()
        old = self.world.version < (6, 3)
        new = Document(
            number=self.created, importer=importer, status="importer_new", created=self.now, updated=self.now, old=old
        )
        self.created += 1
        self._enter(replace(self.world, documents=(*self.world.documents, new)))

    def load(self, *, seconds: float, batches: int = 3, from_url: bool = False, **records: int) -> None:
        """Uploads records, by kind (`users=`, `channels=`, `messages=`, `contacts=`, `files=`), until all are ready.

        An API import is ready after its first batch of users. A file import loads and prepares before it is ready.
        """
        writes = service.loading(self.current.importer, records, batches=batches, from_url=from_url)
        self._schedule(writes, seconds)
        self.wait(seconds)

    def run(self, *, seconds: float, rejected: int = 0, selected: float = 1.0, last_write: bool = True) -> None:
        """Imports what was loaded, to the end. `rejected` users are refused; the share `selected` was selected."""
        self.begin_run(seconds=seconds, rejected=rejected, selected=selected, last_write=last_write)
        self.wait(seconds)

    def begin_run(self, *, seconds: float, rejected: int = 0, selected: float = 1.0, last_write: bool = True) -> None:
        """Starts to import and returns at once. The import goes on while the story waits, unless something stops it."""
        version = self.world.version
        writes = service.running(
            self.current, version=version, rejected=rejected, selected=selected, last_write=last_write
        )
        self._schedule(writes, seconds)
        self.wait(0.0)

    def throw(self) -> None:
        """A phase of the running import throws."""
        self._stop(self.current.number)
        self._rewrite(self.current.number, lambda document: replace(document, status="importer_import_failed"))

    def freeze(self) -> None:
        """The running import makes no more progress, and nothing reports it."""
        self._stop(self.current.number)

    def start_other_instance(self, *, aborts_after: float = ABORT_DELAY) -> None:
        """Another server of the cluster starts. Imports become invalid, and a running one aborts soon after."""
        self._doom(aborts_after)
        self._enter(replace(self.world, documents=service.restarted(self.world.documents, self.now)))

    def clear(self, *, aborts_after: float = ABORT_DELAY) -> None:
        """An administrator clears the import. All imports become invalid, also one that waits for its start."""
        self._invalidate_all(aborts_after)

    def crash(self, seconds: float) -> None:
        """The only server stops and comes back. A running import ends."""
        self.go_down()
        self.wait(seconds)
        self.come_up()

    def go_down(self, outage: Outage = Outage.REFUSED) -> None:
        """Nothing answers any more, and a running import ends."""
        self._agenda.clear()
        self._enter(replace(self.world, outage=outage))

    def come_up(self) -> None:
        """The server starts. Imports become invalid, except the newest if it waits for its start."""
        self._enter(replace(self.world, outage=None, documents=service.restarted(self.world.documents, self.now)))

    def restart(self) -> None:
        """The server restarts so fast that no poll sees it."""
        self.go_down()
        self.come_up()

    def remember(self, importer: str, *, age: float, step: str = "done", valid: bool = False, **counts: int) -> None:
        """Adds an operation that ended `age` seconds ago, with its `count` by key."""
        then = self.now - age
        status = step if step.startswith("download_") else f"importer_{step}"
        past = Document(
            number=self.created,
            importer=importer,
            status=status,
            created=then,
            updated=then,
            valid=valid,
            old=self.world.version < (6, 3),
            counts=counts or None,
        )
        self.created += 1
        self._enter(replace(self.world, documents=(*self.world.documents, past)))

    def set_step(self, step: str) -> None:
        """Sets the newest operation's step to any word."""
        self._rewrite(self.current.number, lambda document: replace(document, status=f"importer_{step}"))

    def amend(self, **fields: object) -> None:
        """Replaces these fields of the newest operation; `importer.ABSENT` removes one."""
        self._rewrite(self.current.number, lambda document: replace(document, amended={**document.amended, **fields}))

    def forbid(self, permission: str = RUN_IMPORT) -> None:
        """Takes a permission away from the user."""
        self._enter(replace(self.world, permissions=self.world.permissions - {permission}))

    def permit(self, permission: str = RUN_IMPORT) -> None:
        """Gives a permission to the user."""
        self._enter(replace(self.world, permissions=self.world.permissions | {permission}))

    def read_only(self) -> None:
        """The user has only the permission to read operations."""
        self._enter(replace(self.world, permissions=frozenset({VIEW_OPERATIONS})))

    def revoke_token(self) -> None:
        """The server no longer accepts the token."""
        self._enter(replace(self.world, token_accepted=False))

    def accept_token(self) -> None:
        """The server accepts the token again."""
        self._enter(replace(self.world, token_accepted=True))

    def limit_rate(self, calls: int | None = 10) -> None:
        """The rate limiter allows this many calls in 60 s; `None` means no limit."""
        self._enter(replace(self.world, limit=calls))

    def remove_importer(self, key: str) -> None:
        """The server no longer has this importer."""
        self._enter(replace(self.world, removed_importers=self.world.removed_importers | {key}))

    def upgrade(self, *version: int) -> None:
        """The server is upgraded to this version and restarts."""
        self._enter(replace(self.world, version=version))
        self.restart()

    def fault(self, fault: Fault, *apis: str) -> None:
        """Gives these endpoints a fault, or all endpoints if there is no name."""
        named = dict.fromkeys(apis or tuple(Api), fault)
        self._enter(replace(self.world, faults=MappingProxyType({**self.world.faults, **named})))

    def mend(self) -> None:
        """Removes all faults."""
        self._enter(replace(self.world, faults=MappingProxyType({})))

    def _enter(self, world: World) -> None:
        self.frames.append((self.now, world))

    def _rewrite(self, number: int, change: Change) -> None:
        documents = (
            replace(change(document), updated=self.now) if document.number == number else document
            for document in self.world.documents
        )
        self._enter(replace(self.world, documents=tuple(documents)))

    def _schedule(self, writes: Iterable[Write], seconds: float) -> None:
        number = self.current.number
        self._plan(
            _Later(at=self.now + write.share * seconds, turn=next(self._turns), number=number, change=_written(write))
            for write in writes
        )

    def _plan(self, more: Iterable[_Later]) -> None:
        """Adds to the agenda, whose next write is at its end."""
        self._agenda = sorted([*self._agenda, *more], reverse=True)

    def _stop(self, number: int, since: float = 0.0) -> None:
        self._agenda = [later for later in self._agenda if later.number != number or later.at < since]

    def _invalidate_all(self, aborts_after: float = ABORT_DELAY) -> None:
        self._doom(aborts_after)
        documents = tuple(service.invalidated(document, self.now) for document in self.world.documents)
        self._enter(replace(self.world, documents=documents))

    def _doom(self, aborts_after: float) -> None:
        """An import that runs goes on for a moment and then ends as done. One that loads just stops."""
        at = self.now + aborts_after
        moving = {later.number for later in self._agenda}
        for document in self.world.documents:
            if document.valid and document.number in moving:
                self._stop(document.number, since=at if document.importing else self.now)
                if document.importing:
                    self._plan([_Later(at=at, turn=next(self._turns), number=document.number, change=_aborted)])


def _written(write: Write) -> Change:
    def change(document: Document) -> Document:
        extra = {**document.extra, **write.extra}
        return replace(document, status=f"importer_{write.step}", counts=write.counts, extra=extra)

    return change


def _aborted(document: Document) -> Document:
    return replace(document, status="importer_done")


class Story:
    """A script made from a function that writes a story. With `repeat` it starts again after its end.

    Earlier rounds stay in the list of operations. A new round has later dates and new ids, and starts without the
    earlier round's faults, permissions and other settings.
    """

    def __init__(self, tell: Callable[[Stage], None], *, repeat: bool = False, version: Version = LATEST) -> None:
        self._tell = tell
        self._repeat = repeat
        self._opening = World(version=version)
        self._round = self._play(Stage(world=self._opening))
        self.length = self._round.now
        """Seconds that one round takes."""
        if repeat and self.length <= 0:
            raise ValueError("a story that takes no time cannot be repeated")

    def answer(self, call: Call) -> Answer:
        """What the simulated server answers at that time."""
        return answer(self.world(call.at), call)

    def limit(self, at: float, /) -> int | None:
        """Calls in 60 s that the rate limiter allows at that time."""
        return self.world(at).limit

    def world(self, at: float) -> World:
        """The world at that time."""
        frames = self._round_of(at).frames
        return frames[max(0, bisect_right(frames, at, key=_instant) - 1)][1]

    def operations(self, at: float) -> tuple[Document, ...]:
        """The operations at that time, in the order of their creation."""
        return self.world(at).documents

    def newest(self, at: float) -> Document | None:
        """The newest operation at that time."""
        return newest_of(self.operations(at))

    def _round_of(self, at: float) -> Stage:
        if at < self._round.frames[0][0]:
            self._round = self._play(Stage(world=self._opening))
        while self._repeat and at >= self._round.now:
            told = self._round
            world = replace(self._opening, documents=_remembered(told.world.documents))
            self._round = self._play(Stage(world=world, now=told.now, created=told.created))
        return self._round

    def _play(self, stage: Stage) -> Stage:
        self._tell(stage)
        return stage


def _instant(frame: tuple[float, World]) -> float:
    return frame[0]


def _remembered(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """The operations that an endpoint can still show. The rest is dropped, so that a story can repeat for weeks."""
    shown = {document.number for document in listed_of(documents)}
    newest = newest_of(documents)
    return tuple(document for document in documents if document.number in shown or document is newest)
