"""Many Rocket.Chat servers in one process, each with a running import: `python -m tests.bench.crowd PORT INTERVAL`.

All play one story, and the answers are made once a second, so that the servers cost less than the exporter that is
measured. `GET /late` gives as JSON how late the polls came since the last request for it: the seconds beyond INTERVAL
from one call of `import.status` of a workspace to the next.
"""

import asyncio
import json
import sys
import time
from email.utils import formatdate
from statistics import quantiles

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Call, Reply


def tell(stage: Stage) -> None:
    """Imports of the last weeks, and one that runs for hours."""
    for age in range(19):
        stage.remember("csv", age=86_400.0 * (20 - age), total=120, users=120, completed=117, error=3)
    stage.create("csv")
    stage.load(users=20, channels=8, messages=500_000, seconds=1.0)
    stage.begin_run(seconds=36_000.0)
    stage.wait(36_000.0)


class Crowd:
    """What all connections share: the answers of this second, and the times of the polls."""

    def __init__(self, interval: float) -> None:
        self._story = Story(tell)
        self._began = time.time()
        self._interval = interval
        self._answers: dict[str, tuple[int, bytes]] = {}
        self._last: dict[str, float] = {}
        self._late: list[float] = []

    def answer(self, path: str) -> bytes:
        """The response to a request for this path."""
        if path == "/late":
            return _response(json.dumps(self._take()).encode())
        name, _, endpoint = path.partition("/api/")
        endpoint = endpoint.removeprefix("v1/")
        if endpoint == Api.STATUS:
            self._note(name)
        second = int(time.time())
        made, response = self._answers.get(endpoint, (0, b""))
        if made != second:
            reply = self._story.answer(Call(endpoint=endpoint, at=second - self._began + 60.0, started=self._began))
            assert isinstance(reply, Reply)
            response = _response(reply.body, reply.status)
            self._answers[endpoint] = (second, response)
        return response

    def _note(self, name: str) -> None:
        now = time.monotonic()
        if name in self._last:
            self._late.append(now - self._last[name] - self._interval)
        self._last[name] = now

    def _take(self) -> dict[str, float]:
        late, self._late = self._late, []
        if len(late) < 2:
            return {"polls": len(late), "p50": 0.0, "p99": 0.0}
        cuts = quantiles(late, n=100)
        return {"polls": len(late), "p50": cuts[49], "p99": cuts[98]}


class Connection(asyncio.Protocol):
    """Requests without a body, one after the other."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._data = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each complete request."""
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            assert self._transport is not None
            self._transport.write(self._crowd.answer(head.split(b" ", 2)[1].decode()))


def _response(body: bytes, status: int = 200) -> bytes:
    date = formatdate(usegmt=True)
    head = (
        f"HTTP/1.1 {status} OK\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def serve(port: int, interval: float) -> None:
    """Serves until killed."""
    crowd = Crowd(interval)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(crowd), "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
