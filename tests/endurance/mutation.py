"""Real answers of Rocket.Chat, and random changes of them: of their bytes, of their JSON, and of their headers."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from random import Random
from typing import Final

from multidict import CIMultiDict

from rc_import_exporter.core.domain import Api
from rc_import_exporter.rocketchat.diagnosis import Response
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.faults import FAULTS
from rc_import_exporter.simulator.importer import IMPORTERS, Version
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Call, Reply
from tests.support.simulated import NAMES, STARTED, recorded

MARK: Final = "<i>&\"'"
"""A text that must not be in a web page as it is."""
VERSIONS: Final[Sequence[Version]] = ((2, 4), (5, 0), (6, 2), (7, 1), (8, 6, 1))
LARGEST_SEED: Final = 16 * 1024
"""Bytes. Larger bodies have no more kinds of structure, and take longer."""
LARGE: Final = ("padded", "gzip bomb")
"""Faults whose bodies are too large, and take long to make."""
MOST_PLACES: Final = 2000
PLAYED: Final = 25
"""Seconds of a story from one answer to the next."""

TOKENS: Final = (
    b"NaN",
    b"Infinity",
    b"-0",
    b"1e999",
    b"-1e-999",
    b"9" * 400,
    b"9007199254740993",
    b"253402300800000",
    b"0.1",
    b"null",
    b"true",
    b'""',
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\ud83d",
    b"\\uDE00",
    b"\\u0000",
    b"\\u2028",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\n",
    b"\0",
    b"importer_",
    b"[" * 2000,
    b'{"a":' * 2000,
    b'{"success":false}',
)
"""Pieces of JSON, of text and of numbers that parsers take wrongly."""
VALUES: Final[Sequence[object]] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    10**400,
    0.5,
    1e308,
    "",
    "0",
    "1800000000000",
    "-1",
    "2026-02-30T00:00:00.000Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.999-23:59",
    "2027-01-15T08:00:00.000Z",
    "x" * 64,
    "x" * 65,
    "y" * 5000,
    "\u202e\u0000\n",
    "\ud83d",
    "\U0001f600",
    MARK,
    "{{7*7}}",
    'a"b\\c\nd',
    "importer_done",
    "importer_importing_users",
    "importer_" * 20,
    [],
    {},
    [[]],
    [{}],
    {"$date": 1_800_000_000_000},
    {"total": -5, "completed": 2**60, "error": "7", "users": 1.0},
)
"""What a field may hold instead of its value."""
KEYS: Final = ("_id", "status", "valid", "ts", "_updatedAt", "count", "importerKey", "success", "state", "operation")
STATUSES: Final = (100, 200, 204, 206, 301, 400, 401, 403, 404, 408, 429, 500, 502, 599)
HEADERS: Final = ("Date", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Content-Type")
HEADER_VALUES: Final = (
    "",
    "0",
    "-1",
    "9" * 15,
    "9" * 400,
    "1.5",
    "NaN",
    "text/html",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 32 Foo 2026 25:61:61 GMT",
    "Fri, 15 Jan 2027 08:00:00 +99999999",
    "\u0661\u0662",
    "\udcff",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A real answer, and the JSON in its body: `None` if it is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    text: str | None


@cache
def seeds() -> Mapping[Api, Sequence[Seed]]:
    """Different answers of each endpoint: from recordings, and from the simulator's stories and faults."""
    found: dict[Api, dict[tuple[int, bytes], Seed]] = {api: {} for api in Api}
    for api, status, headers, body in (*_recorded(), *_simulated()):
        if len(body) <= LARGEST_SEED:
            seed = Seed(status=status, headers=headers, body=body, text=_json(body))
            found[api].setdefault((status, body), seed)
    return {api: tuple(each.values()) for api, each in found.items()}


_Answer = tuple[Api, int, Mapping[str, str], bytes]


def _recorded() -> Iterator[_Answer]:
    for name in NAMES:
        responses = recorded(name)["responses"]
        for response in responses if isinstance(responses, list) else ():
            if response["status"]:
                body = str(response["body"]).encode()
                yield Api(response["endpoint"]), int(response["status"]), dict(response["headers"]), body


def _simulated() -> Iterator[_Answer]:
    for telling in (stories.csv_migration(), stories.slack_migration(), stories.rolling_deploy(), _every_importer):
        for version in VERSIONS:
            story = Story(telling, version=version)
            for at in range(0, int(story.length), PLAYED):
                for api in Api:
                    answer = story.answer(Call(endpoint=api, at=at, started=STARTED))
                    if isinstance(answer, Reply):
                        yield api, answer.status, answer.headers, answer.body
    for name, fault in FAULTS.items():
        for api in Api if name not in LARGE else ():
            good = Story(stories.idle()).answer(Call(endpoint=api, at=1, started=STARTED))
            answer = fault(good) if isinstance(good, Reply) else good
            if isinstance(answer, Reply):
                yield api, answer.status, answer.headers, answer.body


def _every_importer(stage: Stage) -> None:
    stage.limit_rate()
    for importer in IMPORTERS:
        stage.create(importer)
        stage.load(users=9, messages=50, seconds=PLAYED)
        stage.run(seconds=PLAYED, rejected=2)


def _json(body: bytes) -> str | None:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    return body.decode(errors="replace")


def mutated(dice: Random, api: Api) -> Response:
    """An answer of this endpoint with a few random changes, or none. Few are another endpoint's answer."""
    known = seeds()
    told = known[dice.choice(tuple(Api)) if dice.random() < 0.05 else api]
    seed = next((each for each in dice.choices(told, k=4) if each.status == HTTPStatus.OK), told[0])
    body = seed.body
    if seed.text is not None and dice.random() < 0.7:
        body = _written(dice, _changed_json(dice, json.loads(seed.text)))
    for _ in range(dice.choice((0, 0, 0, 0, 0, 1, 1, 2, 6))):
        body = dice.choice(_BYTES)(dice, body)
    return _with_head(dice, seed, body)


