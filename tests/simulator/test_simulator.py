"""The simulated server behaves like the real one. Tests compare it with recordings, over real sockets."""

import asyncio
import json
import ssl
from collections.abc import Callable
from datetime import datetime
from itertools import groupby

import aiohttp
import pytest
import trustme

from rc_import_exporter.simulator import faults, stories
from rc_import_exporter.simulator.answers import VIEW_OPERATIONS, VIEW_VERSION
from rc_import_exporter.simulator.importer import ABSENT, state_of
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Call, Outage, Reply
from rc_import_exporter.simulator.server import (
    AUTH_TOKEN,
    LoopClock,
    SimulatedServer,
    SimulatedServers,
    WallClock,
)
from tests.support.simulated import (
    CREDENTIALS,
    LIST,
    PROGRESS,
    STARTED,
    STATUS,
    ask,
    body_of,
    instant,
    items,
    member,
    newest,
    recorded,
    reply_of,
)


def test_each_endpoint_has_its_own_answer_if_nothing_was_imported() -> None:
    """One endpoint sends the state `none`, one an empty list, and one a 400."""
    story = Story(stories.idle())
    assert body_of(story, STATUS) == {"state": "none", "success": True}
    assert body_of(story, LIST) == []
    refusal = reply_of(story, PROGRESS)
    first = items(recorded("api-import-succeeds")["responses"])[2]
    assert (refusal.status, refusal.body.decode()) == (400, member(first, "body"))


def test_the_list_is_in_the_order_of_writing_and_holds_twenty() -> None:
    """The newest operation is not the first in the list. `import.status` shows the one with the greatest `ts`."""

    def tell(stage: Stage) -> None:
        stage.remember("csv", age=1000, valid=True, total=1)
        for age in range(100, 123):
            stage.remember("slack", age=age, total=2)
        stage.wait(1)
        stage.restart()

    story = Story(tell)
    listed = [member(one, "_id") for one in items(body_of(story, LIST, 1))]
    assert len(listed) == 20
    assert listed[0] == story.operations(1)[0].id(STARTED)
    assert member(body_of(story, STATUS, 1), "operation", "_id") == listed[1] == story.operations(1)[1].id(STARTED)


def test_a_removed_importer_breaks_only_progress() -> None:
    """Only `getImportProgress` fails."""

    def tell(stage: Stage) -> None:
        stage.remember("slack", age=1000)
        stage.remove_importer("slack")

    story = Story(tell)
    expected = member(items(recorded("upgraded-server-old-history")["responses"])[2], "body")
    assert (reply_of(story, PROGRESS).status, reply_of(story, PROGRESS).body.decode()) == (400, expected)
    assert reply_of(story, STATUS).status == reply_of(story, LIST).status == 200


