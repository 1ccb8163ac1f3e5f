"""Measures the seconds that a real Prometheus takes for one evaluation of all shipped rules.

Measured with all workspaces importing, and with an import of each failed at once. Prometheus renders the texts of each
alert again at every evaluation. That takes about 1 ms for each alert: half of it for five templates, 0.1 ms each even
without a query, and half for four queries, each of one series. This is the limit as long as alerts have links. A query
that joins reads all workspaces, and a thousand alerts took 20 to 80 s with it: tests/deploy/test_rules.py keeps such
queries out.

The page does not change between scrapes. The sum of the groups' times is shown, although Prometheus evaluates groups at
the same time.
"""

import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Final

from deploy.prometheus.generate import RULES
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.metrics.exposition import Exposition
from tests.bench.load import free_port
from tests.support.gallery import failed, importing, told, workspace
from tests.support.pictures import NOW, picture

INTERVAL: Final = 10
"""Seconds between two scrapes, and between two evaluations."""
_DATE: Final = re.compile(r"^(rocketchat_\w+_timestamp_seconds(?:\{.*\})?) (\S+)$", re.MULTILINE)
_DURATION: Final = re.compile(r"^prometheus_rule_group_last_duration_seconds\{.*\} (.+)$", re.MULTILINE)


def evaluations(records: Sequence[Record], times: int) -> list[float]:
    """The seconds that each evaluation of all groups took, after the first minute."""
    page = _dated(Exposition(process=False).page(picture(records), NOW).decode(), time.time() - NOW)
    with tempfile.TemporaryDirectory() as folder, _serving(page) as port, _prometheus(Path(folder), port) as own:
        time.sleep(60)
        found = []
        for _ in range(times):
            time.sleep(INTERVAL)
            with urllib.request.urlopen(f"http://127.0.0.1:{own}/metrics", timeout=30) as answer:
                found.append(sum(float(value) for value in _DURATION.findall(answer.read().decode())))
        return found


def print_rules(workspaces: int = 1000, times: int = 6) -> None:
    """The medians as lines."""
    names = [f"w{n:05}" for n in range(workspaces)]
    print()
    for what, records in (
        ("importing workspaces, no alert", [told(workspace(name), 0.0, importing(1_000, 5.0)) for name in names]),
        ("workspaces, an alert about each", [failed(name) for name in names]),
    ):
        seconds = evaluations(records, times)
        print(
            f"All rules of {workspaces:,} {what}: {median(seconds):.2f} s an evaluation in Prometheus "
            f"(median of {times}, {min(seconds):.2f} to {max(seconds):.2f})."
        )


def _dated(page: str, later: float) -> bytes:
    """The page with all dates moved later by this many seconds. The next poll is never late."""

    def moved(found: re.Match[str]) -> str:
        never = 86_400.0 if "_next_poll_" in found[1] else 0.0
        return f"{found[1]} {float(found[2]) + later + never}"

    return _DATE.sub(moved, page).encode()


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
            """Logs nothing."""

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
