"""The exporter's statements in random worlds are true, or bounds, or could not be known.

`make worlds` plays many more worlds. A failure names seeds and shows the shortest log.
"""

from typing import Final

import pytest

from tests.laws.claims import Kind, Row
from tests.laws.narrative import narrate
from tests.laws.world_table import Table, tabulate

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("worlds")]

NUMBER: Final = 2500
NEVER: Final = (
    Row.FALSE_SUCCESS,
    Row.FALSE_CUT,
    Row.UNCONFIRMED_SEALED,
    Row.OUTCOME,
    Row.DURATION,
    Row.FINISHED,
    Row.RUN_STARTED,
    Row.RUN_BOUNDS,
    Row.DATED,
    Row.MOVED,
    Row.AGE,
    Row.STALL,
    Row.WAITING,
    Row.RESTART,
    Row.CURRENT,
    Row.STARTED,
    Row.ENDED,
    Row.RECORDS,
    Row.FALLING,
    Row.LAST_RESULT,
    Row.LAST_DURATION,
    Row.REPAIRED,
    Row.UNREPAIRED,
)
SELDOM: Final = {Row.CAUSE: 0.03, Row.END_BOUNDS: 0.005, Row.LEFT: 0.05}
"""What is told by the likeliest explanation, and the share in which another one was true."""


@pytest.fixture(scope="module")
def table() -> Table:
    return tabulate(range(NUMBER))


def logs(table: Table, row: Row) -> str:
    """All seeds in which a row was wrong, and the shortest log."""
    wrong = table.wrong(row)
    found = [f"{seed} {number} {finding.id}: {finding.text}" for seed, number, finding in wrong]
    told = [narrate(seed, number, filter(None, [finding.id])) for seed, number, finding in wrong]
    return "\n".join([row, *found, min(told, key=len, default="")])


@pytest.mark.parametrize("row", NEVER)
def test_no_statement_is_wrong_that_could_have_been_right(table: Table, row: Row) -> None:
    assert not table.wrong(row), logs(table, row)


@pytest.mark.parametrize("row", SELDOM)
def test_the_likeliest_explanation_is_seldom_wrong(table: Table, row: Row) -> None:
    assert table.share(row) <= SELDOM[row], logs(table, row)


def test_what_was_followed_is_seldom_left_open(table: Table) -> None:
    """Otherwise `unconfirmed` for everything would pass."""
    assert table.share(Row.UNCONFIRMED_CUT, Kind.FOLLOWED) < 0.3
    assert table.share(Row.UNCONFIRMED_WELL, Kind.FOLLOWED) < 0.1
    assert table.share(Row.UNCONFIRMED_WELL, Kind.FOUND) < 0.05


@pytest.mark.parametrize("row", [*NEVER, *SELDOM])
def test_every_kind_of_statement_is_made(table: Table, row: Row) -> None:
    """Otherwise the worlds would prove nothing about it."""
    assert sum(table.cell(row, kind).stated for kind in Kind) > 100
