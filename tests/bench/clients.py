"""Honest scrapes while others attack, and the whole page of many workspaces: `python -m tests.bench.clients`."""

import asyncio
import gzip
import json
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from statistics import median
from time import perf_counter
from typing import Final

from tests.bench.load import CLIENT_CORE, Program, free_port, module, started

SECONDS: Final = 8.0
"""How long each attack lasts at least."""
BOMB: Final = gzip.compress(bytes(200 * 1024 * 1024))
SCRAPE: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: %s\r\nConnection: %s\r\n\r\n"

Attack = Callable[[int, int], Awaitable[None]]


async def talk(port: int, sent: bytes) -> bytes:
    """Everything that the server answers until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return answer


async def never_read(port: int, number: int) -> None:
    """330 connections, each with 150 requests at once. No answer is read."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write((SCRAPE % (b"identity", b"keep-alive")) * 150)
    await asyncio.sleep(SECONDS)
    writer.close()


async def read_slowly(port: int, number: int) -> None:
    """Clients that read a little of one answer each second. Each client has another page."""
    await asyncio.sleep(number * 0.02)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(SCRAPE % (b"identity", b"keep-alive"))
    for _ in range(int(SECONDS)):
        await reader.read(64 * 1024)
        await asyncio.sleep(1.0)


async def send_bombs(port: int, number: int) -> None:
    """Bodies of 200 kB that unpack to 200 MB."""
    head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
    while True:
        with suppress(ConnectionError):
            await talk(port, head + BOMB)


async def stream(port: int, number: int) -> None:
    """A stream after an upgrade or CONNECT."""
    head = (
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    )[number % 2]
    while True:
        with suppress(ConnectionError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            while not writer.is_closing():
                writer.write(bytes(256 * 1024))
                await writer.drain()


async def search(port: int, number: int) -> None:
    """Pages for people, each for another search that finds all workspaces."""
    for turn in range(1_000_000):
        query = b"GET /?q=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        words = b"workspace" + b"+w" * (turn % 40) + b"+o" * number
        with suppress(ConnectionError):
            await talk(port, query % words)


ATTACKS: Final[dict[str, tuple[Attack, int]]] = {
    "330 that do not read, 150 requests each": (never_read, 330),
    "250 that read slowly": (read_slowly, 250),
    "20 with bombs as bodies": (send_bombs, 20),
    "60 with streams after upgrade or CONNECT": (stream, 60),
    "16 with different searches": (search, 16),
}


@contextmanager
def attacked(name: str, port: int) -> Iterator[None]:
    """The attack goes on until the context ends, in a process that gives way to the honest client."""
    program = module("tests.bench.clients", name, str(port))
    with subprocess.Popen(["nice", "-n", "10", "taskset", "-c", str(CLIENT_CORE), *program]) as process:
        try:
            yield
        finally:
            process.kill()


async def attack(name: str, port: int) -> None:
    """All clients of an attack."""
    client, number = ATTACKS[name]
    await asyncio.gather(*(client(port, each) for each in range(number)), return_exceptions=True)


async def scrapes(port: int) -> list[float]:
    """Milliseconds of honest scrapes, each on a new connection; infinite if it failed."""
    await asyncio.sleep(1.5)
    took, end = [], perf_counter() + SECONDS - 2.0
    while perf_counter() < end:
        begun = perf_counter()
        try:
            answer = await asyncio.wait_for(talk(port, SCRAPE % (b"gzip", b"close")), 10.0)
        except (ConnectionError, TimeoutError):
            answer = b""
        took.append((perf_counter() - begun) * 1000.0 if answer.startswith(b"HTTP/1.1 200 ") else float("inf"))
        await asyncio.sleep(0.25)
    return took


def measured(program: Program) -> str:
    """Two cells: what the server measured since the last time."""
    with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/measured", timeout=60.0) as answer:
        told = json.load(answer)
    return f"{told['held']:.0f} ms | {told['peak']:.0f} MB"


def print_attacks(number: int) -> None:
    """A row for each attack."""
    for name in ("none", *ATTACKS):
        port = free_port()
        with started(module("tests.bench.crowded", str(number), str(port)), port) as program:
            program.wait_for("# HELP", 1)
            measured(program)
            with nullcontext() if name == "none" else attacked(name, port):
                took = asyncio.run(scrapes(port))
            told = measured(program)
        print(f"| {number:,} | {name} | {median(took):.0f} ms | {max(took):.0f} ms | {told} |")


def print_pages(number: int, times: int = 8) -> None:
    """A row for the whole page of this many workspaces, while one after the other changes."""
    port = free_port()
    with started(module("tests.bench.crowded", str(number), str(port)), port) as program:
        program.wait_for("# HELP", 1)
        for encoding in ("gzip", "identity"):
            program.page(Accept_Encoding=encoding)
            measured(program)
            took, size = [], 0
            for _ in range(times):
                begun = perf_counter()
                size = len(program.page(Accept_Encoding=encoding))
                took.append((perf_counter() - begun) * 1000.0)
            told = measured(program)
            print(f"| {number:,} | {encoding} | {size:,} | {median(took):.0f} ms | {max(took):.0f} ms | {told} |")


def print_clients() -> None:
    """Both tables."""
    print(
        "\n| workspaces | whole page | bytes | median | slowest | longest hold of the event loop | memory at the most |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|")
    for number in (1_000, 5_000):
        print_pages(number)
    print("\n| workspaces | clients beside it | scrape, median | slowest | longest hold of the event loop | memory |")
    print("|---:|---|---:|---:|---:|---:|")
    for number in (4, 1_000):
        print_attacks(number)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(attack(sys.argv[1], int(sys.argv[2])))
    else:
        print_clients()
