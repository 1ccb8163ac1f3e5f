"""Sends requests to one workspace, and says why one got no answer: each gives one `Success` or one `Failure`.

`core.schedule` decides which endpoint is asked, and which one is the fallback; `config.options` has the largest body.
Exceptions of aiohttp, OpenSSL and the operating system end here: each becomes a `Failure` with a reason. No credential
and no text of a body leaves this package.
"""

import asyncio
import os
import socket
import ssl
import traceback
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from rc_import_exporter import __version__, logs
from rc_import_exporter.config import address
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.core.domain import Api, Exchange, Failure, Operation, Reason, Result
from rc_import_exporter.core.thresholds import CLOCKS_AGREE
from rc_import_exporter.rocketchat import diagnosis
from rc_import_exporter.rocketchat.connections import Connector, QuickRequest, Received, Request, send
from rc_import_exporter.rocketchat.diagnosis import Response
from rc_import_exporter.rocketchat.host_names import NoLookUpError

USER_AGENT: Final = f"rc-import-exporter/{__version__}"
CHUNK: Final = 64 * 1024
EITHER_ZLIB_OR_GZIP: Final = 47
"""zlib's `wbits` for a stream whose header says which of the two it is."""
MOST_OF_AN_ERROR: Final = 64 * 1024
"""Bytes that are read of an answer whose status is not 200. Rocket.Chat's own have less than 1 KiB."""
LARGE: Final = 1024 * 1024
"""Bytes of a body that is parsed in a thread. That takes tens of milliseconds, and the event loop goes on meanwhile."""
PROMPT: Final = 5.0
"""Seconds. An answer that takes longer may have come while the exporter was stopped."""
BUG: Final = "a bug in the exporter"
CLOSED: Final = "the connection was closed before the answer was complete"
SLAMMED: Final = "the server closed the connection during the TLS handshake"
TLS_ALERT: Final = r"\x15\x03"
"""How aiohttp shows the first bytes of a TLS alert, which some servers send if the request is not encrypted."""
USE_HTTP: Final = "Write `http://` instead of `https://` in `url`, or use the port that has TLS."
CHECK_TLS: Final = "Check that the port in `url` uses TLS, and that the server has a certificate for this host name."
CHECK_HOST: Final = "Check the host name in `url`. If it is right, check the name server of this machine."
ASK_DNS: Final = "Check the name server of this machine. If it is right, check the host name in `url`."
RAISE_LIMIT: Final = "Raise the limit of processes or threads (`TasksMax`, `pids`), or check the name server."
UNREADABLE: Final = b"\x00"
"""Replaces a body that cannot be decompressed. It is not JSON, so the call fails as `invalid`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a workspace.

    `url` can hold the user and password of a proxy in front of it, so it is never shown. `timeout`, in seconds, is for
    the request and the whole answer. `max_bytes` limits a body after decompression. `tls` gives the context to use now;
    if that is `None`, the system's certificate authorities are trusted.
    """

    url: str
    timeout: float
    max_bytes: int
    tls: Callable[[], ssl.SSLContext | None] = lambda: None
    server_name: str | None = None
    proxy_url: str | None = None
    user_agent: str = USER_AGENT

    def __repr__(self) -> str:
        return f"Access({address.public(self.url)})"


