"""Faults of TLS, and of proxies, through which TLS goes, too."""

import asyncio
import functools
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import trustme

from tests.hostile.connections import HTML, nothing, reset, silent
from tests.hostile.fault import (
    BODY,
    Converse,
    Fault,
    Options,
    Serve,
    Site,
    connecting,
    converse,
    handle,
    saying,
)
from tests.hostile.symptoms import (
    GONE,
    NO_ENDPOINT,
    NO_HTTP,
    PROXY,
    REDIRECTED,
    SILENT,
    UNTRUSTED,
)
from tests.support.peers import http, listening

ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x46"
"""TLS: the version of the protocol is too old. OpenSSL sends it also to a client that does not begin with TLS."""


@functools.cache
def authority() -> trustme.CA:
    """The authority that the workspace trusts."""
    return trustme.CA()


@functools.cache
def stranger() -> trustme.CA:
    """Another authority."""
    return trustme.CA()


@functools.cache
def certified(
    issuer: trustme.CA, name: str, begins: datetime | None = None, ends: datetime | None = None
) -> ssl.SSLContext:
    """A server's context with a certificate for this name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(name, not_before=begins, not_after=ends).configure_cert(context)
    return context


def encrypted(name: str, issuer: Callable[[], trustme.CA] = authority, *dates: datetime) -> Converse:
    """Answers well over TLS, with a certificate of this name."""

    async def talk(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        context = certified(issuer(), name, *dates)
        async with listening(lambda *streams: handle(site, converse, converse, *streams), tls=context) as port:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    return talk


async def pump(source: StreamReader, sink: StreamWriter) -> None:
    """Passes bytes on until one side ends."""
    with suppress(OSError):
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    sink.close()


well_encrypted: Final = encrypted("127.0.0.1")


def trusting(serve: Serve) -> Serve:
    """The same, and the workspace trusts the authority of these tests."""

    @asynccontextmanager
    async def trusted(site: Site) -> AsyncIterator[Options]:
        authority().cert_pem.write_to_path(str(site.folder / "ca.pem"))
        async with serve(site) as options:
            yield {**options, "tls.ca_file": str(site.folder / "ca.pem")}

    return trusted


def over_tls(misbehave: Converse) -> Serve:
    """A server that handles connections like this, and over TLS once the fault is over."""
    return trusting(connecting(misbehave, scheme="https", well=well_encrypted))


def refusing(*, latest: ssl.TLSVersion) -> Converse:
    """Asks the client for a certificate and refuses it, or misses it, and says so as OpenSSL does."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        context = certified.__wrapped__(authority(), "127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = latest
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(came, goes, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(goes.read())
                came.write(await reader.read(65536) or ALERT)
            except ssl.SSLError:
                break
        writer.write(goes.read())
        writer.write_eof()
        await reader.read()

    return misbehave


def first_said(raw: bytes) -> Converse:
    """Answers the first bytes with these, whatever they are."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(65536)
        writer.write(raw)
        await writer.drain()

    return misbehave


async def closed_in_the_handshake(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)


async def reset_in_the_handshake(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    reset(writer)


LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD: Final = datetime(2090, 1, 1, tzinfo=UTC)
TRY_HTTPS: Final = "try https:// instead of http:// Write `https://` instead of `http://` in `url`."
PLAIN_REFUSED: Final = {
    "nginx": b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
    "Apache": b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    "Go": b"Client sent an HTTP request to an HTTPS server.\n",
}
TLS: Final = (
    Fault(
        name="certificate expired",
        symptom=UNTRUSTED,
        serve=over_tls(encrypted("127.0.0.1", authority, LONG_AGO, LONG_AGO + timedelta(days=9))),
        says="certificate has expired",
    ),
    Fault(
        name="certificate not valid yet",
        symptom=UNTRUSTED,
        serve=over_tls(encrypted("127.0.0.1", authority, FAR_AHEAD, FAR_AHEAD + timedelta(days=9))),
        says="not yet valid",
    ),
    Fault(
        name="certificate for another name",
        symptom=UNTRUSTED,
        serve=over_tls(encrypted("other.internal")),
        says="not valid for '127.0.0.1'",
    ),
    Fault(
        name="certificate of another authority",
        symptom=UNTRUSTED,
        serve=over_tls(encrypted("127.0.0.1", stranger)),
        says="unable to get local issuer certificate",
    ),
    *(
        Fault(
            name=f"client's certificate missing, {latest.name}",
            symptom=UNTRUSTED,
            serve=over_tls(refusing(latest=latest)),
            says="alert",
        )
        for latest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    ),
    Fault(
        name="TLS is too old",
        symptom=UNTRUSTED,
        serve=over_tls(first_said(ALERT)),
        says="alert protocol version",
    ),
    Fault(
        name="https on a port without TLS",
        symptom=UNTRUSTED,
        serve=over_tls(first_said(http(HTML, status="400 Bad Request"))),
        says="try http:// instead of https:// Write `http://` instead of `https://` in `url`",
    ),
    Fault(name="https on a port of SSH", symptom=UNTRUSTED, serve=over_tls(first_said(b"SSH-2.0-OpenSSH_9.2\r\n"))),
    Fault(
        name="closed in the handshake",
        symptom=GONE,
        serve=over_tls(closed_in_the_handshake),
        says="closed the connection during the TLS handshake Check that the port",
    ),
    Fault(name="reset in the handshake", symptom=GONE, serve=over_tls(reset_in_the_handshake)),
    Fault(name="silence in the handshake", symptom=SILENT, serve=over_tls(silent)),
    Fault(name="http on a port with TLS", symptom=UNTRUSTED, serve=saying(ALERT), says=TRY_HTTPS),
    *(
        Fault(
            name=f"http on a port with TLS of {server}",
            symptom=UNTRUSTED,
            serve=saying(http(body, status="400 Bad Request")),
            says=TRY_HTTPS,
        )
        for server, body in PLAIN_REFUSED.items()
    ),
)


def through(serve: Serve, url: str = "http://chat.internal:3000") -> Serve:
    """The same server as the proxy of a workspace with this URL."""

    @asynccontextmanager
    async def proxied(site: Site) -> AsyncIterator[Options]:
        async with serve(site) as options:
            proxy_url = options.pop("url").replace("http://", "http://gate:proxy-password@")
            yield {**options, "url": url, "proxy_url": proxy_url}

    return proxied


async def tunnel(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    """A proxy that answers a CONNECT well, and then as the server behind it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await encrypted("chat.internal")(site, reader, writer)


async def tunnelled_to_no_tls(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await first_said(http(HTML, status="400 Bad Request"))(site, reader, writer)


def tunnelling(misbehave: Converse) -> Serve:
    """A proxy of a workspace with https that handles a CONNECT like this until the fault is over."""
    return trusting(through(connecting(misbehave, well=tunnel), "https://chat.internal"))


NEEDS_LOGIN: Final = http(HTML, "Proxy-Authenticate: Basic", status="407 Proxy Authentication Required")
LOGIN: Final = http(b"", f"Location: https://login.internal/{BODY}", status="302 Found")
PROXIES: Final = (
    Fault(name="proxy gone", symptom=GONE, serve=through(nothing), says="connection refused"),
    Fault(name="proxy wants a login", symptom=PROXY, serve=through(saying(NEEDS_LOGIN))),
    Fault(name="proxy wants a login for a tunnel", symptom=PROXY, serve=tunnelling(first_said(NEEDS_LOGIN))),
    Fault(
        name="proxy refuses the host",
        symptom=PROXY,
        serve=through(saying(http(HTML, "Content-Type: text/html", status="403 Forbidden"))),
    ),
    Fault(
        name="proxy refuses a tunnel",
        symptom=PROXY,
        serve=tunnelling(first_said(http(HTML, status="502 Bad Gateway"))),
        says="the proxy answered with HTTP 502",
    ),
    Fault(name="proxy closes a tunnel", symptom=GONE, serve=tunnelling(closed_in_the_handshake)),
    Fault(name="proxy is silent", symptom=SILENT, serve=tunnelling(silent)),
    Fault(
        name="proxy's tunnel ends at a port without TLS",
        symptom=UNTRUSTED,
        serve=tunnelling(tunnelled_to_no_tls),
    ),
    Fault(name="proxy answers a tunnel with garbage", symptom=NO_HTTP, serve=tunnelling(first_said(b"\0" * 99))),
    Fault(
        name="captive portal",
        symptom=NO_ENDPOINT,
        serve=through(saying(http(HTML, "Content-Type: text/html"))),
    ),
    Fault(name="proxy redirects to a login", symptom=REDIRECTED, serve=through(saying(LOGIN))),
)

FAULTS: Final = (*TLS, *PROXIES)
