"""The types of values that options take: how a value is read, shown and described.

`Value.read` gets what the configuration holds, a `str` wherever it is one value. It raises `ValueError` with a sentence
that says what the value must be and never shows the value.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from rc_import_exporter.config import address, credentials, duration, files
from rc_import_exporter.core.domain import Api

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * KIBIBYTE
GIBIBYTE: Final = 1024 * MEBIBYTE
_SIZES: Final = {"GiB": GIBIBYTE, "MiB": MEBIBYTE, "KiB": KIBIBYTE, "": 1}
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_LARGEST_PEM: Final = 4 * MEBIBYTE
_SCHEMA_OF_URLS: Final = {"type": "string", "pattern": r"^https?://[^@\s]+$"}
"""The Helm chart takes no name and password in a URL, because it writes the URL into a ConfigMap."""

NOT_ONE_VALUE: Final = "must be one value, not a list or a mapping"

RESERVED_LABELS: Final = frozenset(
    "job instance endpoint namespace pod container service node workspace url le quantile".split()  # noqa: SIM905 - shorter
)
"""Labels that scrape configurations attach, and labels that the exporter's own series have."""

RESERVED_HEADERS: Final = (
    *("x-auth-token", "x-user-id", "host", "user-agent", "connection", "keep-alive", "te", "trailer", "upgrade"),
    *("transfer-encoding", "expect", "range", "accept.*", "content-.*", "if-.*", "proxy-.*"),
)
"""Patterns of headers that the exporter or the HTTP library sets, or that change what the answer holds."""

T_co = TypeVar("T_co", covariant=True)
ReadT = TypeVar("ReadT")
NumberT = TypeVar("NumberT", int, float)
EnumT = TypeVar("EnumT", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(Generic[T_co]):
    """A type of value.

    `read` makes the value, `write` makes a text of it that may be shown. `allowed` ends the sentence "must be …".
    `metavar` stands for the value in help texts. `schema` is the value's JSON schema in the Helm chart. `is_file` says
    that the value is the path of a file.
    """

    read: Callable[[object], T_co]
    write: Callable[[T_co], str] = str
    allowed: str
    metavar: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})
    is_secret: bool = False
    is_file: bool = False

    def accepts(self, value: object) -> bool:
        """Whether `read` accepts the value."""
        try:
            self.read(value)
        except ValueError:
            return False
        return True


def one_text(value: object) -> str:
    """The value as text; raises `ValueError` for a list, a mapping, and bytes that are not UTF-8."""
    if not isinstance(value, str):
        raise ValueError(NOT_ONE_VALUE)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must be UTF-8")
    return value


def _reader(parse: Callable[[str], ReadT], allowed: str) -> Callable[[object], ReadT]:
    """A `read` that parses a text, and says what is allowed if that fails."""

    def read(value: object) -> ReadT:
        given = one_text(value)
        try:
            return parse(given)
        except (ValueError, KeyError):
            raise ValueError(f"must be {allowed}") from None

    return read


def _matched(pattern: str, given: str) -> re.Match[str]:
    if (found := re.fullmatch(pattern, given)) is None:
        raise ValueError
    return found


def _within(least: NumberT, number: NumberT, most: NumberT) -> NumberT:
    if not least <= number <= most:
        raise ValueError
    return number


def text(pattern: str, allowed: str, metavar: str = "TEXT") -> Value[str]:
    """A text that matches a pattern."""
    return Value(read=_reader(lambda given: _matched(pattern, given)[0], allowed), allowed=allowed, metavar=metavar)


def seconds(least: float, most: float) -> Value[float]:
    """A duration between two bounds, read as seconds."""
    allowed = f"a duration from {duration.write(least)} to {duration.write(most)}"
    hint = f"{allowed}, written like 15s, 1m30s or plain seconds"
    return Value(
        read=_reader(lambda given: _within(least, duration.parse(given), most), hint),
        write=duration.write,
        allowed=allowed,
        metavar="DURATION",
        schema={"type": ["string", "number"], "pattern": "^[0-9][0-9.ywdhms]*$"},
    )


