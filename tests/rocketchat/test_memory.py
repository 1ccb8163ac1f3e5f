"""No answer costs more than 64 MB, whatever it holds. Each one is small when it is compressed."""

import asyncio
import gzip
import sys
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rc_import_exporter.core.domain import Api, Reason
from rc_import_exporter.rocketchat import client, diagnosis
from rc_import_exporter.simulator.faults import MEBIBYTE
from rc_import_exporter.simulator.server import WallClock
from tests.hostile import bodies, http_answers
from tests.hostile.bodies import LARGE
from tests.hostile.fault import Site
from tests.hostile.symptoms import SILENT
from tests.support.peers import ask, http, reason, saying, speaking

MOST: Final = 64
"""MB."""


async def test_no_answer_of_a_server_costs_more_than_64_mb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's error page of 20 kB must not take a gigabyte. One process reads every answer of the table of faults."""
    site = Site(folder=tmp_path, patch=monkeypatch, now=WallClock().now)
    faults = [each for each in (*http_answers.FAULTS, *bodies.FAULTS) if each.symptom is not SILENT]
    async with AsyncExitStack() as stack:
        told = await cost([(await stack.enter_async_context(fault.serve(site)))["url"] for fault in faults])
    reasons = dict(zip((fault.name for fault in faults), told.reasons, strict=True))
    assert {name: reasons[name] for name in LARGE} == {name: symptom.reason for name, (_, _, symptom) in LARGE.items()}
    assert told.grown < MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What answers cost: for each its reason and the longest hold of the event loop in milliseconds, and MB in all."""

    reasons: list[Reason | None]
    held: list[float]
    grown: float


async def cost(urls: Sequence[str]) -> Cost:
    """What `tests.support.hostile` tells of these servers."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.hostile", *urls, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await program.communicate()
    return msgspec.json.decode(output, type=Cost)


async def test_an_error_is_read_up_to_64_kib() -> None:
    """An error page tells nothing that far in, and a server can send one without end."""
    for raw in (
        http(b"x" * MEBIBYTE, status="503 Service Unavailable"),
        http(gzip.compress(bytes(MEBIBYTE)), "Content-Encoding: gzip", status="503 Service Unavailable"),
    ):
        async with speaking(saying(raw)) as url:
            result = await ask(url)
        assert reason(result) is Reason.PROXY
        assert result.exchange.size == 64 * 1024


async def test_a_large_body_is_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes would wait for tens of milliseconds until a list of 8 MB is parsed."""
    on_the_loop = []

    def noted(*given: object) -> object:
        on_the_loop.append(threading.current_thread() is threading.main_thread())
        return read(*given)  # type: ignore[arg-type]

    read = diagnosis.read
    monkeypatch.setattr(diagnosis, "read", noted)
    for blanks in (0, client.LARGE):
        async with speaking(saying(http(b"[" + b" " * blanks + b"]"))) as url:
            assert reason(await ask(url, Api.LIST, max_bytes=2 * client.LARGE)) is None
    assert on_the_loop == [True, False]