class Client:
    """Calls the endpoints of one workspace. `now` gives Unix seconds.

    All clients share `places`, which limits how many requests run at once. `None` means no limit.
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
        # aiohttp would encode the names and passwords in these URLs as Latin-1.
        base = URL(address.public(access.url))
        self._urls = {
            api: base.with_path(f"{base.path.rstrip('/')}/{'api/info' if api is Api.INFO else f'api/v1/{api}'}")
            for api in Api
        }
        self._own_headers = _with_authorization({"User-Agent": access.user_agent}, access.url)
        self._proxy = None if access.proxy_url is None else address.public(access.proxy_url)
        self._proxy_headers = _with_authorization({}, access.proxy_url or "")
        self._presented: tuple[Credentials, ssl.SSLContext | bool] | None = None
        self._made: dict[Api, QuickRequest] = {}
        self._listed: dict[int, Operation] = {}
        self._bugs: set[str] = set()
        self._places = nullcontext() if places is None else places

    async def ask(self, api: Api, credentials: Credentials) -> Result:
        """Calls one endpoint once. Raises nothing except `CancelledError`."""
        async with self._places:
            # The clock starts here: to wait for a place in our own queue does not make the server slow.
            return await self._timed(api, credentials)

    async def _timed(self, api: Api, credentials: Credentials) -> Result:
        begun, asked = asyncio.get_running_loop().time(), self._now()
        try:
            async with asyncio.timeout(self._access.timeout):
                response = await self._get(api, credentials)
        except Exception as error:  # noqa: BLE001 - exceptions end here: every failure is a value
            reason, detail, remedy = _explain(error, self._access.timeout)
            if reason is Reason.INTERNAL:
                self._log_bug(error)
            return Failure(
                exchange=self._exchange(api, None, begun, asked), reason=reason, detail=detail, remedy=remedy
            )
        return await _diagnosed(self._exchange(api, response, begun, asked), response, self._listed)

    def _log_bug(self, error: Exception) -> None:
        """Logs where each kind of bug happened, once. Its message can hold a secret, so it is left out."""
        kind = type(error).__name__
        if kind not in self._bugs:
            self._bugs.add(kind)
            where = "".join(traceback.format_tb(error.__traceback__))
            logs.logger(url=address.public(self._access.url)).error(f"{BUG}: {kind}", traceback=where)

    async def _get(self, api: Api, credentials: Credentials) -> Response:
        context, session = self._access.tls() or True, self._session
        if self._proxy is None:
            request, connector = self._quick(api, credentials, context=context), cast(Connector, session.connector)
            connection = await connector.idle(request.key)
            if connection is not None:
                received = await send(connection, request)
                if received is not None:
                    async with received:
                        return await _read(received, self._access.max_bytes)
                connector.forget(request.key)
                session = connector.without_retry(session)
        async with session.get(
            self._urls[api],
            headers=self._headers(credentials),
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
            ssl=context,
            server_hostname=self._access.server_name,
        ) as response:
            return await _read(response, self._access.max_bytes)

    def _quick(self, api: Api, credentials: Credentials, *, context: ssl.SSLContext | bool) -> QuickRequest:
        """The request, made once for the same credentials and certificates."""
        if (credentials, context) != self._presented:
            self._presented, self._made = (credentials, context), {}
        if api not in self._made:
            self._made[api] = QuickRequest.of(
                self._session,
                self._urls[api],
                headers=self._headers(credentials),
                ssl=context,
                server_hostname=self._access.server_name,
            )
        return self._made[api]

    def _headers(self, credentials: Credentials) -> dict[str, str]:
        return {
            **credentials.headers,
            **self._own_headers,
            "X-User-Id": credentials.user_id,
            "X-Auth-Token": credentials.auth_token,
        }

    def _exchange(self, api: Api, response: Response | None, begun: float, asked: float) -> Exchange:
        seconds, now = asyncio.get_running_loop().time() - begun, self._now()
        if response is None:
            return Exchange(api=api, code=None, seconds=seconds)
        date = diagnosis.date_of(response)
        # Both clocks went on alike, unless the machine slept or its clock was set. Neither tells of a stopped process.
        steady = abs(now - asked - seconds) <= CLOCKS_AGREE and seconds <= PROMPT
        return Exchange(
            api=api,
            code=response.status,
            seconds=seconds,
            size=len(response.body),
            budget=diagnosis.budget_of(response),
            skew=date - now if steady and date is not None else None,
            answered=now if steady else asked,
        )


def open_session(resolver: aiohttp.abc.AbstractResolver | None = None, *, keep: bool = True) -> aiohttp.ClientSession:
    """A session for all workspaces, without cookies and without proxies from the environment.

    `keep` keeps idle connections open for the next poll. The clients' places do not count idle connections, so set it
    only if the process may open two file descriptors for each workspace.
    """
    return aiohttp.ClientSession(
        # The clients' places limit the connections; aiohttp's own limit would count waiting as the server's time.
        connector=Connector(limit=0, resolver=resolver, force_close=not keep),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
        # aiohttp would decompress without a limit; `_read_body` stops at `max_bytes`.
        auto_decompress=False,
        request_class=Request,
    )


def keep_connections(session: aiohttp.ClientSession, *, keep: bool) -> None:
    """Sets `keep` for a session of `open_session`."""
    cast(Connector, session.connector).keep(keep=keep)


def identity(external_url: str) -> str:
    """The header `User-Agent`: the program, its version, and where people find this exporter if that is configured."""
    return f"{USER_AGENT} (+{URL(external_url)})" if external_url else USER_AGENT


def _with_authorization(headers: Mapping[str, str], url: str) -> dict[str, str]:
    value = address.authorization(url)
    return {**headers} if value is None else {**headers, "Authorization": value}


async def _diagnosed(exchange: Exchange, response: Response, known: dict[int, Operation]) -> Result:
    if len(response.body) > LARGE:
        with suppress(RuntimeError):  # no thread can be started
            return await asyncio.to_thread(diagnosis.read, exchange, response)
    return diagnosis.read(exchange, response, known)


async def _read(response: aiohttp.ClientResponse | Received, most: int) -> Response:
    most = most if response.status == HTTPStatus.OK else min(most, MOST_OF_AN_ERROR)
    try:
        body = await _read_body(response, most)
    except zlib.error:
        body = UNREADABLE
    return Response(status=response.status, headers=response.headers, body=body[:most], too_large=len(body) > most)


async def _read_body(response: aiohttp.ClientResponse | Received, most: int) -> bytes:
    """The body, decompressed, or the first `most + 1` bytes. Raises `zlib.error` if it cannot be decompressed."""
    inflate = _inflater(response.headers.get("Content-Encoding", "identity"))
    body = bytearray()
    while chunk := await response.content.read(CHUNK):
        # One byte more than allowed is enough to know, so a small body that inflates to gigabytes costs no memory.
        room = most + 1 - len(body)
        body += chunk[:room] if inflate is None else _inflated(inflate, chunk, room)
        if len(body) > most:
            return bytes(body)
    if inflate is not None and not inflate.eof:
        raise zlib.error
    return bytes(body)


def _inflated(inflate: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    """The next bytes, `most` at most. Raises `zlib.error` if data follows the end of the stream."""
    piece = inflate.decompress(chunk, most)
    # zlib keeps in memory whatever follows the end, and a server can send that without end.
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


def _explain(error: Exception, timeout: float) -> tuple[Reason, str, str]:
    """The reason, the detail, and the remedy if one fits this very error."""
    if (insecure := _tls_error(error)) is not None:
        return Reason.TLS, f"TLS failed: {_plain(insecure)}", USE_HTTP if _is_plain_http(insecure) else ""
    match error:
        case TimeoutError():
            return Reason.TIMEOUT, f"no complete answer within {timeout:g} s", ""
        case aiohttp.ClientConnectorDNSError(os_error=NoLookUpError() as cause):
            return Reason.CONNECTION, f"the host {error.host} cannot be looked up: {cause.strerror}", RAISE_LIMIT
        case aiohttp.ClientConnectorDNSError() if error.os_error.errno == socket.EAI_AGAIN:
            return Reason.CONNECTION, f"no name server answers for the host {error.host}", ASK_DNS
        case aiohttp.ClientConnectorDNSError():
            return Reason.CONNECTION, f"no such host: {error.host}", CHECK_HOST
        case aiohttp.ClientHttpProxyError():
            return Reason.PROXY, f"the proxy answered with HTTP {error.status}", ""
        case aiohttp.ClientConnectorError():
            why = _plain(error.os_error)
            remedy = CHECK_TLS if why == SLAMMED else ""
            return Reason.CONNECTION, f"no connection to {error.host}:{error.port}: {why}", remedy
        case aiohttp.ClientResponseError() | HttpProcessingError() if TLS_ALERT in error.message:
            return Reason.TLS, diagnosis.USES_TLS, diagnosis.USE_HTTPS
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return Reason.INVALID, "the answer is not HTTP", ""
        case aiohttp.ClientError() | OSError():
            return Reason.CONNECTION, CLOSED, ""
        case _:
            return Reason.INTERNAL, f"{BUG}: {type(error).__name__}", ""


def _tls_error(error: BaseException | None) -> BaseException | None:
    """The TLS error behind this error, or `None`. OpenSSL's own says more than aiohttp's."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            cause: OSError = error.os_error
            return cause
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return error
        case aiohttp.ClientConnectionError():
            # With TLS 1.3 a server refuses a certificate after the handshake, so aiohttp sees a closed connection.
            return _tls_error(error.__cause__)
        case _:
            return None


def _is_plain_http(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER"


def _plain(error: BaseException) -> str:
    """The message of the operating system or of OpenSSL, without names of classes and files."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if _is_plain_http(error):
        return "the port does not use TLS; try http:// instead of https://"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no secure connection").lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    # aiohttp has no number for several addresses that fail for different reasons.
    return SLAMMED if isinstance(error, ConnectionError) else "none of its addresses can be reached"
