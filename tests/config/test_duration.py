"""Durations are read and written as in Prometheus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.config import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1h", 3600),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1y", 31_536_000),
        ("1h0m5s", 3605),
        ("90", 90),
        ("0.5", 0.5),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_prometheus_durations_and_plain_seconds_are_read(text: str, seconds: float) -> None:
    """Both ways to write a duration mean the same number of seconds."""
    assert duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "s", "15 s", " 15s", "15s ", "15S", "1.5m", "-1s", "-1", "+1", "1s1m", "1s1s", "1e3", "nan", "inf"),
        *(".5", "5.", "\u0661\u0665s", "0x10", "1_000", "15s\n", "9" * 5000),
    ],
)
def test_everything_else_is_refused_without_being_shown(text: str) -> None:
    """Prometheus refuses these too. The message does not repeat the text."""
    with pytest.raises(ValueError, match=r"^not a duration$"):
        duration.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (15, "15s"), (60, "1m"), (90, "1m30s"), (0.1, "100ms"), (5400, "1h30m"), (7_776_000, "90d")],
)
def test_a_duration_is_written_as_prometheus_shows_it(seconds: float, text: str) -> None:
    """The largest units come first. Weeks and years are used only without a remainder."""
    assert duration.write(seconds) == text


def test_a_negative_duration_cannot_be_written() -> None:
    """Prometheus has no negative durations."""
    with pytest.raises(ValueError, match="cannot be negative"):
        duration.write(-1)


@given(st.integers(min_value=0, max_value=10**14))
def test_what_is_written_reads_as_the_same_duration(milliseconds: int) -> None:
    """Writing keeps milliseconds."""
    assert duration.parse(duration.write(milliseconds / 1000)) == milliseconds / 1000
