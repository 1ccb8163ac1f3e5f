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

from rc_import_exporter.config import address, credentials, environment, layer, notation, options, values, yaml_file
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.layer import Layer
from rc_import_exporter.config.notation import DOTTED, VARIABLE
from rc_import_exporter.config.options import OPTIONS, WORKSPACES, Group, LogFormat, LogLevel, Option, Path
from rc_import_exporter.config.tls import Tls
from rc_import_exporter.config.values import T_co
from rc_import_exporter.core.domain import Api, Expectation, Links, Target
from rc_import_exporter.errors import ConfigurationError

_SECRETS: Final = ((options.USER_ID, options.USER_ID_FILE), (options.AUTH_TOKEN, options.AUTH_TOKEN_FILE))
_HOW_TO_START: Final = (
    f"for one server set {VARIABLE.write(options.URL.path)}, {VARIABLE.write(options.USER_ID.path)} and "
    f"{VARIABLE.write(options.AUTH_TOKEN.path)} (or {VARIABLE.write(options.AUTH_TOKEN_FILE.path)}); for several, "
    f"list them below {WORKSPACES} in a YAML file and name it with {notation.flag(options.CONFIG_FILE.path)}"
)
_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace
"""The address of this machine for each that means every address."""
OVERRIDDEN: Final = "(each workspace has its own)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The exporter's own server, and the addresses that links begin with."""

    listen: Listen
    links: Links

    def page(self, port: int) -> str:
        """Where a browser opens the page: `external_url` if it is set, else the address on this machine."""
        host = _LOOPBACK.get(self.listen.host, self.listen.host)
        return f"{self.links.external_url or f'http://{Listen(host=host, port=port)}'}/"


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
    """The whole configuration. `given` lists the options that are set; the others have their defaults."""

    web: Web
    log: Log
    workspaces: Mapping[str, Workspace]
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

    Raises `ConfigurationError` with every mistake: the option, what is wrong with it, and where it was set.
    """
    above = (_flag_layer(flags), environment.read(environ))
    config_file = next((path for one in above if (path := one.values.get(options.CONFIG_FILE.path))), None)
    file = Layer() if config_file is None else yaml_file.read(str(config_file))
    layers = (*above, file)
    texts = _Merged(layers=layers).options  # type: ignore[call-arg]  # which the sources take
    origins = {path: origin for one in reversed(layers) for path, origin in one.origins.items()}
    mistakes = [mistake for one in layers for mistake in one.mistakes]
    if ("config",) in file.origins:
        mistakes.append(layer.mistake(("config",), "cannot be set in the file itself", file.origins["config",]))
    if file.values or not file.mistakes:
        mistakes += _Presence(texts, origins).mistakes()
    found: dict[Path, object] = {}
    wrong = [each for path, text in texts.items() for each in _read(path, text, found)]
    mistakes += [layer.mistake(path, text, _origin(path, origins)) for path, text in wrong]
    if mistakes:
        raise ConfigurationError(list(dict.fromkeys(mistakes)))
    shared, own = _by_workspace(found)
    process = _Values(shared)
    return Settings(
        web=Web(
            listen=process[options.LISTEN_ADDRESS],
            links=Links(
                external_url=process.get(options.EXTERNAL_URL) or "", grafana_url=process.get(options.GRAFANA_URL) or ""
            ),
        ),
        log=Log(level=process[options.LOG_LEVEL], format=process[options.LOG_FORMAT]),
        workspaces=MappingProxyType(_workspaces(shared, own)),
        given=tuple(_given(found, own, origins)),
    )


def _flag_layer(flags: Mapping[str, str]) -> Layer:
    found = {DOTTED.read(written) or tuple(written.split(".")): text for written, text in flags.items()}
    return Layer(values=found, origins={path: f"flag {notation.flag(path)}" for path in found})


def _read(path: Path, text: object, found: dict[Path, object]) -> Iterator[tuple[Path, str]]:
    """Reads the value at a path into `found`, or yields the path of a mistake and what is wrong there."""
    option = options.option_at(path)
    wrong_place = next((path[:end] for end in range(1, len(path) + 1) if not options.is_group(path[:end])), None)
    if option is options.LABEL and not values.LABEL_NAME.accepts(path[-1]):
        yield path, f"must have {values.LABEL_NAME.allowed}"
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


def _origin(path: Path, origins: Mapping[Path, str]) -> str | None:
    """Where the option was set, or else the nearest group that holds it."""
    above = (path[:end] for end in range(len(path), 0, -1))
    return next((origins[one] for one in above if one in origins), None)


class _Presence:
    """Finds options that are missing or that exclude each other, whatever their values are."""

    def __init__(self, texts: Mapping[Path, object], origins: Mapping[Path, str]) -> None:
        self._present = {path for path, text in texts.items() if text not in (None, {})}
        self._names = sorted({path[1] for path in texts if path[0] == WORKSPACES and len(path) > 1})
        self._origins = origins

    def mistakes(self) -> Iterator[str]:
        """A line for each."""
        single = [one.path for one in OPTIONS if one.group is Group.SINGLE and one.path in self._present]
        for path in single if self._names else ():
            yield self._line(path, f"belongs to one workspace; unset it, or set {WORKSPACES}.NAME.{path[0]} instead")
        for name in self._names:
            if values.WORKSPACE_NAME.accepts(name):
                yield from self._of_workspace((WORKSPACES, name))
            else:
                yield self._line((WORKSPACES, name), f"must be {values.WORKSPACE_NAME.allowed}")
        if single and not self._names:
            yield from self._of_workspace(())
        if not self._names and not single and (WORKSPACES,) not in self._present:
            yield f"{WORKSPACES}: none is configured; {_HOW_TO_START}"

    def _of_workspace(self, above: Path) -> Iterator[str]:
        if not self._has(above, options.URL):
            yield self._missing((*above, *options.URL.path))
        for secret, file in _SECRETS:
            path, path_of_file = (*above, *secret.path), (*above, *file.path)
            if not self._has(above, secret) and not self._has(above, file):
                yield self._missing(path, f" or {DOTTED.write(path_of_file)}")
            if self._has(above, secret) and self._has(above, file):
                beside = f"{layer.name(path)} ({_origin(path, self._origins)})"
                yield self._line(path_of_file, f"is set beside {beside}; set only one of them")
        key, certificate = (
            self._has(above, one) or self._has((), one) for one in (options.KEY_FILE, options.CERT_FILE)
        )
        if key and not certificate:
            yield self._line((*above, *options.KEY_FILE.path), "needs tls.cert_file, the certificate of this key")

    def _has(self, above: Path, option: Option[object]) -> bool:
        return (*above, *option.path) in self._present

    def _missing(self, path: Path, alternative: str = "") -> str:
        variable = f"{VARIABLE.write(path)}{'[_FILE]' if alternative else ''}"
        return self._line(path, f"is missing; set it{alternative} in the file, or {variable} in the environment")

    def _line(self, path: Path, wrong: str) -> str:
        return layer.mistake(path, wrong, _origin(path, self._origins))


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


def _workspaces(shared: dict[Path, object], own: Mapping[str, dict[Path, object]]) -> dict[str, Workspace]:
    """All workspaces by name."""
    if options.URL.path in shared:
        read = _Values(shared)
        made = {(name := address.name_of(read[options.URL])): _workspace(name, (), read)}
    else:
        made = {name: _workspace(name, (WORKSPACES, name), _Values(each, shared)) for name, each in own.items()}
    _check_tls(made.values())
    return made


def _workspace(name: str, above: Path, read: _Values) -> Workspace:
    url, proxy_url = read[options.URL], read.get(options.PROXY_URL)
    user_id, auth_token = (_secret(above, read, *pair) for pair in _SECRETS)
    return Workspace(
        target=_target(name, address.public(url), read),
        url=SecretStr(url),
        credentials=credentials.Source(user_id=user_id, auth_token=auth_token),
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


def _check_tls(workspaces: Iterable[Workspace]) -> None:
    """Raise for files without the certificates and keys they need; each set of files is read once."""
    mistakes: list[str] = []
    for tls in dict.fromkeys(workspace.tls for workspace in workspaces):
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
