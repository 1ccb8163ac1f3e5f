"""How the API reports imports: bodies, status codes and permissions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.importer import (
    IMPORTERS,
    Document,
    Version,
    listed_of,
    newest_of,
    rendered,
    state_of,
)
from rc_import_exporter.simulator.script import Answer, Call, Outage, Reply

Fault = Callable[[Reply], Answer]
"""Turns a good reply into a bad answer."""

JSON_HEADERS: Final = MappingProxyType({"Content-Type": "application/json", "Cache-Control": "no-store"})
HTML_HEADERS: Final = MappingProxyType({"Content-Type": "text/html; charset=utf-8"})
TEXT_HEADERS: Final = MappingProxyType({"Content-Type": "text/plain; charset=UTF-8"})

START_PAGE: Final = b"<!DOCTYPE html>\n<html><head><title>Rocket.Chat</title></head><body></body></html>\n"
OLD_REFUSAL_DELAY: Final = 0.5
"""Seconds that servers up to about 7.2 take to reject a token."""

RUN_IMPORT: Final = "run-import"
VIEW_OPERATIONS: Final = "view-import-operations"
VIEW_VERSION: Final = "get-server-info"
_PERMISSIONS: Final = MappingProxyType({Api.STATUS: RUN_IMPORT, Api.LIST: VIEW_OPERATIONS, Api.PROGRESS: RUN_IMPORT})
_SINCE: Final = MappingProxyType({Api.STATUS: (6, 3), Api.LIST: (1, 0), Api.PROGRESS: (3, 0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that an answer depends on, at one moment."""

    documents: tuple[Document, ...] = ()
    version: Version = (8, 6, 1)
    permissions: frozenset[str] = frozenset({RUN_IMPORT, VIEW_OPERATIONS})
    token_accepted: bool = True
    limit: int | None = None
    outage: Outage | None = None
    faults: Mapping[str, Fault] = field(default_factory=lambda: MappingProxyType({}))
    removed_importers: frozenset[str] = frozenset()


def answer(world: World, call: Call) -> Answer:
    """The answer of a server in this world."""
    if world.outage is not None:
        return world.outage
    reply = _info(world, call) if call.endpoint == Api.INFO else _reply(world, call)
    fault = world.faults.get(call.endpoint)
    return reply if fault is None else fault(reply)


def json_reply(body: object, status: int = 200, *, limited: bool = False, delay: float = 0.0) -> Reply:
    """A reply with this value as compact JSON, as the server writes it."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return Reply(status=status, body=text.encode(), headers=JSON_HEADERS, limited=limited, delay=delay)


def forbidden(version: Version, endpoint: str) -> Reply:
    """The answer if a permission is missing: a 403 since 5.1, a 400 before."""
    if version >= (5, 1):
        error = "User does not have the permissions required for this action [error-unauthorized]"
        return json_reply({"success": False, "error": error}, 403)
    kind = "not_authorized" if endpoint == Api.LIST else "error-action-not-allowed"
    return _failure(f"Not authorized [{kind}]", kind)


def unauthorized(version: Version) -> Reply:
    """The answer to a wrong or missing token. Older servers answer late and without `success`."""
    message = "You must be logged in to do this."
    if version < (7, 3):
        return json_reply({"status": "error", "message": message}, 401, delay=OLD_REFUSAL_DELAY)
    return json_reply({"status": "error", "message": message, "success": False, "error": message}, 401)


def too_many_requests(seconds: int) -> Reply:
    """The rate limiter's answer, which has no `Retry-After`."""
    wait = f"You must wait {seconds} seconds before trying this endpoint again."
    error = f"Error, too many requests. Please slow down. {wait} [error-too-many-requests]"
    return json_reply({"success": False, "error": error}, 429)


def not_found(version: Version) -> Reply:
    """The answer to an unknown path. Older servers send the page of the web client."""
    if version >= (8, 0):
        return Reply(status=404, body=b"404 Not Found", headers=TEXT_HEADERS)
    return Reply(status=200, body=START_PAGE, headers=HTML_HEADERS)


def _reply(world: World, call: Call) -> Reply:
    if call.endpoint not in _SINCE or world.version < _SINCE[Api(call.endpoint)]:
        return not_found(world.version)
    api = Api(call.endpoint)
    if not (call.authenticated and world.token_accepted):
        return unauthorized(world.version)
    if _PERMISSIONS[api] not in world.permissions:
        return forbidden(world.version, api)
    if call.extra_query and api is not Api.STATUS:
        return _failure("must NOT have additional properties [invalid-params]", "invalid-params")
    return _ANSWERS[api](world, call.started)


def _failure(error: str, kind: str, **details: object) -> Reply:
    return json_reply({"success": False, "error": error, "errorType": kind} | details, 400, limited=True)


def _info(world: World, call: Call) -> Reply:
    whole = ".".join(map(str, world.version))
    cut = ".".join(map(str, world.version[:2])) if world.version >= (4, 0) else whole
    if call.authenticated and VIEW_VERSION in world.permissions:
        return json_reply({"version": cut, "info": {"version": whole}, "success": True})
    clients = {"desktop": "3.9.6", "mobile": "4.39.0"}
    return json_reply({"version": cut, "minimumClientVersions": clients, "success": True})


def _status(world: World, started: float) -> Reply:
    newest = newest_of(world.documents)
    if newest is None:
        return json_reply({"state": "none", "success": True}, limited=True)
    state = state_of(newest)
    named = {} if state is None else {"state": state}
    return json_reply(named | {"operation": rendered(newest, started), "success": True}, limited=True)


def _list(world: World, started: float) -> Reply:
    return json_reply([rendered(document, started) for document in listed_of(world.documents)], limited=True)


def _progress(world: World, started: float) -> Reply:
    newest = newest_of(world.documents)
    if newest is None:
        kind = "error-operation-not-found"
        return _failure(f"Import Operation Not Found [{kind}]", kind, details=Api.PROGRESS)
    if newest.importer not in IMPORTERS or newest.importer in world.removed_importers:
        kind = "error-importer-not-defined"
        error = f"The importer ({newest.importer}) has no import class defined. [{kind}]"
        return _failure(error, kind, details=Api.PROGRESS)
    step = newest.amended.get("status", newest.status)
    body = {"key": newest.importer, "name": IMPORTERS[newest.importer], "step": step}
    return json_reply(body | {"count": _progress_counts(newest, world.version), "success": True}, limited=True)


def _progress_counts(document: Document, version: Version) -> dict[str, int]:
    if version < (6, 3):
        return {"completed": 0, "total": 0}
    return {key: document.count(key) for key in ("completed", "total", "error")}


_ANSWERS: Final = MappingProxyType({Api.STATUS: _status, Api.LIST: _list, Api.PROGRESS: _progress})
