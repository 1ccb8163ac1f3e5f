"""Runs the exporter for long: `python -m tests.endurance.soak [--days N] [--workspaces N] [--minutes N]`.

First in virtual time, over real sockets and in this process: imports come and go, and servers are in trouble. Then the
daemon as a process of its own, in real time, with requests of many kinds and reloads. Prints memory, sockets, tasks,
threads and series, and fails if one of them grows.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import cycle, islice
from pathlib import Path
from resource import getpagesize
from statistics import median
from typing import Final

import looptime

from rc_import_exporter import garbage, logs
from rc_import_exporter.core.domain import Reason
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.stories import DAY, HOUR, MINUTE, Telling
from tests.bench.load import free_port
from tests.endurance.troubles import Troubled
from tests.support.commands import PROGRAM, config_file, simulated
from tests.support.rig import exporting

DAYS: Final = 30
WORKSPACES: Final = 20
MINUTES: Final = 5.0
POLL_INTERVAL: Final = "10m"
"""In virtual time, of all workspaces. It decides how long a simulated day takes."""
SCRAPE: Final = 20 * MINUTE
WARM_UP: Final = 0.2
"""The share of the samples after which nothing may grow any more."""
MOST_SERIES: Final = 400
"""Series of one workspace. In real time they grow until each endpoint has had each fault."""
REAL_STRETCH: Final = 4.0
RELOAD_EVERY: Final = 20
PATHS: Final = ("/metrics", "/", "/workspaces/w00", "/api/v1/workspaces", "/probe?target=w01", "/sd", "/none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the exporter holds at one time. Memory is in megabytes. Tasks and series are `None` where nobody counts."""

    memory: float
    sockets: int
    threads: int
    tasks: int | None = None
    series: int | None = None


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew: its median is greater in the last third than in the first after the warm-up, by a tenth and 2 more."""
    rest = samples[int(len(samples) * WARM_UP) :]
    third, grown = max(1, len(rest) // 3), []
    for each in fields(Sample):
        values = [getattr(sample, each.name) or 0 for sample in rest]
        first, last = median(values[:third]), median(values[-third:])
        if last > first * 1.1 + 2:
            grown.append(f"{each.name} grew from {first:g} to {last:g}")
    return grown


def tellings(scale: float) -> Iterator[Telling]:
    """Stories of every kind, again and again with other durations. A scale of 1 is hours for one import."""
    factor = scale
    while True:
        waiting, running = factor * 10 * MINUTE, factor * HOUR
        yield stories.nightly_sync(waiting=waiting, running=running)
        yield stories.csv_migration(waiting=waiting, running=running)
        yield stories.slack_migration(waiting=waiting, running=running)
        yield stories.rolling_deploy(waiting=waiting, running=running, killed_after=running / 2)
        yield stories.crash(waiting=waiting, running=running, killed_after=running / 2, away=waiting)
        yield stories.phase_throws(waiting=waiting, running=running)
        yield stories.cleared_by_admin(waiting=waiting, running=running)
        yield stories.superseded(waiting=waiting, running=running)
        yield stories.odd_words(waiting=waiting)
        yield stories.read_only(stories.deselected(waiting=waiting, running=running))
        factor *= 1.3


def scripts(workspaces: int, *, scale: float, stretch: float) -> Mapping[str, Troubled]:
    """A story for each workspace, which repeats, with trouble."""
    names = [f"w{number:02}" for number in range(workspaces)]
    told = zip(names, islice(tellings(scale), workspaces), strict=True)
    return {name: Troubled(Story(telling, repeat=True), name, stretch) for name, telling in told}


def resident(pid: int | str = "self") -> float:
    """Megabytes of memory that a process uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * getpagesize() / 1e6