def test_older_servers_answer_in_their_own_way() -> None:
    """6.2 sends a page for `import.status`, numbers for `ts`, progress without counts, and a 401 without `success`."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=500, seconds=1)
        stage.wait(1)
        stage.upgrade(6, 7)
        stage.create("csv")
        stage.wait(1)
        stage.forbid(VIEW_OPERATIONS)

    story = Story(tell, version=(6, 2, 1))
    page = reply_of(story, STATUS, 1)
    assert (page.status, page.body[:9]) == (200, b"<!DOCTYPE")
    assert member(body_of(story, LIST, 1), 0, "ts") == round(STARTED * 1000)
    assert len(str(member(body_of(story, LIST, 1), 0, "_id"))) == 17
    assert member(body_of(story, PROGRESS, 1), "count") == {"completed": 0, "total": 0}
    refused = reply_of(story, LIST, 1, authenticated=False)
    assert refused.status == 401
    assert refused.delay > 0
    assert json.loads(refused.body) == {"status": "error", "message": "You must be logged in to do this."}
    upgraded = items(body_of(story, LIST, 2))
    assert [type(member(one, "ts")) for one in upgraded] == [int, str]
    assert reply_of(story, LIST, 3).status == 403


@pytest.mark.parametrize(("version", "says_success"), [((7, 2), False), ((7, 3), True)])
def test_a_refused_token_says_success_only_on_newer_servers(version: tuple[int, ...], *, says_success: bool) -> None:
    """Up to about 7.2 the body of a 401 has neither `success` nor `error`."""
    refusal = reply_of(Story(stories.idle(), version=version), STATUS, authenticated=False)
    assert refusal.status == 401
    body: dict[str, object] = json.loads(refusal.body)
    assert body["status"] == "error"
    assert ("success" in body, "error" in body) == (says_success, says_success)


@pytest.mark.parametrize(("endpoint", "kind"), [(LIST, "not_authorized"), (PROGRESS, "error-action-not-allowed")])
def test_a_missing_permission_was_a_400_up_to_5_0(endpoint: str, kind: str) -> None:
    """Each endpoint has an `errorType` of its own."""

    def tell(stage: Stage) -> None:
        stage.forbid()
        stage.forbid(VIEW_OPERATIONS)

    assert reply_of(Story(tell), endpoint).status == 403
    refusal = reply_of(Story(tell, version=(5, 0)), endpoint)
    assert (refusal.status, member(json.loads(refusal.body), "errorType")) == (400, kind)


def test_a_read_only_token_sees_only_the_list() -> None:
    """It may read the list and the version, but not `import.status` and `getImportProgress`."""
    story = Story(stories.read_only(stories.nightly_sync()))
    assert [reply_of(story, one, 30).status for one in (STATUS, LIST, PROGRESS, "info")] == [403, 200, 403, 200]


async def test_wrong_credentials_are_refused() -> None:
    """`/api/info` needs no credentials."""

    def tell(stage: Stage) -> None:
        stage.permit(VIEW_VERSION)

    async with SimulatedServer(Story(tell)) as server:
        for wrong in ({}, CREDENTIALS | {"X-Auth-Token": "x"}, {"Authorization": f"Bearer {AUTH_TOKEN}"}):
            status, _, body = await ask(server.base_url, f"v1/{STATUS}", credentials=wrong)
            assert (status, member(json.loads(body), "success")) == (401, False)
        _, _, told = await ask(server.base_url, "info", credentials={})
        _, _, told_all = await ask(server.base_url, "info")
        server.begin("", Story(lambda stage: stage.revoke_token()))
        assert (await ask(server.base_url, f"v1/{STATUS}"))[0] == 401
    assert member(json.loads(told), "version") == "8.6"
    assert member(json.loads(told_all), "info", "version") == "8.6.1"


async def test_a_server_with_a_certificate_uses_tls() -> None:
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    server = SimulatedServer(Story(stories.idle()))
    url = await server.start(tls=ours)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{url}/api/info", ssl=theirs)
        authority.configure_trust(theirs)
        async with session.get(f"{url}/api/info", ssl=theirs) as response:
            assert response.status == 200
    await server.stop()


async def test_wrong_paths_and_queries_are_refused_as_by_the_real_server() -> None:
    """A client that asks for a wrong path must fail here as it fails at the real server."""
    async with SimulatedServer(Story(stories.idle())) as server:
        for path in (f"v1/{STATUS}/", "v1/import.progress", STATUS, "v2/import.status"):
            status, headers, _ = await ask(server.base_url, path)
            assert (status, headers["content-type"].partition(";")[0]) == (404, "text/plain")
        assert (await ask(server.base_url, f"v1/{STATUS}?x=1"))[0] == 200
        assert (await ask(server.base_url, f"v1/{LIST}?x=1"))[0] == 400
        assert (await ask(server.base_url, f"v1/{PROGRESS}?x=1"))[0] == 400
        status, headers, body = await ask(server.base_url, f"v1/{LIST}", method="HEAD")
        assert (status, headers["content-length"], body) == (200, "2", b"")
        assert [(seen.endpoint, seen.method) for seen in server.requests][-1] == (LIST, "HEAD")


async def test_an_answer_has_the_date_of_the_server_s_clock() -> None:
    async with SimulatedServer(Story(stories.idle()), clock=WallClock(ahead=3600)) as server:
        _, ahead, _ = await ask(server.base_url, "info")
    async with SimulatedServer(Story(stories.idle())) as server:
        _, right, _ = await ask(server.base_url, "info")
    fast, slow = (datetime.strptime(one["date"], "%a, %d %b %Y %H:%M:%S %Z") for one in (ahead, right))  # noqa: DTZ007
    assert (fast - slow).total_seconds() == pytest.approx(3600, abs=60)


@pytest.mark.looptime
@pytest.mark.parametrize("name", ["hang", "slow", "drip"])
async def test_a_slow_fault_lasts_longer_than_a_client_waits(name: str) -> None:
    """A client with a timeout of 10 s gets no answer."""
    async with broken(faults.FAULTS[name]) as server:
        with pytest.raises(TimeoutError):
            await ask(server.base_url, f"v1/{LIST}")
        assert server.at == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("name", "error"), [("reset", aiohttp.ClientConnectionError), ("cut", aiohttp.ClientPayloadError)]
)
async def test_a_fault_of_the_connection_breaks_the_connection(name: str, error: type[Exception]) -> None:
    """One fault resets the connection before the answer, the other in the middle of the body."""
    async with broken(faults.FAULTS[name]) as server:
        with pytest.raises(error):
            await ask(server.base_url, f"v1/{LIST}")


@pytest.mark.parametrize(
    ("name", "status", "beginning"),
    [
        ("bad gateway", 502, b"<html>"),
        ("firewall's 403", 403, b"<html>"),
        ("start page", 200, b"<!DOCTYPE html>"),
        ("login redirect", 302, b""),
        ("internal server error", 500, b"Internal Server Error"),
        ("database down", 400, b'{"success":false,"error":"MongoServerSelectionError: connection timed out"}'),
        ("missing", 404, b"404"),
        ("rate limited", 429, b'{"success":false,"error":"Error, too many requests.'),
        ("no UTF-8", 200, b'{"state":"\xff"}'),
        ("not a number", 200, b'{"state":NaN'),
        ("nested", 200, b"[[[["),
        ("no content", 204, b""),
    ],
)
async def test_a_fault_of_the_answer_replaces_the_answer(name: str, status: int, beginning: bytes) -> None:
    """Only one endpoint has the fault."""
    async with broken(faults.FAULTS[name]) as server:
        answer = await ask(server.base_url, f"v1/{LIST}")
        assert (answer[0], answer[2][: len(beginning)]) == (status, beginning)
        assert (await ask(server.base_url, f"v1/{STATUS}"))[0] == 200


@pytest.mark.parametrize(("name", "size"), [("padded", 16 << 20), ("gzip bomb", 64 << 20)])
async def test_a_fault_of_size_is_still_the_right_json(name: str, size: int) -> None:
    """Only the size is wrong. The compressed answer is less than a hundredth of it."""
    async with broken(faults.FAULTS[name]) as server:
        _, headers, body = await ask(server.base_url, f"v1/{LIST}")
    assert len(body) == size
    assert member(json.loads(body), 0, "importerKey") == "csv"
    assert name != "gzip bomb" or int(headers["content-length"]) < size / 100


def broken(fault: Callable[[Reply], Reply | Outage]) -> SimulatedServer:
    """A server whose list has this fault. The test chooses virtual or real time."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.fault(fault, LIST)

    return SimulatedServer(Story(tell), clock=LoopClock())


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_starts_and_ends_in_a_story(name: str) -> None:
    """The import of the story succeeds after the fault."""
    story = Story(stories.faulty(faults.FAULTS[name], LIST))
    healthy, spoilt = (story.answer(Call(endpoint=LIST, at=at, started=STARTED)) for at in (100, 130))
    assert healthy != spoilt
    assert member(body_of(story, LIST, story.length), 0, "status") == "importer_done"


