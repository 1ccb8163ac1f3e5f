"""How the values of metrics are read: from a workspace's record, or from the snapshot for the exporter as a whole.

Each `of_` function turns a simpler function into a reading. If that gives `None`, there is no sample.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from rc_import_exporter.core.domain import FINISHED, Budget, Counts, Kind, Operation, Outcome, State
from rc_import_exporter.core.progress import progressed
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Snapshot, Track
from rc_import_exporter.metrics.metric import Facts, Labels, Reading, Samples, live_reading, reading

RECENT_OUTCOMES: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.NONE)


def one(value: float | None) -> Samples:
    """The value without labels of its own; no sample for `None`."""
    return () if value is None else (((), value),)


def of_record(read: Callable[[Record], float | None]) -> Reading:
    """A value of the record."""
    return reading(lambda facts: read(facts.record), one)


def of_observation(read: Callable[[Observation], float | None]) -> Reading:
    """No sample once the last answer is too old: nothing is published that may no longer be true."""
    return reading(lambda facts: None if facts.held is None else read(facts.held), one)


def of_operation(read: Callable[[Operation], float | None]) -> Reading:
    """A value of the newest operation."""
    return of_observation(lambda seen: None if seen.operation is None else read(seen.operation))


def of_track(read: Callable[[Track], float | None]) -> Reading:
    """A value of what was seen of the newest operation."""
    return of_observation(lambda seen: None if seen.track is None else read(seen.track))


def of_feeds(read: Callable[[Feed], float | None]) -> Reading:
    """A value of each endpoint."""
    return reading(
        lambda facts: tuple([(api, read(feed)) for api, feed in facts.record.feeds.items()]),
        lambda values: [((("api", api),), value) for api, value in values if value is not None],
    )


def of_budget(read: Callable[[Budget], float | None]) -> Reading:
    """A value of the rate limit of each endpoint."""
    return of_feeds(lambda feed: None if feed.budget is None else read(feed.budget))


def flags(label: str, members: Iterable[StrEnum], current: Callable[[Observation], StrEnum]) -> Reading:
    """1 for the current member of a closed set, 0 for the others."""
    labels = [(member, ((label, member),)) for member in members]
    return reading(
        lambda facts: None if facts.held is None else current(facts.held),
        lambda now: () if now is None else [(each, float(member is now)) for member, each in labels],
    )


UP: Final = reading(lambda facts: float(facts.record.told and facts.held is not None), one)
"""Whether the last poll read the state."""

WORKSPACE_INFO: Final = reading(
    lambda facts: (("url", facts.record.target.url), *facts.record.target.labels.items()),
    lambda labels: ((labels, 1.0),),
)
"""The URL and the configured labels."""

SERVER_INFO: Final = reading(
    lambda facts: facts.record.version,
    lambda version: () if version is None else (((("version", version),), 1.0),),
)
"""The version of Rocket.Chat."""

FAILING: Final = reading(
    lambda facts: tuple([(api, feed.reason) for api, feed in facts.record.feeds.items() if feed.reason is not None]),
    lambda reasons: [((("api", api), ("reason", reason)), 1.0) for api, reason in reasons],
)
"""The reason of each endpoint that fails."""


def _operation_info(facts: Facts) -> Labels | None:
    seen = facts.held
    if seen is None or seen.operation is None:
        return None
    return ("importer", seen.operation.importer), ("operation_id", seen.operation.id), ("source", seen.source)


OPERATION_INFO: Final = reading(_operation_info, lambda labels: () if labels is None else ((labels, 1.0),))
"""What the newest operation is, and which endpoint tells of it."""


def _staged(facts: Facts) -> tuple[tuple[Kind, int], ...]:
    seen = facts.held
    if seen is None or seen.operation is None or seen.operation.counts is None:
        return ()
    return tuple(seen.operation.counts.staged.items())


STAGED_RECORDS: Final = reading(_staged, lambda staged: [((("kind", kind),), count) for kind, count in staged])
"""What is to be imported, by kind."""


def _created(facts: Facts) -> tuple[float, float] | None:
    """When the newest operation was created by the server's clock, and how far that is ahead."""
    seen = facts.held
    if seen is None or seen.operation is None or seen.operation.created is None:
        return None
    return seen.operation.created, facts.record.clock_offset or 0.0


