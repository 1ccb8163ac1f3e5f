"""After a pause, a change of a clock, or a kill, old data is not shown as current, no import is wrongly called stalled,
and no old failure is reported as new.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final

import pytest

from rc_import_exporter import logs
from rc_import_exporter.core.alerts import Alert, raised
from rc_import_exporter.core.domain import FINISHED, Api, Outcome
from rc_import_exporter.core.thresholds import STALLED_AFTER
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.stories import HOUR, MINUTE, Telling
from tests.laws.watched_story import INTERVAL, START, Pause, Scrape, SetClock, World, ended_by, ends_of, moved_at, watch

pytestmark = [pytest.mark.once]

TRIES: Final = 2
WAITING: Final = MINUTE
RUNNING: Final = 12 * MINUTE
LENGTH: Final = 24 * MINUTE
SLACK: Final = 2.5
"""Seconds by which a time may be off: clocks agree within 2 s, and dates have milliseconds."""
BAD_ENDS: Final = (Alert.FAILED, Alert.CUT_OFF, Alert.UNCONFIRMED, Alert.CANCELED)


def after_a_failure(stage: Stage) -> None:
    """An import failed long ago, and one an hour ago. Then another one runs."""
    stage.remember("slack", age=21 * HOUR, step="import_failed", valid=True, total=50, completed=10, error=0)
    stage.remember("csv", age=HOUR, step="import_failed", valid=True, total=50, completed=10, error=0)
    stories.csv_migration(waiting=WAITING, running=RUNNING)(stage)


TELLINGS: Final[dict[str, Telling]] = {
    "nightly sync": stories.nightly_sync(waiting=WAITING, running=RUNNING),
    "migration": stories.csv_migration(waiting=WAITING, running=RUNNING),
    "rolling deploy": stories.rolling_deploy(waiting=WAITING, running=RUNNING, killed_after=RUNNING / 2),
    "crash": stories.crash(waiting=WAITING, running=RUNNING, killed_after=RUNNING / 2, away=2 * MINUTE),
    "phase throws": stories.phase_throws(waiting=WAITING, running=RUNNING),
    "cleared": stories.cleared_by_admin(waiting=WAITING, running=RUNNING),
    "superseded": stories.superseded(waiting=WAITING, running=RUNNING / 2),
    "read only": stories.read_only(stories.csv_migration(waiting=WAITING, running=RUNNING)),
    "old failure": stories.old_failure_restamped(seconds=LENGTH),
    "after a failure": after_a_failure,
}
STORIES: Final = {name: Story(telling) for name, telling in TELLINGS.items()}
TRUE_ENDS: Final = {name: ends_of(story) for name, story in STORIES.items()}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """The pollers' log is not what is tested, and printing it takes longer than all the rest."""
    logs.configure("critical", "logfmt")


def watched(world: World, pause: Pause | None = None) -> list[Scrape]:
    return asyncio.run(watch(world, ends=LENGTH, pause=pause))


def assert_nothing_stale_is_fresh(scrapes: Iterable[Scrape]) -> None:
    """What is shown as current was true at most `stale_after` seconds ago."""
    for each in scrapes:
        if each.record.held(each.now) is not None:
            assert each.age <= each.record.stale_after + SLACK, each.at
        if each.record.up(each.now):
            assert each.age <= each.record.stale_after + SLACK, each.at


def assert_no_false_stall(story: Story, scrapes: Iterable[Scrape]) -> None:
    """An import has stalled only if its server wrote nothing for that long."""
    for each in scrapes:
        if Alert.STALLED in {one.alert for one in raised(each.record, each.now)}:
            assert each.at - moved_at(story, each.at) > STALLED_AFTER - SLACK, each.at


def assert_no_old_failure_is_new(world: World, ends: Mapping[str, Sequence[float]], scrapes: Iterable[Scrape]) -> None:
    """A bad end never gets a later date than its own."""
    for each in scrapes:
        ended = ended_by(ends, each.at, world.server_clock)
        latest = max(ended.values(), default=START - 100 * HOUR)
        for one in raised(each.record, each.now):
            if one.alert in BAD_ENDS:
                assert one.value <= latest + SLACK, each.at
        for id, track in each.record.history.tracks.items():
            if track.dated is not None and track.outcome in FINISHED:
                assert track.dated <= ended[id] + SLACK, each.at
        # One that is cut off may still end in another way, and counts for both.
        assert all(number <= len(ended) for number in each.record.history.finished.values()), each.at


def assert_lawful(name: str, world: World, scrapes: list[Scrape]) -> None:
    assert_nothing_stale_is_fresh(scrapes)
    assert_no_false_stall(world.story, scrapes)
    assert_no_old_failure_is_new(world, TRUE_ENDS[name], scrapes)


@pytest.mark.parametrize("name", TELLINGS)
@pytest.mark.parametrize("machine", [False, True], ids=["the process", "the machine"])
def test_an_exporter_that_stood_still_for_ten_minutes_says_nothing_false(name: str, *, machine: bool) -> None:
    """A laptop sleeps, a virtual machine is moved, or a process gets `SIGSTOP`.

    Nothing wrong is shown, and no server gets many calls at once.
    """
    dice = Random(f"{name} {machine}")
    for _ in range(TRIES):
        seen, begins = World(story=STORIES[name]), dice.uniform(0, LENGTH)
        pause = Pause(begins=begins, ends=begins + 10 * MINUTE, machine=machine)
        scrapes = watched(seen, pause)
        assert_lawful(name, seen, scrapes)
        again = min((at for at in seen.asked if at >= pause.ends), default=LENGTH)
        for each in scrapes:
            assert each.record.held(each.now) is None or not pause.ends <= each.at < again
        assert len([at for at in seen.asked if pause.ends <= at < pause.ends + INTERVAL - 1]) <= len(Api)


@pytest.mark.parametrize("name", TELLINGS)
@pytest.mark.parametrize("whose", ["exporter", "server", "both"])
def test_clocks_that_are_set_an_hour_ahead_or_back_make_nothing_false(name: str, whose: str) -> None:
    """While an import runs, between imports, and after the end."""
    dice = Random(f"{name} {whose}")
    for _ in range(TRIES):
        clock, other = (SetClock(at=dice.uniform(0, LENGTH), by=dice.choice((-HOUR, HOUR))) for _ in range(2))
        seen = World(
            story=STORIES[name],
            exporter_clock=SetClock() if whose == "server" else clock,
            server_clock=SetClock() if whose == "exporter" else other,
        )
        assert_lawful(name, seen, watched(seen))


@pytest.mark.parametrize("name", TELLINGS)
def test_an_exporter_that_was_killed_starts_with_nothing_new(name: str) -> None:
    """Counters that do not begin at 0 look like events, and old failures would wake someone again."""
    dice, whole = Random(name), World(story=STORIES[name])
    first = {each.at: each.record.history for each in watched(whole)}
    for _ in range(TRIES):
        begins = 5.0 * dice.randrange(int(LENGTH / 5))
        seen = World(story=STORIES[name], at=begins)
        scrapes = watched(seen)
        assert_lawful(name, seen, scrapes)
        for each in scrapes:
            history, finished = each.record.history, sum(each.record.history.finished.values())
            if each.record.polls <= 1:
                assert (history.started, history.completed, history.failed, finished) == (0, 0, 0, 0)
            assert history.started <= first[each.at].started - first[begins].started + 1
            ended = sum(
                at > START + begins - INTERVAL for at in ended_by(TRUE_ENDS[name], each.at, SetClock()).values()
            )
            assert finished - history.finished.get(Outcome.INTERRUPTED, 0) <= ended
