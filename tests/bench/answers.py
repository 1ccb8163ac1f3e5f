"""What the worst answers of a server cost: `python -m tests.bench.answers`.

They are the answers of `tests.rocketchat.test_memory`, and a list as large as a real server can send it.
"""

import asyncio
import gzip
import json
from contextlib import AsyncExitStack
from typing import Final

from tests.rocketchat.test_memory import CASES, in_a_process
from tests.support.peers import http, saying, speaking

OPERATION: Final = {
    "_id": "a",
    "importerKey": "csv",
    "valid": False,
    "fileData": {"users": [{"a": [1, "x" * 140]}] * 2_650},
}
LARGEST: Final = json.dumps([OPERATION] * 20, separators=(",", ":")).encode()
"""8 MB: 20 operations full of old file data, with 53,000 objects."""


async def measure() -> None:
    """A row for each answer, each asked for in turn by one process."""
    cases = [("200 OK", LARGEST, None), *CASES]
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(
                speaking(saying(http(gzip.compress(body, 1), "Content-Encoding: gzip", status=status)))
            )
            for status, body, _ in cases
        ]
        told = await in_a_process(urls)
    for (status, body, _), held, reason in zip(cases, told.held, told.reasons, strict=True):
        print(f"| {status} | `{body[:40].decode()}` | {len(body):,} | {reason or 'none'} | {held:.0f} ms |")
    print(f"\nThe process grew by {told.grown:.0f} MB at the most.")


def print_answers() -> None:
    """The table."""
    print("\n| status | answer begins with | bytes | reason | longest hold of the event loop |")
    print("|---|---|---:|---|---:|")
    asyncio.run(measure())


if __name__ == "__main__":
    print_answers()
