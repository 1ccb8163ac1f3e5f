"""The settings: flags over environment over YAML file, merged key by key, checked and typed.

pydantic-settings merges the three. All mistakes are collected and raised at once, and no message shows a value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, cast

from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from rc_import_exporter.config import (
    address,
    environment,
    layer,
    notation,
    options,
    values,
    web_file,
    workspace,
    yaml_file,
)
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.inventory import Inventory, fill_in
from rc_import_exporter.config.layer import Layer
from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import WORKSPACES, LogFormat, LogLevel, Option, Path
from rc_import_exporter.config.presence import Presence, origin_of
from rc_import_exporter.config.workspace import Chosen, Workspace
from rc_import_exporter.core.domain import Links
from rc_import_exporter.core.shard import Shard
from rc_import_exporter.errors import ConfigurationError

_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace
"""The address of this machine for each that means every address."""
_ORDINAL: Final = re.compile(r"-([0-9]{1,9})$")
"""The end of the name of a StatefulSet's pod."""
OVERRIDDEN: Final = "(each workspace has its own)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The exporter's own server, and the addresses that links begin with."""

    listen: Listen
    config_file: str | None
    links: Links
    enable_lifecycle: bool

    def page(self, port: int) -> str:
        """Where a browser opens the page: `external_url` if it is set, else the address on this machine.

        Reads the web configuration file, which decides between http and https.
        """
        scheme = "http" if web_file.load(self.config_file, {}).context is None else "https"
        host = _LOOPBACK.get(self.listen.host, self.listen.host)
        return f"{self.links.external_url or f'{scheme}://{Listen(host=host, port=port)}'}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Logging."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One option that is set: its dotted path, its value without secrets, and where it was set.

    `workspace` is the workspace that it belongs to, empty for options of the process and of all workspaces.
    """

    option: str
    value: str
    origin: str
    workspace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration.

    `file` is the YAML file that it was read from, and `auto_reload` whether to look at it for changes. `at_start` holds
    the options whose new values need a restart, by dotted path. `given` lists the options that are set; the others have
    their defaults.

    `patterns` are those of `workspaces_files`, and `inventory` has the workspaces of each of these files. `refused` has
    the mistakes of files whose workspaces stay as they were before. Without a `shard` all workspaces are polled.
    """

    web: Web
    log: Log
    workspaces: Mapping[str, Workspace]
    file: str | None
    auto_reload: bool
    at_start: Mapping[str, object]
    given: Sequence[Setting] = ()
    patterns: Sequence[str] = ()
    inventory: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: ConfigurationError | None = None
    shard: Shard | None = None

    def sets(self, option: Option[object]) -> bool:
        """Whether an option of the process is set."""
        return any(setting.option == DOTTED.write(option.path) for setting in self.given)


class _Merged(BaseSettings):
    """The options of all layers by path. pydantic-settings merges the layers; the first has precedence."""

    options: dict[Path, object] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """One source for each layer. They replace pydantic-settings' own, which would not report mistakes as we do."""
        layers = cast(InitSettingsSource, init_settings).init_kwargs["layers"]
        return tuple(InitSettingsSource(settings_cls, {"options": one.values}) for one in layers)


def load(flags: Mapping[str, str], environ: Mapping[str, str], last: Settings | None = None) -> Settings:
    """The settings of these flags (texts by dotted path), of the environment, and of the YAML files that either names.

    `last` are the settings in use: if one of `workspaces_files` has a mistake, its workspaces stay as they are there.
    Raises `ConfigurationError` with every mistake: the option, what is wrong with it, and where it was set. It has the
    files that the configuration names as well: a change of one of them may correct the mistake.
    """
    above = (_flag_layer(flags), environment.read(environ))
    config_file = next((path for one in above if (path := one.values.get(options.CONFIG_FILE.path))), None)
    file = Layer() if config_file is None else yaml_file.read(str(config_file))
    patterns = _patterns((*above, file))
    inventory = Inventory(patterns, file, {} if last is None else last.inventory)
    layers = (*above, file, inventory.layer)
    texts = _Merged(layers=layers).options  # type: ignore[call-arg]  # which the sources take
    origins = {path: origin for one in reversed(layers) for path, origin in one.origins.items()}
    fill_in(texts, origins)
    for line in (line for one in layers for line in one.mistakes):
        inventory.note((), line)
    for path, origin in file.origins.items():
        if (option := options.option_at(path)) is not None and not option.in_file:
            inventory.note(path, layer.mistake(path, "cannot be set in the file itself", origin))
    if file.values or not file.mistakes:
        for path, line in Presence(texts, origins).mistakes():
            inventory.note(path, line)
    found: dict[Path, object] = {}
    wrong = [each for path, text in texts.items() for each in _read(path, text, found)]
    for path, text in wrong:
        inventory.note(path, layer.mistake(path, text, origin_of(path, origins)))
    for line in web_file.mistakes(Chosen(found).get(options.WEB_CONFIG_FILE)):
        inventory.note((), line)
    shard = None
    try:
        shard = None if "" in inventory.mistakes else _shard(Chosen(found), environ)
    except ValueError as error:
        inventory.note((), str(error))
    shared, own = _by_workspace(found)
    workspaces = {} if "" in inventory.mistakes else _workspaces(shared, own, environ, inventory)
    refused = None
    in_use = inventory.in_use(workspaces)
    if inventory.mistakes:
        lines = dict.fromkeys(line for lines in inventory.mistakes.values() for line in lines)
        refused = ConfigurationError(list(lines), _files(texts), in_part="" not in inventory.mistakes)
        if last is None or not refused.in_part:
            raise refused
        workspaces |= {name: last.workspaces[name] for path in inventory.mistakes for name in in_use[path]}
    process = Chosen(shared)
    return Settings(
        web=Web(
            listen=process[options.LISTEN_ADDRESS],
            config_file=process.get(options.WEB_CONFIG_FILE),
            links=Links(
                external_url=process.get(options.EXTERNAL_URL) or "", grafana_url=process.get(options.GRAFANA_URL) or ""
            ),
            enable_lifecycle=process[options.ENABLE_LIFECYCLE],
        ),
        log=Log(level=process[options.LOG_LEVEL], format=process[options.LOG_FORMAT]),
        workspaces=MappingProxyType(workspaces),
        file=None if config_file is None else str(config_file),
        auto_reload=process[options.AUTO_RELOAD],
        at_start={DOTTED.write(option.path): process.get(option) for option in options.AT_START},
        given=tuple(_given(found, own, origins)),
        patterns=patterns,
        inventory=in_use,
        shard=shard,
        refused=refused,
    )


