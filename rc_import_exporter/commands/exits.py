"""The exit codes of the commands, and which of several is the worst."""

from collections.abc import Iterable
from enum import IntEnum, unique
from typing import Final


@unique
class Exit(IntEnum):
    """How a command ended. Scripts rely on these numbers."""

    DONE = 0
    """All is well: the checks passed, the import succeeded, or nothing loads or runs."""
    FAILED = 1
    """Something does not work, or how the import ended is unknown."""
    MISCONFIGURED = 2
    WITH_ERRORS = 3
    """The import finished and rejected some records."""
    BROKEN_OFF = 4
    """The import failed, was cut off, canceled or discarded."""
    NOTHING_STARTED = 5
    TIMED_OUT = 6
    BUSY = 7
    """An import loads or runs: do not restart the server."""


SIGNALLED: Final = 128
"""Shells add this to the number of the signal that ended a command."""

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
"""Known harm is worse than an unknown result, and that is worse than an import that may still succeed."""


def worst(codes: Iterable[Exit]) -> Exit:
    """The exit code for several workspaces: the worst of theirs."""
    return max(codes, key=_FROM_BEST_TO_WORST.index, default=Exit.DONE)
