"""Host names are looked up like the system does, and a look-up that hangs holds up nothing."""

import asyncio
import socket
import threading

import pytest

from rc_import_exporter.rocketchat.host_names import Resolver


async def test_a_name_has_its_addresses() -> None:
    """The hosts file counts as well."""
    found = await Resolver().resolve("localhost", 80, socket.AF_INET)
    assert {(each["host"], each["port"], each["hostname"]) for each in found} == {("127.0.0.1", 80, "localhost")}


async def test_a_name_without_an_address_is_an_error() -> None:
    """Aiohttp expects `OSError`."""
    with pytest.raises(OSError, match=r".+"):
        await Resolver().resolve("chat.invalid", 80)


async def test_a_look_up_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C must work at once while a name server does not answer."""
    begun, over = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        begun.set()
        over.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    waiting = asyncio.create_task(Resolver().resolve("chat.example.org", 80))
    await asyncio.to_thread(begun.wait, 20)
    (thread,) = [each for each in threading.enumerate() if each.name == "resolver"]
    assert thread.daemon
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    over.set()
    await asyncio.to_thread(thread.join, 20)
    await asyncio.sleep(0)
    assert not thread.is_alive()
