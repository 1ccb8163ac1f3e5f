"""How long one callback holds the event loop."""

import asyncio
from time import thread_time


class Meter:
    """Measures all callbacks of this process's event loops from now on.

    It reads the processor's time of the thread, so other programs on the machine do not count.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        run = asyncio.Handle._run  # noqa: SLF001 - the loop calls each callback through it

        def measured(handle: asyncio.Handle) -> None:
            begun = thread_time()
            run(handle)
            self._longest = max(self._longest, thread_time() - begun)

        asyncio.Handle._run = measured  # type: ignore[method-assign, assignment] # noqa: SLF001

    def read(self) -> float:
        """Milliseconds of the longest callback since the last reading."""
        longest, self._longest = self._longest, 0.0
        return longest * 1000.0
