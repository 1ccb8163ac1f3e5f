"""PromQL that several panels share. All of it reads raw metrics: no stack is assumed to have recording rules.

Two replicas, and the pods of a roll-out, tell of the same workspace: everything is aggregated by workspace, so that no
panel doubles.
"""

from collections.abc import Sequence
from typing import Final

from grafana.words import OUT_OF_SIGHT, OUTCOMES, STATES, STEPS, Word
from rc_import_exporter.core.domain import FINISHED, IMPORTING_STEPS, UNFINISHED, Outcome, Step
from rc_import_exporter.metrics.catalogue import PREFIX

SCRAPED: Final = 'job=~"$job", instance=~"$instance"'
SELECTED: Final = f'{SCRAPED}, workspace=~"$workspace"'
PACE_WINDOW: Final = 600
"""Seconds over which the pace is measured: counts are written every 50 to 500 records, so less would be noise."""

SUCCESSES: Final = (Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS)
"""A done that was not cut off is a success."""

_FRAGILE: Final = (Outcome.LOADING, Outcome.RUNNING)
_MEASURED: Final = tuple(
    step
    for step in Step
    if step in IMPORTING_STEPS or step in {Step.USER_SELECTION, Step.DONE, Step.IMPORT_FAILED, Step.IMPORT_CANCELLED}
)
"""Before these the total still grows, so a share of it means nothing."""


def series(name: str, *matchers: str, selector: str = SELECTED) -> str:
    """A metric's selector; the name is without the exporter's prefix."""
    return f"{PREFIX}{name}{{{', '.join([selector, *matchers])}}}"


def each(name: str, *labels: str, matchers: Sequence[str] = ()) -> str:
    """A workspace's gauge, whichever exporter tells it; with labels, one for each of them."""
    return f"max by ({', '.join(['workspace', *labels])}) ({series(name, *matchers)})"


def one_of(label: str, members: Sequence[str]) -> str:
    """The matcher for some members of a closed set."""
    return f'{label}="{members[0]}"' if len(members) == 1 else f'{label}=~"{"|".join(members)}"'


def is_one_of(name: str, members: Sequence[str]) -> str:
    """The workspaces whose state, step or outcome is one of these, as series of value 1."""
    return f"{each(name, matchers=[one_of(name, members)])} == 1"


def where(expr: str, condition: str) -> str:
    """An expression for those workspaces only that meet a condition."""
    return f"(({expr})\nand on (workspace) ({condition}))"


def number_of(name: str, words: Sequence[Word], lost: int = OUT_OF_SIGHT) -> str:
    """The place of a workspace's state, step or outcome among the words, the later one where exporters differ.

    A workspace that is configured and of which nothing is held gets the number `lost`.
    """
    members = [f"{place} * ({series(name, one_of(name, [word.value]))} == 1)" for place, word in enumerate(words)]
    told = "\n  or ".join(reversed(members))
    return f"max by (workspace) (\n  {told}\n)\nor {each('up')} * 0 + {lost}"


OUTCOME: Final = number_of("outcome", OUTCOMES)
STATE: Final = number_of("state", STATES)
STEP: Final = number_of("step", STEPS, OUT_OF_SIGHT + len(STEPS))

RUNNING: Final = is_one_of("outcome", [Outcome.RUNNING])
FRAGILE: Final = is_one_of("outcome", _FRAGILE)
TROUBLED: Final = is_one_of("outcome", [Outcome.FAILED, Outcome.INCOMPLETE, Outcome.INTERRUPTED])
ENDED: Final = is_one_of("outcome", FINISHED)
ALIVE: Final = is_one_of("outcome", UNFINISHED)

PROCESSED: Final = f"({each('operation_records_completed')} + {each('operation_records_failed')})"
TOTAL: Final = each("operation_records")
PROGRESS: Final = where(f"clamp_max({PROCESSED} / ({TOTAL} > 0), 1)", is_one_of("step", _MEASURED))

_RUN_AGE: Final = f"(time() - {each('operation_run_started_timestamp_seconds')})"
_SINCE_START: Final = f"({PROCESSED} / ({_RUN_AGE} > 0) and on (workspace) {_RUN_AGE} < {PACE_WINDOW})"
_LATELY: Final = (
    "max by (workspace) (\n"
    f"  deriv({series('operation_records_completed')}[{PACE_WINDOW}s])\n"
    f"  + deriv({series('operation_records_failed')}[{PACE_WINDOW}s])\n)"
)
PACE: Final = where(f"{_SINCE_START}\nor {_LATELY}", RUNNING)
"""Records per second of a running import: over the last 10 min, or since it began to import if that is later."""
LEFT: Final = f"(clamp_min({TOTAL} - {PROCESSED}, 0)\n/ ({PACE} > 0))"
"""Seconds until a running import is through, at that pace; absent while it does not move."""

DATA_AGE: Final = f"time() - {each('last_successful_poll_timestamp_seconds')}"

BANNER: Final = f"max(2 * ({FRAGILE}))\nor max({each('up')} == bool 0) > 0\nor max({each('up')}) * 0"
"""2 while anything loads or runs, 1 where it cannot be told, else 0."""
