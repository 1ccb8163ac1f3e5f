"""Every answer, and every missing one, becomes a value. Over real sockets, with everything that can go wrong."""

import asyncio
import gzip
import logging
import zlib
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import structlog

from rc_import_exporter import __version__
from rc_import_exporter.core.domain import Api, Failure, InfoAnswer, ListAnswer, Reason, StatusAnswer, Success
from rc_import_exporter.rocketchat.client import PROMPT, Access, Client, identity, open_session
from rc_import_exporter.simulator.faults import MEBIBYTE, slow
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, LoopClock, SimulatedServer, WallClock
from tests.support.peers import (
    CREDENTIALS,
    GOOD,
    LONG,
    ask,
    http,
    overheard,
    reason,
    saying,
    speaking,
    spoilt,
)


def test_what_libraries_log_is_overheard() -> None:
    """Without this, the other tests would not notice a secret in a log."""
    with overheard() as log:
        logging.getLogger("aiohttp.client").debug("asks with %s", AUTH_TOKEN)
    assert AUTH_TOKEN in log.getvalue()


async def test_each_endpoint_is_asked_by_its_path_and_with_the_credentials_alone() -> None:
    """The base URL can have a path. Cookies would tie one workspace's calls to another's."""
    requests: list[bytes] = []

    def speak(request: bytes, writer: StreamWriter) -> None:
        requests.append(request)
        writer.write(http(GOOD, "Set-Cookie: rc_token=1"))

    async with speaking(speak) as url:
        for api in Api:
            await ask(f"{url}/chat/", api)
    lines = [request.decode().split("\r\n") for request in requests]
    assert [line[0] for line in lines] == [
        "GET /chat/api/v1/import.status HTTP/1.1",
        "GET /chat/api/v1/getLatestImportOperations HTTP/1.1",
        "GET /chat/api/v1/getImportProgress HTTP/1.1",
        "GET /chat/api/info HTTP/1.1",
    ]
    for _, *headers in lines:
        names = {header.partition(":")[0].lower() for header in headers if header}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "x-user-id", "x-auth-token"}


async def test_a_url_s_user_and_password_go_to_the_proxy_in_front_and_nowhere_else() -> None:
    """The proxy needs them as basic authentication; a page or log would give them away."""
    requests: list[bytes] = []

    def speak(request: bytes, writer: StreamWriter) -> None:
        requests.append(request)
        writer.write(http(GOOD))

    async with speaking(speak) as url:
        result = await ask(url.replace("://", "://gate:proxy-password@"))
    assert isinstance(result, Success)
    assert b"Basic " + b64encode(b"gate:proxy-password") in requests[0]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("mon:%E2%82%AC", "mon:\u20ac"),
        ("m\u00f6n:p\u00e4ss", "m\u00f6n:p\u00e4ss"),
        ("mon:a%3Ab", "mon:a:b"),
        ("mon", "mon:"),
    ],
)
async def test_names_and_passwords_in_urls_are_sent_as_utf_8(written: str, sent: str) -> None:
    """RFC 7617 names no other encoding. Latin-1 cannot hold the euro sign."""
    heads: list[bytes] = []

    def speak(request: bytes, writer: StreamWriter) -> None:
        heads.append(request)
        writer.write(http(GOOD))

    async with speaking(speak) as url:
        with_user = url.replace("://", f"://{written}@")
        assert reason(await ask(with_user)) is None
        assert reason(await ask("http://127.0.0.1:9", proxy_url=with_user)) is None
    expected = b"Basic " + b64encode(sent.encode())
    assert b"\r\nAuthorization: " + expected in heads[0]
    assert b"\r\nProxy-Authorization: " + expected in heads[1]


