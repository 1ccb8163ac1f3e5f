"""Every option with its bounds, and the settings that come out of flags, environment and file. Used by app and cli.

pydantic-settings puts the three on each other, key by key, and checks them; what is wrong is told in words of ours, all
of it at once, and no message shows a value. `OPTIONS` is read from the models: help and tables say what is enforced.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Annotated, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from rc_import_exporter.config import address, credentials, duration, environment, layer
from rc_import_exporter.config import values as kinds
from rc_import_exporter.config import yaml_file as document
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.layer import Layer
from rc_import_exporter.config.options import ANY, DOTTED, FLAG, VARIABLE, WORKSPACES, Group, Option, Path
from rc_import_exporter.config.tls import Tls
from rc_import_exporter.config.values import GIBIBYTE, KIBIBYTE, MEBIBYTE, Kind
from rc_import_exporter.core.domain import Api, Expectation, Target
from rc_import_exporter.errors import ConfigurationError

_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_YEAR: Final = 365 * 24 * _HOUR
_CONFIG_FILE: Final = ("config", "file")
_SECRETS: Final = ("user_id", "auth_token")


@unique
class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@unique
class LogFormat(StrEnum):
    """How a log line is written."""

    LOGFMT = "logfmt"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The exporter's own server."""

    listen: Listen


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Logging."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One workspace as configured: `target` is what may be shown, the rest is for whoever makes its connections.

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
class Settings:
    """All of it. `origins` tells for each dotted path that was set where it was; what is not there is a default."""

    web: Web
    log: Log
    workspaces: Mapping[str, Workspace]
    config_file: str | None = None
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Reads:
    """Annotates a field with the kind that reads it."""

    kind: Kind[object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.kind.read)


_IMPORTER: Final = kinds.Text("[A-Za-z0-9._-]{1,64}", "an importer's key, like api, csv or slack", metavar="KEY")
_HOST: Final = kinds.Text("[A-Za-z0-9][A-Za-z0-9._-]{0,252}", "a host's name", metavar="HOST")
_WORKSPACE_NAME: Final = kinds.Text("[a-z0-9][a-z0-9._-]*", "a workspace's name: [a-z0-9][a-z0-9._-]*")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_unset(cls, values: object) -> object:
        """A key without a value counts as unset; an unknown one stays, to be refused."""
        if not isinstance(values, Mapping):
            return {} if values is None else values
        return {key: value for key, value in values.items() if value is not None or key not in cls.model_fields}


class _Config(_Model):
    file: Annotated[str | None, _Reads(kinds.AnyFile())] = Field(
        default=None, description="A YAML file with options; only a flag or a variable can name it."
    )


class _Web(_Model):
    listen_address: Annotated[Listen, _Reads(kinds.ListenAddress())] = Field(
        default=Listen(host="127.0.0.1", port=19458), description="Where the exporter's pages and metrics are served."
    )


class _Log(_Model):
    level: Annotated[LogLevel, _Reads(kinds.Choice(LogLevel))] = Field(
        default=LogLevel.INFO, description="The least severity that is logged."
    )
    format: Annotated[LogFormat, _Reads(kinds.Choice(LogFormat))] = Field(
        default=LogFormat.LOGFMT, description="How log lines are written."
    )


class _Expect(_Model):
    success_every: Annotated[float | None, _Reads(kinds.Duration(1, 10 * _YEAR))] = Field(
        default=None, description="An import should succeed at least this often."
    )
    importer: Annotated[str, _Reads(_IMPORTER)] = Field(
        default="", description="The importer that the expectations are about; any, if unset."
    )
    longest_run: Annotated[float | None, _Reads(kinds.Duration(1, 10 * _YEAR))] = Field(
        default=None, description="An import should not run longer than this."
    )
    failed_ratio: Annotated[float | None, _Reads(kinds.Ratio())] = Field(
        default=None, description="The share of failed records that is still in order."
    )
    min_records: Annotated[int | None, _Reads(kinds.Count(10**12))] = Field(
        default=None, description="An import should process at least this many records."
    )


