"""What a fault is: a server that misbehaves until the fault is over, and what the exporter reports meanwhile."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from rc_import_exporter.core.domain import Api, Reason
from tests.support.peers import http, listening

TIMEOUT: Final = 10.0
"""Seconds: the option's default."""
SECOND_CALL: Final = 15.0
"""Seconds from poll to poll."""
BODY: Final = "b0dy-0f-the-answer"
"""A word in bodies and headers of answers that must not be in the log or on a page."""
OPERATION: Final[Mapping[str, object]] = MappingProxyType(
    {
        "_id": "operation1",
        "importerKey": "csv",
        "status": "importer_importing_users",
        "valid": True,
        "ts": "2027-01-15T07:00:00.000Z",
        "_updatedAt": "2027-01-15T07:59:00.000Z",
        "count": {"total": 100, "completed": 50, "error": 2, "users": 100},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """Faults that the exporter reports in the same way: a line of the README's table.

    `reason` is `None` if no call fails. `up` is the metric's value if every endpoint has the fault. `within` is the
    longest time in seconds from a poll with the fault to the next one.
    """

    fault: str
    reason: Reason | None
    within: float
    recovery: str
    note: str = ""

    @property
    def reported(self) -> str:
        """What the README says of it."""
        if self.reason is None:
            return f"nothing fails; {self.note}"
        return f"`{self.reason}`{self.note}"


@dataclass(slots=True, kw_only=True)
class Site:
    """Where a fault happens. `over` says that it is over.

    The test calls `begins` after the first good poll, if the fault is not there from the start, and `ends` when it is
    over. `now` gives Unix seconds.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    now: Callable[[], float]
    over: bool = False
    begins: list[Callable[[], object]] = field(default_factory=list)
    ends: list[Callable[[], Awaitable[object]]] = field(default_factory=list)


Options = dict[str, str]
Serve = Callable[[Site], AbstractAsyncContextManager[Options]]
"""Starts the server, and gives the options of its workspace."""
Converse = Callable[[Site, StreamReader, StreamWriter], Awaitable[object]]
"""Handles a connection, which is closed afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the table.

    `says` is part of the detail or of the remedy, and `logs` of a line in the log. `shows` has values of the
    workspace's metrics meanwhile: a number, `None` for none, or the word for `state` and `step`. `importer` is the
    label of the newest operation. `up` is that of the metric, if it is not 1 exactly when nothing fails. `polls` is how
    many polls have the fault; by default two, or one if the next one comes minutes later. `wait` is the time to the
    next poll, in seconds, if that is exact. `drops` says that log lines are lost.
    """

    name: str
    symptom: Symptom
    serve: Serve
    says: str = ""
    shows: Mapping[str, object] = field(default_factory=dict)
    up: bool | None = None
    importer: str = ""
    logs: str = ""
    polls: int | None = None
    wait: float | None = None
    drops: bool = False

    @property
    def within(self) -> float:
        """The longest time in seconds from a poll with the fault to the next one."""
        return self.symptom.within if self.wait is None else self.wait


def connecting(misbehave: Converse, *, scheme: str = "http", well: Converse | None = None) -> Serve:
    """A server that handles connections like this until the fault is over."""

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        async with listening(lambda *streams: handle(site, misbehave, well or converse, *streams)) as port:
            yield {"url": f"{scheme}://127.0.0.1:{port}"}

    return serve


async def handle(site: Site, misbehave: Converse, well: Converse, reader: StreamReader, writer: StreamWriter) -> None:
    """Handles a connection as it is now, and closes it."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await (well if site.over else misbehave)(site, reader, writer)
    writer.close()


async def converse(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    """Answers well as long as the client asks."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        writer.write(good(endpoint(head), site))
        await writer.drain()


def saying(raw: bytes, *apis: Api) -> Serve:
    """A server that answers calls of these endpoints, or of all, with the same bytes, and closes the connection."""
    return answering(lambda api, site: raw, *apis)


def answering(answer: Callable[[Api, Site], bytes], *apis: Api) -> Serve:
    """A server that answers calls of these endpoints, or of all, like this, and closes the connection."""
    spoilt = apis or tuple(Api)

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        api = endpoint(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(api, site) if api in spoilt else good(api, site))
        await writer.drain()

    return connecting(misbehave)


def endpoint(head: bytes) -> Api:
    """The endpoint that this request calls."""
    return Api(head.split(b" ", 2)[1].rpartition(b"/")[2].decode())


def good(api: Api, site: Site, *headers: str, **changes: object) -> bytes:
    """A good answer to a call, with these changes of the operation."""
    return dated(json.dumps(content(api, **changes)).encode(), site.now(), *headers)


def dated(body: bytes, now: float, *headers: str) -> bytes:
    """A good answer with this body and date."""
    return http(body, f"Date: {formatdate(now, usegmt=True)}", "Content-Type: application/json", *headers)


def content(api: Api, **changes: object) -> object:
    """The JSON of a good answer, with these changes of the operation."""
    operation = {**OPERATION, **changes}
    progress = {"key": operation["importerKey"], "step": operation["status"], "count": operation["count"]}
    return {
        Api.STATUS: {"state": "importing", "operation": operation, "success": True},
        Api.LIST: [operation],
        Api.PROGRESS: {**progress, "success": True},
        Api.INFO: {"version": "8.6", "success": True},
    }[api]
