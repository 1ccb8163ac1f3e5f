"""Asks servers in a process of its own: `python -m tests.support.hostile URL…`.

Prints, as JSON, the reason of each answer and by how many MB the process grew at the most.
"""

import asyncio
import json
import sys
from pathlib import Path

from rc_import_exporter.core.domain import Api
from tests.support.peers import ask, reason


def peak() -> float:
    """The most memory that this process has used so far, MB."""
    # `getrusage` would include what the parent used before this program began.
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


async def main(urls: list[str]) -> None:
    """Asks each server for its list."""
    before = peak()
    reasons = [reason(await ask(url, Api.LIST, max_bytes=8 * 1024 * 1024)) for url in urls]
    print(json.dumps({"reasons": reasons, "grown": peak() - before}))


asyncio.run(main(sys.argv[1:]))
