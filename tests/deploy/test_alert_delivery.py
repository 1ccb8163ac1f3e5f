"""From a server that stops during an import to the notification, through the real Prometheus and Alertmanager.

Both load the shipped examples. Only addresses, intervals and `for` are changed, so that the test does not wait.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

import pytest
import yaml
from aiohttp import ClientConnectionError, ClientSession, web

from deploy.prometheus.generate import PREFIX, RULES
from rc_import_exporter.app import App
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import SimulatedServers
from tests.support.rig import configure

EXAMPLES: Final = RULES.parent
PROGRAMS: Final = ("prometheus", "prometheus-alertmanager")
PATIENCE: Final = 120.0

Message = Mapping[str, object]


def adapted(name: str, folder: Path, changes: Mapping[str, str]) -> Path:
    """A copy of a shipped file with these texts replaced. Each must exist."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes.items():
        assert re.search(old, text), old
        text = re.sub(old, new, text)
    copy = folder / name
    copy.write_text(text)
    return copy


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return cast("int", free.getsockname()[1])


@asynccontextmanager
async def running(log: Path, *command: str | Path) -> AsyncIterator[None]:
    """Runs a program until the block ends."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=file, stderr=file)
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def webhook(messages: "asyncio.Queue[tuple[str, Message]]") -> AsyncIterator[str]:
    """A server that receives notifications, with the receiver's name in the path."""

    async def take(request: web.Request) -> web.Response:
        await messages.put((request.match_info["receiver"], await request.json()))
        return web.Response()

    application = web.Application()
    application.add_routes([web.post("/{receiver}", take)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def exporter() -> AsyncIterator[int]:
    """The port of an exporter whose server stops 10 s into an import and starts again 3 s later."""
    story = Story(stories.crash(waiting=1, running=60, killed_after=10, away=3))
    async with SimulatedServers({"acme": story}) as servers:
        polls = {"poll_interval": "1s", "poll_interval_idle": "1s"}
        app = App(configure({"acme": servers.url("acme")}, polls))
        try:
            yield await app.start()
        finally:
            await app.stop()


@asynccontextmanager
async def monitoring(folder: Path, target: int, receiver: str) -> AsyncIterator[None]:
    """Prometheus and Alertmanager with the shipped examples, with short intervals."""
    prometheus = free_port()
    adapted("rocketchat-import.rules.yml", folder, {r"(?m)^( +for:) \w+$": r"\1 1s"})
    async with alertmanager(folder, receiver) as alerts:
        configuration = adapted(
            "prometheus.yml",
            folder,
            {"15s": "1s", r"\[localhost:19458\]": f"[127.0.0.1:{target}]", "localhost:9093": f"127.0.0.1:{alerts}"},
        )
        async with running(
            folder / "prometheus.log",
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{prometheus}",
            # An alert that is sent before Alertmanager is up is sent again soon.
            "--rules.alert.resend-delay=1s",
        ):
            yield


@asynccontextmanager
async def alertmanager(folder: Path, receiver: str) -> AsyncIterator[int]:
    """The port of an Alertmanager with the shipped example, with short intervals."""
    port = free_port()
    changes = {"group_wait": "1s", "group_interval": "1s"}
    routes = adapted(
        "alertmanager.yml",
        folder,
        {rf"{key}: \w+": f"{key}: {value}" for key, value in changes.items()} | {"http://localhost:9095": receiver},
    )
    async with running(
        folder / "alertmanager.log",
        "prometheus-alertmanager",
        f"--config.file={routes}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ):
        yield port


@pytest.mark.program(*PROGRAMS)
@pytest.mark.timeout(2 * PATIENCE)
async def test_the_death_of_a_server_in_the_middle_of_an_import_wakes_someone(tmp_path: Path) -> None:
    """A label such as job or instance would start a new alert with each pod."""
    messages: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
    async with webhook(messages) as url, exporter() as port, monitoring(tmp_path, port, url), asyncio.timeout(PATIENCE):
        while True:
            receiver, message = await messages.get()
            if message["groupLabels"] == {"alertname": "RocketChatImportCutOff"}:
                break
    assert receiver == "pager"
    (alert,) = cast("list[Mapping[str, Mapping[str, str]]]", message["alerts"])
    assert alert["labels"] == {
        "alertname": "RocketChatImportCutOff",
        "severity": "critical",
        "workspace": "acme",
        "importer": "csv",
    }
    assert alert["annotations"]["runbook_url"] == f"http://127.0.0.1:{port}/runbook#rocketchatimportcutoff"
    assert alert["annotations"]["dashboard_url"] == ""
    assert f"http://127.0.0.1:{port}/workspaces/acme" in alert["annotations"]["description"]
    assert "It had processed " in alert["annotations"]["description"]


@pytest.mark.program(*PROGRAMS[1:])
@pytest.mark.timeout(2 * PATIENCE)
async def test_a_hundred_workspaces_that_lose_the_network_at_once_are_one_notification(tmp_path: Path) -> None:
    """If imports ran in some of them, the notification is about those and goes to the pager."""
    for running_imports, receiver in ((0, "chat"), (30, "pager")):
        messages: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        folder = tmp_path / receiver
        folder.mkdir()
        async with webhook(messages) as url, alertmanager(folder, url) as port, asyncio.timeout(PATIENCE):
            await announce(port, [_unseen(number, running_imports) for number in range(100)])
            first = await messages.get()
            await asyncio.sleep(3)
        assert first[0] == receiver
        assert len(cast("list[object]", first[1]["alerts"])) == (running_imports or 100)
        assert messages.empty()


def _unseen(number: int, running_imports: int) -> Mapping[str, Mapping[str, str]]:
    name, severity = ("LostSight", "critical") if number < running_imports else ("WorkspaceUnreachable", "warning")
    return {"labels": {"alertname": f"{PREFIX}{name}", "severity": severity, "workspace": f"workspace-{number}"}}


async def announce(port: int, alerts: Sequence[Mapping[str, Mapping[str, str]]]) -> None:
    """Sends alerts to Alertmanager, like Prometheus, as soon as it is up."""
    async with ClientSession() as session:
        while True:
            try:
                async with session.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=alerts) as answer:
                    answer.raise_for_status()
                    return
            except ClientConnectionError:
                await asyncio.sleep(0.05)


def test_the_receiver_for_rocketchat_itself_only_needs_its_comment_signs_removed() -> None:
    """It needs a newer Alertmanager than the rest, so it is in comments."""
    text = (EXAMPLES / "alertmanager.yml").read_text()
    chat = next(
        each
        for each in yaml.safe_load(re.sub(r"(?m)^    # (?=rocketchat_configs|  )", "    ", text))["receivers"]
        if each["name"] == "chat"
    )
    (configured,) = chat["rocketchat_configs"]
    assert set(configured) >= {"api_url", "channel", "token_id_file", "token_file", "send_resolved"}