def sockets(pid: int | str = "self") -> int:
    """The open files of a process. It has hardly any but sockets."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def series(page: str) -> int:
    """The samples of a page."""
    return sum(bool(line) and not line.startswith("#") for line in page.splitlines())


async def virtual(days: float, workspaces: int) -> Sequence[Sample]:
    """A sample of each simulated day, or of each tenth of the time if that is less."""
    played, page = scripts(workspaces, scale=1.0, stretch=HOUR), ""
    samples: list[Sample] = []
    others = cycle(PATHS)
    options = {"poll_interval": POLL_INTERVAL, "poll_interval_idle": POLL_INTERVAL}
    with garbage.searched_while_young():
        async with exporting(played, **options) as running:
            part = min(DAY, days * DAY / 10)
            while len(samples) * part < days * DAY:
                until = (len(samples) + 1) * part
                while asyncio.get_running_loop().time() < until:
                    await asyncio.sleep(min(SCRAPE, until - asyncio.get_running_loop().time()))
                    for path in (next(others), "/metrics"):
                        async with running.session.get(f"{running.url}{path}") as response:
                            page = await response.text()
                # The simulator remembers the requests that it got.
                for each in running.servers.workspaces.values():
                    each.requests.clear()
                gc.collect(1)
                samples.append(
                    Sample(
                        memory=resident(),
                        sockets=sockets(),
                        tasks=len(asyncio.all_tasks()),
                        threads=threading.active_count(),
                        series=series(page),
                    )
                )
            records = running.app.store.snapshot.records.values()
            bugs = [reason for record in records for _, reason in record.failures if reason is Reason.INTERNAL]
            assert not bugs, bugs
            assert all(record.history.started for record in records)
            print(f"{sum(record.polls for record in records):,} polls, {sum(map(_failed, records)):,} failed calls")
    return samples


def _failed(record: Record) -> int:
    return sum(record.failures.values())


def in_virtual_time(days: float, workspaces: int) -> Sequence[Sample]:
    """`virtual` in an event loop of its own."""
    loop = looptime.new_event_loop(start=0.0, noop_cycles=2)
    try:
        return loop.run_until_complete(virtual(days, workspaces))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def in_real_time(seconds: float, workspaces: int) -> Sequence[Sample]:
    """Samples of the daemon as a process of its own, ten each minute or twenty in all."""
    port = free_port()
    samples: list[Sample] = []
    options = {"poll_interval": "1s", "poll_interval_idle": "1s", "timeout": "1s", "log": {"level": "error"}}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = stack.enter_context(simulated(scripts(workspaces, scale=1 / 300, stretch=REAL_STRETCH)))
        flag = config_file(folder, urls, web={"listen_address": f"127.0.0.1:{port}"}, **options)
        daemon = stack.enter_context(subprocess.Popen([*PROGRAM, flag], stderr=subprocess.DEVNULL))
        stack.callback(daemon.kill)
        while not ask(port, 0):
            assert daemon.poll() is None
            time.sleep(0.05)
        begun, number = time.monotonic(), 0
        while (passed := time.monotonic() - begun) < seconds:
            number += 1
            assert series(ask(port, number)) < MOST_SERIES * workspaces
            if number % RELOAD_EVERY == 0:
                daemon.send_signal(signal.SIGHUP)
            if passed >= len(samples) * min(6.0, seconds / 20):
                samples.append(sample_of(daemon.pid))
            time.sleep(0.05)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    return samples


def sample_of(pid: int) -> Sample:
    """A sample of another process."""
    return Sample(
        memory=resident(pid),
        sockets=sockets(pid),
        threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
    )


def ask(port: int, number: int) -> str:
    """The metrics, after a request of another kind. Empty if the daemon does not listen yet."""
    with contextlib.suppress(urllib.error.HTTPError, ConnectionError, urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}{PATHS[number % len(PATHS)]}", timeout=20).close()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
            page: bytes = response.read()
            return page.decode()
    except (urllib.error.URLError, ConnectionError):
        return ""


def table(samples: Sequence[Sample]) -> str:
    """Memory, sockets, tasks, threads and series: the first, and what was least and most after the warm-up."""
    rest = samples[int(len(samples) * WARM_UP) :]
    lines = [f"{len(samples)} samples"]
    for each in fields(Sample):
        values = [getattr(sample, each.name) for sample in samples if getattr(sample, each.name) is not None]
        later = [getattr(sample, each.name) for sample in rest if getattr(sample, each.name) is not None]
        if values:
            lines.append(
                f"{each.name:8} {values[0]:>8.5g} first, {min(later):.5g} to {max(later):.5g}, {values[-1]:.5g} last"
            )
    return "\n".join(lines)


def main() -> int:
    """Reads the command line, runs both parts, and prints. The exit code is 1 if something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.soak", description=__doc__)
    parser.add_argument("--days", type=float, default=DAYS, help="0 leaves this part out")
    parser.add_argument("--workspaces", type=int, default=WORKSPACES)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="0 leaves this part out")
    options = parser.parse_args()
    logs.configure("critical", "logfmt")
    grown = []
    plays: Mapping[str, tuple[float, Callable[[], Sequence[Sample]]]] = {
        "days of virtual time": (options.days, lambda: in_virtual_time(options.days, options.workspaces)),
        "min of real time": (options.minutes, lambda: in_real_time(options.minutes * 60, options.workspaces)),
    }
    for unit, (length, play) in plays.items():
        if not length:
            continue
        begun, used = time.monotonic(), time.process_time()
        samples = play()
        took = f"{time.monotonic() - begun:.0f} s, {time.process_time() - used:.0f} s of processor time"
        print(f"{length:g} {unit} over {options.workspaces} workspaces took {took}: {table(samples)}", flush=True)
        grown += growth(samples)
    print("\n".join(grown) or "Nothing grew.")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
