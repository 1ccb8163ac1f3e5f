"""Compares the exporter's speed and size with others: `python -m tests.bench [--rounds N] [--seconds N]`.

The exporter runs as it is installed, with four workspaces whose servers have answered and then hang. So nothing changes
from scrape to scrape, and its page is warm. `tests.bench.cold` measures the page after everything changed. The programs
are measured in turn, round after round, and the medians of the rounds are compared.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Outage
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServers
from tests.bench.answers import print_answers
from tests.bench.clients import print_clients
from tests.bench.fleet import print_fleet
from tests.bench.load import (
    CLIENT_CORE,
    CORES,
    SERVER_CORE,
    Load,
    Program,
    free_port,
    missing,
    module,
    run_wrk,
    started,
)
from tests.bench.login import print_login
from tests.bench.rules import print_rules

WORKSPACES: Final = ("acme", "beta", "gamma", "delta")
BLACKBOX: Final = "prometheus-blackbox-exporter"
ENCODINGS: Final = {"identity": (), "gzip": ("Accept-Encoding: gzip",)}


def tell(stage: Stage) -> None:
    """An import that runs, after an earlier one, until the server hangs."""
    stage.remember("csv", age=86_400.0, total=120, users=120, completed=117, error=3)
    stage.create("csv")
    stage.load(users=20, channels=8, messages=5_000, seconds=0.01)
    stage.begin_run(seconds=3_600.0)
    stage.wait(10.0)
    stage.go_down(Outage.HANG)
    stage.wait(86_400.0)


def exporter_environment(servers: SimulatedServers, port: int) -> dict[str, str]:
    """Four workspaces, polled every second. Their last answers stay fresh while they hang."""
    options = {
        "WEB__LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "LOG__LEVEL": "error",
        "USER_ID": USER_ID,
        "AUTH_TOKEN": AUTH_TOKEN,
        "POLL_INTERVAL": "1s",
        "POLL_INTERVAL_IDLE": "1s",
        "STALE_AFTER": "1h",
        "TIMEOUT": "1s",
    }
    urls = {f"WORKSPACES__{name.upper()}__URL": servers.url(name) for name in WORKSPACES}
    secrets = {
        f"WORKSPACES__{name.upper()}__{key}": options[key] for name in WORKSPACES for key in ("USER_ID", "AUTH_TOKEN")
    }
    shared = {key: value for key, value in options.items() if key not in {"USER_ID", "AUTH_TOKEN"}}
    return {f"RC_IMPORT_EXPORTER_{key}": value for key, value in (shared | urls | secrets).items()}


async def measure(rounds: int, seconds: int) -> None:
    """Measures while four simulated servers run."""
    async with SimulatedServers({name: Story(tell) for name in WORKSPACES}) as servers:
        await asyncio.to_thread(compare, servers, rounds, seconds)


def compare(servers: SimulatedServers, rounds: int, seconds: int) -> None:
    """Starts everything, measures, and prints."""
    with ExitStack() as stack:
        port = free_port()
        exporter = stack.enter_context(started(module("rc_import_exporter"), port, exporter_environment(servers, port)))
        first_data = exporter.wait_for("rocketchat_import_operation_records{", len(WORKSPACES))
        idle = exporter.memory("VmRSS")
        exporter.wait_for('reason="timeout"} 1\n', len(WORKSPACES))
        contenders = {"rc-import-exporter": exporter, **others(stack, exporter)}
        print_table(contenders, measured(contenders, rounds, seconds))
        grown = exporter.memory("VmHWM")
        print(f"\nFirst data of all workspaces {first_data:.2f} s after the start of the process.")
        print(f"Resident memory {idle:.0f} MB after the start, {grown:.0f} MB at the most while under load.")
        print(f"Ended {exporter.stop():.2f} s after SIGTERM, with requests to hanging servers in flight.")


def others(stack: ExitStack, exporter: Program) -> dict[str, Program]:
    """The programs that the exporter is compared with."""
    port = free_port()
    command = module("tests.bench.reference", f"http://127.0.0.1:{exporter.port}/metrics", str(port))
    programs = {"prometheus_client.aiohttp": stack.enter_context(started(command, port))}
    if missing(BLACKBOX):
        print(f"{BLACKBOX} is not installed, so it is left out.", file=sys.stderr)
    else:
        port = free_port()
        command = [BLACKBOX, f"--web.listen-address=127.0.0.1:{port}", "--config.file=/etc/prometheus/blackbox.yml"]
        programs["blackbox-exporter"] = stack.enter_context(started(command, port, {"GOMAXPROCS": "1"}))
    for program in programs.values():
        program.wait_for("# HELP", 1)
    return programs


Loads = dict[tuple[str, str, int], list[Load]]


def measured(contenders: dict[str, Program], rounds: int, seconds: int) -> Loads:
    """Every program with every encoding on one and on four connections, in turn, for this many rounds."""
    loads: Loads = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for encoding, headers in ENCODINGS.items():
            for connections in (1, 4):
                for name, program in contenders.items():
                    load = run_wrk(program, connections=connections, seconds=seconds, headers=headers)
                    loads.setdefault((name, encoding, connections), []).append(load)
    return loads


def print_table(contenders: dict[str, Program], loads: Loads) -> None:
    """One line for each program and encoding. The ratio is the exporter's rate divided by this program's."""
    print("| warm `/metrics` of | encoding | page, bytes | requests/s, 4 connections | ratio | p50, 1 connection |")
    print("|---|---|---:|---:|---:|---:|")
    for encoding in ENCODINGS:
        own = rate(loads["rc-import-exporter", encoding, 4])
        for name, program in contenders.items():
            size = len(program.page(Accept_Encoding=encoding))
            of_four, of_one = loads[name, encoding, 4], loads[name, encoding, 1]
            p50 = median(load.median for load in of_one)
            print(
                f"| {name} | {encoding} | {size:,} | {rate(of_four):,.0f} | {own / rate(of_four):.1f} | {p50:.2f} ms |"
            )


def rate(loads: Sequence[Load]) -> float:
    """The median of the rounds."""
    return median(load.rate for load in loads)


def print_cold(rounds: int) -> None:
    """The page after every workspace changed, beside a plain collector's. The ratio is above 1 if ours is faster."""
    command = ["taskset", "-c", str(SERVER_CORE), *module("tests.bench.cold", str(rounds))]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    own, plain = json.loads(told).values()
    print("\n| cold page of | encoding | time | ratio |\n|---|---|---:|---:|")
    print(f"| rc-import-exporter | identity | {own:.1f} ms | 1.0 |")
    print(f"| a plain prometheus_client collector | identity | {plain:.1f} ms | {plain / own:.1f} |")


