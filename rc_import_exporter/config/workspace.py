"""One workspace as configured, built from the options that were read."""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from pydantic import SecretStr

from rc_import_exporter.config import address, credentials, environment, options
from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import Option, Path
from rc_import_exporter.config.presence import HEADERS, SECRETS
from rc_import_exporter.config.tls import Tls
from rc_import_exporter.config.values import T_co
from rc_import_exporter.core.domain import Api, Expectation, Target
from rc_import_exporter.errors import ConfigurationError


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


def build(name: str, above: Path, read: Chosen, environ: Mapping[str, str]) -> Workspace:
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


def mistakes(workspaces: Iterable[Workspace]) -> Iterator[tuple[str, str]]:
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
