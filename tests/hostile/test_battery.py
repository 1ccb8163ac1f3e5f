"""Every fault of the table has one reason, affects no other workspace, shows no secret, and ends in time.

A real exporter polls two servers over real sockets, in virtual time: one with the fault, and one that is well.
"""

import asyncio
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter import logs
from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.faults import FAULTS as SIMULATED
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Call, Reply
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, LoopClock
from tests.hostile.fault import BODY, SECOND_CALL, TIMEOUT, Fault, Site
from tests.hostile.table import BY_PYTHON, FAULTS
from tests.support.peers import SECRETS, overheard
from tests.support.rig import Exporting, Page, exporting

pytestmark = [pytest.mark.looptime]

LONGEST_LINE: Final = 1000
MOST_LINES: Final = 8
"""Lines about one workspace: it fails, it is polled again and again, and recovers."""
SPREAD: Final = 0.1
"""The share by which a wait may be shorter than stated, by the workspace's name."""
ENDED: Final = 0.5
"""Seconds after which a poll of a server that is well has ended."""


def running(stage: Stage) -> None:
    """An import that runs for hours."""
    stage.create("csv")
    stage.load(users=40_000, seconds=10)
    stage.begin_run(seconds=4000)
    stage.wait(4000)


WELL: Final = Story(running)


def test_the_table_has_every_kind_of_fault() -> None:
    """The simulator's faults are part of it, and each name tells one fault."""
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) >= 120
    assert {name.removeprefix("simulated: ") for name in names if name.startswith("simulated: ")} == set(SIMULATED)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(each, id=each.name, marks=[] if each in BY_PYTHON else [pytest.mark.once]) for each in FAULTS],
)
async def test_a_fault_is_reported_and_ends(fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a server, a network or the machine does may hide what else is known."""
    site = Site(folder=tmp_path, patch=monkeypatch, now=LoopClock().now)
    async with fault.serve(site) as options:
        logs.configure("debug", "json")
        with overheard() as log:
            async with exporting({"well": WELL}, **given(options)) as exporter:
                await suffer(exporter, fault, site)
                await check_report(exporter, fault)
                check_neighbour(exporter, await check_recovery(exporter, fault, site))
    check_log(log.getvalue(), fault)


def given(options: Mapping[str, str]) -> dict[str, str]:
    """The exporter's options, with these of the workspace that has the fault."""
    own = {"user_id": USER_ID, "auth_token": AUTH_TOKEN, **options}
    named = {f"workspaces__ill__{name.replace('.', '__')}": text for name, text in own.items() if text}
    return {"poll_interval": "15s", "poll_interval_idle": "15s", **named}


async def suffer(exporter: Exporting, fault: Fault, site: Site) -> None:
    """Lets time pass until the workspace has been polled with the fault. Scrapes are answered meanwhile."""
    if site.begins:
        await asyncio.sleep(ENDED)
        await exporter.page()
    for begin in site.begins:
        begin()
    wanted = exporter.record("ill").polls + (fault.polls or (2 if fault.within <= 60 else 1))
    while (record := exporter.record("ill")).polls < wanted:
        async with exporter.session.get(f"{exporter.url}/metrics") as answer:
            assert answer.status == 200
        await asyncio.sleep(5)
        for feed in record.feeds.values():
            assert feed.answered - feed.at <= TIMEOUT + ENDED


async def check_report(exporter: Exporting, fault: Fault) -> None:
    """The page has the stated reason and no other."""
    page, symptom = await exporter.page(), fault.symptom
    reasons = {dict(labels)["reason"] for labels in page.series("exporter_poll_failures_total", workspace="ill")}
    assert reasons == (set() if symptom.reason is None else {str(symptom.reason)})
    failing = {dict(labels)["reason"] for labels in page.series("failing", workspace="ill")}
    assert failing == reasons
    assert page.value("up", workspace="ill") == (symptom.reason is None if fault.up is None else fault.up)
    for name, value in fault.shows.items():
        shown = page.one(name, "ill") if isinstance(value, str) else page.value(name, workspace="ill")
        assert (name, shown) == (name, value)
    assert bool(page.value("exporter_log_lines_dropped_total")) == fault.drops
    assert not fault.importer or page.series("operation_info", workspace="ill", importer=fault.importer)
    said = " ".join(f"{feed.detail} {feed.remedy}" for feed in exporter.record("ill").feeds.values())
    assert fault.says in said
    assert said.isprintable()
    assert_nothing_leaks(page.text)
    # The pages for people show no more than this.
    assert_nothing_leaks(repr(exporter.app.store.snapshot))


async def check_recovery(exporter: Exporting, fault: Fault, site: Site) -> Page:
    """The next poll comes in the stated time, and its answer is published at once. Returns the page."""
    site.over = True
    for end in site.ends:
        await end()
    before = exporter.record("ill")
    assert before.plan is not None
    assert before.plan.interval <= fault.within + ENDED
    if fault.wait is not None:
        assert before.plan.interval >= fault.wait * (1 - SPREAD)
    await asyncio.sleep(before.plan.next_poll - site.now() + ENDED)
    page, record = await exporter.page(), exporter.record("ill")
    assert_nothing_leaks(page.text)
    assert record.polls == before.polls + 1
    assert page.value("up", workspace="ill") == 1
    assert page.one("state", "ill") == "importing"
    assert page.value("operation_records_completed", workspace="ill") == 50
    assert record.failures == before.failures
    if not all(feed.ok for feed in record.feeds.values()):
        await asyncio.sleep(fault.within + SECOND_CALL)
        page = await exporter.page()
    assert all(feed.ok for feed in exporter.record("ill").feeds.values())
    return page


def check_neighbour(exporter: Exporting, page: Page) -> None:
    """It was polled in time, nothing failed, and its numbers are what its server said."""
    record, served = exporter.record("well"), exporter.servers.workspaces["well"]
    polls = [seen.at for seen in served.requests if seen.endpoint == Api.STATUS]
    assert all(abs(later - earlier - SECOND_CALL) < ENDED for earlier, later in pairwise(polls))
    assert record.last_poll is not None
    assert exporter.servers.clock.now() - record.last_poll < SECOND_CALL + ENDED
    assert record.failures == {}
    assert page.value("up", workspace="well") == 1
    call = Call(endpoint=Api.STATUS, at=polls[-1] - served.started, started=served.started)
    reply = served.script.answer(call)
    assert isinstance(reply, Reply)
    count = json.loads(reply.body)["operation"]["count"]
    assert page.value("operation_records", workspace="well") == count["total"]
    assert page.value("operation_records_completed", workspace="well") == count.get("completed", 0)


def check_log(log: str, fault: Fault) -> None:
    """A line for each change and not for each poll, without a body and without a secret."""
    assert_nothing_leaks(log)
    assert "Traceback" not in log
    assert fault.logs in log
    lines = log.splitlines()
    assert all(line.isprintable() and len(line) < LONGEST_LINE for line in lines)
    assert len([line for line in lines if "'ill'" in line]) <= MOST_LINES


def assert_nothing_leaks(text: str) -> None:
    """Neither a secret nor a word of a body."""
    assert not [word for word in (*SECRETS, BODY) if word in text]
