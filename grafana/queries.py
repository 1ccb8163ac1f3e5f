"""PromQL that several panels share. It reads raw metrics only and needs no recording rules.

Replicas, and the pods of a rollout, publish the same workspace. Everything is therefore aggregated by workspace, so
that no panel counts one twice. Two clusters or namespaces can each have a workspace of the same name: `cluster` and
`namespace` tell them apart. Absent labels are equal, so a Prometheus without them sees no difference.
"""

from collections.abc import Sequence
from typing import Final

from grafana.panels import SELECTED_WORKSPACES
from grafana.words import OUTCOMES, STATES, STEPS, UNSEEN, Word
from rc_import_exporter.core.domain import (
    IMPORTING_STEPS,
    KNOWN_IMPORTERS,
    OTHER_IMPORTER,
    UNFINISHED,
    Outcome,
    Step,
)
from rc_import_exporter.metrics.metric import PREFIX

EXPORTER_LABELS: Final = "cluster, namespace, job, instance"
"""The labels of one exporter."""
WORKSPACE_LABELS: Final = "cluster, namespace, workspace"
"""The labels of one workspace."""
IN_CLUSTER: Final = 'cluster=~"$cluster"'
IN_NAMESPACE: Final = f'{IN_CLUSTER}, namespace=~"$namespace"'
OF_JOB: Final = f'{IN_NAMESPACE}, job=~"$job"'
SCRAPED: Final = f'{OF_JOB}, instance=~"$instance"'
SELECTED: Final = f"{SCRAPED}, {SELECTED_WORKSPACES}"
NAME: Final = "{{workspace}} {{namespace}} {{cluster}}"
"""The name of a series of one workspace among many. Grafana leaves out absent labels."""
PACE_WINDOW: Final = 600
"""Seconds over which the pace is measured. Counts are written every 50 to 500 records, so a shorter time is noise."""

SUCCESSES: Final = (Outcome.SUCCEEDED, Outcome.COMPLETED_WITH_ERRORS)
"""An import that is done and was not cut off is a success."""

_FRAGILE: Final = (Outcome.LOADING, Outcome.RUNNING)
_MEASURED: Final = tuple(
    step
    for step in Step
    if step in IMPORTING_STEPS or step in {Step.USER_SELECTION, Step.DONE, Step.IMPORT_FAILED, Step.IMPORT_CANCELLED}
)
"""Before these steps the total still grows, so progress is not known."""


def series(name: str, *matchers: str, selector: str = SELECTED) -> str:
    """The selector of a metric; `name` has no prefix."""
    return f"{PREFIX}{name}{{{', '.join([selector, *matchers])}}}"


def each(name: str, *labels: str, matchers: Sequence[str] = ()) -> str:
    """A gauge of each workspace, or of each workspace and these labels, whichever exporter publishes it."""
    return f"max by ({', '.join([WORKSPACE_LABELS, *labels])}) ({series(name, *matchers)})"


def one_of(label: str, members: Sequence[str]) -> str:
    """A matcher for these values of a label."""
    return f'{label}="{members[0]}"' if len(members) == 1 else f'{label}=~"{"|".join(members)}"'


def one_of_each(expr: str) -> str:
    """Only one of the series of each workspace, if exporters differ in other labels."""
    return f"topk by ({WORKSPACE_LABELS}) (1, {expr})"


def is_one_of(name: str, members: Sequence[str]) -> str:
    """A series with value 1 for each workspace whose state, step or outcome is one of these."""
    return f"{each(name, matchers=[one_of(name, members)])} == 1"


def where(expr: str, condition: str) -> str:
    """The expression for only those workspaces that meet the condition."""
    return f"(({expr})\nand on ({WORKSPACE_LABELS}) ({condition}))"


def by_known_importer(name: str, *matchers: str) -> str:
    """The series of each importer. Like the series of finished imports, it calls one that is not known "other"."""
    known = f'label_replace({series(name, *matchers)}, "known", "yes", "importer", "{"|".join(KNOWN_IMPORTERS)}")'
    named = f'label_replace({known}, "importer", "{OTHER_IMPORTER}", "known", "")'
    return f"max by ({WORKSPACE_LABELS}, importer) ({named})"


def number_of(name: str, words: Sequence[Word]) -> str:
    """The position of a workspace's state, step or outcome in `words`; the greatest if exporters differ.

    A configured workspace whose state is not known gets the number `UNSEEN`.
    """
    members = [f"{place} * ({series(name, one_of(name, [word.value]))} == 1)" for place, word in enumerate(words)]
    known = "\n  or ".join(reversed(members))
    return f"max by ({WORKSPACE_LABELS}) (\n  {known}\n)\nor {each('up')} * 0 + {UNSEEN}"


def by_word(expr: str, function: str = "sum") -> str:
    """The series by outcome, added up by `word`: an outcome that stands for all outcomes with the same word."""
    same = f'label_replace({expr}, "word", "$1", "outcome", "(.*)")'
    for word in OUTCOMES:
        first = next(other for other in OUTCOMES if other.text == word.text)
        if first is not word:
            same = f'label_replace({same}, "word", "{first.value}", "outcome", "{word.value}")'
    return f"{function} by (word) ({same})"


