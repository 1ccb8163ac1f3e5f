"""Looks up host names in a few threads that the process does not wait for when it ends.

asyncio's own look-ups run in a pool, and Python waits for its threads at exit. If a name server does not answer, Ctrl-C
would have to wait as well. Python does not wait for daemon threads.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, SocketAddress]]

MOST_THREADS: Final = 8
"""Look-ups at the same time, of names that are quick and of names that are slow. Most take milliseconds."""
MOST_WAITING: Final = 2048
"""Look-ups that wait for a thread. So many wait only if a name server does not answer."""
SLOW: Final = 1.0
"""Seconds. A name whose last look-up took longer does not hold up the quick ones."""


class NoLookUpError(OSError):
    """The name cannot be looked up now, because this machine or this process has no thread left for it."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "no thread is left to look it up")


@dataclass(frozen=True, slots=True, kw_only=True)
class _LookUp:
    host: str
    port: int
    family: socket.AddressFamily
    future: asyncio.Future[Addresses]


class Resolver(AbstractResolver):
    """The system's own name service, hosts file included."""

    def __init__(self) -> None:
        self._quick = _Threads()
        self._slow = _Threads()
        self._slow_hosts: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The host's addresses. Raises `OSError` if it has none, `NoLookUpError` if it cannot be looked up now."""
        loop = asyncio.get_running_loop()
        look_up = _LookUp(host=host, port=port, family=family, future=loop.create_future())
        begun = loop.time()
        (self._slow if host in self._slow_hosts else self._quick).take(look_up)
        try:
            found = await look_up.future
        finally:
            (self._slow_hosts.add if loop.time() - begun > SLOW else self._slow_hosts.discard)(host)
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
        """Lets the threads end."""
        self._quick.end()
        self._slow.end()


class _Threads:
    """Up to `MOST_THREADS` threads, started as they are needed, and the look-ups that wait for them."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_LookUp | None] = SimpleQueue()
        self._open = 0
        self._threads: list[Thread] = []

    def take(self, look_up: _LookUp) -> None:
        """Looks this up as soon as a thread is free. Raises `NoLookUpError` if none ever will be."""
        if self._open >= MOST_WAITING:
            raise NoLookUpError
        if self._open >= len(self._threads) < MOST_THREADS:
            self._start()
        self._open += 1
        self._waiting.put(look_up)

    def end(self) -> None:
        """Ends each thread after the look-ups that wait."""
        for _ in self._threads:
            self._waiting.put(None)
        self._threads = []

    def _start(self) -> None:
        thread = Thread(target=self._work, name="resolver", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # a limit of the system. The threads that run can do the work, if there are any.
            if not self._threads:
                raise NoLookUpError from None
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (look_up := self._waiting.get()) is not None:
            result: Addresses = ()
            failure: Exception | None = None
            try:
                result = _find(look_up)
            except Exception as error:  # noqa: BLE001 - it goes to the caller, on the other thread
                failure = error
            try:
                look_up.future.get_loop().call_soon_threadsafe(self._settle, look_up, result, failure)
            except RuntimeError:
                return  # the event loop has ended, and the caller with it

    def _settle(self, look_up: _LookUp, result: Addresses, failure: Exception | None) -> None:
        self._open -= 1
        if look_up.future.done():  # cancelled meanwhile
            return
        if failure is None:
            look_up.future.set_result(result)
        else:
            look_up.future.set_exception(failure)


def _find(look_up: _LookUp) -> Addresses:
    try:
        return socket.getaddrinfo(
            look_up.host, look_up.port, family=look_up.family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except UnicodeError:  # a part of the name is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None
