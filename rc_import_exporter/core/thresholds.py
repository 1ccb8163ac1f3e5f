"""Limits that several parts share. The page and the alert rules use the same ones, and a test compares them."""

from typing import Final

STALLED_AFTER: Final = 1800.0
"""Seconds without movement after which an import has stalled: the alert Stalled."""
LONGEST_RUN: Final = 43_200.0
"""Seconds that an import may run if no `expect.longest_run` is configured: the alert RunningTooLong."""
LONGEST_WAIT: Final = 14_400.0
"""Seconds that an import may wait to be started: the alert WaitingForStart."""
FAILED_RATIO: Final = 0.05
"""The share of rejected records above which an import needs a look: the alert HighErrorRatio."""
RATE_LIMIT_WINDOW: Final = 60.0
"""Seconds in which Rocket.Chat's rate limiter counts the calls of an address."""
CLOCKS_AGREE: Final = 2.0
"""Seconds of clock difference that mean nothing: the `Date` header has whole seconds, and an answer takes time."""
CLOCKS_DISAGREE: Final = 30.0
"""Seconds of clock difference that make ages and durations misleading without a correction: two polls."""
