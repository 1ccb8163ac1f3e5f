"""TLS with every kind of trust, and forward proxies."""

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import trustme

from rc_import_exporter.core.domain import Api, Failure, Reason, Result
from rc_import_exporter.rocketchat.client import Access, Client, open_session
from rc_import_exporter.simulator.faults import MEBIBYTE
from rc_import_exporter.simulator.server import AUTH_TOKEN, SimulatedServer, WallClock
from tests.support.peers import (
    CREDENTIALS,
    GOOD,
    LONG,
    ask,
    http,
    listening,
    reason,
    saying,
    speaking,
    spoilt,
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority that signs the certificates of these tests."""
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts this authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certified(authority: trustme.CA, name: str, *, asks: bool = False) -> ssl.SSLContext:
    """A server's context with a certificate for this name. If `asks` is set, it demands one from the client."""
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
    """Behind a load balancer the certificate can be for another name than the URL's."""
    trusts = trusting(authority)
    assert reason(await asked_over_tls(certified(authority, "127.0.0.1"), trusts)) is None
    named = await asked_over_tls(certified(authority, "chat.internal"), trusts, server_name="chat.internal")
    assert reason(named) is None


async def test_a_certificate_that_is_not_trusted_is_a_failure_of_tls(authority: trustme.CA) -> None:
    """A stranger must not get the token."""
    unknown = await asked_over_tls(certified(authority, "127.0.0.1"), None)
    other = await asked_over_tls(certified(authority, "other.internal"), trusting(authority))
    for result in (unknown, other):
        assert isinstance(result, Failure)
        assert result.reason is Reason.TLS
        assert result.detail != "TLS failed: no connection"


async def test_a_client_s_certificate_is_shown_where_it_is_asked_for(authority: trustme.CA) -> None:
    """Some servers demand a certificate from the client."""
    shows = trusting(authority)
    authority.issue_cert("exporter@example.org").configure_cert(shows)
    assert reason(await asked_over_tls(certified(authority, "127.0.0.1", asks=True), shows)) is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", [None, "of a stranger"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_missing_or_refused_certificate_is_a_failure_of_tls(
    authority: trustme.CA,
    version: ssl.TLSVersion,
    shown: str | None,
    late: bool,  # noqa: FBT001
) -> None:
    """With TLS 1.3 the refusal comes after the handshake: at the first read or, with a late request, before it."""
    served, shows = certified(authority, "127.0.0.1", asks=True), trusting(authority)
    served.maximum_version = version
    if shown is not None:
        trustme.CA().issue_cert("exporter@example.org").configure_cert(shows)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listener, served))
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        access = Access(url=url, timeout=LONG, max_bytes=MEBIBYTE, tls=lambda: shows)
        async with open_session() as session:
            if late:
                session.trace_configs.append(delaying())
            result = await Client(session, access, WallClock().now).ask(Api.STATUS, CREDENTIALS)
        listener.shutdown(socket.SHUT_RDWR)
        await refusing
    assert isinstance(result, Failure)
    assert result.reason is Reason.TLS


def delaying() -> aiohttp.TraceConfig:
    """Lets a tenth of a second pass between the handshake and the request."""

    async def delay(*_: object) -> None:
        await asyncio.sleep(0.1)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(delay)
    trace.freeze()
    return trace


def refuse(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Does the handshake like OpenSSL, which tells the client the reason. asyncio's servers only hang up."""
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


async def test_connections_of_other_names_are_not_shared(authority: trustme.CA) -> None:
    """Two workspaces can share an address; one's connection must not carry the other's requests."""
    context, server, results = trusting(authority), SimulatedServer(spoilt("empty")), []
    url = await server.start(tls=certified(authority, "chat.internal"))
    async with open_session() as session:
        for name in ("chat.internal", "other.internal"):
            access = Access(url=url, timeout=LONG, max_bytes=MEBIBYTE, tls=lambda: context, server_name=name)
            results.append(await Client(session, access, WallClock().now).ask(Api.STATUS, CREDENTIALS))
    await server.stop()
    assert [reason(result) for result in results] == [Reason.INVALID, Reason.TLS]


@asynccontextmanager
async def forwarding(refusal: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    """A forward proxy with a password: its URL, and the headers of the requests that it got."""
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
    """Connects to the target of the request, and passes bytes both ways until one side ends."""
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
    """The proxy gets its own password, and with https it does not see the token."""
    async with forwarding() as (proxy_url, heads):
        async with speaking(saying(http(GOOD))) as url:
            assert reason(await ask(url, proxy_url=proxy_url)) is None
        async with speaking(saying(http(GOOD)), tls=certified(authority, "127.0.0.1")) as url:
            assert reason(await ask(url, proxy_url=proxy_url, tls=trusting(authority))) is None
    assert [head.split(b" ")[0] for head in heads] == [b"GET", b"CONNECT"]
    assert all(b64encode(b"gate:proxy-password") in head for head in heads)
    assert AUTH_TOKEN.encode() not in heads[1]


async def test_a_forward_proxy_that_is_gone_is_a_lost_connection() -> None:
    """The reader sees which proxy is gone, and no password."""
    async with forwarding() as (proxy_url, _):
        pass
    result = await ask("http://127.0.0.1:9", proxy_url=proxy_url)
    assert isinstance(result, Failure)
    assert result.reason is Reason.CONNECTION
    assert proxy_url.rpartition(":")[2] in result.detail
