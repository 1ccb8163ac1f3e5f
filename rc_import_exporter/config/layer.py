"""What one source (flags, environment, file) sets, before any value is checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rc_import_exporter.config.options import Path

_SHOWABLE: Final = re.compile(r"[A-Za-z0-9_. -]{1,40}")
"""A key that a message may show. Rocket.Chat's tokens have 43 characters, and `token:secret` has a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Values by path (texts, lists, `None`, empty mappings), where each path was set, and the mistakes found so far."""

    values: Mapping[Path, object] = field(default_factory=dict)
    origins: Mapping[Path, str] = field(default_factory=dict)
    mistakes: Sequence[str] = ()


def name(path: Path) -> str:
    """The path for a message, without keys that could be a secret in the wrong place."""
    return ".".join(key if _SHOWABLE.fullmatch(key) else "…" for key in path)


def mistake(path: Path, wrong: str, origin: str | None = None) -> str:
    """One line about one option."""
    return f"{name(path)}: {wrong}" + (f" (from {origin})" if origin else "")
