"""Files of `workspaces_files` are reloaded while polls go on, each by itself."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog

from tests.polling.test_reloading import Reloading, reloading

pytestmark = [pytest.mark.looptime]

FLAG = "exporter_config_last_reload_successful"
STAMP = "exporter_config_last_reload_success_timestamp_seconds"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration's file, beside a folder for workspaces."""
    (tmp_path / "workspaces.d").mkdir()
    return tmp_path / "config.yml"


def name_files(exporter: Reloading, **options: object) -> None:
    """Writes a configuration that only names the other files."""
    exporter.write({"workspaces_files": ["workspaces.d/*.yml"], **options})


def put(exporter: Reloading, file: str, content: Mapping[str, object] | str) -> None:
    """Writes a file with workspaces."""
    text = content if isinstance(content, str) else json.dumps(content)
    exporter.file.with_name("workspaces.d").joinpath(file).write_text(text)


def one(exporter: Reloading, name: str, **options: object) -> Mapping[str, object]:
    """The content of a file with one workspace."""
    return {name: exporter.workspace(name, **options)}


async def test_a_broken_file_is_told_and_its_workspaces_go_on(file: Path) -> None:
    """The other files are reloaded. The metric is 0 until all files are good."""
    async with reloading(file, "acme", "beta", "gamma") as exporter:
        put(exporter, "acme.yml", one(exporter, "acme"))
        put(exporter, "beta.yml", one(exporter, "beta"))
        name_files(exporter)
        assert await exporter.reload() == (200, "reloaded\n")
        await asyncio.sleep(60)
        before, asked = await exporter.page(), exporter.asked("acme")
        history = exporter.record("acme").history
        put(exporter, "acme.yml", "acme: {url: x")
        put(exporter, "beta.yml", one(exporter, "beta", labels={"team": "chat"}))
        put(exporter, "gamma.yml", one(exporter, "gamma"))
        with structlog.testing.capture_logs() as caught:
            status, text = await exporter.reload()
        assert status == 400
        told, *lines = text.splitlines()
        assert told == "reloaded in part: the workspaces of files with mistakes stay as they were"
        assert all(str(file.with_name("workspaces.d") / "acme.yml") in line for line in lines)
        errors = [each for each in caught if each["log_level"] == "error"]
        assert [each["detail"] for each in errors] == lines
        assert {each["event"] for each in errors} == {
            "file with workspaces not taken over, its workspaces stay as they were"
        }
        await asyncio.sleep(60)
        page = await exporter.page()
        assert (before.value(FLAG), page.value(FLAG)) == (1, 0)
        assert page.value(STAMP) == before.value(STAMP)
        assert [page.value("up", workspace=name) for name in ("acme", "beta", "gamma")] == [1, 1, 1]
        assert page.series("workspace_info", workspace="beta", team="chat")
        assert exporter.asked("acme") > asked
        assert exporter.record("acme").history.tracks.keys() == history.tracks.keys()
        put(exporter, "acme.yml", one(exporter, "acme"))
        assert await exporter.reload() == (200, "reloaded\n")
        assert (await exporter.page()).value(FLAG) == 1


async def test_a_file_that_is_broken_at_the_start_is_taken_over_once_it_is_correct(file: Path) -> None:
    """A restart must not stop what a reload would not have stopped."""
    broken = file.with_name("workspaces.d") / "beta.yml"
    broken.write_text("beta: [")
    with structlog.testing.capture_logs() as caught:
        async with reloading(
            file, "acme", "beta", workspaces_files=str(broken), config__auto_reload="true"
        ) as exporter:
            await asyncio.sleep(60)
            page = await exporter.page()
            assert (page.value("up", workspace="acme"), page.value(FLAG)) == (1, 0)
            assert exporter.app.store.snapshot.records.keys() == {"acme"}
            put(exporter, "beta.yml", one(exporter, "beta"))
            await asyncio.sleep(20)
            page = await exporter.page()
            assert (page.value("up", workspace="beta"), page.value(FLAG)) == (1, 1)
    (told,) = [each for each in caught if each["log_level"] == "error"]
    assert told["event"] == "file with workspaces left out, nothing in it is watched until it is correct"
    assert str(broken) in told["detail"]


