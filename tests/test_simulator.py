"""The simulated server behaves as the real one was seen to: compared with recordings of it, over real sockets."""

import asyncio
import json
import math
import ssl
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import trustme

from rc_import_exporter.simulator import faults, stories
from rc_import_exporter.simulator.answers import VIEW_OPERATIONS, VIEW_VERSION
from rc_import_exporter.simulator.importer import ABSENT, Document, state_of
from rc_import_exporter.simulator.recording import Recording
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Call, Outage, Reply, Script
from rc_import_exporter.simulator.server import (
    AUTH_TOKEN,
    USER_ID,
    LoopClock,
    SimulatedServer,
    SimulatedServers,
    WallClock,
)

RECORDINGS: Final = Path(__file__).parent / "recordings"
NAMES: Final = sorted(path.stem for path in RECORDINGS.glob("*.json"))
STATUS: Final = "import.status"
LIST: Final = "getLatestImportOperations"
PROGRESS: Final = "getImportProgress"
CREDENTIALS: Final = {"X-User-Id": USER_ID, "X-Auth-Token": AUTH_TOKEN}
STARTED: Final = 1_800_000_000.0

STATES: Final = (
    ("new", "new", "error"),
    *((step, "loading", "error") for step in ("uploading", "downloading_file", "file_loaded", "preparing_started")),
    *((f"preparing_{kind}", "loading", "error") for kind in ("users", "channels", "messages", "contacts")),
    ("user_selection", "ready", "error"),
    *((f"importing_{what}", "importing", "error") for what in ("started", "users", "contacts", "channels")),
    *((f"importing_{what}", "importing", "error") for what in ("messages", "files")),
    ("finishing", "importing", "error"),
    ("done", "done", "done"),
    ("import_failed", "error", "error"),
    ("import_cancelled", "canceled", "error"),
    ("importing_polls", None, "error"),
)
"""Each step with the state of a valid and of an invalid operation, as the server's own table has them."""


def member(value: object, *path: str | int) -> object:
    """What stands in a JSON value at this path."""
    for key in path:
        if isinstance(key, str):
            assert isinstance(value, dict)
            value = value[key]
        else:
            assert isinstance(value, list)
            value = value[key]
    return value


def items(value: object) -> list[object]:
    """The items of a JSON array."""
    assert isinstance(value, list)
    return value


def reply_of(script: Script, endpoint: str, at: float = 0.0, *, authenticated: bool = True) -> Reply:
    """What the script answers, without a socket between."""
    answer = script.answer(Call(endpoint=endpoint, at=at, started=STARTED, authenticated=authenticated))
    assert isinstance(answer, Reply)
    return answer


def body_of(script: Script, endpoint: str, at: float = 0.0) -> object:
    """The JSON that the script answers."""
    body: object = json.loads(reply_of(script, endpoint, at).body)
    return body


def newest(story: Story, at: float) -> Document:
    """The story's newest operation, where there is one."""
    document = story.newest(at)
    assert document is not None
    return document


def states(story: Story, until: float, step: float = 0.5) -> list[object]:
    """What someone sees who asks `import.status` that often: each state, or outage, once."""
    seen: list[object] = []
    for turn in range(math.ceil(until / step)):
        answer = story.answer(Call(endpoint=STATUS, at=turn * step, started=STARTED))
        seen.append(answer if isinstance(answer, Outage) else member(json.loads(answer.body), "state"))
    return [state for state, _ in groupby(seen)]


