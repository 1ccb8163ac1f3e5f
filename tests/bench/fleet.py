"""Measures the exporter with up to 5,000 workspaces: `python -m tests.bench.fleet [NUMBER...]`.

Each workspace has an import that runs, and is polled every 15 s at two endpoints. The exporter has one core, and the
servers and the scraper have another. The columns of `prometheus_client` say how much longer its own handler takes for
the same series.
"""

import http
import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from tests.bench.load import CLIENT_CORE, PATIENCE, Program, free_port, module, started

NUMBERS: Final = (1, 10, 100, 1_000, 2_000, 5_000)
INTERVAL: Final = 15
CYCLES: Final = 3
"""Polls of each workspace while the processor time is measured."""
PAGES: Final = 5
PROBES: Final = 200


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
    whole: float
    gzip: float
    plain: float
    plain_gzip: float
    probe: float
    probe_p99: float
    ended: float


def print_fleet(numbers: tuple[int, ...] = NUMBERS) -> None:
    """A table with one line for each number of workspaces."""
    print(
        "\n| workspaces | a poll | of a core | late, p99 | memory | with scrapes | page | whole page | with gzip "
        "| `prometheus_client` | with gzip | `/probe` p50 | p99 | ended |"
    )
    print("|---:|" + "---:|" * 13)
    for number in numbers:
        row = measured(number)
        print(
            f"| {row.workspaces:,} | {row.cycle:.2f} ms | {row.share:.1%} | {row.late:.2f} s | {row.memory:.0f} MB "
            f"| {row.peak:.0f} MB | {row.page / 1e6:.2f} MB | {row.whole:.1f} ms | {row.gzip:.1f} ms "
            f"| {row.plain / row.whole:.1f} | {row.plain_gzip / row.gzip:.1f} | {row.probe:.1f} ms "
            f"| {row.probe_p99:.1f} ms | {row.ended:.2f} s |",
            flush=True,
        )


def measured(number: int) -> Row:
    """Starts the servers and the exporter, and measures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers, port = free_port(), free_port()
        crowd = subprocess.Popen(
            ["taskset", "-c", str(CLIENT_CORE), *module("tests.bench.crowd", str(servers), str(INTERVAL))]
        )
        stack.callback(crowd.wait)
        stack.callback(crowd.kill)
        file = folder / "config.yml"
        file.write_text(yaml.safe_dump(_configuration(number, servers, port)))
        exporter = stack.enter_context(started(module("rc_import_exporter", f"--config.file={file}"), port))
        _wait_for_polls(exporter, number)
        _late(servers)
        memory = exporter.memory("VmRSS")
        before, begun = exporter.processor(), time.monotonic()
        time.sleep(INTERVAL * CYCLES)
        spent, seconds = exporter.processor() - before, time.monotonic() - begun
        late = _late(servers)
        whole, gzip = _page(port), _page(port, "gzip")
        plain_port = free_port()
        command = module("tests.bench.reference", f"http://127.0.0.1:{port}/metrics", str(plain_port))
        plain = stack.enter_context(started(command, plain_port))
        plain.wait_for("# HELP", 1)
        plain_whole, plain_gzip = _page(plain_port), _page(plain_port, "gzip")
        plain.close()
        probes = sorted(_timed(port, f"/probe?target=w{index % number:04}")[0] for index in range(PROBES))
        return Row(
            workspaces=number,
            cycle=1000 * spent / (number * seconds / INTERVAL),
            share=spent / seconds,
            late=late["p99"],
            memory=memory,
            peak=exporter.memory("VmHWM"),
            page=whole[1],
            whole=whole[0],
            gzip=gzip[0],
            plain=plain_whole[0],
            plain_gzip=plain_gzip[0],
            probe=median(probes),
            probe_p99=quantiles(probes, n=100)[98],
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


def _wait_for_polls(exporter: Program, number: int) -> None:
    """Waits until each workspace has been polled, and a cycle longer."""
    deadline = time.monotonic() + PATIENCE + number / 50
    while exporter.page().count(b"rocketchat_import_operation_records{") < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the exporter did not read all {number} workspaces")
        time.sleep(0.5)
    time.sleep(INTERVAL)


def _late(port: int) -> dict[str, float]:
    told: dict[str, float] = json.loads(_timed(port, "/late")[2])
    return told


def _page(port: int, encoding: str = "identity") -> tuple[float, int]:
    """The median time, and the size of the last one."""
    taken = []
    for _ in range(PAGES):
        time.sleep(1.0)
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
