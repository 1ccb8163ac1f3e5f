"""What an operation has come to, and the sentence that says why.

The heart of the exporter: `judge` is total over everything a server can send and everything that can have been seen
of it before. `history` calls it with each sighting; `state_of` and `told_by_progress` serve the feeds that do not say
the state, or not whether the operation is valid.
"""

from dataclasses import replace
from typing import Final

from rc_import_exporter.core.domain import (
    IMPORTING_STEPS,
    LOADING_STEPS,
    WAITING_STEPS,
    Kind,
    Operation,
    Outcome,
    State,
    Step,
)
from rc_import_exporter.core.snapshot import Cause, Track, Witness

SLACK: Final = 500
"""Records by which a finished operation's counts may stay short of what it did: the last write of a message import,
and of every import before 6.3, can be missing, and those write every 500."""
SLACK_OF_USERS: Final = 50
"""The same for an import without messages since 6.3, which writes every 50."""


def judge(operation: Operation, witness: Witness) -> Outcome:
    """The outcome by the first row that matches; an absent `valid` is false, an absent count 0."""
    step = operation.step
    if step is Step.DONE:
        return _judge_done(operation, witness)
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


def _judge_done(operation: Operation, witness: Witness) -> Outcome:
    if not operation.valid and not witness.sealed and _cut_short(operation, witness):
        return Outcome.INCOMPLETE
    if operation.counts is not None and operation.counts.failed:
        return Outcome.COMPLETED_WITH_ERRORS
    return Outcome.SUCCEEDED


def _cut_short(operation: Operation, witness: Witness) -> bool:
    slack = 0 if witness.alive or witness.cut else slack_of(operation)
    return operation.counts is not None and operation.counts.processed + slack < (operation.counts.total or 0)


def slack_of(operation: Operation) -> int:
    """Records by which the counts of this operation may lag behind what it did."""
    counts = operation.counts
    with_messages = counts is not None and counts.staged.get(Kind.MESSAGES, 0) > 0
    return SLACK if with_messages or not operation.dated_as_text else SLACK_OF_USERS


def told_by_progress(operation: Operation) -> Outcome:
    """The outcome where only `getImportProgress` answers: what would hold whether the operation is valid or not."""
    if operation.step is Step.DONE and operation.counts is None:
        return Outcome.UNKNOWN
    if_valid = judge(replace(operation, valid=True), Witness())
    if_not = judge(replace(operation, valid=False), Witness(alive=True))
    return if_valid if if_valid is if_not else Outcome.UNKNOWN


def state_of(operation: Operation) -> State:
    """The state that `import.status` would give this operation; where `valid` is not known, as if it were true."""
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
    """What the operation has come to and, where it ended badly, the cause, for people: one sentence, no full stop."""
    match track.outcome:
        case Outcome.NONE:
            return "nothing was ever imported"
        case Outcome.WAITING:
            return "waits to be started" if track.operation.step is Step.USER_SELECTION else "was created, and waits"
        case Outcome.LOADING:
            return f"loads its data: {_records(track)} so far" if _total(track) else "loads its data"
        case Outcome.RUNNING:
            return f"imports: {_progress(track)}"
        case Outcome.SUCCEEDED:
            return f"succeeded: {_progress(track)}{_after(track)}"
        case Outcome.COMPLETED_WITH_ERRORS:
            return f"completed with errors: {_failed(track):,} of {_total(track):,} {_rejected(track)}{_after(track)}"
        case Outcome.FAILED:
            return f"failed at {_progress(track)}{_after(track)}: a phase of the import threw an error"
        case Outcome.INTERRUPTED | Outcome.INCOMPLETE:
            return f"cut off at {_progress(track)}{_after(track)}: {_why(track)}"
        case Outcome.DISCARDED:
            return f"discarded before it ran: {_why(track)}"
        case Outcome.CANCELED:
            return f"canceled at {_progress(track)}{_after(track)}"
        case Outcome.UNKNOWN:
            return "its step is none that this release knows"


_WHY: Final = {
    Cause.FOUND: "it was so when this exporter first saw it",
    Cause.RESTARTED: "contact was lost before, so the server restarted",
    Cause.SUPERSEDED: "another import took its place",
    Cause.INVALIDATED: "an administrator cleared it, or another server of the cluster started",
}


def _why(track: Track) -> str:
    return _WHY[track.cause or Cause.FOUND]


def _rejected(track: Track) -> str:
    """An API import inserts in bulk and counts as an error everyone whom the unique index refuses."""
    return "rejected or there already" if track.operation.importer == "api" else "rejected"


def _total(track: Track) -> int:
    return 0 if track.operation.counts is None else track.operation.counts.total or 0


def _failed(track: Track) -> int:
    return 0 if track.operation.counts is None else track.operation.counts.failed or 0


def _records(track: Track) -> str:
    return f"{_total(track):,} {'record' if _total(track) == 1 else 'records'}"


def _progress(track: Track) -> str:
    counts = track.operation.counts
    if counts is None:
        return "no record counted"
    return f"{counts.processed:,} of {_records(track)}" if counts.total is not None else f"{counts.processed:,} records"


def _after(track: Track) -> str:
    begun = track.run_started if track.run_started is not None else track.operation.created
    if begun is None or track.finished is None or track.dated_by_start or track.finished <= begun:
        return ""
    return f" after {spell(track.finished - begun)}"


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