async def ask(
    url: str, path: str, *, credentials: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers with small letters, and body."""
    presented = CREDENTIALS if credentials is None else credentials
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.request(method, f"{url}/api/{path}", headers=presented, allow_redirects=False) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, headers, await response.read()


def recorded(name: str) -> dict[str, object]:
    """A recording's file."""
    value: object = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


async def until(server: SimulatedServer, at: float) -> None:
    """Sleep until that instant of the script, and the millisecond that no rounding may be short of."""
    await asyncio.sleep(max(0.0, at + 1e-3 - server.at))


def undated(value: object) -> object:
    """The value without what moves when a recording is played."""
    if isinstance(value, dict):
        return {key: undated(item) for key, item in value.items() if key not in {"ts", "_updatedAt"}}
    return [undated(item) for item in value] if isinstance(value, list) else value


def dates(value: object) -> list[object]:
    """What moves when a recording is played, in the order of the body."""
    if isinstance(value, dict):
        return [date for key in ("ts", "_updatedAt") if (date := value.get(key))] + dates(list(value.values()))
    return [date for item in value for date in dates(item)] if isinstance(value, list) else []


def instant(date: object) -> float:
    """A date of the API as Unix seconds."""
    return datetime.fromisoformat(date).timestamp() if isinstance(date, str) else float(str(date)) / 1000


@pytest.mark.looptime
@pytest.mark.parametrize("name", NAMES)
async def test_every_recording_plays_in_full(name: str) -> None:
    """Asked when the real server was, the simulated one gives the same answers, with dates that begin now."""
    whole = recorded(name)
    began = float(str(whole["recorded_at_ms"])) / 1000
    async with SimulatedServer(Recording(RECORDINGS / f"{name}.json"), clock=LoopClock()) as server:
        started = server.workspaces[""].started
        for response in items(whole["responses"]):
            await until(server, float(str(member(response, "t_ms"))) / 1000)
            path = f"v1/{member(response, 'endpoint')}"
            if member(response, "status") == 0:
                with pytest.raises(aiohttp.ClientConnectionError):
                    await ask(server.base_url, path)
                continue
            status, headers, body = await ask(server.base_url, path)
            expected = json.loads(str(member(response, "body")))
            assert status == member(response, "status")
            assert headers["content-type"] == "application/json"
            assert undated(json.loads(body)) == undated(expected)
            for date, original in zip(dates(json.loads(body)), dates(expected), strict=True):
                moved = instant(original) > began - 60
                assert instant(date) - (started - began if moved else 0) == pytest.approx(instant(original), abs=2e-3)


def test_a_recording_keeps_the_history_that_is_older_than_itself() -> None:
    """Operations of years ago stay where they were, as numbers; only what the recording itself wrote moves."""
    listed = items(body_of(Recording(RECORDINGS / "upgraded-server-old-history.json"), LIST))
    assert member(listed, 0, "ts") == 1635280614083
    assert instant(member(listed, 0, "_updatedAt")) == pytest.approx(STARTED, abs=1)


def test_a_recording_can_play_faster_and_again() -> None:
    """Twice as fast, an answer comes at half its time; in a second play the operation is another, later one."""
    recording = Recording(RECORDINGS / "api-import-succeeds.json", speed=2, repeat=True)
    assert recording.length == pytest.approx(14.294 / 2)
    assert member(body_of(recording, STATUS, recording.length - 0.1), "state") == "done"
    assert member(body_of(recording, STATUS, recording.length + 0.1), "state") == "none"
    first, second = (body_of(recording, STATUS, play * recording.length + 2.3) for play in (0, 1))
    assert member(first, "state") == member(second, "state") == "ready"
    assert member(first, "operation", "_id") != member(second, "operation", "_id")
    later = instant(member(second, "operation", "ts")) - instant(member(first, "operation", "ts"))
    assert later == pytest.approx(recording.length, abs=2e-3)


def test_a_recording_can_be_played_to_someone_without_a_permission() -> None:
    """An endpoint that is forbidden says so as the real server did, and the others play on."""
    recording = Recording(RECORDINGS / "phase-throws.json", forbidden={STATUS})
    original = recorded("run-import-permission-removed")
    refusals = [one for one in items(original["responses"]) if member(one, "status") == 403]
    assert reply_of(recording, STATUS).status == 403
    assert reply_of(recording, STATUS).body.decode() == member(refusals, 0, "body")
    assert reply_of(recording, LIST).status == 200


@pytest.mark.looptime
async def test_the_rate_limiter_counts_as_the_recorded_one_did() -> None:
    """Asked every 2 s: ten answers, remaining counting down, then refusals until the window ends, no `Retry-After`."""
    original = recorded("rate-limited")
    began = float(str(original["recorded_at_ms"])) / 1000

    def tell(stage: Stage) -> None:
        stage.limit_rate(10)
        stage.create("api")

    async with SimulatedServer(Story(tell), clock=LoopClock()) as server:
        started = server.workspaces[""].started
        for response in items(original["responses"]):
            await until(server, float(str(member(response, "t_ms"))) / 1000)
            status, headers, body = await ask(server.base_url, f"v1/{member(response, 'endpoint')}")
            assert status == member(response, "status")
            assert headers["x-ratelimit-limit"] == "10"
            assert headers["x-ratelimit-remaining"] == member(response, "headers", "x-ratelimit-remaining")
            reset = float(str(member(response, "headers", "x-ratelimit-reset"))) / 1000
            assert float(headers["x-ratelimit-reset"]) / 1000 - started == pytest.approx(reset - began, abs=0.1)
            assert "retry-after" not in headers
            if status == 429:
                assert body.decode() == member(response, "body")


@pytest.mark.parametrize(("step", "valid", "invalid"), STATES)
def test_a_state_follows_from_step_and_validity(step: str, valid: str | None, invalid: str) -> None:
    """Every step of the server's table; a step that it does not know has no state as long as it is valid."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.set_step(step)
        stage.wait(1)
        stage.clear()

    story = Story(tell)
    before, after = body_of(story, STATUS, 0), body_of(story, STATUS, 1)
    assert isinstance(before, dict)
    assert before.get("state") == valid
    assert member(after, "state") == invalid
    assert member(after, "operation", "status") == f"importer_{step}"


def test_a_file_import_counts_as_the_recorded_one_did() -> None:
    """60 users, 9 of them rejected, and 1,200 messages come to the counts that the real server ended with."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=60, messages=1200, seconds=5)
        stage.run(seconds=20, rejected=9)

    last = items(recorded("csv-users-rejected-and-messages")["responses"])[-3]
    expected = member(json.loads(str(member(last, "body"))), "operation", "count")
    assert member(body_of(Story(tell), STATUS, 25), "operation", "count") == expected


def test_counts_are_written_in_steps_and_never_fall() -> None:
    """Every 50 records, every 500 of the messages, and at the end of a phase; staged records stay as they were."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=120, messages=2300, seconds=6)
        stage.run(seconds=60, rejected=7)

    story = Story(tell)
    documents = [document for at in range(6, 67) if (document := story.newest(at))]
    processed = [document.count("completed") + document.count("error") for document in documents]
    assert processed == sorted(processed)
    assert {number % 50 for number in processed} <= {0, (2 * 120) % 50, (2 * 120 + 2300) % 50}
    assert {document.count("total") for document in documents} == {2420}
    importing = [document for document in documents if document.step == "importing_messages"]
    assert {(one.count("completed") + one.count("error")) % 500 for one in importing} <= {0, 240, 2540 % 500}


def test_an_api_import_counts_rejected_users_as_errors_alone() -> None:
    """3 of 120 refused: 117 completed and 3 errors; 7,995 of 8,000 who exist already: 5 and 7,995."""
    for users, rejected in ((120, 3), (8000, 7995)):
        story = Story(stories.nightly_sync(users=users, existing=rejected))
        end = newest(story, story.length)
        assert (end.step, end.valid) == ("done", True)
        assert (end.count("completed"), end.count("error")) == (users - rejected, rejected)


def test_users_of_a_file_import_are_counted_twice_only_since_7_0() -> None:
    """The same import on a 6.13 server, where rejected users went to both counts."""
    new, old = (
        newest(story, story.length)
        for story in (
            Story(stories.csv_migration(users=100, rejected=10, messages=1000)),
            Story(stories.csv_migration(users=100, rejected=10, messages=1000), version=(6, 13)),
        )
    )
    assert (new.count("completed"), new.count("error")) == (100 + 90 + 1000, 10)
    assert (old.count("completed"), old.count("error")) == (100 + 1000, 10)


def test_deselected_records_stay_in_the_total() -> None:
    """An import of which 2 % were ticked ends well, at 2 %."""
    story = Story(stories.deselected())
    end = newest(story, story.length)
    assert (end.step, end.valid) == ("done", True)
    assert end.count("total") == 10_100
    assert end.count("completed") == 2 * 2 + 200


def test_the_last_write_may_be_missing() -> None:
    """A finished import can stay short of what it did, by less than one step of its counters."""

    def tell(stage: Stage) -> None:
        stage.create("api")
        stage.load(users=133, seconds=1)
        stage.run(seconds=10, last_write=False)

    assert newest(Story(tell), 11).count("completed") == 100


def test_loading_goes_through_the_steps_of_its_importer() -> None:
    """A file is uploaded or fetched, then prepared kind by kind, its total growing; an API import is ready at once."""

    def steps(importer: str, *, from_url: bool = False, **records: int) -> list[str]:
        def tell(stage: Stage) -> None:
            stage.create(importer)
            stage.load(seconds=100, from_url=from_url, **records)

        documents = [newest(Story(tell), at) for at in range(101)]
        totals = [document.count("total") for document in documents]
        assert totals == sorted(totals)
        assert totals[-1] == sum(records.values())
        return [step for step, _ in groupby(document.step for document in documents)]

    opening = ["file_loaded", "preparing_started"]
    kinds = ["preparing_users", "preparing_channels", "preparing_messages"]
    assert steps("slack", users=9, channels=3, messages=900) == ["uploading", *opening, *kinds, "user_selection"]
    assert steps("csv", from_url=True, users=9)[:2] == ["downloading_file", "file_loaded"]
    assert steps("omnichannel_contact", contacts=7)[-2:] == ["preparing_contacts", "user_selection"]
    assert steps("pending-files", files=7)[-1] == "user_selection"
    assert steps("api", users=300) == ["user_selection"]


def test_running_goes_through_the_steps_of_its_importer() -> None:
    """Contacts have a step since 7.0, and fetchers of files know one alone."""

    def steps(importer: str, *version: int) -> list[str]:
        def tell(stage: Stage) -> None:
            stage.create(importer)
            stage.load(seconds=0, files=100)
            stage.run(seconds=1000)

        story = Story(tell, version=version)
        return [step for step, _ in groupby(newest(story, at).step for at in range(1001))]

    fetched = ["importing_started", "importing_files", "finishing", "done"]
    old = ["importing_started", "importing_users", "importing_channels", "importing_messages", "finishing", "done"]
    assert steps("pending-files", 8, 6) == fetched
    assert steps("slack", 6, 13) == old
    assert steps("slack", 8, 6) == [*old[:2], "importing_contacts", *old[2:]]


@pytest.mark.looptime
async def test_a_second_instance_makes_a_running_import_error_and_then_done_short_of_its_total() -> None:
    """The same states as the real server's, seen by someone who asks once a second."""
    original = items(recorded("second-instance-starts-mid-import")["responses"])
    bodies = [json.loads(str(member(one, "body"))) for one in original if member(one, "endpoint") == STATUS]
    expected = [state for state, _ in groupby(body["state"] for body in bodies)]
    seen: list[dict[str, object]] = []
    async with SimulatedServer(Story(stories.rolling_deploy()), clock=LoopClock()) as server:
        while server.at < 50:
            _, _, body = await ask(server.base_url, f"v1/{STATUS}")
            seen.append(json.loads(body))
            await asyncio.sleep(1)
    assert [state for state, _ in groupby(one["state"] for one in seen)] == ["none", *expected]
    last = member(seen[-1], "operation")
    assert member(last, "valid") is False
    completed, total = (int(str(member(last, "count", key))) for key in ("completed", "total"))
    assert 0 < completed < total


@pytest.mark.looptime
async def test_a_crash_ends_connections_and_leaves_an_error_with_a_frozen_step() -> None:
    """No connection is answered while the server is away; after it, the step is what it was and nothing is valid."""

    async def state() -> object:
        try:
            _, _, body = await ask(server.base_url, f"v1/{STATUS}")
        except aiohttp.ClientConnectionError:
            return None
        return member(json.loads(body), "state")

    async with SimulatedServer(Story(stories.crash()), clock=LoopClock()) as server:
        seen = []
        while server.at < 54:
            seen.append(await state())
            await asyncio.sleep(1)
        _, _, body = await ask(server.base_url, f"v1/{PROGRESS}")
    assert [one for one, _ in groupby(seen)] == ["none", "new", "loading", "ready", "importing", None, "error"]
    assert member(json.loads(body), "step") == "importer_importing_messages", "it ignores that nothing is valid"


@pytest.mark.parametrize(
    ("telling", "expected"),
    [
        (stories.phase_throws(), ["none", "new", "loading", "ready", "importing", "error"]),
        (
            stories.cleared_by_admin(),
            [*("none", "new", "loading", "ready", "importing", "error", "done"), *("new", "loading", "ready", "error")],
        ),
        (
            stories.superseded(),
            [*("none", "new", "loading", "ready", "importing"), *("new", "ready", "importing", "done")],
        ),
        (stories.idle(seconds=60), ["none"]),
    ],
)
def test_other_ends_show_their_states(telling: Callable[[Stage], None], expected: list[str]) -> None:
    """What an import can come to is what the server's state says, in this order."""
    story = Story(telling)
    assert states(story, story.length) == expected


def test_a_superseded_import_ends_in_the_list_alone() -> None:
    """The newest operation is the new one; the old one is done, invalid and short a moment later."""
    story = Story(stories.superseded())
    old, new = story.operations(story.length)
    assert (old.step, old.valid, new.step, new.valid) == ("done", False, "done", True)
    assert old.count("completed") < old.count("total")
    assert member(body_of(story, STATUS, story.length), "operation", "_id") == new.id(STARTED)
    assert old.id(STARTED) in {str(member(one, "_id")) for one in items(body_of(story, LIST, story.length))}


def test_an_import_is_made_invalid_and_aborts_once() -> None:
    """A clear, and a new import right after it, do not end the old one twice."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=20, messages=5000, seconds=1)
        stage.begin_run(seconds=100)
        stage.wait(50)
        stage.clear(aborts_after=4)
        stage.wait(2)
        stage.create("csv")
        stage.wait(20)

    old = Story(tell).operations(73)[0]
    assert (old.step, old.valid, old.updated) == ("done", False, 55)


def test_an_import_that_stalls_stays_valid_and_moves_no_more() -> None:
    """Nothing on the wire says so: only the date of its last write falls behind."""
    story = Story(stories.stalls(running=600, stuck_for=1000))
    before, after = newest(story, story.length - 999), newest(story, story.length)
    assert before == after
    assert (after.step, after.valid) == ("importing_messages", True)


def test_an_unknown_step_has_no_state_and_a_canceled_one_has_its_own() -> None:
    """What newer and much older servers may show."""
    story = Story(stories.odd_words(waiting=10))
    assert body_of(story, STATUS, story.length - 11) == {
        "operation": member(body_of(story, LIST, story.length - 11), 0),
        "success": True,
    }
    assert member(body_of(story, STATUS, story.length), "state") == "canceled"


def test_a_phase_that_throws_stays_valid() -> None:
    """Step `import_failed`, `valid` true, the counts as they were last written."""
    story = Story(stories.phase_throws())
    end = newest(story, story.length)
    assert (end.step, end.valid, end.count("completed")) == ("import_failed", True, 60)


def test_a_restart_keeps_only_the_import_that_is_ready_and_stamps_no_invalid_one_again() -> None:
    """Ready stays ready; done stays done and becomes invalid, once."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=20, seconds=2)
        stage.restart()
        stage.wait(1)
        stage.run(seconds=5)
        for _ in range(2):
            stage.wait(10)
            stage.restart()

    story = Story(tell)
    assert (newest(story, 2).step, newest(story, 2).valid) == ("user_selection", True)
    assert newest(story, 8).valid
    assert [(newest(story, at).valid, newest(story, at).updated) for at in (18, 28)] == [(False, 18), (False, 18)]


def test_an_old_failure_is_stamped_again_and_keeps_its_start() -> None:
    """A restart rewrites `_updatedAt` of what was valid, and never `ts`."""
    story = Story(stories.old_failure_restamped(age=stories.DAY, seconds=600))
    before, after = newest(story, 0), newest(story, story.length)
    assert before.created == before.updated == after.created == -stories.DAY
    assert (after.step, after.valid) == ("import_failed", False)
    assert after.updated == pytest.approx(310)


def test_nothing_imported_is_told_in_three_ways() -> None:
    """State none without an operation, an empty list, and a 400."""
    story = Story(stories.idle())
    assert body_of(story, STATUS) == {"state": "none", "success": True}
    assert body_of(story, LIST) == []
    refusal = reply_of(story, PROGRESS)
    first = items(recorded("api-import-succeeds")["responses"])[2]
    assert (refusal.status, refusal.body.decode()) == (400, member(first, "body"))


def test_the_list_is_in_the_order_of_writing_and_holds_twenty() -> None:
    """The 20 last written to, of which the newest is not the first; `import.status` is about the greatest `ts`."""

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


def test_an_importer_that_is_gone_spoils_progress_alone() -> None:
    """`getImportProgress` is a 400, as recorded; both feeds work."""

    def tell(stage: Stage) -> None:
        stage.remember("slack", age=1000)
        stage.remove_importer("slack")

    story = Story(tell)
    expected = member(items(recorded("upgraded-server-old-history")["responses"])[2], "body")
    assert (reply_of(story, PROGRESS).status, reply_of(story, PROGRESS).body.decode()) == (400, expected)
    assert reply_of(story, STATUS).status == reply_of(story, LIST).status == 200


def test_older_servers_answer_in_their_own_way() -> None:
    """6.2: no `import.status` but a page, numbers for `ts`, progress without counts, no word of success in a 401."""

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
    """With the `errorType` of the endpoint's own."""

    def tell(stage: Stage) -> None:
        stage.forbid()
        stage.forbid(VIEW_OPERATIONS)

    assert reply_of(Story(tell), endpoint).status == 403
    refusal = reply_of(Story(tell, version=(5, 0)), endpoint)
    assert (refusal.status, member(json.loads(refusal.body), "errorType")) == (400, kind)


def test_a_read_only_token_sees_the_list_alone() -> None:
    """The least privilege: `import.status` and `getImportProgress` are refused, the list and the version are not."""
    story = Story(stories.read_only(stories.nightly_sync()))
    assert [reply_of(story, one, 30).status for one in (STATUS, LIST, PROGRESS, "info")] == [403, 200, 403, 200]


async def test_only_the_right_credentials_are_let_in() -> None:
    """No header, another token, and a bearer token are refused, and `/api/info` asks for none."""

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


async def test_a_server_speaks_tls_where_it_is_given_a_certificate() -> None:
    """With an authority of its own, which a client may trust or not."""
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


async def test_paths_and_methods_are_as_strict_as_the_server_s() -> None:
    """A slash too many and unknown endpoints are 404, a query is refused where the server refuses it, HEAD works."""
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


async def test_an_answer_carries_the_date_of_the_server_s_own_clock() -> None:
    """A server whose clock is an hour fast says so in `Date`."""
    async with SimulatedServer(Story(stories.idle()), clock=WallClock(ahead=3600)) as server:
        _, ahead, _ = await ask(server.base_url, "info")
    async with SimulatedServer(Story(stories.idle())) as server:
        _, right, _ = await ask(server.base_url, "info")
    fast, slow = (datetime.strptime(one["date"], "%a, %d %b %Y %H:%M:%S %Z") for one in (ahead, right))  # noqa: DTZ007
    assert (fast - slow).total_seconds() == pytest.approx(3600, abs=60)


@pytest.mark.looptime
@pytest.mark.parametrize("name", ["hang", "slow", "drip"])
async def test_a_fault_of_time_outlasts_a_client_s_patience(name: str) -> None:
    """Whoever waits 10 s for the whole exchange has no answer then."""
    async with broken(faults.FAULTS[name]) as server:
        with pytest.raises(TimeoutError):
            await ask(server.base_url, f"v1/{LIST}")
        assert server.at == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("name", "error"), [("reset", aiohttp.ClientConnectionError), ("cut", aiohttp.ClientPayloadError)]
)
async def test_a_fault_of_the_connection_is_seen_as_one(name: str, error: type[Exception]) -> None:
    """A reset before a byte, and one in the middle of the body."""
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
async def test_a_fault_of_the_answer_takes_its_place(name: str, status: int, beginning: bytes) -> None:
    """Status and body are what a proxy, an older server or a broken one sends, and another endpoint is untouched."""
    async with broken(faults.FAULTS[name]) as server:
        answer = await ask(server.base_url, f"v1/{LIST}")
        assert (answer[0], answer[2][: len(beginning)]) == (status, beginning)
        assert (await ask(server.base_url, f"v1/{STATUS}"))[0] == 200


