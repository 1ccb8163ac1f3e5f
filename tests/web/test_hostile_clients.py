"""A hostile client can neither keep others from their answers nor fill the memory or the log."""

import asyncio
import gzip
import socket
import tracemalloc
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
from aiohttp import web

from rc_import_exporter import descriptors, turns
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.cells import Steps
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.turns import Turns
from rc_import_exporter.web import answers, connections, view
from rc_import_exporter.web.auth import Guard
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application
from tests.support.gallery import LATER, crowd, showing
from tests.support.pictures import four_workspaces

HANGING: Final = 20.0
"""Seconds after which a test fails because the server hangs. Nothing is measured by it."""
MEGABYTE: Final = 1024 * 1024
LARGE: Final = bytes(16 * MEGABYTE)
HEALTHY: Final = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"


async def large(request: web.Request) -> web.StreamResponse:
    """The same page for all, larger than the buffers of a socket."""
    return answers.Sliced([LARGE], {})


async def other(request: web.Request) -> web.StreamResponse:
    """A page of its own for each."""
    return answers.Sliced([bytes(16 * MEGABYTE)], {})


async def broken(request: web.Request) -> web.StreamResponse:
    """As if the client had left."""
    raise BrokenPipeError


@asynccontextmanager
async def serving(snapshot: Snapshot | None = None, exposition: Exposition | None = None) -> AsyncIterator[int]:
    """The port of a server of metrics and pages."""
    shown, turns = snapshot or four_workspaces(), Turns()
    publisher = Publisher(lambda: shown, lambda: LATER, exposition or Exposition(process=False), turns)
    pages = Pages(lambda: shown, lambda: LATER, turns)
    extra = [web.get("/large", large), web.get("/other", other), web.route("*", "/broken", broken)]
    server = Server(create_application([*publisher.routes, *pages.routes, *extra]))
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.stop()


async def connected(port: int, number: int, sent: bytes) -> list[socket.socket]:
    """Sockets that have sent this, and do not read."""
    clients = []
    for _ in range(number):
        client = socket.socket()
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        await asyncio.get_running_loop().sock_sendall(client, sent)
        clients.append(client)
    return clients


async def received(client: socket.socket) -> bytes:
    """Everything that comes until the server closes or cuts the connection."""
    pieces = []
    with suppress(ConnectionError):
        while piece := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, MEGABYTE), HANGING):
            pieces.append(piece)
    return b"".join(pieces)


