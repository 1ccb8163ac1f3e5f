"""The page, `watch` and the JSON API show the same progress, and no rate for an import that has stopped."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rc_import_exporter.core import progress
from rc_import_exporter.core.domain import Api, Counts, Kind, Operation, Outcome, Step
from rc_import_exporter.core.snapshot import Feed, Track
from rc_import_exporter.core.thresholds import CLOCKS_AGREE, CLOCKS_DISAGREE
from tests.support.pictures import NOW, running

STEP: Final = Step.IMPORTING_MESSAGES


def track(*pace: tuple[float, int], total: int = 1_000) -> Track:
    """The running import whose processed records moved so."""
    newest = running("acme").history.newest
    assert newest is not None
    counts = Counts(total=total, completed=pace[-1][1] if pace else 0, failed=0)
    return replace(newest, pace=pace, operation=replace(newest.operation, counts=counts))


def operation(step: Step, total: int | None, completed: int) -> Operation:
    """An import in this step."""
    return replace(track().operation, step=step, counts=Counts(total=total, completed=completed, failed=0))


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        (operation(STEP, 200, 50), 0.25),
        (operation(Step.USER_SELECTION, 200, 0), 0.0),
        (operation(Step.DONE, 200, 430), 1.0),
        (operation(Step.NEW, 200, 50), None),
        (operation(Step.PREPARING_USERS, 200, 50), None),
        (operation(STEP, 0, 0), None),
        (operation(STEP, None, 5), None),
        (replace(operation(STEP, 1, 1), counts=None), None),
    ],
    ids=["running", "ready", "twice", "new", "loading", "of nothing", "of unknown", "uncounted"],
)
def test_progress_is_a_share_of_a_total_that_stands(seen: Operation, share: float | None) -> None:
    """While an import loads its total grows, and a share would fall."""
    assert progress.ratio(seen) == share


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        (None, None),
        (Counts(), None),
        (Counts(total=100), 0.0),
        (Counts(total=100, completed=99, failed=1), 0.01),
        (Counts(total=100, completed=9, failed=1), 0.1),
        (Counts(total=100, completed=99, failed=1, staged={Kind.USERS: 2, Kind.CONTACTS: 2}), 0.25),
        (Counts(total=10, completed=0, failed=20), 1.0),
    ],
)
def test_the_share_of_rejected_records_is_one_of_what_can_be_rejected(
    counts: Counts | None, share: float | None
) -> None:
    """Rocket.Chat rejects only people; records that were deselected are never processed."""
    assert progress.failed_ratio(counts) == share


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0 %"), (0.29, "29 %"), (0.999, "99 %"), (1.0, "100 %")])
def test_percents_are_rounded_down(share: float, shown: str) -> None:
    assert progress.percent(share) == shown


@given(st.integers(1, 10**8), st.data())
def test_100_percent_means_that_nothing_is_left(total: int, data: st.DataObject) -> None:
    """People restart Rocket.Chat when they read 100 %."""
    done = data.draw(st.integers(0, total))
    shown = progress.percent(done / total)
    assert shown == f"{100 * done // total} %"
    assert (shown == "100 %") == (done == total)


@pytest.mark.parametrize(
    ("pace", "silence", "moves"),
    [
        (((0.0, 0), (10.0, 100)), 60.0, True),
        (((0.0, 0), (10.0, 100)), 60.1, False),
        (((0.0, 0), (30.0, 100)), 90.0, True),
        (((0.0, 0), (30.0, 100)), 90.1, False),
        (((0.0, 0), (20.0, 50), (60.0, 100)), 90.0, True),
        (((0.0, 0), (20.0, 50), (60.0, 100)), 90.1, False),
        (((0.0, 0),), 0.0, False),
        ((), 0.0, False),
        (((0.0, 100), (10.0, 100)), 0.0, False),
        (((0.0, 0), (0.0, 100)), 0.0, False),
    ],
)
def test_a_rate_ends_a_minute_or_three_gaps_after_the_last_movement(
    pace: tuple[tuple[float, int], ...], silence: float, *, moves: bool
) -> None:
    """A server that writes its counts every half minute has not stopped after a minute."""
    now = (pace[-1][0] if pace else 0.0) + silence
    assert (progress.rate(track(*pace), now) is not None) == moves
    assert (progress.seconds_left(track(*pace), now) is not None) == moves


def test_the_time_left_is_what_is_left_at_the_rate() -> None:
    """An import that does not run has neither, whatever it moved before."""
    moving = track((0.0, 0), (10.0, 100))
    assert progress.rate(moving, 10.0) == 10.0
    assert progress.seconds_left(moving, 10.0) == 90.0
    assert progress.seconds_left(track((0.0, 0), (10.0, 100), total=100), 10.0) is None
    assert progress.rate(replace(moving, outcome=Outcome.INTERRUPTED), 10.0) is None


@pytest.mark.parametrize(
    ("ahead", "there"),
    [(None, NOW), (CLOCKS_AGREE, NOW), (-CLOCKS_AGREE, NOW), (2.1, NOW + 2.1), (-3_600.0, NOW - 3_600.0)],
)
def test_dates_are_compared_with_the_server_s_clock(ahead: float | None, there: float) -> None:
    """Within two seconds the `Date` header cannot tell a difference."""
    feeds = {Api.STATUS: Feed(api=Api.STATUS, at=NOW, answered=NOW, skew=ahead)}
    assert replace(running("acme"), feeds=feeds).server_time(NOW) == pytest.approx(there)


@pytest.mark.parametrize(
    ("date", "moved", "ahead", "shown"),
    [
        (100.0, 100.0, 0.0, 100.0),
        (100.0, 90.0, 10.0, 100.0),
        (100.0, 100.0, 3600.0, 3700.0),
        (100.0, 100.0, -3600.0, 100.0),
        (100.0, 100.0, CLOCKS_DISAGREE, 100.0),
        (100.0, None, 3600.0, 100.0),
        (None, None, 3600.0, None),
    ],
    ids=["right", "ahead before", "set ahead", "set back", "a little", "unknown", "not seen"],
)
def test_a_server_s_clock_that_is_set_ahead_is_no_stall(
    date: float | None, moved: float | None, ahead: float, shown: float | None
) -> None:
    """The import still runs. Its next write, with a date by the new clock, may take minutes."""
    seen = replace(track(), progressed=date, moved=moved)
    feeds = {Api.STATUS: Feed(api=Api.STATUS, at=NOW, answered=NOW, skew=ahead)}
    assert progress.progressed(replace(running("acme"), feeds=feeds), seen) == shown
