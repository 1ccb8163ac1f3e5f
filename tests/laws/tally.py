"""Checks the totals of an exporter at its end: counters, and the last results of each importer."""

from collections.abc import Iterator

from rc_import_exporter.core.domain import FINISHED, Outcome, known_importer
from rc_import_exporter.core.snapshot import History, Track
from tests.laws.claims import CUTS, SUCCESSES, Kind, Row
from tests.laws.oracle import Finding, Oracle, Seen

BAD = frozenset({*CUTS, Outcome.FAILED})


def _found(row: Row, id: str, said: object, true: object, *, wrong: bool) -> Finding:
    return Finding(row=row, kind=Kind.FOLLOWED, id=id, at=0.0, wrong=wrong, text=f"{said}, not {true}")


def tally(oracle: Oracle) -> Iterator[Finding]:
    """The findings at the end. Empty if clocks differ or the database was replaced."""
    record, world = oracle.record, oracle.world
    if record is None or not world.clocks_agree or any(truth.restored for truth in world.truths.values()):
        return
    yield from _counters(record.history, list(oracle.seen.values()))
    for importer in {known_importer(track.operation.importer) for track in record.history.tracks.values()}:
        yield from _importer(oracle, record.history, importer)


def _counters(history: History, seen: list[Seen]) -> Iterator[Finding]:
    started = sum(each.new for each in seen)
    yield _found(Row.STARTED, "", history.started, started, wrong=history.started != started)
    said = {outcome: history.finished.get(outcome, 0) for outcome in FINISHED}
    true = {outcome: sum(outcome in each.outcomes for each in seen if each.new or each.alive) for outcome in FINISHED}
    yield _found(Row.ENDED, "", said, true, wrong=said != true)
    records = history.completed, history.failed
    moved = (
        sum(each.completed[1] - each.completed[0] for each in seen),
        sum(each.failed[1] - each.failed[0] for each in seen),
    )
    yield _found(Row.RECORDS, "", records, moved, wrong=records != moved)


def _importer(oracle: Oracle, history: History, importer: str) -> Iterator[Finding]:
    """Findings about one importer: its last operation, its duration, and whether a bad end stays visible."""
    finished = [
        track
        for track in history.tracks.values()
        if track.outcome in FINISHED and known_importer(track.operation.importer) == importer
    ]
    if not finished:
        return
    yield from _duration(oracle, history, importer, finished)
    finished = [track for track in finished if track.outcome is not Outcome.DISCARDED]
    if not finished:
        return
    newest = max(finished, key=lambda track: track.operation.created or 0)
    result = history.last_results.get(importer)
    named = "nothing" if result is None else result.operation.id
    yield _found(Row.LAST_RESULT, newest.operation.id, named, newest.operation.id, wrong=named != newest.operation.id)
    succeeded = max(history.last_finished.get((importer, outcome), 0.0) for outcome in SUCCESSES)
    failed = max(history.last_finished.get((importer, outcome), 0.0) for outcome in BAD)
    said = f"success {succeeded}, bad end {failed}"
    if newest.outcome in BAD:
        yield _found(Row.REPAIRED, newest.operation.id, said, newest.outcome, wrong=succeeded >= failed)
    if newest.outcome in SUCCESSES:
        yield _found(Row.UNREPAIRED, newest.operation.id, said, newest.outcome, wrong=succeeded < failed)


def _duration(oracle: Oracle, history: History, importer: str, finished: list[Track]) -> Iterator[Finding]:
    _, seconds = history.last_duration.get(importer, (0.0, None))
    if seconds is None:
        return
    truths = [oracle.world.truths[track.operation.id] for track in finished]
    spans = [(each.ended[0] - each.created, each.ended[1] - each.created) for each in truths if each.ended]
    near = any(least - oracle.tolerance <= seconds <= most + oracle.tolerance for least, most in spans)
    yield _found(Row.LAST_DURATION, importer, seconds, spans, wrong=not near)
