"""An isolated machine for servers that need fixed ports and host names: a network namespace with loopback only.

With it the shipped configurations run unchanged. It needs root. Nothing of it stays when it ends.
"""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PREPARE: Final = 'ip link set lo up && mount --bind "$0" /etc/hosts && echo ready && exec sleep infinity'


class LoneMachine(AbstractContextManager["LoneMachine"]):
    """Runs programs that see only each other. All hosts in `names` are 127.0.0.1. `folder` gets the programs' logs."""

    def __init__(self, folder: Path, names: Sequence[str] = ()) -> None:
        self._folder = folder
        self._hosts = folder / "hosts"
        self._hosts.write_text(f"127.0.0.1 {' '.join(['localhost', *names])}\n")
        self._running = ExitStack()
        self._holder = 0

    def __enter__(self) -> Self:
        command = ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c", PREPARE, str(self._hosts)]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._running.callback(_end, holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        self._holder = holder.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts a program that ends with the machine. `log` returns its output."""
        with (self._folder / f"{name}.log").open("w") as log:
            program = subprocess.Popen(self._inside(command), env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._running.callback(_end, program)

    def run(self, *command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a program until it ends."""
        return subprocess.run(self._inside(command), env=environment, capture_output=True, text=True, check=False)

    def get(self, url: str) -> str | None:
        """The body of a successful answer, or `None`."""
        ended = self.run("curl", "--silent", "--show-error", "--fail", "--globoff", "--noproxy", "*", url)
        return ended.stdout if ended.returncode == 0 else None

    def log(self, name: str) -> str:
        """The output so far of a program that was started."""
        return (self._folder / f"{name}.log").read_text()

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self._holder}", "--net", "--mount", f"--wdns={Path.cwd()}", *command]


def _end(program: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    program.terminate()
    program.wait()
    if program.stdout is not None:
        program.stdout.close()