class _Tls(_Model):
    ca_file: Annotated[str | None, _Reads(kinds.PemFile())] = Field(
        default=None, description="The authorities to trust in place of the system's."
    )
    cert_file: Annotated[str | None, _Reads(kinds.PemFile())] = Field(
        default=None, description="The certificate to show to the server or to the proxy before it."
    )
    key_file: Annotated[str | None, _Reads(kinds.PemFile())] = Field(
        default=None, description="That certificate's private key, if it is not in the same file."
    )
    server_name: Annotated[str | None, _Reads(_HOST)] = Field(
        default=None, description="The name to ask for and to verify, if it is not the URL's host."
    )
    verify: Annotated[bool, _Reads(kinds.Boolean())] = Field(
        default=True, description="Whether the server's certificate is verified."
    )


class _Shared(_Model):
    """What every workspace may have, and what the top level may set for all of them."""

    poll_interval: Annotated[float, _Reads(kinds.Duration(1, _HOUR))] = Field(
        default=15.0, description="How often to ask while an import waits, loads or runs."
    )
    poll_interval_idle: Annotated[float, _Reads(kinds.Duration(1, _HOUR))] = Field(
        default=60.0, description="How often to ask otherwise."
    )
    stale_after: Annotated[float | None, _Reads(kinds.Duration(1, _YEAR))] = Field(
        default=None,
        description="How long after the last success the state is no longer published; if unset, the greater of 90s "
        "and three of the intervals in force.",
    )
    timeout: Annotated[float, _Reads(kinds.Duration(0.1, 5 * _MINUTE))] = Field(
        default=10.0, description="How long one request may take, its body included."
    )
    max_response_bytes: Annotated[int, _Reads(kinds.Size(KIBIBYTE, GIBIBYTE))] = Field(
        default=8 * MEBIBYTE, description="The largest answer that is read, after decompression."
    )
    labels: dict[Annotated[str, _Reads(kinds.LabelName())], Annotated[str, _Reads(kinds.LabelValue())]] = Field(
        default={}, description="Labels of the series workspace_info, such as team or tenant."
    )
    expect: _Expect = _Expect()
    tls: _Tls = _Tls()
    proxy_url: Annotated[str | None, _Reads(kinds.ProxyUrl())] = Field(
        default=None,
        repr=False,
        description="The forward proxy to ask through; the usual proxy variables are not heeded.",
    )
    apis: Annotated[frozenset[Api], _Reads(kinds.Apis())] = Field(
        default=frozenset(Api), description="The endpoints that may be asked; all of them, if unset."
    )


class _Single(_Model):
    """What makes a workspace."""

    url: Annotated[str | None, _Reads(kinds.WorkspaceUrl())] = Field(
        default=None, repr=False, description="The address that people open Rocket.Chat at."
    )
    user_id: Annotated[str | None, _Reads(kinds.Secret())] = Field(
        default=None, repr=False, description="The id, not the name, of the user whose token it is."
    )
    user_id_file: Annotated[str | None, _Reads(kinds.SecretFile())] = Field(
        default=None, description="A file with that id, in its place."
    )
    auth_token: Annotated[str | None, _Reads(kinds.Secret())] = Field(
        default=None, repr=False, description="The personal access token."
    )
    auth_token_file: Annotated[str | None, _Reads(kinds.SecretFile())] = Field(
        default=None, description="A file with that token, in its place; read again when it changes."
    )


class _Workspace(_Single, _Shared):
    """An entry of `workspaces`."""


class _Process(_Model):
    """What is not of any workspace."""

    config: _Config = _Config()
    web: _Web = _Web()
    log: _Log = _Log()


class _Document(_Process, _Single, _Shared, BaseSettings):
    """The whole YAML document."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True, validate_default=False)

    workspaces: dict[Annotated[str, _Reads(_WORKSPACE_NAME)], _Workspace] = {}


class _LayerSource(PydanticBaseSettingsSource):
    """Hands a layer to pydantic-settings."""

    def __init__(self, settings_cls: type[BaseSettings], values: Mapping[str, object]) -> None:
        super().__init__(settings_cls)
        self._values = dict(values)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """The value of one field; nothing is left to decode."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, object]:
        return self._values


