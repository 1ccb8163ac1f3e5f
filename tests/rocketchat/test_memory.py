"""No answer costs more than 64 MB, whatever it holds. Each one is small when it is compressed."""

import asyncio
import gzip
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import msgspec

from rc_import_exporter.core.domain import Reason
from rc_import_exporter.simulator.faults import MEBIBYTE
from tests.support.peers import ask, http, reason, saying, speaking

MOST: Final = 64
"""MB."""
NESTED: Final = b"[" + b"[[[[[[[[[[0]]]]]]]]]]," * 380_000 + b"0]"
ARRAYS: Final = b"[" + b"[0]," * 199_000 + b"0]"
KEYS: Final = b"{" + b'"a":0,' * 990_000 + b'"b":0}'
OPERATIONS: Final = b"[" + b'{"_id":"a","ts":0,"valid":0,"status":0},' * 190_000 + b'{"_id":"b"}]'
HALVES: Final = b'"' + b"\\ud83d" * 1_390_000 + b'"'
ESCAPES: Final = b'"' + b"\\n" * 4_000_000 + b'"'

Case = tuple[str, bytes, Reason | None]
CASES: Final[tuple[Case, ...]] = (
    ("200 OK", b'[{"_id":"a","fileData":' + NESTED + b"}]", Reason.INVALID),
    ("200 OK", NESTED, Reason.INVALID),
    ("500 Internal Server Error", NESTED, Reason.PROXY),
    ("400 Bad Request", b'{"success":false,"error":' + NESTED + b"}", Reason.PROXY),
    ("200 OK", b'[{"_id":"a","importerKey":' + ARRAYS + b"}]", None),
    ("200 OK", b'[{"_id":"a","fileData":' + KEYS + b"}]", None),
    ("200 OK", b'[{"_id":"a","count":' + KEYS + b"}]", None),
    ("200 OK", KEYS, Reason.INVALID),
    ("200 OK", OPERATIONS, Reason.INVALID),
    ("200 OK", b'[{"_id":"a","fileData":' + HALVES + b"}]", Reason.INVALID),
    ("200 OK", b'[{"_id":' + ESCAPES + b"}]", Reason.INVALID),
    ("200 OK", b"[" + b" " * 64 * MEBIBYTE, Reason.TOO_LARGE),
)


async def test_no_answer_of_a_server_costs_more_than_64_mb() -> None:
    """A proxy's error page of 20 kB must not take a gigabyte."""
    told = await cost(CASES)
    assert told.reasons == [expected for _, _, expected in CASES]
    assert told.grown < MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What answers cost: for each its reason and the longest hold of the event loop in milliseconds, and MB in all."""

    reasons: list[Reason | None]
    held: list[float]
    grown: float


async def cost(cases: Sequence[Case]) -> Cost:
    """What `tests.support.hostile` tells of servers that answer this."""
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(
                speaking(saying(http(gzip.compress(body, 1), "Content-Encoding: gzip", status=status)))
            )
            for status, body, _ in cases
        ]
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.hostile", *urls, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await program.communicate()
    return msgspec.json.decode(output, type=Cost)


async def test_an_error_is_read_up_to_64_kib() -> None:
    """An error page tells nothing that far in, and a server can send one without end."""
    for raw in (
        http(b"x" * MEBIBYTE, status="503 Service Unavailable"),
        http(gzip.compress(bytes(MEBIBYTE)), "Content-Encoding: gzip", status="503 Service Unavailable"),
    ):
        async with speaking(saying(raw)) as url:
            result = await ask(url)
        assert reason(result) is Reason.PROXY
        assert result.exchange.size == 64 * 1024
