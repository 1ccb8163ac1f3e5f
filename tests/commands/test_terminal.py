"""The commands in a real terminal: progress bars, colours, and Ctrl-C."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pexpect
import pytest

from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.stories import Telling, idle, nightly_sync, phase_throws, stalls
from tests.support.commands import PROGRAM, config_file, run, simulated

pytestmark = pytest.mark.once

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
    """The exit code after the end, and the rest of the output."""
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus, child.before or ""


def running(seconds: float) -> Telling:
    """An import that already runs, and goes on for some seconds."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=100, messages=5000, seconds=0)
        stage.run(seconds=seconds)
        stage.wait(3600)

    return tell


busy = running(600)
"""The time limit of a test."""


WIDTHS = (40, 80, 110, 200)
THROWS = re.compile(
    r"acme: failed at [\d,]+ of [\d,]+ records, ran (at (least|most) )?\d+ s: a phase of the import threw an error\r\n"
)


def test_each_width_shows_what_matters(tmp_path: Path) -> None:
    """Bar, percentage, time left, end and message; then the last sentence on a line of its own, and a bell.

    The terminal breaks a long line itself, so that it can be copied as one.
    """
    with ExitStack() as stack:
        urls = stack.enter_context(simulated({"acme": Story(phase_throws(waiting=2, running=10))}))
        config = config_file(tmp_path, urls, poll_interval="1s")
        children = {
            columns: stack.enter_context(terminal("watch", config, columns=columns, TZ="UTC")) for columns in WIDTHS
        }
        for columns, child in children.items():
            code, raw = ended(child)
            shown = ESCAPE.sub("", raw)
            last = THROWS.search(shown)
            assert code == 4
            assert last is not None, shown
            lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown[: last.start()])]
            assert max(map(len, lines)) <= columns
            row = r"acme +[━╸╺]+ +[1-9]\d? %"
            times = r"about \d+ s left", r"ends about \d\d:\d\d UTC"
            if columns >= 80:
                assert any(re.fullmatch("  ".join((row, *times)), line) for line in lines), lines
            else:
                assert all(any(re.fullmatch(part, line.strip()) for line in lines) for part in (row, *times)), lines
            assert any(re.fullmatch(r"  import(s|ing): [\d,]+ of [\d,]+ records", line) for line in lines), lines
            assert f"\r\n  -> Look at {urls['acme']}/admin/import\r\n" in shown[last.end() :]
            assert raw.endswith("\x07")
            assert "\x1b[?25h" in raw


def test_each_workspace_has_its_bar_and_its_end(tmp_path: Path) -> None:
    """The worst result decides the exit code. A workspace that cannot be read has no percentage."""
    stories = {
        "well": Story(nightly_sync(waiting=0.5, running=3)),
        "ill": Story(phase_throws(waiting=0.5, running=5)),
        "lost": Story(Stage.revoke_token),
    }
    with simulated(stories) as urls, terminal("watch", config_file(tmp_path, urls, poll_interval="1s")) as child:
        code, raw = ended(child)
    shown = ESCAPE.sub("", raw)
    ends = [line for line in shown.splitlines() if re.match(r"\w+: ", line)]
    assert code == 4
    assert [line.partition(": ")[0] for line in ends] == ["well", "ill", "lost"]
    assert "lost: how the import ends is unknown: HTTP 401: the user id or the token is wrong" in ends[2]
    assert not re.search(r"lost .*%", shown)


def test_ctrl_c_ends_the_watch_and_gives_the_terminal_back(tmp_path: Path) -> None:
    """The exit code is the one of shells, and no traceback is printed.

    The output says that the import is not stopped.
    """
    with simulated({"acme": Story(stalls())}) as urls, terminal("watch", config_file(tmp_path, urls)) as child:
        child.expect("acme")
        child.sendintr()
        code, rest = ended(child)
    assert code == 130
    assert "Traceback" not in rest
    assert "\x1b[?25h" in rest
    assert ESCAPE.sub("", rest).endswith("Stopped watching. This does not stop the import.\r\n")


def test_the_demo_keeps_its_addresses_in_view() -> None:
    """Nothing is printed after them: a log would move them out of a small window within seconds."""
    with terminal("demo", "--web.listen-address=127.0.0.1:0") as child:
        child.expect(r"http://127.0.0.1:\d+/\r\n")
        child.expect("Press Ctrl-C to stop.\r\n")
        # The first polls come within a second.
        assert child.expect([pexpect.TIMEOUT, "."], timeout=3) == 0
        child.sendintr()
        code, rest = ended(child)
    assert (code, rest.strip("^C\r\n")) == (0, "")


def test_the_guard_holds_until_the_import_has_ended(tmp_path: Path) -> None:
    """A roll-out asks before it restarts the server."""
    with simulated({"acme": Story(running(4))}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", "--require=idle", "--timeout=1m", config) as child:
            child.expect("importing: ")
            child.expect("nothing loads or runs")
            assert ended(child)[0] == 0


def test_the_guard_refuses_at_once(tmp_path: Path) -> None:
    """The output says why."""
    with simulated({"acme": Story(busy)}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", "--require=idle", config) as child:
            child.expect("do not restart Rocket.Chat now")
            assert ended(child)[0] == 7


def test_without_a_terminal_there_are_lines(tmp_path: Path) -> None:
    """Each line has a time, and no escape sequence."""
    with simulated({"acme": Story(nightly_sync(waiting=0.5, running=3))}) as urls:
        piped = run("watch", config_file(tmp_path, urls, poll_interval="1s"))
    assert piped.returncode == 0, piped.stderr
    assert piped.stderr == ""
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ acme: \S", line) for line in piped.stdout.splitlines())
    assert "\x1b" not in piped.stdout


def test_a_terminal_that_cannot_draw_gets_lines(tmp_path: Path) -> None:
    """Examples are the shell in an editor and a serial console."""
    with simulated({"acme": Story(running(2))}) as urls:
        config = config_file(tmp_path, urls, poll_interval="1s")
        with terminal("watch", config, TERM="dumb") as child:
            code, shown = ended(child)
    assert code == 0
    assert "\x1b" not in shown
    assert re.search(r"Z acme: succeeded", shown)


def test_check_is_coloured_in_a_terminal_and_heeds_no_color(tmp_path: Path) -> None:
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
    """A script that only needs the exit code may close the output."""
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
    """Standard output is only for results."""
    shell = f"exec {' '.join(PROGRAM)} once --no-such-flag 2>&-"
    ended = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (2, "")


def test_a_reader_that_leaves_early_is_no_mistake() -> None:
    """`metrics | head -1` ends without an error."""
    shell = f"{PROGRAM[0]} -m rc_import_exporter metrics | head -1"
    child = pexpect.spawn("/bin/sh", ["-c", shell], encoding="utf-8", timeout=PATIENCE)
    code, shown = ended(child)
    assert (code, "Broken pipe" in shown, "Traceback" in shown) == (0, False, False)
