"""Every option, as data: its path, the type of its value, its default, and its help.

A path is the keys of an option from the top of the YAML document: `("tls", "ca_file")`, or, for one workspace,
`("workspaces", "acme", "tls", "ca_file")`. The key `*` in an option stands for a name that the operator chooses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, Generic

from rc_import_exporter.config import values
from rc_import_exporter.config.values import GIBIBYTE, KIBIBYTE, T_co, Value

WORKSPACES: Final = "workspaces"
ANY: Final = "*"
_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_YEAR: Final = 365 * 24 * _HOUR

Path = tuple[str, ...]


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

    `is_flag` says that the command line may set it, `in_file` that the YAML file may.
    """

    path: Path
    group: Group
    value: Value[T_co]
    default: str = ""
    help: str
    is_flag: bool = False
    in_file: bool = True

    @property
    def each(self) -> bool:
        """Whether every workspace may have its own, below `workspaces.NAME`."""
        return self.group is not Group.PROCESS


CONFIG_FILE: Final = Option(
    path=("config", "file"),
    group=Group.PROCESS,
    value=values.ANY_FILE,
    help="A YAML file with options. Only a flag or a variable can name it.",
    is_flag=True,
    in_file=False,
)
LISTEN_ADDRESS: Final = Option(
    path=("web", "listen_address"),
    group=Group.PROCESS,
    value=values.LISTEN_ADDRESS,
    default="127.0.0.1:19458",
    help="The address to serve the pages and metrics on.",
    is_flag=True,
)
LOG_LEVEL: Final = Option(
    path=("log", "level"),
    group=Group.PROCESS,
    value=values.choice(LogLevel),
    default=LogLevel.INFO,
    help="The lowest level to log.",
    is_flag=True,
)
LOG_FORMAT: Final = Option(
    path=("log", "format"),
    group=Group.PROCESS,
    value=values.choice(LogFormat),
    default=LogFormat.LOGFMT,
    help="The format of log lines.",
    is_flag=True,
)

URL: Final = Option(
    path=("url",),
    group=Group.SINGLE,
    value=values.WORKSPACE_URL,
    help="The URL at which people open Rocket.Chat.",
    is_flag=True,
)
USER_ID: Final = Option(
    path=("user_id",),
    group=Group.SINGLE,
    value=values.SECRET,
    help="The id, not the name, of the user who owns the token.",
    is_flag=True,
)
USER_ID_FILE: Final = Option(
    path=("user_id_file",),
    group=Group.SINGLE,
    value=values.SECRET_FILE,
    help="A file that holds the user id, instead of user_id.",
    is_flag=True,
)
AUTH_TOKEN: Final = Option(
    path=("auth_token",), group=Group.SINGLE, value=values.SECRET, help="The personal access token."
)
AUTH_TOKEN_FILE: Final = Option(
    path=("auth_token_file",),
    group=Group.SINGLE,
    value=values.SECRET_FILE,
    help="A file that holds the token, instead of auth_token. It is read again when it changes.",
    is_flag=True,
)

