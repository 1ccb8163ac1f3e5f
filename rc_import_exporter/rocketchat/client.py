"""Speaks HTTP to one workspace: one request in, one `Success` or `Failure` out. The only module that does.

Whatever a server sends, `ask` returns: foreign exceptions end here, and `diagnosis` says what an answer means. Nothing
of a body, and no credential, goes further than that.
"""

import asyncio
import os
import ssl
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from rc_import_exporter import __version__
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.core.domain import Api, Exchange, Failure, Reason, Result
from rc_import_exporter.rocketchat import diagnosis
from rc_import_exporter.rocketchat.diagnosis import Response

USER_AGENT: Final = f"rc-import-exporter/{__version__}"
CHUNK: Final = 64 * 1024
EITHER_ZLIB_OR_GZIP: Final = 47
"""zlib's `wbits` for a stream that says itself which of the two it is."""
MOST_INTERIM: Final = 8
"""Answers of the kind of 103 Early Hints before the one; a proxy sends one or two."""
UNREADABLE: Final = b"\x00"
"""Stands for a body that cannot be decompressed: it is no endpoint's JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a workspace is reached.

    `url` may hold the user and password of a proxy in front, and is never shown. `timeout` is in seconds and covers a
    whole exchange, `max_bytes` bounds a body after decompression. `tls` is `None` for the system's own trust.
    """

    url: str
    timeout: float
    max_bytes: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy_url: str | None = None

    def __repr__(self) -> str:
        return f"Access({URL(self.url).with_user(None)})"


class Client:
    """Asks one workspace; `now` gives Unix seconds.

    `places` are those of all clients together: without one nobody connects. Without `places` there is no end of them.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        access: Access,
        now: Callable[[], float],
        places: asyncio.Semaphore | None = None,
    ) -> None:
        self._session = session
        self._access = access
        self._now = now
        self._base = URL(access.url)
        self._places = nullcontext() if places is None else places

    async def ask(self, api: Api, credentials: Credentials) -> Result:
        """Asks one endpoint, once, and says what it came to; raises nothing but cancellation.

        The time of the exchange begins once there is a place: a queue of ours is no slowness of the server's.
        """
        async with self._places:
            return await self._exchanged(api, credentials)

    async def _exchanged(self, api: Api, credentials: Credentials) -> Result:
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._access.timeout):
                response = await self._get(api, credentials)
        except Exception as error:  # noqa: BLE001 - the edge where exceptions end: every failure is a value
            reason, detail = _explain(error, self._access.timeout)
            return Failure(exchange=self._exchange(api, None, begun), reason=reason, detail=detail)
        return diagnosis.read(self._exchange(api, response, begun), response)

    async def _get(self, api: Api, credentials: Credentials) -> Response:
        path = "api/info" if api is Api.INFO else f"api/v1/{api}"
        async with self._session.get(
            self._base.with_path(f"{self._base.path.rstrip('/')}/{path}"),
            headers={"X-User-Id": credentials.user_id, "X-Auth-Token": credentials.auth_token},
            allow_redirects=False,
            proxy=self._access.proxy_url,
            ssl=self._access.tls if self._access.tls is not None else True,
            server_hostname=self._access.server_name,
        ) as response:
            return await _bounded(response, self._access.max_bytes)

    def _exchange(self, api: Api, response: Response | None, begun: float) -> Exchange:
        seconds = asyncio.get_running_loop().time() - begun
        if response is None:
            return Exchange(api=api, code=None, seconds=seconds)
        date = diagnosis.date_of(response)
        return Exchange(
            api=api,
            code=response.status,
            seconds=seconds,
            size=len(response.body),
            budget=diagnosis.budget_of(response),
            skew=None if date is None else date - self._now(),
        )


def open_session(resolver: aiohttp.abc.AbstractResolver | None = None, *, keep: bool = True) -> aiohttp.ClientSession:
    """A session for all workspaces: no cookies, no environment's proxies, no decompression behind our back.

    How many connections are busy is limited by the clients' places. `keep` says whether idle ones are kept for a
    while; they are in nobody's place, so it asks for descriptors enough for every connection of every workspace.
    """
    return aiohttp.ClientSession(
        connector=_Connector(limit=0, resolver=resolver, force_close=not keep),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"},
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
        auto_decompress=False,
    )


class _Protocol(ResponseHandler):
    """aiohttp's side of a connection, except that it waits for an answer through a few interim ones and no more.

    They come without a pause for anything else where a server sends them as fast as it can.
    """

    _interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        """Take an answer's head, unless the connection is done for."""
        self._interim = self._interim + 1 if data[0].code < HTTPStatus.OK else 0
        if self._interim <= MOST_INTERIM:
            super().feed_data(data, size)
        elif self.transport is not None and not self.is_eof():
            self.set_exception(HttpProcessingError(message="too many interim answers"))
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Connections of the kind above; aiohttp has no option for that."""

    def __init__(self, *, limit: int, resolver: aiohttp.abc.AbstractResolver | None, force_close: bool) -> None:
        super().__init__(limit=limit, resolver=resolver, force_close=force_close)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))


async def _bounded(response: aiohttp.ClientResponse, most: int) -> Response:
    body, too_large = b"", False
    try:
        body = await _body(response, most)
    except OverflowError:
        too_large = True
    except zlib.error:
        body = UNREADABLE
    return Response(status=response.status, headers=response.headers, body=body, too_large=too_large)


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, decompressed; raises `OverflowError` over `most` bytes, `zlib.error` where that cannot be."""
    inflate = _inflater(response.headers.get("Content-Encoding", "identity"))
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        body += chunk if inflate is None else _inflated(inflate, chunk, most + 1 - len(body))
        if len(body) > most:
            raise OverflowError
    if inflate is not None and not inflate.eof:
        raise zlib.error
    return bytes(body)


