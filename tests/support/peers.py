"""Raw peers that tests of the client talk to, and a call that lets no secret be told."""

import asyncio
import logging
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import StringIO
from typing import Final

from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.core.domain import Api, Failure, Reason, Result
from rc_import_exporter.rocketchat.client import Access, Client, open_session
from rc_import_exporter.rocketchat.resolver import Resolver
from rc_import_exporter.simulator.faults import FAULTS, MEBIBYTE
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, WallClock

GOOD: Final = b'{"state":"none","success":true}'
PATIENCE: Final = 0.4
"""Seconds that a call may take in tests whose server never ends."""
LONG: Final = 20.0
"""Seconds that no test here waits for."""
CREDENTIALS: Final = Credentials(user_id=USER_ID, auth_token=AUTH_TOKEN)
SECRETS: Final = (AUTH_TOKEN, USER_ID, "proxy-password")


@contextmanager
def overheard() -> Iterator[StringIO]:
    """Everything that any library logs meanwhile."""
    log, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(log), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


async def ask(
    url: str,
    api: Api = Api.STATUS,
    *,
    patience: float = LONG,
    max_bytes: int = MEBIBYTE,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    proxy_url: str | None = None,
) -> Result:
    """One call of a session of its own; fails if a secret shows itself."""
    access = Access(
        url=url, timeout=patience, max_bytes=max_bytes, tls=tls, server_name=server_name, proxy_url=proxy_url
    )
    with overheard() as log:
        async with open_session(Resolver()) as session:
            result = await Client(session, access, WallClock().now).ask(api, CREDENTIALS)
    told = f"{result!r} {access!r} {CREDENTIALS!r} {log.getvalue()}"
    assert not [secret for secret in SECRETS if secret in told]
    return result


def reason(result: Result) -> Reason | None:
    """Why the call failed, `None` where it did not."""
    return result.reason if isinstance(result, Failure) else None


@asynccontextmanager
async def listening(
    serve: Callable[[StreamReader, StreamWriter], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server whose connections `serve` handles, and which are all gone at its end."""
    writers: list[StreamWriter] = []

    async def kept(reader: StreamReader, writer: StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    async with await asyncio.start_server(kept, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def speaking(
    speak: Callable[[bytes, StreamWriter], object], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The URL of a server that lets `speak` write its answer to each request, and then closes the connection."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            speak(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        writer.close()

    async with listening(serve, tls=tls) as port:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"


def saying(raw: bytes) -> Callable[[bytes, StreamWriter], object]:
    """The same bytes to everybody."""
    return lambda request, writer: writer.write(raw)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A response with these headers."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def spoilt(name: str) -> Story:
    """A server whose every answer has this fault."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.fault(FAULTS[name])
        stage.wait(3600)

    return Story(tell)
