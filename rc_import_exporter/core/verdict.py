"""The outcome of an operation, and the sentence that says why.

`judge` has an answer for everything that a server can send and everything that can have been seen before.
"""

import re
from dataclasses import replace
from typing import Final

from rc_import_exporter.core.domain import (
    IMPORTING_STEPS,
    LOADING_STEPS,
    WAITING_STEPS,
    Counts,
    Kind,
    Operation,
    Outcome,
    State,
    Step,
)
from rc_import_exporter.core.progress import accounted
from rc_import_exporter.core.snapshot import Cause, Evidence, Moment, Track
from rc_import_exporter.core.thresholds import SLACK, SLACK_OF_USERS

DOUBLING_SINCE: Final = 7
"""Since this major release, file imports count their users twice."""
NEARLY_THE_SAME: Final = 1.25
"""If two bounds of a duration differ by less than this factor, the sentence gives one duration with "about"."""

_MAJOR: Final = re.compile(r"\d+")


def judge(operation: Operation, evidence: Evidence) -> Outcome:
    """The outcome of the first row that matches. A missing `valid` is false, a missing count 0."""
    step = operation.step
    if step is Step.DONE:
        return _judge_done(operation, evidence)
    if step is Step.IMPORT_FAILED:
        return Outcome.FAILED
    if step is Step.IMPORT_CANCELLED:
        return Outcome.CANCELED
    if step in WAITING_STEPS:
        return Outcome.WAITING if operation.valid else Outcome.DISCARDED
    if step in LOADING_STEPS:
        return Outcome.LOADING if operation.valid else Outcome.INTERRUPTED
    if step in IMPORTING_STEPS:
        return Outcome.RUNNING if operation.valid else Outcome.INTERRUPTED
    return Outcome.UNKNOWN


def _judge_done(operation: Operation, evidence: Evidence) -> Outcome:
    """A server also says "done" of an import that was cut off, unless it is still valid.

    Counts cannot prove that an import ended well: users count twice, and attachments are in no total. Too low counts
    prove that it was cut off only if it was followed, because deselected records stay in the total.
    """
    counts = operation.counts or Counts()
    ended = Outcome.COMPLETED_WITH_ERRORS if counts.failed else Outcome.SUCCEEDED
    if operation.valid or evidence.sealed:
        return ended
    if evidence.cut or evidence.next_before_end:
        return Outcome.INCOMPLETE
    if evidence.next_at_end:
        return ended
    if evidence.alive:
        short = accounted(operation, doubles=evidence.doubles) + slack_of(operation) < (counts.total or 0)
        return Outcome.INCOMPLETE if short else Outcome.UNCONFIRMED
    return ended if is_complete(operation, doubles=evidence.doubles) else Outcome.UNCONFIRMED


def is_complete(operation: Operation, *, doubles: bool) -> bool:
    """Whether as many records were processed as there are, even if each staged user counts twice."""
    counts = operation.counts or Counts()
    twice = counts.staged.get(Kind.USERS, 0) if doubles else 0
    return not counts.total or accounted(operation, doubles=doubles) >= counts.total + twice


def counts_twice(operation: Operation, version: str | None) -> bool:
    """Whether this import may count its users twice: file imports do since 7.0, so with an unknown version they may."""
    if operation.importer == "api" or not operation.dated_as_text:
        return False
    major = _MAJOR.match(version or "")
    return major is None or int(major[0]) >= DOUBLING_SINCE


def slack_of(operation: Operation) -> int:
    """Records by which the counts of this operation may be too low."""
    counts = operation.counts
    with_messages = counts is not None and counts.staged.get(Kind.MESSAGES, 0) > 0
    return SLACK if with_messages or not operation.dated_as_text else SLACK_OF_USERS


def told_by_progress(operation: Operation, version: str | None) -> Outcome:
    """The outcome if only `getImportProgress` answers: one that is right whether the operation is valid or not.

    It does not say how many records are users, which may count twice. So each record may be a user.
    """
    if operation.step is Step.DONE and operation.counts is None:
        return Outcome.UNKNOWN
    doubles = counts_twice(replace(operation, dated_as_text=True), version)
    counts = operation.counts or Counts()
    users = replace(counts, staged={Kind.USERS: counts.total or 0})
    if_valid = judge(replace(operation, valid=True), Evidence())
    if_not = judge(replace(operation, valid=False, counts=users), Evidence(doubles=doubles))
    return if_valid if if_valid is if_not else Outcome.UNKNOWN


def state_of(operation: Operation) -> State:
    """The state that `import.status` would give this operation. An unknown `valid` counts as true."""
    step = operation.step
    if step is Step.DONE:
        return State.DONE
    if step is Step.IMPORT_FAILED or operation.valid is False:
        return State.ERROR
    if step is Step.IMPORT_CANCELLED:
        return State.CANCELED
    if step is Step.NEW:
        return State.NEW
    if step is Step.USER_SELECTION:
        return State.READY
    if step in LOADING_STEPS:
        return State.LOADING
    return State.IMPORTING if step in IMPORTING_STEPS else State.UNKNOWN


