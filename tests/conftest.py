"""For all tests: skips those whose programs are missing, except in continuous integration, where a skip fails."""

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

# Options in the environment of the developer must not change the tests.
for option in [name for name in os.environ if name.upper().startswith("RC_IMPORT_EXPORTER_")]:
    del os.environ[option]

# Plugins ask for the current event loop around each test. Without this, they would create loops and never close them.
asyncio.set_event_loop(None)

# No deadline, because tests measure no time. CI uses the same examples each time, so that only a change can fail it.
hypothesis.settings.register_profile("project", deadline=None, derandomize=IN_CI, print_blob=True)
hypothesis.settings.register_profile("few", hypothesis.settings.get_profile("project"), max_examples=10)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def unconfigured_log() -> Generator[None, None, None]:
    """Reset logging after each test: commands that run in the process of the tests configure it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for added in set(root.handlers) - set(handlers):
        added.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are not installed, before any of its fixtures starts."""
    names = [name for mark in item.iter_markers("program") for name in mark.args]
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure in CI, where everything is installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that is skipped as a whole."""
    report = yield
    if report.skipped:
        refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI, turn a skip into a failure that states its reason."""
    if IN_CI:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: in continuous integration nothing may be skipped ({reason})"
