"""Reads a YAML file with options, or with other keys.

Every value stays the text that it is written as, so `yes`, `0123` and `1e5` mean the same as in a variable: the option
decides. A key without a value counts as unset. No message quotes the file.
"""

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Final

import yaml

from rc_import_exporter.config import files
from rc_import_exporter.config.layer import Layer, mistake
from rc_import_exporter.config.options import CONFIG_FILE, Path, option_at

LARGEST: Final = 16 * 1024 * 1024
"""Bytes: room for tens of thousands of workspaces."""
_DEEPEST: Final = 16
_DEEPEST_COMPOSED: Final = 100
"""libyaml recurses in C. Deeper nesting would overflow the stack and end the process."""
_SPARE_NODES: Final = 1_000
"""Values allowed beyond one for each character. With aliases, a few lines could stand for billions of values."""
_TEXT: Final = "tag:yaml.org,2002:str"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Final[type[yaml.CBaseLoader] | type[yaml.BaseLoader]] = (
    yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
)


def _option_is_file(path: Path) -> bool:
    option = option_at(path) or option_at(path[:-1])  # the second for an item of a list
    return option is not None and option.value.is_file


def read(
    path: str,
    option: Path = CONFIG_FILE.path,
    above: Path = (),
    is_file: Callable[[Path], bool] = _option_is_file,
) -> Layer:
    """The values in the file that this option names. `above` is the path that the file's own keys are below.

    `is_file` says whether the value at a path is the path of another file, which is relative to this file's folder.
    """
    try:
        text = files.read(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError:
        return Layer(mistakes=[mistake(option, f"{files.shown(path)} must be UTF-8")])
    except ValueError as error:
        return Layer(mistakes=[mistake(option, str(error))])
    try:
        root = _compose(text)
    except (yaml.YAMLError, RecursionError) as error:
        return Layer(mistakes=[mistake(option, f"{files.shown(path)}{_where(error, text)}")])
    return _Reader(path, option, is_file, len(text) + _SPARE_NODES).layer(root, above)


def _compose(text: str) -> yaml.Node | None:
    """The document's root; raises `YAMLError`, or `RecursionError` if it is nested too deeply."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST_COMPOSED:
            raise RecursionError
    return yaml.compose(text, Loader=_LOADER)


class _Reader:
    """Turns YAML's nodes into a layer."""

    def __init__(self, path: str, option: Path, is_file: Callable[[Path], bool], most: int) -> None:
        self._shown = files.shown(path)
        self._folder = FilePath(path).parent
        self._option = option
        self._is_file = is_file
        self._values: dict[Path, object] = {}
        self._origins: dict[Path, str] = {}
        self._mistakes: list[str] = []
        self._nodes_left = most

    def layer(self, root: yaml.Node | None, above: Path) -> Layer:
        """The whole document. An empty document sets nothing."""
        if isinstance(root, yaml.MappingNode):
            self._mapping(root, above)
        elif root is not None and self._value(root, above) is not None:
            wrong = f"{self._shown} must hold a mapping of options, not a list or one value"
            self._mistakes.append(mistake(self._option, wrong))
        return Layer(values=self._values, origins=self._origins, mistakes=self._mistakes)

    def _value(self, node: yaml.Node, path: Path) -> object:
        """A text, a list, or `None`. The values in a mapping are put at their own paths."""
        self._nodes_left -= 1
        if len(path) > _DEEPEST or self._nodes_left == 0:
            self._refuse(path, "is nested too deeply or repeated too often", node)
        if len(path) > _DEEPEST or self._nodes_left <= 0:
            return None
        match node:
            case yaml.MappingNode():
                self._mapping(node, path)
                return None
            case yaml.SequenceNode():
                return [self._value(item, (*path, str(index))) for index, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> None:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(path, "has a key that is a list or a mapping", key)
                continue
            below = (*path, key.value)
            if below in self._origins:
                self._refuse(below, "is set twice", key)
                continue
            self._origins[below] = self._line(key)
            found = self._value(value, below)
            if not isinstance(value, yaml.MappingNode):
                self._values[below] = found
            elif not value.value:
                self._values[below] = {}

    def _scalar(self, node: yaml.Node, path: Path) -> str | None:
        if node.tag != _TEXT:
            self._refuse(path, "has a tag; put a value that begins with ! in quotes", node)
            return None
        text = str(node.value)
        if not getattr(node, "style", None) and text in _NULLS:
            return None
        return str(self._folder / text) if text and self._is_file(path) else text

    def _refuse(self, path: Path, wrong: str, node: yaml.Node) -> None:
        self._mistakes.append(mistake(path or self._option, wrong, self._line(node)))

    def _line(self, node: yaml.Node) -> str:
        return f"{self._shown} line {node.start_mark.line + 1}"


def _where(error: yaml.YAMLError | RecursionError, text: str) -> str:
    """Where the mistake is, in our own words, because the parser's words quote the file."""
    deep = "nesting" in str(getattr(error, "problem", ""))  # libyaml's own limit, by its words
    if deep or not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " must be YAML without control characters and without deep nesting"
    mark, lines = error.problem_mark, text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = f" line {mark.line + 1}, column {mark.column + 1}: is not YAML"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f"{place}: indent with spaces, not with tabs"
    return f"{place}: check the indentation, and quote a value that holds ': ' or ' #' or begins with * & ! % @ or `"
