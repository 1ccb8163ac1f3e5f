"""Looks up host names in threads that the process does not wait for when it ends.

asyncio's own look-ups run in a pool, and Python waits for its threads at exit. If a name server does not answer, Ctrl-C
would have to wait as well. Python does not wait for daemon threads.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from threading import Thread

from aiohttp.abc import AbstractResolver, ResolveResult

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, SocketAddress]]


class Resolver(AbstractResolver):
    """The system's own name service, hosts file included."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The host's addresses. Raises `OSError` if it has none."""
        found = await _in_daemon(lambda: _look_up(host, port, family))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing to close."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> Addresses:
    return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


async def _in_daemon(work: Callable[[], Addresses]) -> Addresses:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Addresses] = loop.create_future()

    def settle(result: Addresses, error: Exception | None) -> None:
        if future.done():  # cancelled meanwhile
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result: Addresses = ()
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it goes to the caller, on the other thread
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the event loop has ended, and the caller with it

    Thread(target=run, name="resolver", daemon=True).start()
    return await future
