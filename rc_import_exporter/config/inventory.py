"""The options that are set: what each is, as far as it may be shown, and where it was set. `check` prints it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rc_import_exporter.config import address, duration, files
from rc_import_exporter.config import values as kinds
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.credentials import File
from rc_import_exporter.config.options import DOTTED, WORKSPACES, Option, Path, option_at
from rc_import_exporter.config.settings import OPTIONS, Settings, Workspace

MASK: Final = "********"
OVERRIDDEN: Final = "(each workspace has its own)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One option that is set: its dotted path, its value without any secret, the place that set it.

    `workspace` is whose own it is, empty for what all have or none.
    """

    option: str
    value: str
    origin: str
    workspace: str = ""


def entries(settings: Settings) -> Iterator[Entry]:
    """Every option that is set, in the order of their names."""
    for option, origin in settings.origins.items():
        path = DOTTED.read(option, OPTIONS)
        if path is not None:
            whose = path[1] if path[0] == WORKSPACES else ""
            yield Entry(option=option, value=_value(settings, path), origin=origin, workspace=whose)


def _value(settings: Settings, path: Path) -> str:
    option = option_at(path, OPTIONS)
    if option is None:
        return MASK
    if path[0] == WORKSPACES:
        workspace = settings.workspaces.get(path[1])
        return MASK if workspace is None else _shown(_of_workspace(workspace, path[2:]), option)
    if option.each:
        heir = next((each for name, each in settings.workspaces.items() if _inherits(settings, name, path)), None)
        return OVERRIDDEN if heir is None else _shown(_of_workspace(heir, path), option)
    return _shown(_of_process(settings, path), option)


def _inherits(settings: Settings, name: str, path: Path) -> bool:
    return DOTTED.write((WORKSPACES, name, *path)) not in settings.origins


def _of_process(settings: Settings, path: Path) -> object:
    if path == ("config", "file"):
        return settings.config_file
    value: object = settings
    for key in path:
        value = getattr(value, key, None)
    return value


def _of_workspace(workspace: Workspace, path: Path) -> object:
    match path:
        case ("user_id_file" | "auth_token_file" as key,):
            source = getattr(workspace.credentials, key.removesuffix("_file"))
            return files.shown(source.path) if isinstance(source, File) else None
        case ("proxy_url",):
            return None if workspace.proxy_url is None else address.public(workspace.proxy_url.get_secret_value())
        case ("timeout" | "max_response_bytes" as key,):
            return getattr(workspace, key)
        case ("labels", name):
            return workspace.target.labels.get(name, "")
        case ("expect", key):
            return getattr(workspace.target.expect, key)
        case ("tls", key):
            return getattr(workspace.tls, key)
        case (key,):
            return getattr(workspace.target, key, None)
        case _:
            return None


def _shown(value: object, option: Option) -> str:
    """The value as an operator would write it; a mask for a secret, and for what cannot be told from one."""
    if option.metavar == kinds.Secret.metavar:
        return MASK
    match value:
        case None:
            return MASK
        case bool():
            return str(value).lower()
        case float() if option.metavar == kinds.Duration.metavar:
            return duration.write(value)
        case int() if option.metavar == kinds.Size.metavar:
            return kinds.write_size(value)
        case Listen():
            return f"{f'[{value.host}]' if ':' in value.host else value.host}:{value.port}"
        case frozenset():
            return ", ".join(sorted(map(str, value)))
        case _:
            return str(value)
