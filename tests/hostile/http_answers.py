"""Faults of HTTP: statuses, headers, framing, and compression."""

import gzip
import json
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Final

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.faults import FAULTS as SIMULATED
from rc_import_exporter.simulator.faults import MEBIBYTE
from rc_import_exporter.simulator.script import Answer, Call, Reply
from rc_import_exporter.simulator.server import LoopClock, SimulatedServer
from tests.hostile.fault import (
    BODY,
    Fault,
    Options,
    Serve,
    Site,
    Symptom,
    answering,
    connecting,
    content,
    good,
    saying,
)
from tests.hostile.symptoms import (
    BROKEN,
    FORBIDDEN,
    GONE,
    HARMLESS,
    LIMITED,
    MISSING,
    NO_ENDPOINT,
    NO_HTTP,
    NO_JSON,
    PROXY,
    REDIRECTED,
    SILENT,
    TOO_LARGE,
    UNAUTHORIZED,
    UNREADABLE,
)
from tests.support.peers import http, spoilt

HTML: Final = f"<!DOCTYPE html><html><title>{BODY}</title></html>".encode()
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


class Well:
    """A script that answers well."""

    def answer(self, call: Call) -> Answer:
        """A good answer."""
        return Reply(status=200, body=json.dumps(content(Api(call.endpoint))).encode())

    def limit(self, at: float) -> int | None:
        """No limit."""
        return None


def simulated(name: str) -> Serve:
    """A server of the simulator with this fault."""

    @asynccontextmanager
    async def serve(site: Site) -> AsyncIterator[Options]:
        async with SimulatedServer(spoilt(name), clock=LoopClock()) as server:

            async def end() -> None:
                server.begin("", Well())

            site.ends.append(end)
            yield {"url": server.base_url}

    return serve


def error(status: str, **fields: object) -> Serve:
    """Rocket.Chat's own error with this status."""
    return saying(http(json.dumps({"success": False, "error": BODY, **fields}).encode(), status=status))


def page(status: str, *headers: str) -> Serve:
    """A page of a proxy with this status."""
    return saying(http(HTML, "Content-Type: text/html", *headers, status=status))


def statuses(symptom: Symptom, *lines: str) -> tuple[Fault, ...]:
    """A row for each of these statuses, answered by a proxy."""
    return tuple(Fault(name=f"status {line}", symptom=symptom, serve=page(line)) for line in lines)


def reset_in(wait: float, ahead: float = 0.0) -> Callable[[Api, Site], bytes]:
    """429 with a time, in seconds from now, by a server whose clock is ahead."""

    def answer(api: Api, site: Site) -> bytes:
        return http(
            b'{"success":false,"error":"too many"}',
            f"Date: {formatdate(site.now() + ahead, usegmt=True)}",
            "X-RateLimit-Limit: 10",
            "X-RateLimit-Remaining: 0",
            f"X-RateLimit-Reset: {round((site.now() + ahead + wait) * 1000)}",
            status="429 Too Many Requests",
        )

    return answer


SIMULATOR: Final = {
    "hang": SILENT,
    "slow": SILENT,
    "drip": SILENT,
    "reset": GONE,
    "cut": GONE,
    "bad gateway": PROXY,
    "unavailable": PROXY,
    "gateway timeout": PROXY,
    "firewall's 401": PROXY,
    "firewall's 403": PROXY,
    "start page": NO_ENDPOINT,
    "missing": MISSING,
    "login redirect": REDIRECTED,
    "internal server error": BROKEN,
    "database down": BROKEN,
    "refused permission": FORBIDDEN,
    "old refused list": FORBIDDEN,
    "old refused progress": FORBIDDEN,
    "rate limited": LIMITED,
    "padded": TOO_LARGE,
    "gzip bomb": TOO_LARGE,
    "empty": NO_JSON,
    "no JSON": NO_JSON,
    "no UTF-8": NO_JSON,
    "a number": NO_JSON,
    "null": NO_JSON,
    "text": NO_JSON,
    "unsuccessful": NO_JSON,
    "numbers for objects": NO_JSON,
    "list of numbers": NO_JSON,
    "not a number": NO_JSON,
    "nested": NO_JSON,
    "no content": NO_HTTP,
}

