"""Measures the exporter with up to 5,000 workspaces: `python -m tests.bench.fleet [NUMBER...]`.

Each workspace has an import that runs, and is polled every 15 s at two endpoints. The exporter has one core, and the
servers and the scraper have another. The columns of `prometheus_client` say how much longer its own handler takes for
the same series.
"""

import http
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from tests.bench.load import CLIENT_CORE, PATIENCE, free_port, module, started

NUMBERS: Final = (1, 10, 100, 1_000, 2_000, 5_000)
INTERVAL: Final = 15
CYCLES: Final = 3
"""Polls of each workspace while the processor time is measured."""
PAGES: Final = 5
PAGES_OF_OTHERS: Final = 2
"""A page of `prometheus_client` takes many seconds with 5,000 workspaces."""
PAUSE: Final = 5.0
"""Seconds between two pages. A third of the workspaces is polled in them; after a second, few lines would be new."""
PROBES: Final = 200
TARGETS: Final[dict[str, tuple[str, str, dict[int, float]]]] = {
    "a poll": ("cycle", "ms", {1_000: 1.6, 2_000: 1.6, 5_000: 1.6}),
    "longest hold of the event loop": ("held", "ms", {1_000: 20, 2_000: 20, 5_000: 20}),
    "`/probe`, p50": ("probe", "ms", {1_000: 2, 2_000: 2, 5_000: 2}),
    "`/probe`, p99": ("probe_p99", "ms", {1_000: 20, 2_000: 20, 5_000: 20}),
    "whole page with gzip": ("gzip", "ms", {1_000: 60, 5_000: 300}),
    "memory": ("memory", "MB", {1_000: 120, 5_000: 350}),
    "polls late, p99": ("late", "s", {1_000: 0.5, 2_000: 0.5, 5_000: 0.5}),
    "ended": ("ended", "s", dict.fromkeys(NUMBERS, 1)),
}
"""For each figure the attribute of `Row`, its unit, and the most that it should be for each number of workspaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures for one number of workspaces. Times of pages are in milliseconds, lateness is in seconds."""

    workspaces: int
    cycle: float
    """Processor time of one poll of one workspace, in milliseconds, without scrapes."""
    share: float
    late: float
    memory: float
    peak: float
    page: int
    series: int
    whole: float
    gzip: float
    plain: float
    plain_gzip: float
    probe: float
    probe_p99: float
    held: float
    ended: float


def print_fleet(numbers: tuple[int, ...] = NUMBERS) -> None:
    """A table with one line for each number of workspaces, and the targets that were met and missed."""
    print(
        "\n| workspaces | a poll | of a core | late, p99 | memory | with scrapes | series | page | whole page "
        "| with gzip | `prometheus_client` | with gzip | `/probe` p50 | p99 | longest hold | ended |"
    )
    print("|---:|" + "---:|" * 15)
    rows = []
    for number in numbers:
        try:
            row = measured(number)
        except (OSError, RuntimeError) as error:
            print(f"| {number:,} | not measured: {error} |", flush=True)
            continue
        rows.append(row)
        print(
            f"| {row.workspaces:,} | {row.cycle:.2f} ms | {row.share:.1%} | {row.late:.2f} s | {row.memory:.0f} MB "
            f"| {row.peak:.0f} MB | {row.series:,} | {row.page / 1e6:.2f} MB | {row.whole:.1f} ms | {row.gzip:.1f} ms "
            f"| {row.plain / row.whole:.1f} | {row.plain_gzip / row.gzip:.1f} | {row.probe:.1f} ms "
            f"| {row.probe_p99:.1f} ms | {row.held:.1f} ms | {row.ended:.2f} s |",
            flush=True,
        )
    print()
    for name, (figure, unit, most) in TARGETS.items():
        for row in rows:
            if (limit := most.get(row.workspaces)) is not None:
                value = float(getattr(row, figure))
                told = "met" if value <= limit else "MISSED"
                print(f"{told}: {name} with {row.workspaces:,}: {value:.2f} {unit}, at most {limit} {unit}")


