"""The exit codes of the commands, and which of several is the worst. Used by cli, check, once and watch."""

from collections.abc import Iterable
from enum import IntEnum, unique
from typing import Final


@unique
class Exit(IntEnum):
    """How a command ended; scripts go by these numbers."""

    DONE = 0
    """As asked: all is well, the import succeeded, nothing loads or runs."""
    FAILED = 1
    """Something does not work, or it could not be told how the import ended."""
    MISCONFIGURED = 2
    WITH_ERRORS = 3
    """The import completed, and rejected records."""
    BROKEN_OFF = 4
    """The import failed, was cut off, canceled or discarded."""
    NOTHING_STARTED = 5
    TIMED_OUT = 6
    BUSY = 7
    """An import loads or runs: do not restart."""


SIGNALLED: Final = 128
"""What shells add to the number of the signal that ended a command."""

_FROM_BEST_TO_WORST: Final = (
    Exit.DONE,
    Exit.WITH_ERRORS,
    Exit.NOTHING_STARTED,
    Exit.TIMED_OUT,
    Exit.FAILED,
    Exit.BROKEN_OFF,
    Exit.BUSY,
    Exit.MISCONFIGURED,
)
"""Known harm is worse than not knowing, and not knowing is worse than what may yet come to a good end."""


def worst(codes: Iterable[Exit]) -> Exit:
    """The code for many workspaces: the worst that one of them came to."""
    return max(codes, key=_FROM_BEST_TO_WORST.index, default=Exit.DONE)
