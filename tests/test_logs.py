"""Each event is one line on standard error, also events of libraries and exceptions."""

import json
import logging
import os
import select
import threading
from collections.abc import Iterator

import pytest

from rc_import_exporter import logs


def said(form: str, capfd: pytest.CaptureFixture[str], level: str = "info") -> list[str]:
    """The lines of some events: one with quotes and line breaks, one of a library, one with an exception."""
    logs.configure(level, form)
    log = logs.logger(workspace="acme")
    log.debug("hidden")
    log.info("poll failed", reason="timeout", detail='says "no"\nand = no')
    logging.getLogger("aiohttp").warning("a library's %s", "word")
    log.error("a fault", exc_info=ValueError("made for a test\nin two lines"))
    logging.shutdown()
    out, err = capfd.readouterr()
    assert out == ""
    return err.splitlines()


def test_logfmt_has_one_line_for_each_event(capfd: pytest.CaptureFixture[str]) -> None:
    """Time, level, message and workspace come first. Values with blanks or quotes are quoted."""
    ours, library, fault = said("logfmt", capfd)
    assert ours.startswith("ts=")
    assert ' level=info msg="poll failed" workspace=acme ' in ours
    assert "level=warning" in library
    assert "a library's word" in library
    assert "level=error" in fault
    assert "ValueError: made for a test" in fault


def test_json_has_one_line_for_each_event(capfd: pytest.CaptureFixture[str]) -> None:
    ours, library, fault = (json.loads(line) for line in said("json", capfd))
    assert (ours["level"], ours["msg"], ours["workspace"]) == ("info", "poll failed", "acme")
    assert ours["detail"] == 'says "no"\nand = no'
    assert library["msg"] == "a library's word"
    assert "ValueError" in fault["exception"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_hides_lower_levels(capfd: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    """This is true for the loggers of libraries too."""
    assert len(said("logfmt", capfd, level)) == lines


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end to read from of a pipe that takes the log. It has room for one line or so."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setattr(logs, "STANDARD_ERROR", writer)
    yield reader
    os.close(reader)
    os.close(writer)


def test_lines_wait_for_a_slow_reader(pipe: int) -> None:
    """A burst that is larger than the pipe arrives whole and in order, also in a pipe that does not block."""
    logs.configure("info", "json")
    for number in range(2000):
        logs.logger().info("counted", number=number, blanks=" " * 100)
    read = bytearray()
    flushing = threading.Thread(target=logging.shutdown)
    flushing.start()
    while read.count(b"\n") < 2000:
        read += os.read(pipe, 65536)
    flushing.join()
    assert [json.loads(line)["number"] for line in read.splitlines()] == list(range(2000))
    assert logs.dropped() == 0


def test_lines_that_find_no_room_are_counted(pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads. Logging does not wait, and the end waits for a moment only."""
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT", 0.01)
    logs.configure("info", "logfmt")
    logs.logger().info("x" * 1_000_000)
    select.select([pipe], [], [])
    for _ in range(logs.MOST_WAITING + 1000):
        logs.logger().info("short")
    assert logs.dropped() == 1000
    logging.shutdown()


def test_lines_for_a_reader_that_is_gone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(logs, "STANDARD_ERROR", writer)
    logs.configure("info", "logfmt")
    for _ in range(3):
        logs.logger().info("lost")
    logging.shutdown()
    os.close(writer)
    assert logs.dropped() == 3
