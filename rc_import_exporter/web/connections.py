"""Connections to the server: their TLS, their deadlines, their number, and answers to requests that are no HTTP.

aiohttp has no public way to set a deadline for a request's head or for an answer, to close idle connections when there
are too many, or to word its answer to a malformed request. So this module uses parts that aiohttp does not document,
each with its reason here. `pyproject.toml` gives aiohttp an upper bound because of them:

- `web.RequestHandler`, asyncio's protocol of a connection, is the base of `Connection`. Its methods `connection_made`,
  `connection_lost` and `data_received` are asyncio's; only they see a head before it is complete.
- `Server.request_handler` is replaced in `answering`: it also runs where middlewares do not, as for a bad `Expect`.
- `RequestHandler.handle_error` is overridden: aiohttp would quote the malformed request and name its own version.
- `RequestHandler.force_close` stops a connection's own task as well as its transport.
- `RequestHandler._force_close`, set before the answer, makes it the last one, and leaves the end of the connection to
  this module. `RequestHandler._message_tail` has what follows an upgrade.
- `RequestHandler._messages` has the requests that wait for the answer to an earlier one.

`asyncio.sslproto.SSLProtocol`, the base of `TlsConnection`, is not documented either. asyncio's public functions take
one certificate for all connections, and show a connection only after its handshake, when it is too late to limit them.
"""

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, cast

from aiohttp import web

from rc_import_exporter import logs
from rc_import_exporter.turns import TURN
from rc_import_exporter.web import answers
from rc_import_exporter.web.auth import Guard

HEAD_TIMEOUT: Final = 10.0
"""Seconds from the first byte of a connection or of a request to the end of the request's head."""
PROGRESS_TIMEOUT: Final = 30.0
"""Seconds that a client may take to read the next `answers.SLICE` bytes. Prometheus gives up after ten for all."""
MOST_CONNECTIONS: Final = 256
"""Open connections, if the system allows as many. A scraper needs one."""
MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of all the different pages that clients are reading."""
LARGEST_READ: Final = 16 * 1024
"""Bytes of a body or of an upgraded connection that are read. Nothing here needs them."""
TURN_TO_CLOSE: Final = 0.02
"""Seconds from one to the next of the connections that end because of a body, an upgrade or a malformed request.

A client whose connection is closed at once connects again at once. With sixty of them, each scrape would wait for sixty
answers.
"""
TLS_SHUTDOWN_TIMEOUT: Final = 1.0
"""Seconds that a client has to confirm the end of TLS."""


_RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connections:
    """The open connections, at most `most`: others are cut to make room for a new one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Connection, None] = {}
        """Without a complete request that may be answered. The one that has been idle longest is the first."""
        self._busy: dict[Connection, answers.Sliced | None] = {}
        """With the answer, once it is being sent. The one that has been served longest is the first."""
        self._leaving: dict[Connection, None] = {}
        """With their last answer. They are closed in this order."""
        self._turn: asyncio.TimerHandle | None = None

    def add(self, connection: "Connection") -> None:
        """Add a new connection. If there are too many, cut one.

        This is the one that has been idle longest, or, where few are idle, the one that has been served longest. So
        new connections do not cut each other before their requests are read, whatever the others do.
        """
        self._idle[connection] = None
        if len(self._idle) + len(self._busy) > self._most:
            many_idle = len(self._idle) > max(1, self._most * 3 // 4)
            self._drop(next(iter(self._idle if many_idle or not self._busy else self._busy)))

    def mark_busy(self, connection: "Connection") -> None:
        """Note that a request is being answered."""
        self._idle.pop(connection, None)
        self._busy[connection] = None

    def mark_sending(self, connection: "Connection", answer: answers.Sliced) -> None:
        """Note which answer is being sent. If all answers are too large together, cut those that began first."""
        self._busy[connection] = answer
        # An answer that was given up has no pieces, until the event loop reports the end of its connection.
        sizes = {id(each.pieces[0]): each.size for each in self._busy.values() if each is not None and each.pieces}
        while sum(sizes.values()) > MOST_HELD and len(sizes) > 1:
            oldest = next(page for page in sizes if page != id(answer.pieces[0]))
            del sizes[oldest]
            for each, sent in list(self._busy.items()):
                if sent is not None and sent.pieces and id(sent.pieces[0]) == oldest:
                    self._drop(each)

    def mark_idle(self, connection: "Connection") -> None:
        """Note that the request has its answer."""
        self.remove(connection)
        self._idle[connection] = None

    def mark_leaving(self, connection: "Connection") -> None:
        """Note that the connection has its last answer. It is closed after those that are marked already."""
        self._leaving[connection] = None
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(TURN_TO_CLOSE, self._let_go)

    def _let_go(self) -> None:
        self._turn = None
        if self._leaving:
            first = next(iter(self._leaving))
            del self._leaving[first]
            first.let_go()
        if self._leaving:
            self.mark_leaving(next(iter(self._leaving)))

    def remove(self, connection: "Connection") -> None:
        """Remove a closed connection."""
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)
        self._leaving.pop(connection, None)

    def cut(self) -> None:
        """Cut all connections."""
        for connection in (*self._idle, *self._busy):
            connection.cut()

    def _drop(self, connection: "Connection") -> None:
        # Its end is reported only in the next pass of the event loop. Until then, it must not be chosen again.
        self.remove(connection)
        connection.cut()