def _age(created: tuple[float, float] | None, now: float) -> Samples:
    return () if created is None else one(max(0.0, round(now + created[1] - created[0], 3)))


OPERATION_AGE: Final = live_reading(_created, _age)
"""Seconds since the newest operation was created, by the server's clock."""

PROGRESS_TIME: Final = reading(
    lambda facts: (
        None if facts.held is None or facts.held.track is None else progressed(facts.record, facts.held.track)
    ),
    one,
)
"""When the newest operation last made progress."""

LAST_FINISHED: Final = reading(
    lambda facts: facts.record.history.last_finished,
    lambda ends: [((("importer", importer), ("outcome", end)), at) for (importer, end), at in sorted(ends.items())],
)
"""When the last import of each importer ended, by outcome."""


def of_last_results(read: Callable[[Counts], float | None]) -> Reading:
    """A value of the counts of the last import of each importer."""
    return reading(
        lambda facts: tuple([(name, read(each.operation.counts or Counts())) for name, each in facts.results.items()]),
        lambda values: [((("importer", name),), value) for name, value in sorted(values) if value is not None],
    )


LAST_DURATIONS: Final = reading(
    lambda facts: facts.record.history.last_duration,
    lambda durations: [
        ((("importer", name),), seconds) for name, (_, seconds) in sorted(durations.items()) if seconds is not None
    ],
)
"""Seconds that the last import of each importer ran."""


def _recent(facts: Facts) -> tuple[Outcome, ...] | None:
    history = facts.record.history
    if history.listed is None or facts.held is None:
        return None
    # `import.status` may have told since then that some of the list are gone.
    return tuple([history.tracks[id].outcome for id in history.listed if id in history.tracks])


RECENT_OPERATIONS: Final = reading(
    _recent,
    lambda outcomes: (
        () if outcomes is None else [((("outcome", each),), outcomes.count(each)) for each in RECENT_OUTCOMES]
    ),
)
"""How many operations of the list ended how."""


def of_expectation(read: Callable[[Record], float | None]) -> Reading:
    """A value of what is expected of the configured importer."""
    return reading(
        lambda facts: (facts.record.target.expect.importer, read(facts.record)),
        lambda expected: () if expected[1] is None else (((("importer", expected[0]),), expected[1]),),
    )


OPERATIONS_FINISHED: Final = reading(
    lambda facts: facts.record.history.finished,
    lambda counts: [((("outcome", each),), counts.get(each, 0)) for each in FINISHED],
)
"""Operations that ended, by outcome."""

STATE_TRANSITIONS: Final = reading(
    lambda facts: facts.record.transitions,
    lambda counts: [((("state", each),), counts.get(each, 0)) for each in State],
)
"""Changes of the state, by the new one."""

POLL_FAILURES: Final = reading(
    lambda facts: facts.record.failures,
    lambda counts: [((("api", api), ("reason", reason)), n) for (api, reason), n in sorted(counts.items())],
)
"""Failed calls, by endpoint and reason."""

REQUESTS: Final = reading(
    lambda facts: facts.record.requests,
    lambda counts: [((("api", api), ("code", code)), n) for (api, code), n in sorted(counts.items())],
)
"""Calls, by endpoint and status code."""


def build_info(snapshot: Snapshot) -> Samples:
    """Versions of the exporter and of Python."""
    build = snapshot.build
    yield (("version", build.version), ("revision", build.revision), ("pythonversion", build.python)), 1.0


def addresses(snapshot: Snapshot) -> Samples:
    """Where people open this exporter and Grafana."""
    yield (("external_url", snapshot.links.external_url), ("grafana_url", snapshot.links.grafana_url)), 1.0


def shard_info(snapshot: Snapshot) -> Samples:
    """Which shard this is, if it is one."""
    if snapshot.shard is not None:
        yield (("index", str(snapshot.shard.index)), ("count", str(snapshot.shard.count))), 1.0
