"""A real Prometheus scrapes the exporter during an import, in both formats."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from rc_import_exporter.app import App
from rc_import_exporter.core.domain import Outcome, State
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import SimulatedServers
from tests.support.prometheus import PATIENCE, eventually, query, scraping, targets
from tests.support.rig import configure

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.timeout(90)]

ATTACHED: Final = dict.fromkeys(("endpoint", "namespace", "pod", "container", "service", "node"), "attached")
TEXT: Final = "text/plain;version=0.0.4;q=1"


@asynccontextmanager
async def forwarding(url: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that asks for the text format: its port, and the types of the answers."""
    types: list[str] = []

    async def forward(request: web.Request) -> web.Response:
        headers = {"Accept": TEXT, "Accept-Encoding": "gzip"}
        async with aiohttp.ClientSession(auto_decompress=False) as session, session.get(url, headers=headers) as answer:
            types.append(answer.headers["Content-Type"])
            passed = {name: answer.headers[name] for name in ("Content-Type", "Content-Encoding")}
            return web.Response(body=await answer.read(), headers=passed)

    application = web.Application()
    application.add_routes([web.get("/metrics", forward)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], types
    finally:
        await runner.cleanup()


def jobs(ports: Mapping[str, int]) -> list[Mapping[str, object]]:
    """A job for each port."""
    return [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": ATTACHED}]}
        for job, port in ports.items()
    ]


async def test_prometheus_reads_an_import_in_both_formats(tmp_path: Path) -> None:
    """Prometheus reports no error, stores all series, and renames none of our labels."""
    telling = stories.csv_migration(waiting=2, running=5)
    async with SimulatedServers({"acme": Story(telling)}) as servers:
        options = {"poll_interval": "1s", "poll_interval_idle": "1s", "workspaces.acme.labels.team": "chat"}
        app = App(configure({"acme": servers.url("acme")}, options))
        port = await app.start()
        async with (
            forwarding(f"http://127.0.0.1:{port}/metrics") as (text_port, types),
            scraping(tmp_path, jobs({"openmetrics": port, "text": text_port})) as url,
        ):
            await eventually(url, 'rocketchat_import_outcome{outcome="running"} == 1', 2)
            await eventually(url, 'rocketchat_import_outcome{outcome="completed_with_errors"} == 1', 2)
            await eventually(
                url, 'rocketchat_import_operations_finished_total{outcome="completed_with_errors"} == 1', 2
            )
            for target in await targets(url):
                assert (target["health"], target["lastError"]) == ("up", "")
            assert len(await query(url, "min_over_time(up[1m]) == 1")) == 2
            assert len(await query(url, "rocketchat_import_up == 1")) == 2
            assert len(await query(url, "rocketchat_import_state")) == 2 * len(State)
            assert len(await query(url, "rocketchat_import_outcome")) == 2 * len(Outcome)
            assert len(await query(url, 'rocketchat_import_workspace_info{team="chat"}')) == 2
            assert len(await query(url, "rocketchat_import_exporter_request_duration_seconds_count")) == 2 * 3
            ours = await query(url, '{__name__=~"rocketchat_import_.*|process_.*|python_.*"}')
            assert not [series for series in ours for label in series if label.startswith("exported_")]
            names = {
                job: {series["__name__"] for series in ours if series["job"] == job} for job in ("openmetrics", "text")
            }
            assert (
                names["openmetrics"] - {name for name in names["openmetrics"] if name.endswith("_created")}
                == names["text"]
            )
            assert all(series["pod"] == "attached" for series in ours)
        await app.stop()
    assert types
    assert all(each.startswith("text/plain; version=0.0.4") for each in types)


async def test_prometheus_asks_for_openmetrics_by_itself(tmp_path: Path) -> None:
    """Otherwise the test above would read the text format twice."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        asked.put_nowait(request.headers.get("Accept", ""))
        return web.Response(text="")

    application = web.Application()
    application.add_routes([web.get("/metrics", hear)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with scraping(tmp_path, jobs({"heard": runner.addresses[0][1]})), asyncio.timeout(PATIENCE):
        accept = await asked.get()
    await runner.cleanup()
    assert accept.startswith("application/openmetrics-text")
