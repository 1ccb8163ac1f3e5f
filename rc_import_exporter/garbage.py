"""Keeps Python's garbage collector from holding up the exporter.

What is known of 1,000 workspaces is 200,000 objects, and a search of all of them stops the event loop for 0.3 s. They
are in no cycle, so their memory is freed without a search. A cycle that lives longer than two searches stays; the tests
count what stays over many polls and reloads.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Final

POLLS: Final = 16
"""Polls from one search to the next. They leave about 3,000 new objects; to search these takes a few milliseconds."""
LARGE: Final = 64 * 1024
"""Bytes of answers. A poll that read more may have left as many new objects as all those polls."""

_polls: Final = count(1)


@contextmanager
def searched_while_young() -> Iterator[None]:
    """Until the context ends, the collector searches each object twice at the most, and leaves out what survives."""
    gc.callbacks.append(_leave_out)
    try:
        yield
    finally:
        gc.callbacks.remove(_leave_out)
        gc.unfreeze()


def search(size: int) -> None:
    """Searches at some of the polls, while the collector is to search objects young. `size` is what the poll read.

    Python counts how many more objects there are than before. But each poll frees as many old objects as it makes new
    ones, so that 100,000 new ones could wait for one long search. To count the new ones costs as much as the search.
    """
    number = next(_polls)
    if (size > LARGE or number % POLLS == 0) and _leave_out in gc.callbacks:
        gc.collect(1 if size > LARGE or number % (3 * POLLS) == 0 else 0)


def keep(thing: object) -> None:
    """Keeps a thing, and all that it holds, until the process has ended.

    Python would free a million objects one by one before it ends, and that takes seconds.
    """
    cycle = [thing]
    cycle.append(cycle)
    gc.freeze()


def _leave_out(phase: str, info: Mapping[str, int]) -> None:
    if phase == "stop" and info["generation"] > 0:
        gc.freeze()
