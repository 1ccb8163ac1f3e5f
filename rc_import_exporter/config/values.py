"""The kinds of values that options take: each reads a text, and says in words what is allowed. Used by settings.

A kind's `read` gets what the configuration holds, a `str` wherever it is one value, and raises `ValueError` with what
it must be; it never shows what it got.
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from rc_import_exporter.config import address, credentials, duration, files
from rc_import_exporter.core.domain import Api

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * KIBIBYTE
GIBIBYTE: Final = 1024 * MEBIBYTE
_SIZES: Final = {"": 1, "KiB": KIBIBYTE, "MiB": MEBIBYTE, "GiB": GIBIBYTE}
_SIZE: Final = re.compile(r"([0-9]{1,18}) ?(|KiB|MiB|GiB)")
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_RATIO: Final = re.compile(r"[0-9]{0,3}\.?[0-9]{1,18}|[0-9]\.")
_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_LARGEST_PEM: Final = 4 * MEBIBYTE

RESERVED_LABELS: Final = frozenset(
    {
        "job",
        "instance",
        "endpoint",
        "namespace",
        "pod",
        "container",
        "service",
        "node",
        "workspace",
        "url",
        "le",
        "quantile",
    }
)
"""What scrape configurations attach, and what the exporter's own series carry."""

ReadT_co = TypeVar("ReadT_co", covariant=True)
EnumT = TypeVar("EnumT", bound=StrEnum)


class Kind(Protocol[ReadT_co]):
    """How a value is read; `allowed` ends the sentence "must be …", `metavar` stands for the value in help."""

    @property
    def metavar(self) -> str: ...
    @property
    def allowed(self) -> str: ...
    def read(self, value: object) -> ReadT_co:
        """The value; raises `ValueError`."""


def text(value: object) -> str:
    """One value as text; raises `ValueError` for a list, a mapping, and bytes that are not UTF-8."""
    if not isinstance(value, str):
        raise ValueError("must be one value, not a list or a mapping")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must be UTF-8")
    return value


@dataclass(frozen=True, slots=True)
class Text:
    """Any text that is not empty and matches a pattern."""

    pattern: str
    allowed: str
    metavar: str = "TEXT"

    def fits(self, given: str) -> bool:
        """Whether the text is one of these."""
        return bool(re.fullmatch(self.pattern, given))

    def read(self, value: object) -> str:
        if not self.fits(given := text(value)):
            raise ValueError(f"must be {self.allowed}")
        return given


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds between two bounds."""

    least: float
    most: float
    metavar: ClassVar[str] = "DURATION"

    @property
    def allowed(self) -> str:
        return f"a duration from {duration.write(self.least)} to {duration.write(self.most)}"

    def read(self, value: object) -> float:
        given = text(value)
        try:
            seconds = duration.parse(given)
        except ValueError:
            seconds = math.nan
        if not self.least <= seconds <= self.most:
            raise ValueError(f"must be {self.allowed}, written like 15s, 1m30s or plain seconds")
        return seconds


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes between two bounds."""

    least: int
    most: int
    metavar: ClassVar[str] = "BYTES"

    @property
    def allowed(self) -> str:
        return f"bytes from {write_size(self.least)} to {write_size(self.most)}"

    def read(self, value: object) -> int:
        found = _SIZE.fullmatch(text(value))
        size = int(found[1]) * _SIZES[found[2]] if found else -1
        if not self.least <= size <= self.most:
            raise ValueError(f"must be {self.allowed}, written like 8MiB or a plain number")
        return size


def write_size(size: int) -> str:
    """Bytes in the largest binary unit that comes out even."""
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "") if size % _SIZES[unit] == 0)
    return f"{size // _SIZES[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from 0 on."""

    most: int
    metavar: ClassVar[str] = "NUMBER"

    @property
    def allowed(self) -> str:
        return f"a whole number from 0 to {self.most}"

    def read(self, value: object) -> int:
        given = text(value)
        if not _COUNT.fullmatch(given) or int(given) > self.most:
            raise ValueError(f"must be {self.allowed}")
        return int(given)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share of a whole."""

    metavar: ClassVar[str] = "RATIO"
    allowed: ClassVar[str] = "a number from 0 to 1"

    def read(self, value: object) -> float:
        given = text(value)
        if not _RATIO.fullmatch(given) or float(given) > 1:
            raise ValueError(f"must be {self.allowed}, written like 0.05")
        return float(given)


@dataclass(frozen=True, slots=True)
class Boolean:
    """Yes or no, in the words that YAML's readers know."""

    metavar: ClassVar[str] = "BOOLEAN"
    allowed: ClassVar[str] = "true or false"

    def read(self, value: object) -> bool:
        answer = _BOOLEANS.get(text(value).lower())
        if answer is None:
            raise ValueError(f"must be {self.allowed}")
        return answer