def print_machine(rounds: int, seconds: int) -> None:
    """The machine and the number of runs."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    print(f"{model}, {len(CORES)} cores; Python {platform.python_version()}.")
    runs = f"medians of {rounds} alternating runs of {seconds} s"
    print(f"Servers on core {SERVER_CORE}, wrk on core {CLIENT_CORE}; {runs}.\n")


def print_memory(polls: int) -> None:
    """How the memory develops over many polls."""
    command = module("tests.bench.virtual", str(polls))
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(told)
    shown = ", ".join(f"{each:.1f}" for each in result["megabytes"])
    print(f"Resident memory over {result['polls']:,} polls ({result['days']:.1f} days of virtual time): {shown} MB.")


def main() -> None:
    """Reads the command line and prints everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--polls", type=int, default=100_000)
    options = parser.parse_args()
    if absent := missing("wrk", "taskset"):
        sys.exit(f"not installed: {', '.join(absent)}")
    print_machine(options.rounds, options.seconds)
    asyncio.run(measure(options.rounds, options.seconds))
    print_cold(options.rounds)
    print_login()
    print_fleet()
    print_answers()
    print_clients()
    if missing("prometheus"):
        print("prometheus is not installed, so the rules are left out.", file=sys.stderr)
    else:
        print_rules()
    if options.polls:
        print_memory(options.polls)


if __name__ == "__main__":
    main()
