"""Asks servers in a process of its own: `python -m tests.support.hostile URL…`.

Prints, as JSON, the reason of each answer, how many milliseconds it held the event loop at once, and by how many MB the
process grew at the most.
"""

import asyncio
import json
import sys
from pathlib import Path

from rc_import_exporter.core.domain import Api
from tests.support.held import Meter
from tests.support.peers import ask, reason


def peak() -> float:
    """The most memory that this process has used so far, MB.

    `ru_maxrss` would begin with that of the process which started it.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def main(urls: list[str]) -> None:
    """Asks each server for its list."""
    before, meter = peak(), Meter()
    reasons, held = [], []
    for url in urls:
        meter.read()
        reasons.append(reason(await ask(url, Api.LIST, max_bytes=8 * 1024 * 1024)))
        held.append(meter.read())
    print(json.dumps({"reasons": reasons, "held": held, "grown": peak() - before}))


asyncio.run(main(sys.argv[1:]))
