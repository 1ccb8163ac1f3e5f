"""Durations as Prometheus writes them: `15s`, `1m30s`, `500ms`; also plain seconds."""

import re
from typing import Final

_UNITS: Final = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
"""Milliseconds in each unit, largest first, as Prometheus counts them: a year has 365 days."""
_ONLY_WHOLE: Final = frozenset({"y", "w"})
_WRITTEN: Final = re.compile("".join(f"(?:(?P<{unit}>[0-9]{{1,15}}){unit})?" for unit in _UNITS))
_PLAIN: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


def parse(text: str) -> float:
    """Seconds in a duration.

    Units are in descending order, each at most once, with whole numbers. Plain seconds may have decimals.
    Raises `ValueError` for anything else, without showing the text.
    """
    if _PLAIN.fullmatch(text):
        return float(text)
    written = _WRITTEN.fullmatch(text)
    if written is None or not text:
        raise ValueError("not a duration")
    return sum(int(written[unit] or 0) * size for unit, size in _UNITS.items()) / 1000


def write(seconds: float) -> str:
    """The duration as Prometheus shows it, to the millisecond. Weeks and years are used only if nothing remains."""
    if seconds < 0:
        raise ValueError("a duration cannot be negative")
    rest = round(seconds * 1000)
    words = []
    for unit, size in _UNITS.items():
        if rest < size or (unit in _ONLY_WHOLE and rest % size):
            continue
        words.append(f"{rest // size}{unit}")
        rest %= size
    return "".join(words) or "0s"
