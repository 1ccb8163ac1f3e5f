"""The simulated import service behaves like the real one in the recordings."""

import asyncio
import json
from collections.abc import Callable
from itertools import groupby

import aiohttp
import pytest

from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.recording import Recording
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import (
    LoopClock,
    SimulatedServer,
)
from tests.support.rig import RECORDINGS
from tests.support.simulated import (
    LIST,
    NAMES,
    PROGRESS,
    STARTED,
    STATES,
    STATUS,
    ask,
    body_of,
    dates,
    instant,
    items,
    member,
    newest,
    recorded,
    reply_of,
    states,
    undated,
    until,
)


@pytest.mark.looptime
@pytest.mark.parametrize("name", NAMES)
async def test_every_recording_plays_in_full(name: str) -> None:
    """At each time of the recording, the simulated server gives the same answer, with dates moved to now."""
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


def test_a_recording_keeps_the_dates_of_older_operations() -> None:
    """Operations that are years old keep their dates. Only dates from the time of the recording move."""
    listed = items(body_of(Recording(RECORDINGS / "upgraded-server-old-history.json"), LIST))
    assert member(listed, 0, "ts") == 1635280614083
    assert instant(member(listed, 0, "_updatedAt")) == pytest.approx(STARTED, abs=1)


def test_a_recording_can_play_faster_and_again() -> None:
    """At double speed, each answer comes in half the time. The second play has a new, later operation."""
    recording = Recording(RECORDINGS / "api-import-succeeds.json", speed=2, repeat=True)
    assert recording.length == pytest.approx(14.294 / 2)
    assert member(body_of(recording, STATUS, recording.length - 0.1), "state") == "done"
    assert member(body_of(recording, STATUS, recording.length + 0.1), "state") == "none"
    first, second = (body_of(recording, STATUS, play * recording.length + 2.3) for play in (0, 1))
    assert member(first, "state") == member(second, "state") == "ready"
    assert member(first, "operation", "_id") != member(second, "operation", "_id")
    later = instant(member(second, "operation", "ts")) - instant(member(first, "operation", "ts"))
    assert later == pytest.approx(recording.length, abs=2e-3)


def test_a_recording_can_be_played_without_a_permission() -> None:
    """The forbidden endpoint answers as the real server did. The others are not affected."""
    recording = Recording(RECORDINGS / "phase-throws.json", forbidden={STATUS})
    original = recorded("run-import-permission-removed")
    refusals = [one for one in items(original["responses"]) if member(one, "status") == 403]
    assert reply_of(recording, STATUS).status == 403
    assert reply_of(recording, STATUS).body.decode() == member(refusals, 0, "body")
    assert reply_of(recording, LIST).status == 200


@pytest.mark.looptime
async def test_the_rate_limiter_counts_as_the_recorded_one_did() -> None:
    """A request every 2 s gets ten answers and then refusals until the window ends, without `Retry-After`."""
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
    """A valid operation with an unknown step has no state."""

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

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=60, messages=1200, seconds=5)
        stage.run(seconds=20, rejected=9)

    last = items(recorded("csv-users-rejected-and-messages")["responses"])[-3]
    expected = member(json.loads(str(member(last, "body"))), "operation", "count")
    assert member(body_of(Story(tell), STATUS, 25), "operation", "count") == expected


def test_counts_are_written_in_steps_and_never_fall() -> None:
    """The server writes counts every 50 records, every 500 messages, and at the end of a phase."""

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


def test_an_api_import_counts_rejected_users_only_as_errors() -> None:
    for users, rejected in ((120, 3), (8000, 7995)):
        story = Story(stories.nightly_sync(users=users, existing=rejected))
        end = newest(story, story.length)
        assert (end.step, end.valid) == ("done", True)
        assert (end.count("completed"), end.count("error")) == (users - rejected, rejected)


def test_users_of_a_file_import_are_counted_twice_only_since_7_0() -> None:
    """A 6.13 server counts each user once."""
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
    """An import with 2 % of its records selected succeeds with 2 % completed."""
    story = Story(stories.deselected())
    end = newest(story, story.length)
    assert (end.step, end.valid) == ("done", True)
    assert end.count("total") == 10_100
    assert end.count("completed") == 2 * 2 + 200


def test_the_last_write_may_be_missing() -> None:
    """The last counts of a finished import can be too low by less than one step."""

    def tell(stage: Stage) -> None:
        stage.create("api")
        stage.load(users=133, seconds=1)
        stage.run(seconds=10, last_write=False)

    assert newest(Story(tell), 11).count("completed") == 100


def test_loading_goes_through_the_steps_of_its_importer() -> None:
    """A file is uploaded or downloaded, then prepared kind by kind. An API import is ready at once."""

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
    """Contacts have a step of their own since 7.0. Importers that fetch files have one step."""

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
    """With one request per second, the states are those of the recording."""
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
    """While the server is down no connection succeeds. Then the step is the same, and the operation is invalid."""

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
def test_each_story_shows_its_states(telling: Callable[[Stage], None], expected: list[str]) -> None:
    """The states come in this order."""
    story = Story(telling)
    assert states(story, story.length) == expected


def test_only_the_list_shows_the_end_of_a_superseded_import() -> None:
    """A moment later the old operation is done, invalid and incomplete. Only the list still shows it."""
    story = Story(stories.superseded())
    old, new = story.operations(story.length)
    assert (old.step, old.valid, new.step, new.valid) == ("done", False, "done", True)
    assert old.count("completed") < old.count("total")
    assert member(body_of(story, STATUS, story.length), "operation", "_id") == new.id(STARTED)
    assert old.id(STARTED) in {str(member(one, "_id")) for one in items(body_of(story, LIST, story.length))}


def test_an_import_becomes_invalid_and_aborts_once() -> None:
    """A clear and a new import right after it do not end the old one twice."""

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


def test_a_stalled_import_stays_valid_and_does_not_change() -> None:
    """Only the date of the last write shows it."""
    story = Story(stories.stalls(running=600, stuck_for=1000))
    before, after = newest(story, story.length - 999), newest(story, story.length)
    assert before == after
    assert (after.step, after.valid) == ("importing_messages", True)


def test_an_unknown_step_has_no_state_and_a_canceled_one_has_its_own() -> None:
    """Newer and much older servers may send them."""
    story = Story(stories.odd_words(waiting=10))
    assert body_of(story, STATUS, story.length - 11) == {
        "operation": member(body_of(story, LIST, story.length - 11), 0),
        "success": True,
    }
    assert member(body_of(story, STATUS, story.length), "state") == "canceled"


def test_a_phase_that_throws_stays_valid() -> None:
    """Its step is `import_failed`, and its counts are the ones written last."""
    story = Story(stories.phase_throws())
    end = newest(story, story.length)
    assert (end.step, end.valid, end.count("completed")) == ("import_failed", True, 60)


def test_a_restart_keeps_only_an_import_that_is_ready_and_changes_no_invalid_one() -> None:
    """An import that is done stays done. The first restart makes it invalid; the second does not change it."""

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


def test_a_restart_changes_the_date_of_an_old_failure_but_not_its_start() -> None:
    """A restart changes `_updatedAt` of valid operations, and never `ts`."""
    story = Story(stories.old_failure_restamped(age=stories.DAY, seconds=600))
    before, after = newest(story, 0), newest(story, story.length)
    assert before.created == before.updated == after.created == -stories.DAY
    assert (after.step, after.valid) == ("import_failed", False)
    assert after.updated == pytest.approx(310)
