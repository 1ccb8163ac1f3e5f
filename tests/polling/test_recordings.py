"""What a real 8.6.1 server answered, replayed over a real socket: with both feeds, and with `import.status` refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rc_import_exporter.core.domain import FINISHED, Api
from rc_import_exporter.simulator.recording import Recording
from tests.support.rig import RECORDINGS, Exporting, Page, exporting

pytestmark = [pytest.mark.looptime]

BOTH_WAYS = pytest.mark.parametrize("forbidden", [(), (Api.STATUS,)], ids=["both feeds", "import.status refused"])
HELD = {"poll_interval": "1s", "poll_interval_idle": "1s"}
"""Polls every second, because the recordings are played faster: minutes of the real import take seconds."""


@asynccontextmanager
async def replaying(name: str, forbidden: tuple[str, ...]) -> AsyncIterator[tuple[Exporting, list[Page], Recording]]:
    """The exporter's pages during a recording, one each second until its end."""
    recording = Recording(RECORDINGS / f"{name}.json", forbidden=forbidden)
    async with exporting({"acme": recording}, **HELD) as running:
        pages = []
        for _ in range(int(recording.length) + 4):
            await asyncio.sleep(1)
            pages.append(await running.page())
        yield running, pages, recording


def seen(pages: list[Page], label: str) -> list[str | None]:
    """The values of a label in the order in which they came, without repetitions."""
    members = [page.one(label, "acme") for page in pages]
    return [member for before, member in zip([object(), *members], members, strict=False) if member != before]


def finished(page: Page) -> dict[str, float]:
    """The number of finished operations by outcome, without zeros."""
    counts = {each: page.value("operations_finished_total", workspace="acme", outcome=each) for each in FINISHED}
    return {outcome: count for outcome, count in counts.items() if count}


@BOTH_WAYS
async def test_an_api_import_that_succeeds(forbidden: tuple[str, ...]) -> None:
    """400 users, in steps of 50, succeed and are counted once."""
    async with replaying("api-import-succeeds", forbidden) as (_, pages, _):
        assert seen(pages, "state") == ["none", "new", "ready", "importing", "done"]
        assert seen(pages, "outcome") == ["none", "waiting", "running", "succeeded"]
        last = pages[-1]
        assert last.value("operation_records", workspace="acme") == 400
        assert last.value("records_completed_total", workspace="acme") == 400
        assert last.value("records_failed_total", workspace="acme") == 0
        assert last.value("operations_started_total", workspace="acme") == 1
        assert finished(last) == {"succeeded": 1}
        assert all(page.value("up", workspace="acme") == 1 for page in pages)


@BOTH_WAYS
async def test_a_file_import_that_rejects_users(forbidden: tuple[str, ...]) -> None:
    """Rejected users make it done with errors, though the state says done and the counts exceed the total."""
    async with replaying("csv-users-rejected-and-messages", forbidden) as (_, pages, _):
        assert seen(pages, "outcome") == ["waiting", "loading", "waiting", "running", "completed_with_errors"]
        assert seen(pages, "state") == ["new", "loading", "ready", "importing", "done"]
        last = pages[-1]
        assert last.value("operation_records", workspace="acme") == 1260
        assert last.value("operation_records_completed", workspace="acme") == 1311
        assert last.value("operation_records_failed", workspace="acme") == 9
        assert last.value("operation_staged_records", workspace="acme", kind="messages") == 1200
        assert last.value("records_failed_total", workspace="acme") == 9
        assert finished(last) == {"completed_with_errors": 1}
        assert last.value("operations_started_total", workspace="acme") == 0


@BOTH_WAYS
async def test_a_phase_that_throws(forbidden: tuple[str, ...]) -> None:
    """The state `error` with the step `import_failed` is a failure."""
    async with replaying("phase-throws", forbidden) as (_, pages, _):
        assert seen(pages, "outcome")[-2:] == ["running", "failed"]
        assert seen(pages, "state")[-1] == "error"
        assert finished(pages[-1]) == {"failed": 1}


@BOTH_WAYS
async def test_a_second_instance_that_starts_mid_import(forbidden: tuple[str, ...]) -> None:
    """The server ends with `done`, but the import was cut off."""
    async with replaying("second-instance-starts-mid-import", forbidden) as (_, pages, _):
        assert seen(pages, "outcome")[-3:] == ["running", "interrupted", "incomplete"]
        assert seen(pages, "state")[-3:] == ["importing", "error", "done"]
        last = pages[-1]
        assert finished(last) == {"interrupted": 1, "incomplete": 1}
        dated = last.series("last_finished_timestamp_seconds", workspace="acme")
        assert [dict(labels)["outcome"] for labels in dated] == ["incomplete"]
        assert last.value("operation_records_completed", workspace="acme") == 1500