class Connection(web.RequestHandler):
    """One connection of aiohttp's server, with deadlines."""

    __slots__ = ("_busy", "_connections", "_deadline", "_ending", "_socket", "guard", "protection")

    def __init__(self, server: web.Server, connections: Connections, guard: Guard) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            lingering_time=0.0,
            read_bufsize=LARGEST_READ,
        )
        guard.refresh()
        self.guard = guard
        self.protection = guard.protection
        self._connections = connections
        self._busy = False
        self._deadline: asyncio.TimerHandle | None = None
        self._ending = b""
        self._socket: asyncio.Transport | None = None

    def begin(self, socket: asyncio.BaseTransport) -> None:
        """Note that the connection is open, perhaps before its TLS handshake."""
        self._socket = cast(asyncio.Transport, socket)
        # What the system does not take at once must be gone before the next slice is written.
        self._socket.set_write_buffer_limits(high=0)
        self._set_deadline(HEAD_TIMEOUT)
        self._connections.add(self)

    def end(self) -> None:
        """Note that the connection is closed."""
        self._clear_deadline()
        self._socket = None
        self._connections.remove(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._socket is None:
            self.begin(transport)
        else:
            # TLS has a buffer of its own, and with a limit of 0 asyncio would take an empty one for a full one.
            cast(asyncio.Transport, transport).set_write_buffer_limits(high=1)
            if not _is_allowed(transport.get_extra_info("peercert"), self.protection.allowed_sans):
                self.cut()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The first byte of the next head: between two requests a connection has no deadline.
        if not self._busy and self._deadline is None:
            self._set_deadline(HEAD_TIMEOUT)
        self._ending = (self._ending + data[-4:])[-4:]
        super().data_received(data)

    def begin_answer(self) -> None:
        """Note that a request may be answered. It has no deadline until the answer is being sent.

        Raises `ConnectionError` if the connection was lost before.
        """
        if self.transport is None:
            raise ConnectionResetError("the client left")
        self._busy = True
        self._connections.mark_busy(self)
        self._clear_deadline()

    async def send(self, request: web.BaseRequest, answer: web.StreamResponse) -> None:
        """Send an answer. The client must read each slice of it within `PROGRESS_TIMEOUT`."""
        self._set_deadline(PROGRESS_TIMEOUT)
        await answer.prepare(request)
        if isinstance(answer, answers.Sliced):
            try:
                await self._send_slices(request, answer)
            finally:
                # Request and answer refer to each other, so the memory would be free only after a garbage collection.
                answer.pieces = ()
        await answer.write_eof()

    async def _send_slices(self, request: web.BaseRequest, answer: answers.Sliced) -> None:
        if request.method != "HEAD":
            if answer.size > answers.SLICE:
                self._connections.mark_sending(self, answer)
            clock = asyncio.get_running_loop().time
            until = clock() + TURN
            for part in answer.slices():
                await answer.write(part)
                await request.writer.drain()
                if clock() >= until:
                    # A client that reads as fast as this writes must not hold the event loop.
                    await asyncio.sleep(0)
                    until = clock() + TURN
                self._set_deadline(PROGRESS_TIMEOUT)

    def read_no_more(self, request: web.BaseRequest) -> None:
        """Drop what has come after the head of this request, and read no more. The answer is the last one."""
        self._force_close = True
        self._message_tail = b""
        with suppress(Exception):
            # It is broken if what came is not encoded as the head says.
            request.content.read_nowait()
        # Only now, because aiohttp goes on to read when the buffer is empty.
        self._stop_reading()

    def end_answer(self) -> None:
        """Note that the answer is sent. The connection is idle until the next request, or is closed in its turn."""
        self._busy = False
        self._clear_deadline()
        if self._messages or not self._ending.endswith(b"\r\n\r\n"):
            # The next request has come already, or a part of it.
            self._set_deadline(HEAD_TIMEOUT)
        if self.transport is not None:
            self._connections.mark_idle(self)
            if self._force_close:
                self._close_in_turn()

    def cut(self) -> None:
        """End the connection at once. `close` would wait until the client has read everything."""
        self.force_close()
        if self._socket is not None:
            self._socket.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with one line if a handler failed or the request is no HTTP. Then the connection is closed in turn."""
        if isinstance(exc, ConnectionError):
            # aiohttp would close it only if more requests could come.
            self.cut()
            raise exc
        self._stop_reading()
        self._close_in_turn()
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.logger().error("a fault of the exporter itself: a request failed", path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer that has begun cannot become another one")
        response = answers.refusal(status)
        answers.add_headers(response, self.guard.protection.headers)
        response.force_close()
        return response

    def let_go(self) -> None:
        """Close the connection, after what has come was read once: else the system would reset it."""
        if self._socket is not None:
            self._socket.resume_reading()
            loop = asyncio.get_running_loop()
            # The event loop reads in the next pass, after this.
            loop.call_soon(loop.call_soon, self._close_transport)

    def _close_transport(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _stop_reading(self) -> None:
        self._force_close = True
        if self._socket is not None:
            # Below TLS, which would read on.
            self._socket.pause_reading()

    def _close_in_turn(self) -> None:
        self._set_deadline(PROGRESS_TIMEOUT)
        self._connections.mark_leaving(self)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        if self._socket is not None:
            self._deadline = asyncio.get_running_loop().call_later(seconds, self.cut)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class TlsConnection(sslproto.SSLProtocol):
    """TLS below a `Connection`. Its handshake must end before the deadline of the request's head."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        # Nothing waits for the handshake, so no future is told of its end.
        super().__init__(
            loop,
            connection,
            context,
            waiter=None,  # type: ignore[arg-type]
            server_side=True,
            ssl_shutdown_timeout=TLS_SHUTDOWN_TIMEOUT,
        )
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.begin(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        # After a failed handshake, the connection is not told.
        self._connection.end()
        super().connection_lost(exc)


def accept(connection: Connection) -> asyncio.BaseProtocol:
    """The protocol of a new socket: the connection itself, or TLS below it."""
    context = connection.protection.context
    return connection if context is None else TlsConnection(connection, context)


def _is_allowed(certificate: Mapping[str, object] | None, names: frozenset[str]) -> bool:
    """Whether a client's certificate has one of these names, or no name is asked for."""
    found = cast("Iterable[tuple[str, str]]", (certificate or {}).get("subjectAltName", ()))
    return not names or not names.isdisjoint(_name(kind, value) for kind, value in found)


def _name(kind: str, value: str) -> str:
    """An address as Go writes it: Python writes IPv6 without `::`."""
    return str(ip_address(value)) if kind == "IP Address" else value


def answering(handler: _RequestHandler, guard: Guard) -> _RequestHandler:
    """A handler that answers the requests that `guard` admits, and asks for a password otherwise.

    It answers within the deadline of its `Connection`, with errors of aiohttp's in one line. While it checks a
    password, the connection counts as idle and has the deadline of the request's head, so that wrong passwords do not
    take the place of scrapes.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        is_last = request.body_exists or request.method == "CONNECT" or "Upgrade" in request.headers
        if is_last:
            connection.read_no_more(request)
        guard.refresh()
        is_admitted = await guard.admits(request)
        connection.begin_answer()
        try:
            response = await handler(request) if is_admitted else answers.login()
        except web.HTTPException as refused:
            response = answers.refusal_like(refused)
        answers.add_headers(response, guard.protection.headers)
        if is_last:
            response.force_close()
        # aiohttp would send it only after this function, where nothing tells when the client has read it.
        await connection.send(request, response)
        # After any exception the connection is closed.
        connection.end_answer()
        return response

    return answer
