"""Compares a workspace's record before and after a poll, and says what to log: changes, never repetitions.

An entry holds nothing that the page does not show.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from logging import ERROR, INFO, WARNING
from typing import Final

from rc_import_exporter.core.domain import FINISHED, Outcome, Reason
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Track
from rc_import_exporter.core.tracking import age_key
from rc_import_exporter.core.verdict import sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of the log. `level` is one of the numbers of Python's `logging`."""

    level: int
    event: str
    fields: Mapping[str, str]


_LEVELS: Final = {
    Outcome.SUCCEEDED: INFO,
    Outcome.COMPLETED_WITH_ERRORS: WARNING,
    Outcome.DISCARDED: WARNING,
    Outcome.CANCELED: WARNING,
    Outcome.UNCONFIRMED: WARNING,
    Outcome.INCOMPLETE: ERROR,
    Outcome.FAILED: ERROR,
    Outcome.INTERRUPTED: ERROR,
}

MOST_ENDS: Final = 100
"""Ends of imports that one poll logs one by one.

A server lists 20 operations, so an answer with more is not from Rocket.Chat.
"""
_CUTS: Final = frozenset({Outcome.INTERRUPTED, Outcome.INCOMPLETE})


def entries(before: Record, after: Record) -> Iterator[LogEntry]:
    """What the poll changed: endpoints first, then operations, then the state. The end of an import is one line."""
    yield from _failures(before, after)
    yield from _recoveries(before, after)
    yield from _finishes(before, after)
    yield from _state(before, after)


def _failures(before: Record, after: Record) -> Iterator[LogEntry]:
    """One entry for all endpoints that began to fail for the same reason, so that one outage is one line."""
    alike: dict[tuple[Reason, str], list[Feed]] = {}
    for api, feed in after.feeds.items():
        held = before.feeds.get(api)
        if feed.reason is not None and (held is None or held.reason is not feed.reason):
            alike.setdefault((feed.reason, feed.detail), []).append(feed)
    for (reason, detail), feeds in alike.items():
        # Not a warning if the token simply may not use this endpoint and another one tells the state.
        enough = after.told and all(feed.refused for feed in feeds)
        yield _entry(
            INFO if enough else WARNING,
            "endpoint refused, another one is enough" if enough else "poll failed",
            api=",".join(feed.api for feed in feeds),
            reason=reason,
            detail=detail,
        )


def _recoveries(before: Record, after: Record) -> Iterator[LogEntry]:
    recovered = [
        api for api, feed in after.feeds.items() if feed.ok and api in before.feeds and not before.feeds[api].ok
    ]
    if recovered:
        yield _entry(INFO, "poll succeeds again", api=",".join(recovered))


def _finishes(before: Record, after: Record) -> Iterator[LogEntry]:
    """One entry for each import that ended, oldest first. Those beyond the newest `MOST_ENDS` share one entry."""
    ended = [track for track in after.history.tracks.values() if _is_news(before, track)]
    newest = sorted(ended, key=lambda track: age_key(track.operation))[-MOST_ENDS:]
    if len(ended) > len(newest):
        yield _entry(WARNING, "more imports ended between two polls", count=str(len(ended) - len(newest)))
    for track in newest:
        state = _state_fields(before.observation, after.observation, track)
        yield _entry(_LEVELS[track.outcome], f"import {sentence(track)}", **state, **_names(track))


def _is_news(before: Record, track: Track) -> bool:
    """Whether this operation has ended since the record before."""
    held = before.history.tracks.get(track.operation.id)
    # An import that had finished before the first poll is not news.
    known = held is None and track.expected
    # A cut is logged once, and not again when the server writes the last step.
    told = held is not None and (held.outcome is track.outcome or {held.outcome, track.outcome} <= _CUTS)
    return track.outcome in FINISHED and not known and not told


def _state(before: Record, after: Record) -> Iterator[LogEntry]:
    now, was = after.observation, before.observation
    if now is None or (was is not None and was.state is now.state):
        return
    if now.track is None or not _is_an_end(before, now.track):
        names = {} if now.track is None else _names(now.track)
        yield _entry(INFO, "import state", **_state_fields(was, now, now.track), **names)


def _is_an_end(before: Record, track: Track) -> bool:
    """Whether the state is new because this operation ended. Then the line about its end says so."""
    held = before.history.tracks.get(track.operation.id)
    return track.outcome in FINISHED and (not track.expected if held is None else held.state is not track.state)


def _state_fields(before: Observation | None, now: Observation | None, track: Track | None) -> dict[str, str]:
    """The state and where it was read, if it is the state of this operation."""
    if now is None or now.track is not track:
        return {}
    was = {} if before is None else {"was": str(before.state)}
    return {"state": now.state, **was, "step": now.step, "source": now.source}


def _names(track: Track) -> dict[str, str]:
    operation = track.operation
    return {"outcome": track.outcome, "importer": operation.importer, "operation_id": operation.id}


def _entry(level: int, event: str, **fields: str) -> LogEntry:
    return LogEntry(level=level, event=event, fields={name: str(text) for name, text in fields.items()})
