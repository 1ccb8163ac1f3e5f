"""For tests that run commands as real processes: simulated servers, and the configuration file for them."""

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
    """A script whose time begins at the first call, so that a slow start of the program does not matter."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._began: float | None = None

    def answer(self, call: Call) -> Answer:
        """The script's answer, with its time counted from the first call."""
        if self._began is None:
            self._began = call.at
        return self._script.answer(replace(call, at=call.at - self._began, started=call.started + self._began))

    def limit(self, at: float, /) -> int | None:
        """The number of calls in 60 s that the rate limiter allows then."""
        return self._script.limit(at - (self._began or at))


PROGRAM = (sys.executable, "-m", "rc_import_exporter")


@contextmanager
def simulated(scripts: Mapping[str, Script], clock: Clock | None = None) -> Iterator[Mapping[str, str]]:
    """The base URLs of servers that run in a thread of their own, in real time, until the block ends.

    Each script begins at its first call.
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
    """The flag for a file with these workspaces, and more options at its top level. The file is JSON, which is YAML."""
    workspaces = {name: {"url": url, "user_id": USER_ID, "auth_token": AUTH_TOKEN} for name, url in urls.items()}
    path = folder / "config.yml"
    path.write_text(json.dumps({"workspaces": workspaces, **options}))
    return f"--config.file={path}"


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the exporter with these arguments until it ends."""
    return subprocess.run(
        [*PROGRAM, *words], env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60
    )