def measured(number: int) -> Row:
    """Starts the servers and the exporter, and measures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers, port, watch = free_port(), free_port(), free_port()
        crowd = subprocess.Popen(
            ["taskset", "-c", str(CLIENT_CORE), *module("tests.bench.crowd", str(servers), str(INTERVAL))]
        )
        stack.callback(crowd.wait)
        stack.callback(crowd.kill)
        file = folder / "config.yml"
        file.write_text(yaml.safe_dump(_configuration(number, servers, port)))
        exporter = stack.enter_context(started(module("tests.bench.held", str(watch), f"--config.file={file}"), port))
        _wait_for_polls(port, number)
        _late(servers)
        memory = exporter.memory("VmRSS")
        before, begun = exporter.processor(), time.monotonic()
        time.sleep(INTERVAL * CYCLES)
        spent, seconds = exporter.processor() - before, time.monotonic() - begun
        late = _late(servers)
        probes = sorted(_timed(port, f"/probe?target=w{index % number:04}")[0] for index in range(PROBES))
        gzip, whole = _page(port, "gzip"), _page(port)
        peak, series = exporter.memory("VmHWM"), _series(_timed(port, "/metrics")[2])
        plain_port = free_port()
        command = module("tests.bench.reference", f"http://127.0.0.1:{port}/metrics", str(plain_port))
        plain = stack.enter_context(started(command, plain_port))
        plain.wait_for("# HELP", 1, patience=PATIENCE + number / 20)
        plain_whole, plain_gzip = (_page(plain_port, each, PAGES_OF_OTHERS) for each in ("identity", "gzip"))
        plain.close()
        _longest_hold(watch)
        for encoding in ("gzip", "identity"):
            _page(port, encoding)
        return Row(
            workspaces=number,
            cycle=1000 * spent / (number * seconds / INTERVAL),
            share=spent / seconds,
            late=late["p99"],
            memory=memory,
            peak=peak,
            page=whole[1],
            series=series,
            whole=whole[0],
            gzip=gzip[0],
            plain=plain_whole[0],
            plain_gzip=plain_gzip[0],
            probe=median(probes),
            probe_p99=quantiles(probes, n=100)[98],
            held=_longest_hold(watch),
            ended=exporter.stop(),
        )


def _configuration(number: int, servers: int, port: int) -> dict[str, object]:
    return {
        "web": {"listen_address": f"127.0.0.1:{port}"},
        "log": {"level": "error"},
        "poll_interval": f"{INTERVAL}s",
        "poll_interval_idle": f"{INTERVAL}s",
        "workspaces": {
            f"w{index:04}": {
                "url": f"http://127.0.0.1:{servers}/w{index:04}",
                "user_id": "simulated",
                "auth_token": "simulated",
            }
            for index in range(number)
        },
    }


def _wait_for_polls(port: int, number: int) -> None:
    """Waits until each workspace has been polled, and a cycle longer. Whole pages would slow the first polls down."""
    deadline = time.monotonic() + PATIENCE + number / 20
    while time.monotonic() < deadline:
        with suppress(OSError, RuntimeError):
            _timed(port, "/-/ready")
            time.sleep(INTERVAL)
            return
        time.sleep(1.0)
    raise TimeoutError(f"the exporter did not poll all {number} workspaces")


def _series(page: bytes) -> int:
    """The series of a page."""
    return sum(not line.startswith(b"#") for line in page.splitlines())


def _longest_hold(port: int) -> float:
    """Milliseconds for which a callback has held the event loop since the last call. See `tests.bench.held`."""
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.settimeout(PATIENCE)
        asker.sendto(b"?", ("127.0.0.1", port))
        return float(asker.recv(64))


def _late(port: int) -> dict[str, float]:
    told: dict[str, float] = json.loads(_timed(port, "/late")[2])
    return told


def _page(port: int, encoding: str = "identity", times: int = PAGES) -> tuple[float, int]:
    """The median time, and the size of the last one."""
    taken = []
    for _ in range(times):
        time.sleep(PAUSE)
        taken.append(_timed(port, "/metrics", encoding))
    return median(each[0] for each in taken), taken[-1][1]


def _timed(port: int, path: str, encoding: str = "identity") -> tuple[float, int, bytes]:
    """Milliseconds, size and body of one answer, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Accept-Encoding": encoding})
    response = connection.getresponse()
    body = response.read()
    taken = (time.perf_counter() - begun) * 1000
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path}: HTTP {response.status}")
    return taken, len(body), body


if __name__ == "__main__":
    os.sched_setaffinity(0, {CLIENT_CORE})
    print_fleet(tuple(map(int, sys.argv[1:])) or NUMBERS)
