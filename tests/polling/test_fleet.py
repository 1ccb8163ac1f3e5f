"""Many workspaces: polls stay spread over time, a slow server delays no other, and the exporter stops at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Final

import pytest
import structlog

from rc_import_exporter.core import schedule
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.simulator.server import LoopClock
from tests.support.peers import http
from tests.support.rig import configure

pytestmark = [pytest.mark.looptime]

NAMES: Final = [f"tenant-{number:04}" for number in range(1000)]
INTERVAL: Final = 15.0
ANSWERS: Final = {
    "import.status": http(b'{"state":"none","success":true}'),
    "getLatestImportOperations": http(b"[]"),
    "info": http(b'{"version":"8.6","success":true}'),
}


class Servers:
    """The servers of all workspaces on one socket. It notes who asked when, by the loop's clock.

    While `down` is set, each connection is closed as soon as a request arrives. Workspaces in `slow` get no answer.
    """

    def __init__(self) -> None:
        self.down = False
        self.slow: frozenset[str] = frozenset()
        self.seen: dict[str, list[float]] = {}

    def answer(self, path: str) -> bytes | None:
        """The answer, "" for none, `None` to close the connection."""
        name, _, endpoint = path.strip("/").partition("/api/")
        endpoint = endpoint.removeprefix("v1/")
        if endpoint != "info":
            self.seen.setdefault(name, []).append(asyncio.get_running_loop().time())
        if self.down:
            return None
        return b"" if name in self.slow else ANSWERS[endpoint]


class Peer(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        answer = self._servers.answer(data.split(b" ", 2)[1].decode())
        if answer is None:
            self._transport.abort()
        else:
            self._transport.write(answer)


@asynccontextmanager
async def polled(names: list[str], servers: Servers) -> AsyncIterator[Fleet]:
    """A fleet that polls these workspaces until the block ends."""
    loop = asyncio.get_running_loop()
    options = {"poll_interval": "15s", "poll_interval_idle": "15s", "timeout": "10s"}
    async with await loop.create_server(lambda: Peer(servers), "127.0.0.1", 0, backlog=4096) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        fleet = Fleet(configure({name: f"{url}/{name}" for name in names}, options), LoopClock().now)
        await fleet.start()
        try:
            yield fleet
        finally:
            await fleet.stop()


async def test_many_that_lose_the_network_come_back_spread_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All servers are away for some minutes. Neither then nor later do the workspaces meet in one second.

    A thousand first polls are spread over an interval, and so are these. See `test_schedule` for a thousand.
    """
    names, servers = NAMES[:60], Servers()
    monkeypatch.setattr(schedule, "FIRST_POLL_SPACING", INTERVAL / len(names))
    with structlog.testing.capture_logs():
        async with polled(names, servers):
            await asyncio.sleep(20)
            servers.down = True
            await asyncio.sleep(150)
            servers.down = False
            back = asyncio.get_running_loop().time()
            await asyncio.sleep(schedule.SOON + INTERVAL)
    first = [min(at for at in seen if at >= back) for seen in servers.seen.values()]
    assert len(first) == len(names)
    assert max(first) - back <= schedule.SOON
    seconds = Counter(int(at) for seen in servers.seen.values() for at in seen)
    assert max(seconds.values()) <= 4 * 2 * len(names) / INTERVAL


async def test_fifty_slow_servers_delay_no_other() -> None:
    """The others are polled each interval, to a tenth of a second."""
    servers = Servers()
    servers.slow = frozenset(NAMES[:50])
    async with polled(NAMES[:70], servers):
        await asyncio.sleep(5 * INTERVAL)
    for name in NAMES[50:70]:
        gaps = [after - before for before, after in pairwise(servers.seen[name][::2])]
        assert gaps == pytest.approx([INTERVAL] * 4, abs=0.1)


async def test_polls_of_many_workspaces_begin_together_and_at_their_interval() -> None:
    """Each instant at which polls begin wakes an idle processor, which costs as much as a part of a poll."""
    servers = Servers()
    async with polled(NAMES[: schedule.MANY], servers):
        await asyncio.sleep(5 * INTERVAL)
    polls = [seen[::2] for seen in servers.seen.values()]
    assert len({round(at, 3) for seen in polls for at in seen[-2:]}) <= 2 * (1.5 / schedule.LONGEST_SLOT + 1)
    for seen in polls:
        gaps = [after - before for before, after in pairwise(seen[-4:])]
        assert gaps == pytest.approx([INTERVAL] * 3, abs=schedule.LONGEST_SLOT + 0.01)


async def test_polls_that_waited_together_come_apart_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter was stopped, or busy, for almost an interval. Its polls must not come together for ever."""
    stopped_until, wake = [0.0], schedule.wake
    monkeypatch.setattr(schedule, "wake", lambda at, workspaces: max(wake(at, workspaces), stopped_until[0]))
    monkeypatch.setattr(schedule, "FIRST_POLL_SPACING", INTERVAL / 60)
    names, servers, loop = NAMES[:60], Servers(), asyncio.get_running_loop()
    async with polled(names, servers):
        begun = loop.time()
        stopped_until[0] = begun + 1.9 * INTERVAL
        await asyncio.sleep(6 * INTERVAL)
    seconds = Counter(int(at - begun) for seen in servers.seen.values() for at in seen[::2])
    together = int(1.9 * INTERVAL)
    assert seconds[together] > len(names) / 2
    assert max(count for second, count in seconds.items() if second > together + 1) <= 4 * len(names) / INTERVAL
    for seen in servers.seen.values():
        gaps = [after - before for before, after in pairwise(seen[::2])]
        assert all(INTERVAL / 2 <= gap <= 2 * INTERVAL for gap in gaps)
        assert gaps[-2:] == pytest.approx([INTERVAL] * 2, abs=0.01)


async def test_polls_under_way_end_at_once() -> None:
    """No poll waits for its timeout, however many there are."""
    servers = Servers()
    servers.slow = frozenset(NAMES)
    async with polled(NAMES[:300], servers) as fleet:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(5)
        assert len(servers.seen) == 300
        before = loop.time()
        await fleet.stop()
        assert loop.time() - before < 0.1
