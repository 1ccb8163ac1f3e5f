"""Which alerts fire: stories and recordings, over real HTTP, through the exporter and the shipped rules.

One run serves the scrape intervals of 15, 30 and 60 s: the longer ones use every second or every fourth page.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter.commands import demo
from rc_import_exporter.simulator import faults, stories
from rc_import_exporter.simulator.answers import Fault
from rc_import_exporter.simulator.recording import Recording
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.stories import DAY, HOUR, MINUTE, Telling
from tests.laws.raised import differences_of
from tests.support.bridge import Fired, Life, Scraped, alerts, play
from tests.support.rig import RECORDINGS

pytestmark = [pytest.mark.program("promtool"), pytest.mark.xdist_group("alert scenarios"), pytest.mark.timeout(600)]

SCRAPE_INTERVALS: Final = (15, 30, 60)
SLACK: Final = 2.5
"""Minutes that an alert can be late: a poll, a scrape and an evaluation."""

RUN: Final = 20 * MINUTE
Expected = Mapping[str, Sequence[tuple[str, float]]]
"""For each workspace the alerts that fire, once each, and the earliest minute of each."""


def odd_words(stage: Stage) -> None:
    """Half an hour with an unknown step, then the step that no current release writes."""
    stage.create("csv")
    stage.load(users=20, seconds=MINUTE)
    for step in ("importing_polls", "import_cancelled"):
        stage.set_step(step)
        stage.wait(30 * MINUTE)


def broken(fault: Fault) -> Telling:
    """An idle workspace whose answers all have a fault after five minutes."""

    def tell(stage: Stage) -> None:
        stage.wait(5 * MINUTE)
        stage.fault(fault)
        stage.wait(2 * HOUR)

    return tell


def revoked(stage: Stage) -> None:
    """A token that is revoked after five minutes."""
    stage.wait(5 * MINUTE)
    stage.revoke_token()


def refused(stage: Stage) -> None:
    """A role that loses its last permission after five minutes."""
    stage.wait(5 * MINUTE)
    stage.forbid("run-import")
    stage.forbid("view-import-operations")


def running_and_revoked(stage: Stage) -> None:
    """A token that is revoked while an import runs."""
    stage.create("csv")
    stage.load(users=2000, seconds=MINUTE)
    stage.begin_run(seconds=HOUR)
    stage.wait(5 * MINUTE)
    stage.revoke_token()


LIFE: Final[Mapping[str, tuple[Telling, Sequence[tuple[str, float]]]]] = {
    "nightly": (stories.nightly_sync(users=8000, existing=7995, waiting=MINUTE, running=RUN), []),
    "expected": (
        stories.nightly_sync(users=8000, existing=800, waiting=MINUTE, running=RUN),
        [("HighErrorRatio", 10), ("CompletedWithErrors", 30)],
    ),
    "migration": (
        stories.csv_migration(waiting=MINUTE, running=RUN),
        [("HighErrorRatio", 12), ("CompletedWithErrors", 30)],
    ),
    "deploy": (stories.rolling_deploy(waiting=MINUTE, running=RUN, killed_after=RUN / 2), [("CutOff", 17)]),
    "crash": (
        stories.crash(waiting=MINUTE, running=RUN, killed_after=RUN / 2, away=2 * MINUTE),
        [("CutOff", 18.5)],
    ),
    "outage": (
        stories.crash(waiting=MINUTE, running=RUN, killed_after=RUN / 2, away=RUN),
        [("LostSight", 19.75), ("CutOff", 36)],
    ),
    "throws": (stories.phase_throws(waiting=MINUTE, running=RUN), [("Failed", 14)]),
    "cleared": (stories.cleared_by_admin(waiting=MINUTE, running=RUN), [("CutOff", 17)]),
    "superseded": (stories.superseded(waiting=MINUTE, running=RUN), [("CutOff", 18)]),
    "stalls": (stories.stalls(running=30 * MINUTE, stuck_for=2 * HOUR), [("Stalled", 45)]),
    "idle": (stories.idle(seconds=2 * HOUR), []),
    "deselected": (stories.deselected(waiting=MINUTE, running=RUN), []),
    "odd": (odd_words, [("UnknownState", 16), ("Canceled", 32)]),
    "old": (stories.old_failure_restamped(seconds=HOUR), []),
    "read-only": (
        stories.read_only(stories.rolling_deploy(waiting=MINUTE, running=RUN, killed_after=RUN / 2)),
        [("CutOff", 17)],
    ),
    "proxy": (broken(faults.page(502)), [("WorkspaceUnreachable", 15)]),
    "database": (broken(faults.database_down), [("WorkspaceUnreachable", 15)]),
    "busy": (broken(faults.rate_limited), [("RateLimited", 15)]),
    "revoked": (revoked, [("CredentialsRefused", 15)]),
    "refused": (refused, [("PermissionMissing", 15)]),
    "sight": (running_and_revoked, [("LostSight", 11)]),
}
RECORDED: Final[Expected] = {
    "api-import-succeeds": [],
    "crash-and-restart": [("CutOff", 2)],
    "csv-users-rejected-and-messages": [("CompletedWithErrors", 5)],
    "phase-throws": [("Failed", 1)],
    "rate-limited": [],
    "run-import-permission-removed": [],
    "second-instance-starts-mid-import": [("CutOff", 2)],
    "upgraded-server-old-history": [],
}
DEMO: Final[Expected] = {
    "nightly-sync": [],
    "csv-migration": [],
    "slack-migration": [],
    "rolling-deploy": [("CutOff", 2.5)],
    "crash": [("CutOff", 2.5)],
}


@cache
def life() -> Scraped:
    """Every story and every kind of problem, for 70 minutes."""
    options = {"workspaces.expected.expect.failed_ratio": "0.05", "workspaces.expected.expect.importer": "api"}
    scripts = {name: Story(telling) for name, (telling, _) in LIFE.items()}
    return play(scripts, interval=15, duration=70 * MINUTE, options=options)


@cache
def demonstration() -> Scraped:
    """The demo with its expectations."""
    options = {
        f"workspaces.{name}.{option}": text
        for name, expected in demo.EXPECTATIONS.items()
        for option, text in expected.items()
    }
    polls = {"poll_interval": demo.POLL_INTERVAL, "poll_interval_idle": demo.POLL_INTERVAL}
    return play(stories.demo(), interval=15, duration=5 * MINUTE, options=options | polls)


@cache
def recordings() -> Scraped:
    """Every recording, followed by a quarter of an hour."""
    return play(
        {name: Recording(RECORDINGS / f"{name}.json") for name in RECORDED},
        interval=15,
        duration=15 * MINUTE,
        options={"poll_interval": "2s"},
    )


def check(fired: Sequence[Fired], expected: Expected) -> None:
    """Exactly these alerts fire, once each, on time, and only with labels of workspace and importer."""
    assert {each.workspace for each in fired} <= set(expected)
    for workspace, wanted in expected.items():
        found = [each for each in fired if each.workspace == workspace]
        assert [each.name for each in found] == [name for name, _ in wanted], workspace
        for each, (_, minute) in zip(found, wanted, strict=True):
            assert minute <= each.first / MINUTE <= minute + SLACK, each
            assert each.times == 1, each
            assert set(each.labels) <= {"workspace", "importer"}


@pytest.mark.parametrize("interval", SCRAPE_INTERVALS)
@pytest.mark.parametrize(
    ("scraped", "expected"),
    [
        (life, {name: wanted for name, (_, wanted) in LIFE.items()}),
        (demonstration, DEMO),
        (recordings, RECORDED),
    ],
    ids=["life", "demo", "recordings"],
)
def test_each_story_sets_off_its_alerts_and_no_other(
    scraped: Callable[[], Scraped], expected: Expected, interval: int, tmp_path: Path
) -> None:
    """Missing and unneeded alerts are equally bad, at every common scrape interval."""
    check(alerts(scraped().every(interval // 15), tmp_path), expected)


def test_the_page_names_the_same_alerts(tmp_path: Path) -> None:
    """Also the alerts that come after half an hour. `tests/laws` has the short stories."""
    assert differences_of(life().every(4), tmp_path) == []


def test_every_recording_is_played() -> None:
    """A new recording must not be forgotten."""
    assert {path.stem for path in RECORDINGS.glob("*.json")} == set(RECORDED)


def test_every_story_of_the_demo_is_played() -> None:
    assert set(stories.demo()) == set(DEMO)


def test_ten_good_nights_are_silent_a_missing_one_is_told_once_and_a_cut_off_one_once(tmp_path: Path) -> None:
    """Of 8,000 users only five are new each night, so nearly all records are errors."""

    def missing(stage: Stage) -> None:
        stage.wait(DAY)

    def deployed(stage: Stage) -> None:
        stage.wait(MINUTE)
        stage.create("api")
        stage.load(users=8000, seconds=2 * MINUTE)
        stage.begin_run(seconds=HOUR, rejected=7995)
        stage.wait(HOUR / 2)
        stage.start_other_instance()
        stage.wait(MINUTE)

    scraped = play(
        {"acme": Story(stories.nights(14, unless={11: missing, 12: deployed}))},
        interval=30 * MINUTE,
        duration=13.5 * DAY,
        options={
            "poll_interval": "5m",
            "poll_interval_idle": "30m",
            "stale_after": "2h",
            "workspaces.acme.expect.success_every": "26h",
            "workspaces.acme.expect.importer": "api",
        },
    )
    overdue, cut_off = alerts(scraped, tmp_path)
    assert (overdue.name, overdue.labels, overdue.times) == ("Overdue", {"workspace": "acme", "importer": "api"}, 1)
    assert 10 * DAY + 3 * HOUR < overdue.first < 10 * DAY + 4.5 * HOUR
    assert (cut_off.name, cut_off.labels, cut_off.times) == ("CutOff", {"workspace": "acme", "importer": "api"}, 1)
    assert 11 * DAY + HOUR / 2 < cut_off.first < 11 * DAY + 2.5 * HOUR
    assert overdue.last <= cut_off.first


def test_a_read_only_token_alerts_nobody_in_a_day(tmp_path: Path) -> None:
    """`import.status` refuses such a token, and this must not alert."""
    script = Story(stories.read_only(stories.nights(1)))
    scraped = play(
        {"acme": script}, interval=5 * MINUTE, duration=DAY, options={"poll_interval": "1m", "poll_interval_idle": "5m"}
    )
    assert any('reason="forbidden"' in key for key in scraped.series)
    assert alerts(scraped, tmp_path) == []


def test_an_old_failure_that_is_stamped_again_is_no_news_to_a_fresh_exporter(tmp_path: Path) -> None:
    """A restart gives a failure of three weeks ago a new timestamp."""
    script = Story(stories.old_failure_restamped(seconds=HOUR))
    lives = [Life(starts=0, ends=10 * MINUTE), Life(starts=12 * MINUTE, ends=40 * MINUTE), Life(starts=41 * MINUTE)]
    scraped = play({"acme": script}, interval=60, duration=HOUR, lives=lives)
    assert alerts(scraped, tmp_path) == []


@pytest.mark.parametrize(
    ("telling", "name"),
    [
        (stories.phase_throws(waiting=MINUTE, running=RUN), "Failed"),
        (stories.rolling_deploy(waiting=MINUTE, running=RUN, killed_after=RUN / 2), "CutOff"),
        (stories.csv_migration(waiting=MINUTE, running=4 * MINUTE), "CompletedWithErrors"),
    ],
    ids=["failed", "cut off", "with errors"],
)
def test_restarts_of_server_and_exporter_and_a_second_replica_tell_nothing_again(
    telling: Telling, name: str, tmp_path: Path
) -> None:
    """An alert that starts again notifies people again."""

    def tell(stage: Stage) -> None:
        telling(stage)
        stage.wait(40 * MINUTE - stage.now)
        stage.crash(MINUTE)

    lives = [
        Life(instance="a", starts=0, ends=25 * MINUTE),
        Life(instance="a", starts=27 * MINUTE, ends=50 * MINUTE),
        Life(instance="b", starts=33 * MINUTE),
    ]
    scraped = play({"acme": Story(tell)}, interval=30, duration=70 * MINUTE, lives=lives)
    told = [each for each in alerts(scraped, tmp_path) if each.workspace == "acme"]
    assert [(each.name, each.times) for each in told] == [(name, 1)]
    assert told[0].last >= 69 * MINUTE


def test_a_workspace_that_leaves_with_a_new_pod_is_told_and_the_exporter_that_left_is_not(tmp_path: Path) -> None:
    """A rollout is not an outage."""
    lives = [Life(instance="a", starts=0, ends=20 * MINUTE), Life(instance="b", starts=19 * MINUTE)]
    scraped = play({"acme": Story(stories.idle())}, interval=60, duration=HOUR, lives=lives)
    assert alerts(scraped, tmp_path) == []


def test_an_exporter_that_does_not_come_back_during_an_import_is_as_loud_as_a_server_that_is_gone(
    tmp_path: Path,
) -> None:
    """While the exporter is down, nothing is known about the import."""
    script = Story(stories.stalls(running=2 * HOUR))
    lives = [Life(starts=0, ends=10 * MINUTE), Life(starts=50 * MINUTE)]
    scraped = play({"acme": script}, interval=60, duration=49 * MINUTE, lives=lives)
    assert [(each.name, each.labels) for each in alerts(scraped, tmp_path)] == [
        ("ExporterDown", {"instance": "a", "job": "exporter"}),
        ("LostSight", {"workspace": "acme"}),
    ]
