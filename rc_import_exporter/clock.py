"""The clock: the only place that reads the time. Everything else is given `now`."""

import time


def now() -> float:
    """Unix seconds."""
    return time.time()
