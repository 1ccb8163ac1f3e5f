"""Keeps Python's garbage collector from holding up the exporter.

What is known of 1,000 workspaces is 200,000 objects, and a search of all of them stops the event loop for 0.3 s. They
are in no cycle, so their memory is freed without a search. A cycle that lives longer than two searches stays; the tests
count what stays over many polls and reloads.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

MOST_NEW: Final = 3_000
"""Objects that no search has seen yet. To search them takes a few milliseconds."""
MOST_SEARCHED_ONCE: Final = 6_000
"""Objects that survived one search and wait for the second. The same."""


@contextmanager
def searched_while_young() -> Iterator[None]:
    """Until the context ends, the collector searches each object twice at the most, and leaves out what survives."""
    gc.callbacks.append(_leave_out)
    try:
        yield
    finally:
        gc.callbacks.remove(_leave_out)
        gc.unfreeze()


def search() -> None:
    """Searches if enough objects are new, while the collector is to search them young.

    Python counts how many more objects there are than before. But each poll frees as many old objects as it makes new
    ones, so that 100,000 new ones could wait for one long search.
    """
    if _leave_out in gc.callbacks and len(gc.get_objects(0)) > MOST_NEW:
        gc.collect(1 if len(gc.get_objects(1)) > MOST_SEARCHED_ONCE else 0)


def _leave_out(phase: str, info: Mapping[str, int]) -> None:
    if phase == "stop" and info["generation"] > 0:
        gc.freeze()
