"""The configuration is reloaded while polls go on: by request, by signal and when a file changes."""

import asyncio
import gc
import json
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import structlog

from rc_import_exporter import garbage
from rc_import_exporter.app import App
from rc_import_exporter.config import settings
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.domain import Api, Target
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.simulator.answers import VIEW_OPERATIONS
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, LoopClock, SimulatedServers
from tests.support.rig import Page, configure

pytestmark = [pytest.mark.looptime]

SECRET = "Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Z"


def running(stage: Stage) -> None:
    """An import that runs for hours."""
    stage.create("csv")
    stage.load(users=400, seconds=10)
    stage.begin_run(seconds=40_000)
    stage.wait(40_000)


def forbidden(stage: Stage) -> None:
    """The list is forbidden for a minute, and `import.status` answers."""
    stage.create("csv")
    stage.forbid(VIEW_OPERATIONS)
    stage.wait(60)
    stage.permit(VIEW_OPERATIONS)
    stage.wait(40_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloading:
    """A running exporter whose configuration is a file."""

    app: App
    servers: SimulatedServers
    url: str
    file: Path
    session: aiohttp.ClientSession
    prepared: deque[Settings]
    """What the next reloads read instead of the file."""

    def workspace(self, name: str, **options: object) -> dict[str, object]:
        """The options of a workspace of the servers."""
        return {"url": self.servers.url(name), "user_id": USER_ID, "auth_token": AUTH_TOKEN, **options}

    def targets(self) -> list[Target]:
        """What is watched; a poll that ends meanwhile changes other parts of the records."""
        return [record.target for record in self.app.store.snapshot.records.values()]

    def configure(self, *names: str, **options: object) -> None:
        """Writes a configuration with these workspaces."""
        self.write({"workspaces": {name: self.workspace(name) for name in names}, **options})

    def write(self, content: Mapping[str, object] | bytes) -> None:
        """Writes the configuration: bytes, or JSON, which is YAML."""
        self.file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    async def reload(self) -> tuple[int, str]:
        """Reloads by request: the status and the text of the answer."""
        async with self.session.post(f"{self.url}/-/reload") as answer:
            return answer.status, await answer.text()

    async def get(self, path: str) -> tuple[int, str]:
        """The status and the text of a page."""
        async with self.session.get(f"{self.url}{path}") as answer:
            return answer.status, await answer.text()

    async def page(self) -> Page:
        """The page of `/metrics`."""
        return Page((await self.get("/metrics"))[1])

    def record(self, name: str) -> Record:
        """The record of a workspace."""
        return self.app.store.snapshot.records[name]

    def asked(self, name: str) -> int:
        """How often a server was asked."""
        return len(self.servers.workspaces[name].requests)


@asynccontextmanager
async def reloading(
    file: Path, *names: str, story: Callable[[Stage], None] = running, **options: str
) -> AsyncIterator[Reloading]:
    """Starts the exporter with the workspace `acme` of these names. Option names have `__` for a dot."""
    clock = LoopClock()
    given = {"web.enable_lifecycle": "true", **{name.replace("__", "."): text for name, text in options.items()}}
    flags = {"web.listen_address": "127.0.0.1:0", "config.file": str(file), **given}

    prepared: deque[Settings] = deque()

    async def load(last: Settings | None = None) -> Settings:
        return prepared.popleft() if prepared else settings.load(flags, {}, last)

    async with (
        SimulatedServers({name: Story(story) for name in names}, clock=clock) as servers,
        aiohttp.ClientSession() as session,
    ):
        first = {"url": servers.url("acme"), "user_id": USER_ID, "auth_token": AUTH_TOKEN}
        await asyncio.to_thread(file.write_text, json.dumps({"workspaces": {"acme": first}}))
        app = App(await load(), now=clock.now, load=load)
        port = await app.start()
        try:
            url = f"http://127.0.0.1:{port}"
            yield Reloading(app=app, servers=servers, url=url, file=file, session=session, prepared=prepared)
        finally:
            await app.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration's file."""
    return tmp_path / "config.yml"


async def test_new_workspaces_start_and_removed_ones_vanish(file: Path) -> None:
    """The one that stays keeps its history, its counters and its place in the schedule, and readiness is not lost."""
    async with reloading(file, "acme", "beta", "gone") as exporter:
        exporter.configure("acme", "gone")
        assert await exporter.reload() == (200, "reloaded\n")
        await asyncio.sleep(100)
        kept, asked = exporter.record("acme"), exporter.asked("acme")
        assert (await exporter.get("/-/ready"))[0] == 200
        assert "gone" in (await exporter.page()).text
        await exporter.get("/metrics?workspace=gone")
        exporter.configure("acme", "beta")
        before = (await exporter.page()).value("exporter_config_last_reload_success_timestamp_seconds")
        await asyncio.sleep(1)
        assert (await exporter.reload())[0] == 200
        assert exporter.record("acme") == kept
        assert exporter.asked("acme") == asked
        assert (await exporter.get("/-/ready"))[0] == 200
        assert await exporter.get("/metrics?workspace=gone") == (404, "no workspace is called 'gone'\n")
        await asyncio.sleep(10)
        page = await exporter.page()
        assert "gone" not in page.text
        assert "gone" not in (await exporter.get("/api/v1/workspaces"))[1]
        assert page.value("up", workspace="beta") == 1
        after = page.value("exporter_config_last_reload_success_timestamp_seconds")
        assert before is not None
        assert after is not None
        assert 0 < after - before <= 102
        gone = exporter.asked("gone")
        await asyncio.sleep(100)
        assert exporter.asked("gone") == gone
        assert exporter.asked("acme") > asked


async def test_a_workspace_with_other_labels_or_intervals_keeps_its_history(file: Path) -> None:
    """With another URL it is another server, and starts afresh."""
    async with reloading(file, "acme", "other", story=running) as exporter:
        await asyncio.sleep(100)
        before = exporter.record("acme")
        changed = exporter.workspace("acme", labels={"team": "a"}, poll_interval="1s", apis=["import.status"])
        exporter.write({"workspaces": {"acme": changed}})
        assert (await exporter.reload())[0] == 200
        await asyncio.sleep(10)
        after = exporter.record("acme")
        assert after.polls >= before.polls + 9
        assert after.history.tracks.keys() == before.history.tracks.keys()
        assert after.requests[Api.LIST, "200"] == before.requests[Api.LIST, "200"]
        assert Api.LIST not in after.feeds
        assert (await exporter.page()).series("workspace_info", workspace="acme", team="a")
        exporter.write({"workspaces": {"acme": exporter.workspace("other")}})
        assert (await exporter.reload())[0] == 200
        await asyncio.sleep(0.5)
        fresh = exporter.record("acme")
        assert fresh.polls == 1
        assert fresh.target.url == exporter.servers.url("other")


async def test_connections_of_unchanged_workspaces_stay_open(file: Path) -> None:
    """A reload of a large configuration must not open thousands of connections at once."""
    async with reloading(file, "acme") as exporter:
        assert (await exporter.reload())[0] == 200
        await asyncio.sleep(1)
        before = sockets()
        for _ in range(5):
            assert (await exporter.reload())[0] == 200
        assert sockets() == before


async def test_endpoints_that_rest_are_called_at_once(file: Path) -> None:
    """An operator who granted the permission and reloads should not have to wait five minutes."""
    async with reloading(file, "acme", story=forbidden) as exporter:
        await asyncio.sleep(70)
        assert not exporter.record("acme").feeds[Api.LIST].ok
        assert (await exporter.reload())[0] == 200
        await asyncio.sleep(1)
        assert exporter.record("acme").feeds[Api.LIST].ok


async def test_a_wrong_configuration_changes_nothing(file: Path) -> None:
    """The last one stays in use, the answer and the log say what is wrong, and the metric tells the truth."""
    async with reloading(file, "acme") as exporter:
        await asyncio.sleep(20)
        flag = "exporter_config_last_reload_successful"
        assert (await exporter.page()).value(flag) == 1
        stamp = (await exporter.page()).value("exporter_config_last_reload_success_timestamp_seconds")
        wrong = exporter.workspace("acme", poll_interval="never", auth_token=f"a {SECRET}")
        exporter.write({"workspaces": {"acme": wrong}, "pol_interval": "1s"})
        with structlog.testing.capture_logs() as caught:
            status, text = await exporter.reload()
        assert status == 400
        assert "workspaces.acme.poll_interval: must be" in text
        assert "workspaces.acme.auth_token: must be" in text
        assert "pol_interval: no such option; did you mean poll_interval?" in text
        assert SECRET not in text + str(caught)
        assert len([each for each in caught if each["log_level"] == "error"]) == 3
        await asyncio.sleep(60)
        page = await exporter.page()
        assert page.value(flag) == 0
        assert page.value("exporter_config_last_reload_success_timestamp_seconds") == stamp
        assert page.value("up", workspace="acme") == 1
        exporter.configure("acme")
        assert (await exporter.reload())[0] == 200
        page = await exporter.page()
        assert page.value(flag) == 1
        assert page.value("exporter_config_last_reload_success_timestamp_seconds") != stamp


async def test_a_request_reloads_only_where_that_is_enabled(file: Path) -> None:
    """As in Prometheus: 403 without the option, 405 for other methods."""
    async with reloading(file, "acme", web__enable_lifecycle="false") as exporter:
        exporter.write(b"workspaces: [")
        assert (await exporter.reload())[0] == 403
        assert (await exporter.get("/-/reload"))[0] == 405
        assert (await exporter.page()).value("exporter_config_last_reload_successful") == 1
    async with reloading(file, "acme") as exporter:
        assert (await exporter.get("/-/reload"))[0] == 405
        async with exporter.session.put(f"{exporter.url}/-/reload") as answer:
            assert answer.status == 200


async def test_what_needs_a_restart_is_told(file: Path) -> None:
    """Everything else is taken over; the links in alerts are, for example."""
    async with reloading(file, "acme") as exporter:
        exporter.configure("acme", log={"format": "json"}, grafana_url="https://grafana.example.org")
        with structlog.testing.capture_logs() as caught:
            told = await exporter.reload()
        assert told == (200, "reloaded\nlog.format: restart the exporter to apply the new value\n")
        assert "log.format: restart" in str(caught)
        assert (await exporter.page()).series("exporter_info", grafana_url="https://grafana.example.org")


async def test_a_new_listen_address_needs_a_restart(file: Path) -> None:
    """As all options that only the start uses. Nothing is taken over in silence, and nothing ends."""
    async with reloading(file, "acme") as exporter:
        changed = {
            "config.auto_reload": "true",
            "log.format": "json",
            "log.level": "debug",
            "web.config.file": str(file.with_name("web.yml")),
            "web.enable_lifecycle": "false",
            "web.listen_address": "127.0.0.1:1",
        }
        file.with_name("web.yml").write_text("# nothing")
        exporter.prepared.append(configure({"acme": exporter.servers.url("acme")}, changed))
        status, told = await exporter.reload()
        assert (status, told.splitlines()[0]) == (200, "reloaded")
        assert sorted(told.splitlines()[1:]) == [
            f"{option}: restart the exporter to apply the new value" for option in changed
        ]
        assert (await exporter.get("/-/healthy"))[0] == 200


async def test_a_changed_file_is_reloaded_by_itself(file: Path) -> None:
    """The file is read when it is complete: half of a file can be a valid configuration with half of the workspaces."""
    async with reloading(file, "acme", "beta", config__auto_reload="true") as exporter:
        await asyncio.sleep(20)
        exporter.configure("acme", "beta")
        await asyncio.sleep(4)
        assert "beta" not in exporter.app.store.snapshot.records
        await asyncio.sleep(8)
        assert "beta" in exporter.app.store.snapshot.records
        with structlog.testing.capture_logs() as caught:
            await asyncio.sleep(300)
        assert not [each for each in caught if "reload" in str(each["event"])]


async def test_the_symlinks_of_kubernetes_are_followed(tmp_path: Path) -> None:
    """The kubelet replaces a link to a folder, and the file's own path stays the same."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.yml").touch()
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "config.yml"
    file.symlink_to("..data/config.yml")
    async with reloading(file, "acme", "beta", config__auto_reload="true") as exporter:
        workspaces = {name: exporter.workspace(name) for name in ("acme", "beta")}
        (tmp_path / "..2" / "config.yml").write_text(json.dumps({"workspaces": workspaces}))
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await asyncio.sleep(20)
        assert "beta" in exporter.app.store.snapshot.records


async def test_a_secret_that_appears_later_completes_a_reload(file: Path) -> None:
    """Kubernetes may renew the configuration before the Secret that it names. The mistake is told once."""
    token = file.with_name("token")
    async with reloading(file, "acme", "beta", config__auto_reload="true") as exporter:
        beta = {"url": exporter.servers.url("beta"), "user_id": USER_ID, "auth_token_file": str(token)}
        with structlog.testing.capture_logs() as caught:
            exporter.write({"workspaces": {"acme": exporter.workspace("acme"), "beta": beta}})
            await asyncio.sleep(100)
            assert (await exporter.page()).value("exporter_config_last_reload_successful") == 0
        assert len([each for each in caught if "not reloaded" in str(each["event"])]) == 1
        token.write_text(AUTH_TOKEN)
        await asyncio.sleep(15)
        page = await exporter.page()
        assert page.value("exporter_config_last_reload_successful") == 1
        assert page.value("up", workspace="beta") == 1


async def test_a_server_that_is_not_verified_is_told_at_each_start(file: Path) -> None:
    """The token can be read on the way, and nobody should forget that."""
    with structlog.testing.capture_logs() as caught:
        async with reloading(file, "acme", tls__verify="false"):
            await asyncio.sleep(1)
    (warned,) = [each for each in caught if "tls.verify is false" in str(each["event"])]
    assert (warned["log_level"], warned["names"]) == ("warning", "acme")


async def test_no_configuration_breaks_a_running_exporter(file: Path) -> None:
    """Any file is either used as a whole or refused with reasons."""
    dice = random.Random(0)
    async with reloading(file, "acme", "beta") as exporter:
        good = {"workspaces": {name: exporter.workspace(name, labels={"a": "b"}) for name in ("acme", "beta")}}
        written = json.dumps(good, indent=1)
        seen = set()
        for _ in range(150):
            exporter.write(spoilt(written.encode(), dice))
            before = exporter.targets()
            status, text = await exporter.reload()
            seen.add(status)
            assert status in (200, 400)
            if status == 400:
                assert exporter.targets() == before
                assert AUTH_TOKEN not in text
                assert len(text.splitlines()) > 1
            await asyncio.sleep(dice.random())
        assert seen == {200, 400}
        exporter.configure("acme", "beta")
        assert (await exporter.reload())[0] == 200
        await asyncio.sleep(120)
        page = await exporter.page()
        assert [page.value("up", workspace=name) for name in ("acme", "beta")] == [1, 1]


def spoilt(content: bytes, dice: random.Random) -> bytes:
    """The content with a piece cut out, doubled, or replaced by other bytes."""
    begin = dice.randrange(len(content))
    end = min(len(content), begin + dice.choice([1, 1, 2, 5, 40, 400]))
    piece = content[begin:end]
    return content[:begin] + dice.choice([b"", piece * 2, dice.randbytes(2), b"'", b"{", b"\n", b": "]) + content[end:]


async def test_a_thousand_reloads_leave_nothing_behind(file: Path) -> None:
    """Neither tasks nor sockets nor objects: some deployments reload every minute for years."""
    with garbage.searched_while_young():
        async with reloading(file, "acme", "beta", "gamma") as exporter:
            kinds, counts = [], []
            for names in (("acme", "beta"), ("acme", "gamma"), ("beta",)):
                urls = {name: exporter.servers.url(name) for name in names}
                kinds += [configure(urls, {"poll_interval": text}) for text in ("10s", "11s")]
            exporter.write(b"workspaces: {acme: {url: nonsense}}")
            for turn in range(1000):
                if turn % 5:
                    exporter.prepared.append(kinds[turn % 7 % 6])
                with suppress(ConfigurationError):
                    await exporter.app.reloader.reload()
                assert exporter.app.store.snapshot.configured_well is bool(turn % 5)
                if turn % 200 == 199:
                    await asyncio.sleep(60)
                    await exporter.page()
                    gc.collect(1)
                    pollers = len(exporter.app.store.snapshot.records)
                    counts.append((tasks_held() - pollers, sockets(), objects_held()))
    tasks, open_sockets, objects = zip(*counts[1:], strict=True)
    assert len(set(tasks)) == 1
    # Three workspaces, and each keeps connections for 60 s.
    assert max(open_sockets) - min(open_sockets) <= 3
    assert max(objects) - min(objects) < 2000


def tasks_held() -> int:
    """The tasks of the exporter, without the one that each connection of a server has."""
    return sum("RequestHandler" not in repr(task.get_coro()) for task in asyncio.all_tasks())


def sockets() -> int:
    """The file descriptors that this process holds."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the shortest


def objects_held() -> int:
    """The objects that this process holds, with those that the collector no longer searches."""
    return len(gc.get_objects()) + gc.get_freeze_count()
