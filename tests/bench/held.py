"""The exporter, with a measure of its event loop: `python -m tests.bench.held PORT OPTIONS...`.

Each UDP datagram to PORT starts the measure anew. The answer is the longest time, in milliseconds, for which one
callback has held the event loop since the last datagram. It is time of the processor, so other programs do not count.
"""

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from time import thread_time

from rc_import_exporter.__main__ import main


class Watch:
    """Measures callbacks from the first question on."""

    def __init__(self, port: int) -> None:
        self._longest = 0.0
        self._run: Callable[[asyncio.Handle], None] = asyncio.Handle._run  # noqa: SLF001
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))

    def answer(self) -> None:
        """Answers questions for ever."""
        while True:
            asker = self._socket.recvfrom(16)[1]
            told, self._longest = self._longest, 0.0
            asyncio.Handle._run = self._measured  # type: ignore[method-assign, assignment] # noqa: SLF001
            self._socket.sendto(str(told * 1000.0).encode(), asker)

    @property
    def _measured(self) -> Callable[[asyncio.Handle], None]:
        def measured(handle: asyncio.Handle) -> None:
            begun = thread_time()
            self._run(handle)
            self._longest = max(self._longest, thread_time() - begun)

        return measured


if __name__ == "__main__":
    threading.Thread(target=Watch(int(sys.argv.pop(1))).answer, daemon=True).start()
    sys.exit(main())