STATUSES: Final = (
    *statuses(
        PROXY,
        "400 Bad Request",
        "402 Payment Required",
        "405 Method Not Allowed",
        "407 Proxy Authentication Required",
        "408 Request Time-out",
        "413 Content Too Large",
        "421 Misdirected Request",
        "431 Request Header Fields Too Large",
        "451 Unavailable For Legal Reasons",
        "404 Not Found",
        "500 Internal Server Error",
        "520 Web Server Returned an Unknown Error",
        "999 Request Denied",
    ),
    *statuses(REDIRECTED, "300 Multiple Choices", "301 Moved Permanently", "308 "),
    *statuses(NO_HTTP, "206 Partial Content", "299 Odd"),
    Fault(
        name="a redirect to itself",
        symptom=REDIRECTED,
        serve=saying(http(HTML, "Location: /", status="307 Temporary Redirect")),
    ),
    Fault(
        name="a redirect to garbage",
        symptom=REDIRECTED,
        serve=saying(http(HTML, f"Location: ://{BODY}", status="302 Found")),
    ),
    Fault(name="401 of Rocket.Chat", symptom=UNAUTHORIZED, serve=error("401 Unauthorized")),
    Fault(name="403 of Rocket.Chat", symptom=FORBIDDEN, serve=error("403 Forbidden")),
    Fault(name="404 of Rocket.Chat", symptom=MISSING, serve=error("404 Not Found")),
    Fault(name="503 of Rocket.Chat", symptom=BROKEN, serve=error("503 Service Unavailable")),
    Fault(name="429 of a proxy", symptom=LIMITED, serve=page("429 Too Many Requests")),
    *(
        Fault(
            name=f"429 with Retry-After: {wait}",
            symptom=LIMITED,
            serve=page("429 Too Many Requests", f"Retry-After: {wait}"),
        )
        for wait in ("120", "Fri, 31 Dec 1999 23:59:59 GMT", "soon", "-1", "9" * 40)
    ),
    Fault(name="429 for ten minutes", symptom=LIMITED, serve=answering(reset_in(600)), wait=600),
    Fault(name="429 for 62 minutes", symptom=LIMITED, serve=answering(reset_in(3720)), wait=60),
    Fault(name="429 for a day", symptom=LIMITED, serve=answering(reset_in(86_400)), wait=60),
    Fault(name="429 until yesterday", symptom=LIMITED, serve=answering(reset_in(-86_400)), wait=60),
    Fault(name="429 by a clock an hour ahead", symptom=LIMITED, serve=answering(reset_in(42, 3600)), wait=42),
    Fault(name="429 by a clock an hour behind", symptom=LIMITED, serve=answering(reset_in(600, -3600)), wait=600),
    Fault(name="401 again and again", symptom=UNAUTHORIZED, serve=error("401 Unauthorized"), wait=300, polls=6),
    Fault(name="503 again and again", symptom=BROKEN, serve=error("503 Service Unavailable"), wait=60, polls=4),
    Fault(name="an error of 63 KiB", symptom=BROKEN, serve=error("503 Service Unavailable", padding="x" * 63 * 1024)),
    Fault(name="an error of 65 KiB", symptom=PROXY, serve=error("503 Service Unavailable", padding="x" * 65 * 1024)),
)


def raw(name: str, sent: bytes, symptom: Symptom = NO_HTTP) -> Fault:
    """A row of a server that sends these bytes."""
    return Fault(name=name, symptom=symptom, serve=saying(sent))


def without_end(head: bytes, piece: bytes) -> Serve:
    """A server that sends the piece again and again, as fast as the client reads."""

    async def misbehave(site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while not site.over:
            writer.write(piece * 10_000)
            await writer.drain()

    return connecting(misbehave)


def with_headers(*headers: str) -> Serve:
    """Good answers with these headers."""
    return answering(lambda api, site: good(api, site, *headers))


def hinted(api: Api, site: Site) -> bytes:
    return FLOOD * 8 + good(api, site)


def chunked(api: Api, site: Site) -> bytes:
    body = json.dumps(content(api)).encode()
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in body)
    return CHUNKED + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"


