"""Bad ends of earlier imports that still need someone: their alerts are raised, whatever the newest operation does."""

from collections.abc import Iterable, Iterator
from typing import Final

from rc_import_exporter.core import advice
from rc_import_exporter.core.alerts import Alert, Raised
from rc_import_exporter.core.domain import known_importer
from rc_import_exporter.core.snapshot import Record, Track
from rc_import_exporter.core.verdict import sentence
from rc_import_exporter.web.fields import Level, Unresolved
from rc_import_exporter.web.remarks import TOO_FEW
from rc_import_exporter.web.writing import capital


def is_earlier(record: Record, each: Raised) -> bool:
    """Whether an alert is about the end of an import before the newest operation."""
    newest = record.history.newest
    if each.alert in _OF_ENDS:
        return (
            newest is None or newest.dated != each.value or known_importer(newest.operation.importer) != each.importer
        )
    return each.alert in _OF_RESULTS and record.history.last_results.get(each.importer) is not newest


_OF_ENDS: Final = frozenset({Alert.FAILED, Alert.CUT_OFF, Alert.UNCONFIRMED, Alert.CANCELED})
_OF_RESULTS: Final = frozenset({Alert.COMPLETED_WITH_ERRORS, Alert.NOTHING_IMPORTED})


def unresolved(record: Record, alerts: Iterable[Raised]) -> Iterator[Unresolved]:
    """The bad ends of earlier imports that these alerts are about."""
    for each in alerts:
        track = _ended(record, each) if is_earlier(record, each) else None
        if track is not None:
            words = advice.OUTCOMES[track.outcome]
            found = (*advice.ALERTS.get(each.alert, ()), *words.advice)
            yield Unresolved(
                importer=each.importer,
                outcome=track.outcome,
                alert=each.alert,
                sentence=capital(sentence(track)),
                at=track.dated,
                level=Level.CRITICAL if each.alert in (Alert.FAILED, Alert.CUT_OFF) else Level.WARNING,
                title=TOO_FEW if each.alert is Alert.NOTHING_IMPORTED else words.title,
                advice=tuple(dict.fromkeys(advice.fitting(found, track.operation.importer))),
            )


def _ended(record: Record, each: Raised) -> Track | None:
    """The operation that an alert on an end is about."""
    if each.alert in _OF_RESULTS:
        return record.history.last_results.get(each.importer)
    ends = [track for track in record.history.tracks.values() if track.dated == each.value]
    return next((track for track in ends if known_importer(track.operation.importer) == each.importer), None)
