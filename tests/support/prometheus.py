"""A real Prometheus on a loopback port: with samples that were scraped in virtual time, or scraping by itself."""

import asyncio
import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import aiohttp
import pytest
from yarl import URL

PATIENCE: Final = 40.0
"""Seconds after which a test gives up."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series of a query's result. A point is a Unix time in seconds and a value."""

    labels: Labels
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The latest value."""
        return self.points[-1][1]


class QueryError(Exception):
    """Prometheus refused a query; the message is from Prometheus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """The HTTP API of a running Prometheus."""

    url: str

    def instant(self, query: str, at: float) -> Sequence[Series]:
        """The result of a query at one time; raises `QueryError`."""
        found = cast("dict[str, object]", self._get("query", query=query, time=f"{at:.3f}"))
        rows = cast("list[dict[str, object]]", found["result"])
        return [Series(labels=cast("Labels", row["metric"]), points=[_point(row["value"])]) for row in rows]

    def range(self, query: str, start: float, end: float, step: float) -> Sequence[Series]:
        """The result of a query over a time range; raises `QueryError`."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found = cast("dict[str, object]", self._get("query_range", query=query, **times))
        rows = cast("list[dict[str, object]]", found["result"])
        return [
            Series(
                labels=cast("Labels", row["metric"]),
                points=[_point(point) for point in cast("list[object]", row["values"])],
            )
            for row in rows
        ]

    def _get(self, path: str, **parameters: str) -> object:
        data = urllib.parse.urlencode(parameters)
        whole = f"{self.url}/api/v1/{path}"
        try:
            with urllib.request.urlopen(whole, data.encode(), timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(f"{json.load(error).get('error')}: {parameters}") from error


def _point(pair: object) -> tuple[float, float]:
    at, value = cast("tuple[float, str]", pair)
    return float(at), float(value)


@contextmanager
def serving(folder: Path, lines: Iterable[str], *, interval: float) -> Iterator[Prometheus]:
    """A Prometheus with these samples, lines as from `timeline.openmetrics`, until the block ends.

    Imported samples have no staleness markers, so the lookback is a little more than the scrape `interval`.
    """
    samples = folder / "samples.om"
    with samples.open("w") as file:
        file.writelines(lines)
        file.write("# EOF\n")
    data = folder / "data"
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(samples), str(data)],
        check=True,
        capture_output=True,
    )
    (folder / "prometheus.yml").write_text("{}\n")
    port = _free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--query.lookback-delta={interval * 1.3:.0f}s",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield Prometheus(url=url)
        finally:
            process.terminate()


@asynccontextmanager
async def scraping(folder: Path, jobs: Sequence[Mapping[str, object]]) -> AsyncIterator[str]:
    """The URL of a Prometheus that scrapes these jobs every second."""
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    async with configured(config) as url:
        yield url


@asynccontextmanager
async def configured(config: Path) -> AsyncIterator[str]:
    """The URL of a Prometheus with this configuration file. Its data is beside it."""
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={config.with_name('data')}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def query(url: str, expression: str) -> Sequence[Mapping[str, str]]:
    """The series of an expression, none until Prometheus answers."""
    asked = URL(f"{url}/api/v1/query").with_query(query=expression)
    try:
        async with aiohttp.ClientSession() as session, session.get(asked) as answer:
            found = await answer.json()
    except aiohttp.ClientError:
        return []
    return [each["metric"] for each in found["data"]["result"]] if found.get("status") == "success" else []


async def eventually(url: str, expression: str, number: int) -> None:
    """Waits until an expression has this many series, and fails if that never happens."""
    for _ in range(round(PATIENCE / 0.2)):
        if len(await query(url, expression)) == number:
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"{expression} never gave {number} series")


async def targets(url: str) -> Sequence[Mapping[str, str]]:
    """Prometheus' own view of its targets."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/targets") as answer:
        found = await answer.json()
    active: Sequence[Mapping[str, str]] = found["data"]["activeTargets"]
    return active


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return cast("int", free.getsockname()[1])


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("Prometheus did not start: see prometheus.log beside its data")
