"""The options as texts: what each source (flags, environment, file) sets, what is missing, and how texts are read."""

import re
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from rc_import_exporter.config import notation, options, values
from rc_import_exporter.config.notation import DOTTED, VARIABLE
from rc_import_exporter.config.options import OPTIONS, WORKSPACES, Group, Option, Path
from rc_import_exporter.config.values import T_co

HEADERS: Final = (options.HEADER.path[0], options.HEADER_FILE.path[0])
SECRETS: Final = ((options.USER_ID, options.USER_ID_FILE), (options.AUTH_TOKEN, options.AUTH_TOKEN_FILE))
_HOW_TO_START: Final = (
    f"for one server set {VARIABLE.write(options.URL.path)}, {VARIABLE.write(options.USER_ID.path)} and "
    f"{VARIABLE.write(options.AUTH_TOKEN.path)} (or {VARIABLE.write(options.AUTH_TOKEN_FILE.path)}); for several, "
    f"list them below {WORKSPACES} in a YAML file and name it with {notation.flag(options.CONFIG_FILE.path)}"
)
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


class Presence:
    """Finds options that are missing or that exclude each other, whatever their values are."""

    def __init__(self, texts: Mapping[Path, object], origins: Mapping[Path, str]) -> None:
        self._own: dict[str, set[Path]] = {}
        self._shared: set[Path] = set()
        for path, text in texts.items():
            is_set = {path} if text not in (None, {}) else set()
            if path[0] == WORKSPACES and len(path) > 1:
                self._own.setdefault(path[1], set()).update(is_set)
            else:
                self._shared |= is_set
        self._origins = origins

    def mistakes(self) -> Iterator[tuple[Path, str]]:
        """A path and a line for each."""
        yield from self._headers((), self._shared)
        single = [one.path for one in OPTIONS if one.group is Group.SINGLE and one.path in self._shared]
        for path in single if self._own else ():
            yield self._line(path, f"belongs to one workspace; unset it, or set {WORKSPACES}.NAME.{path[0]} instead")
        for name, present in sorted(self._own.items()):
            yield from self._headers((WORKSPACES, name), present)
            if values.WORKSPACE_NAME.accepts(name):
                yield from self._of_workspace((WORKSPACES, name), present)
            else:
                yield self._line((WORKSPACES, name), f"must be {values.WORKSPACE_NAME.allowed}")
        if single and not self._own:
            yield from self._of_workspace((), self._shared)
        if not self._own and not single and self._shared.isdisjoint({(WORKSPACES,), options.WORKSPACES_FILES.path}):
            yield (WORKSPACES,), f"{WORKSPACES}: none is configured; {_HOW_TO_START}"

    def _of_workspace(self, above: Path, present: Collection[Path]) -> Iterator[tuple[Path, str]]:
        def has(option: Option[object]) -> bool:
            return (*above, *option.path) in present

        if not has(options.URL):
            yield self._missing((*above, *options.URL.path))
        for secret, file in SECRETS:
            path, path_of_file = (*above, *secret.path), (*above, *file.path)
            if not has(secret) and not has(file):
                yield self._missing(path, f" or {DOTTED.write(path_of_file)}")
            if has(secret) and has(file):
                beside = f"{name(path)} ({origin_of(path, self._origins)})"
                yield self._line(path_of_file, f"is set beside {beside}; set only one of them")
        key, certificate = (has(one) or one.path in self._shared for one in (options.KEY_FILE, options.CERT_FILE))
        if key and not certificate:
            yield self._line((*above, *options.KEY_FILE.path), "needs tls.cert_file, the certificate of this key")

    def _headers(self, above: Path, present: Collection[Path]) -> Iterator[tuple[Path, str]]:
        """Headers that are set twice. Their names ignore upper and lower case."""
        seen: set[str] = set()
        for path in sorted(each for each in present if each[:-1] in {(*above, group) for group in HEADERS}):
            if path[-1].lower() in seen:
                yield self._line(path, "is set twice; set it once, in headers or in headers_file")
            seen.add(path[-1].lower())

    def _missing(self, path: Path, alternative: str = "") -> tuple[Path, str]:
        variable = f"{VARIABLE.write(path)}{'[_FILE]' if alternative else ''}"
        return self._line(path, f"is missing; set it{alternative} in the file, or {variable} in the environment")

    def _line(self, path: Path, wrong: str) -> tuple[Path, str]:
        return path, mistake(path, wrong, origin_of(path, self._origins))


def origin_of(path: Path, origins: Mapping[Path, str]) -> str | None:
    """Where the option was set, or else the nearest group that holds it."""
    above = (path[:end] for end in range(len(path), 0, -1))
    return next((origins[one] for one in above if one in origins), None)


def read(path: Path, text: object, found: dict[Path, object]) -> Iterator[tuple[Path, str]]:
    """Reads the value at a path into `found`, or yields the path of a mistake and what is wrong there."""
    option = options.option_at(path)
    wrong_place = next((path[:end] for end in range(1, len(path) + 1) if not options.is_group(path[:end])), None)
    if option is not None and option.names is not None and not option.names.accepts(path[-1]):
        yield path, f"must have {option.names.allowed}"
    elif option is not None and (text is not None or option is options.LABEL):
        try:
            found[path] = option.value.read(text)
        except ValueError as error:
            yield path, str(error)
    elif option is None and wrong_place is not None:
        yield wrong_place, values.NOT_ONE_VALUE if options.option_at(wrong_place) else _unknown(wrong_place)
    elif text not in (None, {}):
        yield path, "must be a mapping of options"


def _unknown(path: Path) -> str:
    written = DOTTED.write(path)
    meant = DOTTED.suggest(written) if written == name(path) else None
    return f"no such option; did you mean {meant}?" if meant else "no such option"


def by_workspace(found: Mapping[Path, object]) -> tuple[dict[Path, object], dict[str, dict[Path, object]]]:
    """The options at the top level, and those of each workspace by its name."""
    shared: dict[Path, object] = {}
    own: dict[str, dict[Path, object]] = {}
    for path, value in found.items():
        if path[0] == WORKSPACES:
            own.setdefault(path[1], {})[path[2:]] = value
        else:
            shared[path] = value
    return shared, own


class Chosen:
    """Options by path, with the workspace's own before those of all workspaces, and the defaults last."""

    def __init__(self, *found: dict[Path, object]) -> None:
        self.found = ChainMap(*found)

    def get(self, option: Option[T_co]) -> T_co | None:
        """The option's value, or `None` if it is not set and has no default."""
        if option.path in self.found:
            return cast(T_co, self.found[option.path])
        return option.value.read(option.default) if option.default else None

    def __getitem__(self, option: Option[T_co]) -> T_co:
        return cast(T_co, self.get(option))


def files_in(texts: Mapping[Path, object]) -> tuple[str, ...]:
    """Every file that the configuration names, whether it exists or not."""
    named = {path: option for path in texts if (option := options.option_at(path)) is not None}
    return tuple(
        text
        for path, option in named.items()
        if option.value.is_file and isinstance(text := texts[path], str) and option is not options.WORKSPACES_FILES
    )
