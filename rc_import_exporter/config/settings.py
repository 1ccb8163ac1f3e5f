"""The settings: flags over environment over YAML file, merged key by key, checked and typed.

pydantic-settings merges the three. All mistakes are collected and raised at once, and no message shows a value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, cast

from pydantic import SecretStr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from rc_import_exporter.config import address, credentials, environment, layer, notation, options, web_file, yaml_file
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.inventory import Inventory, fill_in
from rc_import_exporter.config.layer import HEADERS, SECRETS, Chosen, Layer, Presence, origin_of
from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import WORKSPACES, LogFormat, LogLevel, Option, Path
from rc_import_exporter.config.tls import Tls
from rc_import_exporter.config.web_file import Protection
from rc_import_exporter.core.domain import Api, Expectation, Links, Target
from rc_import_exporter.core.shard import Shard
from rc_import_exporter.errors import ConfigurationError

_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace
"""The address of this machine for each that means every address."""
_ORDINAL: Final = re.compile(r"-([0-9]{1,9})$")
"""The end of the name of a StatefulSet's pod."""
OVERRIDDEN: Final = "(each workspace has its own)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The exporter's own server, and the addresses that links begin with.

    `protection` is what the file `config_file` says.
    """

    listen: Listen
    config_file: str | None
    protection: Protection
    links: Links
    enable_lifecycle: bool

    def page(self, port: int) -> str:
        """Where a browser opens the page: `external_url` if it is set, else the address on this machine."""
        host = _LOOPBACK.get(self.listen.host, self.listen.host)
        scheme = "http" if self.protection.context is None else "https"
        return f"{self.links.external_url or f'{scheme}://{Listen(host=host, port=port)}'}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Logging."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One workspace as configured. `target` may be shown; the rest is for its connections.

    `url` and `proxy_url` may hold a name and a password. `timeout` is seconds.
    """

    target: Target
    url: SecretStr
    credentials: credentials.Source
    timeout: float
    max_response_bytes: int
    tls: Tls
    proxy_url: SecretStr | None

    @property
    def uses_tls(self) -> bool:
        """Whether the connection to the server or to the proxy may use TLS."""
        urls = (self.url, self.proxy_url)
        return any(url is not None and url.get_secret_value().startswith("https:") for url in urls)


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

    `patterns` are those of `workspaces_files`, `inventory` has the workspaces of each of these files, and `refused` the
    mistakes. `remarks` has what is allowed and probably not meant. Without a `shard` all workspaces are polled.
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
    remarks: Sequence[str] = ()

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

    If one of `workspaces_files` has a mistake, its workspaces stay as in `last`, the settings in use, or are left out
    at the start; `refused` says so. Raises `ConfigurationError` with all other mistakes: option, what is wrong, and
    where it was set. It has the files that are named, too: a change of one may correct the mistake.
    """
    above = (_flag_layer(flags), environment.read(environ))
    config_file = next((path for one in above if (path := one.values.get(options.CONFIG_FILE.path))), None)
    file = Layer() if config_file is None else yaml_file.read(str(config_file))
    patterns = _patterns((*above, file))
    inventory = Inventory(patterns, file, {} if last is None else last.inventory)
    layers = (*above, file, inventory.layer, environment.defaults(environ))
    texts = _Merged(layers=layers).options  # type: ignore[call-arg]  # which the sources take
    origins = {path: origin for one in reversed(layers) for path, origin in one.origins.items()}
    fill_in(texts, origins)
    inventory.adopt(texts)
    for line in (line for one in layers for line in one.mistakes):
        inventory.note((), line)
    found = _read(texts, origins, file, inventory)
    process = Chosen(found)
    protection = inventory.attempt((), lambda: web_file.load(process.get(options.WEB_CONFIG_FILE))) or Protection()
    shard = inventory.attempt((), lambda: None if "" in inventory.mistakes else _shard(process, environ))
    shared, own = layer.by_workspace(found)
    workspaces = {} if "" in inventory.mistakes else _workspaces(shared, own, environ, inventory)
    in_use = inventory.in_use(workspaces)
    refused = inventory.refused(layer.files_in(texts))
    if last is not None:
        workspaces |= {name: last.workspaces[name] for path in inventory.mistakes for name in in_use[path]}
    if refused is not None and (not refused.in_part or (last is None and not workspaces)):
        raise refused
    return Settings(
        web=Web(
            listen=process[options.LISTEN_ADDRESS],
            config_file=process.get(options.WEB_CONFIG_FILE),
            protection=protection,
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
        remarks=inventory.remarks,
    )


def _read(
    texts: Mapping[Path, object], origins: Mapping[Path, str], file: Layer, inventory: Inventory
) -> dict[Path, object]:
    """The values of all options that are set. Notes what is wrong with them."""
    for path, origin in file.origins.items():
        if (option := options.option_at(path)) is not None and not option.in_file:
            inventory.note(path, layer.mistake(path, "cannot be set in the file itself", origin))
    if file.values or not file.mistakes:
        for path, line in Presence(texts, origins).mistakes():
            inventory.note(path, line)
    found: dict[Path, object] = {}
    wrong = [each for path, text in texts.items() for each in layer.read(path, text, found)]
    for path, text in wrong:
        inventory.note(path, layer.mistake(path, text, origin_of(path, origins)))
    return found


def _patterns(layers: Iterable[Layer]) -> tuple[str, ...]:
    """The patterns of `workspaces_files`, none if they cannot be read."""
    option = options.WORKSPACES_FILES
    given = next((value for one in layers if (value := one.values.get(option.path)) is not None), None)
    return option.value.read(given) if option.value.accepts(given) else ()


def _shard(process: Chosen, environ: Mapping[str, str]) -> Shard | None:
    """The part of the workspaces to poll, `None` for all. Raises `ConfigurationError` if that cannot be known."""
    index, count = process.get(options.SHARD_INDEX), process.get(options.SHARD_COUNT)
    if count is None:
        if index is not None:
            raise ConfigurationError(["shard.index: is set without shard.count; set both or neither"])
        return None
    if index is None:
        found = _ORDINAL.search(environ.get("POD_NAME") or environ.get("HOSTNAME") or "")
        if found is None:
            raise ConfigurationError(["shard.index: is missing; set it, or run the exporter as a pod of a StatefulSet"])
        index = int(found[1])
    if index >= count:
        raise ConfigurationError([f"shard.index: must be less than shard.count, and {index} is not less than {count}"])
    return Shard(index=index, count=count)


def _flag_layer(flags: Mapping[str, str]) -> Layer:
    found = {DOTTED.read(written) or tuple(written.split(".")): text for written, text in flags.items()}
    return Layer(values=found, origins={path: f"flag {notation.flag(path)}" for path in found})


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
    made: dict[str, Workspace] = {}
    for name, (above, read) in parts.items():
        one = inventory.attempt((WORKSPACES, name), partial(_workspace, name, above, read, environ))
        made |= {} if one is None else {name: one}
    for name, line in _mistakes(made.values()):
        inventory.note((WORKSPACES, name), line)
    return {name: each for name, each in made.items() if inventory.owner(name) not in inventory.mistakes}


def _workspace(name: str, above: Path, read: Chosen, environ: Mapping[str, str]) -> Workspace:
    """The workspace with this name. `above` is the path that its own options begin with.

    Raises `ConfigurationError` if the environment names a proxy that cannot be used.
    """
    url, proxy_url = read[options.URL], read.get(options.PROXY_URL)
    if proxy_url is None and read[options.PROXY_FROM_ENVIRONMENT]:
        proxy_url = _proxy_from_environment(url, environ)
    user_id, auth_token = (_secret(above, read, *pair) for pair in SECRETS)
    return Workspace(
        target=_target(name, address.public(url), read),
        url=SecretStr(url),
        credentials=credentials.Source(
            user_id=user_id, auth_token=auth_token, headers=MappingProxyType(_headers(above, read))
        ),
        timeout=read[options.TIMEOUT],
        max_response_bytes=read[options.MAX_RESPONSE_BYTES],
        tls=Tls(
            ca_file=read.get(options.CA_FILE),
            cert_file=read.get(options.CERT_FILE),
            key_file=read.get(options.KEY_FILE),
            server_name=read.get(options.SERVER_NAME),
            verify=read[options.VERIFY],
            option=DOTTED.write((*above, "tls")),
        ),
        proxy_url=None if proxy_url is None else SecretStr(proxy_url),
    )


def _target(name: str, url: str, read: Chosen) -> Target:
    labels = {path[1]: str(value) for path, value in sorted(read.found.items()) if path[0] == options.LABEL.path[0]}
    return Target(
        name=name,
        url=url,
        labels=MappingProxyType({label: value for label, value in labels.items() if value}),
        expect=Expectation(
            success_every=read.get(options.SUCCESS_EVERY),
            importer=read.get(options.IMPORTER) or "",
            longest_run=read.get(options.LONGEST_RUN),
            failed_ratio=read.get(options.FAILED_RATIO),
            min_records=read.get(options.MIN_RECORDS),
        ),
        poll_interval=read[options.POLL_INTERVAL],
        poll_interval_idle=read[options.POLL_INTERVAL_IDLE],
        stale_after=read.get(options.STALE_AFTER),
        apis=read.get(options.APIS) or frozenset(Api),
    )


def _secret(above: Path, read: Chosen, secret: Option[str], file: Option[str]) -> credentials.Given | credentials.File:
    if (path := read.get(file)) is not None:
        return credentials.File(option=DOTTED.write((*above, *file.path)), path=path)
    return credentials.Given(option=DOTTED.write((*above, *secret.path)), value=read[secret])


def _headers(above: Path, read: Chosen) -> dict[str, credentials.Given | credentials.File]:
    """The further headers by name. The workspace's own come before those of all workspaces."""
    made: dict[str, credentials.Given | credentials.File] = {}
    for found in read.found.maps:
        taken = {name.lower() for name in made}
        for path, value in found.items():
            if path[0] in HEADERS and path[1].lower() not in taken:
                made[path[1]] = _header(DOTTED.write((*above, *path)), path[0], str(value))
    return made


