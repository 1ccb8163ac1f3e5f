"""The polls of many workspaces work with few file descriptors."""

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
"""Seconds after which a test gives up."""
DESCRIPTORS: Final = 48
WORKSPACES: Final = 60


def granted(soft: int, hard: int, code: str) -> str:
    """What Python prints under these limits of descriptors."""
    command = ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """Polls and scrapes then get more descriptors."""
    code = "from rc_import_exporter import descriptors; print(descriptors.share()); descriptors.raise_descriptors(); "
    assert granted(64, 512, code + "print(descriptors.share())").split() == ["16", "128"]


@pytest.mark.parametrize("error", [PermissionError, ValueError])
def test_it_works_if_the_limit_cannot_be_raised(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """A sandbox may forbid the call, and macOS refuses the limit that it reports."""

    def refuse(what: int, bounds: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (64, 512))
    descriptors.raise_descriptors()
    assert descriptors.share() == 16


def test_without_a_limit_a_fixed_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter uses fixed limits if the system names none."""
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.share() == descriptors.MOST // 4

    def refuse(what: int) -> tuple[int, int]:
        raise PermissionError

    monkeypatch.setattr(resource, "getrlimit", refuse)
    assert descriptors.share() == descriptors.FEWEST // 4


async def _text(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


async def test_more_workspaces_than_descriptors_are_all_polled(tmp_path: Path) -> None:
    """Polls wait for a free descriptor. None fails, and the log has no complaint."""
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
    """Wait until each workspace was polled three times, stop the program, and return its log."""
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
