"""One hour of fifteen simulated workspaces, played once for all tests that use it."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

from rc_import_exporter.simulator import faults, stories
from rc_import_exporter.simulator.scenario import Stage, Story
from tests.support.timeline import Scrape, play

MINUTE: Final = 60.0
LENGTH: Final = 3600.0
SCRAPE: Final = 15.0
BEGUN: Final = 1_800_000_000.0
END: Final = BEGUN + LENGTH

Telling = Callable[[Stage], None]


def _then_lost(spoil: Callable[[Stage], None]) -> Telling:
    """An import that runs for 25 min until `spoil` stops it for the rest of the hour."""

    def tell(stage: Stage) -> None:
        stage.wait(2 * MINUTE)
        stage.create("csv")
        stage.load(users=50, messages=20_000, seconds=5 * MINUTE)
        stage.begin_run(seconds=2 * LENGTH)
        stage.wait(25 * MINUTE)
        spoil(stage)
        stage.wait(LENGTH)

    return tell


def _limited(telling: Telling) -> Telling:
    def tell(stage: Stage) -> None:
        stage.limit_rate()
        telling(stage)

    return tell


def _remembering(telling: Telling) -> Telling:
    """A workspace with three past imports."""

    def tell(stage: Stage) -> None:
        stage.remember("slack", age=3 * stories.DAY, total=5000, completed=4988, error=12, messages=4900, users=100)
        stage.remember("csv", age=2 * stories.DAY, step="import_failed", valid=True, total=300, completed=40, error=0)
        stage.remember("slack", age=stories.DAY, total=80, completed=80, error=0, users=80)
        telling(stage)

    return tell


_RUN: Final = 30 * MINUTE
SCRIPTS: Final[Mapping[str, Story]] = MappingProxyType(
    {
        name: Story(telling)
        for name, telling in {
            "nightly-sync": _limited(stories.nightly_sync(waiting=2 * MINUTE, running=20 * MINUTE)),
            "nightly-again": stories.read_only(
                stories.nightly_sync(users=8000, existing=7995, waiting=MINUTE, running=_RUN)
            ),
            "csv-migration": stories.csv_migration(messages=60_000, waiting=MINUTE, running=_RUN),
            "slack-move": _remembering(
                stories.csv_migration(users=900, rejected=12, messages=90_000, waiting=2 * MINUTE, running=80 * MINUTE)
            ),
            "rolling-deploy": stories.rolling_deploy(waiting=MINUTE, running=40 * MINUTE, killed_after=20 * MINUTE),
            "crash": stories.crash(waiting=MINUTE, running=40 * MINUTE, killed_after=20 * MINUTE, away=5 * MINUTE),
            "phase-throws": stories.phase_throws(waiting=2 * MINUTE, running=40 * MINUTE),
            "cleared": stories.cleared_by_admin(waiting=MINUTE, running=20 * MINUTE),
            "stalled": stories.stalls(running=LENGTH),
            "waiting": stories.waits_for_start(),
            "untouched": stories.idle(),
            "odd-words": stories.odd_words(waiting=5 * MINUTE),
            "locked-out": _then_lost(Stage.revoke_token),
            "gone": _then_lost(Stage.go_down),
            "flaky": stories.faulty(faults.page(502), waiting=5 * MINUTE, broken_for=10 * MINUTE),
        }.items()
    }
)

OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "workspaces.nightly-sync.expect.success_every": "25h",
        "workspaces.nightly-sync.expect.longest_run": "30m",
        "workspaces.nightly-sync.expect.failed_ratio": "0.05",
        "workspaces.nightly-sync.expect.min_records": "400",
        "workspaces.slack-move.expect.importer": "csv",
        "workspaces.slack-move.expect.longest_run": "1h",
        "workspaces.slack-move.expect.failed_ratio": "0.01",
        "workspaces.csv-migration.expect.success_every": "20m",
        "workspaces.csv-migration.labels.team": "chat",
        "workspaces.slack-move.labels.team": "migration",
    }
)


@cache
def scrapes() -> Sequence[Scrape]:
    """The scrapes of the hour, one every 15 s."""
    return play(SCRIPTS, interval=SCRAPE, duration=LENGTH, **OPTIONS)