async def asked(port: int, path: str = "/metrics") -> bytes:
    """The whole answer to one request on a connection of its own."""
    (client,) = await connected(port, 1, b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    with client:
        return await received(client)


def closed(clients: Sequence[socket.socket]) -> None:
    """Close them."""
    for client in clients:
        client.close()


async def test_clients_that_do_not_read_cannot_lock_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """All places are taken by pipelined requests. A new client takes the place of the one that is served longest."""
    monkeypatch.setattr(descriptors, "share", lambda: 6)
    async with serving() as port:
        stuck = []
        for _ in range(10):
            stuck += await connected(port, 1, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 150)
            assert (await asyncio.get_running_loop().sock_recv(stuck[-1], 9)) == b"HTTP/1.1 "
        for _ in range(8):
            assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
        closed(stuck)


async def test_the_number_of_connections_stays_bounded_in_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many come in one pass of the event loop, before the end of the first that is cut."""
    monkeypatch.setattr(descriptors, "share", lambda: 6)
    async with serving() as port:
        # The server is not told of any of them before the last one is there.
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(90)]
        for client in clients:
            client.setblocking(False)
        ends = [asyncio.create_task(received(client)) for client in clients]
        await asyncio.wait(ends[:84], timeout=HANGING)
        assert [end.done() for end in ends] == [True] * 84 + [False] * 6
        assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
        await asyncio.wait(ends[84:85], timeout=HANGING)
    await asyncio.gather(*ends)
    closed(clients)


async def test_a_client_that_left_during_its_page_fails_no_scrape() -> None:
    """Its page is given up before the event loop reports the end of its connection. A scrape can come in between."""
    server = web.Server(large)  # type: ignore[arg-type]
    open_ones = connections.Connections(4)
    left, stays = (connections.Connection(server, open_ones, Guard()) for _ in range(2))
    page, another = (answers.Sliced([LARGE], {}) for _ in range(2))
    open_ones.mark_sending(left, page)
    page.pieces = ()
    open_ones.mark_sending(stays, another)
    assert another.pieces


async def test_clients_that_do_not_read_hold_no_copy_of_the_page() -> None:
    """With a thousand workspaces each copy would take 10 MB."""
    async with serving() as port:
        tracemalloc.start()
        stuck = await connected(port, 20, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        closed(stuck)
    assert most < 8 * MEGABYTE


async def test_different_pages_that_are_not_read_stay_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page changes with each poll, so each slow client may have another one. The first ones lose theirs."""
    monkeypatch.setattr(connections, "MOST_HELD", 40 * MEGABYTE)
    async with serving() as port:
        old = await connected(port, 2, b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
        shared = await connected(port, 3, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert [len(await received(client)) < len(LARGE) for client in old[:1]] == [True]
        assert [len(await received(client)) > len(LARGE) for client in shared] == [True] * 3
        closed([*old, *shared])


@pytest.mark.looptime
async def test_a_client_may_be_slow_as_long_as_it_reads() -> None:
    """A whole page over a bad line can take minutes."""
    async with serving() as port:
        (client,) = await connected(port, 1, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        size = 0
        with client:
            for _ in range(10):
                size += len(await asyncio.get_running_loop().sock_recv(client, MEGABYTE))
                await asyncio.sleep(20.0)
            assert size + len(await received(client)) > len(LARGE)


@pytest.mark.looptime
@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n", b"P"])
async def test_silence_in_the_second_request_has_a_deadline(begun: bytes) -> None:
    """The half came together with the first request, so that no later byte tells that it began."""
    async with serving() as port:
        (client,) = await connected(port, 1, HEALTHY + begun)
        with client:
            assert (await received(client)).count(b"HTTP/1.1 200 ") == 1


BODIES: Final = {
    "bomb": (b"Content-Encoding: gzip\r\n", gzip.compress(bytes(64 * MEGABYTE))),
    "no gzip": (b"Content-Encoding: gzip\r\n", b"no gzip at all"),
    "no encoding": (b"Content-Encoding: nonsense\r\n", b"x"),
    "two encodings": (b"Content-Encoding: gzip, br\r\n", b"x"),
    "plain": (b"", b"x" * 1000),
}


@pytest.mark.looptime
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("missing", [0, 1])
async def test_a_body_is_not_read(
    body: str, method: bytes, missing: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is the last one of its connection, and comes at once, whatever the body and its encoding."""
    head, content = BODIES[body]
    size = len(content) + missing
    sent = b"%s /-/healthy HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (method, head, size, content)
    async with serving() as port:
        (client,) = await connected(port, 1, sent)
        begun = asyncio.get_running_loop().time()
        with client:
            answer = await received(client)
        assert asyncio.get_running_loop().time() - begun < 1.0
    assert answer.startswith(b"HTTP/1.1 200 " if method == b"GET" else b"HTTP/1.1 405 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert capsys.readouterr() == ("", "")
    assert caplog.text == ""


ENDLESS: Final = {
    "chunked": b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length": b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    "expect": b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n",
    "upgrade": b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "h2c": b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "connect": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "pipelined": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nCONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_stream_after_the_head_is_not_read(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The server closes after its answer, or stops reading while the client does not read."""
    loop, chunk, taken = asyncio.get_running_loop(), b"10000\r\n" + bytes(65536) + b"\r\n", 0
    async with serving() as port:
        (client,) = await connected(port, 1, ENDLESS[kind])
        with suppress(ConnectionError, TimeoutError):
            while taken < 1_000:
                await asyncio.wait_for(loop.sock_sendall(client, chunk), 1.0 if kind == "pipelined" else HANGING)
                taken += 1
        client.close()
        assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
    assert taken < 1_000
    assert capsys.readouterr() == ("", "")


@pytest.mark.looptime
@pytest.mark.parametrize("sent", [BODIES["plain"][1], *ENDLESS.values()], ids=["no HTTP", *ENDLESS])
async def test_clients_that_come_again_at_once_are_let_go_one_by_one(sent: bytes) -> None:
    """Sixty of them would make each scrape wait for sixty answers."""
    clients, times = 5, 10

    async def come_again(port: int) -> None:
        for _ in range(times):
            (client,) = await connected(port, 1, sent)
            with client:
                assert (await received(client)).startswith(b"HTTP/1.")

    async with serving() as port:
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*(come_again(port) for _ in range(clients)))
        took = asyncio.get_running_loop().time() - begun
    assert took >= (clients * times - 1) * connections.TURN_TO_CLOSE


@pytest.mark.looptime
async def test_clients_that_left_make_nobody_wait_for_their_turn() -> None:
    """Their connections are cut to make room for others, and then they have no turn."""
    async with serving() as port:
        for _ in range(1_000):
            for left in await connected(port, 1, b"no HTTP at all\r\n\r\n"):
                await asyncio.sleep(0)
                left.close()
        (client,) = await connected(port, 1, b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        begun = asyncio.get_running_loop().time()
        with client:
            assert (await received(client)).startswith(b"HTTP/1.1 405 ")
        waited = asyncio.get_running_loop().time() - begun
    assert waited <= connections.MOST_CONNECTIONS * connections.TURN_TO_CLOSE


@pytest.mark.looptime
async def test_a_body_is_not_read_while_the_connection_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiohttp goes on to read once its buffer is empty. To drop gigabytes takes time, too."""
    read, data_received = [0], connections.Connection.data_received

    def note(self: connections.Connection, data: bytes) -> None:
        read[0] += len(data)
        data_received(self, data)

    monkeypatch.setattr(connections.Connection, "data_received", note)
    head = b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    async with serving() as port:
        (client,) = await connected(port, 1, head + bytes(40_000))
        with client, suppress(ConnectionError):
            for _ in range(200):
                await asyncio.get_running_loop().sock_sendall(client, bytes(65536))
        assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
    assert read[0] < MEGABYTE


@pytest.mark.looptime
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("body", [b"", b"x"])
async def test_a_connection_ends_if_its_handler_finds_it_lost(method: bytes, body: bytes) -> None:
    """Aiohttp would leave it open after a request with a body."""
    async with serving() as port:
        sent = b"%s /broken HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (method, len(body), body)
        (client,) = await connected(port, 1, sent)
        with client:
            assert await received(client) == b""


@pytest.mark.looptime
async def test_a_body_that_comes_after_its_answer_does_not_reset_the_connection() -> None:
    """Many clients send head and body one after the other. A reset can take the answer from them."""
    loop = asyncio.get_running_loop()
    async with serving() as port:
        (client,) = await connected(port, 1, b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        with client:
            assert (await loop.sock_recv(client, MEGABYTE)).startswith(b"HTTP/1.1 200 ")
            await loop.sock_sendall(client, bytes(1000))
            assert await asyncio.wait_for(loop.sock_recv(client, MEGABYTE), HANGING) == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x:99999/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /workspaces/%ff%00%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?q=%ff%00&level=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT [ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: \xff=\xff; $=\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Type: \xff;;=\r\nAuthorization: Basic \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key1: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    ],
)
async def test_a_fault_of_the_client_is_not_in_the_log(
    sent: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone who reaches the port could fill the disk."""
    async with serving() as port:
        (client,) = await connected(port, 1, sent)
        client.shutdown(socket.SHUT_WR)
        with client:
            await received(client)
        assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
    assert capsys.readouterr() == ("", "")
    assert caplog.text == ""


async def test_a_scrape_goes_before_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers with different searches cost much. A scrape, a probe and a small page wait for none of them."""
    monkeypatch.setattr(turns, "TURN", 0.0)
    monkeypatch.setattr(turns, "SCRAPE_TURN", 0.0)
    monkeypatch.setattr(turns, "LONGEST_TURN", 0.0)
    async with serving(crowd(100)) as port:
        pages = [asyncio.create_task(asked(port, f"/?q={'a' * number}")) for number in range(1, 6)]
        await asyncio.sleep(0.05)
        assert (await asked(port)).startswith(b"HTTP/1.1 200 ")
        assert (await asked(port, "/-/ready")).startswith(b"HTTP/1.1 200 ")
        assert not any(page.done() for page in pages)
        monkeypatch.setattr(turns, "TURN", 1.0)
        monkeypatch.setattr(turns, "SCRAPE_TURN", 1.0)
        monkeypatch.setattr(turns, "LONGEST_TURN", 1.0)
        assert all(page.startswith(b"HTTP/1.1 200 ") for page in await asyncio.gather(*pages))


async def test_all_searches_of_a_second_filter_the_same_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """To view a workspace costs more than to find and to show it."""
    viewed = []

    def counted(*arguments: object) -> object:
        viewed.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    real = view.view
    monkeypatch.setattr(view, "view", counted)
    async with serving(crowd(20)) as port:
        for path in ("/", "/?q=eu", "/?q=us&level=quiet", "/api/v1/workspaces", "/api/v1/workspaces?q=eu"):
            assert (await asked(port, path)).startswith(b"HTTP/1.1 200 ")
    assert len(viewed) == 20


async def test_a_page_is_not_made_for_a_client_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise requests of clients that have left would delay the readers."""
    made = []

    def counted(*arguments: object) -> object:
        made.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    real = view.matching
    monkeypatch.setattr(view, "matching", counted)
    monkeypatch.setattr(turns, "TURN", 0.0)
    monkeypatch.setattr(turns, "SCRAPE_TURN", 0.0)
    monkeypatch.setattr(turns, "LONGEST_TURN", 0.0)
    async with serving(crowd(20)) as port:
        first = asyncio.create_task(asked(port, "/"))
        await asyncio.sleep(0.05)
        gone = [
            client
            for number in range(1, 10)
            for client in await connected(port, 1, b"GET /?q=%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        ]
        closed(gone)
        await asyncio.sleep(0.05)
        monkeypatch.setattr(turns, "TURN", 1.0)
        monkeypatch.setattr(turns, "SCRAPE_TURN", 1.0)
        monkeypatch.setattr(turns, "LONGEST_TURN", 1.0)
        await first
        assert (await asked(port, "/?q=last")).startswith(b"HTTP/1.1 200 ")
    assert len(made) == 2


class Counting(Exposition):
    """Counts the pages that it makes."""

    def __init__(self) -> None:
        super().__init__(process=False)
        self.pages = 0

    def page_steps(self, snapshot: Snapshot, now: float, form: Format, encoding: Encoding) -> Steps:
        self.pages += 1
        return super().page_steps(snapshot, now, form, encoding)


async def test_scrapes_at_once_share_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who ask while a page is being made get the next one, so none is older than its request."""
    exposition = Counting()
    monkeypatch.setattr(turns, "TURN", 0.0)
    monkeypatch.setattr(turns, "SCRAPE_TURN", 0.0)
    monkeypatch.setattr(turns, "LONGEST_TURN", 0.0)
    async with serving(crowd(50), exposition) as port:
        scrapes = await asyncio.gather(*(asked(port) for _ in range(20)))
    assert len({answer.partition(b"\r\n\r\n")[2] for answer in scrapes}) == 1
    assert exposition.pages == 2


async def test_a_pass_of_the_event_loop_has_one_turn_of_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is true for any number of scrapes. A page gets fewer turns than scrapes, but it gets some."""
    monkeypatch.setattr(turns, "TURN", 0.0)
    monkeypatch.setattr(turns, "SCRAPE_TURN", 0.0)
    monkeypatch.setattr(turns, "LONGEST_TURN", 0.0)
    taken: list[tuple[int, str]] = []
    passes: list[None] = []
    shared = Turns()

    def steps(name: str, number: int) -> Generator[None, None, str]:
        for _ in range(number):
            taken.append((len(passes), name))
            yield
        return name

    async def count() -> None:
        while True:
            passes.append(None)
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    page = asyncio.create_task(shared.others(steps("page", 10)))
    made = await asyncio.gather(*(shared.scrape(steps(f"scrape {index}", 20)) for index in range(3)))
    assert made == ["scrape 0", "scrape 1", "scrape 2"]
    of_pages = [at for at, name in taken if name == "page"]
    # The first turn of each comes at once.
    of_scrapes = [at for at, name in taken[4:] if name != "page"]
    assert len(set(of_scrapes)) == len(of_scrapes)
    assert 1 <= len(of_pages) <= len(passes) / turns.PASSES_OF_SCRAPES + 1
    assert await page == "page"
    counting.cancel()


async def test_the_pages_show_each_second_anew() -> None:
    """What is kept for a second must not outlive it."""
    async with showing(crowd(3)) as shown:
        port = int(shown.url.rpartition(":")[2])
        before = await asked(port, "/?q=workspace")
        shown.snapshot, shown.now = crowd(5), shown.now + 1.0
        assert (await asked(port, "/?q=workspace")).count(b'id="workspace-') == before.count(b'id="workspace-') + 2
