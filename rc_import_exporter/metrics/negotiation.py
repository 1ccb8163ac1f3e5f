"""Chooses the format and the encoding of a page from the headers `Accept` and `Accept-Encoding`.

Every header gets an answer, by the rules of RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3.
"""

import re
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Final


class Format(Enum):
    """The formats of a page. Each value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Encoding(StrEnum):
    """The content encodings of a page."""

    IDENTITY = "identity"
    GZIP = "gzip"


# How specific each range is that matches a format; `;` stands before a version. OpenMetrics wins over text by one where
# both are named. Prometheus before 2.49 asks for OpenMetrics 0.0.1 and can read 1.0.0.
_TEXT: Final = {"text/plain;0.0.4": 4, "text/plain": 2, "text/*": 1, "*/*": 0}
_NAME: Final = "application/openmetrics-text"
_OPENMETRICS: Final = {f"{_NAME};1.0.0": 6, f"{_NAME};0.0.1": 5, _NAME: 3, "application/*": 1, "*/*": 0}

# The text up to the next comma or semicolon outside of quotes. `*+` never backtracks, so no header takes long.
_ELEMENT, _PART = (re.compile(rf'(?:[^"{end}]++|"(?:[^"\\]|\\.)*+"?)*+', re.DOTALL) for end in ",;")
_QUALITY: Final = re.compile(r"0(\.[0-9]*)?|1(\.0*)?|\.[0-9]+", re.ASCII)


@lru_cache(maxsize=256)
def choose_format(accept: str | None) -> Format:
    """The format that the client prefers. Between equals, the more specific range decides; text is the default."""
    wanted = _qualities(accept)
    text = next(((wanted[name], specific) for name, specific in _TEXT.items() if name in wanted), (0.0, 0))
    openmetrics = next(
        ((wanted[name], specific) for name, specific in _OPENMETRICS.items() if name in wanted), (0.0, 0)
    )
    return Format.OPENMETRICS if openmetrics > text and openmetrics[0] > 0 else Format.TEXT


@lru_cache(maxsize=256)
def choose_encoding(accept_encoding: str | None) -> Encoding:
    """Gzip if the client accepts it and does not prefer the plain page, else the plain page."""
    wanted = _qualities(accept_encoding)
    others = wanted.get("*", 0.0)
    gzip = max((wanted[name] for name in ("gzip", "x-gzip") if name in wanted), default=others)
    return Encoding.GZIP if gzip > 0 and gzip >= wanted.get("identity", others) else Encoding.IDENTITY


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
