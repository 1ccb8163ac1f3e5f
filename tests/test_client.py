"""Whatever answers, or does not, is a value: over real sockets, with everything that can go wrong between two hosts."""

import asyncio
import gzip
import logging
import socket
import ssl
import zlib
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
import trustme

from rc_import_exporter.client import Access, Client, open_session
from rc_import_exporter.credentials import Credentials
from rc_import_exporter.domain import Api, Failure, InfoAnswer, ListAnswer, Reason, Result, StatusAnswer, Success
from rc_import_exporter.resolver import Resolver
from rc_import_exporter.simulator.faults import FAULTS, MEBIBYTE
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServer, WallClock

GOOD: Final = b'{"state":"none","success":true}'
PATIENCE: Final = 0.4
"""Seconds that a call may take in tests whose server never ends."""
LONG: Final = 20.0
"""Seconds that no test here waits for."""
CREDENTIALS: Final = Credentials(user_id=USER_ID, auth_token=AUTH_TOKEN)
SECRETS: Final = (AUTH_TOKEN, USER_ID, "proxy-password")

REASONS: Final = {
    "hang": Reason.TIMEOUT,
    "slow": Reason.TIMEOUT,
    "drip": Reason.TIMEOUT,
    "reset": Reason.CONNECTION,
    "cut": Reason.CONNECTION,
    "bad gateway": Reason.PROXY,
    "unavailable": Reason.PROXY,
    "gateway timeout": Reason.PROXY,
    "firewall's 401": Reason.PROXY,
    "firewall's 403": Reason.PROXY,
    "start page": Reason.NOT_FOUND,
    "missing": Reason.NOT_FOUND,
    "login redirect": Reason.REDIRECTED,
    "internal server error": Reason.SERVER,
    "database down": Reason.SERVER,
    "refused permission": Reason.FORBIDDEN,
    "old refused list": Reason.FORBIDDEN,
    "old refused progress": Reason.FORBIDDEN,
    "rate limited": Reason.RATE_LIMITED,
    "padded": Reason.TOO_LARGE,
    "gzip bomb": Reason.TOO_LARGE,
    "empty": Reason.INVALID,
    "no JSON": Reason.INVALID,
    "no UTF-8": Reason.INVALID,
    "a number": Reason.INVALID,
    "null": Reason.INVALID,
    "text": Reason.INVALID,
    "unsuccessful": Reason.INVALID,
    "numbers for objects": Reason.INVALID,
    "list of numbers": Reason.INVALID,
    "not a number": Reason.INVALID,
    "nested": Reason.INVALID,
    "no content": Reason.INVALID,
}


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Everything that any library logs is caught; `ask` looks into it."""
    caplog.set_level(logging.DEBUG)


async def ask(
    url: str,
    api: Api = Api.STATUS,
    *,
    patience: float = LONG,
    max_bytes: int = MEBIBYTE,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    proxy_url: str | None = None,
) -> Result:
    """One call of a session of its own; fails if a secret shows itself."""
    access = Access(
        url=url, timeout=patience, max_bytes=max_bytes, tls=tls, server_name=server_name, proxy_url=proxy_url
    )
    async with open_session(Resolver()) as session:
        result = await Client(session, access, WallClock().now).ask(api, CREDENTIALS)
    assert not [secret for secret in SECRETS if secret in f"{result!r} {access!r} {CREDENTIALS!r}"]
    return result


def reason(result: Result) -> Reason | None:
    """Why the call failed, `None` where it did not."""
    return result.reason if isinstance(result, Failure) else None


def spoilt(name: str) -> Story:
    """A server whose every answer has this fault."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.fault(FAULTS[name])
        stage.wait(3600)

    return Story(tell)


