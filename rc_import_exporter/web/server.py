"""The HTTP server: `/metrics`, the health paths, and the routes of `pages`.

A request reads the snapshot once and never waits for Rocket.Chat.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web

from rc_import_exporter import descriptors, logs
from rc_import_exporter.config.address import is_loopback
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.exposition import Exposition, Pieces
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.web import answers
from rc_import_exporter.web.auth import Guard
from rc_import_exporter.web.connections import (
    MOST_CONNECTIONS,
    Connection,
    Connections,
    LoopErrors,
    accept,
    answering,
)
from rc_import_exporter.web.turns import Turns

EVERY_ADDRESS: Final = ("", "::")
STOP_TIMEOUT: Final = 0.25
"""Seconds that answers under way get when the server stops, and seconds more until their connections are cut."""
SEND_BUFFER: Final = 128 * 1024
"""Bytes on their way to a client, outside of the process. Linux takes twice as many."""
NAMED_AT_MOST: Final = 10
"""Workspaces that the readiness answer names. Kubernetes shows the answer in an event."""


class Publisher:
    """The handlers for scrapers and probes.

    `snapshot` gives the current snapshot, `clock` Unix seconds. `turns` is shared with `Pages`. Readiness waits for the
    workspaces of the first snapshot.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        exposition: Exposition,
        turns: Turns | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._exposition = exposition
        self._turns = Turns() if turns is None else turns
        self._page_turn = asyncio.Lock()
        self._next_pages: dict[tuple[Format, Encoding], asyncio.Task[Pieces]] = {}
        self._awaited = list(snapshot().records)

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [
            web.get("/metrics", self.metrics),
            web.get("/-/healthy", self.healthy),
            web.get("/-/ready", self.ready),
        ]

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """All metrics, or those of the workspaces in the query; 404 for an unknown name."""
        form, encoding = answers.negotiated(request)
        names = request.query.getall("workspace", []) if request.query_string else []
        if not names:
            return answers.metrics(await self._page(form, encoding), form, encoding)
        snapshot = self._snapshot()
        if unknown := [name for name in names if name not in snapshot.records]:
            return answers.plain(f"{answers.no_workspace(unknown[0], snapshot)}\n", HTTPStatus.NOT_FOUND)
        steps = self._exposition.selection_steps(snapshot, self._clock(), names, form, encoding)
        return answers.metrics(await self._turns.scrape(steps), form, encoding)

    async def _page(self, form: Format, encoding: Encoding) -> Pieces:
        """The whole page. Requests that come while another page is being made share the next one."""
        if not self._page_turn.locked():
            return await self._make_page(form, encoding)
        asked = form, encoding
        if asked not in self._next_pages:
            self._next_pages[asked] = asyncio.create_task(self._make_page(form, encoding))
        # A client that leaves must not take the page from the others.
        return await asyncio.shield(self._next_pages[asked])

    async def _make_page(self, form: Format, encoding: Encoding) -> Pieces:
        async with self._page_turn:
            self._next_pages.pop((form, encoding), None)
            steps = self._exposition.page_steps(self._snapshot(), self._clock(), form, encoding)
            return await self._turns.scrape(steps)

    async def healthy(self, request: web.Request) -> web.Response:
        """200 whenever the event loop runs."""
        return answers.plain("healthy\n")

    async def ready(self, request: web.Request) -> web.Response:
        """503 until each workspace configured at the start was polled once, whatever the result; then always 200."""
        records = self._snapshot().records
        self._awaited = [name for name in self._awaited if name in records and records[name].polls == 0]
        if not self._awaited:
            return answers.plain("ready\n")
        shown = ", ".join(self._awaited[:NAMED_AT_MOST]) + (", …" if len(self._awaited) > NAMED_AT_MOST else "")
        return answers.plain(
            f"not ready: {len(self._awaited)} not polled yet: {shown}\n", HTTPStatus.SERVICE_UNAVAILABLE
        )


def create_application(routes: Iterable[web.AbstractRouteDef]) -> web.Application:
    """An application with these routes."""
    application = web.Application()
    application.add_routes(routes)
    return application


class Server:
    """An application that listens on a socket. `guard` says who may read; each answer has `answers.HEADERS`."""

    def __init__(self, application: web.Application, guard: Guard | None = None) -> None:
        self._guard = Guard() if guard is None else guard
        self._runner = web.AppRunner(application, shutdown_timeout=STOP_TIMEOUT, access_log=None)
        self._listener: asyncio.Server | None = None
        self._connections = Connections(min(descriptors.share(), MOST_CONNECTIONS))

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port. Port 0 stands for any free port.

        Raises `OSError` if it cannot listen; its `strerror` is a message with host, port and reason.
        """
        await self._runner.setup()
        server = cast(web.Server, self._runner.server)
        server.request_handler = answering(server.request_handler, self._guard)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(LoopErrors(loop.get_exception_handler()))
        try:
            self._listener = await _listen(
                lambda: accept(Connection(server, self._connections, self._guard)), host, port
            )
        except OSError as error:
            await self._runner.cleanup()
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {_reason(error)}") from error
        if not self._guard.protection.wants_login and not is_loopback(host):
            logs.logger().info("other machines can read this without a login; see the option web.config.file")
        for listening in self._listener.sockets:
            # Connections inherit it. By itself the system would hold megabytes for each client that does not read, and
            # tell only after megabytes that a slow one goes on.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the socket and all connections. Answers under way get `STOP_TIMEOUT` to finish."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        self._connections.cut()
        self._guard.close()


async def _listen(protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> asyncio.Server:
    """Listen on a host. `::` and no host are every address of IPv4 and IPv6, as in Go.

    asyncio would open `::` for IPv6 only.
    """
    loop = asyncio.get_running_loop()
    if host in EVERY_ADDRESS and socket.has_dualstack_ipv6():
        both = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return await loop.create_server(protocol, sock=both)
    return await loop.create_server(protocol, host, port)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)
