"""Simulated Rocket.Chat servers on a real socket.

Scripts decide the answers. This module adds credentials, the rate limiter, delays and broken connections. It reads the
time from `clock`, so that tests can use virtual time.
"""

import asyncio
import math
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Final, Protocol, Self

from aiohttp import web

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.answers import not_found, too_many_requests
from rc_import_exporter.simulator.scenario import LATEST
from rc_import_exporter.simulator.script import Answer, Call, Outage, Reply, Script

USER_ID: Final = "simulatedUser0001"
AUTH_TOKEN: Final = "simulated-auth-token"
WINDOW: Final = 60.0
"""Seconds for which the rate limiter counts, from the first call on."""
REMEMBERED: Final = 10_000
DRIPS: Final = 20
"""Pieces in which a slow body is sent."""

_CLOSE_WITH_RESET: Final = struct.pack("ii", 1, 0)


class Clock(Protocol):
    """Gives the time."""

    def now(self) -> float:
        """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WallClock:
    """The machine's clock, `ahead` seconds fast."""

    ahead: float = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopClock:
    """The running event loop's clock, real or virtual. `zero` is the Unix time at its zero."""

    zero: float = 1_800_000_000.0

    def now(self) -> float:
        """Unix seconds. Needs a running event loop."""
        return self.zero + asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that was made. `at` is in Unix seconds; `status` is `None` if it got no answer."""

    at: float
    endpoint: str
    method: str
    status: int | None


@dataclass(slots=True, kw_only=True)
class SimulatedWorkspace:
    """A running script, its credentials, and the requests that it got.

    `started` is when the script began, in Unix seconds. `former_token` is accepted too, unless it is empty.
    """

    script: Script
    started: float
    user_id: str
    auth_token: str
    former_token: str = ""
    requests: deque[Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _windows: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def answer(self, request: web.BaseRequest, endpoint: str, now: float) -> Answer:
        """The script's answer, or the rate limiter's."""
        call = Call(
            endpoint=endpoint,
            at=now - self.started,
            started=self.started,
            authenticated=self._authenticated(request),
            extra_query=bool(request.query_string),
        )
        answer = self.script.answer(call)
        limit = self.script.limit(call.at)
        if limit is None or not isinstance(answer, Reply) or not answer.limited:
            return answer
        return self._limited(answer, (request.remote or "", endpoint), limit, now)

    def _authenticated(self, request: web.BaseRequest) -> bool:
        user_id, token = (request.headers.get(name, "") for name in ("X-User-Id", "X-Auth-Token"))
        return user_id == self.user_id and token != "" and token in (self.auth_token, self.former_token)

    def _limited(self, reply: Reply, client: tuple[str, str], limit: int, now: float) -> Reply:
        """The reply with the limiter's headers, or its refusal: a fixed window that refused calls do not extend."""
        began, calls = self._windows.get(client, (now, 0))
        if now >= began + WINDOW:
            began, calls = now, 0
        self._windows[client] = (began, calls + 1)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - calls - 1)),
            "X-RateLimit-Reset": str(round((began + WINDOW) * 1000)),
        }
        allowed = reply if calls < limit else too_many_requests(math.ceil(began + WINDOW - now))
        return replace(allowed, headers={**allowed.headers, **headers})


