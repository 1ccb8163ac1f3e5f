"""How many descriptors, and so sockets, this process may hold, and how they are shared out. `cli` raises the limit at
the daemon's start; `fleet` and `web` keep to their shares.
"""

import resource
from contextlib import suppress
from typing import Final

FEWEST: Final = 256
"""Descriptors that POSIX has every system grant, near enough: taken for granted where the system does not tell."""
MOST: Final = 65_536
"""Descriptors that are reckoned with where there is no limit; a thousand workspaces need a tenth."""


def raise_descriptors() -> None:
    """Raises the soft limit as far as the system lets everybody; where it does not, all stays as it is.

    The soft limit is 1024 on most systems for the sake of `select`, which nothing here calls.
    """
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share() -> int:
    """Sockets that polls may hold, and as many that scrapers may, by the limit of the moment.

    A quarter: connecting over IPv4 and IPv6 side by side takes two for one, and a last quarter is for all the rest.
    """
    return max(1, _descriptors() // 4)


def _descriptors() -> int:
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return FEWEST
    return MOST if soft == resource.RLIM_INFINITY else min(soft, MOST)
