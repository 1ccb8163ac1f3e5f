"""Every workspace is in exactly one shard, and few move if a shard is added."""

from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.core.shard import Shard

NAMES = [f"tenant-{number}" for number in range(2_000)]
COUNTS = st.integers(1, 100)


@given(st.text(), COUNTS)
def test_exactly_one_shard_holds_a_workspace(name: str, count: int) -> None:
    """With none its imports would fail unseen, with two its server would be asked twice."""
    assert [Shard(index=index, count=count).holds(name) for index in range(count)].count(True) == 1


@given(st.text(), COUNTS)
def test_a_further_shard_takes_workspaces_and_moves_no_others(name: str, count: int) -> None:
    """A workspace that moves loses its history and its counters."""
    before, after = (Shard(index=0, count=each).holder(name) for each in (count, count + 1))
    assert after in (before, count)


def test_each_shard_has_about_the_same_number_of_workspaces() -> None:
    """Otherwise the largest one decides how many shards are needed."""
    for count in (2, 5, 10):
        sizes = [sum(Shard(index=index, count=count).holds(name) for name in NAMES) for index in range(count)]
        assert sum(sizes) == len(NAMES)
        assert min(sizes) > 0.75 * len(NAMES) / count
        assert max(sizes) < 1.25 * len(NAMES) / count


def test_the_division_stays_the_same_from_version_to_version() -> None:
    """During an update, exporters of both versions run."""
    assert [Shard(index=0, count=10).holder(name) for name in NAMES[:8]] == [3, 3, 9, 4, 4, 3, 4, 1]
