"""Options as data, and the three ways to write one: as a flag, as a variable, in YAML. Used by flags, environment,
settings and whatever shows a table of options.

A path is the keys of an option from the top of the YAML document: `("tls", "ca_file")`, or, for one workspace,
`("workspaces", "acme", "tls", "ca_file")`. The key `*` in an option stands for a name that the operator chooses.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

WORKSPACES: Final = "workspaces"
ANY: Final = "*"
_NEAR: Final = 0.75
"""How alike two words must be to suggest one for the other; difflib's own 0.6 suggests `labels` for `tables`."""

Path = tuple[str, ...]


@unique
class Group(StrEnum):
    """What belongs together in help texts and tables."""

    PROCESS = "The exporter"
    SINGLE = "The workspace"
    SHARED = "How to ask, and what to expect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `allowed` ends the sentence "must be …"; `default` is as an operator would write it, or empty.

    `each` says that every workspace may have its own, below `workspaces.NAME`. `in_file` says that YAML may hold it,
    `is_file` that its value is the path of a file.
    """

    path: Path
    group: Group
    help: str
    metavar: str
    allowed: str
    default: str = ""
    switch: bool = False
    each: bool = False
    in_file: bool = True
    is_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """A way to write paths; the name of a workspace is written as it is, but in the environment in capitals.

    `groups` says that what holds options can be written by itself, as it can in YAML.
    """

    prefix: str
    separator: str
    write_key: Callable[[str], str]
    read_key: Callable[[str], str]
    write_name: Callable[[str], str]
    read_name: Callable[[str], str]
    groups: bool = False

    def write(self, path: Path) -> str:
        """The path as it stands on a command line, in an environment, in a message."""
        keys = [self.write_key(key) for key in path]
        if path[0] == WORKSPACES and len(path) > 1:
            keys[1] = self.write_name(path[1])
        return self.prefix + self.separator.join(keys)

    def read(self, written: str, options: Sequence[Option]) -> Path | None:
        """The path of the option so written; `None` where there is none.

        A workspace's name may hold the separator: it ends where an option of workspaces begins, the longest there is.
        """
        parts = written.removeprefix(self.prefix).split(self.separator)
        if (path := self._find(parts, options)) is not None:
            return path
        if parts[0] != self.write_key(WORKSPACES):
            return None
        each = [option for option in options if option.each]
        for end in range(2, len(parts)):
            if (path := self._find(parts[end:], each)) is not None:
                return (WORKSPACES, self.read_name(self.separator.join(parts[1:end])), *path)
        return None

    def suggest(self, written: str, options: Sequence[Option]) -> str | None:
        """The option that somebody who wrote this may have meant, in this notation."""
        candidates = list(self._candidates(written, options))
        near = difflib.get_close_matches(written.lower(), [one.lower() for one in candidates], n=1, cutoff=_NEAR)
        return next((one for one in candidates if one.lower() in near), None)

    def _find(self, parts: Sequence[str], options: Sequence[Option]) -> Path | None:
        for option in options:
            if len(option.path) == len(parts) and all(map(self._fits, option.path, parts)):
                return tuple(map(self._take, option.path, parts))
        return None

    def _fits(self, key: str, part: str) -> bool:
        return bool(part) if key == ANY else self.write_key(key) == part

    def _take(self, key: str, part: str) -> str:
        return self.read_key(part) if key == ANY else key

    def _candidates(self, written: str, options: Sequence[Option]) -> Iterator[str]:
        parts = written.removeprefix(self.prefix).split(self.separator)
        names = [self.separator.join(parts[1:end]) for end in range(2, max(len(parts), 3))] if len(parts) > 1 else []
        for option in options:
            if (path := self._named_alike(option.path, parts)) is None:
                continue
            yield self.write(path)
            yield from (self.write((WORKSPACES, name, *path)) for name in names if option.each)
        if self.groups:
            yield from (WORKSPACES, *(option.path[0] for option in options if len(option.path) > 1))

    def _named_alike(self, path: Path, parts: Sequence[str]) -> Path | None:
        """The path with the name that stands in it, as long as it stands below a word like the option's."""
        if path[-1] != ANY:
            return path
        above = parts[-2:-1] or [""]
        alike = difflib.get_close_matches(above[0].lower(), [path[-2]], cutoff=_NEAR)
        return (*path[:-1], self.read_key(parts[-1])) if alike else None


def option_at(path: Path, options: Sequence[Option]) -> Option | None:
    """The option that a path belongs to."""
    below = path[2:] if path[:1] == (WORKSPACES,) else path
    fits = (option for option in options if len(option.path) == len(below) and (option.each or below == path))
    return next(
        (one for one in fits if all(key in (ANY, part) for key, part in zip(one.path, below, strict=True))), None
    )


def _as_is(key: str) -> str:
    return key


DOTTED: Final = Notation(
    prefix="", separator=".", write_key=_as_is, read_key=_as_is, write_name=_as_is, read_name=_as_is, groups=True
)
"""As messages name an option."""

FLAG: Final = Notation(
    prefix="--",
    separator=".",
    write_key=lambda key: key.replace("_", "-"),
    read_key=lambda part: part.replace("-", "_"),
    write_name=_as_is,
    read_name=_as_is,
)

VARIABLE: Final = Notation(
    prefix="RC_IMPORT_EXPORTER_",
    separator="__",
    write_key=str.upper,
    read_key=str.lower,
    write_name=str.upper,
    read_name=str.lower,
)
