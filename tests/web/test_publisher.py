"""`/probe` has the metrics of one workspace, and `/sd` lists the workspaces for Prometheus."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import aiohttp
import pytest
import structlog

from rc_import_exporter.core.shard import Shard
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import PREFIX
from rc_import_exporter.metrics.negotiation import Format
from rc_import_exporter.web import publisher as publisher_module
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application
from tests.support.gallery import workspace
from tests.support.pictures import NOW, four_workspaces, picture
from tests.support.rig import Page

HOST: Final = "exporter.example.org:19458"
OPENMETRICS: Final = "application/openmetrics-text"


@asynccontextmanager
async def serving(snapshot: Snapshot) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server that shows this snapshot, with the process's own metrics."""
    exposition = Exposition()
    publisher = Publisher(lambda: snapshot, lambda: NOW, exposition)
    pages = Pages(lambda: snapshot, lambda: NOW)
    server = Server(create_application([*publisher.routes, *pages.routes]))
    port = await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", headers={"Accept-Encoding": "identity"}, auto_decompress=False
        ) as session:
            yield session
    finally:
        await server.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with four workspaces."""
    async with serving(four_workspaces()) as session:
        yield session


async def get(client: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, bytes]:
    """The status and the body. An underscore in a header's name becomes a hyphen."""
    async with client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer:
        return answer.status, await answer.read()


async def discovered(client: aiohttp.ClientSession, host: str = HOST) -> list[dict[str, object]]:
    """The target groups."""
    status, body = await get(client, "/sd", Host=host)
    assert status == 200, body
    found: list[dict[str, object]] = json.loads(body)
    return found


async def test_a_probe_has_all_series_of_one_workspace_and_no_others(client: aiohttp.ClientSession) -> None:
    """With those of the process, each probe would store them once more."""
    whole, probe = [Page((await get(client, path))[1].decode()) for path in ("/metrics", "/probe?target=acme")]
    assert probe.names(workspace="acme") == whole.names(workspace="acme")
    assert all('workspace="acme"' in line for line in probe.text.splitlines() if not line.startswith("#"))
    assert "# TYPE process_" not in probe.text
    assert f"# TYPE {PREFIX}exporter_build_info" not in probe.text
    for line in (line for line in probe.text.splitlines() if not line.startswith("#")):
        assert line in whole.text.splitlines()