class SimulatedServers:
    """Many workspaces on one socket, each below its own path: `http://127.0.0.1:1234/acme`."""

    def __init__(
        self,
        scripts: Mapping[str, Script],
        *,
        clock: Clock | None = None,
        user_id: str = USER_ID,
        auth_token: str = AUTH_TOKEN,
    ) -> None:
        self.clock: Clock = clock or WallClock()
        self.user_id = user_id
        self.auth_token = auth_token
        self.workspaces: dict[str, SimulatedWorkspace] = {}
        self.base_url = ""
        """The URL of the server as a whole, without a slash at the end. Empty before the start."""
        self._scripts = dict(scripts)
        self._stopping = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> str:
        """Listens, starts every script, and returns the base URL. Port 0 means any free port.

        Raises `OSError` if it cannot listen.
        """
        self._stopping.clear()
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        for name in self._scripts:
            self.begin(name)
        bound = self._runner.addresses[0][1]
        self.base_url = f"{'https' if tls else 'http'}://{host}:{bound}"
        return self.base_url

    async def stop(self) -> None:
        """Stops at once, even if a request hangs."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    def begin(self, name: str, script: Script | None = None) -> None:
        """Starts this workspace's script now, or another one in its place. The workspace can be new."""
        self.workspaces[name] = SimulatedWorkspace(
            script=script or self._scripts[name],
            started=self.clock.now(),
            user_id=self.user_id,
            auth_token=self.auth_token,
        )

    def url(self, name: str) -> str:
        """A workspace's base URL. The server must have been started."""
        return f"{self.base_url}/{name}" if name else self.base_url

    def elapsed(self, name: str) -> float:
        """Seconds since this workspace's script began."""
        return self.clock.now() - self.workspaces[name].started

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        name, endpoint = _split(request.path)
        workspace = self.workspaces.get(name)
        if workspace is None or endpoint is None or request.method not in {"GET", "HEAD"}:
            return self._response(not_found(LATEST))
        now = self.clock.now()
        answer = workspace.answer(request, endpoint, now)
        status = answer.status if isinstance(answer, Reply) else None
        workspace.requests.append(Seen(at=now, endpoint=endpoint, method=request.method, status=status))
        if isinstance(answer, Outage):
            return await self._no_answer(request, answer)
        return await self._send(request, answer)

    async def _no_answer(self, request: web.BaseRequest, outage: Outage) -> web.StreamResponse:
        """Ends the connection. Many workspaces share the socket, so it cannot stop listening for one of them."""
        if outage is Outage.HANG:
            await self._stopping.wait()
        _drop(request)
        return web.Response(status=503)

    async def _send(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        await self._pause(reply.delay)
        response = self._response(reply)
        if request.method == "HEAD" or not (reply.drip or reply.cut):
            return response
        stream = web.StreamResponse(status=reply.status, headers=response.headers)
        stream.content_length = len(reply.body)
        with suppress(ConnectionError):
            await stream.prepare(request)
            await self._trickle(stream, reply)
        if reply.cut:
            _drop(request)
        return stream

    async def _trickle(self, stream: web.StreamResponse, reply: Reply) -> None:
        body = reply.body[: len(reply.body) // 2] if reply.cut else reply.body
        piece = max(1, math.ceil(len(body) / DRIPS))
        for begin in range(0, len(body), piece):
            await stream.write(body[begin : begin + piece])
            await self._pause(reply.drip / DRIPS)

    def _response(self, reply: Reply) -> web.Response:
        date = formatdate(self.clock.now(), usegmt=True)
        return web.Response(status=reply.status, body=reply.body, headers={**reply.headers, "Date": date})

    async def _pause(self, seconds: float) -> None:
        """Sleeps until the time is over or the server stops."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()


class SimulatedServer(SimulatedServers):
    """One workspace on its own socket, at the root."""

    def __init__(
        self,
        script: Script,
        *,
        clock: Clock | None = None,
        user_id: str = USER_ID,
        auth_token: str = AUTH_TOKEN,
    ) -> None:
        super().__init__({"": script}, clock=clock, user_id=user_id, auth_token=auth_token)

    @property
    def requests(self) -> deque[Seen]:
        """The requests so far, the latest last."""
        return self.workspaces[""].requests

    @property
    def at(self) -> float:
        """Seconds since the script began."""
        return self.elapsed("")


def _split(path: str) -> tuple[str, str | None]:
    """A path's workspace and endpoint. The endpoint is `None` for a path outside of the API."""
    prefix, below_api, endpoint = path.partition("/api/")
    if not below_api:
        return prefix, None
    if endpoint == Api.INFO:
        return prefix.lstrip("/"), endpoint
    version, _, endpoint = endpoint.partition("/")
    return prefix.lstrip("/"), endpoint if version == "v1" else None


def _drop(request: web.BaseRequest) -> None:
    """Ends the connection with a reset, so that a client cannot take it for an answer."""
    transport = request.transport
    if transport is None:
        return
    plain = transport.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RESET)
    transport.abort()
