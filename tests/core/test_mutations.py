"""The tests of the verdict notice small changes of its code: every row, comparison and limit is there for a reason."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Final

import pytest

from rc_import_exporter.core import history, progress, tracking, verdict
from tests.core import test_history, test_progress, test_tracking, test_verdict
from tests.laws import test_truth
from tests.support.mutations import Case, Function, Mutant, cases, mutants

pytestmark = pytest.mark.once

TESTS: Final = (test_tracking, test_history, test_verdict, test_progress, test_truth)
EQUIVALENT: Final[Mapping[str, str]] = {
    "tracking.goes_on: after > before -> after >= before": "they differ there",
    "tracking._created_at: abs(at - start) <= SAME_INSTANT -> abs(at - start) < SAME_INSTANT": (
        "the difference of two floats of today's size is never exactly 0.02"
    ),
    "history._without_gone: there.isdisjoint(history.gone) and (not (complete and history.tracks.keys() - there))"
    " -> never": "what follows changes nothing then, and takes longer",
    "history._without_gone: complete and history.tracks.keys() - there -> complete or history.tracks.keys() - there": (
        "the same"
    ),
    "history._is_new: history.horizon is None -> never": "the first poll has set it",
    "history._forget: history.horizon is None -> never": "the first poll has set it",
    "history._forget: history.current -> dropped": "the newest is never among the oldest",
}
"""Changes that no test can notice, and why."""


def test_every_change_is_noticed() -> None:
    """Tests that cannot fail prove nothing. Of about 500 changes all but the equivalent ones make a case fail."""
    modules = verdict, tracking, history, progress
    callers = _callers(modules)
    made: set[str] = set()
    unnoticed: set[str] = set()
    for mutant in (each for module in modules for each in mutants(module)):
        made.add(str(mutant))
        if str(mutant) not in EQUIVALENT and not _is_noticed(mutant, callers):
            unnoticed.add(str(mutant))
    assert unnoticed == set()
    assert made >= EQUIVALENT.keys()
    assert len(made) > 400


def _callers(modules: Iterable[ModuleType]) -> Mapping[Function, list[Case]]:
    """The cases that call each function, the shorter ones first."""
    files = frozenset(str(each.__file__) for each in modules)
    found: dict[Function, list[Case]] = defaultdict(list)
    counted = [(case.calls(files), case) for module in TESTS for case in cases(module)]
    for calls, case in sorted(counted, key=lambda each: each[0].total()):
        for function in calls:
            found[function].append(case)
    return found


def _is_noticed(mutant: Mutant, callers: Mapping[Function, list[Case]]) -> bool:
    """Whether a case fails. It is tried first for the next change of these functions."""
    with mutant.made():
        for function in mutant.functions:
            for case in callers[function]:
                if not case.passes():
                    callers[function].remove(case)
                    callers[function].insert(0, case)
                    return True
    return False
