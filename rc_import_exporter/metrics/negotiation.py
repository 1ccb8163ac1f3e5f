"""Chooses the format and the encoding of a page from the headers `Accept` and `Accept-Encoding`.

Every header gets an answer, by the rules of RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3.
"""

import re
from collections.abc import Mapping
from enum import Enum, StrEnum, unique
from functools import lru_cache
from typing import Final


@unique
class Format(Enum):
    """The formats of a page. Each value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@unique
class Encoding(StrEnum):
    """The content encodings of a page."""

    IDENTITY = "identity"
    GZIP = "gzip"


_BY_NAME: Final = 2
_BY_VERSION: Final = 3
# The media ranges that match a format, the least specific first; the version stands behind the semicolon.
_TEXT: Final = ("*/*", "text/*", "text/plain", "text/plain;0.0.4")
_OPENMETRICS: Final = (
    *("*/*", "application/*", "application/openmetrics-text"),
    # Prometheus before 2.49 asks for 0.0.1 and can read 1.0.0.
    *("application/openmetrics-text;0.0.1", "application/openmetrics-text;1.0.0"),
)

# The text up to the next comma or semicolon outside of quotes. `*+` never backtracks, so no header takes long.
_ELEMENT, _PART = (re.compile(rf'(?:[^"{end}]++|"(?:[^"\\]|\\.)*+"?)*+', re.DOTALL) for end in ",;")
_QUALITY: Final = re.compile(r"0(\.[0-9]*)?|1(\.0*)?|\.[0-9]+", re.ASCII)


@lru_cache(maxsize=256)
def choose_format(accept: str | None) -> Format:
    """The format that the client prefers: text where it accepts neither or there is no header.

    If it wants both equally, the more specific range decides: then OpenMetrics if both are named, text if neither is.
    """
    wanted = _qualities(accept)
    text, openmetrics = _wanted(wanted, _TEXT), _wanted(wanted, _OPENMETRICS)
    quality, specificity = openmetrics
    preferred = openmetrics > text or (openmetrics == text and specificity >= _BY_NAME)
    return Format.OPENMETRICS if quality > 0 and preferred else Format.TEXT


@lru_cache(maxsize=256)
def choose_encoding(accept_encoding: str | None) -> Encoding:
    """Gzip if the client accepts it and does not prefer the plain page, else the plain page."""
    wanted = _qualities(accept_encoding)
    others = wanted.get("*", 0.0)
    gzip = max((wanted[name] for name in ("gzip", "x-gzip") if name in wanted), default=others)
    return Encoding.GZIP if gzip > 0 and gzip >= wanted.get("identity", others) else Encoding.IDENTITY


def _wanted(wanted: Mapping[str, float], ranges: tuple[str, ...]) -> tuple[float, int]:
    """The quality of the most specific range that the client names, and how specific that is."""
    depth = max((depth for depth, name in enumerate(ranges) if name in wanted), default=None)
    return (0.0, 0) if depth is None else (wanted[ranges[depth]], min(depth, _BY_VERSION))


def _qualities(header: str | None) -> dict[str, float]:
    """The quality of each element of the header. Leaves out those whose quality is not a number from 0 to 1."""
    qualities: dict[str, float] = {}
    for element in _ELEMENT.findall(header or ""):
        name, *rest = (part.strip().lower() for part in _PART.findall(element))
        pairs = [part.partition("=") for part in reversed(rest)]  # reversed: if a parameter repeats, the first counts
        parameters = {key.strip(): value.strip() for key, _, value in pairs}
        if "version" in parameters and "*" not in name:
            name += ";" + re.sub(r"\\(.)", r"\1", parameters["version"].strip('"'))
        if _QUALITY.fullmatch(quality := parameters.get("q", "1")):
            qualities[name] = max(float(quality), qualities.get(name, 0.0))
    return qualities
