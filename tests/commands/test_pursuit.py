"""What `watch` says about an import that was cut off, that is gone, or that is not the newest."""

from dataclasses import replace

import pytest

from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.pursuit import PATIENCE, Pursuit, idleness, pursue
from rc_import_exporter.core.domain import Outcome, Step
from tests.support.gallery import importing, told, workspace
from tests.support.pictures import NOW, operation


@pytest.mark.parametrize(
    ("interval", "grace"), [(5.0, 15.0), (7.5, 15.0), (8.0, 16.0), (60.0, 120.0)], ids=["15 s", "edge", "polls", "long"]
)
def test_an_interrupted_import_has_two_polls_to_end_as_done(interval: float, grace: float) -> None:
    """A verdict after one poll could be wrong. A late one delays a script."""
    record = workspace("acme")
    record = replace(record, target=replace(record.target, poll_interval=interval, poll_interval_idle=interval))
    record = told(record, 30.0, importing(100, 31.0))
    pursuit = pursue(Pursuit(began=NOW - 60.0), record, NOW - 30.0)
    record = told(record, 0.0, importing(100, 1.0, valid=False))
    pursuit = pursue(pursuit, record, NOW)
    assert pursuit.followed is not None
    assert pursuit.followed.outcome is Outcome.INTERRUPTED
    assert pursue(pursuit, record, NOW + grace - 0.001).verdict is None
    verdict = pursue(pursuit, record, NOW + grace).verdict
    assert verdict is not None
    assert verdict.exit is Exit.BROKEN_OFF


def test_an_import_that_a_restored_database_does_not_hold_was_not_replaced() -> None:
    old = operation("o" * 17, Step.DONE, created=90_000.0)
    record = told(workspace("acme"), PATIENCE + 30.0, importing(100, PATIENCE + 31.0), old)
    pursuit = pursue(Pursuit(began=NOW - PATIENCE - 60.0), record, NOW - PATIENCE - 30.0)
    record = told(record, 0.0, old)
    verdict = pursue(pursuit, record, NOW).verdict
    assert verdict is not None
    assert verdict.sentence == "how the import ends is unknown: the server does not hold it any more"


@pytest.mark.parametrize("step", [Step.DONE, Step.USER_SELECTION])
def test_an_import_that_is_not_the_newest_forbids_a_restart(step: Step) -> None:
    """The newest one is done, or only waits: it is not what a restart would cut off."""
    record = told(workspace("acme"), 0.0, operation("n" * 17, step, created=60.0), importing(100, 1.0))
    verdict = idleness(record, NOW)
    assert verdict is not None
    assert verdict.exit is Exit.BUSY
    assert verdict.sentence.endswith("would cut off the import: it is not the newest one")
