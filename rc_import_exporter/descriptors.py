"""How many file descriptors, and so sockets, this process may open, and how polls and scrapes share them."""

import resource
from contextlib import suppress
from typing import Final

FEWEST: Final = 256
"""Descriptors to assume if the system does not say how many there are."""
MOST: Final = 65_536
"""Descriptors to assume if the system sets no limit. A thousand workspaces need a tenth of them."""


def raise_descriptors() -> None:
    """Raises the soft limit to the hard limit, if the system permits it.

    Most systems have a soft limit of 1024 because of `select`, which this program does not call.
    """
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share() -> int:
    """A quarter of the current limit.

    It is the number of sockets that scrapes may open, and of workspaces that keep their connections: one connection for
    each of the two feeds, which is half of the limit. Polls send half as many requests at once, and the rest is left.
    A connection attempt over IPv4 and IPv6 needs two sockets.
    """
    return max(1, _descriptors() // 4)


def _descriptors() -> int:
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return FEWEST
    return MOST if soft == resource.RLIM_INFINITY else min(soft, MOST)