@dataclass(frozen=True, slots=True)
class Choice(Generic[EnumT]):
    """One of a closed set of words."""

    words: type[EnumT]
    metavar: ClassVar[str] = "WORD"

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}"

    def read(self, value: object) -> EnumT:
        given = text(value)
        try:
            return self.words(given)
        except ValueError:
            raise ValueError(f"must be {self.allowed}") from None


@dataclass(frozen=True, slots=True)
class Apis:
    """The endpoints that may be asked: a list, or words between commas."""

    metavar: ClassVar[str] = "API,…"
    allowed: ClassVar[str] = f"some of {', '.join(Api)}, and not {Api.INFO} alone"

    def read(self, value: object) -> frozenset[Api]:
        words = [text(word) for word in value] if isinstance(value, list) else text(value).split(",")
        try:
            apis = frozenset(Api(word.strip()) for word in words)
        except ValueError:
            apis = frozenset()
        if not apis - {Api.INFO}:
            raise ValueError(f"must be {self.allowed}")
        return apis


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen."""

    metavar: ClassVar[str] = "HOST:PORT"
    allowed: ClassVar[str] = "HOST:PORT, :PORT for every address, [IPv6]:PORT"

    def read(self, value: object) -> address.Listen:
        return address.listen(text(value))


@dataclass(frozen=True, slots=True)
class WorkspaceUrl:
    """A workspace's base URL."""

    metavar: ClassVar[str] = "URL"
    allowed: ClassVar[str] = "http:// or https://, a host, perhaps a path"

    def read(self, value: object) -> str:
        return address.workspace_url(text(value))


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A forward proxy's URL."""

    metavar: ClassVar[str] = "URL"
    allowed: ClassVar[str] = "http:// or https://, perhaps USER:PASSWORD@, a host, a port"

    def read(self, value: object) -> str:
        return address.proxy_url(text(value))


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in clear."""

    metavar: ClassVar[str] = "SECRET"
    allowed: ClassVar[str] = "printable ASCII without blanks"

    def read(self, value: object) -> str:
        return credentials.check(text(value))


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that holds a secret and nothing else; read here to find mistakes, and again by whoever sends it."""

    metavar: ClassVar[str] = "FILE"
    allowed: ClassVar[str] = "a readable file of one line"

    def read(self, value: object) -> str:
        credentials.read(path := _path(value))
        return path


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file in PEM form; whether it holds what it should is for `tls` to find out."""

    metavar: ClassVar[str] = "FILE"
    allowed: ClassVar[str] = "a readable file in PEM form"

    def read(self, value: object) -> str:
        files.read(path := _path(value), _LARGEST_PEM)
        return path


@dataclass(frozen=True, slots=True)
class AnyFile:
    """A file's path, read elsewhere."""

    metavar: ClassVar[str] = "FILE"
    allowed: ClassVar[str] = "a readable file"

    def read(self, value: object) -> str:
        return _path(value)


@dataclass(frozen=True, slots=True)
class LabelName:
    """The name of a label that scrape configurations and the exporter itself leave free."""

    metavar: ClassVar[str] = "NAME"
    allowed: ClassVar[str] = (
        f"[a-zA-Z_][a-zA-Z0-9_]*, not beginning with __, none of {', '.join(sorted(RESERVED_LABELS))}"
    )

    def read(self, value: object) -> str:
        name = text(value)
        if not re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name) or name in RESERVED_LABELS:
            raise ValueError(f"must have a label's name: {self.allowed}")
        return name


@dataclass(frozen=True, slots=True)
class LabelValue:
    """A label's value; an empty one takes a default label away, as Prometheus has it."""

    metavar: ClassVar[str] = "TEXT"
    allowed: ClassVar[str] = "any text of one line"

    def read(self, value: object) -> str:
        given = "" if value is None else text(value)
        if not given.isprintable():
            raise ValueError("must be one line without control characters")
        return given


def _path(value: object) -> str:
    path = text(value)
    if not path or "\0" in path:
        raise ValueError("must be the path of a file")
    return path