POLL_INTERVAL: Final = Option(
    path=("poll_interval",),
    group=Group.SHARED,
    value=values.seconds(1, _HOUR),
    default="15s",
    help="How often to poll while an import waits, loads or runs.",
)
POLL_INTERVAL_IDLE: Final = Option(
    path=("poll_interval_idle",),
    group=Group.SHARED,
    value=values.seconds(1, _HOUR),
    default="1m",
    help="How often to poll otherwise.",
)
STALE_AFTER: Final = Option(
    path=("stale_after",),
    group=Group.SHARED,
    value=values.seconds(1, _YEAR),
    help="How long after the last successful poll the state is still published. If unset: 90s, or three times the "
    "current interval if that is longer.",
)
TIMEOUT: Final = Option(
    path=("timeout",),
    group=Group.SHARED,
    value=values.seconds(0.1, 5 * _MINUTE),
    default="10s",
    help="How long one request may take, including its body.",
)
MAX_RESPONSE_BYTES: Final = Option(
    path=("max_response_bytes",),
    group=Group.SHARED,
    value=values.size(KIBIBYTE, GIBIBYTE),
    default="8MiB",
    help="The largest response to read, after decompression.",
)
LABEL: Final = Option(
    path=("labels", ANY),
    group=Group.SHARED,
    value=values.LABEL_VALUE,
    help="Labels of the metric workspace_info, such as team or tenant.",
)
SUCCESS_EVERY: Final = Option(
    path=("expect", "success_every"),
    group=Group.SHARED,
    value=values.seconds(1, 10 * _YEAR),
    help="An import should succeed at least this often.",
)
EXPECTED_IMPORTER: Final = Option(
    path=("expect", "importer"),
    group=Group.SHARED,
    value=values.IMPORTER,
    help="The importer that the expectations apply to. If unset: every importer.",
)
LONGEST_RUN: Final = Option(
    path=("expect", "longest_run"),
    group=Group.SHARED,
    value=values.seconds(1, 10 * _YEAR),
    help="An import should not run longer than this.",
)
FAILED_RATIO: Final = Option(
    path=("expect", "failed_ratio"),
    group=Group.SHARED,
    value=values.RATIO,
    help="The largest acceptable share of failed records.",
)
MIN_RECORDS: Final = Option(
    path=("expect", "min_records"),
    group=Group.SHARED,
    value=values.count(10**12),
    help="An import should process at least this many records.",
)
CA_FILE: Final = Option(
    path=("tls", "ca_file"),
    group=Group.SHARED,
    value=values.PEM_FILE,
    help="The certificate authorities to trust instead of the system's.",
)
CERT_FILE: Final = Option(
    path=("tls", "cert_file"),
    group=Group.SHARED,
    value=values.PEM_FILE,
    help="The client certificate to present to the server, or to the proxy in front of it.",
)
KEY_FILE: Final = Option(
    path=("tls", "key_file"),
    group=Group.SHARED,
    value=values.PEM_FILE,
    help="The private key of that certificate, if cert_file does not hold it.",
)
SERVER_NAME: Final = Option(
    path=("tls", "server_name"),
    group=Group.SHARED,
    value=values.HOST,
    help="The server name to request and verify, if it is not the URL's host.",
)
VERIFY: Final = Option(
    path=("tls", "verify"),
    group=Group.SHARED,
    value=values.BOOLEAN,
    default="true",
    help="Whether to verify the server's certificate.",
)
PROXY_URL: Final = Option(
    path=("proxy_url",),
    group=Group.SHARED,
    value=values.PROXY_URL,
    help="The forward proxy to send requests through. The usual proxy variables are ignored.",
)
APIS: Final = Option(
    path=("apis",),
    group=Group.SHARED,
    value=values.APIS,
    help="The endpoints that may be called. If unset: all of them.",
)

OPTIONS: Final[tuple[Option[object], ...]] = (
    *(CONFIG_FILE, LISTEN_ADDRESS, LOG_LEVEL, LOG_FORMAT),
    *(URL, USER_ID, USER_ID_FILE, AUTH_TOKEN, AUTH_TOKEN_FILE),
    *(POLL_INTERVAL, POLL_INTERVAL_IDLE, STALE_AFTER, TIMEOUT, MAX_RESPONSE_BYTES, LABEL),
    *(SUCCESS_EVERY, EXPECTED_IMPORTER, LONGEST_RUN, FAILED_RATIO, MIN_RECORDS),
    *(CA_FILE, CERT_FILE, KEY_FILE, SERVER_NAME, VERIFY, PROXY_URL, APIS),
)
"""Every option once. One that each workspace may have stands here by its path at the top level."""


_BY_PATH: Final = {option.path: option for option in OPTIONS}


def _holders(options: Iterable[Option[object]]) -> frozenset[Path]:
    return frozenset(option.path[:end] for option in options for end in range(len(option.path)))


_GROUPS: Final = _holders(OPTIONS)
_GROUPS_OF_EACH: Final = _holders(option for option in OPTIONS if option.each)


def option_at(path: Path) -> Option[object] | None:
    """The option that stands at a path."""
    below = path[2:] if path[:1] == (WORKSPACES,) else path
    option = _BY_PATH.get(below)
    if option is None and below and below[-1]:
        option = _BY_PATH.get((*below[:-1], ANY))
    return option if option is not None and (option.each or below == path) else None


def is_group(path: Path) -> bool:
    """Whether a mapping of options stands at a path, as in YAML."""
    if path[:1] == (WORKSPACES,):
        return len(path) <= 2 or path[2:] in _GROUPS_OF_EACH
    return path in _GROUPS