def size(least: int, most: int) -> Value[int]:
    """A number of bytes between two bounds."""
    allowed = f"bytes from {_write_size(least)} to {_write_size(most)}"
    return Value(
        read=_reader(
            lambda given: _within(least, _read_size(given), most), f"{allowed}, written like 8MiB or a plain number"
        ),
        write=_write_size,
        allowed=allowed,
        metavar="BYTES",
        schema={"type": ["string", "integer"], "pattern": "^[0-9]+ ?(KiB|MiB|GiB)?$"},
    )


def _read_size(given: str) -> int:
    found = _matched("([0-9]{1,18}) ?(|KiB|MiB|GiB)", given)
    return int(found[1]) * _SIZES[found[2]]


def _write_size(size: int) -> str:
    """Bytes in the largest unit that gives a whole number."""
    unit = next(unit for unit, bytes in _SIZES.items() if size % bytes == 0)
    return f"{size // _SIZES[unit]}{unit}"


def count(most: int, least: int = 0) -> Value[int]:
    """A whole number from `least` to `most`."""
    allowed = f"a whole number from {least} to {most}"
    return Value(
        read=_reader(lambda given: _within(least, int(_matched("[0-9]{1,18}", given)[0]), most), allowed),
        allowed=allowed,
        metavar="NUMBER",
        schema={"type": "integer", "minimum": least},
    )


def choice(words: type[EnumT]) -> Value[EnumT]:
    """One of a closed set of words."""
    allowed = f"one of {', '.join(words)}"
    schema = {"enum": [word.value for word in words]}
    return Value(read=_reader(words, allowed), allowed=allowed, metavar="WORD", schema=schema)


RATIO: Final = Value(
    read=_reader(
        lambda given: _within(0.0, float(_matched(r"[0-9]{0,3}\.?[0-9]{1,18}|[0-9]\.", given)[0]), 1.0),
        "a number from 0 to 1, written like 0.05",
    ),
    allowed="a number from 0 to 1",
    metavar="RATIO",
    schema={"type": "number", "minimum": 0, "maximum": 1},
)
BOOLEAN: Final = Value(
    read=_reader(lambda given: _BOOLEANS[given.lower()], "true or false"),
    write=lambda answer: str(answer).lower(),
    allowed="true or false",
    metavar="BOOLEAN",
    schema={"type": "boolean"},
)


def _read_apis(value: object) -> frozenset[Api]:
    """A list in YAML, or words with commas between them."""
    words = map(one_text, value) if isinstance(value, list) else one_text(value).split(",")
    try:
        apis = frozenset(Api(word.strip()) for word in words)
    except ValueError:
        apis = frozenset()
    if not apis - {Api.INFO}:
        raise ValueError(f"must be {APIS.allowed}")
    return apis


APIS: Final = Value(
    read=_read_apis,
    write=lambda apis: ", ".join(sorted(apis)),
    allowed=f"some of {', '.join(Api)}, and not {Api.INFO} alone",
    metavar="API,…",
    schema={"type": "array", "items": {"enum": [api.value for api in Api]}, "minItems": 1},
)
LISTEN_ADDRESS: Final = Value(
    read=lambda value: address.listen(one_text(value)),
    allowed="HOST:PORT, :PORT for every address, [IPv6]:PORT",
    metavar="HOST:PORT",
)
WORKSPACE_URL: Final = Value(
    read=lambda value: address.workspace_url(one_text(value)),
    write=address.public,
    allowed="http:// or https://, a host, perhaps a path",
    metavar="URL",
    schema=_SCHEMA_OF_URLS,
)
PROXY_URL: Final = Value(
    read=lambda value: address.proxy_url(one_text(value)),
    write=address.public,
    allowed="http:// or https://, perhaps USER:PASSWORD@, a host, a port",
    metavar="URL",
    schema=_SCHEMA_OF_URLS,
)
LINK_URL: Final = Value(
    read=lambda value: address.link_url(one_text(value)),
    allowed="http:// or https://, a host, perhaps a path, no user and no query",
    metavar="URL",
    schema=_SCHEMA_OF_URLS,
)
SECRET: Final = Value(
    read=lambda value: credentials.check(one_text(value)),
    write=lambda secret: "********",
    allowed="printable ASCII without blanks",
    metavar="SECRET",
    is_secret=True,
)


