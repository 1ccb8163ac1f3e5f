"""For tests of the HTTP client: servers that send any bytes, and a call that fails if a secret is logged or shown."""

import asyncio
import logging
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import StringIO
from typing import Final

from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.core.domain import Api, Failure, Reason, Result
from rc_import_exporter.rocketchat.client import Access, Client, open_session
from rc_import_exporter.rocketchat.host_names import Resolver
from rc_import_exporter.simulator.faults import FAULTS, MEBIBYTE
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, WallClock

GOOD: Final = b'{"state":"none","success":true}'
PATIENCE: Final = 0.4
"""The timeout in seconds of calls to a server that never finishes its answer."""
LONG: Final = 20.0
"""The timeout in seconds of all other calls. No call should reach it."""
CREDENTIALS: Final = Credentials(user_id=USER_ID, auth_token=AUTH_TOKEN)
SECRETS: Final = (AUTH_TOKEN, USER_ID, "proxy-password")


@contextmanager
def overheard() -> Iterator[StringIO]:
    """Everything that any library logs inside the block."""
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
    """One call in a session of its own. Fails if a secret is in the result, in a `repr`, or in the log."""
    access = Access(
        url=url, timeout=patience, max_bytes=max_bytes, tls=lambda: tls, server_name=server_name, proxy_url=proxy_url
    )
    with overheard() as log:
        async with open_session(Resolver()) as session:
            result = await Client(session, access, WallClock().now).ask(api, CREDENTIALS)
    told = f"{result!r} {access!r} {CREDENTIALS!r} {log.getvalue()}"
    assert not [secret for secret in SECRETS if secret in told]
    return result


def reason(result: Result) -> Reason | None:
    """The reason of a failure, `None` for a success."""
    return result.reason if isinstance(result, Failure) else None


@asynccontextmanager
async def listening(
    serve: Callable[[StreamReader, StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
    bound: socket.socket | None = None,
) -> AsyncIterator[int]:
    """The port of a server whose connections `serve` handles. All of them are closed at the end of the block."""
    writers: list[StreamWriter] = []

    async def kept(reader: StreamReader, writer: StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    starting = (
        asyncio.start_server(kept, "127.0.0.1", 0, ssl=tls)
        if bound is None
        else asyncio.start_server(kept, sock=bound, ssl=tls)
    )
    async with await starting as server:
        yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def speaking(
    speak: Callable[[bytes, StreamWriter], object], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The URL of a server that lets `speak` answer each request, and then closes the connection."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            speak(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        writer.close()

    async with listening(serve, tls=tls) as port:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"


def saying(raw: bytes) -> Callable[[bytes, StreamWriter], object]:
    """Answers every request with the same bytes."""
    return lambda request, writer: writer.write(raw)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP response with this body and these headers."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def spoilt(name: str) -> Story:
    """A story in which every answer has this fault."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.fault(FAULTS[name])
        stage.wait(3600)

    return Story(tell)