async def test_a_probe_comes_in_the_format_and_encoding_that_is_asked_for(client: aiohttp.ClientSession) -> None:
    """The same as for /metrics. HEAD has the headers alone."""
    headers = {"Accept": OPENMETRICS, "Accept-Encoding": "gzip"}
    async with client.get("/probe?target=acme", headers=headers) as packed:
        body = gzip.decompress(await packed.read())
        assert packed.headers["Content-Type"] == Format.OPENMETRICS.value
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Vary"] == "Accept, Accept-Encoding"
    assert body.endswith(b"# EOF\n")
    assert (await get(client, "/probe?target=acme", Accept=OPENMETRICS)) == (200, body)
    async with client.head("/probe?target=acme") as head:
        assert (head.status, await head.read()) == (200, b"")
        assert head.headers["Content-Type"] == Format.TEXT.value
    async with client.post("/probe?target=acme") as posted:
        assert (posted.status, posted.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize("query", ["", "?target=", "?target=acme&target=beta", "?workspace=acme"])
async def test_a_probe_without_one_target_says_how_to_name_it(client: aiohttp.ClientSession, query: str) -> None:
    """As blackbox_exporter does: 400."""
    told = b"name one workspace, as in /probe?target=NAME; /sd lists all\n"
    assert await get(client, f"/probe{query}") == (400, told)


@pytest.mark.parametrize("target", ["nobody", "https://acme.example.org", "%ff%0d%0aX", "ACME", "acme.example.org"])
async def test_a_probe_of_an_unknown_name_is_not_found(client: aiohttp.ClientSession, target: str) -> None:
    """Names only: with URLs, anyone who reaches the port could make the exporter call any server."""
    status, body = await get(client, f"/probe?target={target}")
    assert status == 404
    assert body.startswith(b"no workspace is called ")
    assert body.endswith(b"; /sd lists the workspaces of this exporter\n")
    assert body.count(b"\n") == 1


async def test_a_probe_before_the_first_poll_says_what_metrics_would_say() -> None:
    """It does not wait for a poll and does not start one."""
    async with serving(picture([workspace("new")])) as client:
        whole, probe = [Page((await get(client, path))[1].decode()) for path in ("/metrics", "/probe?target=new")]
    assert probe.value("up", workspace="new") == whole.value("up", workspace="new") == 0
    assert probe.names(workspace="new") == whole.names(workspace="new")


async def test_each_workspace_is_a_target_with_its_labels() -> None:
    """The labels are those of workspace_info; its URL is for relabelling only."""
    records = [workspace("acme", {"team": "chat", "tier": "gold"}), workspace("beta")]
    async with serving(picture(records)) as client:
        url = "__meta_rocketchat_import_url"
        own = {"workspace": "acme", "team": "chat", "tier": "gold"}
        assert await discovered(client) == [
            {"targets": [HOST], "labels": {"__param_target": "acme", url: records[0].target.url, **own}},
            {"targets": [HOST], "labels": {"__param_target": "beta", url: records[1].target.url, "workspace": "beta"}},
        ]
        async with client.get("/sd") as answer:
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            assert json.loads(await answer.read())[0]["targets"] == [answer.url.authority]
        async with client.head("/sd") as head:
            assert head.status == 200
        assert json.loads(gzip.decompress((await get(client, "/sd", Accept_Encoding="gzip"))[1]))


async def test_every_target_can_be_probed(client: aiohttp.ClientSession) -> None:
    """Also those that have not been polled yet."""
    for group in await discovered(client):
        labels = group["labels"]
        assert isinstance(labels, dict)
        assert (await get(client, f"/probe?target={labels['__param_target']}"))[0] == 200


@pytest.mark.parametrize("host", ["exporter", "10.0.0.1:80", "[::1]:19458", "a_b-c.example.org."])
async def test_the_address_of_a_target_is_the_one_that_the_client_has_used(
    client: aiohttp.ClientSession, host: str
) -> None:
    """It reaches that one. The rules for alerts need the same instance as that of the exporter's own metrics."""
    assert {str(group["targets"]) for group in await discovered(client, host)} == {str([host])}


@pytest.mark.parametrize("host", ["", "a b", "x/../y", "user@x", "x:port", "http://x", "x,y", "x:123456", '"'])
async def test_an_address_that_is_none_is_refused(client: aiohttp.ClientSession, host: str) -> None:
    """The client sends this header, so it may hold anything."""
    status, body = await get(client, "/sd", Host=host)
    assert status == 400
    assert not host or host.encode() not in body


def shard() -> Snapshot:
    """One of three shards, which polls `acme`."""
    division = Shard(index=Shard(index=0, count=3).holder("acme"), count=3)
    names = ["acme", *(f"tenant-{number}" for number in range(40))]
    held: list[Record] = [workspace(name) for name in names if division.holds(name)]
    elsewhere = frozenset(name for name in names if not division.holds(name))
    return replace(picture(held), shard=division, elsewhere=elsewhere)


async def test_a_workspace_of_another_shard_is_not_found_there_and_the_answer_says_where_it_is() -> None:
    """On all paths that name a workspace. A wrong shard must not look like a wrong name."""
    snapshot = shard()
    assert snapshot.shard is not None
    name = min(snapshot.elsewhere)
    told = f"shard {snapshot.shard.holder(name)} polls {name}, and this is shard {snapshot.shard.index}"
    async with serving(snapshot) as client:
        for path in (f"/probe?target={name}", f"/metrics?workspace={name}", f"/api/v1/workspaces/{name}"):
            status, body = await get(client, path)
            assert (status, told in body.decode()) == (404, True), path
        status, body = await get(client, f"/workspaces/{name}")
        assert status == 404
        assert f"Shard {told[6:]}: open the page of that exporter." in body.decode()
        groups = await discovered(client)
    assert {str(group["labels"]["workspace"]) for group in groups if isinstance(group["labels"], dict)} == set(
        snapshot.records
    )


async def test_pages_and_metrics_say_which_shard_this_is() -> None:
    """A page that shows a part must not look like the whole."""
    snapshot = shard()
    assert snapshot.shard is not None
    index, held = snapshot.shard.index, len(snapshot.records)
    told = f"This is shard {index}; the 3 shards count from 0. It has {held} of 41 workspaces"
    async with serving(snapshot) as client:
        for path in ("/", "/workspaces/acme", "/runbook", "/workspaces/nobody"):
            assert told in (await get(client, path))[1].decode(), path
        page = Page((await get(client, "/metrics"))[1].decode())
        assert page.value("exporter_shard_info", index=str(index), count="3") == 1
    async with serving(replace(snapshot, records={})) as client:
        assert "This shard has no workspace." in (await get(client, "/"))[1].decode()
    async with serving(four_workspaces()) as client:
        assert "shard" not in (await get(client, "/"))[1].decode()
        assert not Page((await get(client, "/metrics"))[1].decode()).series("exporter_shard_info")


@asynccontextmanager
async def preparing(
    exposition: Exposition, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float] = lambda: NOW
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server that prepares its next page all the time."""
    monkeypatch.setattr(publisher_module, "LONGEST_PAUSE", 0.001)
    snapshot = four_workspaces()
    publisher = Publisher(lambda: snapshot, clock, exposition)
    server = Server(create_application(publisher.routes))
    port = await server.start("127.0.0.1", 0)
    task = asyncio.create_task(publisher.prepare())
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        task.cancel()
        await server.stop()


async def test_lines_are_made_before_the_next_page_while_somebody_asks_for_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A scrape of many workspaces then has little to do. An exporter that nobody scrapes does nothing in vain."""
    made: list[Snapshot] = []
    prepared = asyncio.Event()

    class Noting(Exposition):
        def prepare(self, snapshot: Snapshot, now: float) -> Generator[None, None, None]:
            made.append(snapshot)
            prepared.set()
            yield from super().prepare(snapshot, now)

    clock = [NOW]
    async with preparing(Noting(), monkeypatch, lambda: clock[0]) as session:
        await asyncio.sleep(0.02)
        assert made == []
        await get(session, "/metrics")
        await prepared.wait()
        clock[0] += publisher_module.SCRAPED_LATELY
        await asyncio.sleep(0.02)
        made.clear()
        await asyncio.sleep(0.02)
        assert made == []


async def test_a_bug_in_one_record_does_not_end_the_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every page of many workspaces would take long until a restart."""
    made: list[Snapshot] = []
    twice = asyncio.Event()

    class Broken(Exposition):
        def prepare(self, snapshot: Snapshot, now: float) -> Generator[None, None, None]:
            made.append(snapshot)
            if len(made) == 2:
                twice.set()
            yield
            raise ValueError("made for a test")

    with structlog.testing.capture_logs() as logged:
        async with preparing(Broken(), monkeypatch) as session, asyncio.timeout(10):
            await get(session, "/metrics")
            await twice.wait()
    assert [entry["log_level"] for entry in logged] == ["error"]