def test_a_state_can_be_unknown() -> None:
    """The operation, and answers without a state, do not change."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.wait(1)
        stage.fault(faults.unknown_state)

    story = Story(tell)
    assert member(body_of(story, STATUS, 1), "state") == "dreaming"
    assert member(body_of(story, STATUS, 1), "operation") == member(body_of(story, STATUS, 0), "operation")
    assert body_of(story, LIST, 1) == body_of(story, LIST, 0)


async def test_a_server_stops_at_once_with_a_request_in_flight() -> None:
    """A client that waits for an answer gets an error."""
    server = broken(faults.hang)
    await server.start()
    waiting = asyncio.ensure_future(ask(server.base_url, f"v1/{LIST}"))
    for _ in range(1000):
        if server.requests:
            break
        await asyncio.sleep(0.01)
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting


async def test_many_workspaces_share_only_a_socket() -> None:
    """Each has its own path, script, rate limiter and list of requests."""
    names = [f"workspace-{number}" for number in range(50)]

    def limited(stage: Stage) -> None:
        stage.limit_rate(1)

    async with SimulatedServers(dict.fromkeys(names, Story(limited))) as servers:
        for name in names:
            assert (await ask(servers.url(name), f"v1/{STATUS}"))[0] == 200
        assert (await ask(servers.url(names[0]), f"v1/{STATUS}"))[0] == 429
        assert (await ask(servers.url("nobody"), f"v1/{STATUS}"))[0] == 404
        servers.begin("late", Story(lambda stage: stage.go_down()))
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(servers.url("late"), "info")
        assert [len(servers.workspaces[name].requests) for name in names] == [2] + [1] * 49


@pytest.mark.parametrize("name", stories.demo())
def test_a_story_of_the_demo_takes_at_most_55_seconds_and_starts_again(name: str) -> None:
    """Each state lasts 3 s or more, so polls every 2 s see all. The next round has a newer operation."""
    story = stories.demo()[name]
    assert story.length <= 55
    states_at = [state_at(story, at / 10) for at in range(round(story.length * 10))]
    assert min(len(list(run)) for _, run in groupby(states_at)) >= 30
    first, second = newest(story, story.length - 1), newest(story, 2 * story.length - 1)
    assert first.id(STARTED) != second.id(STARTED)
    assert second.created == pytest.approx(first.created + story.length)
    listed = [member(one, "_id") for one in items(body_of(story, LIST, 2 * story.length - 1))]
    assert listed == [second.id(STARTED), first.id(STARTED)]


def state_at(story: Story, at: float) -> str | None:
    """The story's state. It is `none` without an operation, and the outage's name during an outage."""
    if story.world(at).outage is not None:
        return str(story.world(at).outage)
    document = story.newest(at)
    return "none" if document is None else state_of(document)


def test_a_story_is_the_same_in_any_order_of_requests() -> None:
    """A repeating story gives the same answers in reverse order."""
    story = stories.demo()["rolling-deploy"]
    instants = [turn * 3.7 for turn in range(100)]
    forwards = [body_of(story, LIST, at) for at in instants]
    assert [body_of(story, LIST, at) for at in reversed(instants)] == forwards[::-1]


def test_a_story_that_repeats_for_hours_does_not_grow() -> None:
    """It keeps only operations that an endpoint can still show."""
    story = stories.demo()["nightly-sync"]
    assert len(story.operations(6 * stories.HOUR)) <= 22
    assert newest(story, 6 * stories.HOUR).number == 6 * stories.HOUR // story.length


def test_tests_and_clients_read_the_same_document() -> None:
    """Tests read the same document that clients get."""
    story = stories.demo()["csv-migration"]
    for at in range(5, 52):
        document, sent = newest(story, at), member(body_of(story, STATUS, at), "operation")
        assert member(sent, "_id") == document.id(STARTED)
        assert member(sent, "status") == f"importer_{document.step}"
        assert member(sent, "valid") is document.valid
        assert instant(member(sent, "_updatedAt")) == pytest.approx(STARTED + document.updated, abs=1e-3)
        assert isinstance(sent, dict)
        assert sent.get("count") == document.counts


def test_a_story_can_have_several_nights() -> None:
    """Only the second of three nightly imports is cut off."""
    killed = stories.rolling_deploy(waiting=60, running=3600, killed_after=600)
    story = Story(stories.nights(3, users=200, new=5, unless={2: killed}))
    assert story.length == 3 * stories.DAY
    first, second, third = story.operations(story.length)
    assert [one.created // stories.DAY for one in (first, second, third)] == [0, 1, 2]
    assert [one.count("error") for one in (first, second, third)] == [195, 0, 195]
    assert (second.importer, second.step, second.valid) == ("csv", "done", False)
    assert (third.step, third.valid) == ("done", True)


def test_an_amended_operation_shows_what_the_story_says() -> None:
    """Other releases of Rocket.Chat send other fields."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.amend(ts="1635280622083", count=[7], valid=ABSENT, fileData={"users": [{"email": "someone@example.org"}]})

    sent = member(body_of(Story(tell), LIST), 0)
    assert isinstance(sent, dict)
    assert "valid" not in sent
    assert (sent["ts"], sent["count"]) == ("1635280622083", [7])
    assert member(sent, "fileData", "users", 0, "email") == "someone@example.org"


def test_a_story_without_length_cannot_repeat() -> None:
    """Its rounds would have no end."""
    with pytest.raises(ValueError, match="takes no time"):
        Story(lambda stage: stage.create("csv"), repeat=True)
