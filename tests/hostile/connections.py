"""Faults of connections: TCP, TLS, proxies and DNS."""

import asyncio
import errno
import functools
import re
import socket
import ssl
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import trustme

from rc_import_exporter.core.domain import Api
from rc_import_exporter.rocketchat.host_names import Resolver
from tests.hostile.fault import (
    BODY,
    Converse,
    Fault,
    Options,
    Serve,
    Site,
    connecting,
    converse,
    endpoint,
    good,
    handle,
    saying,
)
from tests.hostile.symptoms import (
    GONE,
    HARMLESS,
    NO_ENDPOINT,
    NO_HOST,
    NO_HTTP,
    NO_ROOM,
    PROXY,
    REDIRECTED,
    SILENT,
    UNTRUSTED,
)
from tests.support.peers import http, listening

RESET: Final = struct.pack("ii", 1, 0)
ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x46"
"""TLS: the version of the protocol is too old. OpenSSL sends it also to a client that does not begin with TLS."""
HTML: Final = f"<html><title>{BODY}</title></html>".encode()
LATE: Final = http(HTML, status="408 Request Time-out")


def reset(writer: StreamWriter) -> None:
    """Resets the connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


def unheard(host: str) -> Serve:
    """A port of this address where nothing listens before the fault is over."""

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        # asyncio sends small pieces at once only if the protocol is named.
        with socket.socket(proto=socket.IPPROTO_TCP) as reserved:
            reserved.bind((host, 0))
            async with AsyncExitStack() as stack:

                async def listen() -> None:
                    await stack.enter_async_context(
                        listening(lambda *streams: handle(site, converse, converse, *streams), bound=reserved.dup())
                    )

                site.ends.append(listen)
                yield {"url": f"http://{host}:{reserved.getsockname()[1]}"}

    return serve


nothing: Final = unheard("127.0.0.1")


async def reset_at_once(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    reset(writer)


async def closed_at_once(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    pass


async def silent(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read()


async def half_closed(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write_eof()
    await reader.read()


def beginning(length: int, then: Callable[[StreamWriter], object] | None = None) -> Converse:
    """Sends so many bytes of a good answer. Then resets or closes the connection, or waits if `then` is `None`."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        answer = good(endpoint(await reader.readuntil(b"\r\n\r\n")), site)
        writer.write(answer[:length])
        await writer.drain()
        await asyncio.sleep(0.01)
        await (reader.read() if then is None else asyncio.sleep(0))
        (then or StreamWriter.close)(writer)

    return misbehave


