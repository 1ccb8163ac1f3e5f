"""Faults of host names."""

import asyncio
import errno
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from rc_import_exporter.rocketchat.host_names import Resolver
from tests.hostile.connections import unheard
from tests.hostile.fault import (
    BODY,
    Fault,
    Options,
    Serve,
    Site,
    connecting,
    converse,
)
from tests.hostile.symptoms import (
    HARMLESS,
    NO_HOST,
    NO_ROOM,
    SILENT,
)

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]
LookUp = Callable[[str, int], list[Address]]


def looked_up(*hosts: str) -> LookUp:
    """A name server that knows these addresses."""
    return lambda name, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


def raising(error: Exception) -> LookUp:
    """A look-up that fails like this."""

    def look_up(name: str, port: int) -> list[Address]:
        raise error

    return look_up


LOCAL: Final = looked_up("127.0.0.1")


def named(look_up: LookUp, serve: Serve | None = None, later: LookUp = LOCAL) -> Serve:
    """A server whose host name is looked up like this, and as `later` says once the fault is over.

    Virtual time waits for a look-up, which runs in a thread.
    """

    @asynccontextmanager
    async def serving(site: Site) -> AsyncIterator[Options]:
        resolve = Resolver.resolve

        async def wait(*given: object, **named: object) -> object:
            found = threading.Event()
            waiting = asyncio.get_running_loop().run_in_executor(None, found.wait)
            try:
                return await resolve(*given, **named)  # type: ignore[arg-type]
            finally:
                found.set()
                await waiting

        def find(name: str, port: int, *_: object, **__: object) -> list[Address]:
            return (later if site.over else look_up)(name, port)

        site.patch.setattr(socket, "getaddrinfo", find)
        site.patch.setattr(Resolver, "resolve", wait)
        async with (serve or connecting(converse))(site) as options:
            yield {"url": re.sub(r"127[.0-9]+", "chat.internal", options["url"])}

    return serving


@asynccontextmanager
async def hanging(site: Site) -> AsyncIterator[Options]:
    """A look-up that hangs in its thread until the fault is over."""
    ended = threading.Event()

    def find(name: str, port: int, *_: object, **__: object) -> list[Address]:
        ended.wait(20)
        return LOCAL(name, port)

    async def end() -> None:
        ended.set()
        # The threads go on in real time.
        await asyncio.to_thread(threading.Event().wait, 0.1)

    site.patch.setattr(socket, "getaddrinfo", find)
    site.ends.append(end)
    async with connecting(converse)(site) as options:
        yield {"url": options["url"].replace("127.0.0.1", "chat.internal")}


@asynccontextmanager
async def without_threads(site: Site) -> AsyncIterator[Options]:
    """A machine that lets the process start no thread for a look-up."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "resolver" and not site.over:
            raise RuntimeError("can't start new thread")
        start(thread)

    site.patch.setattr(threading.Thread, "start", refuse)
    async with named(LOCAL)(site) as options:
        yield options


DEAD: Final = looked_up("127.0.0.3", "127.0.0.2")
NO_THREAD: Final = "the host chat.internal cannot be looked up: no thread is left to look it up Raise the limit of"
UNKNOWN: Final = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
FAULTS: Final = (
    Fault(
        name="no such host",
        symptom=NO_HOST,
        serve=named(raising(UNKNOWN)),
        says="no such host: chat.internal Check the host name in `url`",
    ),
    Fault(
        name="no name server answers",
        symptom=NO_HOST,
        serve=named(raising(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))),
        says="no name server answers for the host chat.internal",
    ),
    Fault(name="look-up fails", symptom=NO_HOST, serve=named(raising(socket.gaierror(socket.EAI_FAIL, BODY)))),
    Fault(name="no name of a host", symptom=NO_HOST, serve=named(raising(UnicodeError(BODY)))),
    Fault(name="look-up hangs", symptom=SILENT, serve=hanging),
    Fault(
        name="no address listens",
        symptom=NO_HOST,
        serve=named(DEAD, unheard("127.0.0.2"), DEAD),
        says="no connection to chat.internal",
    ),
    Fault(name="one address listens", symptom=HARMLESS, serve=named(looked_up("127.0.0.2", "127.0.0.1"))),
    Fault(name="address cannot be reached", symptom=NO_HOST, serve=named(raising(OSError(errno.ENETUNREACH, "")))),
    Fault(name="no thread for a look-up", symptom=NO_ROOM, serve=without_threads, says=NO_THREAD),
)
