"""What signals do before the event loop runs, and after it.

Without a handler, the kernel drops a signal to PID 1 and ends any other process. So this comes before the slow imports.
"""

import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Final, NoReturn

ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_HELD: Final = (*ENDING, signal.SIGHUP)
_UNUSED: Final = (signal.SIGUSR1, signal.SIGUSR2)


def hold() -> None:
    """Keeps signals waiting until `end_by` says what they do. SIGUSR1 and SIGUSR2 do nothing from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    for number in _UNUSED:
        signal.signal(number, signal.SIG_IGN)


def end_by(stop: Callable[[], object], code: int = 0, numbers: Iterable[signal.Signals] = ENDING) -> None:
    """Lets these signals call `stop`, also one that waits. The next one ends the process at once with this code."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in ENDING:
            signal.signal(each, lambda number, frame: os._exit(code))
        stop()

    for number in numbers:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def exit_with(code: int, numbers: Iterable[signal.Signals] = ENDING) -> None:
    """Lets these signals end the program with this code wherever it is."""

    def stop() -> NoReturn:
        raise SystemExit(code)

    end_by(stop, code, numbers)


def ignore() -> None:
    """Ignores all of them, so that the program ends with its own exit code."""
    for number in _HELD:
        signal.signal(number, signal.SIG_IGN)
