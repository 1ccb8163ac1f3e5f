"""Ways to write the path of an option: dotted in messages, in capitals as an environment variable, as a flag."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rc_import_exporter.config.options import ANY, OPTIONS, WORKSPACES, Path, option_at

_NEAR: Final = 0.75
"""How similar two words must be to suggest one for the other. difflib's own 0.6 suggests `labels` for `tables`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """A way to write paths. `groups` says that a group of options can be written without an option, as in YAML."""

    prefix: str
    separator: str
    write_key: Callable[[str], str]
    read_key: Callable[[str], str]
    groups: bool = False

    def write(self, path: Path) -> str:
        """The path in this notation."""
        return self.prefix + self.separator.join(map(self.write_key, path))

    def read(self, written: str) -> Path | None:
        """The path of the option written like this; `None` if no option is.

        A workspace's name may hold the separator. It ends where the longest option of workspaces begins.
        """
        keys = tuple(map(self.read_key, self._split(written)))
        if keys[0] != WORKSPACES:
            return keys if option_at(keys) else None
        for end in range(2, len(keys)):
            path = (WORKSPACES, self.separator.join(keys[1:end]), *keys[end:])
            if option_at(path):
                return path
        return None

    def suggest(self, written: str) -> str | None:
        """The option most similar to a misspelt one, in this notation."""
        candidates = list(self._candidates(self._split(written)))
        near = difflib.get_close_matches(written.lower(), [one.lower() for one in candidates], n=1, cutoff=_NEAR)
        return next((one for one in candidates if one.lower() in near), None)

    def _split(self, written: str) -> Sequence[str]:
        return written.removeprefix(self.prefix).split(self.separator)

    def _candidates(self, parts: Sequence[str]) -> Iterator[str]:
        names = [self.separator.join(parts[1:end]) for end in range(2, max(len(parts), 3))] if len(parts) > 1 else []
        for option in OPTIONS:
            path = option.path
            if path[-1] == ANY:
                # Keep the name that the operator chose, if it stands in a group whose name is similar.
                if not difflib.get_close_matches("".join(parts[-2:-1]).lower(), [path[-2]], cutoff=_NEAR):
                    continue
                path = (*path[:-1], self.read_key(parts[-1]))
            yield self.write(path)
            yield from (self.write((WORKSPACES, name, *path)) for name in names if option.each)
        if self.groups:
            yield from (WORKSPACES, *(option.path[0] for option in OPTIONS if len(option.path) > 1))


DOTTED: Final = Notation(prefix="", separator=".", write_key=str, read_key=str, groups=True)
VARIABLE: Final = Notation(prefix="RC_IMPORT_EXPORTER_", separator="__", write_key=str.upper, read_key=str.lower)


def flag(path: Path) -> str:
    """The flag that sets an option."""
    return f"--{'.'.join(path).replace('_', '-')}"
