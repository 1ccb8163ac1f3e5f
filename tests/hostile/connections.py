"""Faults of TCP."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tests.hostile.fault import (
    BODY,
    Converse,
    Fault,
    Options,
    Serve,
    Site,
    connecting,
    converse,
    endpoint,
    good,
    handle,
)
from tests.hostile.symptoms import (
    GONE,
    HARMLESS,
    SILENT,
)
from tests.support.peers import http, listening

RESET: Final = struct.pack("ii", 1, 0)
HTML: Final = f"<html><title>{BODY}</title></html>".encode()
LATE: Final = http(HTML, status="408 Request Time-out")


def reset(writer: StreamWriter) -> None:
    """Resets the connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


def unheard(host: str) -> Serve:
    """A port of this address where nothing listens before the fault is over."""

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        # asyncio sends small pieces at once only if the protocol is named.
        with socket.socket(proto=socket.IPPROTO_TCP) as reserved:
            reserved.bind((host, 0))
            async with AsyncExitStack() as stack:

                async def listen() -> None:
                    await stack.enter_async_context(
                        listening(lambda *streams: handle(site, converse, converse, *streams), bound=reserved.dup())
                    )

                site.ends.append(listen)
                yield {"url": f"http://{host}:{reserved.getsockname()[1]}"}

    return serve


nothing: Final = unheard("127.0.0.1")


async def reset_at_once(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    reset(writer)


async def closed_at_once(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    pass


async def silent(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read()


async def half_closed(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write_eof()
    await reader.read()


def beginning(length: int, then: Callable[[StreamWriter], object] | None = None) -> Converse:
    """Sends so many bytes of a good answer. Then resets or closes the connection, or waits if `then` is `None`."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        answer = good(endpoint(await reader.readuntil(b"\r\n\r\n")), site)
        writer.write(answer[:length])
        await writer.drain()
        await asyncio.sleep(0.01)
        await (reader.read() if then is None else asyncio.sleep(0))
        (then or StreamWriter.close)(writer)

    return misbehave


async def a_byte_a_second(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    for byte in good(endpoint(await reader.readuntil(b"\r\n\r\n")), site):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def closed_between(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(good(endpoint(await reader.readuntil(b"\r\n\r\n")), site))
    await writer.drain()
    await asyncio.sleep(1)


async def reset_between(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await closed_between(site, reader, writer)
    reset(writer)


async def closed_when_asked_again(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(good(endpoint(await reader.readuntil(b"\r\n\r\n")), site))
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")


def adding(raw: bytes) -> Converse:
    """Sends this after each good answer, and keeps the connection open."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(good(endpoint(head), site))
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(raw)

    return misbehave


FAULTS: Final = (
    Fault(name="nothing listens", symptom=GONE, serve=nothing, says="connection refused"),
    Fault(name="reset at once", symptom=GONE, serve=connecting(reset_at_once)),
    Fault(name="closed at once", symptom=GONE, serve=connecting(closed_at_once)),
    Fault(name="accepted, then silence", symptom=SILENT, serve=connecting(silent)),
    Fault(name="half closed without an answer", symptom=GONE, serve=connecting(half_closed)),
    Fault(name="reset in the status line", symptom=GONE, serve=connecting(beginning(7, reset))),
    Fault(name="reset in the headers", symptom=GONE, serve=connecting(beginning(40, reset))),
    Fault(name="reset in the body", symptom=GONE, serve=connecting(beginning(140, reset))),
    Fault(name="closed in the status line", symptom=GONE, serve=connecting(beginning(7, StreamWriter.close))),
    Fault(name="closed in the headers", symptom=GONE, serve=connecting(beginning(40, StreamWriter.close))),
    Fault(name="closed in the body", symptom=GONE, serve=connecting(beginning(140, StreamWriter.close))),
    Fault(name="silence in the headers", symptom=SILENT, serve=connecting(beginning(40))),
    Fault(name="silence in the body", symptom=SILENT, serve=connecting(beginning(140))),
    Fault(name="a byte a second", symptom=SILENT, serve=connecting(a_byte_a_second)),
    Fault(name="closed while idle", symptom=HARMLESS, serve=connecting(closed_between)),
    Fault(name="reset while idle", symptom=HARMLESS, serve=connecting(reset_between)),
    Fault(name="closed at the next request", symptom=HARMLESS, serve=connecting(closed_when_asked_again)),
    Fault(name="408 on an idle connection", symptom=HARMLESS, serve=connecting(adding(LATE))),
    Fault(name="a flood on an idle connection", symptom=HARMLESS, serve=connecting(adding(LATE * 1000))),
    Fault(name="bytes on an idle connection", symptom=HARMLESS, serve=connecting(adding(b"\0\xff" * 99))),
)
