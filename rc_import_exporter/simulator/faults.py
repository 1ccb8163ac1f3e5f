"""What can go wrong with an answer, for `Stage.fault`. Each fault takes the good reply and returns a bad answer.

Some faults need a number and are made by a function: `stage.fault(slow(30))`, `stage.fault(page(502))`.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from rc_import_exporter.simulator.answers import (
    HTML_HEADERS,
    START_PAGE,
    TEXT_HEADERS,
    Fault,
    forbidden,
    json_reply,
    not_found,
    too_many_requests,
)
from rc_import_exporter.simulator.script import Answer, Outage, Reply

MEBIBYTE = 1024 * 1024


def hang(reply: Reply) -> Answer:
    """The request is never answered."""
    return Outage.HANG


def reset(reply: Reply) -> Answer:
    """The connection is reset."""
    return Outage.RESET


def cut(reply: Reply) -> Answer:
    """The connection ends in the middle of the body."""
    return replace(reply, cut=True)


def slow(seconds: float) -> Fault:
    """The answer begins late."""
    return lambda reply: replace(reply, delay=seconds)


def drip(seconds: float) -> Fault:
    """The answer begins at once, and its body comes a few bytes at a time."""
    return lambda reply: replace(reply, drip=seconds)


def page(status: int = 502) -> Fault:
    """A proxy answers with an HTML page of its own."""
    body = f"<html><head><title>{status}</title></head><body><center>nginx</center></body></html>\n".encode()
    return lambda reply: Reply(status=status, body=body, headers=HTML_HEADERS)


def start_page(reply: Reply) -> Answer:
    """200 with the page of the web client, as older servers answer a path that they do not know."""
    return Reply(status=200, body=START_PAGE, headers=HTML_HEADERS)


def login_redirect(reply: Reply) -> Answer:
    """A proxy redirects every request to its login page."""
    return Reply(status=302, body=b"", headers={"Location": "https://login.example.org/?next=rocketchat"})


def internal_server_error(reply: Reply) -> Answer:
    """The database is down, and the server fails when it checks the token."""
    return Reply(status=500, body=b"Internal Server Error", headers=TEXT_HEADERS)


def database_down(reply: Reply) -> Answer:
    """The database is down, and the endpoint itself fails: any exception in a handler is a 400."""
    return json_reply({"success": False, "error": "MongoServerSelectionError: connection timed out"}, 400)


def missing(reply: Reply) -> Answer:
    """The server does not know this endpoint."""
    return not_found((8, 6, 1))


def refused_permission(reply: Reply) -> Answer:
    """The user lacks the permission, in the words of servers since 5.1."""
    return forbidden((8, 6, 1), "")


def old_refused_permission(endpoint: str) -> Fault:
    """The user lacks the permission, in the words of servers up to 5.0."""
    return lambda reply: forbidden((5, 0), endpoint)


def rate_limited(reply: Reply) -> Answer:
    """Another client behind the same proxy has used all calls."""
    return too_many_requests(60)


def with_body(body: bytes | str, status: int = 200) -> Fault:
    """The answer has this body instead of its own."""
    raw = body.encode() if isinstance(body, str) else body
    return lambda reply: replace(reply, body=raw, status=status)


def with_status(status: int) -> Fault:
    """The answer has this status and its own body."""
    return lambda reply: replace(reply, status=status)


def with_type(content_type: str) -> Fault:
    """The answer has this Content-Type and its own body."""
    return lambda reply: replace(reply, headers={**reply.headers, "Content-Type": content_type})


def with_json(change: Callable[[object], object]) -> Fault:
    """The answer has this change made to its JSON."""
    return lambda reply: json_reply(change(json.loads(reply.body)), reply.status, limited=reply.limited)


def unknown_state(reply: Reply) -> Answer:
    """`import.status` returns a state that no known release has."""

    def change(value: object) -> object:
        return value | {"state": "dreaming"} if isinstance(value, dict) and "state" in value else value

    return with_json(change)(reply)


def wrapped_list(reply: Reply) -> Answer:
    """The list comes in an object, as a development snapshot of 8.3 sent it."""
    return with_json(lambda value: {"operations": value, "success": True})(reply)


def not_a_number(reply: Reply) -> Answer:
    """The body holds `NaN`, which is not valid JSON although Python accepts it."""
    return with_json(lambda value: {"state": float("nan"), "operation": value, "success": True})(reply)


def nested(depth: int = 100_000) -> Fault:
    """Arrays inside arrays, so deep that a parser's stack can overflow. It is valid JSON."""
    return with_body("[" * depth + "]" * depth)


def padded(size: int = 16 * MEBIBYTE) -> Fault:
    """The same JSON followed by spaces, so that the body has `size` bytes."""
    return lambda reply: replace(reply, body=reply.body.ljust(size))


def gzip_bomb(size: int = 64 * MEBIBYTE) -> Fault:
    """The same JSON, padded to `size` bytes, compressed to a thousandth of that."""

    def fault(reply: Reply) -> Answer:
        return replace(reply, body=_compressed(reply.body, size), headers={**reply.headers, "Content-Encoding": "gzip"})

    return fault


@lru_cache(maxsize=8)
def _compressed(body: bytes, size: int) -> bytes:
    return gzip.compress(body.ljust(size), compresslevel=1, mtime=0)


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "hang": hang,
        "reset": reset,
        "cut": cut,
        "slow": slow(30),
        "drip": drip(30),
        "bad gateway": page(502),
        "unavailable": page(503),
        "gateway timeout": page(504),
        "firewall's 401": page(401),
        "firewall's 403": page(403),
        "start page": start_page,
        "login redirect": login_redirect,
        "internal server error": internal_server_error,
        "database down": database_down,
        "missing": missing,
        "refused permission": refused_permission,
        "old refused list": old_refused_permission("getLatestImportOperations"),
        "old refused progress": old_refused_permission("getImportProgress"),
        "rate limited": rate_limited,
        "empty": with_body(b""),
        "no JSON": with_body("{"),
        "no UTF-8": with_body(b'{"state":"\xff"}'),
        "a number": with_body("17"),
        "null": with_body("null"),
        "text": with_body('"done"'),
        "unsuccessful": with_body('{"success":false}'),
        "numbers for objects": with_body('{"state":7,"operation":[1],"key":{},"step":[],"count":true,"success":"yes"}'),
        "list of numbers": with_body("[1,2,3]"),
        "not a number": not_a_number,
        "nested": nested(),
        "padded": padded(),
        "gzip bomb": gzip_bomb(),
        "no content": with_status(204),
    }
)
"""All faults by name."""