@asynccontextmanager
async def listening(
    serve: Callable[[StreamReader, StreamWriter], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server whose connections `serve` handles, and which are all gone at its end."""
    writers: list[StreamWriter] = []

    async def kept(reader: StreamReader, writer: StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    async with await asyncio.start_server(kept, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def speaking(
    speak: Callable[[bytes, StreamWriter], object], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The URL of a server that lets `speak` write its answer to each request, and then closes the connection."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            speak(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        writer.close()

    async with listening(serve, tls=tls) as port:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"


def saying(raw: bytes) -> Callable[[bytes, StreamWriter], object]:
    """The same bytes to everybody."""
    return lambda request, writer: writer.write(raw)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A response with these headers."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_every_fault_of_the_simulator_has_a_reason() -> None:
    """The table names them all."""
    assert set(REASONS) == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_has_its_reason(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """And no exception, no secret, no line in the log."""
    async with SimulatedServer(spoilt(name)) as server:
        patience = PATIENCE if REASONS[name] is Reason.TIMEOUT else LONG
        result = await ask(server.base_url, Api.LIST, patience=patience)
    assert reason(result) is REASONS[name]
    assert isinstance(result, Failure)
    assert "\n" not in result.detail
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    assert AUTH_TOKEN not in caplog.text


async def test_each_endpoint_is_asked_by_its_path_and_with_the_credentials_alone() -> None:
    """Below the base URL's own path; no cookie, no body, no bearer."""
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
    """As basic authentication, beside Rocket.Chat's own headers."""
    requests: list[bytes] = []

    def speak(request: bytes, writer: StreamWriter) -> None:
        requests.append(request)
        writer.write(http(GOOD))

    async with speaking(speak) as url:
        result = await ask(url.replace("://", "://gate:proxy-password@"))
    assert isinstance(result, Success)
    assert b"Basic " + b64encode(b"gate:proxy-password") in requests[0]


async def test_no_redirect_is_followed() -> None:
    """The token would go along."""
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
    """Its size is that of what it holds."""
    async with speaking(saying(http(compress(GOOD), f"Content-Encoding: {encoding}"))) as url:
        result = await ask(url)
    assert isinstance(result, Success)
    assert isinstance(result.answer, StatusAnswer)
    assert result.exchange.size == len(GOOD)


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("gzip", GOOD),
        ("gzip", gzip.compress(GOOD)[:-9]),
        ("gzip", gzip.compress(GOOD) + b"trailing"),
        ("br", GOOD),
        ("gzip, gzip", gzip.compress(gzip.compress(GOOD))),
    ],
    ids=["not gzip", "cut", "trailing", "brotli", "twice"],
)
async def test_a_body_that_cannot_be_decompressed_is_invalid(encoding: str, raw: bytes) -> None:
    """Not gzip, cut, with something behind it, or in an encoding that was not asked for."""
    async with speaking(saying(http(raw, f"Content-Encoding: {encoding}"))) as url:
        assert reason(await ask(url)) is Reason.INVALID


async def test_what_follows_a_compressed_body_is_not_hoarded() -> None:
    """A gzip stream that ends at once, with megabytes behind it, is bounded like any other body."""
    raw = gzip.compress(GOOD) + bytes(8 * MEBIBYTE)
    async with speaking(saying(http(raw, "Content-Encoding: gzip"))) as url:
        assert reason(await ask(url)) in (Reason.INVALID, Reason.TOO_LARGE)


@pytest.mark.parametrize(("size", "expected"), [(1024, None), (1025, Reason.TOO_LARGE)])
@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_may_be_as_large_as_allowed(size: int, expected: Reason | None, *, compressed: bool) -> None:
    """To the byte, after decompression."""
    body = GOOD.ljust(size)
    raw = http(gzip.compress(body), "Content-Encoding: gzip") if compressed else http(body)
    async with speaking(saying(raw)) as url:
        assert reason(await ask(url, max_bytes=1024)) is expected


async def test_an_endless_body_ends_at_the_limit() -> None:
    """Also where its length was never told."""

    def speak(request: bytes, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65536 + b"\r\n")
        for _ in range(64):
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")

    async with speaking(speak) as url:
        assert reason(await ask(url, max_bytes=65536)) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.INVALID),
        (b"\x15\x03\x01\x00\x02\x02\x46", Reason.INVALID),
        (bytes(4096), Reason.INVALID),
        (b"HTTP/1.1 two hundred\r\n\r\n", Reason.INVALID),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", Reason.INVALID),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", Reason.INVALID),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Reason.INVALID),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Reason.INVALID),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Reason.CONNECTION),
        (b"", Reason.CONNECTION),
    ],
    ids=["ssh", "tls alert", "zeros", "words", "long header", "many headers", "negative", "chunks", "cut", "nothing"],
)
async def test_what_is_no_http_is_a_failure(raw: bytes, expected: Reason) -> None:
    """Whatever it is: garbage is invalid, and what breaks off is a connection that was cut."""
    async with speaking(saying(raw)) as url:
        assert reason(await ask(url)) is expected