def load(options: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Put flags (texts by dotted path) over the environment over the YAML file that either names.

    Raises `ConfigurationError` with every mistake: the option, what is wrong with it, where it came from.
    """
    above = (_flag_layer(options), environment.read(environ, OPTIONS))
    config_file = _named_file(above)
    file = Layer() if config_file is None else document.read(config_file, OPTIONS)
    layers = (*above, file)
    origins = {path: origin for one in reversed(layers) for path, origin in one.origins.items()}
    mistakes = [mistake for one in layers for mistake in one.mistakes]
    if file.values or not file.mistakes:
        mistakes += _Presence(above, file, origins).mistakes()
    read, wrong = _validate(layers, origins)
    if read is None or mistakes or wrong:
        raise ConfigurationError(list(dict.fromkeys([*mistakes, *wrong])))
    return Settings(
        web=Web(listen=read.web.listen_address),
        log=Log(level=read.log.level, format=read.log.format),
        workspaces=MappingProxyType(_workspaces(read)),
        config_file=config_file,
        origins=MappingProxyType(_told(layers, origins)),
    )


def _flag_layer(options: Mapping[str, str]) -> Layer:
    values: dict[str, object] = {}
    origins: dict[Path, str] = {}
    mistakes = []
    for written, text in options.items():
        if (path := DOTTED.read(written, OPTIONS)) is None:
            mistakes.append(layer.mistake(tuple(written.split(".")), _unknown(tuple(written.split(".")))))
        else:
            layer.plant(values, path, text)
            origins[path] = f"flag {FLAG.write(path)}"
    return Layer(values=values, origins=origins, mistakes=mistakes)


def _named_file(layers: Sequence[Layer]) -> str | None:
    groups = (one.values.get(_CONFIG_FILE[0]) for one in layers)
    return next((str(group[_CONFIG_FILE[1]]) for group in groups if isinstance(group, dict)), None)


def _validate(layers: Sequence[Layer], origins: Mapping[Path, str]) -> tuple[_Document | None, Sequence[str]]:
    """The document that the layers make, first over last, or what is wrong with it."""

    class Layered(_Document):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            *_: PydanticBaseSettingsSource,
            **__: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_LayerSource(settings_cls, one.values) for one in layers)

    try:
        return Layered(), ()
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        return None, [
            _in_our_words(tuple(map(str, one["loc"])), one["type"], one.get("ctx", {}), origins) for one in wrong
        ]


def _in_our_words(place: Path, kind: str, context: Mapping[str, object], origins: Mapping[Path, str]) -> str:
    path = tuple(key for key in place if key != "[key]")
    match kind:
        case "value_error":
            wrong = str(context["error"])
        case "extra_forbidden":
            wrong = _unknown(path)
        case _:
            wrong = _NO_MAPPING
    return layer.mistake(path, wrong, _origin(path, origins))


def _unknown(path: Path) -> str:
    written = DOTTED.write(path)
    meant = DOTTED.suggest(written, OPTIONS) if written == layer.name(path) else None
    return f"no such option; did you mean {meant}?" if meant else "no such option"


def _origin(path: Path, origins: Mapping[Path, str]) -> str | None:
    """Where the option, or else the nearest that holds it, was written."""
    above = (path[:end] for end in range(len(path), 0, -1))
    return next((origins[one] for one in above if one in origins), None)


class _Presence:
    """Finds what is missing, or there once too often, whatever the values are."""

    def __init__(self, above: Sequence[Layer], file: Layer, origins: Mapping[Path, str]) -> None:
        self._above = {path for one in above for path in layer.leaves(one.values)}
        self._in_file = set(layer.leaves(file.values))
        self._present = self._above | self._in_file
        self._layers = (*above, file)
        self._file = file
        self._origins = origins

    def mistakes(self) -> Iterator[str]:
        """A line for each."""
        yield from self._hidden_groups()
        if "config" in self._file.values:
            yield self._line(("config",), "cannot be set in the file itself", self._file.origins.get(("config",)))
        names = self._names()
        usable = [name for name in names if _WORKSPACE_NAME.fits(name)]
        single = [key for key in _Single.model_fields if (key,) in self._present]
        if names:
            instead = f"belongs to one workspace; unset it, or set {WORKSPACES}.NAME"
            yield from (self._line((key,), f"{instead}.{key} in its place") for key in single)
        for name in usable:
            yield from self._of_workspace((WORKSPACES, name))
        if single and not names:
            yield from self._of_workspace(())
        if not names and not single and (WORKSPACES,) not in self._present:
            yield f"{WORKSPACES}: there is none; {_HOW_TO_START}"

    def _hidden_groups(self) -> Iterator[str]:
        """A list or one value where the file should have a mapping, which a layer over it would hide."""
        groups = {path[:end] for path in self._above for end in range(1, len(path))}
        for path in sorted(groups & self._in_file):
            yield self._line(path, _NO_MAPPING, self._file.origins.get(path))

    def _names(self) -> Sequence[str]:
        groups = [one.values.get(WORKSPACES) for one in self._layers]
        return sorted({name for group in groups if isinstance(group, Mapping) for name in group})

    def _of_workspace(self, above: Path) -> Iterator[str]:
        if (*above, "url") not in self._present:
            yield self._missing((*above, "url"))
        for secret in _SECRETS:
            given = [(*above, key) for key in (secret, f"{secret}_file") if (*above, key) in self._present]
            if not given:
                yield self._missing((*above, secret), f" or {DOTTED.write((*above, f'{secret}_file'))}")
            if len(given) > 1:
                other = f"is there beside {layer.name(given[0])} ({_origin(given[0], self._origins)}); give one of them"
                yield self._line(given[1], other)
        if self._has(above, "key_file") and not self._has(above, "cert_file"):
            yield self._line((*above, "tls", "key_file"), "needs tls.cert_file, the certificate that it is the key of")

    def _has(self, above: Path, key: str) -> bool:
        return not {(*above, "tls", key), ("tls", key)}.isdisjoint(self._present)

    def _missing(self, path: Path, alternative: str = "") -> str:
        variable = f"{VARIABLE.write(path)}{'[_FILE]' if alternative else ''}"
        return self._line(path, f"is missing; set it{alternative} in the file, or {variable} in the environment")

    def _line(self, path: Path, wrong: str, origin: str | None = None) -> str:
        return layer.mistake(path, wrong, origin or _origin(path, self._origins))


_NO_MAPPING: Final = "must be a mapping of options"
_HOW_TO_START: Final = (
    f"for one server set {VARIABLE.write(('url',))}, {VARIABLE.write(('user_id',))} and "
    f"{VARIABLE.write(('auth_token',))} (or {VARIABLE.write(('auth_token_file',))}), for several name a YAML file "
    f"with {WORKSPACES} by {FLAG.write(_CONFIG_FILE)}"
)

ModelT = TypeVar("ModelT", bound=BaseModel)


def _workspaces(read: _Document) -> dict[str, Workspace]:
    """All workspaces by name, with what the top level sets for all of them."""
    single = {} if read.url is None else {address.name_of(read.url): _Workspace()}
    above = () if single else (WORKSPACES,)
    made = {
        name: _workspace(name, (*above, name) if above else (), _inherit(own, read))
        for name, own in (single or read.workspaces).items()
    }
    _check_tls(made.values())
    return made


def _inherit(own: ModelT, shared: BaseModel) -> ModelT:
    """The workspace's own, and where it has nothing, what all have; groups and labels key by key."""
    taken: dict[str, object] = {}
    for key in shared.model_fields_set & type(own).model_fields.keys():
        theirs, mine = getattr(shared, key), getattr(own, key)
        if isinstance(mine, BaseModel):
            taken[key] = _inherit(mine, theirs)
        elif isinstance(mine, dict):
            taken[key] = {**theirs, **mine}
        elif key not in own.model_fields_set:
            taken[key] = theirs
    return own.model_copy(update=taken)


def _workspace(name: str, above: Path, read: _Workspace) -> Workspace:
    url = cast(str, read.url)
    return Workspace(
        target=_target(name, address.public(url), read),
        url=SecretStr(url),
        credentials=credentials.Source(
            user_id=_secret(above, "user_id", read.user_id, read.user_id_file),
            auth_token=_secret(above, "auth_token", read.auth_token, read.auth_token_file),
        ),
        timeout=read.timeout,
        max_response_bytes=read.max_response_bytes,
        tls=Tls(**dict(read.tls), option=DOTTED.write((*above, "tls"))),
        proxy_url=None if read.proxy_url is None else SecretStr(read.proxy_url),
    )


def _target(name: str, url: str, read: _Workspace) -> Target:
    return Target(
        name=name,
        url=url,
        labels=MappingProxyType({label: value for label, value in sorted(read.labels.items()) if value}),
        expect=Expectation(**dict(read.expect)),
        poll_interval=read.poll_interval,
        poll_interval_idle=read.poll_interval_idle,
        stale_after=read.stale_after,
        apis=read.apis,
    )


def _secret(above: Path, key: str, given: str | None, file: str | None) -> credentials.Given | credentials.File:
    if file is not None:
        return credentials.File(option=DOTTED.write((*above, f"{key}_file")), path=file)
    return credentials.Given(option=DOTTED.write((*above, key)), value=cast(str, given))


def _check_tls(workspaces: Iterable[Workspace]) -> None:
    """Raise for files that do not hold what they should; each set of files is read once."""
    mistakes: list[str] = []
    for tls in dict.fromkeys(workspace.tls for workspace in workspaces):
        try:
            tls.context()
        except ConfigurationError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigurationError(mistakes)


def _told(layers: Sequence[Layer], origins: Mapping[Path, str]) -> dict[str, str]:
    present = {path for one in layers for path in layer.leaves(one.values)}
    return {DOTTED.write(path): origin for path, origin in sorted(origins.items()) if path in present}


def _describe(model: type[BaseModel], above: Path, group: Group, *, each: bool) -> Iterator[Option]:
    """The options of a model, in the order of its fields."""
    for key, info in model.model_fields.items():
        path = (*above, key)
        if key == WORKSPACES:
            continue
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _describe(info.annotation, path, group, each=each)
        elif key == "labels":
            yield _option((*path, ANY), info, kinds.LabelValue(), group, each=each)
        else:
            reads = next(one for one in info.metadata if isinstance(one, _Reads))
            yield _option(path, info, reads.kind, group, each=each)


def _option(path: Path, info: FieldInfo, kind: Kind[object], group: Group, *, each: bool) -> Option:
    return Option(
        path=path,
        group=group,
        help=info.description or "",
        metavar=kind.metavar,
        allowed=kind.allowed,
        default=_written(kind, info.default),
        switch=isinstance(kind, kinds.Boolean),
        each=each,
        in_file=path != _CONFIG_FILE,
        is_file=isinstance(kind, kinds.AnyFile | kinds.PemFile | kinds.SecretFile),
    )


def _written(kind: Kind[object], default: object) -> str:
    """A default as an operator would write it; empty for none."""
    match kind, default:
        case kinds.Duration(), float(seconds):
            return duration.write(seconds)
        case kinds.Size(), int(size):
            return kinds.write_size(size)
        case kinds.ListenAddress(), Listen(host=host, port=port):
            return f"{host}:{port}"
        case kinds.Boolean(), bool(answer):
            return str(answer).lower()
        case _:
            return default if isinstance(default, str) else ""


OPTIONS: Final[tuple[Option, ...]] = (
    *_describe(_Process, (), Group.PROCESS, each=False),
    *_describe(_Single, (), Group.SINGLE, each=True),
    *_describe(_Shared, (), Group.SHARED, each=True),
)
"""Every option once; one that each workspace may have stands here by its path at the top level."""
