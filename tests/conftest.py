"""What all tests share: programs that may be missing, and no skip that goes unseen in continuous integration."""

import asyncio
import logging
import os
import shutil
from collections.abc import Generator
from typing import Final

import hypothesis
import pytest
import structlog

IN_CI: Final = os.environ.get("CI") == "true"

# The options of whoever runs the tests are not the options under test.
for option in [name for name in os.environ if name.upper().startswith("RC_IMPORT_EXPORTER_")]:
    del os.environ[option]

# Plugins ask for the current event loop around every test; where a test has none, none is made and left open.
asyncio.set_event_loop(None)

# No deadline, for no test asserts a speed; in CI the same examples each time, so that a change is judged by itself.
hypothesis.settings.register_profile("project", deadline=None, derandomize=IN_CI, print_blob=True)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def unconfigured_log() -> Generator[None, None, None]:
    """Leave no test's log to the next: commands that run in the process of the tests set it up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test, before any of its fixtures starts, whose programs are not here."""
    names = [name for mark in item.iter_markers("program") for name in mark.args]
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skip fail in CI, where everything is installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a module that is skipped as a whole fail in CI."""
    report = yield
    if report.skipped:
        refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that tells its reason, in CI alone."""
    if IN_CI:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: in continuous integration nothing may be skipped ({reason})"
