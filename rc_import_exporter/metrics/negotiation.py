"""Which format and which encoding of a page a client gets, from its `Accept` and `Accept-Encoding` headers.

Called by `web` for every scrape. Both functions are total: whatever a client sends, it gets a page that it can read as
far as it told. The rules are those of RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, unique
from functools import lru_cache
from operator import itemgetter
from typing import Final


@unique
class Format(Enum):
    """The formats that a page exists in; the value is the Content-Type that it is sent with."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@unique
class Encoding(StrEnum):
    """The content codings that a page exists in."""

    IDENTITY = "identity"
    GZIP = "gzip"


_EXACT_VERSION: Final = 4
_NEAR_VERSION: Final = 3
_TYPE: Final = 2
_SUBTYPE_WILDCARD: Final = 1
_WILDCARD: Final = 0

_OFFERS: Final[Mapping[Format, tuple[str, Mapping[str, int]]]] = {
    Format.TEXT: ("text/plain", {"0.0.4": _EXACT_VERSION}),
    # Prometheus before 2.49 asked for 0.0.1 and reads 1.0.0.
    Format.OPENMETRICS: ("application/openmetrics-text", {"1.0.0": _EXACT_VERSION, "0.0.1": _NEAR_VERSION}),
}
_GZIP_NAMES: Final = frozenset({"gzip", "x-gzip"})
_QUALITY: Final = re.compile(r"0(\.[0-9]*)?|1(\.0*)?|\.[0-9]+", re.ASCII)
_PIECES: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[^",;]++|[,;]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Range:
    """One element of a header: a media range or a coding, how much it is wanted, and the version it asks for."""

    name: str
    quality: float
    version: str | None


@lru_cache(maxsize=256)
def choose_format(accept: str | None) -> Format:
    """The format for an `Accept` header, `None` where there was none: text 0.0.4 whenever nothing better is acceptable.

    Equally wanted, the range that says more wins; both named, OpenMetrics does; both by wildcard, text does.
    """
    ranges = list(_ranges(accept or ""))
    text, openmetrics = _wanted(ranges, Format.TEXT), _wanted(ranges, Format.OPENMETRICS)
    quality, depth = openmetrics
    if quality == 0.0:
        return Format.TEXT
    if openmetrics == text:
        return Format.OPENMETRICS if depth >= _TYPE else Format.TEXT
    return max((openmetrics, Format.OPENMETRICS), (text, Format.TEXT), key=itemgetter(0))[1]


@lru_cache(maxsize=256)
def choose_encoding(accept_encoding: str | None) -> Encoding:
    """The coding for an `Accept-Encoding` header: gzip where it is acceptable and wanted no less than identity."""
    wanted: dict[str, float] = {}
    for each in _ranges(accept_encoding or ""):
        name = "gzip" if each.name in _GZIP_NAMES else each.name
        wanted[name] = max(each.quality, wanted.get(name, 0.0))
    anything = wanted.get("*", 0.0)
    gzip = wanted.get("gzip", anything)
    return Encoding.GZIP if gzip > 0.0 and gzip >= wanted.get("identity", anything) else Encoding.IDENTITY


def _wanted(ranges: list[_Range], offer: Format) -> tuple[float, int]:
    """How much an offer is wanted, by the ranges that say most about it, and how much they say."""
    matches = [(depth, each.quality) for each in ranges if (depth := _depth(each, offer)) is not None]
    depth, quality = max(matches, default=(_WILDCARD, 0.0))
    return quality, min(depth, _NEAR_VERSION)


def _depth(wanted: _Range, offer: Format) -> int | None:
    name, versions = _OFFERS[offer]
    if wanted.name == name:
        return _TYPE if wanted.version is None else versions.get(wanted.version)
    if wanted.name == name.partition("/")[0] + "/*":
        return _SUBTYPE_WILDCARD
    return _WILDCARD if wanted.name == "*/*" else None


def _ranges(header: str) -> Iterator[_Range]:
    """The header's elements; one whose quality is no number from 0 to 1 is left out."""
    for name, *parameters in _elements(header):
        quality, version = "1", None
        for parameter in parameters:
            key, _, value = (part.strip() for part in parameter.partition("="))
            if key.lower() == "q":
                quality = value
                break
            if key.lower() == "version":
                version = _unquoted(value)
        if _QUALITY.fullmatch(quality):
            yield _Range(name.strip().lower(), float(quality), version)


def _elements(header: str) -> Iterator[list[str]]:
    """The header cut at its commas, and each element at its semicolons; quoted strings stay whole."""
    parts = [""]
    for piece in _PIECES.findall(header):
        if piece == ",":
            yield parts
            parts = [""]
        elif piece == ";":
            parts.append("")
        else:
            parts[-1] += piece
    yield parts


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:].removesuffix('"')) if value.startswith('"') else value