@pytest.mark.parametrize("pause", [0.0, 0.001], ids=["a flood", "a brook"])
async def test_answers_that_are_none_do_not_go_on_for_ever(pause: float) -> None:
    """100 Continue, again and again: the connection is cut long before the timeout, and nothing is hoarded."""
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


async def test_a_few_interim_answers_are_waited_through() -> None:
    """A proxy in front may send hints; and the next answer on the connection may have its own again."""
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 5 + http(GOOD)

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, open_session() as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(session, Access(url=url, timeout=LONG, max_bytes=MEBIBYTE), WallClock().now)
        assert [reason(await client.ask(Api.STATUS, CREDENTIALS)) for _ in range(3)] == [None] * 3


@pytest.mark.looptime
async def test_a_queue_of_ours_is_no_slowness_of_the_server_s() -> None:
    """Whoever waits for others' places has the whole timeout once there is one, and none of it in the books."""

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


async def test_odd_cookies_leave_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """They may be somebody's session."""
    async with speaking(saying(http(GOOD, "Set-Cookie: a b=proxy-password; Path=/", "Set-Cookie: \x01=1"))) as url:
        await ask(url)
    assert "proxy-password" not in caplog.text


async def test_a_port_where_nothing_listens_is_a_connection_refused() -> None:
    """The line names host and port."""
    async with speaking(saying(b"")) as url:
        pass
    result = await ask(url)
    assert isinstance(result, Failure)
    assert result.reason is Reason.CONNECTION
    assert result.exchange.code is None
    assert "connection refused" in result.detail
    assert url.rpartition(":")[2] in result.detail


async def test_a_host_without_an_address_does_not_resolve() -> None:
    """The line names it."""
    result = await ask("http://chat.invalid")
    assert isinstance(result, Failure)
    assert (result.reason, result.detail) == (Reason.CONNECTION, "the host chat.invalid does not resolve")


async def test_the_exchange_tells_size_budget_and_skew() -> None:
    """From the answer's headers and body; the clock is ahead by what its date says."""

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


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates here."""
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts this authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certified(authority: trustme.CA, name: str, *, asks: bool = False) -> ssl.SSLContext:
    """A server's context with a certificate for this name; one that asks wants the client's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    if asks:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def asked_over_tls(
    served: ssl.SSLContext, tls: ssl.SSLContext | None, *, server_name: str | None = None
) -> Result:
    """One call to a server with this context."""
    async with speaking(saying(http(GOOD)), tls=served) as url:
        return await ask(url, tls=tls, server_name=server_name)


async def test_a_certificate_that_is_trusted_lets_in(authority: trustme.CA) -> None:
    """For the URL's host, or for the name that was configured."""
    trusts = trusting(authority)
    assert reason(await asked_over_tls(certified(authority, "127.0.0.1"), trusts)) is None
    named = await asked_over_tls(certified(authority, "chat.internal"), trusts, server_name="chat.internal")
    assert reason(named) is None


async def test_a_certificate_that_is_not_trusted_is_a_failure_of_tls(authority: trustme.CA) -> None:
    """An authority that nobody knows, and a name of somebody else."""
    unknown = await asked_over_tls(certified(authority, "127.0.0.1"), None)
    other = await asked_over_tls(certified(authority, "other.internal"), trusting(authority))
    for result in (unknown, other):
        assert isinstance(result, Failure)
        assert result.reason is Reason.TLS
        assert result.detail != "TLS failed: no connection"


async def test_a_client_s_certificate_is_shown_where_it_is_asked_for(authority: trustme.CA) -> None:
    """It is in the context."""
    shows = trusting(authority)
    authority.issue_cert("exporter@example.org").configure_cert(shows)
    assert reason(await asked_over_tls(certified(authority, "127.0.0.1", asks=True), shows)) is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_missing_certificate_is_a_failure_of_tls(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    """However late the server says so: since TLS 1.3 the client has then long begun to ask."""
    served = certified(authority, "127.0.0.1", asks=True)
    served.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listener, served))
        result = await ask(f"https://127.0.0.1:{listener.getsockname()[1]}", tls=trusting(authority))
        listener.shutdown(socket.SHUT_RDWR)
        await refusing
    assert isinstance(result, Failure)
    assert result.reason is Reason.TLS