def _patterns(layers: Iterable[Layer]) -> tuple[str, ...]:
    """The patterns of `workspaces_files`, none if they cannot be read."""
    option = options.WORKSPACES_FILES
    given = next((value for one in layers if (value := one.values.get(option.path)) is not None), None)
    return option.value.read(given) if option.value.accepts(given) else ()


def _shard(process: Chosen, environ: Mapping[str, str]) -> Shard | None:
    """The part of the workspaces to poll, `None` for all. Raises `ValueError` if that cannot be known."""
    index, count = process.get(options.SHARD_INDEX), process.get(options.SHARD_COUNT)
    if count is None:
        if index is not None:
            raise ValueError("shard.index: is set without shard.count; set both or neither")
        return None
    if index is None:
        found = _ORDINAL.search(environ.get("POD_NAME") or environ.get("HOSTNAME") or "")
        if found is None:
            raise ValueError("shard.index: is missing; set it, or run the exporter as a pod of a StatefulSet")
        index = int(found[1])
    if index >= count:
        raise ValueError(f"shard.index: must be less than shard.count, and {index} is not less than {count}")
    return Shard(index=index, count=count)


def _files(texts: Mapping[Path, object]) -> tuple[str, ...]:
    """Every file that the configuration names, whether it exists or not."""
    named = {path: option for path in texts if (option := options.option_at(path)) is not None}
    return tuple(
        text
        for path, option in named.items()
        if option.value.is_file and isinstance(text := texts[path], str) and option is not options.WORKSPACES_FILES
    )


def _flag_layer(flags: Mapping[str, str]) -> Layer:
    found = {DOTTED.read(written) or tuple(written.split(".")): text for written, text in flags.items()}
    return Layer(values=found, origins={path: f"flag {notation.flag(path)}" for path in found})


def _read(path: Path, text: object, found: dict[Path, object]) -> Iterator[tuple[Path, str]]:
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
    meant = DOTTED.suggest(written) if written == layer.name(path) else None
    return f"no such option; did you mean {meant}?" if meant else "no such option"


def _by_workspace(found: Mapping[Path, object]) -> tuple[dict[Path, object], dict[str, dict[Path, object]]]:
    """The options at the top level, and those of each workspace by its name."""
    shared: dict[Path, object] = {}
    own: dict[str, dict[Path, object]] = {}
    for path, value in found.items():
        if path[0] == WORKSPACES:
            own.setdefault(path[1], {})[path[2:]] = value
        else:
            shared[path] = value
    return shared, own


def _workspaces(
    shared: dict[Path, object],
    own: Mapping[str, dict[Path, object]],
    environ: Mapping[str, str],
    inventory: Inventory,
) -> dict[str, Workspace]:
    """The workspaces without mistakes by name. Notes the mistakes of the others."""
    if options.URL.path in shared:
        name = address.name_of(Chosen(shared)[options.URL])
        parts: dict[str, tuple[Path, Chosen]] = {name: ((), Chosen(shared))}
    else:
        sound = [name for name in own if inventory.owner(name) not in inventory.mistakes]
        parts = {name: ((WORKSPACES, name), Chosen(own[name], shared)) for name in sound}
    made = {}
    for name, (above, read) in parts.items():
        try:
            made[name] = workspace.build(name, above, read, environ)
        except ConfigurationError as error:
            inventory.note((WORKSPACES, name), str(error))
    for name, line in workspace.mistakes(made.values()):
        inventory.note((WORKSPACES, name), line)
    return {name: each for name, each in made.items() if inventory.owner(name) not in inventory.mistakes}


def _given(
    found: Mapping[Path, object], own: Mapping[str, dict[Path, object]], origins: Mapping[Path, str]
) -> Iterator[Setting]:
    """Every option that is set, in the order of the paths."""
    for path, origin in sorted(origins.items()):
        option = options.option_at(path)
        if option is None or path not in found:
            continue
        overridden = option.each and own and all(path in each for each in own.values())
        yield Setting(
            option=DOTTED.write(path),
            value=OVERRIDDEN if overridden else option.value.write(found[path]),
            origin=origin,
            workspace=path[1] if path[0] == WORKSPACES else "",
        )
