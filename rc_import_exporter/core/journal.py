"""What changed from one record to the next, as entries for a log: transitions, not repetitions.

`poller` writes them down; `watch` shows them. An entry never holds more than the page does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import FINISHED, Outcome, Reason
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Track
from rc_import_exporter.core.verdict import sentence


@unique
class Level(StrEnum):
    """How loud an entry is, by the names of the log's levels."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line."""

    level: Level
    event: str
    fields: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))


_LEVELS: Final = {
    Outcome.SUCCEEDED: Level.INFO,
    Outcome.COMPLETED_WITH_ERRORS: Level.WARNING,
    Outcome.DISCARDED: Level.WARNING,
    Outcome.CANCELED: Level.WARNING,
    Outcome.UNCONFIRMED: Level.WARNING,
    Outcome.INCOMPLETE: Level.ERROR,
    Outcome.FAILED: Level.ERROR,
    Outcome.INTERRUPTED: Level.ERROR,
}

_CUTS: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE})


def entries(before: Record, after: Record) -> Iterator[Entry]:
    """What the poll between these two records changed: endpoints first, then operations, then the state."""
    yield from _failures(before, after)
    yield from _recoveries(before, after)
    yield from _finishes(before, after)
    yield from _state(before.observation, after)


def _failures(before: Record, after: Record) -> Iterator[Entry]:
    """One entry for all endpoints that began to fail alike."""
    alike: dict[tuple[Reason, str], list[Feed]] = {}
    for api, feed in after.feeds.items():
        held = before.feeds.get(api)
        if feed.reason is not None and (held is None or held.reason is not feed.reason):
            alike.setdefault((feed.reason, feed.detail), []).append(feed)
    for (reason, detail), feeds in alike.items():
        enough = after.told and all(feed.refused for feed in feeds)
        yield _entry(
            Level.INFO if enough else Level.WARNING,
            "endpoint refused, another one is enough" if enough else "poll failed",
            api=",".join(feed.api for feed in feeds),
            reason=reason,
            detail=detail,
        )


def _recoveries(before: Record, after: Record) -> Iterator[Entry]:
    recovered = [
        api for api, feed in after.feeds.items() if feed.ok and api in before.feeds and not before.feeds[api].ok
    ]
    if recovered:
        yield _entry(Level.INFO, "poll succeeds again", api=",".join(recovered))


def _finishes(before: Record, after: Record) -> Iterator[Entry]:
    for id, track in after.history.tracks.items():
        held = before.history.tracks.get(id)
        known = held is None and track.expected
        # An import that was cut off is told once, and not again when the server writes its last step.
        told = held is not None and (held.outcome is track.outcome or {held.outcome, track.outcome} <= _CUTS)
        if track.outcome in FINISHED and not known and not told:
            yield _entry(_LEVELS[track.outcome], f"import {sentence(track)}", **_names(track))


def _state(before: Observation | None, after: Record) -> Iterator[Entry]:
    now = after.observation
    if now is None or (before is not None and before.state is now.state):
        return
    names = {} if now.track is None else _names(now.track)
    was = {} if before is None else {"was": str(before.state)}
    yield _entry(Level.INFO, "import state", state=now.state, **was, step=now.step, source=now.source, **names)


def _names(track: Track) -> dict[str, str]:
    return {
        "outcome": track.outcome,
        "importer": track.operation.importer,
        "operation_id": track.operation.id,
    }


def _entry(level: Level, event: str, **fields: str) -> Entry:
    return Entry(level=level, event=event, fields=MappingProxyType({name: str(text) for name, text in fields.items()}))