def _file(allowed: str, check: Callable[[str], object]) -> Value[str]:
    """The path of a file; `check` raises `ValueError` if the file cannot be used."""

    def read(value: object) -> str:
        path = one_text(value)
        if not path or "\0" in path:
            raise ValueError("must be the path of a file")
        check(path)
        return path

    return Value(read=read, write=files.shown, allowed=allowed, metavar="FILE", is_file=True)


ANY_FILE: Final = _file("a readable file", str)
"""The file is read later."""
SECRET_FILE: Final = _file("a readable file of one line", credentials.read)
PEM_FILE: Final = _file("a readable file in PEM form", lambda path: files.read(path, _LARGEST_PEM))
"""`tls` checks what the file holds."""


def _read_patterns(value: object) -> tuple[str, ...]:
    """A list in YAML, or patterns with commas between them."""
    patterns = tuple(map(one_text, value)) if isinstance(value, list) else tuple(one_text(value).split(","))
    if not all(pattern and "\0" not in pattern for pattern in patterns):
        raise ValueError(f"must be {FILE_PATTERNS.allowed}")
    return patterns


FILE_PATTERNS: Final = Value(
    read=_read_patterns,
    write=lambda patterns: ", ".join(map(files.shown, patterns)),
    allowed="paths of files, which may hold the wildcards * and ?, and ** for any folders",
    metavar="FILE,…",
    schema={"type": "array", "items": {"type": "string"}},
    is_file=True,
)
HEADER: Final = Value(
    read=lambda value: credentials.check_header(one_text(value)),
    write=lambda secret: "********",
    allowed="printable ASCII",
    metavar="SECRET",
    is_secret=True,
)
HEADER_FILE: Final = _file("a readable file of one line", lambda path: credentials.read(path, credentials.check_header))
HEADER_NAME: Final = text(
    rf"(?i:(?!(?:{'|'.join(RESERVED_HEADERS)})$)[!#$%&'*+.^_`|~0-9a-z-]+)",
    f"a header's name, none of {', '.join(RESERVED_HEADERS).replace('.*', '*')}",
)


def _read_label_value(value: object) -> str:
    """An empty value removes the label, as in Prometheus."""
    given = "" if value is None else one_text(value)
    if not given.isprintable():
        raise ValueError("must be one line without control characters")
    return given


LABEL_VALUE: Final = Value(
    read=_read_label_value,
    allowed="any text of one line",
    metavar="TEXT",
    schema={"type": ["string", "number", "boolean"]},
)
LABEL_NAME: Final = text(
    f"(?!__)(?!({'|'.join(RESERVED_LABELS)})$)[a-zA-Z_][a-zA-Z0-9_]*",
    f"a label's name: [a-zA-Z_][a-zA-Z0-9_]*, not beginning with __, none of {', '.join(sorted(RESERVED_LABELS))}",
)
IMPORTER: Final = text("[A-Za-z0-9._-]{1,64}", "an importer's key, like api, csv or slack", "KEY")
HOST: Final = text("[A-Za-z0-9][A-Za-z0-9._-]{0,252}", "a host's name", "HOST")
WORKSPACE_NAME: Final = text("[a-z0-9][a-z0-9._-]*", "a workspace's name: [a-z0-9][a-z0-9._-]*")