FRAMING: Final = (
    raw("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
    raw("zeros", bytes(4096)),
    raw("a status of words", f"HTTP/1.1 two hundred {BODY}\r\n\r\n".encode()),
    raw("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    raw("no status", b"HTTP/1.1\r\n\r\n"),
    raw("HTTP/2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff"),
    raw("HTTP/9.9", b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n[]"),
    raw("a header of 100 kB", f"HTTP/1.1 200 OK\r\nX: {BODY * 6000}\r\n\r\n".encode()),
    raw("50,000 headers", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n"),
    raw("a header with NUL", b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\n[]"),
    raw("a header without a colon", b"HTTP/1.1 200 OK\r\nbroken\r\nContent-Length: 2\r\n\r\n[]"),
    raw("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    raw("a length of words", b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n"),
    raw("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n[]"),
    raw("a length and chunks", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    raw("a chunk size of words", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    raw("a huge chunk size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n"),
    raw("a chunk without an end", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]xx"),
    raw("a length beyond the body", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", GONE),
    raw("a huge length", b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n{", GONE),
    raw("a length before the body's end", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", NO_JSON),
    raw("a switch of protocols", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" * 99),
    raw("a flood of 100", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    raw("a flood of 103", FLOOD * 1000),
    Fault(name="chunks of a byte without end", symptom=NO_HTTP, serve=without_end(CHUNKED, b"1\r\n \r\n")),
    Fault(name="line ends without end", symptom=NO_HTTP, serve=without_end(b"", b"\r\n")),
    Fault(name="some early hints", symptom=HARMLESS, serve=answering(hinted)),
    Fault(name="a byte in each chunk", symptom=HARMLESS, serve=answering(chunked)),
    Fault(
        name="odd cookies",
        symptom=HARMLESS,
        serve=with_headers(f"Set-Cookie: a b={BODY}; Path=/", "Set-Cookie: \x01=1"),
    ),
    Fault(name="another type", symptom=HARMLESS, serve=with_headers("Content-Type: image/png")),
    Fault(name="a charset that is none", symptom=HARMLESS, serve=with_headers("Content-Type: x; charset=\xff")),
)


def squeezed(encoding: str, squeeze: Callable[[bytes], bytes]) -> Serve:
    """Good answers that are compressed like this."""

    def answer(api: Api, site: Site) -> bytes:
        return http(squeeze(json.dumps(content(api)).encode()), f"Content-Encoding: {encoding}")

    return answering(answer)


def raw_deflate(body: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(body) + squeezer.flush()


COMPRESSION: Final = (
    *(
        Fault(name=name, symptom=UNREADABLE, serve=squeezed(encoding, squeeze))
        for name, encoding, squeeze in (
            ("gzip that is none", "gzip", bytes),
            ("gzip that is cut", "gzip", lambda body: gzip.compress(body)[:-9]),
            ("gzip with a wrong checksum", "gzip", lambda body: gzip.compress(body)[:-8] + bytes(8)),
            ("gzip with more behind it", "gzip", lambda body: gzip.compress(body) + b"trailing"),
            ("gzip of nothing", "gzip", lambda body: b""),
            ("gzip twice", "gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
            ("brotli", "br", bytes),
            ("zstd", "zstd", bytes),
            ("deflate without a header", "deflate", raw_deflate),
            ("an encoding that is none", BODY, bytes),
        )
    ),
    raw(
        "8 MiB behind the end of gzip",
        http(gzip.compress(b"[]") + bytes(8 * MEBIBYTE), "Content-Encoding: gzip"),
        UNREADABLE,
    ),
    *(
        Fault(name=f"compressed as {encoding}", symptom=HARMLESS, serve=squeezed(encoding, squeeze))
        for encoding, squeeze in (("x-gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress))
    ),
)

FAULTS: Final = (
    *(
        Fault(name=f"simulated: {name}", symptom=SIMULATOR[name], serve=simulated(name))
        for name in SIMULATED
        if name in SIMULATOR
    ),
    *STATUSES,
    *FRAMING,
    *COMPRESSION,
)
