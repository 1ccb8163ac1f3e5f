"""The server answers requests, shows nothing of the program, and stops quickly."""

import asyncio
import errno
import gzip
import resource
import socket
import struct
import subprocess
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from rc_import_exporter import descriptors
from rc_import_exporter.core.domain import Target
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.web import answers
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application
from tests.support.pictures import NOW, finished, four_workspaces, picture, running

HANGING: Final = 20.0
"""Seconds after which a test fails because the server hangs. Nothing is measured by it."""
LATER: Final = NOW + 5.0
OPENMETRICS: Final = "application/openmetrics-text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer. The body is as sent, not decoded."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exporter:
    """A server on a loopback port. A test may replace its snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.port = 0
        self.lost: type[ConnectionError] = ConnectionError
        self._client = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=HANGING))
        publisher = Publisher(lambda: self.snapshot, lambda: LATER, Exposition(process=False))
        extra = [
            web.get("/faulty", faulty),
            web.get("/endless", endless),
            web.get("/large", large),
            web.get("/lost", self._lose),
        ]
        self._server = Server(create_application([*publisher.routes, *extra]))

    async def _lose(self, request: web.Request) -> web.Response:
        raise self.lost

    async def start(self) -> None:
        """Listen on a free port."""
        self.port = await self._server.start("127.0.0.1", 0)

    async def stop(self) -> None:
        """Stop the server. A second call does nothing."""
        async with asyncio.timeout(HANGING):
            await self._server.stop()

    async def close(self) -> None:
        """Stop the server and the client."""
        await self._client.close()
        await self.stop()

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Send a request. An underscore in a header's name becomes a hyphen."""
        sent = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._client.request(method, f"http://127.0.0.1:{self.port}{path}", headers=sent) as response:
            return Answer(status=response.status, headers=dict(response.headers), body=await response.read())

    async def send(self, request: bytes) -> bytes:
        """Send bytes, and return everything that the server sends until it closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), HANGING)
        writer.close()
        return answer


async def faulty(request: web.Request) -> web.Response:
    """A handler with a fault."""
    raise ZeroDivisionError("the inside of the program")


async def endless(request: web.Request) -> web.Response:
    """A handler that never returns."""
    await asyncio.Event().wait()
    return await faulty(request)


LARGE: Final = bytes(64 * 1024 * 1024)


async def large(request: web.Request) -> web.StreamResponse:
    """An answer that is larger than the buffers of a socket."""
    return answers.Sliced([LARGE], {})


@asynccontextmanager
async def exporting(snapshot: Snapshot) -> AsyncIterator[Exporter]:
    """A server that shows this snapshot until the block ends."""
    exporter = Exporter(snapshot)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.close()


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    """A server that shows four workspaces."""
    async with exporting(four_workspaces()) as started:
        yield started


def page(form: Format = Format.TEXT, *names: str) -> bytes:
    """The page that the server should send."""
    exposition = Exposition(process=False)
    if names:
        return exposition.selection(four_workspaces(), LATER, names, form)
    return exposition.page(four_workspaces(), LATER, form)


def unpolled(name: str) -> Record:
    """A workspace before its first poll."""
    return Record(target=Target(name=name, url="https://x"))


@pytest.mark.parametrize(
    ("accept", "form"),
    [("*/*", Format.TEXT), (OPENMETRICS, Format.OPENMETRICS), ("text/plain;version=nonsense;q=x", Format.TEXT)],
)
async def test_metrics_come_in_the_format_that_is_asked_for(exporter: Exporter, accept: str, form: Format) -> None:
    """The Content-Type says which, and shared caches are told what it depends on."""
    answer = await exporter.get("/metrics", Accept=accept)
    assert (answer.status, answer.body) == (200, page(form))
    assert answer.headers["Content-Type"] == form.value
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert "Content-Encoding" not in answer.headers


async def test_metrics_are_compressed_for_who_asks(exporter: Exporter) -> None:
    """One gzip member, with the length of what is sent."""
    answer = await exporter.get("/metrics", Accept_Encoding="gzip, deflate, br")
    decoder = zlib.decompressobj(31)
    assert (decoder.decompress(answer.body), decoder.unused_data) == (page(), b"")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Length"] == str(len(answer.body))


async def test_metrics_are_not_compressed_for_who_refuses(exporter: Exporter) -> None:
    """A client that does not name gzip may not know it."""
    refused = await exporter.get("/metrics", Accept_Encoding="gzip;q=0, *")
    silent = await exporter.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert refused.body == silent.partition(b"\r\n\r\n")[2] == page()


async def test_headers_sent_in_several_lines_count_as_one(exporter: Exporter) -> None:
    """RFC 9110 says so for lists."""
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.1\r\nAccept: %s\r\nConnection: close\r\n\r\n"
    head, _, body = (await exporter.send(request % OPENMETRICS.encode())).partition(b"\r\n\r\n")
    assert OPENMETRICS.encode() in head
    assert body == page(Format.OPENMETRICS)


async def test_bytes_that_are_no_text_in_a_header_do_no_harm(exporter: Exporter) -> None:
    """Anyone can send them, and they must not end in a 500."""
    answer = await exporter.send(
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: \xff,*/*\r\nAccept-Encoding: \x80\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(page())


@pytest.mark.program("curl")
async def test_curl_reads_the_compressed_page_whole(exporter: Exporter) -> None:
    """Its decoder stops at the end of the first gzip member."""
    command = ["curl", "--silent", "--compressed", f"http://127.0.0.1:{exporter.port}/metrics"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=HANGING)
    assert done.stdout == page()


@pytest.mark.parametrize("path", ["/metrics", "/metrics?workspace=acme", "/-/healthy", "/-/ready"])
async def test_head_tells_what_get_would_send(exporter: Exporter, path: str) -> None:
    """The same status and headers without the body."""
    got, told = await exporter.get(path), await exporter.get(path, "HEAD")
    assert (told.status, told.body) == (200, b"")
    assert {**told.headers, "Date": ""} == {**got.headers, "Date": ""}


async def test_metrics_can_be_asked_for_some_workspaces(exporter: Exporter) -> None:
    """One scrape job per workspace asks so. Parameters that Prometheus adds are ignored."""
    answer = await exporter.get("/metrics?workspace=beta&x=1&workspace=new")
    packed = await exporter.get("/metrics?workspace=beta&workspace=new", Accept_Encoding="gzip")
    assert answer.body == gzip.decompress(packed.body) == page(Format.TEXT, "beta", "new")
    assert (await exporter.get("/metrics?x=1")).body == page()


@pytest.mark.parametrize(
    "query", ["workspace=nobody", "workspace=acme&workspace=nobody", "workspace=", "workspace=%ff%0d%0a"]
)
async def test_an_unknown_workspace_is_not_found(exporter: Exporter, query: str) -> None:
    """A misspelt name in a scrape job must show as an error, not as an empty page."""
    answer = await exporter.get(f"/metrics?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert answer.body.startswith(b"no workspace is called ")
    assert answer.body.count(b"\n") == 1


async def test_the_page_follows_the_snapshot(exporter: Exporter) -> None:
    """The next request after a change has the new data."""
    await exporter.get("/metrics")
    exporter.snapshot = picture([finished("beta")])
    changed = await exporter.get("/metrics")
    assert changed.body == Exposition(process=False).page(picture([finished("beta")]), LATER)


async def test_ready_waits_for_every_workspace_of_the_start() -> None:
    """The answer is 503 with the missing names, then 200."""
    async with exporting(picture([running("acme"), unpolled("beta")])) as exporter:
        before = await exporter.get("/-/ready")
        assert (before.status, before.body) == (503, b"not ready: 1 not polled yet: beta\n")
        exporter.snapshot = four_workspaces()
        assert (await exporter.get("/-/ready")).status == 200


async def test_a_failed_first_poll_makes_ready_as_well() -> None:
    """A workspace that is down must not keep the exporter out of service."""
    async with exporting(picture([unpolled("beta")])) as exporter:
        exporter.snapshot = picture([replace(unpolled("beta"), polls=1)])
        assert (await exporter.get("/-/ready")).status == 200


async def test_ready_stays_ready_when_a_workspace_is_added() -> None:
    """A reload must not take the exporter out of service."""
    async with exporting(picture([running("acme"), unpolled("beta")])) as exporter:
        exporter.snapshot = picture([running("acme")])
        assert (await exporter.get("/-/ready")).status == 200
        exporter.snapshot = picture([unpolled("acme"), unpolled("beta"), unpolled("cool")])
        assert (await exporter.get("/-/ready")).status == 200


async def test_many_unpolled_workspaces_are_counted_and_a_few_named() -> None:
    """Kubernetes shows the line in an event."""
    async with exporting(picture(unpolled(f"w{index}") for index in range(300))) as exporter:
        body = (await exporter.get("/-/ready")).body.decode()
    assert body.startswith("not ready: 300 not polled yet: w0, w1, ")
    assert body.endswith(", w9, …\n")


async def test_healthy_says_so_before_anything_was_polled() -> None:
    """Otherwise Kubernetes would restart an exporter that is only waiting."""
    async with exporting(picture([unpolled("beta")])) as exporter:
        assert (await exporter.get("/-/healthy")).status == 200


@pytest.mark.parametrize("path", ["/metrics", "/metrics?workspace=x", "/-/healthy", "/-/ready", "/nothing", "/faulty"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_answer_carries_the_security_headers(exporter: Exporter, path: str, method: str) -> None:
    """Errors as well. None shows a version."""
    answer = await exporter.get(path, method)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "rc-import-exporter"


@pytest.mark.parametrize(
    ("method", "path", "expect", "refusal"),
    [
        ("POST", "/metrics", "", b"405 Method Not Allowed\n"),
        ("GET", "/metrics/", "", b"404 Not Found\n"),
        ("GET", "/etc/passwd", "", b"404 Not Found\n"),
        ("GET", "/metrics", "the impossible", b"417 Expectation Failed\n"),
    ],
)
async def test_what_is_not_served_is_refused(
    exporter: Exporter, method: str, path: str, expect: str, refusal: bytes
) -> None:
    """The answer is one line. If the method is wrong, it lists the allowed methods."""
    answer = await exporter.get(path, method, Expect=expect)
    assert (f"{answer.status}".encode(), answer.body) == (refusal[:3], refusal)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers.get("Allow") == ("GET,HEAD" if answer.status == 405 else None)


async def test_a_fault_in_a_handler_shows_nothing_of_the_program(exporter: Exporter) -> None:
    """By itself aiohttp answers in HTML to a client that accepts it. The next request is answered."""
    answer = await exporter.get("/faulty", Accept="text/html")
    assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
    assert answer.headers["Connection"] == "close"
    assert (await exporter.get("/metrics")).status == 200


async def test_a_fault_is_logged_with_its_cause(exporter: Exporter, capsys: pytest.CaptureFixture[str]) -> None:
    """Operators see what clients do not."""
    await exporter.get("/faulty")
    logged = "".join(capsys.readouterr())
    assert "a fault of the exporter itself" in logged
    assert "ZeroDivisionError" in logged


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /metrics HTTP/9.x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    ],
    ids=["tls", "version", "long path", "long header", "length"],
)
async def test_what_is_no_request_is_refused_in_a_line(exporter: Exporter, request_bytes: bytes) -> None:
    """The answer must not quote the request or show a version, and the server goes on."""
    head, _, body = (await exporter.send(request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400 Bad Request\r\n", b"HTTP/1.1 400 Bad Request\r\n"))
    assert b"\r\nServer: rc-import-exporter" in head
    assert b"\r\nX-Content-Type-Options: nosniff" in head
    assert body == b"400 Bad Request\n"
    assert (await exporter.get("/metrics")).status == 200


async def test_a_bad_request_is_not_worth_an_error_in_the_log(
    exporter: Exporter, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise anyone who can reach the port could fill the disk."""
    await exporter.send(b"nonsense\r\n\r\n")
    assert capsys.readouterr() == ("", "")


