"""Answers: their headers, their encoding, and the lines of text for errors."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.negotiation import Encoding, Format, choose_encoding, choose_format

HEADERS: Final[Mapping[str, str]] = {
    "Server": "rc-import-exporter",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Each answer has these headers. A handler may set its own value."""
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The policy of the pages for people: nothing is loaded from another server."""

_METRICS_HEADERS: Final = {
    (form, encoding): {
        "Content-Type": form.value,
        "Vary": "Accept, Accept-Encoding",
        **({} if encoding is Encoding.IDENTITY else {"Content-Encoding": encoding.value}),
    }
    for form in Format
    for encoding in Encoding
}


def add_headers(response: web.StreamResponse, configured: Mapping[str, str]) -> None:
    """Adds `HEADERS` to an answer, and headers of the web configuration file, of which an empty one is removed."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    for name, value in configured.items():
        response.headers.popall(name, None)
        if value:
            response.headers[name] = value


def negotiated(request: web.Request) -> tuple[Format, Encoding]:
    """The format and the encoding that a request asks for."""
    return choose_format(_header(request, "Accept")), choose_encoding(_header(request, "Accept-Encoding"))


def metrics(body: bytes, form: Format, encoding: Encoding) -> web.Response:
    """Metrics that are already in this format and encoding."""
    return web.Response(body=body, headers=_METRICS_HEADERS[form, encoding])


def html(request: web.Request, body: bytes, status: int = HTTPStatus.OK) -> web.Response:
    """A page for people."""
    response = _compressed(request, body, status, "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def json(request: web.Request, body: bytes, status: int = HTTPStatus.OK) -> web.Response:
    """An answer of the JSON API."""
    return _compressed(request, body, status, "application/json")


def plain(text: str, status: int = HTTPStatus.OK) -> web.Response:
    """A line or two of text."""
    return web.Response(body=text.encode(errors="replace"), status=status, content_type="text/plain", charset="utf-8")


def no_workspace(name: str, snapshot: Snapshot) -> str:
    """The message that no workspace has this name, or that another shard polls it."""
    if snapshot.shard is not None and name in snapshot.elsewhere:
        return f"shard {snapshot.shard.holder(name)} polls {name}, and this is shard {snapshot.shard.index}"
    return f"no workspace is called {name[:64]!a}"


def refusal(status: int) -> web.Response:
    """An error in one line that shows nothing of the request or the program."""
    return plain(f"{status} {HTTPStatus(status).phrase}\n", status)


def login() -> web.Response:
    """The answer that asks for a name and a password."""
    response = refusal(HTTPStatus.UNAUTHORIZED)
    response.headers["WWW-Authenticate"] = 'Basic realm="rc-import-exporter", charset="UTF-8"'
    return response


def refusal_like(refused: web.HTTPException) -> web.Response:
    """The same for an error of aiohttp's, with the methods that are allowed."""
    response = refusal(refused.status)
    if "Allow" in refused.headers:
        response.headers["Allow"] = refused.headers["Allow"]
    return response


def _compressed(request: web.Request, body: bytes, status: int, kind: str) -> web.Response:
    headers = {"Vary": "Accept-Encoding"}
    response = web.Response(body=body, status=status, content_type=kind, charset="utf-8", headers=headers)
    # aiohttp's own choice ignores weights: it compresses even for `gzip;q=0`.
    _, encoding = negotiated(request)
    response.enable_compression(web.ContentCoding(encoding))
    return response


def _header(request: web.Request, name: str) -> str | None:
    """Several headers with this name count as one."""
    return ", ".join(request.headers.getall(name, ())) or None
