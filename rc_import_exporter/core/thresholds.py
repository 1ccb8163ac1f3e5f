"""Limits that several parts share. The page and the alert rules use the same ones, and a test compares them."""

from typing import Final

STALLED_AFTER: Final = 1800.0
"""Seconds without movement after which an import has stalled: the alert Stalled."""
LOADING_STALLED_AFTER: Final = 14_400.0
"""The same while it loads: an upload or a download writes nothing while it goes on."""
LONGEST_RUN: Final = 43_200.0
"""Seconds that an import may run if no `expect.longest_run` is configured: the alert RunningTooLong."""
LONGEST_WAIT: Final = 14_400.0
"""Seconds that an import may wait to be started: the alert WaitingForStart."""
FAILED_RATIO: Final = 0.05
"""The share of rejected records above which an import needs a look: the alert HighErrorRatio."""
TOLD_FOR: Final = 72_000.0
"""Seconds for which a bad end raises its alert.

Less than a day, so that a nightly import that fails again raises it again.
"""
ATTEMPT: Final = 93_600.0
"""Seconds after a bad end in which Overdue does not fire. If the expected interval is shorter, that counts."""
LOST_SIGHT: Final = 43_200.0
"""Seconds for which the alert LostSight may fire after the state of an import was last known."""
LATE_POLL: Final = 300.0
"""Seconds by which a poll is too late: more than every timeout that can be configured."""
SLACK: Final = 500
"""Records by which the counts of a finished operation may be too low.

The last write can be missing. Message imports, and all imports before 6.3, write every 500 records.
"""
SLACK_OF_USERS: Final = 50
"""The same for an import without messages since 6.3, which writes every 50."""
RATE_LIMIT_WINDOW: Final = 60.0
"""Seconds in which Rocket.Chat's rate limiter counts the calls of an address."""
CLOCKS_AGREE: Final = 2.0
"""Seconds of clock difference that mean nothing: the `Date` header has whole seconds, and an answer takes time."""
CLOCKS_DISAGREE: Final = 30.0
"""Seconds of clock difference that make ages and durations misleading without a correction: two polls."""