async def test_a_client_that_leaves_is_not_worth_an_error_in_the_log(
    exporter: Exporter, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scraper that times out is normal. This one leaves before `100 Continue`."""
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", exporter.port)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert (await exporter.get("/metrics")).status == 200
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [ConnectionResetError, BrokenPipeError])
async def test_a_lost_connection_in_a_handler_is_no_fault_of_ours(
    exporter: Exporter, capsys: pytest.CaptureFixture[str], error: type[ConnectionError]
) -> None:
    """It is the client's doing: no answer and no log line."""
    exporter.lost = error
    assert await exporter.send(b"GET /lost HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert capsys.readouterr() == ("", "")


@pytest.mark.looptime
@pytest.mark.parametrize("begun", [b"", b"GET /metr", b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
async def test_a_request_s_head_has_a_deadline(exporter: Exporter, begun: bytes) -> None:
    """A client that sends a byte each second would hold its connection forever. It may be the second request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port)
    writer.write(begun)
    received = asyncio.create_task(reader.read())
    for _ in range(20):
        await asyncio.sleep(1)
        if received.done():
            break
        writer.write(b"a" if begun else b"")
    assert received.done()
    with suppress(ConnectionError):
        assert (await received).count(b"HTTP/1.1") == (1 if b"healthy" in begun else 0)
    writer.close()


@pytest.mark.looptime
async def test_a_connection_may_be_silent_between_two_requests(exporter: Exporter) -> None:
    """Prometheus keeps its connection between scrapes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port)
    for _ in range(3):
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"healthy\n")).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(300)
    writer.close()


@pytest.mark.looptime
async def test_an_answer_that_is_not_read_is_cut(exporter: Exporter) -> None:
    """It would hold its memory forever."""
    reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port, limit=1024)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(100)
    await asyncio.sleep(100)
    read = 0
    with suppress(ConnectionError):
        while piece := await reader.read(1024 * 1024):
            read += len(piece)
    assert read < 64 * 1024 * 1024
    writer.close()


