"""Programs under test on one core, and wrk, which sends requests from another."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE: Final = CORES[0]
CLIENT_CORE: Final = CORES[-1]
PATIENCE: Final = 60.0

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_MEDIAN: Final = re.compile(r"50%\s+([\d.]+)(us|ms|s)")
_BAD: Final = re.compile(r"Non-2xx|Socket errors")
_IN_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The result of one run of wrk: requests per second, and the median latency in milliseconds."""

    rate: float
    median: float


class Program:
    """A server in its own process, on the servers' core."""

    def __init__(self, command: Sequence[str], port: int, environ: Mapping[str, str]) -> None:
        self.port = port
        self.begun = time.monotonic()
        self._process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            env={**os.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def page(self, **headers: str) -> bytes:
        """The page as sent; empty if the program does not answer. An underscore in a header's name becomes a hyphen."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/metrics",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                body: bytes = response.read()
                return body
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return b""

    def wait_for(self, text: str, times: int, patience: float = PATIENCE) -> float:
        """Seconds from the start until the page holds a text this many times."""
        while self.page().count(text.encode()) < times:
            if time.monotonic() - self.begun > patience or self._process.poll() is not None:
                raise TimeoutError(f"no {text!r} on port {self.port}")
            time.sleep(0.01)
        return time.monotonic() - self.begun

    def memory(self, field: str) -> float:
        """Memory in megabytes: `VmRSS` is the memory now, `VmHWM` the maximum so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024 / 1e6

    def processor(self) -> float:
        """Seconds of processor time that its threads have used so far."""
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9

    def stop(self) -> float:
        """Seconds from SIGTERM to the end."""
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        return time.monotonic() - begun

    def close(self) -> None:
        """Kills it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def started(command: Sequence[str], port: int, environ: Mapping[str, str] | None = None) -> Iterator[Program]:
    """A server that runs until the context ends."""
    program = Program(command, port, environ or {})
    try:
        yield program
    finally:
        program.close()


def run_wrk(program: Program, *, connections: int, seconds: int, headers: Sequence[str] = ()) -> Load:
    """One run of wrk. Raises `RuntimeError` if a request failed."""
    command = ["taskset", "-c", str(CLIENT_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    command.append(f"http://127.0.0.1:{program.port}/metrics")
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate, median = _RATE.search(told), _MEDIAN.search(told)
    if rate is None or median is None or _BAD.search(told):
        raise RuntimeError(told)
    return Load(rate=float(rate[1]), median=float(median[1]) * _IN_MILLISECONDS[median[2]])


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def missing(*programs: str) -> list[str]:
    """The programs that are not on the PATH."""
    return [program for program in programs if shutil.which(program) is None]


def module(name: str, *arguments: str) -> list[str]:
    """A command that runs a module with this Python."""
    return [sys.executable, "-m", name, *arguments]
