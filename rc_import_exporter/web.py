"""The HTTP server that publishes: `/metrics`, the health paths, and whatever routes others join to them.

`app` starts and stops it. A request reads the snapshot once and never waits for Rocket.Chat. Nothing here decides what
is published; that is `catalogue`'s, and how it looks is `exposition`'s.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web

from rc_import_exporter import health, logs
from rc_import_exporter.exposition import Exposition
from rc_import_exporter.negotiation import Encoding, Format, choose_encoding, choose_format
from rc_import_exporter.snapshot import Snapshot

STOP_TIMEOUT: Final = 0.25
"""Seconds that answers under way get when the server stops, and seconds more until their connections are cut."""
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


class _Connection(web.RequestHandler):
    """aiohttp's side of a connection, except that its answer to an error shows nothing of the program."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """One line, for a handler that failed and for what is no HTTP; the connection is closed after it."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.logger().error("a fault of the exporter itself: a request is lost", path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer that has begun cannot become another one")
        response = plain(f"{status} {HTTPStatus(status).phrase}\n", status)
        response.headers.update(HEADERS)
        response.force_close()
        return response


class Server:
    """An application on a socket."""

    def __init__(self, application: web.Application) -> None:
        self._runner = web.AppRunner(application, shutdown_timeout=STOP_TIMEOUT, access_log=None)
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port, which is a free one for port 0.

        Raises `OSError` where that cannot be; its `strerror` is a line for people, with host, port and reason.
        """
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._connection, host, port)
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
        server = cast(web.Server, self._runner.server)
        return _Connection(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]


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
    application = web.Application(client_max_size=LARGEST_BODY)
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


def _header(request: web.Request, name: str) -> str | None:
    return ", ".join(request.headers.getall(name, ())) or None


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp has put its own name there, with its version and Python's.
    response.headers["Server"] = HEADERS["Server"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
