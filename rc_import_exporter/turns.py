"""Long work in short turns on the event loop, so that polls, probes and scrapes go on beside it.

Nothing else runs on the loop during a turn. A thread would not help: it and the loop would wait for the same lock of
the interpreter, at each system call.
"""

import asyncio
from collections.abc import Generator
from typing import Final, TypeVar, cast

from rc_import_exporter import garbage

TURN: Final = 0.001
"""Seconds after which a turn ends with the step that it is at."""
SCRAPE_TURN: Final = 0.002
"""The same for a scrape. One workspace takes no longer, so a probe waits for nothing."""
LONGEST_TURN: Final = 0.008
"""A turn of a scrape may take twice as long as all other work since its last one, but never more seconds than this.

Else, in passes full of polls, a page of thousands of workspaces would take a minute.
"""
PASSES_OF_SCRAPES: Final = 8
"""Passes of the event loop from one turn of other work to its next one while scrapes are made."""

_Made = TypeVar("_Made")


class Turns:
    """Gives turns: in each pass of the event loop, at most one to a scrape and one to other work."""

    def __init__(self) -> None:
        self._scrapes = 0
        self._scrape_turn = asyncio.Lock()
        self._other_turn = asyncio.Lock()

    async def scrape(self, steps: Generator[None, None, _Made]) -> _Made:
        """The result of the steps of a scrape. It has its first turn at once."""
        self._scrapes += 1
        clock, seconds = asyncio.get_running_loop().time, SCRAPE_TURN
        try:
            while True:
                _take_turn(steps, seconds)
                ended = clock()
                async with self._scrape_turn:
                    await asyncio.sleep(0)
                seconds = min(max(SCRAPE_TURN, 2.0 * (clock() - ended)), LONGEST_TURN)
        except StopIteration as ended:
            return cast(_Made, ended.value)
        finally:
            self._scrapes -= 1

    async def others(self, steps: Generator[None, None, _Made]) -> _Made:
        """The result of the steps of other work: of a page for people, or of a reload. Scrapes in turns go first."""
        try:
            while True:
                async with self._other_turn:
                    for _ in range(PASSES_OF_SCRAPES if self._scrapes else 1):
                        await asyncio.sleep(0)
                _take_turn(steps, TURN)
        except StopIteration as ended:
            return cast(_Made, ended.value)


def all_taken(steps: Generator[None, None, _Made]) -> _Made:
    """The result of steps that are taken without a pause."""
    try:
        while True:
            next(steps)
    except StopIteration as ended:
        return cast(_Made, ended.value)


def _take_turn(steps: Generator[None, None, object], seconds: float) -> None:
    """Raises `StopIteration` with the result after the last step."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    next(steps)
    while loop.time() < until:
        next(steps)
    # In a callback of its own, so that other work can go on between the turn and the search.
    loop.call_soon(garbage.search)
