"""The exporter, with a measure of its event loop: `python -m tests.bench.held PORT OPTIONS...`.

Each UDP datagram to PORT starts the measure anew. The answer is the longest time, in milliseconds, for which one
callback has held the event loop since the last datagram.
"""

import socket
import sys
import threading
from typing import NoReturn

from rc_import_exporter.__main__ import main
from tests.support.held import Meter


def answer(port: int) -> NoReturn:
    """Answers questions. The measure begins with the first one, because it costs a little itself."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        asker = server.recvfrom(16)[1]
        meter = Meter()
        while True:
            server.sendto(str(meter.read()).encode(), asker)
            asker = server.recvfrom(16)[1]


if __name__ == "__main__":
    threading.Thread(target=answer, args=(int(sys.argv.pop(1)),), daemon=True).start()
    sys.exit(main())
