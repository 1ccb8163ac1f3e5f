"""aiohttp's connections, with more limits, and a quick way to send a request on one that is idle.

aiohttp has no options for this, so the module uses parts of it that are not documented. `client` limits the bodies of
answers.
"""

import asyncio
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import Final, Self, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from rc_import_exporter.core.domain import Api

MOST_INTERIM: Final = 8
"""Interim answers, such as 103 Early Hints, that may come before the final one. A proxy sends one or two."""
LARGE_READ: Final = 16 * 1024
SHORTEST_PIECE: Final = 16
"""If more bytes arrive at once, their lines and chunks must have so many on average. Rocket.Chat's have thousands."""
OLDEST_CONNECTION: Final = 60.0
"""Seconds. Only a new connection looks up the host's address, which can change."""


class Request(aiohttp.ClientRequest):
    """aiohttp's request. If the connection is lost before it is sent, it says why.

    With TLS 1.3, a server refuses a client's certificate after the handshake, and that may be before the request.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if self.url.name == Api.INFO:
            # The version is read once an hour, on a new connection. If that stayed, it would use up a file descriptor.
            cast(Protocol, conn.protocol).force_close()
        try:
            return await super().send(conn)
        except aiohttp.ClientConnectionResetError as error:
            raise error from cast(Protocol, conn.protocol).lost_by


class Protocol(ResponseHandler):
    """aiohttp's connection, with four limits more.

    It closes after too many interim answers in a row, and if much arrives at once in pieces of a few bytes: aiohttp
    reads both without end, and would keep the whole program busy. It is not used again after `OLDEST_CONNECTION`
    seconds, or if the server has sent something that was not asked for: aiohttp would take that for the next answer.
    """

    _interim = 0
    _begun = 0.0
    lost_by: BaseException | None = None
    """Why the connection was lost, if that was an error."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._begun = self._loop.time()
        super().connection_made(transport)

    def is_connected(self) -> bool:
        """Whether it can be used for the next request."""
        # The buffer holds answers without a request. Proxies say 408 before they close an idle connection.
        fresh = self._loop.time() - self._begun < OLDEST_CONNECTION
        return super().is_connected() and fresh and not self._buffer

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost_by = exc
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of an answer."""
        if len(data) > LARGE_READ and data.count(b"\r\n") * SHORTEST_PIECE > len(data):
            self._refuse("too many pieces")
        else:
            super().data_received(data)

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        """Takes the status line and headers of an answer."""
        # Beyond the limit the number stays: a final answer that has already arrived must not count any more.
        if self._interim <= MOST_INTERIM:
            self._interim = self._interim + 1 if data[0].code < HTTPStatus.OK else 0
        if self._interim <= MOST_INTERIM and len(self._buffer) <= MOST_INTERIM:
            super().feed_data(data, size)
        elif not self.is_eof():
            self._refuse("too many answers")

    def _refuse(self, why: str) -> None:
        error = HttpProcessingError(message=why)
        for reader in (self, self._payload):
            if reader is not None:
                reader.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class Connector(aiohttp.TCPConnector):
    """Makes connections of class `Protocol`. aiohttp has no options for what this sets in private attributes."""

    def __init__(self, *, limit: int, resolver: aiohttp.abc.AbstractResolver | None, force_close: bool) -> None:
        super().__init__(limit=limit, resolver=resolver, force_close=force_close)
        self._keepalive_timeout = OLDEST_CONNECTION
        self._once: aiohttp.ClientSession | None = None
        self._resolver_owner = True  # so that it is closed with the connector
        self._factory = cast("partial[ResponseHandler]", partial(Protocol, loop=self._loop))

    def keep(self, *, keep: bool) -> None:
        self._force_close = not keep

    async def idle(self, key: ConnectionKey) -> Connection | None:
        """A connection that is kept and can be used."""
        return await self._get(key, [])

    def forget(self, key: ConnectionKey) -> None:
        """Closes the connections that are kept: if the server has closed one of them, it has closed the others too."""
        for protocol, _ in self._conns.pop(key, ()):
            protocol.close()

    def without_retry(self, session: aiohttp.ClientSession) -> aiohttp.ClientSession:
        """The only session of this connector, without aiohttp's second try if a connection is lost."""
        if self._once is None:
            self._once = copy(session)
            self._once._retry_connection = False  # noqa: SLF001 - aiohttp has no option for it
        return self._once


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickRequest:
    """A GET request that can be sent many times: the connections that it can use, and its bytes."""

    key: ConnectionKey
    head: bytes = field(repr=False)

    @classmethod
    def of(
        cls,
        session: aiohttp.ClientSession,
        url: URL,
        *,
        headers: Mapping[str, str],
        ssl: SSLContext | bool,
        server_hostname: str | None,
    ) -> "QuickRequest":
        """The request that the session would send."""
        all_headers = session.headers.copy()
        all_headers.update(headers)
        request = aiohttp.ClientRequest(
            "GET", url, headers=all_headers, session=session, ssl=ssl, server_hostname=server_hostname
        )
        lines = [f"GET {url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        return cls(key=request.connection_key, head="\r\n".join([*lines, "", ""]).encode())


class Received:
    """The beginning of an answer. The context closes its connection unless the body was read to its end."""

    def __init__(self, connection: Connection, message: RawResponseMessage, content: aiohttp.StreamReader) -> None:
        self._connection = connection
        self.status = message.code
        self.headers = message.headers
        self.content = content

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._connection.release()


async def send(connection: Connection, request: QuickRequest) -> Received | None:
    """Sends a request on an idle connection. `None` if the server closes it without an answer.

    The session's own way takes twice as long, because it can do much that is not needed here.
    """
    protocol = cast(Protocol, connection.protocol)
    try:
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        cast(asyncio.WriteTransport, protocol.transport).write(request.head)
        message, content = await protocol.read()
        while message.code < HTTPStatus.OK and message.code != HTTPStatus.SWITCHING_PROTOCOLS:
            message, content = await protocol.read()
    except BaseException as error:
        connection.close()
        if isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
            return None
        raise
    return Received(connection, message, content)
