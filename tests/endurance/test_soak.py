"""The long run in short: nothing grows. `make soak` plays 30 days."""

from dataclasses import replace

import pytest

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.script import Call
from tests.endurance import soak
from tests.endurance.troubles import Troubled

pytestmark = [pytest.mark.once]

FLAT = soak.Sample(memory=70.0, sockets=20, threads=3, tasks=22, series=2000)


def test_hours_with_troubles_leave_nothing_behind() -> None:
    """A leak of a few bytes a poll stops the exporter after weeks."""
    samples = soak.in_virtual_time(days=0.25, workspaces=3)
    assert len(samples) == 10
    assert soak.growth(samples) == []


def test_the_daemon_holds_its_sockets_and_threads_in_real_time() -> None:
    """At first it opens what it then keeps, so these few seconds have a limit instead of a comparison."""
    samples = soak.in_real_time(seconds=1.5, workspaces=3)
    assert samples
    assert max(each.sockets for each in samples) < 40
    assert max(each.threads for each in samples) < 8


@pytest.mark.parametrize("what", ["memory", "sockets", "threads", "tasks", "series"])
def test_what_grows_is_told(what: str) -> None:
    """Otherwise `nothing grew` would prove nothing."""
    grown = replace(FLAT, **{what: 1.2 * getattr(FLAT, what) + 3})
    assert soak.growth([FLAT] * 10) == []
    (told,) = soak.growth([FLAT] * 6 + [grown] * 4)
    assert told.startswith(what)


def test_troubles_come_and_go_and_are_the_same_each_time() -> None:
    """The same call gets the same answer, and most of the time nothing is wrong."""
    calls = [Call(endpoint=Api.STATUS, at=at) for at in range(0, 200_000, 500)]
    one, other = (Troubled(Story(stories.idle()), "acme", 3600.0) for _ in range(2))
    assert [one.answer(each) for each in calls] == [other.answer(each) for each in calls]
    assert 0.05 < sum(one.trouble(each.at) is not None for each in calls) / len(calls) < 0.4
