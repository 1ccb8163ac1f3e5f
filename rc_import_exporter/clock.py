"""The clock: the one place that asks the machine for the time. Everything else is given `now`."""

import time


def now() -> float:
    """Unix seconds."""
    return time.time()
