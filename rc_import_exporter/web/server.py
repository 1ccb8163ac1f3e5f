"""The HTTP server that publishes: `/metrics`, the health paths, and whatever routes others join to them.

`app` starts and stops it. A request reads the snapshot once and never waits for Rocket.Chat. Nothing here decides what
is published; that is `catalogue`'s, and how it looks is `exposition`'s.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web
from aiohttp.typedefs import Handler

from rc_import_exporter import limits, logs
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.negotiation import Encoding, Format, choose_encoding, choose_format
from rc_import_exporter.web import health

STOP_TIMEOUT: Final = 0.25
"""Seconds that answers under way get when the server stops, and seconds more until their connections are cut."""
HEAD_TIMEOUT: Final = 10.0
"""Seconds from a connection's, or a request's, first byte to the end of the request's head."""
ANSWER_TIMEOUT: Final = 60.0
"""Seconds that a client may take to read an answer; Prometheus gives up after ten."""
MOST_CONNECTIONS: Final = 256
"""At a time, where the system lets us have them: a scraper needs one."""
COMPLAINT_INTERVAL: Final = 60.0
"""Seconds between two lines about connections that cannot be accepted."""
LARGEST_BODY: Final = 64 * 1024
"""Bytes; nothing here reads a larger one."""
NAMED_AT_MOST: Final = 10
"""Workspaces that the readiness answer names: enough to see which, short enough for an event of Kubernetes."""