async def test_further_headers_are_sent_and_the_exporter_says_who_it_is() -> None:
    """A gateway wants its token, and an administrator wants to know who asks."""
    heads: list[bytes] = []

    def speak(request: bytes, writer: StreamWriter) -> None:
        heads.append(request)
        writer.write(http(GOOD))

    credentials = replace(CREDENTIALS, headers={"CF-Access-Client-Secret": "gateway-secret"})
    async with speaking(speak) as url, open_session() as session:
        access = Access(url=url, timeout=LONG, max_bytes=MEBIBYTE, user_agent=identity("https://imports.example.org/x"))
        assert reason(await Client(session, access, WallClock().now).ask(Api.STATUS, credentials)) is None
    assert b"\r\nCF-Access-Client-Secret: gateway-secret\r\n" in heads[0]
    agent = f"rc-import-exporter/{__version__} (+https://imports.example.org/x)"
    assert f"\r\nUser-Agent: {agent}\r\n".encode() in heads[0]
    assert "gateway-secret" not in repr(credentials)


async def test_no_redirect_is_followed() -> None:
    """A redirect would send the token to another server."""
    requests: list[bytes] = []

    def speak(request: bytes, writer: StreamWriter) -> None:
        requests.append(request)
        writer.write(http(b"", "Location: /elsewhere", status="307 Temporary Redirect"))

    async with speaking(speak) as url:
        assert reason(await ask(url)) is Reason.REDIRECTED
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("GZIP", gzip.compress),
    ],
)
async def test_a_compressed_body_is_read(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """The size decides how often a large list is read, and it must not depend on compression."""
    async with speaking(saying(http(compress(GOOD), f"Content-Encoding: {encoding}"))) as url:
        result = await ask(url)
    assert isinstance(result, Success)
    assert isinstance(result.answer, StatusAnswer)
    assert result.exchange.size == len(GOOD)


@pytest.mark.parametrize(("size", "expected"), [(1024, None), (1025, Reason.TOO_LARGE)])
@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_may_be_as_large_as_allowed(size: int, expected: Reason | None, *, compressed: bool) -> None:
    """The limit counts decompressed bytes, because those take memory."""
    body = GOOD.ljust(size)
    raw = http(gzip.compress(body), "Content-Encoding: gzip") if compressed else http(body)
    async with speaking(saying(raw)) as url:
        assert reason(await ask(url, max_bytes=1024)) is expected


async def test_an_endless_body_ends_at_the_limit() -> None:
    """A chunked body has no length to check beforehand."""

    def speak(request: bytes, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65536 + b"\r\n")
        for _ in range(64):
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")

    async with speaking(speak) as url:
        assert reason(await ask(url, max_bytes=65536)) is Reason.TOO_LARGE


@pytest.mark.parametrize("pause", [0.0, 0.001], ids=["a flood", "a brook"])
async def test_answers_that_are_none_do_not_go_on_for_ever(pause: float) -> None:
    """Aiohttp reads interim answers without end, and this would keep the whole program busy."""
    cut = asyncio.Event()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(b"HTTP/1.1 100 C\r\n\r\n" * (1 if pause else 1000))
                await writer.drain()
                await asyncio.sleep(pause)
        cut.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert reason(await ask(url)) is Reason.INVALID
        await asyncio.wait_for(cut.wait(), LONG)


@pytest.mark.parametrize(("interim", "expected"), [(5, None), (8, None), (9, Reason.INVALID)])
async def test_as_many_interim_answers_as_allowed_may_come_first(interim: int, expected: Reason | None) -> None:
    """A proxy may send hints. They are counted for each answer: the next one on the connection may have as many."""
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * interim + http(GOOD)

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, open_session() as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(session, Access(url=url, timeout=LONG, max_bytes=MEBIBYTE), WallClock().now)
        assert [reason(await client.ask(Api.STATUS, CREDENTIALS)) for _ in range(3)] == [expected] * 3


@pytest.mark.looptime
async def test_a_queue_of_ours_is_no_slowness_of_the_server_s() -> None:
    """The wait in our own queue must count neither for the timeout nor for the measured duration."""

    async def hang(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(hang, "127.0.0.1", 0) as hanging,
        speaking(saying(http(GOOD))) as well,
        open_session() as session,
    ):
        stuck = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
        places = asyncio.Semaphore(1)
        clients = [
            Client(session, Access(url=url, timeout=10.0, max_bytes=MEBIBYTE), WallClock().now, places)
            for url in (stuck, stuck, well)
        ]
        results = await asyncio.gather(*(client.ask(Api.STATUS, CREDENTIALS) for client in clients))
    assert [reason(result) for result in results] == [Reason.TIMEOUT, Reason.TIMEOUT, None]
    assert [result.exchange.seconds < 11 for result in results] == [True] * 3


async def test_a_port_where_nothing_listens_is_a_connection_refused() -> None:
    """The reader sees which address to check."""
    async with speaking(saying(b"")) as url:
        pass
    result = await ask(url)
    assert isinstance(result, Failure)
    assert result.reason is Reason.CONNECTION
    assert result.exchange.code is None
    assert "connection refused" in result.detail
    assert url.rpartition(":")[2] in result.detail


async def test_an_unknown_host_is_told_as_that() -> None:
    """The reader sees which name is wrong, and is not told that Rocket.Chat is down."""
    result = await ask("http://chat.invalid")
    assert isinstance(result, Failure)
    assert (result.reason, result.detail) == (Reason.CONNECTION, "no such host: chat.invalid")
    assert result.remedy.startswith("Check the host name in `url`")


@pytest.mark.looptime
@pytest.mark.parametrize("seconds", [PROMPT - 1, PROMPT + 1])
async def test_an_answer_that_took_long_may_be_as_old_as_its_request(seconds: float) -> None:
    """The exporter may have been stopped between the answer and now: no clock tells that."""

    def tell(stage: Stage) -> None:
        stage.fault(slow(seconds))
        stage.wait(3600)

    clock = LoopClock()
    async with SimulatedServer(Story(tell), clock=clock) as server, open_session() as session:
        begun = clock.now()
        access = Access(url=server.base_url, timeout=LONG, max_bytes=MEBIBYTE)
        exchange = (await Client(session, access, clock.now).ask(Api.LIST, CREDENTIALS)).exchange
    assert exchange.answered is not None
    prompt = seconds < PROMPT
    assert (exchange.answered - begun > 1, exchange.skew is not None) == (prompt, prompt)


async def test_the_exchange_tells_size_budget_and_skew() -> None:
    """Pages, rules and the schedule rely on these numbers."""

    def tell(stage: Stage) -> None:
        stage.limit_rate(10)
        stage.wait(3600)

    async with SimulatedServer(Story(tell), clock=WallClock(ahead=3600)) as server:
        result = await ask(server.base_url, Api.LIST)
    assert result.exchange.code == 200
    assert result.exchange.size == 2
    assert result.exchange.skew is not None
    assert round(result.exchange.skew / 60) == 60
    budget = result.exchange.budget
    assert budget is not None
    assert (budget.limit, budget.remaining) == (10, 9)
    assert 50 < budget.wait <= 62


async def test_a_good_answer_is_read_from_every_endpoint() -> None:
    """One mistake in a path would make an endpoint fail for ever."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.wait(3600)

    async with SimulatedServer(Story(tell)) as server:
        answers = [await ask(server.base_url, api) for api in Api]
    assert all(isinstance(result, Success) for result in answers)
    listing, info = answers[1], answers[3]
    assert isinstance(listing, Success)
    assert isinstance(listing.answer, ListAnswer)
    assert [operation.importer for operation in listing.answer.operations] == ["csv"]
    assert isinstance(info, Success)
    assert info.answer == InfoAnswer(version="8.6")


async def test_a_call_that_is_cancelled_ends() -> None:
    """The exporter cancels running polls when it stops."""
    async with SimulatedServer(spoilt("hang")) as server:
        call = asyncio.create_task(ask(server.base_url))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_bug_is_logged_once_and_without_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason `internal` alone does not help to find the bug. A message can hold a value."""

    def fail(*_: object) -> None:
        raise KeyError(AUTH_TOKEN)

    async with speaking(saying(http(GOOD))) as url, open_session() as session:
        client = Client(session, Access(url=url, timeout=LONG, max_bytes=MEBIBYTE), WallClock().now)
        monkeypatch.setattr(client, "_get", fail)
        with structlog.testing.capture_logs() as caught:
            results = [await client.ask(Api.STATUS, CREDENTIALS) for _ in range(3)]
    assert {reason(result) for result in results} == {Reason.INTERNAL}
    (line,) = caught
    assert line["event"] == "a bug in the exporter: KeyError"
    assert "in fail" in line["traceback"]
    assert AUTH_TOKEN not in str(line)
