"""How far Rocket.Chat's clock differs from ours. The dates of operations are by Rocket.Chat's clock."""

from typing import Final

from rc_import_exporter.core.snapshot import Record

CLOCKS_AGREE: Final = 2.0
"""Seconds of difference that mean nothing: the `Date` header has whole seconds, and an answer takes time."""
CLOCKS_DISAGREE: Final = 30.0
"""Seconds of difference that make ages and durations misleading: two polls."""


def skew(record: Record) -> float | None:
    """Seconds that the server's clock is ahead of ours, by its last good answer; `None` before one with a date."""
    return next((feed.skew for feed in record.feeds.values() if feed.ok and feed.skew is not None), None)


def server_time(record: Record, now: float) -> float:
    """Now, by the clock of the server."""
    ahead = skew(record)
    return now if ahead is None or abs(ahead) <= CLOCKS_AGREE else now + ahead
