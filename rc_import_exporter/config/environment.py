"""Reads options from environment variables.

An empty variable counts as unset, because compose files and charts pass `VARIABLE=` for options that nobody set. A
misspelt variable is a mistake, even if it is empty. `proxy_for` reads the usual variables for proxies.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from rc_import_exporter.config import address
from rc_import_exporter.config.layer import Layer
from rc_import_exporter.config.notation import VARIABLE
from rc_import_exporter.config.options import LISTEN_ADDRESS, OPTIONS, WORKSPACES, Path

DEFAULT_LISTEN_ADDRESS: Final = "RC_IMPORT_EXPORTER_WEB__DEFAULT_LISTEN_ADDRESS"
"""The container image sets it, because in a container the default address would let nobody in."""

_SERVICE: Final = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_AFTER_A_NAME: Final = re.compile(r"[^\w.-].*", re.DOTALL)
_PORT: Final = re.compile(r"(?:\w+_)?PORT")
_PORT_VALUE: Final = re.compile(r"(?:tcp|udp|sctp)://")


def read(environ: Mapping[str, str]) -> Layer:
    """The options in the environment. Upper and lower case in the names of variables are the same."""
    values: dict[Path, object] = {}
    origins: dict[Path, str] = {}
    mistakes = []
    for variable, value in sorted(environ.items()):
        name = variable.upper()
        if not name.startswith(VARIABLE.prefix) or name == DEFAULT_LISTEN_ADDRESS:
            continue
        if (path := VARIABLE.read(name)) is None:
            if not _is_of_a_service(name.removeprefix(VARIABLE.prefix), value):
                mistakes.append(_unknown(variable))
        elif path in origins:
            mistakes.append(f"environment variable {variable}: is also set in another spelling")
        elif value:
            values[path] = value
            origins[path] = f"environment variable {variable}"
    return Layer(values=values, origins=origins, mistakes=mistakes)


def defaults(environ: Mapping[str, str]) -> Layer:
    """The options that the environment sets only if nothing else does, not even the YAML file."""
    value = environ.get(DEFAULT_LISTEN_ADDRESS)
    path, origin = LISTEN_ADDRESS.path, f"environment variable {DEFAULT_LISTEN_ADDRESS}"
    return Layer(values={path: value}, origins={path: origin}) if value else Layer()


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` names for a URL, unless `NO_PROXY` excludes its host.

    Names in lower case come first, as in curl. Raises `ValueError`, which names the variable, if its value is wrong.
    """
    parts = urlsplit(url)
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable = next((each for each in (name, name.upper()) if environ.get(each)), None)
        if variable is not None and not _is_excluded(parts, environ):
            value = environ[variable]
            try:
                return address.proxy_url(value if "://" in value else f"http://{value}")
            except ValueError as error:
                raise ValueError(f"environment variable {variable}: {error}") from None
    return None


def _is_excluded(url: SplitResult, environ: Mapping[str, str]) -> bool:
    """Whether `NO_PROXY` holds the host, a domain above it, a network that its address is in, or `*`."""
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_covers(entry.strip().lower(), url) for entry in excluded.split(","))


def _covers(entry: str, url: SplitResult) -> bool:
    host = url.hostname or ""
    with suppress(ValueError):
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    name, _, port = entry.partition(":")
    domain = name.removeprefix("*").lstrip(".")
    is_port = port in ("", str(url.port or {"http": 80, "https": 443}[url.scheme]))
    return entry == "*" or (bool(domain) and is_port and f".{host}".endswith(f".{domain}"))


def _is_of_a_service(rest: str, value: str) -> bool:
    """Whether Kubernetes made the variable for a Service whose name begins like the exporter's.

    Source: the Kubernetes documentation, "Discovering services", and Docker's links, which have the same names.
    """
    groups = {WORKSPACES.upper()} | {option.path[0].upper() for option in OPTIONS if len(option.path) > 1}
    if rest.partition(VARIABLE.separator)[0] in groups:
        return False
    return bool(_SERVICE.fullmatch(rest)) or bool(_PORT.fullmatch(rest) and _PORT_VALUE.match(value))


def _unknown(variable: str) -> str:
    shown = _AFTER_A_NAME.sub("…", variable)
    meant = _with_two_underscores(shown.upper()) or VARIABLE.suggest(shown.upper())
    return f"environment variable {shown}: no such option" + (f"; did you mean {meant}?" if meant else "")


def _with_two_underscores(variable: str) -> str | None:
    """The variable meant by one like `…_WORKSPACES_ACME_URL`."""
    rest = variable.removeprefix(VARIABLE.prefix).removeprefix(f"{WORKSPACES.upper()}_")
    if not variable.startswith(VARIABLE.write((WORKSPACES,))) or rest.startswith("_"):
        return None
    for option in sorted((option for option in OPTIONS if option.each), key=lambda option: -len(".".join(option.path))):
        flat = "_" + "_".join(option.path).upper()
        if rest.endswith(flat) and rest != flat:
            return VARIABLE.write((WORKSPACES, rest.removesuffix(flat), *option.path))
    return None
