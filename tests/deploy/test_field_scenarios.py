"""What people run into in the field: stories over real HTTP, through the exporter and the shipped rules.

Several clusters, jobs with an expectation, clocks that are wrong, imports one after the other. Long stories are scraped
at long intervals, and stories share a run.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter.simulator import faults, stories
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.stories import DAY, HOUR, MINUTE, Telling
from tests.deploy.test_rules import local_records
from tests.support.bridge import Life, Scraped, alerts, in_clusters, play

pytestmark = [pytest.mark.program("promtool"), pytest.mark.xdist_group("field scenarios"), pytest.mark.timeout(300)]

GONE: Final = 65 * MINUTE
"""When the exporter in production stops. It stays a target."""


def sync(stage: Stage, importer: str = "csv") -> None:
    """An import that succeeds."""
    stage.create(importer)
    stage.load(users=200, seconds=MINUTE)
    stage.run(seconds=2 * MINUTE)


def importing(stage: Stage, seconds: float = HOUR) -> None:
    """Begins an import that takes so long."""
    stage.create("csv")
    stage.load(users=20, messages=100_000, seconds=MINUTE)
    stage.begin_run(seconds=seconds)


def moves(seconds: float) -> Telling:
    """An import that runs and moves for so long."""

    def tell(stage: Stage) -> None:
        importing(stage, seconds)
        stage.wait(seconds)

    return tell


def at(minute: float, telling: Telling) -> Telling:
    """The story, but it begins later."""

    def tell(stage: Stage) -> None:
        stage.wait(minute * MINUTE)
        telling(stage)

    return tell


def every(minutes: float, telling: Telling, times: int) -> Telling:
    """The story again and again, begun at this interval."""

    def tell(stage: Stage) -> None:
        for _ in range(times):
            begun = stage.now
            telling(stage)
            stage.wait(begun + minutes * MINUTE - stage.now)

    return tell


def failing(stage: Stage) -> None:
    """An import that fails."""
    importing(stage)
    stage.wait(5 * MINUTE)
    stage.throw()


def unreachable(stage: Stage) -> None:
    """A server behind a proxy that answers in its place."""
    stage.fault(faults.page(502))


def running_and_unreachable(stage: Stage) -> None:
    """The same while an import runs."""
    importing(stage)
    stage.wait(5 * MINUTE)
    unreachable(stage)


def stalls(stage: Stage) -> None:
    """An import that stops to move."""
    importing(stage)
    stage.wait(5 * MINUTE)
    stage.freeze()


CLUSTERS: Final[Mapping[str, tuple[Telling, Telling]]] = {
    "failed": (at(2, failing), at(30, sync)),
    "unreachable": (at(5, unreachable), stories.idle()),
    "lost": (at(5, running_and_unreachable), stories.idle()),
    "overdue": (sync, every(15, sync, 6)),
    "stalled": (stalls, moves(2 * HOUR)),
    "long-ago": (moves(10 * MINUTE), at(40, moves(10 * MINUTE))),
}
"""What happens to the workspace of each name in production and in staging."""
EXPECTED_IN_PRODUCTION: Final = {
    "unreachable": [("WorkspaceUnreachable", 15)],
    "lost": [("LostSight", 16)],
    "failed": [("Failed", 9)],
    "overdue": [("Overdue", 38)],
    "stalled": [("Stalled", 37), ("LostSight", 70)],
}
"""The alerts of each workspace, and the earliest minute of each."""


@cache
def clusters() -> Scraped:
    """Two clusters with workspaces of the same names, and targets that differ only by their cluster."""
    options = {"workspaces.overdue.expect.success_every": "30m", "workspaces.long-ago.expect.longest_run": "30m"}
    lives = {"prod": [Life(ends=GONE), Life(starts=DAY)], "staging": [Life()]}
    return in_clusters(
        {
            cluster: play(
                {name: Story(tellings[index]) for name, tellings in CLUSTERS.items()},
                interval=MINUTE,
                duration=80 * MINUTE,
                options=options,
                lives=lives[cluster],
            )
            for index, cluster in enumerate(lives)
        }
    )


@pytest.mark.parametrize("loaded", ["once", "twice"])
def test_what_happens_in_staging_changes_no_alert_about_production(loaded: str, tmp_path: Path) -> None:
    """The rules can be loaded locally and in a global ruler: each record then has two series."""
    fired = alerts(clusters(), tmp_path, local_records(tmp_path) if loaded == "twice" else None)
    assert {each.labels.get("cluster") for each in fired} == {"prod"}
    assert [each.times for each in fired] == [1] * len(fired)
    for name in CLUSTERS:
        wanted = EXPECTED_IN_PRODUCTION.get(name, [])
        found = [each for each in fired if each.workspace == name]
        assert [each.name for each in found] == [alert for alert, _ in wanted], name
        assert all(
            minute <= each.first / MINUTE <= minute + 3 for each, (_, minute) in zip(found, wanted, strict=True)
        ), found
    (down,) = [each for each in fired if not each.workspace]
    assert (down.name, down.labels["instance"]) == ("ExporterDown", "a")
    assert GONE + 5 * MINUTE <= down.first <= GONE + 7 * MINUTE


def uploads(stage: Stage) -> None:
    """A large upload, during which the server writes nothing."""
    stage.create("csv")
    stage.set_step("uploading")
    stage.wait(35 * MINUTE)
    stage.load(users=100, seconds=MINUTE)
    stage.run(seconds=5 * MINUTE)


def fails_then_files(stage: Stage) -> None:
    """A failed Slack import, then a download of its files, which succeeds."""
    stage.create("slack")
    stage.load(users=300, seconds=MINUTE)
    stage.begin_run(seconds=10 * MINUTE)
    stage.wait(5 * MINUTE)
    stage.throw()
    stage.wait(2 * MINUTE)
    sync(stage, "pending-files")


def rejects_then_files(stage: Stage) -> None:
    """A Slack import that rejects 60 of 300 people, then a download of its files."""
    stage.create("slack")
    stage.load(users=300, seconds=MINUTE)
    stage.run(seconds=3 * MINUTE, rejected=60)
    stage.wait(2 * MINUTE)
    sync(stage, "pending-files")


def flaps(stage: Stage) -> None:
    """A server that is down for nine minutes of eleven."""
    for _ in range(20):
        stage.crash(9 * MINUTE)
        stage.wait(2 * MINUTE)


def succeeded_long_ago(stage: Stage) -> None:
    """A workspace whose last import succeeded 30 days ago."""
    stage.remember("csv", age=30 * DAY, valid=True, total=10, users=10, completed=10, error=0)


FIELD: Final[Mapping[str, tuple[Telling, Sequence[tuple[str, Mapping[str, str], float]]]]] = {
    "uploads": (uploads, []),
    "fails": (fails_then_files, [("Failed", {"importer": "slack"}, 7)]),
    "rejects": (rejects_then_files, [("CompletedWithErrors", {"importer": "slack"}, 9)]),
    "flaps": (flaps, [("WorkspaceUnreachable", {}, 30)]),
    "late": (succeeded_long_ago, [("Overdue", {}, 85)]),
}
"""The story of each workspace, and its alerts with their labels and their earliest minute."""


def test_uploads_pending_files_flapping_and_a_late_expectation(tmp_path: Path) -> None:
    """After 20 minutes the exporter restarts with an expectation of a success within an hour."""
    expected = (("workspaces.late.expect.success_every", "1h"),)
    scraped = play(
        {name: Story(telling) for name, (telling, _) in FIELD.items()},
        interval=MINUTE,
        duration=95 * MINUTE,
        lives=[Life(ends=20 * MINUTE), Life(starts=20 * MINUTE, options=expected)],
    )
    fired = alerts(scraped, tmp_path)
    for name, (_, wanted) in FIELD.items():
        found = [each for each in fired if each.workspace == name]
        assert [(each.name, each.labels) for each in found] == [
            (alert, {"workspace": name, **labels}) for alert, labels, _ in wanted
        ]
        for each, (_, _, minute) in zip(found, wanted, strict=True):
            assert minute <= each.first / MINUTE <= minute + 4
            assert (each.last, each.times) == (95 * MINUTE, 1)
    assert {each.workspace for each in fired} <= set(FIELD)


@pytest.mark.parametrize("ahead", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_a_server_s_clock_that_is_an_hour_off_neither_raises_nor_hides_an_alert(ahead: float, tmp_path: Path) -> None:
    """Operations are dated by that clock."""
    scripts = {"moves": Story(moves(HOUR)), "stalls": Story(stalls), "fails": Story(failing), "idle": Story(sync)}
    options = {"workspaces.idle.expect.success_every": "40m"}
    fired = alerts(play(scripts, interval=MINUTE, duration=50 * MINUTE, options=options, ahead=ahead), tmp_path)
    assert [(each.name, each.workspace, each.times) for each in fired] == [
        ("Failed", "fails", 1),
        ("Stalled", "stalls", 1),
        ("Overdue", "idle", 1),
    ]
    failed, stalled, overdue = fired
    assert failed.first <= 10 * MINUTE
    assert 35 * MINUTE <= stalled.first <= 40 * MINUTE
    assert overdue.first >= 45 * MINUTE


def test_a_job_that_fails_once_and_then_dies_is_never_without_an_alert(tmp_path: Path) -> None:
    """Failed ends after 20 hours, and Overdue begins before: two hours are shorter than a day's attempt."""

    def job(stage: Stage) -> None:
        sync(stage)
        stage.wait(HOUR)
        failing(stage)

    options = {"workspaces.acme.expect.success_every": "2h", "poll_interval": "5m", "poll_interval_idle": "15m"}
    interval = 15 * MINUTE
    scraped = play({"acme": Story(job)}, interval=interval, duration=28 * HOUR, options=options)
    failed, overdue = alerts(scraped, tmp_path)
    assert (failed.name, failed.times) == ("Failed", 1)
    assert failed.first <= 1.75 * HOUR
    assert (overdue.name, overdue.times, overdue.last) == ("Overdue", 1, 28 * HOUR)
    assert overdue.first <= failed.last <= 22 * HOUR


