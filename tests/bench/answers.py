"""Measures the cost of the worst answers of a server: `python -m tests.bench.answers`.

They are the large ones of the table of faults, and a list as large as a real server can send it.
"""

import asyncio
import gzip
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from tests.hostile.bodies import LARGE, large
from tests.rocketchat.test_memory import Cost, cost
from tests.support.peers import http, saying, speaking

OPERATION: Final = {
    "_id": "a",
    "importerKey": "csv",
    "valid": False,
    "fileData": {"users": [{"a": [1, "x" * 140]}] * 2_650},
}
LARGEST: Final = json.dumps([OPERATION] * 20, separators=(",", ":")).encode()
"""8 MB: 20 operations full of old file data, with 53,000 objects."""


async def measure(answers: Mapping[str, bytes]) -> Cost:
    """The cost of these answers, read in turn by one process."""
    async with AsyncExitStack() as stack:
        servers = [speaking(saying(answer)) for answer in answers.values()]
        return await cost([await stack.enter_async_context(server) for server in servers])


def print_answers() -> None:
    """The table."""
    real = http(gzip.compress(LARGEST, 1), "Content-Encoding: gzip")
    answers = {"a real list of 8 MB": real, **{name: large(name) for name in LARGE}}
    told = asyncio.run(measure(answers))
    print("\n| answer | reason | longest hold of the event loop |")
    print("|---|---|---:|")
    for name, held, reason in zip(answers, told.held, told.reasons, strict=True):
        print(f"| {name} | {reason or 'none'} | {held:.0f} ms |")
    print(f"\nThe process grew by {told.grown:.0f} MB at the most.")


if __name__ == "__main__":
    print_answers()
