"""Answers: their headers, their encoding, and the lines of text for errors."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.cells import COMPRESSION_LEVEL, Piece, Steps
from rc_import_exporter.metrics.negotiation import Encoding, Format, choose_encoding, choose_format

SLICE: Final = 64 * 1024
"""Bytes that are sent at once. A client that does not read holds a copy of no more than this."""
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

_GZIP: Final = 31
"""zlib's word for gzip with the largest window."""
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


class Sliced(web.StreamResponse):
    """An answer that is sent in slices. Its pieces are shared with other answers, and never copied as a whole."""

    def __init__(self, pieces: Sequence[Piece], headers: Mapping[str, str], status: int = HTTPStatus.OK) -> None:
        super().__init__(status=status, headers=headers)
        self.pieces = pieces
        self.size = self.content_length = sum(map(len, pieces))

    def slices(self) -> Iterator[bytes | memoryview]:
        """The body in slices of at most `SLICE` bytes. Small pieces are joined."""
        few: list[bytes] = []
        size = 0
        for piece in self._parts():
            if few and size + len(piece) > SLICE:
                yield b"".join(few)
                few, size = [], 0
            if len(piece) > SLICE:
                view = memoryview(piece)
                yield from (view[start : start + SLICE] for start in range(0, len(piece), SLICE))
            else:
                few.append(piece)
                size += len(piece)
        if few:
            yield b"".join(few)

    def _parts(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield from (bytes(piece),) if isinstance(piece, bytes) or len(piece) <= SLICE else piece.parts()


def packed(steps: Steps, encoding: Encoding) -> Steps:
    """What these steps make in this encoding, one piece in each further step."""
    pieces = yield from steps
    if encoding is Encoding.IDENTITY:
        return pieces
    compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP)
    made = []
    for piece in pieces:
        made.append(compressor.compress(bytes(piece)))
        yield
    return (b"".join((*made, compressor.flush())),)


def metrics(pieces: Sequence[Piece], form: Format, encoding: Encoding) -> Sliced:
    """Metrics that are already in this format and encoding."""
    return Sliced(pieces, _METRICS_HEADERS[form, encoding])


def html(pieces: Sequence[Piece], encoding: Encoding, status: int = HTTPStatus.OK) -> Sliced:
    """A page for people that is already in this encoding."""
    response = _encoded(pieces, encoding, status, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def json(pieces: Sequence[Piece], encoding: Encoding, status: int = HTTPStatus.OK) -> Sliced:
    """An answer of the JSON API that is already in this encoding."""
    return _encoded(pieces, encoding, status, "application/json; charset=utf-8")


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


def _encoded(pieces: Sequence[Piece], encoding: Encoding, status: int, kind: str) -> Sliced:
    headers = {"Content-Type": kind, "Vary": "Accept-Encoding"}
    if encoding is not Encoding.IDENTITY:
        headers["Content-Encoding"] = encoding.value
    return Sliced(pieces, headers, status)


def _header(request: web.Request, name: str) -> str | None:
    """Several headers with this name count as one."""
    return ", ".join(request.headers.getall(name, ())) or None
