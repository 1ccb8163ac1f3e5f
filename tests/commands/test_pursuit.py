"""When `watch` decides that an interrupted import has ended."""

from dataclasses import replace

import pytest

from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.pursuit import Pursuit, pursue
from rc_import_exporter.core.domain import Outcome
from tests.support.gallery import importing, told, workspace
from tests.support.pictures import NOW


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
