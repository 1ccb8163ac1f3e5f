"""The settings: flags over environment over YAML file, merged key by key, checked and typed.

pydantic-settings merges the three. All mistakes are collected and raised at once, and no message shows a value.
"""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from pydantic import SecretStr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from rc_import_exporter.config import (
    address,
    credentials,
    environment,
    layer,
    notation,
    options,
    values,
    web_file,
    yaml_file,
)
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.layer import Layer
from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import WORKSPACES, LogFormat, LogLevel, Option, Path
from rc_import_exporter.config.presence import HEADERS, SECRETS, Presence, origin_of
from rc_import_exporter.config.tls import Tls
from rc_import_exporter.config.values import T_co
from rc_import_exporter.core.domain import Api, Expectation, Links, Target
from rc_import_exporter.errors import ConfigurationError

_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace
"""The address of this machine for each that means every address."""
OVERRIDDEN: Final = "(each workspace has its own)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The exporter's own server, and the addresses that links begin with. `scheme` is http or https."""

    listen: Listen
    config_file: str | None
    scheme: str
    links: Links
    enable_lifecycle: bool

    def page(self, port: int) -> str:
        """Where a browser opens the page: `external_url` if it is set, else the address on this machine."""
        host = _LOOPBACK.get(self.listen.host, self.listen.host)
        return f"{self.links.external_url or f'{self.scheme}://{Listen(host=host, port=port)}'}/"


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
    """

    web: Web
    log: Log
    workspaces: Mapping[str, Workspace]
    file: str | None
    auto_reload: bool
    at_start: Mapping[str, object]
    given: Sequence[Setting] = ()

    def sets(self, option: Option[object]) -> bool:
        """Whether an option of the process is set."""
        return any(setting.option == DOTTED.write(option.path) for setting in self.given)


class _Values:
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


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """The settings of these flags (texts by dotted path), of the environment, and of the YAML file that either names.

    Raises `ConfigurationError` with every mistake: the option, what is wrong with it, and where it was set. It has the
    files that the configuration names as well: a change of one of them may correct the mistake.
    """
    above = (_flag_layer(flags), environment.read(environ))
    config_file = next((path for one in above if (path := one.values.get(options.CONFIG_FILE.path))), None)
    file = Layer() if config_file is None else yaml_file.read(str(config_file))
    layers = (*above, file, environment.defaults(environ))
    texts = _Merged(layers=layers).options  # type: ignore[call-arg]  # which the sources take
    origins = {path: origin for one in reversed(layers) for path, origin in one.origins.items()}
    mistakes = [mistake for one in layers for mistake in one.mistakes]
    for path, origin in file.origins.items():
        if (option := options.option_at(path)) is not None and not option.in_file:
            mistakes.append(layer.mistake(path, "cannot be set in the file itself", origin))
    if file.values or not file.mistakes:
        mistakes += Presence(texts, origins).mistakes()
    found: dict[Path, object] = {}
    wrong = [each for path, text in texts.items() for each in _read(path, text, found)]
    mistakes += [layer.mistake(path, text, origin_of(path, origins)) for path, text in wrong]
    scheme = "http"
    try:
        if web_file.load(_Values(found).get(options.WEB_CONFIG_FILE), {}).context is not None:
            scheme = "https"
    except ConfigurationError as error:
        mistakes += error.mistakes
    shared, own = _by_workspace(found)
    workspaces: Mapping[str, Workspace] = {}
    if not mistakes:
        try:
            workspaces = _workspaces(shared, own, environ)
        except ConfigurationError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigurationError(list(dict.fromkeys(mistakes)), _files(texts))
    process = _Values(shared)
    return Settings(
        web=Web(
            listen=process[options.LISTEN_ADDRESS],
            config_file=process.get(options.WEB_CONFIG_FILE),
            scheme=scheme,
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
    )


def _files(texts: Mapping[Path, object]) -> tuple[str, ...]:
    """Every file that the configuration names, whether it exists or not."""
    named = {path: option for path in texts if (option := options.option_at(path)) is not None}
    return tuple(str(texts[path]) for path, option in named.items() if option.value.is_file and texts[path])


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
    shared: dict[Path, object], own: Mapping[str, dict[Path, object]], environ: Mapping[str, str]
) -> dict[str, Workspace]:
    """All workspaces by name."""
    if options.URL.path in shared:
        read = _Values(shared)
        made = {(name := address.name_of(read[options.URL])): _workspace(name, (), read, environ)}
    else:
        made = {
            name: _workspace(name, (WORKSPACES, name), _Values(each, shared), environ) for name, each in own.items()
        }
    _check(made.values())
    return made


def _workspace(name: str, above: Path, read: _Values, environ: Mapping[str, str]) -> Workspace:
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


def _target(name: str, url: str, read: _Values) -> Target:
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


def _secret(above: Path, read: _Values, secret: Option[str], file: Option[str]) -> credentials.Given | credentials.File:
    if (path := read.get(file)) is not None:
        return credentials.File(option=DOTTED.write((*above, *file.path)), path=path)
    return credentials.Given(option=DOTTED.write((*above, *secret.path)), value=read[secret])


def _headers(above: Path, read: _Values) -> dict[str, credentials.Given | credentials.File]:
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


def _check(workspaces: Iterable[Workspace]) -> None:
    """Raise for files without the certificates and keys they need, and for two authorizations of one request."""
    workspaces = list(workspaces)
    mistakes = [
        f"{secret.option}: the name and password in url are sent in this header already; set only one of the two"
        for workspace in workspaces
        for name, secret in workspace.credentials.headers.items()
        if name.lower() == "authorization" and address.authorization(workspace.url.get_secret_value())
    ]
    for tls in dict.fromkeys(workspace.tls for workspace in workspaces if workspace.tls != Tls()):
        try:
            tls.context()
        except ConfigurationError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigurationError(mistakes)


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
