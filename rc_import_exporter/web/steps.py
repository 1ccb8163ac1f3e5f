"""What to do about a workspace, step by step: alerts come first, then the outcome, then failing endpoints."""

from collections.abc import Iterable, Iterator, Sequence

from rc_import_exporter.core import advice
from rc_import_exporter.core.alerts import Alert, Raised
from rc_import_exporter.core.domain import FEEDS, Outcome, Reason, known_importer
from rc_import_exporter.core.snapshot import Observation, Record
from rc_import_exporter.web.fields import Danger, Problem, Unresolved

_SILENCE = frozenset({Reason.CONNECTION, Reason.TIMEOUT, Reason.PROXY})
"""Reasons that leave open whether the server runs."""


def danger(record: Record, now: float, alerts: Iterable[Raised]) -> Danger | None:
    """Why Rocket.Chat must not be restarted now; `None` if it may, or if that is not known.

    `alerts` are those about the newest operation.
    """
    if record.restart_safe(now) is not False:
        return None
    if record.up(now):
        return Danger.STALLED if any(each.alert is Alert.STALLED for each in alerts) else Danger.RUNS
    silent = any(api in record.feeds and record.feeds[api].reason in _SILENCE for api in FEEDS)
    return Danger.SILENT if silent else Danger.UNREAD


def steps(
    record: Record,
    held: Observation | None,
    alerts: Sequence[Raised],
    problems: Iterable[Problem],
    endangered: Danger | None,
    unresolved: Iterable[Unresolved],
) -> tuple[str, ...]:
    """The steps. `held` is the observation that is not too old, `alerts` are those about the newest operation.

    `unresolved` are the bad ends of earlier imports.
    """
    seen = record.observation
    importer = "" if seen is None or seen.operation is None else seen.operation.importer
    found = list(_steps(record, held, alerts, problems, endangered))
    if (
        held is not None
        and held.outcome is Outcome.WAITING
        and any(each.importer == known_importer(importer) for each in unresolved)
    ):
        found.insert(0, advice.REPEATED)
    return tuple(dict.fromkeys(advice.fitting(found, importer)))


def _steps(
    record: Record,
    held: Observation | None,
    alerts: Sequence[Raised],
    problems: Iterable[Problem],
    endangered: Danger | None,
) -> Iterator[str]:
    failing = [problem for problem in problems if not problem.known_limit]
    if endangered is Danger.SILENT:
        # The first question is whether the server may be started. Nothing else helps against the failing connection.
        yield from advice.SILENT
        failing = [problem for problem in failing if problem.reason is not Reason.CONNECTION]
    elif endangered is Danger.UNREAD:
        yield from advice.UNREAD
    named = {each.alert for each in alerts}
    if record.polls:
        for alert in advice.ALERTS:
            if alert in named:
                yield from advice.ALERTS[alert]
    if held is not None and endangered in (None, Danger.RUNS):
        yield from _of_outcome(held, named)
    for problem in failing:
        yield from problem.advice


def _of_outcome(held: Observation, named: set[Alert]) -> Iterable[str]:
    importer = "" if held.operation is None else held.operation.importer
    # Users who exist already are normal in an API import, unless a limit says how many are too many.
    if held.outcome is Outcome.COMPLETED_WITH_ERRORS and importer == "api" and Alert.COMPLETED_WITH_ERRORS not in named:
        return ()
    return advice.OUTCOMES[held.outcome].advice