async def a_byte_a_second(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    for byte in good(endpoint(await reader.readuntil(b"\r\n\r\n")), site):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def closed_between(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(good(endpoint(await reader.readuntil(b"\r\n\r\n")), site))
    await writer.drain()
    await asyncio.sleep(1)


async def reset_between(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    await closed_between(site, reader, writer)
    reset(writer)


async def closed_when_asked_again(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
    api = endpoint(await reader.readuntil(b"\r\n\r\n"))
    # A third idle connection would be tried next, and there is no third try.
    writer.write(good(api, site, *(["Connection: close"] if api is Api.INFO else [])))
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")


def adding(raw: bytes) -> Converse:
    """Sends this after each good answer, and keeps the connection open."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(good(endpoint(head), site))
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(raw)

    return misbehave


TCP: Final = (
    Fault(name="nothing listens", symptom=GONE, serve=nothing, says="connection refused"),
    Fault(name="reset at once", symptom=GONE, serve=connecting(reset_at_once)),
    Fault(name="closed at once", symptom=GONE, serve=connecting(closed_at_once)),
    Fault(name="accepted, then silence", symptom=SILENT, serve=connecting(silent)),
    Fault(name="half closed without an answer", symptom=GONE, serve=connecting(half_closed)),
    Fault(name="reset in the status line", symptom=GONE, serve=connecting(beginning(7, reset))),
    Fault(name="reset in the headers", symptom=GONE, serve=connecting(beginning(40, reset))),
    Fault(name="reset in the body", symptom=GONE, serve=connecting(beginning(140, reset))),
    Fault(name="closed in the status line", symptom=GONE, serve=connecting(beginning(7, StreamWriter.close))),
    Fault(name="closed in the headers", symptom=GONE, serve=connecting(beginning(40, StreamWriter.close))),
    Fault(name="closed in the body", symptom=GONE, serve=connecting(beginning(140, StreamWriter.close))),
    Fault(name="silence in the headers", symptom=SILENT, serve=connecting(beginning(40))),
    Fault(name="silence in the body", symptom=SILENT, serve=connecting(beginning(140))),
    Fault(name="a byte a second", symptom=SILENT, serve=connecting(a_byte_a_second)),
    Fault(name="closed while idle", symptom=HARMLESS, serve=connecting(closed_between)),
    Fault(name="reset while idle", symptom=HARMLESS, serve=connecting(reset_between)),
    Fault(name="closed at the next request", symptom=HARMLESS, serve=connecting(closed_when_asked_again)),
    Fault(name="408 on an idle connection", symptom=HARMLESS, serve=connecting(adding(LATE))),
    Fault(name="a flood on an idle connection", symptom=HARMLESS, serve=connecting(adding(LATE * 1000))),
    Fault(name="bytes on an idle connection", symptom=HARMLESS, serve=connecting(adding(b"\0\xff" * 99))),
)


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


def over_tls(misbehave: Converse) -> Serve:
    """A server that handles connections like this, and over TLS once the fault is over."""
    plain = connecting(misbehave, scheme="https", well=well_encrypted)

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        authority().cert_pem.write_to_path(str(site.folder / "ca.pem"))
        async with plain(site) as options:
            yield {**options, "tls.ca_file": str(site.folder / "ca.pem")}

    return serve


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
    proxy = through(connecting(misbehave, well=tunnel), "https://chat.internal")

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        authority().cert_pem.write_to_path(str(site.folder / "ca.pem"))
        async with proxy(site) as options:
            yield {**options, "tls.ca_file": str(site.folder / "ca.pem")}

    return serve


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

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]
LookUp = Callable[[str, int], list[Address]]


def looked_up(*hosts: str) -> LookUp:
    """A name server that knows these addresses."""
    return lambda name, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


def raising(error: Exception) -> LookUp:
    """A look-up that fails like this."""

    def look_up(name: str, port: int) -> list[Address]:
        raise error

    return look_up


LOCAL: Final = looked_up("127.0.0.1")


def named(look_up: LookUp, serve: Serve | None = None, later: LookUp = LOCAL) -> Serve:
    """A server whose host name is looked up like this, and as `later` says once the fault is over.

    Virtual time waits for a look-up, which runs in a thread.
    """

    @asynccontextmanager
    async def serving(site: Site) -> AsyncIterator[Options]:
        resolve = Resolver.resolve

        async def wait(*given: object, **named: object) -> object:
            found = threading.Event()
            waiting = asyncio.get_running_loop().run_in_executor(None, found.wait)
            try:
                return await resolve(*given, **named)  # type: ignore[arg-type]
            finally:
                found.set()
                await waiting

        def find(name: str, port: int, *_: object, **__: object) -> list[Address]:
            return (later if site.over else look_up)(name, port)

        site.patch.setattr(socket, "getaddrinfo", find)
        site.patch.setattr(Resolver, "resolve", wait)
        async with (serve or connecting(converse))(site) as options:
            yield {"url": re.sub(r"127[.0-9]+", "chat.internal", options["url"])}

    return serving


@asynccontextmanager
async def hanging(site: Site) -> AsyncIterator[Options]:
    """A look-up that hangs in its thread until the fault is over."""
    ended = threading.Event()

    def find(name: str, port: int, *_: object, **__: object) -> list[Address]:
        ended.wait(20)
        return LOCAL(name, port)

    async def end() -> None:
        ended.set()
        # The threads go on in real time.
        await asyncio.to_thread(threading.Event().wait, 0.1)

    site.patch.setattr(socket, "getaddrinfo", find)
    site.ends.append(end)
    async with connecting(converse)(site) as options:
        yield {"url": options["url"].replace("127.0.0.1", "chat.internal")}


@asynccontextmanager
async def without_threads(site: Site) -> AsyncIterator[Options]:
    """A machine that lets the process start no thread for a look-up."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "resolver" and not site.over:
            raise RuntimeError("can't start new thread")
        start(thread)

    site.patch.setattr(threading.Thread, "start", refuse)
    async with named(LOCAL)(site) as options:
        yield options


DEAD: Final = looked_up("127.0.0.3", "127.0.0.2")
NO_THREAD: Final = "the host chat.internal cannot be looked up: no thread is left to look it up Raise the limit of"
UNKNOWN: Final = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
DNS: Final = (
    Fault(
        name="no such host",
        symptom=NO_HOST,
        serve=named(raising(UNKNOWN)),
        says="no such host: chat.internal Check the host name in `url`",
    ),
    Fault(
        name="no name server answers",
        symptom=NO_HOST,
        serve=named(raising(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))),
        says="no name server answers for the host chat.internal",
    ),
    Fault(name="look-up fails", symptom=NO_HOST, serve=named(raising(socket.gaierror(socket.EAI_FAIL, BODY)))),
    Fault(name="no name of a host", symptom=NO_HOST, serve=named(raising(UnicodeError(BODY)))),
    Fault(name="look-up hangs", symptom=SILENT, serve=hanging),
    Fault(
        name="no address listens",
        symptom=NO_HOST,
        serve=named(DEAD, unheard("127.0.0.2"), DEAD),
        says="no connection to chat.internal",
    ),
    Fault(name="one address listens", symptom=HARMLESS, serve=named(looked_up("127.0.0.2", "127.0.0.1"))),
    Fault(name="address cannot be reached", symptom=NO_HOST, serve=named(raising(OSError(errno.ENETUNREACH, "")))),
    Fault(name="no thread for a look-up", symptom=NO_ROOM, serve=without_threads, says=NO_THREAD),
)

FAULTS: Final = (*TCP, *TLS, *PROXIES, *DNS)