HEADERS: Final[Mapping[str, str]] = {
    "Server": "rc-import-exporter",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""What every answer carries unless its handler says otherwise."""


_ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, object]], object]


class _Desk:
    """Who is connected, so that whoever only waits makes room for the next."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[_Connection, None] = {}
        """Without a whole request, the one that has waited longest first."""
        self._served: set[_Connection] = set()

    def admit(self, connection: "_Connection") -> None:
        """Let it wait; where the house is full, cut who has waited longest, which may be itself."""
        self._waiting[connection] = None
        if len(self._waiting) + len(self._served) > self._most:
            next(iter(self._waiting)).cut()

    def serve(self, connection: "_Connection") -> None:
        """Note that its request is there."""
        self._waiting.pop(connection, None)
        self._served.add(connection)

    def let_wait(self, connection: "_Connection") -> None:
        """Note that it has its answer."""
        self.forget(connection)
        self._waiting[connection] = None

    def forget(self, connection: "_Connection") -> None:
        """Note that it is gone."""
        self._waiting.pop(connection, None)
        self._served.discard(connection)


class _Connection(web.RequestHandler):
    """aiohttp's side of a connection, with an end to patience, and no answer that shows anything of the program."""

    __slots__ = ("_deadline", "_desk", "_served")

    def __init__(self, server: web.Server, desk: _Desk) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._desk = desk
        self._served = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part, for as long as the head of a request may take."""
        super().connection_made(transport)
        self._expect_within(HEAD_TIMEOUT)
        self._desk.admit(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take part no longer."""
        self._expect_nothing()
        self._desk.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Let a head that begins end in time, also the second on a connection."""
        if not self._served and self._deadline is None:
            self._expect_within(HEAD_TIMEOUT)
        super().data_received(data)

    def serve(self) -> None:
        """Note that a request's head is there: its answer has time, too."""
        self._served = True
        self._desk.serve(self)
        self._expect_within(ANSWER_TIMEOUT)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send it, aiohttp's own refusals in a line like ours, and wait for the next request."""
        try:
            return await super().finish_response(request, _in_a_line(resp), start_time)
        finally:
            self._served = False
            self._expect_nothing()
            if self.transport is not None:
                self._desk.let_wait(self)

    def cut(self) -> None:
        """End it at once: closing would wait for a client that does not read."""
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
        """One line, for a handler that failed and for what is no HTTP; the connection is closed after it."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.logger().error("a fault of the exporter itself: a request is lost", path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer that has begun cannot become another one")
        response = _refusal(status)
        response.headers.update(HEADERS)
        response.force_close()
        return response

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.cut)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Complaints:
    """What the event loop complains of, in its own way, but for connections that find no descriptor.

    asyncio tries again each second, and then complains up to a hundred times, each time with a traceback.
    """

    def __init__(self, otherwise: _ExceptionHandler | None) -> None:
        self._otherwise = otherwise
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Tell of one."""
        if context.get("message") != "socket.accept() out of system resource":
            (loop.default_exception_handler if self._otherwise is None else partial(self._otherwise, loop))(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + COMPLAINT_INTERVAL
            logs.logger().error(
                "no descriptor is left: connections wait; see ulimit -n", error=str(context["exception"])
            )


class Server:
    """An application on a socket."""

    def __init__(self, application: web.Application) -> None:
        self._runner = web.AppRunner(application, shutdown_timeout=STOP_TIMEOUT, access_log=None)
        self._listener: asyncio.Server | None = None
        self._desk = _Desk(min(limits.share(), MOST_CONNECTIONS))

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port, which is a free one for port 0.

        Raises `OSError` where that cannot be; its `strerror` is a line for people, with host, port and reason.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_Complaints(loop.get_exception_handler()))
        try:
            self._listener = await loop.create_server(self._connection, host, port)
        except OSError as error:
            await self._runner.cleanup()
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {_reason(error)}") from error
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the socket and every connection; those that are being answered get `STOP_TIMEOUT` to finish."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _connection(self) -> web.RequestHandler:
        return _Connection(cast(web.Server, self._runner.server), self._desk)


class Publisher:
    """The handlers around one exposition.

    `snapshot` gives the picture of the moment, `clock` Unix seconds. The workspaces of the first snapshot are those
    that readiness waits for.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Callable[[], float], exposition: Exposition) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._exposition = exposition
        self._awaited = list(snapshot().records)

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [
            web.get("/metrics", self.metrics),
            web.get("/-/healthy", self.healthy),
            web.get("/-/ready", self.ready),
        ]

    async def metrics(self, request: web.Request) -> web.Response:
        """Everything, or the workspaces that the query names; an unknown name is 404."""
        form, encoding = negotiated(request)
        snapshot, now = self._snapshot(), self._clock()
        names = request.query.getall("workspace", []) if request.query_string else []
        if unknown := [name for name in names if name not in snapshot.records]:
            return unknown_workspace(unknown[0])
        if names:
            return page(self._exposition.selection(snapshot, now, names, form, encoding), form, encoding)
        return page(self._exposition.page(snapshot, now, form, encoding), form, encoding)

    async def healthy(self, request: web.Request) -> web.Response:
        """That it answers is the answer: the event loop turns."""
        return plain("healthy\n")

    async def ready(self, request: web.Request) -> web.Response:
        """200 once every workspace configured at the start has had an outcome, and ever after; 503 before."""
        self._awaited = health.awaited(self._snapshot(), self._awaited)
        if not self._awaited:
            return plain("ready\n")
        shown = ", ".join(self._awaited[:NAMED_AT_MOST]) + (", …" if len(self._awaited) > NAMED_AT_MOST else "")
        return plain(f"not ready: {len(self._awaited)} not polled yet: {shown}\n", HTTPStatus.SERVICE_UNAVAILABLE)


def create_application(routes: Iterable[web.AbstractRouteDef]) -> web.Application:
    """An application of these routes, whose every answer carries `HEADERS`."""
    application = web.Application(client_max_size=LARGEST_BODY, middlewares=[_note_served])
    application.on_response_prepare.append(_add_headers)
    application.add_routes(routes)
    return application


def negotiated(request: web.Request) -> tuple[Format, Encoding]:
    """The format and the encoding that a request asks for; several headers of a name count as one."""
    return choose_format(_header(request, "Accept")), choose_encoding(_header(request, "Accept-Encoding"))


def page(body: bytes, form: Format, encoding: Encoding) -> web.Response:
    """A page in the form that was negotiated."""
    return web.Response(body=body, headers=_PAGE_HEADERS[form, encoding])


def plain(text: str, status: int = HTTPStatus.OK) -> web.Response:
    """A line or two of text."""
    return web.Response(body=text.encode(errors="replace"), status=status, content_type="text/plain", charset="utf-8")


def unknown_workspace(name: str) -> web.Response:
    """404 for a name that is not configured."""
    return plain(f"no workspace is called {name[:64]!a}\n", HTTPStatus.NOT_FOUND)


_PAGE_HEADERS: Final = {
    (form, encoding): {
        "Content-Type": form.value,
        "Vary": "Accept, Accept-Encoding",
        **({} if encoding is Encoding.IDENTITY else {"Content-Encoding": encoding.value}),
    }
    for form in Format
    for encoding in Encoding
}


def _refusal(status: int) -> web.Response:
    return plain(f"{status} {HTTPStatus(status).phrase}\n", status)


def _in_a_line(response: web.StreamResponse) -> web.StreamResponse:
    """A refusal of aiohttp's as one of ours, with the methods that are allowed; any other answer as it is."""
    if not isinstance(response, web.HTTPException):
        return response
    refusal = _refusal(response.status)
    if "Allow" in response.headers:
        refusal.headers["Allow"] = response.headers["Allow"]
    return refusal


def _header(request: web.Request, name: str) -> str | None:
    return ", ".join(request.headers.getall(name, ())) or None


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


@web.middleware
async def _note_served(request: web.Request, handler: Handler) -> web.StreamResponse:
    if isinstance(request.protocol, _Connection):
        request.protocol.serve()
    return await handler(request)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp has put its own name there, with its version and Python's.
    response.headers["Server"] = HEADERS["Server"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