OUTCOME: Final = number_of("outcome", OUTCOMES)
STATE: Final = number_of("state", STATES)
STEP: Final = number_of("step", STEPS)

RUNNING: Final = is_one_of("outcome", [Outcome.RUNNING])
FRAGILE: Final = is_one_of("outcome", _FRAGILE)
TROUBLED: Final = is_one_of("outcome", [Outcome.FAILED, Outcome.INCOMPLETE, Outcome.INTERRUPTED, Outcome.UNCONFIRMED])
ALIVE: Final = is_one_of("outcome", UNFINISHED)

PROCESSED: Final = f"({each('operation_records_completed')} + {each('operation_records_failed')})"
TOTAL: Final = each("operation_records")
PROGRESS: Final = where(f"clamp_max({PROCESSED} / ({TOTAL} > 0), 1)", is_one_of("step", _MEASURED))

_STAGED_PEOPLE: Final = each("operation_staged_records", "kind", matchers=[one_of("kind", ["users", "contacts"])])
_REJECTABLE: Final = (
    f"min by ({WORKSPACE_LABELS}) (\n"
    f'  label_replace({PROCESSED} > 0, "of", "processed", "", "")\n'
    f'  or label_replace({TOTAL} > 0, "of", "all", "", "")\n'
    f'  or label_replace(sum by ({WORKSPACE_LABELS}) ({_STAGED_PEOPLE}) > 0, "of", "people", "", "")\n)'
)
REJECTED_SO_FAR: Final = where(f"clamp_max({each('operation_records_failed')} / {_REJECTABLE}, 1)", RUNNING)
"""The share of rejected records of a running import, by the least of what can be rejected, like HighErrorRatio."""

OFFSET: Final = f"({each('server_clock_offset_seconds')} or {each('up')} * 0)"
"""Seconds that the clock of a workspace's server is ahead. The server's timestamps are by that clock."""
_SERVER_TIME: Final = f"(time() + {OFFSET})"


def since(name: str, *matchers: str) -> str:
    """The seconds since a timestamp of the server."""
    return f"({_SERVER_TIME} - {each(name, matchers=matchers)})"


def since_of_importer(name: str, *matchers: str) -> str:
    """The seconds since a timestamp of the server, for each importer."""
    of_importer = each(name, "importer", matchers=matchers)
    return f"({_SERVER_TIME} - on ({WORKSPACE_LABELS}) group_right () {of_importer})"


def our_milliseconds(name: str, *matchers: str) -> str:
    """A timestamp of the server, corrected to the clock of the time axis, in the milliseconds that Grafana shows."""
    return f"({each(name, matchers=matchers)} - {OFFSET}) * 1000"


RUN_AGE: Final = since("operation_run_started_timestamp_seconds")
_SINCE_START: Final = f"({PROCESSED} / ({RUN_AGE} > 0) and on ({WORKSPACE_LABELS}) {RUN_AGE} < {PACE_WINDOW})"
_LATELY: Final = (
    f"max by ({WORKSPACE_LABELS}) (\n"
    f"  deriv({series('operation_records_completed')}[{PACE_WINDOW}s])\n"
    f"  + deriv({series('operation_records_failed')}[{PACE_WINDOW}s])\n)"
)
PACE: Final = where(f"{_SINCE_START}\nor {_LATELY}", RUNNING)
"""Records per second of a running import over the last 10 min, or since its run started if that is later."""
_OF_FILE: Final = f"""and on ({WORKSPACE_LABELS}) {series("operation_info", 'importer!="api"')}"""
_BEFORE_7: Final = f"""on ({WORKSPACE_LABELS}) {series("server_info", 'version=~"[0-6]([.].*)?"')}"""
_COUNTED_TWICE: Final = (
    f"(\n  {each('operation_records_failed')} {_OF_FILE} and {_BEFORE_7}\n"
    f"  or {each('operation_staged_records', matchers=[one_of('kind', ['users'])])} {_OF_FILE} unless {_BEFORE_7}\n"
    f"  or {TOTAL} * 0\n)"
)
"""A file import counts each user twice since 7.0. Before, it counted a rejected user as completed too."""
LEFT: Final = f"(clamp_min({TOTAL} - {PROCESSED} + on ({WORKSPACE_LABELS}) {_COUNTED_TWICE}, 0)\n/ ({PACE} > 0))"
"""Seconds until a running import is done at that pace; absent while it makes no progress."""

DATA_AGE: Final = f"time() - {each('last_successful_poll_timestamp_seconds')}"

BANNER: Final = f"max(2 * ({FRAGILE}))\nor max({each('up')} == bool 0) > 0\nor max({each('up')}) * 0"
"""2 while an import loads or runs, 1 if the state of a workspace is not known, else 0."""
