"""Mutated answers raise nothing and publish nothing odd. `make fuzz` tries a million."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import pytest

from rc_import_exporter.core.domain import Api, Reason
from rc_import_exporter.rocketchat.diagnosis import Response
from tests.endurance import fuzz
from tests.endurance.mutation import mutated

pytestmark = [pytest.mark.once]

EXECUTIONS: Final = 2_000


def test_mutated_answers_are_read_folded_and_published() -> None:
    """Most are refused, and some are taken: otherwise the mutations would prove nothing."""
    *_, tally = fuzz.run(EXECUTIONS)
    assert tally.findings == []
    assert tally.executions >= EXECUTIONS
    for word in (Reason.INVALID, "StatusAnswer", "ListAnswer", "ProgressAnswer", "InfoAnswer"):
        assert sum(n for what, n in tally.results.items() if word in what) > EXECUTIONS / 100, word


FOUND: Final[Mapping[str, Sequence[bytes]]] = {
    "the web page had no words for an end between two polls of an operation without dates": (
        b'[{"_id":"a","status":"importer_importing_users","valid":true}]',
        b'[{"_id":"a","status":"importer_done","valid":false}]',
    ),
}
"""Lists that were once taken wrongly, and how."""


@pytest.mark.parametrize("bodies", FOUND.values(), ids=FOUND)
def test_what_was_once_found_stays_mended(bodies: Sequence[bytes]) -> None:
    published = fuzz.Published()
    life = fuzz.Life(0, 0, published)
    for body in bodies:
        life.take({Api.LIST: Response(status=200, headers={}, body=body)})
        published.show()


def test_a_life_can_be_played_again() -> None:
    """A finding is worth nothing if nobody can see it again."""
    assert mutated(Random("0 1"), Api.LIST).body == mutated(Random("0 1"), Api.LIST).body
    (one,), (other,) = ([*fuzz.run(20, seed=3, first=7)] for _ in range(2))
    assert one.results == other.results


def test_a_finding_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit that every page exceeds stands for a fault."""
    monkeypatch.setattr(fuzz, "MOST_SERIES", 10)
    monkeypatch.setattr("sys.argv", ["fuzz", "--executions", "20"])
    assert fuzz.main() == 1
    assert "AssertionError" in capsys.readouterr().out
