"""What one source (flags, environment, file) sets, before any value is checked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from rc_import_exporter.config.options import Path

_SHOWABLE: Final = re.compile(r"[A-Za-z0-9_. -]{1,40}")
"""A key that a message may show. Rocket.Chat's tokens have 43 characters, and `token:secret` has a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A tree of texts, `None` and lists, as in YAML; where each path was set; the mistakes found so far."""

    values: dict[str, object] = field(default_factory=dict)
    origins: Mapping[Path, str] = field(default_factory=dict)
    mistakes: Sequence[str] = ()


def plant(values: dict[str, object], path: Path, value: object) -> None:
    """Put a value at its path, and make the mappings above it."""
    *above, last = path
    for key in above:
        values = cast(dict[str, object], values.setdefault(key, {}))
    values[last] = value


def leaves(values: Mapping[str, object], above: Path = ()) -> Iterator[Path]:
    """The paths that have a value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, key))
        elif value is not None:
            yield (*above, key)


def name(path: Path) -> str:
    """The path for a message, without keys that could be a secret in the wrong place."""
    return ".".join(key if _SHOWABLE.fullmatch(key) else "…" for key in path)


def mistake(path: Path, wrong: str, origin: str | None = None) -> str:
    """One line about one option."""
    return f"{name(path)}: {wrong}" + (f" (from {origin})" if origin else "")
