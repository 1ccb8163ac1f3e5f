"""Faults of bodies: JSON that is none or too much, odd values, and odd lists."""

import gzip
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.faults import MEBIBYTE
from tests.hostile.fault import (
    BODY,
    OPERATION,
    Fault,
    Serve,
    Site,
    Symptom,
    answering,
    content,
    dated,
    good,
    saying,
)
from tests.hostile.symptoms import NO_JSON, ODD_LIST, ODD_VALUE, ONE_WAY, PROXY, TOO_LARGE
from tests.support.peers import http

KEPT: Final = b'[{"_id":"operation1","ts":1799992800000,%b}]'
"""A list of one operation with room for one more field."""


def brackets() -> bytes:
    return b"[" + b"[[[[[[[[[[0]]]]]]]]]]," * 380_000 + b"0]"


def keys() -> bytes:
    return b"{" + b'"a":0,' * 990_000 + b'"b":0}'


LARGE: Final[Mapping[str, tuple[Callable[[], bytes], str, Symptom]]] = {
    "brackets in a list": (lambda: KEPT % (b'"fileData":' + brackets()), "200 OK", ONE_WAY),
    "brackets": (brackets, "200 OK", NO_JSON),
    "brackets in an error of a proxy": (brackets, "500 Internal Server Error", PROXY),
    "brackets in an error": (lambda: b'{"success":false,"error":' + brackets() + b"}", "400 Bad Request", PROXY),
    "an importer of arrays": (
        lambda: KEPT % (b'"importerKey":[' + b"[0]," * 199_000 + b"0]"),
        "200 OK",
        ODD_VALUE,
    ),
    "a million keys in a list": (lambda: KEPT % (b'"fileData":' + keys()), "200 OK", ODD_VALUE),
    "a million counts": (lambda: KEPT % (b'"count":' + keys()), "200 OK", ODD_VALUE),
    "a million keys": (keys, "200 OK", NO_JSON),
    "190,000 operations": (
        lambda: b"[" + b'{"_id":"a","ts":0,"valid":0,"status":0},' * 190_000 + b'{"_id":"b"}]',
        "200 OK",
        ONE_WAY,
    ),
    "a million halves of characters": (
        lambda: KEPT % (b'"fileData":"' + b"\\ud83d" * 1_390_000 + b'"'),
        "200 OK",
        ONE_WAY,
    ),
    "an id of escapes": (lambda: b'[{"_id":"' + b"\\n" * 4_000_000 + b'"}]', "200 OK", ONE_WAY),
    "64 MiB of blanks": (lambda: b"[" + b" " * 64 * MEBIBYTE, "200 OK", TOO_LARGE),
}
"""Answers that could take a gigabyte, by name: the body, the status, and the symptom of a list that is this body."""


@cache
def large(name: str) -> bytes:
    """An answer of `LARGE`. It is small while it is compressed."""
    body, status, _ = LARGE[name]
    return http(gzip.compress(body(), 1), "Content-Encoding: gzip", status=status)


def squeezed(name: str) -> Fault:
    """The row of an answer of `LARGE`."""
    symptom = LARGE[name][2]
    some = symptom in (ONE_WAY, ODD_VALUE)
    serve = answering(lambda api, site: large(name), *([Api.LIST] if some else Api))
    return Fault(name=name, symptom=symptom, serve=serve, up=some, polls=1)


def text(name: str, body: str | bytes, symptom: Symptom = NO_JSON) -> Fault:
    """A row of a server whose every answer is this body."""
    return Fault(name=name, symptom=symptom, serve=saying(http(body if isinstance(body, bytes) else body.encode())))


def rewritten(change: Callable[[str], str | bytes]) -> Serve:
    """Answers whose JSON is changed like this, as a text."""

    def answer(api: Api, site: Site) -> bytes:
        written = change(json.dumps(content(api)))
        return dated(written if isinstance(written, bytes) else written.encode(), site.now())

    return answering(answer)


