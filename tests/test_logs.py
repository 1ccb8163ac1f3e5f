"""Each event is one line on standard error, also events of libraries and exceptions."""

import json
import logging

import pytest

from rc_import_exporter import logs


def said(form: str, capsys: pytest.CaptureFixture[str], level: str = "info") -> list[str]:
    """The lines of some events: one with quotes and line breaks, one of a library, one with an exception."""
    logs.configure(level, form)
    log = logs.logger(workspace="acme")
    log.debug("hidden")
    log.info("poll failed", reason="timeout", detail='says "no"\nand = no')
    logging.getLogger("aiohttp").warning("a library's %s", "word")
    log.error("a fault", exc_info=ValueError("made for a test\nin two lines"))
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_logfmt_has_one_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, message and workspace come first. Values with blanks or quotes are quoted."""
    ours, library, fault = said("logfmt", capsys)
    assert ours.startswith("ts=")
    assert ' level=info msg="poll failed" workspace=acme ' in ours
    assert "level=warning" in library
    assert "a library's word" in library
    assert "level=error" in fault
    assert "ValueError: made for a test" in fault


def test_json_has_one_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    ours, library, fault = (json.loads(line) for line in said("json", capsys))
    assert (ours["level"], ours["msg"], ours["workspace"]) == ("info", "poll failed", "acme")
    assert ours["detail"] == 'says "no"\nand = no'
    assert library["msg"] == "a library's word"
    assert "ValueError" in fault["exception"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_hides_lower_levels(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    """This is true for the loggers of libraries too."""
    assert len(said("logfmt", capsys, level)) == lines
