"""Credentials that change, bugs in the exporter, polls that hang, and the lines in the log."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog

from rc_import_exporter.app import App
from rc_import_exporter.config import settings
from rc_import_exporter.config.credentials import Credentials, File, Source
from rc_import_exporter.core.domain import Api, Reason, Result
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import Store
from rc_import_exporter.errors import CredentialsError
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.polling.poller import Poller
from rc_import_exporter.rocketchat.client import Access, Client, open_session
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.answers import VIEW_OPERATIONS
from rc_import_exporter.simulator.faults import FAULTS
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, LoopClock, SimulatedServers
from tests.support.pictures import picture
from tests.support.rig import Exporting, Page, configure, exporting

pytestmark = [pytest.mark.looptime]


def running(stage: Stage) -> None:
    """An import that runs for hours."""
    stage.create("csv")
    stage.load(users=400, seconds=10)
    stage.begin_run(seconds=40_000)
    stage.wait(40_000)


@asynccontextmanager
async def with_token_file(file: Path) -> AsyncIterator[tuple[App, SimulatedServers]]:
    """The exporter with its token in a file, over a server whose tokens can change."""
    clock = LoopClock()
    async with SimulatedServers({"acme": Story(running)}, clock=clock) as servers:
        options = {"url": servers.url("acme"), "user_id": USER_ID, "auth_token_file": str(file)}
        configured = settings.load({**options, "web.listen_address": "127.0.0.1:0"}, {})
        app = App(configured, now=clock.now)
        await app.start()
        try:
            yield app, servers
        finally:
            await app.stop()


def record(app: App) -> Record:
    """The workspace's record."""
    (known,) = app.store.snapshot.records.values()
    return known


def failed(app: App) -> int:
    """The number of calls that failed with 401."""
    return sum(count for (_, reason), count in record(app).failures.items() if reason is Reason.UNAUTHORIZED)


def events(caught: Sequence[structlog.types.EventDict], word: str) -> list[structlog.types.EventDict]:
    """The lines of the log that hold this text."""
    return [each for each in caught if word in str(each["event"])]


async def test_a_token_that_was_rotated_takes_effect_at_the_next_poll(tmp_path: Path) -> None:
    """A rotation must not cost a failed call."""
    file = tmp_path / "token"
    file.write_text(AUTH_TOKEN)
    async with with_token_file(file) as (app, servers):
        await asyncio.sleep(20)
        servers.workspaces["acme"].auth_token = "rotated"
        file.write_text("rotated\n")
        await asyncio.sleep(30)
        assert record(app).told
        assert failed(app) == 0