def _inflated(inflate: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    """At most so many bytes more; raises `zlib.error` for what follows the end, which zlib would keep for ever."""
    piece = inflate.decompress(chunk, most)
    if inflate.unused_data:
        raise zlib.error
    return piece


def _inflater(encoding: str) -> "zlib._Decompress | None":
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(wbits=EITHER_ZLIB_OR_GZIP)
        case _:
            raise zlib.error


def _explain(error: Exception, timeout: float) -> tuple[Reason, str]:
    if (insecure := _tls_error(error)) is not None:
        return Reason.TLS, f"TLS failed: {_plain(insecure)}"
    match error:
        case TimeoutError():
            return Reason.TIMEOUT, f"no whole answer within {timeout:g} s"
        case aiohttp.ClientConnectorDNSError():
            return Reason.CONNECTION, f"the host {error.host} does not resolve"
        case aiohttp.ClientHttpProxyError():
            return Reason.PROXY, f"the proxy answered with HTTP {error.status}"
        case aiohttp.ClientConnectorError():
            return Reason.CONNECTION, f"no connection to {error.host}:{error.port}: {_plain(error.os_error)}"
        case aiohttp.ClientResponseError():
            return Reason.INVALID, "what answers there does not speak HTTP"
        case aiohttp.ClientError() | OSError():
            return Reason.CONNECTION, "the connection was cut"
        case _:
            return Reason.INTERNAL, f"a fault of the exporter: {type(error).__name__}"


def _tls_error(error: BaseException | None) -> BaseException | None:
    """OpenSSL's own error, or else aiohttp's; a server that wants a certificate says so after the handshake."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            cause: OSError = error.os_error
            return cause
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return error
        case aiohttp.ClientConnectionError():
            return _tls_error(error.__cause__)
        case _:
            return None


def _plain(error: BaseException) -> str:
    """What the operating system or OpenSSL says, without the names of our classes and files."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "the port does not speak TLS: http, perhaps"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no secure connection").lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return "no connection"
