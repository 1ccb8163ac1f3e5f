"""What tests of the commands share: simulated servers that real subprocesses can ask, and the configuration of them."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rc_import_exporter.simulator.script import Answer, Call, Script
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, Clock, SimulatedServers, WallClock


class FromTheFirstCall:
    """A script that begins when somebody asks for the first time, however long that takes to start."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._began: float | None = None

    def answer(self, call: Call) -> Answer:
        """What the script answers, its time counted from the first call."""
        if self._began is None:
            self._began = call.at
        return self._script.answer(replace(call, at=call.at - self._began, started=call.started + self._began))

    def limit(self, at: float, /) -> int | None:
        """Calls in 60 s that the rate limiter allows then."""
        return self._script.limit(at - (self._began or at))


PROGRAM = (sys.executable, "-m", "rc_import_exporter")


@contextmanager
def simulated(scripts: Mapping[str, Script], clock: Clock | None = None) -> Iterator[Mapping[str, str]]:
    """Base URLs of servers that run in a thread of their own until the test is done with them.

    It is real time there, and each script begins when it is first asked.
    """
    loop = asyncio.new_event_loop()
    begun = {name: FromTheFirstCall(script) for name, script in scripts.items()}
    servers = SimulatedServers(begun, clock=clock or WallClock())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(servers.start(), loop).result()
        yield {name: servers.url(name) for name in scripts}
    finally:
        asyncio.run_coroutine_threadsafe(servers.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def config_file(folder: Path, urls: Mapping[str, str], **options: object) -> str:
    """The flag for a file with these workspaces, and further options at its top level; JSON is YAML."""
    workspaces = {name: {"url": url, "user_id": USER_ID, "auth_token": AUTH_TOKEN} for name, url in urls.items()}
    path = folder / "config.yml"
    path.write_text(json.dumps({"workspaces": workspaces, **options}))
    return f"--config.file={path}"


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One command line, run to its end."""
    return subprocess.run(
        [*PROGRAM, *words], env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60
    )