def refuse(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Shakes hands as OpenSSL does, which tells the client why it will not; asyncio's own servers just hang up."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as speaking_tls:
            with suppress(OSError):
                speaking_tls.do_handshake()
            # A close with something unread would be a reset, which overtakes what was said before.
            speaking_tls.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while speaking_tls.recv(4096):
                    pass


async def test_a_server_without_tls_is_a_failure_of_tls(authority: trustme.CA) -> None:
    """`https` for a server that speaks `http`."""
    async with SimulatedServer(spoilt("empty")) as server:
        url = server.base_url.replace("http:", "https:")
        assert reason(await ask(url, tls=trusting(authority))) is Reason.TLS


async def test_connections_of_other_names_are_not_shared(authority: trustme.CA) -> None:
    """Two workspaces behind one address: what one of them was let in with is no use to the other."""
    context, server, results = trusting(authority), SimulatedServer(spoilt("empty")), []
    url = await server.start(tls=certified(authority, "chat.internal"))
    async with open_session() as session:
        for name in ("chat.internal", "other.internal"):
            access = Access(url=url, timeout=LONG, max_bytes=MEBIBYTE, tls=context, server_name=name)
            results.append(await Client(session, access, WallClock().now).ask(Api.STATUS, CREDENTIALS))
    await server.stop()
    assert [reason(result) for result in results] == [Reason.INVALID, Reason.TLS]


@asynccontextmanager
async def forwarding(refusal: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    """A forward proxy that wants a password: its URL, and the heads of the requests that it was sent."""
    heads: list[bytes] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            if refusal:
                writer.write(refusal)
                await writer.drain()
            else:
                await relay(head, reader, writer)
        writer.close()

    async with listening(serve) as port:
        yield f"http://gate:proxy-password@127.0.0.1:{port}", heads


async def relay(head: bytes, reader: StreamReader, writer: StreamWriter) -> None:
    """Connects to where the request is for, and passes bytes both ways until one side ends."""
    method, target, _ = head.split(b" ", 2)
    place = target if method == b"CONNECT" else target.split(b"/")[2]
    host, _, port = place.decode().rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(host, int(port))
    if method == b"CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        far_writer.write(head.replace(b"http://" + place, b"", 1))

    async def pump(source: StreamReader, sink: StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()

    pumps = [asyncio.create_task(pump(reader, far_writer)), asyncio.create_task(pump(far_reader, writer))]
    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    for each in pumps:
        each.cancel()
    far_writer.close()


async def test_a_forward_proxy_is_gone_through(authority: trustme.CA) -> None:
    """By its own password, for http as for https, whose tunnel sees no token."""
    async with forwarding() as (proxy_url, heads):
        async with speaking(saying(http(GOOD))) as url:
            assert reason(await ask(url, proxy_url=proxy_url)) is None
        async with speaking(saying(http(GOOD)), tls=certified(authority, "127.0.0.1")) as url:
            assert reason(await ask(url, proxy_url=proxy_url, tls=trusting(authority))) is None
    assert [head.split(b" ")[0] for head in heads] == [b"GET", b"CONNECT"]
    assert all(b64encode(b"gate:proxy-password") in head for head in heads)
    assert AUTH_TOKEN.encode() not in heads[1]


async def test_a_forward_proxy_that_refuses_is_the_proxy_s_failure(authority: trustme.CA) -> None:
    """Nobody should go and look at Rocket.Chat's permissions."""
    refusal = http(b"<html></html>", "Content-Type: text/html", status="403 Forbidden")
    async with forwarding(refusal) as (proxy_url, _):
        assert reason(await ask("http://127.0.0.1:9", proxy_url=proxy_url)) is Reason.PROXY
        assert reason(await ask("https://127.0.0.1:9", proxy_url=proxy_url)) is Reason.PROXY


async def test_a_forward_proxy_that_is_gone_is_a_lost_connection() -> None:
    """The line names it, without its password."""
    async with forwarding() as (proxy_url, _):
        pass
    result = await ask("http://127.0.0.1:9", proxy_url=proxy_url)
    assert isinstance(result, Failure)
    assert result.reason is Reason.CONNECTION
    assert proxy_url.rpartition(":")[2] in result.detail


async def test_a_good_answer_is_read_from_every_endpoint() -> None:
    """The simulated server knows all of them."""

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
    """That is how polls under way end with the exporter."""
    async with SimulatedServer(spoilt("hang")) as server:
        call = asyncio.create_task(ask(server.base_url))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
