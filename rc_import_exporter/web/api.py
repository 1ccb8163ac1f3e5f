"""Workspaces as JSON, for `/api/v1/workspaces`: the same as the page shows, in fields that stay.

`schema/workspaces.json` describes them; a field is only ever added. Instants are RFC 3339 in UTC, durations seconds.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import resources

from rc_import_exporter.core.snapshot import Build
from rc_import_exporter.web.view import OperationView, Overview, Past, Problem, RateLimit, Sight, WorkspaceView


def schema() -> str:
    """The JSON Schema of both answers."""
    return (resources.files("rc_import_exporter.web") / "schema" / "workspaces.json").read_text(encoding="utf-8")


def overview_json(seen: Overview, build: Build) -> bytes:
    """The answer of `/api/v1/workspaces`."""
    return _encoded(
        {
            "now": instant(seen.now),
            "exporter": {"version": build.version, "revision": build.revision},
            "restart_safe": seen.restart_safe,
            "total": seen.total,
            "levels": dict(seen.levels),
            "workspaces": [_workspace(each) for each in seen.workspaces],
        }
    )


def workspace_json(seen: WorkspaceView, past: Iterable[Past]) -> bytes:
    """The answer of `/api/v1/workspaces/{name}`."""
    return _encoded({**_workspace(seen), "earlier_operations": [_past(each) for each in past]})


def error_json(message: str) -> bytes:
    """An answer that is none."""
    return _encoded({"error": message})


def instant(at: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond; `None` also for what no calendar holds."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def _encoded(value: object) -> bytes:
    return (
        json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace") + b"\n"
    )


def _workspace(seen: WorkspaceView) -> dict[str, object]:
    current = seen.current
    return {
        "name": seen.name,
        "url": seen.url,
        "labels": dict(seen.labels),
        "now": instant(seen.now),
        "up": seen.up,
        "level": seen.level,
        "title": seen.title,
        "sentence": seen.sentence,
        "restart_safe": seen.restart_safe,
        "state": None if current is None else current.state,
        "step": None if current is None else current.step,
        "outcome": None if current is None else current.outcome,
        "source": None if current is None else current.source,
        "source_note": seen.source or None,
        "operation": None if current is None else _operation(current.operation),
        "last_known": None if seen.last_known is None else _sight(seen.last_known),
        "advice": list(seen.advice),
        "alerts": list(seen.alerts),
        "problems": [_problem(each) for each in seen.problems],
        "remarks": [{"level": each.level, "text": each.text} for each in seen.remarks],
        "polls": {
            "last": instant(seen.last_poll),
            "last_success": instant(seen.last_success),
            "next": instant(seen.next_poll),
            "interval_seconds": seen.interval,
        },
        "rate_limits": _rate_limits(seen.rate_limits),
        "server_version": seen.server_version,
    }


def _sight(seen: Sight) -> dict[str, object]:
    return {
        "at": instant(seen.at),
        "state": seen.state,
        "step": seen.step,
        "outcome": seen.outcome,
        "sentence": seen.sentence,
        "source": seen.source,
        "operation": _operation(seen.operation),
    }


def _operation(seen: OperationView | None) -> dict[str, object] | None:
    if seen is None:
        return None
    return {
        "id": seen.id or None,
        "importer": seen.importer,
        "valid": seen.valid,
        "created": instant(seen.created),
        "updated": instant(seen.updated),
        "run_started": instant(seen.run_started),
        "progressed": instant(seen.progressed),
        "finished": instant(seen.finished),
        "records": {
            "total": seen.total,
            "completed": seen.completed,
            "failed": seen.failed,
            "staged": dict(seen.staged),
        },
        "progress_ratio": seen.progress,
        "records_per_second": seen.records_per_second,
        "seconds_left": seen.seconds_left,
    }


def _problem(seen: Problem) -> dict[str, object]:
    return {
        "apis": list(seen.apis),
        "reason": seen.reason,
        "title": seen.title,
        "detail": seen.detail,
        "since": instant(seen.since),
        "failures": seen.failures,
        "known_limit": seen.known_limit,
        "advice": list(seen.advice),
    }


def _rate_limits(seen: Iterable[RateLimit]) -> list[dict[str, object]]:
    return [
        {"api": each.api, "limit": each.limit, "remaining": each.remaining, "resets": instant(each.resets)}
        for each in seen
    ]


def _past(seen: Past) -> dict[str, object]:
    return {
        "id": seen.id,
        "importer": seen.importer,
        "outcome": seen.outcome,
        "sentence": seen.sentence,
        "created": instant(seen.created),
        "finished": instant(seen.finished),
    }
