"""The clock: the only place that reads the time. Everything else is given `now`."""

import time


def now() -> float:
    """Unix seconds."""
    return time.time()


def monotonic_microseconds() -> int:
    """CLOCK_MONOTONIC, which systemd compares with its own."""
    return time.monotonic_ns() // 1000
