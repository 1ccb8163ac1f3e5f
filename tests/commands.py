"""What tests of the commands share: simulated servers that real subprocesses can ask, and the configuration of them."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rc_import_exporter.simulator.script import Script
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, Clock, SimulatedServers, WallClock

PROGRAM = (sys.executable, "-m", "rc_import_exporter")


@contextmanager
def simulated(scripts: Mapping[str, Script], clock: Clock | None = None) -> Iterator[Mapping[str, str]]:
    """Base URLs of servers that run in a thread of their own, in real time, until the test is done with them."""
    loop = asyncio.new_event_loop()
    servers = SimulatedServers(scripts, clock=clock or WallClock())
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
