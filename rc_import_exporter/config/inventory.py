"""The files of `workspaces_files`: which exist, which workspaces each of them has, and what is wrong with them.

Each file is judged by itself, so that a mistake in one does not keep the others from being reloaded.
"""

import glob
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from rc_import_exporter.config import files, layer, options, values, yaml_file
from rc_import_exporter.config.layer import HEADERS, Layer
from rc_import_exporter.config.options import WORKSPACES, Option, Path, option_at
from rc_import_exporter.errors import ConfigurationError

MadeT = TypeVar("MadeT")

NAME: Final = "{name}"
"""Stands for the workspace's name in the path of a file with credentials."""
_WITH_NAME: Final = (options.USER_ID_FILE, options.AUTH_TOKEN_FILE, options.HEADER_FILE)


def matching(patterns: Iterable[str]) -> Sequence[str]:
    """The files that match, in the order of their paths. A pattern without wildcards counts even if it is missing."""
    found: set[str] = set()
    for pattern in patterns:
        found |= set(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else {pattern}  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(found)


class Inventory:
    """The workspaces of the files that match `patterns`.

    `configured` is the main configuration file. `known` has the workspaces of each file as they are in use, empty at
    the start. `mistakes` has the lines about each file; those with the key "" are about the rest of the configuration.
    `remarks` has a line for each pattern that no file matches.
    """

    def __init__(self, patterns: Iterable[str], configured: Layer, known: Mapping[str, Sequence[str]]) -> None:
        matches = {pattern: matching([pattern]) for pattern in patterns}
        self._layers = {
            path: yaml_file.read(path, options.WORKSPACES_FILES.path, (WORKSPACES,))
            for path in sorted({path for paths in matches.values() for path in paths})
        }
        self.remarks = [_without_files(pattern) for pattern, paths in matches.items() if not paths]
        self._configured = configured
        self.mistakes: dict[str, list[str]] = {}
        self.names: dict[str, Sequence[str]] = {}
        for path, read in self._layers.items():
            for line in read.mistakes:
                self._note(path, line)
            self.names[path] = known.get(path, ()) if read.mistakes else _names(read)
        self._find_doubles(known)
        self._known = known
        self._owners = {name: path for path, names in self.names.items() for name in names}

    @property
    def layer(self) -> Layer:
        """The options of the files without mistakes so far."""
        sound = [read for path, read in self._layers.items() if path not in self.mistakes]
        return Layer(
            values={path: value for read in sound for path, value in read.values.items()},
            origins={path: origin for read in sound for path, origin in read.origins.items()},
        )

    def adopt(self, texts: Mapping[Path, object]) -> None:
        """Counts workspaces of which only a variable or a flag tells as those of a file that cannot be read.

        They have no URL among `texts`, the options of all layers: it is probably in that file.
        """
        unread = next((path for path, read in self._layers.items() if read.mistakes), "")
        names = {path[1] for path in texts if path[0] == WORKSPACES and len(path) > 2}
        for name in names.difference(_names(self._configured)):
            if (WORKSPACES, name, *options.URL.path) not in texts:
                self._owners.setdefault(name, unread)

    def owner(self, name: str) -> str:
        """The file that the workspace belongs to, empty if it is none of these."""
        return self._owners.get(name, "")

    def note(self, path: Path, line: str) -> None:
        """Adds a mistake about the option at a path."""
        self._note(self.owner(path[1]) if path[:1] == (WORKSPACES,) and len(path) > 1 else "", line)

    def attempt(self, path: Path, make: Callable[[], MadeT]) -> MadeT | None:
        """What this makes, or `None` if it raises mistakes. These are then about the option at a path."""
        try:
            return make()
        except ConfigurationError as error:
            for line in error.mistakes:
                self.note(path, line)
            return None

    def refused(self, files: Iterable[str]) -> ConfigurationError | None:
        """An error with all mistakes, each once; `None` without any. `files` are all that the configuration names."""
        lines = dict.fromkeys(line for lines in self.mistakes.values() for line in lines)
        return ConfigurationError(list(lines), tuple(files), in_part="" not in self.mistakes) if lines else None

    def in_use(self, made: Collection[str]) -> dict[str, Sequence[str]]:
        """The workspaces of each file that are to be used. `made` are those without a mistake.

        A file with a mistake keeps those that are in use, unless they are in another file now.
        """
        kept = {path: [name for name in self._known.get(path, ()) if name not in made] for path in self.mistakes}
        return {**self.names, **kept}

    def _note(self, file: str, line: str) -> None:
        named = line if files.shown(file) in line or not file else f"{line} (from {files.shown(file)})"
        self.mistakes.setdefault(file, []).append(named)

    def _find_doubles(self, known: Mapping[str, Sequence[str]]) -> None:
        """Notes workspaces that are in two files. One that is in use stays where it is."""
        holders = dict.fromkeys(_names(self._configured), "")
        for path, names in known.items():
            holders |= {name: path for name in names if name in self.names.get(path, ()) and name not in holders}
        for path, names in self.names.items():
            for name in names:
                holder = holders.setdefault(name, path)
                if holder != path:
                    key = (WORKSPACES, name)
                    there = self._layers.get(holder, self._configured).origins.get(key, files.shown(holder))
                    origin = self._layers[path].origins.get(key)
                    self._note(path, layer.mistake(key, f"is set twice, the other time in {there}", origin))
        self.names |= {path: known.get(path, ()) for path in self.mistakes}


def _without_files(pattern: str) -> str:
    folder = pattern
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120 - Path would drop a dot at the start
    line = f"{options.WORKSPACES_FILES.path[0]}: no file matches {files.shown(pattern)}"
    if not os.path.isdir(folder or "."):  # noqa: PTH112 - the same
        return f"{line}; the folder {folder} does not exist"
    return line if os.access(folder or ".", os.R_OK | os.X_OK) else f"{line}; the folder {folder} cannot be read"


def _names(read: Layer) -> Sequence[str]:
    return [path[1] for path in read.origins if len(path) == 2 and path[0] == WORKSPACES]


def fill_in(texts: dict[Path, object], origins: dict[Path, str]) -> None:
    """Puts the name of each workspace into the paths of its files with credentials.

    A path at the top level that has a place for the name is the default of all workspaces.
    """
    names = [name for name in {path[1] for path in texts if path[0] == WORKSPACES and len(path) > 1} if _is_name(name)]
    given = {name: set[Path]() for name in names}
    for path, text in texts.items():
        if path[0] == WORKSPACES and len(path) > 1 and path[1] in given and text is not None:
            given[path[1]].add(_slot(path[2:]))
    for path, text in list(texts.items()):
        if not isinstance(text, str) or NAME not in text or not _may_have_name(option_at(path)):
            continue
        if path[0] == WORKSPACES:
            texts[path] = text.replace(NAME, path[1]) if path[1] in given else text
        elif names or options.URL.path not in texts:
            del texts[path]
            for name in names:
                if _slot(path) not in given[name]:
                    own = (WORKSPACES, name, *path)
                    texts[own], origins[own] = text.replace(NAME, name), origins[path]


def _is_name(name: str) -> bool:
    return values.WORKSPACE_NAME.accepts(name)


def _may_have_name(option: Option[object] | None) -> bool:
    return any(option is each for each in _WITH_NAME)


def _slot(path: Path) -> Path:
    """The secret that an option gives, whether directly or by a file."""
    if path[:1] and path[0] in HEADERS:
        return (options.HEADER.path[0], *(key.lower() for key in path[1:]))
    return tuple(key.removesuffix("_file") for key in path)