async def test_a_secret_that_kubernetes_renews_takes_effect(tmp_path: Path) -> None:
    """Kubernetes replaces a symlink to a folder, and the path of the file stays the same."""
    for version, token in (("..1", AUTH_TOKEN), ("..2", "rotated")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(token)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")
    async with with_token_file(tmp_path / "token") as (app, servers):
        await asyncio.sleep(20)
        servers.workspaces["acme"].auth_token = "rotated"
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await asyncio.sleep(30)
        assert record(app).told
        assert failed(app) == 0


async def test_a_401_reads_the_credentials_again_and_retries_once(tmp_path: Path) -> None:
    """Some file systems do not show a change, so the 401 itself is the sign."""
    file = tmp_path / "token"
    file.write_text("a" * len(AUTH_TOKEN))
    async with with_token_file(file) as (app, _):
        await asyncio.sleep(1)
        assert failed(app) > 0
        asked = sum(record(app).requests.values())
        await asyncio.sleep(4)
        assert sum(record(app).requests.values()) == asked
        file.write_text(AUTH_TOKEN)
        await asyncio.sleep(30)
        assert record(app).told


async def test_a_token_file_that_goes_missing_is_told_once(tmp_path: Path) -> None:
    """The exporter goes on with the last token, and must not repeat the line at each poll."""
    file = tmp_path / "token"
    file.write_text(AUTH_TOKEN)
    with structlog.testing.capture_logs() as caught:
        async with with_token_file(file) as (app, _):
            await asyncio.sleep(20)
            file.unlink()
            await asyncio.sleep(300)
            assert record(app).told
            assert len(events(caught, "credentials cannot be read")) == 1
            file.write_text(AUTH_TOKEN)
            await asyncio.sleep(30)
            assert len(events(caught, "credentials read")) == 1
    assert AUTH_TOKEN not in str(caught)


def test_a_keyring_without_credentials_is_none(tmp_path: Path) -> None:
    """At the start a missing file is a mistake in the configuration."""
    missing = File(option="auth_token_file", path=str(tmp_path / "none"))
    with pytest.raises(CredentialsError):
        Keyring(Source(user_id=missing, auth_token=missing), lambda: 0.0, "acme")


class Broken(Client):
    """A client with a bug: its first calls raise, and later ones work."""

    def __init__(self, session: aiohttp.ClientSession, access: Access, now: Callable[[], float], faults: int) -> None:
        super().__init__(session, access, now)
        self._faults = faults

    async def ask(self, api: Api, credentials: Credentials) -> Result:
        """Raises at first."""
        if self._faults:
            self._faults -= 1
            raise RuntimeError("made for a test")
        return await super().ask(api, credentials)


async def test_a_fault_of_ours_is_logged_counted_and_survived() -> None:
    """A bug must be visible and must not end the polls."""
    clock = LoopClock()
    async with SimulatedServers({"acme": Story(running)}, clock=clock) as servers, open_session() as session:
        workspace = configure({"acme": servers.url("acme")}).workspaces["acme"]
        store = Store(picture([Record(target=workspace.target)]))
        access = Access(url=servers.url("acme"), timeout=10, max_bytes=1024 * 1024)
        keyring = Keyring(workspace.credentials, clock.now, "acme")
        poller = Poller("acme", Broken(session, access, clock.now, 3), keyring, store, clock.now)
        with structlog.testing.capture_logs() as caught:
            task = asyncio.create_task(poller.run(0))
            await asyncio.sleep(100)
            task.cancel()
    known = store.snapshot.records["acme"]
    assert known.told
    assert known.failures == {(Api.STATUS, Reason.INTERNAL): 1}
    assert len(events(caught, "a fault of the exporter itself")) == 1


async def test_no_workspace_blinds_another() -> None:
    """One broken server must not change what is published about others."""

    def spoilt(name: str) -> Story:
        def tell(stage: Stage) -> None:
            stage.fault(FAULTS[name])
            running(stage)

        return Story(tell)

    broken = {re.sub(r"[^a-z0-9]", "-", name.lower()): spoilt(name) for name in FAULTS}
    async with exporting({**broken, "well": Story(running)}, max_response_bytes="64KiB") as exporter:
        await asyncio.sleep(20)
        page = await exporter.page()
    assert page.value("up", workspace="well") == 1
    assert page.one("state", "well") == "importing"
    assert page.value("operations_started_total", workspace="well") == 0
    assert [name for name in broken if page.value("up", workspace=name) != 0] == []
    assert [name for name in broken if page.one("state", name) is not None] == []
    assert page.series("failing", workspace="well") == {}


async def test_series_vanish_when_they_are_stale_and_come_back() -> None:
    """Old values must not look current; counters never go away."""

    def away(stage: Stage) -> None:
        stage.create("csv")
        stage.wait(60)
        stage.crash(300)
        stage.wait(600)

    async with exporting({"acme": Story(away)}) as exporter:
        await asyncio.sleep(58)
        before = (await exporter.page()).names(workspace="acme")
        await asyncio.sleep(62)
        held = await exporter.page()
        assert held.value("up", workspace="acme") == 0
        assert held.one("state", "acme") == "new"
        await asyncio.sleep(60)
        gone = before - (await exporter.page()).names(workspace="acme")
        assert {name for name in gone if not name.startswith("operation_")} == {
            "state",
            "step",
            "outcome",
            "recent_operations",
        }
        await asyncio.sleep(260)
        assert (await exporter.page()).names(workspace="acme") >= before - {"operation_valid"}


async def test_a_poller_that_hangs_is_seen_by_the_clock() -> None:
    """A poll that hangs reports no failure, so only the clock shows it."""
    async with exporting({"acme": Story(running)}) as exporter:
        await asyncio.sleep(30)
        (poller,) = [task for task in asyncio.all_tasks() if task.get_name() == "poller acme"]
        poller.cancel()
        await asyncio.sleep(200)
        page = await exporter.page()
        assert page.value("up", workspace="acme") == 0
        assert page.one("state", "acme") is None
        assert page.series("failing", workspace="acme") == {}


async def test_the_log_tells_transitions_and_not_repetitions() -> None:
    """A long outage must not fill the log."""
    with structlog.testing.capture_logs() as caught:
        async with exporting({"acme": Story(stories.crash(waiting=30, running=600, killed_after=200, away=175))}):
            await asyncio.sleep(900)
    assert len(events(caught, "poll failed")) == 1
    assert len(events(caught, "poll succeeds again")) == 1
    (cut,) = events(caught, "cut off")
    assert "the server that ran it stopped or crashed" in str(cut["event"])
    assert cut["state"] == "error"
    states = [each["state"] for each in events(caught, "import state")]
    assert states == ["none", "new", "loading", "ready", "importing"]
    assert all(each["log_level"] in ("info", "warning", "error") for each in caught)


async def test_a_read_only_token_is_enough_and_said_to_be() -> None:
    """The least privilege must not look like a problem."""
    with structlog.testing.capture_logs() as caught:
        async with exporting({"acme": Story(stories.read_only(running))}) as exporter:
            await asyncio.sleep(1000)
            page = await exporter.page()
    assert page.value("up", workspace="acme") == 1
    (refusal,) = events(caught, "another one is enough")
    assert refusal["log_level"] == "info"
    assert not [each for each in caught if each["log_level"] != "info"]


async def test_the_default_budget_is_never_used_up() -> None:
    """The server allows 10 calls a minute, and a second replica needs some of them."""

    def limited(stage: Stage) -> None:
        stage.limit_rate(10)
        running(stage)

    async with exporting({"acme": Story(limited)}) as first:
        second = App(configure({"acme": first.servers.url("acme")}), now=first.servers.clock.now)
        await second.start()
        await asyncio.sleep(600)
        await second.stop()
        assert refused(first) == []


def refused(exporter: Exporting) -> list[int | None]:
    """The status codes of the answers that were not 200."""
    return [seen.status for seen in exporter.servers.workspaces["acme"].requests if seen.status != 200]


async def test_permissions_that_come_and_go_are_noticed_without_a_restart() -> None:
    """An administrator should see the effect of a new permission without a restart of the exporter."""

    def changing(stage: Stage) -> None:
        stage.create("csv")
        stage.wait(60)
        stage.fault(FAULTS["refused permission"], Api.STATUS)
        stage.forbid(VIEW_OPERATIONS)
        stage.wait(400)
        stage.mend()
        stage.permit(VIEW_OPERATIONS)
        stage.wait(1000)

    async with exporting({"acme": Story(changing)}) as exporter:
        await asyncio.sleep(120)
        assert sources(await exporter.page()) == [Api.PROGRESS]
        await asyncio.sleep(700)
        page = await exporter.page()
        assert sources(page) == [Api.STATUS]
        assert page.value("up", workspace="acme") == 1
        assert page.series("failing", workspace="acme") == {}


def sources(page: Page) -> list[str]:
    """The endpoints that the state was read from."""
    return [dict(each)["source"] for each in page.series("operation_info")]


async def test_first_data_is_there_before_the_second_is_over() -> None:
    """The demo and a new dashboard should not look empty at first."""
    async with exporting(stories.demo()) as exporter:
        await asyncio.sleep(1)
        assert all(exporter.record(name).told for name in stories.demo())


async def test_an_exporter_stops_with_polls_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """Kubernetes kills a process that does not end in time."""

    def hanging(stage: Stage) -> None:
        stage.fault(FAULTS["hang"])
        stage.wait(3600)

    async with exporting({"acme": Story(hanging)}, timeout="5m"):
        await asyncio.sleep(1)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("poller")]
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
