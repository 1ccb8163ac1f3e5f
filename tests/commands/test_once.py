"""`once` writes a page for node_exporter's textfile collector, replaces the file as a whole, and ends with a code."""

import asyncio
import os
import select
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rc_import_exporter.commands import once
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.core.domain import Api
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import MetricKind
from rc_import_exporter.simulator import faults
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import LoopClock, SimulatedServers
from rc_import_exporter.simulator.stories import Telling, csv_migration, idle, nightly_sync, read_only, rolling_deploy
from tests.support.commands import config_file, run, simulated
from tests.support.rig import Page, configure

virtual = pytest.mark.looptime


def succeeded(stage: Stage) -> None:
    """An import an hour ago."""
    stage.remember("api", age=3600, valid=True, total=420, users=420, completed=420, error=0)
    stage.wait(3600)


def gone(stage: Stage) -> None:
    """A server that is down."""
    stage.go_down()
    stage.wait(3600)


async def polled(telling: Telling, at: float = 0.0) -> tuple[Snapshot, Page]:
    """The snapshot after one poll, some seconds after the story began, and its page."""
    clock = LoopClock()
    async with SimulatedServers({"acme": Story(telling)}, clock=clock) as servers:
        await asyncio.sleep(at)
        snapshot = await once.poll(configure({"acme": servers.url("acme")}), clock.now)
        return snapshot, Page(once.page(snapshot, clock.now()).decode())


def test_what_stands_in_a_file_is_what_does_not_belong_to_a_process() -> None:
    """A file has every gauge about workspaces and imports, and no other metric."""
    kept = {metric.name for metric in once.METRICS_OF_A_FILE}
    left_out = [metric for metric in METRICS if metric.name not in kept]
    assert {"up", "failing", "state", "outcome", "operation_records", "last_finished_timestamp_seconds"} <= kept
    assert all(metric.name.startswith("exporter_") or metric.kind is MetricKind.COUNTER for metric in left_out)


@virtual
@pytest.mark.parametrize("at", [0, 30, 90, 240, 900])
@pytest.mark.parametrize("tell", [idle, nightly_sync, csv_migration, rolling_deploy])
async def test_a_page_is_one_that_the_textfile_collector_takes(tell: Callable[[], Telling], at: float) -> None:
    """It has only gauges, nothing about the exporter's process, and no timestamps, which node_exporter refuses."""
    _, page = await polled(tell(), at / 20)
    families = list(text_string_to_metric_families(page.text))
    assert {family.type for family in families} == {"gauge"}
    assert [family.name for family in families if not family.name.startswith("rocketchat_import_")] == []
    assert [family.name for family in families if "exporter_" in family.name] == []
    assert [sample for family in families for sample in family.samples if sample.timestamp is not None] == []
    assert page.value("up", workspace="acme") == 1


@virtual
@pytest.mark.parametrize("fault", sorted(faults.FAULTS))
async def test_a_fault_is_told_and_the_page_is_there(fault: str) -> None:
    """`up` is 0 and no state is shown, so that an alert can fire."""

    def tell(stage: Stage) -> None:
        stage.fault(faults.FAULTS[fault])
        succeeded(stage)

    snapshot, page = await polled(tell)
    assert once.code(snapshot) is Exit.FAILED
    assert len(once.failures(snapshot)) == 1
    assert page.value("up", workspace="acme") == 0
    assert "state" not in page.names()


@virtual
async def test_a_read_only_token_is_enough() -> None:
    """If the list answers, a refused `import.status` is not a failure."""
    snapshot, page = await polled(read_only(succeeded))
    assert once.code(snapshot) is Exit.DONE
    assert page.one("outcome", "acme") == "succeeded"


@virtual
async def test_the_last_resort_is_asked_too() -> None:
    """If both feeds are refused, the state comes from `getImportProgress`."""

    def tell(stage: Stage) -> None:
        stage.fault(faults.refused_permission, Api.STATUS, Api.LIST)
        succeeded(stage)

    snapshot, page = await polled(tell)
    assert once.code(snapshot) is Exit.DONE
    assert page.one("state", "acme") == "done"


