"""The collector does not search what the exporter keeps, and still frees cycles."""

import asyncio
import gc
import ssl
import weakref
from collections.abc import Generator, Iterator
from time import sleep

import pytest
import trustme

from rc_import_exporter import garbage, turns
from rc_import_exporter.simulator.scenario import Story
from tests.polling.test_reloading import running
from tests.support.rig import exporting


class Node:
    """An object that can be in a cycle."""

    def __init__(self) -> None:
        self.other: Node | None = None


def pair() -> weakref.ref[Node]:
    """Two objects that only hold each other."""
    one, other = Node(), Node()
    one.other, other.other = other, one
    return weakref.ref(one)


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    """Without collections at times that a test does not choose."""
    gc.disable()
    yield
    gc.enable()


def test_what_survived_is_not_searched_again() -> None:
    """Each search would stop the event loop, the longer the more workspaces there are."""
    with garbage.searched_while_young():
        kept = [[number] for number in range(1_000)]
        gc.collect(0)
        assert any(each is kept[0] for each in gc.get_objects())
        gc.collect(1)
        assert not any(each is kept[0] for each in gc.get_objects())
        assert gc.get_freeze_count() >= len(kept)
    assert gc.get_freeze_count() == 0
    assert any(each is kept[0] for each in gc.get_objects())


def test_young_cycles_are_freed() -> None:
    """Most cycles are exceptions that were just handled."""
    with garbage.searched_while_young():
        one = pair()
        gc.collect(1)
        assert one() is None


def test_new_objects_are_searched_before_they_are_many() -> None:
    """Where each new object takes the place of an old one, Python itself would not search them."""
    with garbage.searched_while_young():
        kept = []
        for _ in range(4 * garbage.PIECES_OF_WORK):
            kept += [[number] for number in range(100)]
            garbage.search(size=0)
            assert len(gc.get_objects(0)) < 200 * garbage.PIECES_OF_WORK
        assert gc.get_freeze_count() >= len(kept) / 2


async def test_long_work_is_searched_while_it_goes_on() -> None:
    """A page of thousands of workspaces is made of as many new objects as a hundred polls."""

    def steps() -> Generator[None, None, int]:
        kept = []
        for _ in range(4 * garbage.PIECES_OF_WORK):
            kept += [[number] for number in range(1_000)]
            sleep(turns.TURN)
            yield
        return len(kept)

    with garbage.searched_while_young():
        made = await turns.Turns().others(steps())
        assert gc.get_freeze_count() >= made / 2


def test_what_a_large_answer_left_is_searched_at_once() -> None:
    """One list can have as many operations as fifty others."""
    with garbage.searched_while_young():
        kept = [[number] for number in range(10_000)]
        garbage.search(size=garbage.LARGE + 1)
        assert gc.get_freeze_count() >= len(kept)


def test_what_is_kept_until_the_end_is_not_freed() -> None:
    """To free what is known of 5,000 workspaces takes seconds, and the process ends anyway."""
    node = Node()
    held = weakref.ref(node)
    garbage.keep(node)
    del node
    gc.collect()
    assert held() is not None
    gc.unfreeze()
    gc.collect()
    assert held() is None


@pytest.mark.looptime
async def test_each_poll_searches_what_is_new() -> None:
    """Nothing else does that here, because Python's own searches are switched off."""
    with garbage.searched_while_young():
        async with exporting({"acme": Story(running)}) as rig:
            await asyncio.sleep(3_600)
            assert rig.app.store.snapshot.records["acme"].polls > 200
            assert len(gc.get_objects(0)) < 6_000


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("ended_by", ["server", "client", "abort"])
async def test_nothing_of_an_old_connection_stays(ended_by: str, *, encrypted: bool) -> None:
    """A connection outlives two searches, so after its end it must be in no cycle."""
    kept: list[weakref.ref[object]] = []

    class Noting(asyncio.Protocol):
        """Notes its transport, and what is below it."""

        def __init__(self) -> None:
            self.made, self.lost = asyncio.Event(), asyncio.Event()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            below = getattr(transport, "_ssl_protocol", None)
            kept.extend(weakref.ref(each) for each in (transport, below, getattr(below, "_transport", None)) if each)
            self.made.set()

        def connection_lost(self, exc: BaseException | None) -> None:
            del self.transport
            self.lost.set()

    authority = trustme.CA()
    servers, clients = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(servers)
    authority.configure_trust(clients)
    loop, served = asyncio.get_running_loop(), Noting()
    with garbage.searched_while_young():
        server = await loop.create_server(lambda: served, "localhost", 0, ssl=servers if encrypted else None)
        port = server.sockets[0].getsockname()[1]
        client = Noting()
        await loop.create_connection(lambda: client, "localhost", port, ssl=clients if encrypted else None)
        await served.made.wait()
        gc.collect(1)
        gc.collect(1)
        match ended_by:
            case "server":
                served.transport.close()
            case "client":
                client.transport.close()
            case _:
                client.transport.abort()
        await served.lost.wait()
        await client.lost.wait()
        # asyncio lets go of a transport in the next passes.
        await asyncio.sleep(0.05)
        server.close()
    assert [each() for each in kept if each() is not None] == []