@pytest.mark.parametrize(("name", "size"), [("padded", 16 << 20), ("gzip bomb", 64 << 20)])
async def test_a_fault_of_size_is_still_the_right_json(name: str, size: int) -> None:
    """Only its size is wrong; the bomb travels as a hundredth of it at most."""
    async with broken(faults.FAULTS[name]) as server:
        _, headers, body = await ask(server.base_url, f"v1/{LIST}")
    assert len(body) == size
    assert member(json.loads(body), 0, "importerKey") == "csv"
    assert name != "gzip bomb" or int(headers["content-length"]) < size / 100


def broken(fault: Callable[[Reply], Reply | Outage]) -> SimulatedServer:
    """A server whose list has this fault, by virtual or real time as the test has it."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.fault(fault, LIST)

    return SimulatedServer(Story(tell), clock=LoopClock())


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_can_be_told_and_mended(name: str) -> None:
    """A story goes through it and ends well."""
    story = Story(stories.faulty(faults.FAULTS[name], LIST))
    healthy, spoilt = (story.answer(Call(endpoint=LIST, at=at, started=STARTED)) for at in (100, 130))
    assert healthy != spoilt
    assert member(body_of(story, LIST, story.length), 0, "status") == "importer_done"


def test_a_state_can_be_a_word_that_nobody_knows() -> None:
    """The operation is untouched, and so are the answers that have no state."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.wait(1)
        stage.fault(faults.unknown_state)

    story = Story(tell)
    assert member(body_of(story, STATUS, 1), "state") == "dreaming"
    assert member(body_of(story, STATUS, 1), "operation") == member(body_of(story, STATUS, 0), "operation")
    assert body_of(story, LIST, 1) == body_of(story, LIST, 0)


