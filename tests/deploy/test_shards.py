"""A further shard is added: workspaces move, and no alert fires, ends or restarts because of that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter.core.shard import Shard
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.stories import MINUTE, Telling
from tests.deploy.test_field_scenarios import failing, moves, sync
from tests.support.bridge import Life, alerts, play

pytestmark = [pytest.mark.program("promtool"), pytest.mark.timeout(300)]

GROWN: Final = 40 * MINUTE
"""When the third shard starts. The others restart after it, as in a StatefulSet: the greatest ordinal first."""


def idle(stage: Stage) -> None:
    """An import that succeeded before, and nothing since."""
    sync(stage)
    stage.wait(3 * 60 * MINUTE)


STORIES: Final[Mapping[str, Telling]] = {"running": moves(200 * MINUTE), "failed": failing, "idle": idle}


def workspaces() -> dict[str, str]:
    """Names with the kind of each. Of each kind, two move to the new shard and one stays."""
    chosen: dict[str, str] = {}
    for kind in STORIES:
        numbered = [f"{kind}-{number}" for number in range(50)]
        moving = [name for name in numbered if Shard(index=2, count=3).holds(name)]
        staying = [name for name in numbered if name not in moving]
        chosen |= dict.fromkeys((*moving[:2], staying[0]), kind)
    return chosen


def shard(instance: str, index: int, count: int, starts: float = 0.0, ends: float = float("inf")) -> Life:
    """A shard that runs for this time."""
    options = (("shard.index", str(index)), ("shard.count", str(count)))
    return Life(instance=instance, starts=starts, ends=ends, options=options)


def test_workspaces_move_to_a_further_shard_without_an_alert(tmp_path: Path) -> None:
    """An alert that fires for one that moves goes on, and does not fire a second time.

    A shard that restarts has a new address if Prometheus scrapes pods, and keeps it if it scrapes them by name.
    """
    kinds = workspaces()
    lives = [
        shard("a", 0, 2, ends=GROWN + 4 * MINUTE),
        shard("b", 1, 2, ends=GROWN + 2 * MINUTE),
        shard("c", 2, 3, starts=GROWN),
        shard("d", 1, 3, starts=GROWN + 3 * MINUTE),
        shard("a", 0, 3, starts=GROWN + 5 * MINUTE),
    ]
    scraped = play(
        {name: Story(STORIES[kind]) for name, kind in kinds.items()},
        interval=MINUTE,
        duration=GROWN + 60 * MINUTE,
        options={"expect.success_every": "5h"},
        lives=lives,
    )
    for name in kinds:
        ups = {key: each for key, each in scraped.series.items() if f'workspace="{name}"' in key and "_up{" in key}
        last = [key for key, each in ups.items() if each[-1] is not None]
        (holder,) = [key for key in last if key.startswith("rocketchat_import_up{")]
        assert f'instance="{"adc"[Shard(index=0, count=3).holder(name)]}"' in holder
    fired = alerts(scraped, tmp_path)
    assert {(each.name, each.workspace) for each in fired} == {
        ("Failed", name) for name, kind in kinds.items() if kind == "failed"
    }
    assert {(each.times, each.last) for each in fired} == {(1, GROWN + 60 * MINUTE)}
    assert all(each.first < GROWN for each in fired)
