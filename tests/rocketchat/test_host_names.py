"""Host names are looked up like the system does, and a look-up that hangs delays nothing else."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from queue import SimpleQueue

import pytest

from rc_import_exporter.rocketchat import host_names
from rc_import_exporter.rocketchat.host_names import MOST_THREADS, NoLookUpError, Resolver


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    """A resolver that is closed after the test."""
    resolver = Resolver()
    yield resolver
    await resolver.close()


async def test_a_name_has_its_addresses(resolver: Resolver) -> None:
    """The hosts file counts as well."""
    found = await resolver.resolve("localhost", 80, socket.AF_INET)
    assert {(each["host"], each["port"], each["hostname"]) for each in found} == {("127.0.0.1", 80, "localhost")}


async def test_a_name_without_an_address_is_an_error(resolver: Resolver) -> None:
    """Aiohttp expects `OSError`."""
    with pytest.raises(OSError, match=r".+"):
        await resolver.resolve("chat.invalid", 80)


@pytest.mark.parametrize("name", ["a..example.org", "a" * 64 + ".example.org"])
async def test_a_name_that_is_none_is_an_error(resolver: Resolver, name: str) -> None:
    """Python raises `UnicodeError` then, which is no bug of the exporter."""
    with pytest.raises(OSError, match="name"):
        await resolver.resolve(name, 80)


class NameServer:
    """Replaces the system's look-ups. Those of a name with `hang` in it wait until `over` is set."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: SimpleQueue[str] = SimpleQueue()

    def __call__(self, host: str, *_: object, **__: object) -> list[object]:
        self.asked.put(host)
        if "hang" in host:
            self.over.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """A name server whose look-ups end with the test."""
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.over.set()


def threads() -> list[threading.Thread]:
    """The threads that look up names."""
    return [each for each in threading.enumerate() if each.name == "resolver"]


async def test_a_look_up_that_hangs_is_left_behind(server: NameServer, resolver: Resolver) -> None:
    """Ctrl-C must work at once while a name server does not answer."""
    waiting = asyncio.create_task(resolver.resolve("hang.example.org", 80))
    await asyncio.to_thread(server.asked.get, timeout=20)
    (thread,) = threads()
    assert thread.daemon
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.over.set()
    await resolver.close()
    await asyncio.to_thread(thread.join, 20)
    await asyncio.sleep(0)
    assert not thread.is_alive()


async def test_names_that_hang_take_a_few_threads_and_others_are_found(
    server: NameServer, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread for each name would reach a limit of the system.

    A name that is known to be slow waits only for other slow names.
    """
    monkeypatch.setattr(host_names, "SLOW", 0.05)
    monkeypatch.setattr(host_names, "MOST_WAITING", 60)
    names = [f"hang{number}.example.org" for number in range(50)]
    first = [asyncio.create_task(resolver.resolve(name, 80)) for name in names]
    await asyncio.sleep(0.1)
    assert len(threads()) == MOST_THREADS
    server.over.set()
    await asyncio.gather(*first)
    server.over.clear()
    again = [asyncio.create_task(resolver.resolve(name, 80)) for name in names]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(resolver.resolve("chat.example.org", 80), 20)
    more = [asyncio.create_task(resolver.resolve(name, 80)) for name in names]
    await asyncio.sleep(0)
    assert len(threads()) == 2 * MOST_THREADS
    assert sum(isinstance(each.exception(), NoLookUpError) for each in more if each.done()) == 40
    server.over.set()
    await asyncio.gather(*again, *more, return_exceptions=True)