def test_the_page_goes_to_standard_output(tmp_path: Path) -> None:
    """The page is the same as in a file. Errors go to standard error."""
    with simulated({"acme": Story(succeeded), "globex": Story(gone)}) as urls:
        config = config_file(tmp_path, urls)
        well, ill = run("once", config, "acme"), run("once", config)
    assert (well.returncode, well.stderr) == (0, "")
    assert Page(well.stdout).value("up", workspace="acme") == 1
    assert ill.returncode == 1
    assert ill.stderr.startswith("rc-import-exporter: globex: ")
    assert Page(ill.stdout).value("up", workspace="globex") == 0


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader of the old file reads it to its end. The umask does not change who can read the new one."""
    output = tmp_path / "import.prom"
    output.write_text("old\n")
    before = os.umask(0o077)
    try:
        with output.open() as held, simulated({"acme": Story(succeeded)}) as urls:
            ended = run("once", config_file(tmp_path, urls), f"--output={output}")
            assert held.read() == "old\n"
    finally:
        os.umask(before)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert Page(output.read_text()).value("up", workspace="acme") == 1
    assert stat.S_IMODE(output.stat().st_mode) == 0o644
    assert {path.name for path in tmp_path.iterdir()} == {"config.yml", "import.prom"}


def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The error names flag and file, the code is 1, and no temporary file stays."""
    (tmp_path / "taken.prom" / "inside").mkdir(parents=True)
    long = f"{'a' * 251}.prom"
    wrong = {
        "missing/import.prom": "is in a folder that does not exist",
        "config.yml/import.prom": "cannot be written: Not a directory",
        "taken.prom": "cannot be written: Is a directory",
        long: "cannot be written: File name too long",
    }
    with silent() as (url, asked):
        config = config_file(tmp_path, {"acme": url})
        for output, words in wrong.items():
            ended = run("once", config, f"--output={tmp_path / output}")
            assert ended.returncode == 1
            assert ended.stderr == f"rc-import-exporter: flag --output: {tmp_path / output} {words}\n"
        assert not asked()
    assert {path.name for path in tmp_path.iterdir()} == {"config.yml", "taken.prom"}


def test_a_file_may_have_the_longest_name_that_there_is(tmp_path: Path) -> None:
    """File systems allow 255 bytes."""
    output = tmp_path / f"{'a' * 250}.prom"
    with simulated({"acme": Story(succeeded)}) as urls:
        ended = run("once", config_file(tmp_path, urls), f"--output={output}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Page(output.read_text()).value("up", workspace="acme") == 1


def test_a_link_is_replaced_and_what_it_points_at_stays(tmp_path: Path) -> None:
    """A user who can create links in the folder must not be able to overwrite other files."""
    kept, output = tmp_path / "kept", tmp_path / "import.prom"
    kept.write_text("old\n")
    output.symlink_to(kept)
    once.probe(output)
    assert output.is_symlink()
    once.write(b"new\n", output)
    assert (kept.read_text(), output.read_text(), output.is_symlink()) == ("old\n", "new\n", False)


@contextmanager
def silent() -> Iterator[tuple[str, Callable[[], bool]]]:
    """A server that never answers: its URL, and an event for its first connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", lambda: bool(select.select([server], [], [], 0)[0])


def test_a_wrong_configuration_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    """The code is 2, and the old file does not change."""
    output = tmp_path / "import.prom"
    output.write_text("old\n")
    assert run("once", "--url=http://127.0.0.1:1", f"--output={output}").returncode == 2
    assert output.read_text() == "old\n"
    wrong = run("once", config_file(tmp_path, {"acme": "http://127.0.0.1:1"}), f"--output={tmp_path / 'import.txt'}")
    assert (wrong.returncode, "ends in .prom" in wrong.stderr) == (2, True)


@pytest.mark.program("prometheus-node-exporter")
def test_node_exporter_reads_the_file(tmp_path: Path) -> None:
    """It logs no error, and its own metrics stay."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    with simulated({"acme": Story(succeeded), "globex": Story(gone)}) as urls:
        run("once", config_file(tmp_path, urls), f"--output={folder / 'import.prom'}")
    listen = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus-node-exporter",
        f"--collector.textfile.directory={folder}",
        f"--web.listen-address={listen}",
        "--log.level=debug",
    ]
    log = tmp_path / "log"
    with log.open("w") as written, subprocess.Popen(command, stderr=written, stdout=written) as node_exporter:
        try:
            page = eventually(f"http://{listen}/metrics")
        finally:
            node_exporter.terminate()
    assert 'rocketchat_import_up{workspace="acme"} 1' in page.splitlines()
    assert 'rocketchat_import_up{workspace="globex"} 0' in page.splitlines()
    assert "node_textfile_scrape_error 0" in page.splitlines()
    told = [line for line in log.read_text().splitlines() if "textfile" in line and "level=error" in line.lower()]
    assert told == [], log.read_text()


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def eventually(url: str) -> str:
    """The content of the URL as soon as it answers."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return str(response.read().decode())
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"nobody answers at {url}")