async def test_a_server_stops_at_once_with_a_request_in_flight() -> None:
    """A client that waits for a server that hangs is let go."""
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


async def test_many_workspaces_share_a_socket_and_nothing_else() -> None:
    """Each below its own path, with its own script, limiter and list of requests; a path of no workspace is 404."""
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
def test_a_story_of_the_demo_shows_itself_within_55_seconds_and_begins_again(name: str) -> None:
    """Each state lasts 3 s at least, so that whoever asks every 2 s sees all; the next round is a newer operation."""
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
    """The story's state, `none` without an operation; an outage is a state of its own here."""
    if story.world(at).outage is not None:
        return str(story.world(at).outage)
    document = story.newest(at)
    return "none" if document is None else state_of(document)


def test_a_story_is_the_same_whoever_asks_in_whatever_order() -> None:
    """Asked backwards, a repeating story says what it said forwards, rounds later and earlier."""
    story = stories.demo()["rolling-deploy"]
    instants = [turn * 3.7 for turn in range(100)]
    forwards = [body_of(story, LIST, at) for at in instants]
    assert [body_of(story, LIST, at) for at in reversed(instants)] == forwards[::-1]


def test_a_story_that_repeats_for_hours_does_not_grow() -> None:
    """Only what an endpoint can still show is kept of earlier rounds."""
    story = stories.demo()["nightly-sync"]
    assert len(story.operations(6 * stories.HOUR)) <= 22
    assert newest(story, 6 * stories.HOUR).number == 6 * stories.HOUR // story.length