def _header(option: str, group: str, value: str) -> credentials.Given | credentials.File:
    if group == options.HEADER_FILE.path[0]:
        return credentials.File(option=option, path=value, check=credentials.check_header)
    return credentials.Given(option=option, value=value, check=credentials.check_header)


def _proxy_from_environment(url: str, environ: Mapping[str, str]) -> str | None:
    try:
        return environment.proxy_for(url, environ)
    except ValueError as error:
        raise ConfigurationError([str(error)]) from None


def _mistakes(workspaces: Iterable[Workspace]) -> Iterator[tuple[str, str]]:
    """Files without the certificates and keys they need, and two authorizations of one request.

    Yields the name of a workspace and a line for each.
    """
    checked: dict[Tls, Sequence[str]] = {Tls(): ()}
    for workspace in workspaces:
        for name, secret in workspace.credentials.headers.items():
            if name.lower() == "authorization" and address.authorization(workspace.url.get_secret_value()):
                wrong = "the name and password in url are sent in this header already; set only one of the two"
                yield workspace.target.name, f"{secret.option}: {wrong}"
        if workspace.tls not in checked:
            checked[workspace.tls] = _wrong_files(workspace.tls)
        for line in checked[workspace.tls]:
            yield workspace.target.name, line


def _wrong_files(tls: Tls) -> Sequence[str]:
    try:
        tls.context()
    except ConfigurationError as error:
        return error.mistakes
    return ()


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
