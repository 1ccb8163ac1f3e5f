"""Measures how long a scrape takes while a hundred clients at a time send wrong passwords."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp
import bcrypt
import yaml

from tests.bench.load import PATIENCE, free_port, module, started
from tests.support.guarded import PASSWORD, basic

COST: Final = 10
"""The cost of the hash in the exporter-toolkit's documentation."""
CLIENTS: Final = 100
SCRAPES: Final = 200


def print_login() -> None:
    """Times of scrapes with the right password, alone and among wrong ones."""
    hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
    port = free_port()
    options = {
        "URL": "http://127.0.0.1:9",
        "USER_ID": "u",
        "AUTH_TOKEN": "t",
        "LOG__LEVEL": "error",
        "WEB__LISTEN_ADDRESS": f"127.0.0.1:{port}",
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / "web.yml"
        file.write_text(yaml.safe_dump({"basic_auth_users": {"prometheus": hash}}))
        options["WEB__CONFIG__FILE"] = str(file)
        environ = {f"RC_IMPORT_EXPORTER_{name}": text for name, text in options.items()}
        with started(module("rc_import_exporter"), port, environ):
            alone, among = asyncio.run(_measure(f"http://127.0.0.1:{port}"))
    print(f"\n| scrape with the right password (bcrypt cost {COST}) | p50 | p99 | longest |\n|---|---:|---:|---:|")
    for name, times in {"alone": alone, f"while {CLIENTS} clients send wrong ones": among}.items():
        p99 = quantiles(times, n=100)[-1]
        print(f"| {name} | {median(times):.1f} ms | {p99:.1f} ms | {max(times):.1f} ms |")


async def _measure(url: str) -> tuple[Sequence[float], Sequence[float]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(round(PATIENCE / 0.05)):
            if await _status(session, f"{url}/-/healthy") == 200:
                break
            await asyncio.sleep(0.05)
        right = basic("prometheus", PASSWORD)
        await _status(session, f"{url}/metrics", right)
        alone = [await _time(session, url, right) for _ in range(SCRAPES)]
        wrong = [asyncio.create_task(_guess(session, url, number)) for number in range(CLIENTS)]
        await asyncio.sleep(0.5)
        among = [await _time(session, url, right) for _ in range(SCRAPES)]
        for each in wrong:
            each.cancel()
        await asyncio.gather(*wrong, return_exceptions=True)
    return alone, among


async def _guess(session: aiohttp.ClientSession, url: str, number: int) -> None:
    while True:
        await _status(session, f"{url}/metrics", basic("prometheus", f"wrong {number}"))


async def _time(session: aiohttp.ClientSession, url: str, authorization: str) -> float:
    """Milliseconds of one scrape. Raises `RuntimeError` if it fails."""
    begun = time.perf_counter()
    if await _status(session, f"{url}/metrics", authorization) != 200:
        raise RuntimeError("a scrape failed")
    return (time.perf_counter() - begun) * 1000


async def _status(session: aiohttp.ClientSession, url: str, authorization: str = "") -> int:
    with suppress(aiohttp.ClientError):
        async with session.get(url, headers={"Authorization": authorization}) as response:
            await response.read()
            return response.status
    return 0
