"""The commands in a real terminal: bars that move, colours, and Ctrl-C."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.stories import Telling, csv_migration, idle, nightly_sync, phase_throws, stalls
from tests.support.commands import PROGRAM, config_file, run, simulated

PATIENCE = 60
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@contextmanager
def terminal(*words: str, columns: int = 100, **environ: str) -> Iterator["pexpect.spawn[str]"]:
    """A command in a terminal of its own."""
    kept = {name: text for name, text in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "CI"}}
    program, *arguments = [*PROGRAM, *words]
    child = pexpect.spawn(
        program,
        arguments,
        env={**kept, "TERM": "xterm-256color", **environ},
        dimensions=(40, columns),
        encoding="utf-8",
        timeout=PATIENCE,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def ended(child: "pexpect.spawn[str]") -> tuple[int | None, str]:
    """The exit code once it has ended, and what it still showed."""
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus, child.before or ""


def running(seconds: float) -> Telling:
    """An import that runs already, and for so long."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=100, messages=5000, seconds=0)
        stage.run(seconds=seconds)
        stage.wait(3600)

    return tell


busy = running(600)
"""For as long as a test may take."""


def test_a_bar_follows_the_import_to_its_end(tmp_path: Path) -> None:
    """It waits, moves, and ends with the outcome and its code; the cursor is back afterwards."""
    story = Story(csv_migration(waiting=1, running=6))
    with (
        simulated({"acme": story}) as urls,
        terminal("watch", config_file(tmp_path, urls, poll_interval="1s")) as child,
    ):
        child.expect("acme")
        child.expect("[1-9][0-9]%.*importing: ")
        child.expect("done with errors: 36 of 240 users rejected")
        code, rest = ended(child)
    assert code == 3
    assert "\x1b[?25h" in rest


def test_each_workspace_has_its_bar(tmp_path: Path) -> None:
    """And the worst of them gives the code."""
    stories = {"well": Story(nightly_sync(waiting=0.5, running=3)), "ill": Story(phase_throws(waiting=0.5, running=5))}
    with simulated(stories) as urls, terminal("watch", config_file(tmp_path, urls, poll_interval="1s")) as child:
        code, shown = ended(child)
    well, ill = [line for line in ESCAPE.sub("", shown).splitlines() if line.strip()][-2:]
    assert code == 4
    assert re.match("well .*succeeded", well)
    assert re.match("ill .*failed", ill)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_bar_stays_in_its_line(tmp_path: Path, columns: int) -> None:
    """A sentence that is too long for the window is cut, not wrapped over the bar above it."""
    with simulated({"acme": Story(busy)}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", config, "--timeout=4s", columns=columns) as child:
            code, shown = ended(child)
    assert code == 6
    assert max(len(ESCAPE.sub("", line)) for line in re.split(r"[\r\n]+", shown)) <= columns


def test_ctrl_c_ends_the_watch_and_gives_the_terminal_back(tmp_path: Path) -> None:
    """With the code that shells give, and without a traceback."""
    with simulated({"acme": Story(stalls())}) as urls, terminal("watch", config_file(tmp_path, urls)) as child:
        child.expect("acme")
        child.sendintr()
        code, rest = ended(child)
    assert code == 130
    assert "Traceback" not in rest
    assert "\x1b[?25h" in rest


def test_the_guard_holds_until_the_import_has_ended(tmp_path: Path) -> None:
    """A roll-out that asks before it restarts."""
    with simulated({"acme": Story(running(4))}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", "--require=idle", "--timeout=1m", config) as child:
            child.expect("importing: ")
            child.expect("nothing loads or runs")
            assert ended(child)[0] == 0


def test_the_guard_refuses_at_once(tmp_path: Path) -> None:
    """And says why."""
    with simulated({"acme": Story(busy)}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", "--require=idle", config) as child:
            child.expect("do not restart Rocket.Chat now")
            assert ended(child)[0] == 7


def test_without_a_terminal_there_are_lines(tmp_path: Path) -> None:
    """No escape sequence, each line with its instant."""
    with simulated({"acme": Story(nightly_sync(waiting=0.5, running=3))}) as urls:
        piped = run("watch", config_file(tmp_path, urls, poll_interval="1s"))
    assert piped.returncode == 0, piped.stderr
    assert piped.stderr == ""
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ acme: \S", line) for line in piped.stdout.splitlines())
    assert "\x1b" not in piped.stdout


def test_a_terminal_that_cannot_draw_gets_lines(tmp_path: Path) -> None:
    """An editor's shell, a serial console."""
    with simulated({"acme": Story(running(2))}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", config, TERM="dumb") as child:
            code, shown = ended(child)
    assert code == 0
    assert "\x1b" not in shown
    assert re.search(r"Z acme: succeeded", shown)


def test_check_is_coloured_in_a_terminal_and_heeds_no_color(tmp_path: Path) -> None:
    """As people and their settings expect."""
    with simulated({"acme": Story(Stage.revoke_token)}) as urls:
        config = config_file(tmp_path, urls)
        with terminal("check", config) as child:
            code, coloured = ended(child)
        with terminal("check", config, NO_COLOR="1") as child:
            _, plain = ended(child)
    assert code == 1
    assert "\x1b[1;31mproblem" in coloured
    assert "[1;31m" not in plain
    assert "problem" in plain


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["check", "once", "watch --require idle", "metrics", "--version", "--help"])
def test_a_closed_stream_is_no_mistake(words: str, closed: str, tmp_path: Path) -> None:
    """Whoever wants the exit code alone may close what the words go to."""
    with simulated({"acme": Story(idle())}) as urls:
        config = config_file(tmp_path, urls)
        ended = subprocess.run(
            ["/bin/sh", "-c", f"exec {' '.join(PROGRAM)} {words} {config} {closed}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_mistake_goes_nowhere_but_to_standard_error(tmp_path: Path) -> None:
    """Standard output is for what was asked for."""
    shell = f"exec {' '.join(PROGRAM)} once --no-such-flag 2>&-"
    ended = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (2, "")


def test_a_reader_that_leaves_early_is_no_mistake() -> None:
    """`metrics | head -1` ends without a word."""
    shell = f"{PROGRAM[0]} -m rc_import_exporter metrics | head -1"
    child = pexpect.spawn("/bin/sh", ["-c", shell], encoding="utf-8", timeout=PATIENCE)
    code, shown = ended(child)
    assert (code, "Broken pipe" in shown, "Traceback" in shown) == (0, False, False)
