"""However many workspaces there are, their polls get along with the descriptors that the system grants."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from rc_import_exporter import descriptors
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import SimulatedServers
from tests.support.commands import PROGRAM, config_file
from tests.support.rig import Page

PATIENCE: Final = 60.0
"""Seconds after which a test calls the program hung; nothing is measured by it."""
DESCRIPTORS: Final = 48
WORKSPACES: Final = 60


def granted(soft: int, hard: int, code: str) -> str:
    """What Python prints where the system grants so many descriptors."""
    command = ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """And the shares grow with it."""
    code = "from rc_import_exporter import descriptors; print(descriptors.share()); descriptors.raise_descriptors(); "
    assert granted(64, 512, code + "print(descriptors.share())").split() == ["16", "128"]


@pytest.mark.parametrize("error", [PermissionError, ValueError])
def test_a_system_that_does_not_raise_it_is_lived_with(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """A sandbox may forbid the call, and macOS does not take what it says itself."""

    def refuse(what: int, bounds: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (64, 512))
    descriptors.raise_descriptors()
    assert descriptors.share() == 16


def test_no_limit_at_all_is_not_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a share all the same, and so there is where the system does not tell."""
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.share() == descriptors.MOST // 4

    def refuse(what: int) -> tuple[int, int]:
        raise PermissionError

    monkeypatch.setattr(resource, "getrlimit", refuse)
    assert descriptors.share() == descriptors.FEWEST // 4


async def _text(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


async def test_more_workspaces_than_descriptors_are_polled_all_the_same(tmp_path: Path) -> None:
    """Each has a server of its own, and is asked again and again: none ever fails, nothing is complained of."""
    async with AsyncExitStack() as stack:
        urls = {}
        for name in (f"w{index}" for index in range(WORKSPACES)):
            servers = await stack.enter_async_context(SimulatedServers({name: Story(stories.idle())}))
            urls[name] = servers.url(name)
        options = {"web": {"listen_address": "127.0.0.1:0"}, "poll_interval": "2s", "poll_interval_idle": "2s"}
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh"),
            *(*PROGRAM, config_file(tmp_path, urls, **options)),
            env=dict(os.environ),
            stderr=PIPE,
        )
        try:
            logged = await asyncio.wait_for(_polled_thrice(process), PATIENCE)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()
    assert "descriptor" not in logged
    assert "Traceback" not in logged


async def _polled_thrice(process: asyncio.subprocess.Process) -> str:
    """Checks the pages until each workspace has been polled three times, ends the program, and gives its log."""
    assert process.stderr is not None
    first = (await process.stderr.readline()).decode()
    port = int(first.partition("address=127.0.0.1:")[2].split()[0])
    while True:
        page = Page(await _text(port))
        polls = [page.value("exporter_polls_total", workspace=f"w{index}") for index in range(WORKSPACES)]
        if all(count is not None and count >= 3 for count in polls):
            break
        await asyncio.sleep(0.2)
    assert [page.value("up", workspace=f"w{index}") for index in range(WORKSPACES)] == [1] * WORKSPACES
    process.terminate()
    return (await process.stderr.read()).decode()
