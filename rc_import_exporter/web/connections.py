"""Connections to the server: their deadlines, their number, and answers to requests that are no HTTP.

aiohttp has no public way to set a deadline for a request's head or for an answer, to close idle connections when there
are too many, or to word its answer to a malformed request. So this module uses parts that aiohttp does not document,
each with its reason here. `pyproject.toml` gives aiohttp an upper bound because of them:

- `web.RequestHandler`, asyncio's protocol of a connection, is the base of `Connection`. Its methods `connection_made`,
  `connection_lost` and `data_received` are asyncio's; only they see a head before it is complete.
- `Server.request_handler` is replaced in `answering`: it also runs where middlewares do not, as for a bad `Expect`.
- `RequestHandler.handle_error` is overridden: aiohttp would quote the malformed request and name its own version.
- `RequestHandler.force_close` stops a connection's own task as well as its transport.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web

from rc_import_exporter import logs
from rc_import_exporter.web import answers

HEAD_TIMEOUT: Final = 10.0
"""Seconds from the first byte of a connection or of a request to the end of the request's head."""
ANSWER_TIMEOUT: Final = 60.0
"""Seconds that a client may take to read an answer. Prometheus gives up after ten."""
MOST_CONNECTIONS: Final = 256
"""Open connections, if the system allows as many. A scraper needs one."""
ACCEPT_LOG_INTERVAL: Final = 60.0
"""Seconds between two log lines about connections that cannot be accepted."""

_RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, object]], object]


class Connections:
    """The open connections, at most `most`: an idle one is closed to make room for a new one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Connection, None] = {}
        """Without a complete request. The one that has been idle longest is the first."""
        self._busy: set[Connection] = set()

    def add(self, connection: "Connection") -> None:
        """Add a new connection. If there are too many, cut the one that has been idle longest."""
        self._idle[connection] = None
        if len(self._idle) + len(self._busy) > self._most:
            # This is the new one itself if all others are busy.
            next(iter(self._idle)).cut()

    def mark_busy(self, connection: "Connection") -> None:
        """Note that a request is being answered."""
        self._idle.pop(connection, None)
        self._busy.add(connection)

    def mark_idle(self, connection: "Connection") -> None:
        """Note that the request has its answer."""
        self.remove(connection)
        self._idle[connection] = None

    def remove(self, connection: "Connection") -> None:
        """Remove a closed connection."""
        self._idle.pop(connection, None)
        self._busy.discard(connection)


class Connection(web.RequestHandler):
    """One connection of aiohttp's server, with deadlines."""

    __slots__ = ("_busy", "_connections", "_deadline")

    def __init__(self, server: web.Server, connections: Connections) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._connections = connections
        self._busy = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._set_deadline(HEAD_TIMEOUT)
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._clear_deadline()
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The first byte of the next head: between two requests a connection has no deadline.
        if not self._busy and self._deadline is None:
            self._set_deadline(HEAD_TIMEOUT)
        super().data_received(data)

    def begin_answer(self) -> None:
        """Note that a request's head is complete. The deadline is now that of the answer."""
        self._busy = True
        self._connections.mark_busy(self)
        self._set_deadline(ANSWER_TIMEOUT)

    def end_answer(self) -> None:
        """Note that the answer is sent. The connection may be idle until the next request."""
        self._busy = False
        self._clear_deadline()
        if self.transport is not None:
            self._connections.mark_idle(self)

    def cut(self) -> None:
        """End the connection at once. `close` would wait until the client has read everything."""
        transport = self.transport
        self.force_close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with one line if a handler failed or the request is no HTTP, then close the connection."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.logger().error("a fault of the exporter itself: a request failed", path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer that has begun cannot become another one")
        response = answers.refusal(status)
        # The request has no application here, whose signal would add them.
        response.headers.update(answers.HEADERS)
        response.force_close()
        return response

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.cut)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def answering(handler: _RequestHandler) -> _RequestHandler:
    """A handler that does the same within the deadline of its `Connection`, with errors of aiohttp's in one line."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        connection.begin_answer()
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            response = answers.refusal_like(refused)
        # aiohttp would send it only after this function, where nothing tells when the client has read it.
        await response.prepare(request)
        await response.write_eof()
        # After any exception the connection is closed, and the deadline holds until then.
        connection.end_answer()
        return response

    return answer


class LoopErrors:
    """The event loop's exception handler: connections that cannot be accepted are one log line, not hundreds.

    asyncio tries to accept again each second, and reports up to a hundred errors each time, each with a traceback.
    Other errors go to the handler that was there before.
    """

    def __init__(self, otherwise: _ExceptionHandler | None) -> None:
        self._otherwise = otherwise
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Report one error."""
        if context.get("message") != "socket.accept() out of system resource":
            (loop.default_exception_handler if self._otherwise is None else partial(self._otherwise, loop))(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + ACCEPT_LOG_INTERVAL
            logs.logger().error(
                "no file descriptor is left: new connections wait; see ulimit -n", error=str(context["exception"])
            )