def test_the_truth_is_what_is_sent() -> None:
    """At any instant the document that a test reads is the one that a client gets."""
    story = stories.demo()["csv-migration"]
    for at in range(5, 52):
        document, sent = newest(story, at), member(body_of(story, STATUS, at), "operation")
        assert member(sent, "_id") == document.id(STARTED)
        assert member(sent, "status") == f"importer_{document.step}"
        assert member(sent, "valid") is document.valid
        assert instant(member(sent, "_updatedAt")) == pytest.approx(STARTED + document.updated, abs=1e-3)
        assert isinstance(sent, dict)
        assert sent.get("count") == document.counts


def test_nights_can_be_told_one_by_one() -> None:
    """Three nights of a synchronisation, the second cut off: an operation a day, and only that one is short."""
    killed = stories.rolling_deploy(waiting=60, running=3600, killed_after=600)
    story = Story(stories.nights(3, users=200, new=5, unless={2: killed}))
    assert story.length == 3 * stories.DAY
    first, second, third = story.operations(story.length)
    assert [one.created // stories.DAY for one in (first, second, third)] == [0, 1, 2]
    assert [one.count("error") for one in (first, second, third)] == [195, 0, 195]
    assert (second.importer, second.step, second.valid) == ("csv", "done", False)
    assert (third.step, third.valid) == ("done", True)


def test_an_amended_operation_shows_what_the_story_says() -> None:
    """Any field can be replaced or left out, for what other releases send."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.amend(ts="1635280622083", count=[7], valid=ABSENT, fileData={"users": [{"email": "someone@example.org"}]})

    sent = member(body_of(Story(tell), LIST), 0)
    assert isinstance(sent, dict)
    assert "valid" not in sent
    assert (sent["ts"], sent["count"]) == ("1635280622083", [7])
    assert member(sent, "fileData", "users", 0, "email") == "someone@example.org"


def test_a_story_without_length_cannot_repeat() -> None:
    """It would never come to an end."""
    with pytest.raises(ValueError, match="takes no time"):
        Story(lambda stage: stage.create("csv"), repeat=True)
