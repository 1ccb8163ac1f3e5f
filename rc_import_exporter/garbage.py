"""Keeps Python's garbage collector from holding up the exporter.

What is known of 1,000 workspaces is 200,000 objects, and a search of all of them stops the event loop for 0.3 s. They
are in no cycle, so their memory is freed without a search. A cycle that lives longer than two searches stays; the tests
count what stays over many polls, connections and reloads.
"""

import gc
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Final

PIECES_OF_WORK: Final = 8
"""Polls, or turns of long work, from one search to the next.

The first poll of a workspace leaves 150 new objects, and those of its connections. To search 30,000 objects takes 6 ms,
and longer while the processor's cache is full of other things.
"""
LARGE: Final = 64 * 1024
"""Bytes of answers. A poll that read more may have left as many new objects as all those pieces of work."""

_pieces: Final = count(1)


@contextmanager
def searched_while_young() -> Iterator[None]:
    """Until the context ends, the collector searches each object twice at the most, and leaves out what survives."""
    end = _SelectorSocketTransport._call_connection_lost  # noqa: SLF001

    def end_without_cycle(transport: _SelectorSocketTransport, error: BaseException | None) -> None:
        end(transport, error)
        # From Python 3.12 on, asyncio does this too where a connection is closed, but not where it is aborted. Without
        # it, the memory of each connection would stay: the exporter opens one or two a minute for each workspace.
        transport._read_ready_cb = transport._write_ready = None  # noqa: SLF001

    _SelectorSocketTransport._call_connection_lost = end_without_cycle  # noqa: SLF001
    gc.callbacks.append(_leave_out)
    try:
        yield
    finally:
        gc.callbacks.remove(_leave_out)
        gc.unfreeze()
        _SelectorSocketTransport._call_connection_lost = end  # noqa: SLF001


def search(size: int = 0) -> None:
    """Searches after some pieces of work, while the collector is to search objects young. `size` is what a poll read.

    Python counts how many more objects there are than before. But each poll frees as many old objects as it makes new
    ones, so that 100,000 new ones could wait for one long search. To count the new ones costs as much as the search.
    """
    number = next(_pieces)
    if (size > LARGE or number % PIECES_OF_WORK == 0) and _leave_out in gc.callbacks:
        gc.collect(1 if size > LARGE or number % (3 * PIECES_OF_WORK) == 0 else 0)


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
