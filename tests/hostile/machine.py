"""Faults of time and of the machine."""

import asyncio
import json
import logging
import os
import resource
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter import logs
from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.server import AUTH_TOKEN
from tests.hostile.fault import (
    BODY,
    TIMEOUT,
    Fault,
    Options,
    Serve,
    Site,
    answering,
    connecting,
    content,
    dated,
    endpoint,
    good,
)
from tests.hostile.symptoms import HARMLESS, NO_ROOM, SICK_MACHINE, SILENT, WRONG_CLOCK
from tests.support.peers import http

HOUR: Final = 3600.0
REFUSAL: Final = b'{"success":false,"error":"unauthorized"}'


def ahead(seconds: Callable[[Site], float]) -> Serve:
    """A server whose clock is so many seconds fast."""

    def answer(api: Api, site: Site) -> bytes:
        return dated(json.dumps(content(api)).encode(), site.now() + seconds(site))

    return answering(answer)


def stamped(*headers: str) -> Serve:
    """A server that sends these headers for its date."""

    def answer(api: Api, site: Site) -> bytes:
        return http(json.dumps(content(api)).encode(), *headers)

    return answering(answer)


def after(seconds: float) -> Serve:
    """A server that takes so long for each answer."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        api = endpoint(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(seconds)
        writer.write(good(api, site))
        await writer.drain()

    return connecting(misbehave)


def fast(seconds: float, offset: float | None = None) -> Fault:
    """A row of a clock that is so many seconds fast, and the offset that is published if that is another one."""
    shown = seconds if offset is None else offset
    return Fault(
        name=f"a clock that is {seconds:+,.0f} s wrong",
        symptom=WRONG_CLOCK,
        serve=ahead(lambda site: seconds),
        shows={"state": "importing", "server_clock_offset_seconds": pytest.approx(shown, abs=1)},
    )


TIME: Final = (
    fast(HOUR),
    fast(-HOUR),
    fast(86_400.0 * 365),
    fast(1.0, offset=0.0),
    Fault(
        name="a clock that jumps",
        symptom=WRONG_CLOCK,
        serve=ahead(lambda site: HOUR if int(site.now()) % 2 else -HOUR),
        shows={"state": "importing"},
    ),
    *(
        Fault(name=f"a date that is {name}", symptom=WRONG_CLOCK, serve=stamped(*headers), shows={"state": "importing"})
        for name, headers in {
            "missing": (),
            "garbage": (f"Date: {BODY}",),
            "in the year 9999": ("Date: Fri, 31 Dec 9999 23:59:59 GMT",),
            "before 1970": ("Date: Fri, 31 Dec 1900 23:59:59 GMT",),
            "there twice": ("Date: Fri, 31 Dec 1999 23:59:59 GMT", "Date: Fri, 31 Dec 2038 23:59:59 GMT"),
        }.items()
    ),
    Fault(name="an answer just in time", symptom=HARMLESS, serve=after(TIMEOUT - 0.1)),
    Fault(name="an answer just too late", symptom=SILENT, serve=after(TIMEOUT + 0.1)),
)


@asynccontextmanager
async def without_descriptors(site: Site) -> AsyncIterator[Options]:
    """After the first good poll, the process may open no more files. Open connections stay open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def begin() -> None:
        highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    async def end() -> None:
        while taken:
            os.close(taken.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    site.begins.append(begin)
    site.ends.append(end)
    async with answering(good)(site) as options:
        try:
            yield options
        finally:
            await end()


def credentials(spoil: Callable[[Path], object]) -> Serve:
    """A file with the token that is changed like this after the first good poll."""

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        file = site.folder / "token"
        file.write_text(AUTH_TOKEN)
        site.begins.append(lambda: spoil(file))
        async with answering(good)(site) as options:
            yield {**options, "auth_token": "", "auth_token_file": str(file)}

    return serve


@asynccontextmanager
async def replaced_meanwhile(site: Site) -> AsyncIterator[Options]:
    """A token that is replaced, in its file and on the server, while the first call is under way."""
    file, fresh = site.folder / "token", f"{AUTH_TOKEN}-fresh"
    file.write_text(AUTH_TOKEN)

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        file.write_text(fresh)
        is_fresh = f"X-Auth-Token: {fresh}\r\n".encode() in head
        writer.write(good(endpoint(head), site) if is_fresh else http(REFUSAL, status="401 Unauthorized"))
        await writer.drain()

    async with connecting(misbehave, well=misbehave)(site) as options:
        yield {**options, "auth_token": "", "auth_token_file": str(file)}


def into_a_fifo(file: Path) -> None:
    """Replaces the file by a pipe, which nothing ever writes to."""
    file.unlink()
    os.mkfifo(file)


def into_a_folder(file: Path) -> None:
    """Replaces the file by a folder."""
    file.unlink()
    file.mkdir()


@asynccontextmanager
async def full_disk(site: Site) -> AsyncIterator[Options]:
    """A full disk under the log."""

    def begin() -> None:
        (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, logs._Lines))  # noqa: SLF001
        site.patch.setattr(handler, "_descriptor", full)
        logs.logger(workspace="ill").warning("a line that does not fit")

    full = os.open("/dev/full", os.O_WRONLY)
    site.begins.append(begin)
    async with answering(good)(site) as options:
        yield options
    os.close(full)


MACHINE: Final = (
    Fault(name="no file descriptor", symptom=NO_ROOM, serve=without_descriptors, says="too many open files"),
    *(
        Fault(
            name=f"a token file that is {name}",
            symptom=SICK_MACHINE,
            serve=credentials(spoil),
            logs="credentials cannot be read",
        )
        for name, spoil in (
            ("gone", Path.unlink),
            ("empty", lambda file: file.write_text("")),
            ("two lines", lambda file: file.write_text(f"{AUTH_TOKEN}\n{AUTH_TOKEN}\n")),
            ("not UTF-8", lambda file: file.write_bytes(b"\xff\xfe")),
            ("huge", lambda file: file.write_bytes(bytes(8 * 1024 * 1024))),
            ("a folder", into_a_folder),
            ("a pipe", into_a_fifo),
        )
    ),
    Fault(name="a token that is replaced during a call", symptom=HARMLESS, serve=replaced_meanwhile),
    Fault(name="a full disk under the log", symptom=SICK_MACHINE, serve=full_disk, drops=True),
)

FAULTS: Final = (*TIME, *MACHINE)