async def test_an_idle_connection_makes_room_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that hold connections open must not keep Prometheus out. Busy connections stay."""
    monkeypatch.setattr(descriptors, "share", lambda: 4)
    async with exporting(four_workspaces()) as exporter:
        served = await asyncio.open_connection("127.0.0.1", exporter.port)
        served[1].write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await served[0].readexactly(100)
        waiting = []
        for _ in range(12):
            waiting.append(await asyncio.open_connection("127.0.0.1", exporter.port))
            waiting[-1][1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
        assert (await exporter.get("/metrics")).body == page()
        ended = [asyncio.create_task(reader.read()) for reader, _ in waiting]
        await asyncio.wait(ended[:10], timeout=HANGING)
        assert [task.done() for task in ended[:10]] == [True] * 10
        assert len(await served[0].readexactly(1024 * 1024)) == 1024 * 1024
        for _, writer in [served, *waiting]:
            writer.close()
    await asyncio.gather(*ended, return_exceptions=True)


async def test_a_lack_of_file_descriptors_is_logged_once(
    exporter: Exporter, capsys: pytest.CaptureFixture[str]
) -> None:
    """By itself asyncio logs hundreds of tracebacks. The connections are accepted later."""
    clients = [socket.socket() for _ in range(20)]
    for client in clients:
        client.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (clients[0].fileno(), hard))
    try:
        for client in clients:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", exporter.port))
        logged = ""
        while not logged:
            await asyncio.sleep(0.01)
            logged = "".join(capsys.readouterr())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert logged.count("\n") == logged.count("no file descriptor is left") == 1
    assert (await exporter.get("/metrics")).status == 200
    for client in clients:
        client.close()


async def test_other_errors_of_the_event_loop_are_logged_as_before(
    exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    """They go to the handler that was there before."""
    asyncio.get_running_loop().call_exception_handler({"message": "something else"})
    assert "something else" in caplog.text


async def test_a_taken_port_is_reported_in_one_line(exporter: Exporter) -> None:
    """It is the most frequent mistake at the first start. The line has the address and the system's reason."""
    second = Server(create_application([]))
    with pytest.raises(OSError, match="cannot listen") as caught:
        await second.start("127.0.0.1", exporter.port)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == f"cannot listen on 127.0.0.1 port {exporter.port}: Address already in use"
    await second.stop()