@BOTH_WAYS
async def test_a_crash_and_restart(forbidden: tuple[str, ...]) -> None:
    """During the restart the last state stays for a while; after it, the import is known to be cut off."""
    async with replaying("crash-and-restart", forbidden) as (_, pages, _):
        assert seen(pages, "outcome") == ["running", "interrupted"]
        ups = [page.value("up", workspace="acme") for page in pages]
        assert ups[4] == 1
        assert ups[8] == 0
        assert ups[-1] == 1
        assert pages[8].one("state", "acme") == "importing"
        down = pages[8].series("failing", workspace="acme", reason="connection")
        assert {dict(labels)["api"] for labels in down} >= {Api.LIST}
        assert finished(pages[-1]) == {"interrupted": 1}
        assert pages[-1].value("records_completed_total", workspace="acme") == 1500


@BOTH_WAYS
async def test_an_upgraded_server_with_an_old_history(forbidden: tuple[str, ...]) -> None:
    """Old operations must not raise alerts or counters."""
    async with replaying("upgraded-server-old-history", forbidden) as (_, pages, _):
        first, last = pages[1], pages[-1]
        assert first.one("outcome", "acme") == "succeeded"
        assert first.value("operations_started_total", workspace="acme") == 0
        assert finished(first) == {}
        recent = first.series("recent_operations", workspace="acme")
        assert sum(recent.values()) == 20
        # Of the old imports nobody saw the end, and most have no count of what was completed.
        assert first.value("recent_operations", workspace="acme", outcome="unconfirmed") == 17
        # The import is done, and a restart follows before the next poll.
        assert seen(pages, "outcome") == ["succeeded", "waiting", "running", "unconfirmed"]
        assert last.value("operations_started_total", workspace="acme") == 1
        assert finished(last) == {"unconfirmed": 1}
        assert last.value("operation_valid", workspace="acme") == 0
        assert last.value("records_completed_total", workspace="acme") == 60
        assert "user0" not in last.text


@BOTH_WAYS
async def test_a_permission_that_is_removed_and_granted_again(forbidden: tuple[str, ...]) -> None:
    """The list alone is enough to know the state."""
    async with replaying("run-import-permission-removed", forbidden) as (_, pages, _):
        assert all(page.value("up", workspace="acme") == 1 for page in pages)
        assert seen(pages, "outcome") == ["waiting", "running", "succeeded"]
        refusals = {"workspace": "acme", "api": Api.STATUS, "reason": "forbidden"}
        assert pages[-1].value("exporter_poll_failures_total", **refusals) == 1
        assert pages[-1].value("failing", **refusals) == 1
        assert [dict(each)["source"] for each in pages[-1].series("operation_info")] == [Api.LIST]


async def test_a_refused_endpoint_is_tried_again_after_five_minutes() -> None:
    """A new permission must take effect without a restart of the exporter."""
    async with replaying("run-import-permission-removed", ()) as (running, _, _):
        await asyncio.sleep(300)
        page = await running.page()
        assert page.value("api_up", workspace="acme", api=Api.STATUS) == 1
        assert page.series("failing", workspace="acme") == {}


async def test_a_rate_limited_caller_waits_for_the_window() -> None:
    """The recorded caller used up its calls within half a minute. The exporter spreads them, and heeds a refusal."""
    recording = Recording(RECORDINGS / "rate-limited.json")
    async with exporting({"acme": recording}, **{**HELD, "poll_interval": "2s"}) as running:
        begun = running.servers.clock.now()
        await asyncio.sleep(30)
        page = await running.page()
        assert page.value("exporter_rate_limit", workspace="acme", api=Api.STATUS) == 10
        assert page.value("exporter_rate_limit_remaining", workspace="acme", api=Api.STATUS) in range(1, 7)
        assert page.value("up", workspace="acme") == 1
        await asyncio.sleep(50)
        seen = running.servers.workspaces["acme"].requests
        calls = [(each.at - begun, each.status) for each in seen if each.endpoint == Api.STATUS]
        refused = next(at for at, status in calls if status == 429)
        assert len([at for at, _ in calls if at < refused]) <= 4
        assert not [at for at, _ in calls if refused < at < 58]
        assert calls[-1][1] == 200
