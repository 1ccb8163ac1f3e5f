"""The page and the rules name the same alerts, at each scrape of random worlds."""

from collections import Counter

import pytest

from tests.laws.raised import STRETCHES, play, random_watched

pytestmark = [pytest.mark.program("promtool"), pytest.mark.timeout(300)]

WORLDS = 60


def test_the_page_names_the_alerts_that_the_rules_raise() -> None:
    """People compare the two. `python -m tests.laws.raised NUMBER` tries more worlds."""
    assert list(play(WORLDS, first=0)) == []


def test_random_worlds_raise_alerts_of_nearly_every_kind() -> None:
    """Worlds in which nothing happens would prove nothing."""
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        for world in random_watched(seed, STRETCHES[seed % len(STRETCHES)]):
            seen.update({alert for page in world.named if page is not None for alert, _ in page})
    assert len(seen) >= 12, seen
