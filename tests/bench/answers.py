"""What the worst answers of a server cost: `python -m tests.bench.answers`.

They are the answers of `tests.rocketchat.test_memory`, and a list as large as a real server can send it.
"""

import asyncio
import json
from typing import Final

from tests.rocketchat.test_memory import CASES, cost

OPERATION: Final = {
    "_id": "a",
    "importerKey": "csv",
    "valid": False,
    "fileData": {"users": [{"a": [1, "x" * 140]}] * 2_650},
}
LARGEST: Final = json.dumps([OPERATION] * 20, separators=(",", ":")).encode()
"""8 MB: 20 operations full of old file data, with 53,000 objects."""


def print_answers() -> None:
    """The table."""
    cases = [("200 OK", LARGEST, None), *CASES]
    told = asyncio.run(cost(cases))
    print("\n| status | answer begins with | bytes | reason | longest hold of the event loop |")
    print("|---|---|---:|---|---:|")
    for (status, body, _), held, reason in zip(cases, told.held, told.reasons, strict=True):
        print(f"| {status} | `{body[:40].decode()}` | {len(body):,} | {reason or 'none'} | {held:.0f} ms |")
    print(f"\nThe process grew by {told.grown:.0f} MB at the most.")


if __name__ == "__main__":
    print_answers()
