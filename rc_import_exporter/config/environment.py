"""Reads options from environment variables. Used by settings.

An empty variable counts as unset: compose files and charts pass `VARIABLE=` for what nobody set. A misspelt one is a
mistake, whatever it holds.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rc_import_exporter.config.layer import Layer, plant
from rc_import_exporter.config.options import VARIABLE, WORKSPACES, Option, Path

_SERVICE: Final = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_AFTER_A_NAME: Final = re.compile(r"[^\w.-].*", re.DOTALL)
_PORT: Final = re.compile(r"(?:\w+_)?PORT")
_PORT_VALUE: Final = re.compile(r"(?:tcp|udp|sctp)://")


def read(environ: Mapping[str, str], options: Sequence[Option]) -> Layer:
    """What the variables say; the case of their names does not matter."""
    values: dict[str, object] = {}
    origins: dict[Path, str] = {}
    mistakes = []
    for variable, value in sorted(_ours(environ)):
        path = VARIABLE.read(variable.upper(), options)
        if path is None:
            if not _made_for_a_service(variable.upper().removeprefix(VARIABLE.prefix), value, options):
                mistakes.append(_unknown(variable, options))
        elif path in origins:
            mistakes.append(f"environment variable {variable}: is there in another spelling, too")
        elif value:
            plant(values, path, value)
            origins[path] = f"environment variable {variable}"
    return Layer(values=values, origins=origins, mistakes=mistakes)


def _ours(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in environ.items() if name.upper().startswith(VARIABLE.prefix))


def _made_for_a_service(rest: str, value: str, options: Sequence[Option]) -> bool:
    """Whether Kubernetes made it for a Service whose name begins with the exporter's.

    From the Kubernetes documentation, "Discovering services", and the links of Docker that it imitates.
    """
    groups = {WORKSPACES.upper()} | {option.path[0].upper() for option in options if len(option.path) > 1}
    if rest.partition(VARIABLE.separator)[0] in groups:
        return False
    return bool(_SERVICE.fullmatch(rest)) or bool(_PORT.fullmatch(rest) and _PORT_VALUE.match(value))


def _unknown(variable: str, options: Sequence[Option]) -> str:
    shown = _AFTER_A_NAME.sub("…", variable)
    meant = _with_two_underscores(shown.upper(), options) or VARIABLE.suggest(shown.upper(), options)
    return f"environment variable {shown}: no such option" + (f"; did you mean {meant}?" if meant else "")


def _with_two_underscores(variable: str, options: Sequence[Option]) -> str | None:
    """What `…_WORKSPACES_ACME_URL` was meant to be."""
    rest = variable.removeprefix(VARIABLE.prefix).removeprefix(f"{WORKSPACES.upper()}_")
    if not variable.startswith(VARIABLE.write((WORKSPACES,))) or rest.startswith("_"):
        return None
    for option in sorted((option for option in options if option.each), key=lambda option: -len(".".join(option.path))):
        flat = "_" + "_".join(option.path).upper()
        if rest.endswith(flat) and rest != flat:
            return VARIABLE.write((WORKSPACES, rest.removesuffix(flat), *option.path))
    return None