def test_a_weekend_without_a_job_and_with_one_exporter_gone(tmp_path: Path) -> None:
    """An interval that covers the weekend is silent. An exporter that is gone for three days is told all the time."""

    def nothing(stage: Stage) -> None:
        stage.wait(DAY)

    friday_to_monday = stories.nights(4, unless={2: nothing, 3: nothing})
    scraped = play(
        {"weekdays": Story(friday_to_monday), "daily": Story(friday_to_monday)},
        interval=HOUR / 2,
        duration=3.5 * DAY,
        options={
            "poll_interval": "5m",
            "poll_interval_idle": "30m",
            "stale_after": "2h",
            "workspaces.weekdays.expect.success_every": "74h",
            "workspaces.daily.expect.success_every": "26h",
        },
        lives=[Life(instance="a"), Life(instance="b", ends=0.4 * DAY), Life(instance="b", starts=30 * DAY)],
    )
    down, overdue = alerts(scraped, tmp_path)
    assert (down.name, down.labels["instance"], down.times) == ("ExporterDown", "b", 1)
    assert (down.first <= 0.5 * DAY, down.last) == (True, 3.5 * DAY)
    assert (overdue.name, overdue.workspace, overdue.times) == ("Overdue", "daily", 1)
    assert DAY + 3 * HOUR < overdue.first < 1.25 * DAY
    assert 2.9 * DAY < overdue.last < 3.1 * DAY