def _with_head(dice: Random, seed: Seed, body: bytes) -> Response:
    status = dice.choice(STATUSES) if dice.random() < 0.05 else seed.status
    headers: CIMultiDict[str] = CIMultiDict(seed.headers)
    while dice.random() < 0.1:
        headers[dice.choice(HEADERS)] = dice.choice(HEADER_VALUES)
    too_large = dice.random() < 0.01
    return Response(status=status, headers=headers, body=b"" if too_large else body, too_large=too_large)


def _written(dice: Random, value: object) -> bytes:
    """The value as JSON with the separators of servers, or with others."""
    separators = (",", ":") if dice.random() < 0.9 else (", ", " : ")
    text = json.dumps(value, separators=separators, ensure_ascii=dice.random() < 0.5)
    return text.encode(errors="surrogatepass")


def _changed_json(dice: Random, value: object) -> object:
    """The value with some of its parts changed."""
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 8))):
        places = list(_places(value))
        # Copies of copies would soon fill the memory.
        if len(places) > MOST_PLACES:
            return value
        if not places or dice.random() < 0.02:
            return dice.choice((_nested, _wrapped))(dice, value)
        _change(dice, dice.choice(places), value)
    return value


Place = tuple[object, object]
"""An array or an object, and an index or a key of it."""


def _places(value: object) -> Iterator[Place]:
    """Every place in the value that holds another one."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from ((each, key) for key in each)
            waiting += each.values()
        elif isinstance(each, list):
            yield from ((each, index) for index in range(len(each)))
            waiting += each


def _change(dice: Random, place: Place, whole: object) -> None:
    kind = dice.randrange(6)
    match place:
        case [list() as items, int(at)]:
            if kind == 0:
                del items[at]
            elif kind == 1:
                items[at:at] = [_copied(items[at]) for _ in range(dice.choice((1, 2, 30)))]
            elif kind == 2:
                dice.shuffle(items)
            else:
                items[at] = _other(dice, items[at], whole)
        case [dict() as members, str(key)]:
            if kind == 0:
                del members[key]
            elif kind == 1:
                members[dice.choice(KEYS)] = members.pop(key)
            elif kind == 2:
                other = dice.choice(list(members))
                members[key], members[other] = members[other], members[key]
            else:
                members[key] = _other(dice, members[key], whole)
        case _:
            raise TypeError(place)


def _copied(value: object) -> object:
    copy: object = json.loads(json.dumps(value))
    return copy


def _other(dice: Random, old: object, whole: object) -> object:
    """Another value for a place that held the old one."""
    kind = dice.randrange(8)
    if kind == 0:
        return str(old)
    if kind == 1:
        return _nested(dice, old)
    if kind == 2:
        return _copied(whole)
    if isinstance(old, bool) and kind < 6:
        return not old
    if isinstance(old, int | float) and kind < 6:
        return dice.choice((-old, old + 1, old * 1000, 0.5, 0))
    if isinstance(old, str) and old and kind < 6:
        at = dice.randrange(len(old))
        return old[:at] + dice.choice(("", "0", "9", "é", "\ud83d", "\0", MARK)) + old[at + dice.randrange(2) :]
    return _copied(dice.choice(VALUES))


def _nested(dice: Random, value: object) -> object:
    for _ in range(dice.choice((1, 2, 20, 200))):
        value = [value] if dice.random() < 0.5 else {dice.choice(KEYS): value}
    return value


def _wrapped(dice: Random, value: object) -> object:
    return {dice.choice((*KEYS, "operations")): value, "success": dice.choice((True, True, False, 1, "true"))}


def _cut(dice: Random, body: bytes) -> bytes:
    return body[: dice.randrange(len(body) + 1)]


def _flip(dice: Random, body: bytes) -> bytes:
    if not body:
        return body
    at = dice.randrange(len(body))
    return body[:at] + bytes((body[at] ^ (1 << dice.randrange(8)),)) + body[at + 1 :]


def _drop(dice: Random, body: bytes) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + body[at + dice.choice((1, 2, 10, 300)) :]


def _insert(dice: Random, body: bytes) -> bytes:
    at = dice.randrange(len(body) + 1)
    piece = dice.choice(TOKENS) if dice.random() < 0.8 else dice.randbytes(dice.randrange(40))
    return body[:at] + piece + body[at:]


def _repeat(dice: Random, body: bytes) -> bytes:
    at, most = dice.randrange(len(body) + 1), dice.choice((1, 10, 600))
    return body[:at] + body[at : at + most] * dice.choice((1, 2, 8)) + body[at:]


def _splice(dice: Random, body: bytes) -> bytes:
    other = dice.choice(seeds()[dice.choice(tuple(Api))]).body
    return _cut(dice, body) + other[dice.randrange(len(other) + 1) :]


def _number(dice: Random, body: bytes) -> bytes:
    """Another number in the place of one."""
    digits = [at for at, byte in enumerate(body) if 48 <= byte <= 57]
    if not digits:
        return body
    at = dice.choice(digits)
    return body[:at] + dice.choice((b"-", b"1e9", b"99999999999999999999", b"0x1", b"1.5", b"")) + body[at + 1 :]


_BYTES: Final[Sequence[Callable[[Random, bytes], bytes]]] = (
    _cut,
    _flip,
    _drop,
    _insert,
    _insert,
    _repeat,
    _splice,
    _number,
)
