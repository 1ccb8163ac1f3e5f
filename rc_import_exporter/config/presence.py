"""Finds options that are missing, or that exclude each other, before any value is checked."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from rc_import_exporter.config import layer, notation, options, values
from rc_import_exporter.config.notation import DOTTED, VARIABLE
from rc_import_exporter.config.options import OPTIONS, WORKSPACES, Group, Option, Path

HEADERS: Final = (options.HEADER.path[0], options.HEADER_FILE.path[0])
SECRETS: Final = ((options.USER_ID, options.USER_ID_FILE), (options.AUTH_TOKEN, options.AUTH_TOKEN_FILE))
_HOW_TO_START: Final = (
    f"for one server set {VARIABLE.write(options.URL.path)}, {VARIABLE.write(options.USER_ID.path)} and "
    f"{VARIABLE.write(options.AUTH_TOKEN.path)} (or {VARIABLE.write(options.AUTH_TOKEN_FILE.path)}); for several, "
    f"list them below {WORKSPACES} in a YAML file and name it with {notation.flag(options.CONFIG_FILE.path)}"
)


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
                beside = f"{layer.name(path)} ({origin_of(path, self._origins)})"
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
        return path, layer.mistake(path, wrong, origin_of(path, self._origins))


def origin_of(path: Path, origins: Mapping[Path, str]) -> str | None:
    """Where the option was set, or else the nearest group that holds it."""
    above = (path[:end] for end in range(len(path), 0, -1))
    return next((origins[one] for one in above if one in origins), None)
