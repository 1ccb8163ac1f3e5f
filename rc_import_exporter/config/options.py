"""Every option, as data: its path, the type of its value, its default, and its help.

A path is the keys of an option from the top of the YAML document: `("tls", "ca_file")`, or, for one workspace,
`("workspaces", "acme", "tls", "ca_file")`. The key `*` in an option stands for a name that the operator chooses.
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, Generic, TypeVar

from rc_import_exporter.config import values
from rc_import_exporter.config.values import GIBIBYTE, KIBIBYTE, T_co, Value, seconds

WORKSPACES: Final = "workspaces"
ANY: Final = "*"
_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_YEAR: Final = 365 * 24 * _HOUR
MOST_SHARDS: Final = 1_000

Path = tuple[str, ...]
ReadT = TypeVar("ReadT")


@unique
class Group(StrEnum):
    """The groups of options in tables."""

    PROCESS = "The exporter"
    SINGLE = "The workspace"
    SHARED = "How to ask, and what to expect"


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
class Option(Generic[T_co]):
    """One option. `default` is as an operator would write it, or empty if there is none.

    `is_flag` says that the command line may set it, `in_file` that the YAML file may. `names` is the type of the names
    that may stand for `*` in the path.
    """

    path: Path
    group: Group
    value: Value[T_co]
    help: str
    default: str = ""
    is_flag: bool = False
    in_file: bool = True
    names: Value[str] | None = None

    @property
    def each(self) -> bool:
        """Whether every workspace may have its own, below `workspaces.NAME`."""
        return self.group is not Group.PROCESS


def _option(
    path: str,
    group: Group,
    value: Value[ReadT],
    help: str,
    default: str = "",
    *,
    flag: bool = False,
    file: bool = True,
    names: Value[str] | None = None,
) -> Option[ReadT]:
    return Option(
        path=tuple(path.split(".")),
        group=group,
        value=value,
        help=help,
        default=default,
        is_flag=flag,
        in_file=file,
        names=names,
    )


_PROCESS, _SINGLE, _SHARED = Group

CONFIG_FILE: Final = _option(
    "config.file",
    _PROCESS,
    values.ANY_FILE,
    "A YAML file with options. Only a flag or a variable can name it.",
    flag=True,
    file=False,
)
AUTO_RELOAD: Final = _option(
    "config.auto_reload",
    _PROCESS,
    values.BOOLEAN,
    "Whether to reload the configuration when one of its files changes, 5 to 10 seconds after the change.",
    "false",
    flag=True,
)
WORKSPACES_FILES: Final = _option(
    "workspaces_files",
    _PROCESS,
    values.FILE_PATTERNS,
    "Further YAML files with workspaces, such as workspaces.d/*.yml. Each file holds what can stand below workspaces.",
)
SHARD_INDEX: Final = _option(
    "shard.index",
    _PROCESS,
    values.count(MOST_SHARDS - 1),
    "Which part of the workspaces this exporter polls, from 0. If unset: the number at the end of the variable "
    "POD_NAME, or else HOSTNAME, as pods of a StatefulSet have it.",
    flag=True,
)
SHARD_COUNT: Final = _option(
    "shard.count",
    _PROCESS,
    values.count(MOST_SHARDS, least=1),
    "How many exporters with the same configuration divide the workspaces. If unset: this one polls all.",
    flag=True,
)
LISTEN_ADDRESS: Final = _option(
    "web.listen_address",
    _PROCESS,
    values.LISTEN_ADDRESS,
    "The address to serve the pages and metrics on.",
    "127.0.0.1:19458",
    flag=True,
)
WEB_CONFIG_FILE: Final = _option(
    "web.config.file",
    _PROCESS,
    values.ANY_FILE,
    "A file with TLS, users and headers for the exporter's own server, in the format of Prometheus' exporter-toolkit. "
    "If unset: plain HTTP without a login.",
    flag=True,
)
ENABLE_LIFECYCLE: Final = _option(
    "web.enable_lifecycle",
    _PROCESS,
    values.BOOLEAN,
    "Whether POST /-/reload reloads the configuration. Anyone who reaches the port can then do that.",
    "false",
    flag=True,
)
EXTERNAL_URL: Final = _option(
    "web.external_url",
    _PROCESS,
    values.LINK_URL,
    "The URL at which people open the exporter. Links in alerts start with it. If unset: the address that Prometheus "
    "scrapes.",
    flag=True,
)
GRAFANA_URL: Final = _option(
    "grafana_url",
    _PROCESS,
    values.LINK_URL,
    "The URL at which people open Grafana. Pages and alerts link to its dashboards. If unset: no such links.",
)
LOG_LEVEL: Final = _option(
    "log.level", _PROCESS, values.choice(LogLevel), "The lowest level to log.", "info", flag=True
)
LOG_FORMAT: Final = _option(
    "log.format", _PROCESS, values.choice(LogFormat), "The format of log lines.", "logfmt", flag=True
)

URL: Final = _option("url", _SINGLE, values.WORKSPACE_URL, "The URL at which people open Rocket.Chat.", flag=True)
USER_ID: Final = _option("user_id", _SINGLE, values.SECRET, "The id, not the name, of the token's owner.", flag=True)
USER_ID_FILE: Final = _option(
    "user_id_file", _SINGLE, values.SECRET_FILE, "A file that holds the user id, instead of user_id.", flag=True
)
AUTH_TOKEN: Final = _option("auth_token", _SINGLE, values.SECRET, "The personal access token.")
AUTH_TOKEN_FILE: Final = _option(
    "auth_token_file",
    _SINGLE,
    values.SECRET_FILE,
    "A file that holds the token, instead of auth_token. It is read again when it changes.",
    flag=True,
)

POLL_INTERVAL: Final = _option(
    "poll_interval", _SHARED, seconds(1, _HOUR), "How often to poll while an import waits, loads or runs.", "15s"
)
POLL_INTERVAL_IDLE: Final = _option(
    "poll_interval_idle", _SHARED, seconds(1, _HOUR), "How often to poll otherwise.", "30s"
)
STALE_AFTER: Final = _option(
    "stale_after",
    _SHARED,
    seconds(1, _YEAR),
    "How long after the last successful poll the state is still published. If unset: 90s, or three times the current "
    "interval if that is longer.",
)
TIMEOUT: Final = _option(
    "timeout", _SHARED, seconds(0.1, 5 * _MINUTE), "How long one request may take, including its body.", "10s"
)
MAX_RESPONSE_BYTES: Final = _option(
    "max_response_bytes",
    _SHARED,
    values.size(KIBIBYTE, GIBIBYTE),
    "The largest response to read, after decompression.",
    "8MiB",
)
LABEL: Final = _option(
    f"labels.{ANY}",
    _SHARED,
    values.LABEL_VALUE,
    "Labels of the metric workspace_info, such as team or tenant.",
    names=values.LABEL_NAME,
)
HEADER: Final = _option(
    f"headers.{ANY}",
    _SHARED,
    values.HEADER,
    "Further headers of each request, such as the access token of a gateway in front of Rocket.Chat.",
    names=values.HEADER_NAME,
)
HEADER_FILE: Final = _option(
    f"headers_file.{ANY}",
    _SHARED,
    values.HEADER_FILE,
    "The same, with the value in a file. It is read again when it changes.",
    names=values.HEADER_NAME,
)
SUCCESS_EVERY: Final = _option(
    "expect.success_every", _SHARED, seconds(1, 10 * _YEAR), "An import should succeed at least this often."
)
IMPORTER: Final = _option(
    "expect.importer",
    _SHARED,
    values.IMPORTER,
    "The importer that the expectations apply to. If unset: every importer.",
)
LONGEST_RUN: Final = _option(
    "expect.longest_run", _SHARED, seconds(1, 10 * _YEAR), "An import should not run longer than this."
)
FAILED_RATIO: Final = _option(
    "expect.failed_ratio", _SHARED, values.RATIO, "The largest acceptable share of failed records."
)
MIN_RECORDS: Final = _option(
    "expect.min_records", _SHARED, values.count(10**12), "An import should process at least this many records."
)
CA_FILE: Final = _option(
    "tls.ca_file",
    _SHARED,
    values.PEM_FILE,
    "The certificate authorities to trust instead of the system's. Like the next two files, it is read again when it "
    "changes.",
)
CERT_FILE: Final = _option(
    "tls.cert_file",
    _SHARED,
    values.PEM_FILE,
    "The client certificate to present to the server, or to the proxy in front of it.",
)
KEY_FILE: Final = _option(
    "tls.key_file", _SHARED, values.PEM_FILE, "The private key of that certificate, if cert_file does not hold it."
)
SERVER_NAME: Final = _option(
    "tls.server_name", _SHARED, values.HOST, "The server name to request and verify, if it is not the URL's host."
)
VERIFY: Final = _option("tls.verify", _SHARED, values.BOOLEAN, "Whether to verify the server's certificate.", "true")
PROXY_URL: Final = _option(
    "proxy_url",
    _SHARED,
    values.PROXY_URL,
    "The forward proxy to send requests through.",
)
PROXY_FROM_ENVIRONMENT: Final = _option(
    "proxy_from_environment",
    _SHARED,
    values.BOOLEAN,
    "Whether to use the proxy of the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY if proxy_url is unset.",
    "false",
)
APIS: Final = _option("apis", _SHARED, values.APIS, "The endpoints that may be called. If unset: all of them.")

OPTIONS: Final[tuple[Option[object], ...]] = (
    *(CONFIG_FILE, AUTO_RELOAD, LISTEN_ADDRESS, WEB_CONFIG_FILE, ENABLE_LIFECYCLE, EXTERNAL_URL, GRAFANA_URL),
    *(LOG_LEVEL, LOG_FORMAT, WORKSPACES_FILES, SHARD_INDEX, SHARD_COUNT),
    *(URL, USER_ID, USER_ID_FILE, AUTH_TOKEN, AUTH_TOKEN_FILE),
    *(POLL_INTERVAL, POLL_INTERVAL_IDLE, STALE_AFTER, TIMEOUT, MAX_RESPONSE_BYTES, LABEL, HEADER, HEADER_FILE),
    *(SUCCESS_EVERY, IMPORTER, LONGEST_RUN, FAILED_RATIO, MIN_RECORDS),
    *(CA_FILE, CERT_FILE, KEY_FILE, SERVER_NAME, VERIFY, PROXY_URL, PROXY_FROM_ENVIRONMENT, APIS),
)
"""Every option once. One that each workspace may have stands here by its path at the top level."""

AT_START: Final = (AUTO_RELOAD, LISTEN_ADDRESS, WEB_CONFIG_FILE, ENABLE_LIFECYCLE, LOG_LEVEL, LOG_FORMAT)
"""Options whose new values need a restart."""

_BY_PATH: Final = {option.path: option for option in OPTIONS}
_GROUPS: Final = {option.path[:end]: option.each for option in OPTIONS for end in range(len(option.path))}
"""Paths that hold options, and whether every workspace may have them."""


def option_at(path: Path) -> Option[object] | None:
    """The option that stands at a path."""
    below = path[2:] if path[:1] == (WORKSPACES,) else path
    option = _BY_PATH.get(below)
    if option is None and below and below[-1]:
        option = _BY_PATH.get((*below[:-1], ANY))
    return option if option is not None and (option.each or below == path) else None


def is_group(path: Path) -> bool:
    """Whether a mapping of options stands at a path, as in YAML."""
    if path[:1] != (WORKSPACES,):
        return path in _GROUPS
    return len(path) <= 2 or _GROUPS.get(path[2:], False)
