"""The whole exporter: it starts its parts in order, publishes at once, and stops."""

import asyncio
import gc
import logging
import os
import signal

import aiohttp
import pytest

from rc_import_exporter import logs
from rc_import_exporter.app import App
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.faults import FAULTS
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import LoopClock
from tests.support.rig import configure, exporting

pytestmark = [pytest.mark.looptime]


async def get(url: str) -> int:
    """The status of a page."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def test_it_is_ready_when_each_workspace_answered_or_failed() -> None:
    """It waits for a server that hangs until the timeout. `/-/healthy` answers 200 at once."""

    def hanging(stage: Stage) -> None:
        stage.fault(FAULTS["hang"])
        stage.wait(3600)

    async with exporting({"hangs": Story(hanging), "well": Story(stories.idle())}) as exporter:
        await asyncio.sleep(5)
        assert await get(f"{exporter.url}/-/healthy") == 200
        assert await get(f"{exporter.url}/-/ready") == 503
        assert (await exporter.page()).value("up", workspace="well") == 1
        await asyncio.sleep(10)
        assert await get(f"{exporter.url}/-/ready") == 200


async def test_a_scrape_never_waits_for_rocket_chat() -> None:
    """If every server hangs, the page still comes at once."""

    def hanging(stage: Stage) -> None:
        stage.fault(FAULTS["hang"])
        stage.wait(3600)

    async with exporting({"hangs": Story(hanging)}, timeout="5m") as exporter:
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        assert (await exporter.page()).value("up", workspace="hangs") == 0
        assert asyncio.get_running_loop().time() - before < 60


async def test_a_port_in_use_is_an_error_that_names_the_port() -> None:
    """The message has the host, the port and the reason. No part of the exporter keeps running."""
    clock = LoopClock()
    urls = {"acme": "http://127.0.0.1:9"}
    first = App(configure(urls), now=clock.now)
    port = await first.start()
    second = App(configure(urls, {"web.listen_address": f"127.0.0.1:{port}"}), now=clock.now)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
        await second.start()
    await second.stop()
    await first.stop()


async def test_a_file_without_a_certificate_is_a_configuration_error() -> None:
    """The error comes before anything starts."""
    with pytest.raises(ConfigurationError, match="tls"):
        App(configure({"acme": "https://chat.example.org"}, {"workspaces.acme.tls.ca_file": __file__}))


async def test_workspaces_are_published_before_they_answer() -> None:
    app = App(configure({"acme": "http://127.0.0.1:9"}), now=LoopClock().now)
    port = await app.start()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        page = await answer.text()
    await app.stop()
    assert 'rocketchat_import_up{workspace="acme"} 0' in page
    assert 'rocketchat_import_workspace_info{workspace="acme",url="http://127.0.0.1:9"} 1' in page


async def test_lost_log_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log cannot tell that it lost lines."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(logs, "STANDARD_ERROR", writer)
    async with exporting({"well": Story(stories.idle())}) as exporter:
        assert (await exporter.page()).value("exporter_log_lines_dropped_total") == 0
        logs.configure("info", "logfmt")
        logs.logger().info("lost")
        logging.shutdown()
        assert (await exporter.page()).value("exporter_log_lines_dropped_total") == 1
    os.close(writer)


async def test_the_collector_leaves_out_what_the_exporter_keeps_while_it_runs() -> None:
    """Otherwise each search stops the event loop, and longer with more workspaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    frozen = []

    def announce(port: int) -> None:
        gc.collect(1)
        frozen.append(gc.get_freeze_count())
        signal.raise_signal(signal.SIGTERM)

    app = App(configure({"acme": "http://127.0.0.1:9"}), now=LoopClock().now)
    try:
        await app.serve(announce)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert frozen[0] > 0
    assert gc.get_freeze_count() == 0