def sentence(track: Track) -> str:
    """The outcome and, if the operation ended badly, the cause, for people: one sentence without a full stop."""
    match track.outcome:
        case Outcome.NONE:
            return "nothing was ever imported"
        case Outcome.WAITING:
            return "waits to be started" if track.operation.step is Step.USER_SELECTION else "was created, and waits"
        case Outcome.LOADING:
            return f"loads its data: {_records(track)} so far" if _total(track) else "loads its data"
        case Outcome.RUNNING:
            return f"importing: {_progress(track)}"
        case Outcome.SUCCEEDED:
            return f"succeeded: {_all(track)}{_lasted(track)}"
        case Outcome.COMPLETED_WITH_ERRORS:
            return f"done with errors: {rejected(track.operation)}{_lasted(track)}"
        case Outcome.UNCONFIRMED:
            return f"done by its own word, {_progress(track)}{_lasted(track)}; {_doubt(track)}"
        case Outcome.FAILED:
            return f"failed {_point(track, _progress(track))}{_lasted(track)}: a phase of the import threw an error"
        case Outcome.INTERRUPTED | Outcome.INCOMPLETE:
            return f"cut off {_point(track, _at_least(track))}{_lasted(track)}: {_why(track)}"
        case Outcome.DISCARDED:
            return f"discarded before it ran: {_why(track)}"
        case Outcome.CANCELED:
            return f"canceled {_point(track, _progress(track))}{_lasted(track)}"
        case Outcome.UNKNOWN:
            return "its step is not known to this release"


_WHY: Final = {
    Cause.RESTARTED: "the server that ran it stopped or crashed",
    Cause.SUPERSEDED: "another import took its place",
    Cause.INVALIDATED: "an administrator cleared it, or another server of the cluster started",
    Cause.CLEARED: "an administrator cleared it",
    Cause.UNCERTAIN: "the server restarted, another server of the cluster started, or an administrator cleared it",
}


def _why(track: Track) -> str:
    return _WHY[track.cause or Cause.UNCERTAIN]


def _doubt(track: Track) -> str:
    if is_complete(track.operation, doubles=False):
        return "it cannot be told whether it was cut off"
    return "it cannot be told whether it was cut off or records were deselected"


def rejected(operation: Operation) -> str:
    """How many were rejected, of the users if they were counted: `41 of 300 users rejected`.

    An API import counts each user who already exists as rejected.
    """
    counts = operation.counts or Counts()
    contacts, users = counts.staged.get(Kind.CONTACTS, 0), counts.staged.get(Kind.USERS, 0)
    of = f"{users + contacts or counts.total or 0:,}"
    who = " users and contacts" if users and contacts else " users" if users else " contacts" if contacts else ""
    existing = " or there already" if operation.importer == "api" else ""
    return f"{counts.failed or 0:,} of {of}{who} rejected{existing}"


def _total(track: Track) -> int:
    return 0 if track.operation.counts is None else track.operation.counts.total or 0


def _records(track: Track) -> str:
    return f"{_total(track):,} {'record' if _total(track) == 1 else 'records'}"


def _progress(track: Track) -> str:
    counts = track.operation.counts
    if counts is None:
        return "no record counted"
    return f"{counts.processed:,} of {_records(track)}" if counts.total is not None else f"{counts.processed:,} records"


def _point(track: Track, done: str) -> str:
    return "before any record was counted" if track.operation.counts is None else f"at {done}"


def _all(track: Track) -> str:
    """What a successful operation imported. The counts can exceed the total, which would look like a mistake."""
    counts = track.operation.counts
    if counts is None or not counts.total or counts.processed < counts.total:
        return _progress(track)
    if is_complete(track.operation, doubles=track.evidence.doubles):
        return f"all {_records(track)}" if counts.total > 1 else _records(track)
    return (
        _progress(track) if counts.processed == counts.total else f"counted {counts.processed:,} for {_records(track)}"
    )


def _at_least(track: Track) -> str:
    """What an operation had done when it was cut off, by the counts that it had written."""
    counts = track.operation.counts
    if counts is None or counts.total is None or counts.processed >= counts.total:
        return _progress(track)
    return f"{counts.processed:,} or more of {_records(track)}"


def _lasted(track: Track) -> str:
    """How long it took, from the start of the run if that was seen, else from the creation. Empty if not known."""
    if ran := duration(track):
        return f", ran {ran}"
    created = track.operation.created
    if created is None or track.end is None or not track.end.seen or (track.run_start and track.run_start.seen):
        return ""
    after = track.end.latest - created
    return f", {spell(after)} after it was created" if after >= 1 else ""


def duration(track: Track) -> str:
    """How long a finished operation imported, such as `at least 20 s`; empty if not known."""
    if track.end is None or track.run_start is None:
        return ""
    if track.run_start.seen:
        return _between(track.run_start, track.end)
    least = track.end.earliest - track.run_start.latest
    return f"at least {spell(least)}" if least >= 1 else ""


def _between(start: Moment, end: Moment) -> str:
    """The duration between two moments, with "at least", "at most" or "about" if it is not exact."""
    least, most = max(0.0, end.earliest - start.latest), max(0.0, end.latest - start.earliest)
    seen = start.seen and end.seen
    if most <= least * NEARLY_THE_SAME:
        return spell(end.latest - start.latest) if seen else f"about {spell((least + most) / 2)}"
    return f"at least {spell(least)}" if seen and least >= 1 else f"at most {spell(most)}"


def spell(seconds: float) -> str:
    """A duration for people, in its two greatest units: `42 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"
