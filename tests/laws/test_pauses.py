"""An exporter that is stopped in the middle of a poll, or killed, over real sockets."""

import asyncio
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import aiohttp
import looptime
import pytest

from rc_import_exporter.app import App
from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.faults import slow
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import LoopClock, SimulatedServers
from rc_import_exporter.simulator.stories import HOUR
from tests.bench.load import free_port
from tests.support.commands import PROGRAM, config_file, simulated
from tests.support.rig import Page, configure

PAUSE: Final = 600.0
MOST_CALLS: Final = 8
"""Two polls of two endpoints. A call on a connection that was closed is made again."""
STALE_AFTER: Final = 1.5
POLLED: Final = 61.0
"""A second after a poll has begun. Its slow answers come two seconds later."""


@dataclass(slots=True, kw_only=True)
class MachineClock:
    """The clock of a machine that slept for some time, while the clock of timers stood still."""

    slept: float = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return LoopClock().now() + self.slept


@pytest.mark.looptime
@pytest.mark.parametrize("machine", [False, True], ids=["the process", "the machine"])
@pytest.mark.parametrize("late", [(Api.LIST,), (Api.STATUS, Api.LIST)], ids=["one answer", "both answers"])
async def test_answers_from_before_a_pause_are_not_fresh_after_it(late: tuple[Api, ...], *, machine: bool) -> None:
    """The server is gone when the exporter goes on, and what it said ten minutes ago may be over."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=40, seconds=5)
        stage.begin_run(seconds=3000)
        stage.fault(slow(3), *late)
        stage.wait(POLLED + 1)
        stage.go_down()
        stage.wait(3000)

    clock, loop = MachineClock(), cast(looptime.LoopTimeEventLoop, asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(SimulatedServers({"acme": Story(tell)}, clock=clock))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        app = App(configure({"acme": servers.url("acme")}), now=clock.now)
        stack.push_async_callback(app.stop)
        port = await app.start()
        await asyncio.sleep(POLLED)
        assert app.store.snapshot.records["acme"].told
        asked = len(servers.workspaces["acme"].requests)
        if machine:
            clock.slept = PAUSE
        else:
            loop.setup_looptime(start=loop.time() + PAUSE)
        for wait in (0, 0.1, 1, 2, 4, 12):
            await asyncio.sleep(wait)
            async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                page = Page(await response.text())
            assert page.value("up", workspace="acme") == 0
            assert page.one("state", "acme") is None
            assert page.value("server_clock_offset_seconds", workspace="acme") == 0
        assert len(servers.workspaces["acme"].requests) - asked <= MOST_CALLS


@pytest.mark.looptime
async def test_a_clock_that_is_set_back_during_a_call_delays_no_poll() -> None:
    """The next poll was planned by the old clock, and is an hour away by the new one."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.fault(slow(3), Api.STATUS, Api.LIST)
        stage.wait(HOUR)

    clock = MachineClock()
    async with SimulatedServers({"acme": Story(tell)}, clock=clock) as servers:
        app = App(configure({"acme": servers.url("acme")}), now=clock.now)
        await app.start()
        await asyncio.sleep(POLLED)
        asked = len(servers.workspaces["acme"].requests)
        clock.slept = -HOUR
        await asyncio.sleep(60)
        assert len(servers.workspaces["acme"].requests) > asked
        await app.stop()


def failed_before(stage: Stage) -> None:
    """An import failed an hour ago. The next one waits for its start."""
    stage.remember("csv", age=HOUR, step="import_failed", valid=True, total=50, completed=10, error=2)
    stage.create("csv")
    stage.wait(HOUR)


def options(port: int) -> dict[str, object]:
    return {
        "web": {"listen_address": f"127.0.0.1:{port}"},
        "poll_interval": "1s",
        "poll_interval_idle": "1s",
        "stale_after": f"{1000 * STALE_AFTER:.0f}ms",
        "log": {"level": "error"},
    }


@contextmanager
def daemon(flag: str) -> Iterator[subprocess.Popen[bytes]]:
    """The exporter as a process of its own."""
    with subprocess.Popen([*PROGRAM, flag], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def scraped(port: int) -> Page:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        return Page(response.read().decode())


def first_page(port: int) -> Page:
    """The first page with a state."""
    for _ in range(1000):
        with suppress(OSError):
            page = scraped(port)
            if page.one("state", "acme") is not None:
                return page
        time.sleep(0.02)
    raise TimeoutError


@pytest.mark.once
def test_a_process_that_is_stopped_or_killed_shows_nothing_old(tmp_path: Path) -> None:
    """The signals are real. After the kill another exporter starts, and counts only what it sees itself."""
    port = free_port()
    with simulated({"acme": Story(failed_before)}) as urls:
        flag = config_file(tmp_path, urls, **options(port))
        with daemon(flag) as process:
            before = first_page(port).series("last_finished_timestamp_seconds", workspace="acme")
            process.send_signal(signal.SIGSTOP)
            time.sleep(STALE_AFTER + 0.5)
            process.send_signal(signal.SIGCONT)
            page, now = scraped(port), time.time()
            answered = page.value("last_successful_poll_timestamp_seconds", workspace="acme") or 0.0
            assert page.one("state", "acme") is None or now - answered < STALE_AFTER
            process.send_signal(signal.SIGKILL)
        with daemon(flag):
            page = first_page(port)
            assert page.series("last_finished_timestamp_seconds", workspace="acme") == before
            for name in ("operations_started_total", "records_completed_total", "records_failed_total"):
                assert page.value(name, workspace="acme") == 0
            assert not any(page.series("operations_finished_total", workspace="acme").values())