@pytest.mark.parametrize("host", ["::", ""])
async def test_every_address_is_every_address_of_both_families(host: str) -> None:
    """Go's exporters listen like this on `[::]:PORT`. asyncio would refuse IPv4 there."""
    server = Server(create_application([web.get("/", large)]))
    port = await server.start(host, 0)
    for client in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(client, port)
        writer.close()
    await server.stop()


async def test_a_taken_port_of_every_address_is_reported_in_one_line(exporter: Exporter) -> None:
    second = Server(create_application([]))
    with pytest.raises(OSError, match="cannot listen") as caught:
        await second.start("::", exporter.port)
    assert caught.value.strerror == f"cannot listen on :: port {exporter.port}: Address already in use"
    await second.stop()


async def test_a_host_without_an_address_is_reported_in_one_line() -> None:
    """The resolver's reason says what is wrong with the name."""
    server = Server(create_application([]))
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid port 0: \S"):
        await server.start("no.such.host.invalid", 0)


async def test_stopping_does_not_wait_for_idle_connections(exporter: Exporter) -> None:
    """A restart must be quick. They sent a whole request before, half of one, or nothing."""
    streams = [await asyncio.open_connection("127.0.0.1", exporter.port) for _ in range(3)]
    streams[0][1].write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    streams[1][1].write(b"GET /-/healthy HTTP/1.1\r\nHo")
    await streams[0][0].readuntil(b"healthy\n")
    await exporter.stop()
    for reader, writer in streams:
        assert await asyncio.wait_for(reader.read(), HANGING) == b""
        writer.close()