JSON: Final = (
    text("blanks", " " * 99),
    text("NUL", "\0"),
    text("a text in HTML's place", BODY),
    text("a million opening brackets", "[" * 1_000_000),
    text("a number of 5000 digits", "1" * 5000),
    text("two documents", '{"success":true}{"success":true}'),
    text("true", "true"),
    text("an object without a word of Rocket.Chat", json.dumps({"status": BODY})),
    *(
        Fault(name=name, symptom=NO_JSON, serve=rewritten(change))
        for name, change in (
            ("a byte order mark", lambda text: "\ufeff" + text),
            ("UTF-16", lambda text: text.encode("utf-16")),
            ("JSON that is cut", lambda text: text[:-1]),
            ("a comma too many", lambda text: text[:-1] + "," + text[-1]),
            ("single quotes", lambda text: text.replace('"', "'")),
            ("a comment", lambda text: "// " + text),
            ("a callback", lambda text: f"{BODY}({text})"),
            ("a prefix against hijacking", lambda text: ")]}'\n" + text),
            ("a control character in a text", lambda text: text.replace("csv", "c\x01v").replace("8.6", "8\x01")),
        )
    ),
    Fault(
        name="success is missing",
        symptom=ONE_WAY,
        serve=answering(lambda api, site: http(b'{"state":"importing"}'), Api.STATUS),
        up=True,
    ),
    Fault(
        name="the list fails",
        symptom=ONE_WAY,
        serve=answering(lambda api, site: http(b'[{"name":"' + BODY.encode() + b'"}]'), Api.LIST),
        up=True,
    ),
    Fault(
        name="an id that is none",
        symptom=ONE_WAY,
        serve=answering(lambda api, site: good(api, site, _id=f"{BODY} <script>"), Api.LIST),
        up=True,
    ),
    Fault(
        name="a version that is none",
        symptom=ONE_WAY,
        serve=answering(lambda api, site: http(b'{"version":"latest","success":true}'), Api.INFO),
        up=True,
        shows={"server_info": None},
    ),
)


def changed(**fields: object) -> Serve:
    """Good answers with these changes of the operation."""
    return answering(lambda api, site: good(api, site, **fields))


def counted(name: str, value: object, shown: float | None = None) -> Fault:
    """A row of a total that is this value. The other counts stay."""
    count = {"total": value, "completed": 50, "error": 2}
    shows: dict[str, object] = {"operation_records": shown, "operation_records_completed": 50}
    return Fault(name=f"a total: {name}", symptom=ODD_VALUE, serve=changed(count=count), shows=shows)


def keyed(name: str, key: object) -> Fault:
    """A row of an importer with this key, which is unknown then."""
    shows: dict[str, object] = {"operation_records": 100, "state": "importing"}
    return Fault(
        name=f"an importer: {name}", symptom=ODD_VALUE, serve=changed(importerKey=key), shows=shows, importer="unknown"
    )


def created(name: str, value: object, shown: float | None = None) -> Fault:
    """A row of an operation that was created at this date."""
    shows: dict[str, object] = {"operation_created_timestamp_seconds": shown, "operation_records": 100}
    return Fault(name=f"a date: {name}", symptom=ODD_VALUE, serve=changed(ts=value, _updatedAt=value), shows=shows)


