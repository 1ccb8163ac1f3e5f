"""The functions that read the values of metrics: from a record, or from the snapshot for the exporter as a whole.

Each `of_` function turns a simpler function into one that gives samples. If that gives `None`, there is no sample.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final

from rc_import_exporter.core.domain import FINISHED, Budget, Counts, Operation, Outcome, State
from rc_import_exporter.core.progress import progressed
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Snapshot, Track
from rc_import_exporter.metrics.metric import Labels, Samples

RECENT_OUTCOMES: Final = tuple(outcome for outcome in Outcome if outcome is not Outcome.NONE)


def one(value: float | None) -> Samples:
    """The value without labels of its own; no sample for `None`."""
    return () if value is None else (((), value),)


def of_record(read: Callable[[Record], float | None]) -> Callable[[Record, float], Samples]:
    """A value of the record."""
    return lambda record, now: one(read(record))


def of_observation(read: Callable[[Observation], Samples]) -> Callable[[Record, float], Samples]:
    """No sample once the last answer is too old: nothing is published that may no longer be true."""

    def samples(record: Record, now: float) -> Samples:
        observation = record.held(now)
        return () if observation is None else read(observation)

    return samples


def of_operation(read: Callable[[Operation], float | None]) -> Callable[[Record, float], Samples]:
    """A value of the newest operation."""
    return of_observation(lambda seen: () if seen.operation is None else one(read(seen.operation)))


def of_track(read: Callable[[Track], float | None]) -> Callable[[Record, float], Samples]:
    """A value of what was seen of the newest operation."""
    return of_observation(lambda seen: () if seen.track is None else one(read(seen.track)))


def of_feeds(read: Callable[[Feed], float | None]) -> Callable[[Record, float], Samples]:
    """A value of each endpoint."""

    def samples(record: Record, now: float) -> Iterator[tuple[Labels, float]]:
        for api, feed in record.feeds.items():
            if (value := read(feed)) is not None:
                yield (("api", api),), value

    return samples


def of_budget(read: Callable[[Budget], float | None]) -> Callable[[Record, float], Samples]:
    """A value of the rate limit of each endpoint."""
    return of_feeds(lambda feed: None if feed.budget is None else read(feed.budget))


def flags(label: str, members: Iterable[StrEnum], current: StrEnum) -> Samples:
    """1 for the current member of a closed set, 0 for the others."""
    return [(((label, member),), float(member is current)) for member in members]


def workspace_info(record: Record, now: float) -> Samples:
    """The URL and the configured labels."""
    yield (("url", record.target.url), *record.target.labels.items()), 1.0


def failing(record: Record, now: float) -> Samples:
    """The reason of each endpoint that fails."""
    for api, feed in record.feeds.items():
        if feed.reason is not None:
            yield (("api", api), ("reason", feed.reason)), 1.0


def operation_info(seen: Observation) -> Samples:
    """What the newest operation is, and which endpoint tells of it."""
    if seen.operation is not None:
        labels = ("importer", seen.operation.importer), ("operation_id", seen.operation.id), ("source", seen.source)
        yield labels, 1.0


def staged_records(seen: Observation) -> Samples:
    """What is to be imported, by kind."""
    if seen.operation is not None and seen.operation.counts is not None:
        for kind, count in seen.operation.counts.staged.items():
            yield (("kind", kind),), count


def operation_age(record: Record, now: float) -> Samples:
    """Seconds since the newest operation was created, by the server's clock."""
    observation = record.held(now)
    if observation is not None and observation.operation is not None and observation.operation.created is not None:
        yield (), max(0.0, round(record.server_time(now) - observation.operation.created, 3))


def progress_time(record: Record, now: float) -> Samples:
    """When the newest operation last made progress."""
    observation = record.held(now)
    return () if observation is None or observation.track is None else one(progressed(record, observation.track))


def last_finished(record: Record, now: float) -> Samples:
    """When the last import of each importer ended, by outcome."""
    for (importer, outcome), at in sorted(record.history.last_finished.items()):
        yield (("importer", importer), ("outcome", outcome)), at


def of_last_results(read: Callable[[Counts], float | None]) -> Callable[[Record, float], Samples]:
    """A value of the counts of the last import of each importer."""

    def samples(record: Record, now: float) -> Samples:
        for importer, track in sorted(record.history.last_results.items()):
            if (value := read(track.operation.counts or Counts())) is not None:
                yield (("importer", importer),), value

    return samples


def last_durations(record: Record, now: float) -> Samples:
    """Seconds that the last import of each importer ran."""
    for importer, (_, seconds) in sorted(record.history.last_duration.items()):
        if seconds is not None:
            yield (("importer", importer),), seconds


def recent_operations(record: Record, now: float) -> Samples:
    """How many operations of the list ended how."""
    listed = record.history.listed
    if listed is None or record.held(now) is None:
        return
    outcomes = [record.history.tracks[id].outcome for id in listed]
    for outcome in RECENT_OUTCOMES:
        yield (("outcome", outcome),), outcomes.count(outcome)


def of_expectation(read: Callable[[Record], float | None]) -> Callable[[Record, float], Samples]:
    """A value of what is expected of the configured importer."""

    def samples(record: Record, now: float) -> Samples:
        if (value := read(record)) is not None:
            yield (("importer", record.target.expect.importer),), value

    return samples


def operations_finished(record: Record, now: float) -> Samples:
    """Operations that ended, by outcome."""
    return [((("outcome", each),), record.history.finished.get(each, 0)) for each in FINISHED]


def state_transitions(record: Record, now: float) -> Samples:
    """Changes of the state, by the new one."""
    return [((("state", each),), record.transitions.get(each, 0)) for each in State]


def poll_failures(record: Record, now: float) -> Samples:
    """Failed calls, by endpoint and reason."""
    return [((("api", api), ("reason", reason)), n) for (api, reason), n in sorted(record.failures.items())]


def requests(record: Record, now: float) -> Samples:
    """Calls, by endpoint and status code."""
    return [((("api", api), ("code", code)), n) for (api, code), n in sorted(record.requests.items())]


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
