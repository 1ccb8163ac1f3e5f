"""The page and the rules name the same alerts, at each scrape of random worlds, stories and recordings."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.faults import FAULTS
from rc_import_exporter.simulator.recording import Recording
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.script import Script
from rc_import_exporter.simulator.stories import MINUTE
from tests.laws.raised import differences_of, play, random_watched, shares
from tests.polling.test_scenarios import FAILING, TELLINGS
from tests.support import bridge
from tests.support.rig import RECORDINGS

pytestmark = [pytest.mark.program("promtool"), pytest.mark.timeout(300)]

WORLDS: Final = 1000
FULLY_BLIND: Final = "getimportprogress."
"""The failing stories in which no endpoint tells the state."""
STRICT: Final = {
    "expect.success_every": "5m",
    "expect.longest_run": "30s",
    "expect.failed_ratio": "0.01",
    "expect.min_records": "400",
}


@cache
def told() -> bridge.Scraped:
    """Stories of minutes and every recording, with one exporter. Most stories also run with strict expectations."""
    scripts: dict[str, Script] = {
        **{f"demo-{name}": story for name, story in stories.demo().items()},
        **{f"recorded-{path.stem}": Recording(path) for path in RECORDINGS.glob("*.json")},
        **{f"{kind}-{name}": Story(telling) for kind in ("plain", "strict") for name, telling in TELLINGS.items()},
        "faulty": Story(stories.faulty(FAULTS["database down"])),
        "deselected": Story(stories.deselected()),
        **{name.replace(".", "-"): Story(telling) for name, telling in FAILING.items() if name.startswith(FULLY_BLIND)},
    }
    strict = {
        f"workspaces.{name}.{option}": text
        for name in scripts
        if name.startswith("strict-")
        for option, text in STRICT.items()
    }
    options = {"poll_interval": "5s", "poll_interval_idle": "15s", "timeout": "3s", "max_response_bytes": "32KiB"}
    return bridge.play(scripts, interval=15, duration=12 * MINUTE, options=options | strict)


@pytest.mark.xdist_group("stories told")
def test_the_page_names_the_alerts_that_the_rules_raise_in_stories_and_recordings(tmp_path: Path) -> None:
    """The whole exporter, over HTTP: people compare its page with Prometheus."""
    assert differences_of(told(), tmp_path) == []


@pytest.mark.xdist_group("stories told")
def test_the_stories_raise_alerts_of_nearly_every_kind() -> None:
    """The others need more time: Stalled, and WaitingForStart."""
    seen = {alert for pages in told().named.values() for page in pages if page is not None for alert, _ in page}
    assert len(seen) >= 15, seen


@pytest.mark.parametrize(("seeds", "stretch"), list(shares(WORLDS, first=0)))
def test_the_page_names_the_alerts_that_the_rules_raise_in_random_worlds(seeds: range, stretch: int) -> None:
    """People compare the two. `python -m tests.laws.raised NUMBER` tries more worlds."""
    assert list(play(seeds, stretch)) == []


def test_random_worlds_raise_alerts_of_nearly_every_kind() -> None:
    """Worlds in which nothing happens would prove nothing."""
    seen: Counter[str] = Counter()
    for seeds, stretch in shares(60, first=0):
        for world in (each for seed in seeds for each in random_watched(seed, stretch)):
            seen.update({alert for page in world.named if page is not None for alert, _ in page})
    assert len(seen) >= 12, seen
