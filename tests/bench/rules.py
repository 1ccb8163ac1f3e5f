"""Measures how long a real Prometheus takes to evaluate all shipped rules once.

The page does not change between scrapes. All workspaces import, and no alert fires: each firing alert would add
the queries in its texts.
"""

import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Final

from deploy.prometheus.generate import RULES
from rc_import_exporter.metrics.exposition import Exposition
from tests.bench.load import free_port
from tests.support.gallery import importing, told, workspace
from tests.support.pictures import NOW, picture

INTERVAL: Final = 5
"""Seconds between two scrapes, and between two evaluations."""
_DURATION: Final = re.compile(r"^prometheus_rule_group_last_duration_seconds\{.*\} (.+)$", re.MULTILINE)


def evaluations(workspaces: int, times: int) -> list[float]:
    """The seconds of each evaluation of all groups, after the first minute."""
    records = [told(workspace(f"w{n:05}"), 0.0, importing(1_000, 5.0)) for n in range(workspaces)]
    page = Exposition(process=False).page(picture(records), NOW)
    with tempfile.TemporaryDirectory() as folder, _serving(page) as port, _prometheus(Path(folder), port) as own:
        time.sleep(60)
        found = []
        for _ in range(times):
            time.sleep(INTERVAL)
            with urllib.request.urlopen(f"http://127.0.0.1:{own}/metrics", timeout=30) as answer:
                found.append(sum(float(value) for value in _DURATION.findall(answer.read().decode())))
        return found


def print_rules(workspaces: int = 1000, times: int = 6) -> None:
    """Print one line with the median."""
    seconds = evaluations(workspaces, times)
    print(
        f"\nAll rules of {workspaces:,} importing workspaces in Prometheus: {median(seconds):.2f} s an evaluation "
        f"(median of {times}, {min(seconds):.2f} to {max(seconds):.2f})."
    )


@contextmanager
def _serving(page: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *arguments: object) -> None:
            """Writes no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _prometheus(folder: Path, port: int) -> Iterator[int]:
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {INTERVAL}s, evaluation_interval: {INTERVAL}s}}\n"
        f"rule_files: ['{RULES}']\n"
        f"scrape_configs: [{{job_name: imports, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    own = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
        "--log.level=error",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield own
        finally:
            process.terminate()
