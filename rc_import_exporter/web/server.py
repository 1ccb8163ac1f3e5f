"""The HTTP server: it listens, and answers requests with the routes of an application."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, cast

from aiohttp import web

from rc_import_exporter import descriptors, logs
from rc_import_exporter.config.address import is_loopback
from rc_import_exporter.web.auth import Guard
from rc_import_exporter.web.connections import MOST_CONNECTIONS, Connection, Connections, accept, answering

EVERY_ADDRESS: Final = ("", "::")
STOP_TIMEOUT: Final = 0.25
"""Seconds that answers under way get when the server stops, and seconds more until their connections are cut."""
SEND_BUFFER: Final = 128 * 1024
"""Bytes on their way to a client, outside of the process. Linux takes twice as many."""
ACCEPT_LOG_INTERVAL: Final = 60.0
"""Seconds between two log lines about connections that cannot be accepted."""

_ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, object]], object]


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