async def test_stopping_does_not_wait_for_slow_clients(exporter: Exporter) -> None:
    """One does not read its answer, and the answer of the other never comes."""
    streams = [await asyncio.open_connection("127.0.0.1", exporter.port) for _ in range(2)]
    for (_, writer), path in zip(streams, (b"/large", b"/endless"), strict=True):
        writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    await streams[0][0].readexactly(100)
    await exporter.stop()
    for _, writer in streams:
        writer.close()


async def test_a_stopped_server_has_left_its_port(exporter: Exporter) -> None:
    """A new process can listen on it at once."""
    await exporter.stop()
    second = Server(create_application([]))
    assert await second.start("127.0.0.1", exporter.port) == exporter.port
    await second.stop()


async def test_requests_at_once_get_their_own_format_and_encoding(exporter: Exporter) -> None:
    """The pages are cached: no client may get what another one asked for."""
    wanted = [(form, encoding) for form in Format for encoding in Encoding] * 25
    received = await asyncio.gather(
        *(exporter.get("/metrics", Accept=form.value, Accept_Encoding=encoding) for form, encoding in wanted)
    )
    for (form, encoding), answer in zip(wanted, received, strict=True):
        body = gzip.decompress(answer.body) if encoding is Encoding.GZIP else answer.body
        assert body == page(form)
