"""Tests of `snapshot`: whether an import is active, and whether the server may restart."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.pursuit import idleness
from rc_import_exporter.core.domain import IMPORTING_STEPS, LAST_STEPS, LOADING_STEPS, Outcome, Reason, Step
from rc_import_exporter.core.snapshot import Observation, Record
from rc_import_exporter.core.store import note_fault
from tests.support.gallery import LATER, blinking, gallery, importing, progress_alone, refused, told, workspace
from tests.support.pictures import NOW, finished, lost, running, untouched

STEPS = [step for step in Step if step is not Step.NONE]


def observed(record: Record) -> Observation:
    assert record.observation is not None
    return record.observation


@pytest.mark.parametrize("step", STEPS)
def test_only_a_valid_operation_before_its_last_step_is_active(step: Step) -> None:
    """An operation in an unknown step may be doing anything, so it is polled as often as a running one."""
    seen = observed(told(workspace("acme"), 0.0, importing(10, 5.0, step=step)))
    assert seen.active == (step not in LAST_STEPS)
    assert seen.fragile == (step in LOADING_STEPS | IMPORTING_STEPS)
    gone = observed(told(workspace("acme"), 0.0, importing(10, 5.0, step=step, valid=False)))
    assert (gone.active, gone.fragile) == (False, False)


@pytest.mark.parametrize("step", [Step.NEW, Step.IMPORTING_USERS, Step.DONE])
def test_an_operation_that_runs_on_after_its_verdict_is_fragile(step: Step) -> None:
    """Its outcome stays, but a restart would still end it."""
    record = told(workspace("acme"), 30.0, importing(10, 40.0, step=step, valid=False))
    before = observed(record).outcome
    record = told(record, 0.0, importing(500, 5.0))
    seen = observed(record)
    assert (seen.outcome, seen.active, seen.fragile) == (before, True, True)
    verdict = idleness(record, LATER)
    assert verdict is not None
    assert verdict.exit is Exit.BUSY
    assert "at step importing_messages" in verdict.sentence


@pytest.mark.parametrize(
    ("record", "now", "safe"),
    [
        (workspace("acme"), LATER, None),
        (untouched("acme"), LATER, True),
        (untouched("acme"), LATER + 3_600.0, None),
        (refused(untouched("acme"), 0.0, Reason.CONNECTION, None), LATER, None),
        (note_fault(untouched("acme"), NOW), LATER, None),
        (finished("acme"), LATER, True),
        (refused(finished("acme"), 0.0, Reason.TIMEOUT, None), LATER, None),
        (told(workspace("acme"), 0.0, importing(10, 5.0, step=Step.UNKNOWN)), LATER, None),
        (told(workspace("acme"), 0.0, importing(10, 5.0, step=Step.UNKNOWN, valid=False)), LATER, True),
        (told(workspace("acme"), 0.0, importing(10, 5.0, step=Step.USER_SELECTION)), LATER, True),
        (progress_alone("acme"), LATER, False),
        (running("acme"), LATER, False),
        (running("acme"), LATER + 3_600.0, False),
        (blinking("acme"), LATER, False),
        (lost("acme"), LATER, False),
    ],
)
def test_a_restart_is_safe_only_if_the_last_poll_shows_that_nothing_runs(
    record: Record, now: float, *, safe: bool | None
) -> None:
    """An import that can no longer be seen may still run."""
    assert record.restart_safe(now) is safe


def agree(record: Record, now: float) -> bool:
    """True if the command allows a restart exactly when the record calls it safe."""
    verdict = idleness(record, now)
    passes = verdict is not None and verdict.exit is Exit.DONE
    return passes == (record.restart_safe(now) is True)


def test_command_and_metric_agree_on_a_restart_for_every_kind_of_workspace() -> None:
    """People and scripts look at either of them before a restart."""
    for record in gallery().records.values():
        for now in (LATER, LATER + 100.0, LATER + 3_600.0):
            assert agree(record, now), record.target.name


@given(
    st.lists(st.none() | st.tuples(st.sampled_from(STEPS), st.booleans()), max_size=4),
    st.floats(0.0, 400.0),
)
def test_command_and_metric_agree_on_a_restart_after_any_polls(
    polls: list[tuple[Step, bool] | None], later: float
) -> None:
    record = workspace("acme")
    for index, seen in enumerate(polls):
        at = 15.0 * (len(polls) - index)
        if seen is None:
            record = refused(record, at, Reason.TIMEOUT, None)
        else:
            record = told(record, at, importing(100 * index, at, step=seen[0], valid=seen[1]))
    assert agree(record, NOW + later)


def test_the_command_allows_no_restart_on_stale_data() -> None:
    record = replace(untouched("acme"), last_success=NOW - 600.0)
    verdict = idleness(record, LATER)
    assert verdict is not None
    assert verdict.exit is Exit.FAILED
    assert observed(record).outcome is Outcome.NONE