async def test_a_pattern_that_no_file_matches_is_told_at_a_reload(file: Path) -> None:
    async with reloading(file, "acme") as exporter:
        exporter.configure("acme", workspaces_files=["workspaces.d/*.yml"])
        told = f"workspaces_files: no file matches {file.with_name('workspaces.d') / '*.yml'}"
        with structlog.testing.capture_logs() as caught:
            assert await exporter.reload() == (200, f"reloaded\n{told}\n")
        assert [each["event"] for each in caught if each["log_level"] == "warning"] == [told]


async def test_files_that_change_appear_or_go_are_reloaded_by_themselves(file: Path) -> None:
    """The kubelet or a script writes them, and nobody calls the exporter. Each mistake is told once."""
    async with reloading(file, "acme", "beta", "gamma", config__auto_reload="true") as exporter:
        put(exporter, "acme.yml", one(exporter, "acme"))
        name_files(exporter)
        await asyncio.sleep(20)
        put(exporter, "beta.yml", one(exporter, "beta"))
        await asyncio.sleep(20)
        assert exporter.app.store.snapshot.records.keys() == {"acme", "beta"}
        with structlog.testing.capture_logs() as caught:
            put(exporter, "beta.yml", "[")
            await asyncio.sleep(60)
        assert exporter.app.store.snapshot.records.keys() == {"acme", "beta"}
        assert (await exporter.page()).value(FLAG) == 0
        assert len([each for each in caught if each["log_level"] == "error"]) == 1
        put(exporter, "beta.yml", one(exporter, "beta", labels={"team": "chat"}))
        await asyncio.sleep(20)
        page = await exporter.page()
        assert page.value(FLAG) == 1
        assert page.series("workspace_info", workspace="beta", team="chat")
        file.with_name("workspaces.d").joinpath("acme.yml").unlink()
        await asyncio.sleep(20)
        assert exporter.app.store.snapshot.records.keys() == {"beta"}
        with structlog.testing.capture_logs() as quiet:
            await asyncio.sleep(300)
        assert not [each for each in quiet if "reload" in str(each["event"])]


async def test_a_secret_that_appears_later_completes_a_file(file: Path) -> None:
    """It is not a file of the configuration, but a mistake in one waits for it."""
    token = file.with_name("beta") / "token"
    async with reloading(file, "acme", "beta", config__auto_reload="true") as exporter:
        put(exporter, "acme.yml", one(exporter, "acme"))
        name_files(exporter)
        beta = exporter.workspace("beta", auth_token_file="../{name}/token")
        secret = str(beta.pop("auth_token"))
        put(exporter, "beta.yml", {"beta": beta})
        await asyncio.sleep(20)
        assert exporter.app.store.snapshot.records.keys() == {"acme"}
        token.parent.mkdir()
        token.write_text(secret)
        await asyncio.sleep(20)
        page = await exporter.page()
        assert (page.value("up", workspace="beta"), page.value(FLAG)) == (1, 1)


async def test_a_removed_workspace_is_no_longer_a_target(file: Path) -> None:
    """Prometheus forgets it at its next look at /sd, instead of asking for it and reporting it as down."""
    async with reloading(file, "acme", "beta") as exporter:
        exporter.configure("acme", "beta")
        assert (await exporter.reload())[0] == 200
        assert "beta" in (await exporter.get("/sd"))[1]
        assert (await exporter.get("/probe?target=beta"))[0] == 200
        exporter.configure("acme")
        assert (await exporter.reload())[0] == 200
        (group,) = json.loads((await exporter.get("/sd"))[1])
        assert group["labels"]["workspace"] == "acme"
        assert (await exporter.get("/probe?target=beta"))[0] == 404


async def test_a_reload_with_another_number_of_shards_moves_workspaces(file: Path) -> None:
    """Only this exporter's part of them is polled; the others keep their history."""
    async with reloading(file, "acme", "beta", "gamma", "delta") as exporter:
        names = ("acme", "beta", "gamma", "delta")
        exporter.configure(*names)
        assert (await exporter.reload())[0] == 200
        await asyncio.sleep(60)
        before = dict(exporter.app.store.snapshot.records)
        exporter.configure(*names, shard={"index": "0", "count": "2"})
        assert (await exporter.reload())[0] == 200
        held, elsewhere = exporter.app.store.snapshot.records, exporter.app.store.snapshot.elsewhere
        assert held.keys() | elsewhere == set(names)
        assert 0 < len(held) < len(names)
        assert all(held[name].history == before[name].history for name in held)
        asked = {name: exporter.asked(name) for name in names}
        await asyncio.sleep(60)
        assert all((exporter.asked(name) > asked[name]) is (name in held) for name in names)