VALUES: Final = (
    counted("negative", -1),
    counted("a fraction", 1.5),
    counted("1e308", 1e308),
    counted("beyond 2**53", 2**53 + 1),
    counted("400 digits", 10**400),
    counted("a text", "100"),
    counted("true", value=True),
    counted("100.0", 100.0, 100),
    Fault(
        name="counts that are a list",
        symptom=ODD_VALUE,
        serve=changed(count=[1, 2]),
        shows={"operation_records": None, "state": "importing"},
    ),
    Fault(
        name="counts beyond the total",
        symptom=ODD_VALUE,
        serve=changed(count={"total": 1, "completed": 2**53, "error": 2**53}),
        shows={"operation_records": 1, "operation_records_completed": 2**53},
    ),
    keyed("1 MB", BODY * 60_000),
    keyed("line breaks", f'{BODY}"\n# HELP x y\nx 1'),
    keyed("control characters", "\x1b[2J\x07"),
    keyed("right to left", "\u202ecsv"),
    keyed("no width", "c\u200bsv"),
    keyed("half a character", "\ud83d"),
    keyed("an object", {"$ne": BODY}),
    keyed("missing", None),
    Fault(
        name="a status of tomorrow",
        symptom=ODD_VALUE,
        serve=changed(status="importer_importing_polls"),
        shows={"step": "unknown", "state": "importing"},
    ),
    Fault(
        name="a status that is a number",
        symptom=ODD_VALUE,
        serve=answering(lambda api, site: good(api, site, status=7), Api.STATUS, Api.LIST),
        shows={"step": "unknown"},
    ),
    Fault(
        name="a state of tomorrow",
        symptom=ODD_VALUE,
        serve=rewritten(lambda text: text.replace('"state": "importing"', f'"state": "{BODY}"')),
        shows={"state": "unknown"},
    ),
    Fault(
        name="valid is a text",
        symptom=ODD_VALUE,
        serve=changed(valid="true"),
        shows={"operation_valid": 0},
    ),
    created("the year 9999", "9999-12-31T23:59:59.999Z", 253402300799.999),
    created("1970", 0, 0.0),
    created("the year 275760", 8.64e15),
    created("negative", -1),
    created("words", BODY),
    created("month 13", "2026-13-01T00:00:00Z"),
    created("missing", None),
    created("an object", {"$date": 1}),
    Fault(
        name="a key twice",
        symptom=ODD_VALUE,
        serve=rewritten(lambda text: text.replace('"importerKey":', '"importerKey": 7, "importerKey":')),
        shows={"operation_records": 100},
    ),
)


def operations(*several: Mapping[str, object]) -> Callable[[Api, Site], bytes]:
    """A list of these operations."""
    return lambda api, site: dated(json.dumps([{**OPERATION, **each} for each in several]).encode(), site.now())


def old(number: int) -> dict[str, object]:
    """An import of an earlier day."""
    return {
        "_id": f"old{number}",
        "status": "importer_done",
        "ts": 1_700_000_000_000 + number,
        "_updatedAt": 1_700_000_000_000 + number,
    }


def a_new_id(api: Api, site: Site) -> bytes:
    """An operation with another id in each answer."""
    return good(api, site, _id=f"new{site.now():.6f}".replace(".", "_"))


def listed(name: str, answer: Callable[[Api, Site], bytes], symptom: Symptom = ODD_LIST) -> Fault:
    """A row of a server with such a list. `import.status` tells the state."""
    return Fault(name=name, symptom=symptom, serve=answering(answer, Api.LIST), up=True, shows={"state": "importing"})


BEFORE: Final = {"_updatedAt": "2027-01-15T07:30:00.000Z", "count": {"users": 20}}
LISTS: Final = (
    listed("an empty list", lambda api, site: dated(b"[]", site.now())),
    listed("a list that is null", lambda api, site: dated(b"null", site.now()), ONE_WAY),
    listed("a list of texts", lambda api, site: dated(json.dumps([BODY]).encode(), site.now()), ONE_WAY),
    listed("a list in an object", lambda api, site: dated(b'{"operations":[],"success":true}', site.now())),
    listed("1,000 operations", operations(*({}, *map(old, range(999))))),
    listed("1,001 operations", operations(*({}, *map(old, range(1000)))), ONE_WAY),
    listed("an operation twice", operations({}, {}, old(1), old(1))),
    listed("an operation twice, and different", operations({}, {"count": {"total": 7}}, old(1))),
    listed("the oldest first", operations(*map(old, range(5)), {})),
    listed("the list is older than the state", operations({"status": "importer_preparing_users", **BEFORE})),
    listed("the list has other operations", operations(*map(old, range(20)))),
    listed("an operation of 1 MB", operations({"fileData": [BODY] * 60_000})),
    Fault(
        name="an id that changes",
        symptom=ODD_LIST,
        serve=answering(a_new_id, Api.STATUS, Api.LIST),
        shows={"state": "importing", "operation_records": 100},
    ),
)

FAULTS: Final = (*map(squeezed, LARGE), *JSON, *VALUES, *LISTS)
