"""The closed sets (endpoints, states, steps, outcomes, reasons), and the data that a poll brings back.

`verdict` decides which outcome an operation has. Everything here is immutable. Points in time are Unix seconds,
durations are seconds, counts are numbers of records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final


@unique
class Api(StrEnum):
    """The endpoints in use, by the last part of their path below `/api/v1/`, or below `/api/` for `info`."""

    STATUS = "import.status"
    LIST = "getLatestImportOperations"
    PROGRESS = "getImportProgress"
    INFO = "info"


FEEDS: Final = (Api.STATUS, Api.LIST)
"""The two endpoints that give an operation's id and validity."""


@unique
class State(StrEnum):
    """The state as `import.status` calls it. `UNKNOWN` stands for any other word, and for a missing one."""

    NONE = "none"
    NEW = "new"
    LOADING = "loading"
    READY = "ready"
    IMPORTING = "importing"
    DONE = "done"
    ERROR = "error"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


@unique
class Step(StrEnum):
    """An operation's `status` without its prefix `importer_`. `NONE` means that no operation exists."""

    NONE = "none"
    NEW = "new"
    UPLOADING = "uploading"
    DOWNLOADING_FILE = "downloading_file"
    FILE_LOADED = "file_loaded"
    PREPARING_STARTED = "preparing_started"
    PREPARING_USERS = "preparing_users"
    PREPARING_CHANNELS = "preparing_channels"
    PREPARING_MESSAGES = "preparing_messages"
    PREPARING_CONTACTS = "preparing_contacts"
    USER_SELECTION = "user_selection"
    IMPORTING_STARTED = "importing_started"
    IMPORTING_USERS = "importing_users"
    IMPORTING_CONTACTS = "importing_contacts"
    IMPORTING_CHANNELS = "importing_channels"
    IMPORTING_MESSAGES = "importing_messages"
    IMPORTING_FILES = "importing_files"
    FINISHING = "finishing"
    DONE = "done"
    IMPORT_FAILED = "import_failed"
    IMPORT_CANCELLED = "import_cancelled"
    UNKNOWN = "unknown"


WAITING_STEPS: Final = frozenset({Step.NEW, Step.USER_SELECTION})
LOADING_STEPS: Final = frozenset(
    {
        Step.UPLOADING,
        Step.DOWNLOADING_FILE,
        Step.FILE_LOADED,
        Step.PREPARING_STARTED,
        Step.PREPARING_USERS,
        Step.PREPARING_CHANNELS,
        Step.PREPARING_MESSAGES,
        Step.PREPARING_CONTACTS,
    }
)
IMPORTING_STEPS: Final = frozenset(
    {
        Step.IMPORTING_STARTED,
        Step.IMPORTING_USERS,
        Step.IMPORTING_CONTACTS,
        Step.IMPORTING_CHANNELS,
        Step.IMPORTING_MESSAGES,
        Step.IMPORTING_FILES,
        Step.FINISHING,
    }
)
RUNNING_STEPS: Final = LOADING_STEPS | IMPORTING_STEPS
"""The steps of an operation that ends if a server starts."""
LAST_STEPS: Final = frozenset({Step.DONE, Step.IMPORT_FAILED, Step.IMPORT_CANCELLED})


@unique
class Outcome(StrEnum):
    """The result of an operation, which neither its state nor its step tells alone. `verdict` judges it."""

    NONE = "none"
    WAITING = "waiting"
    LOADING = "loading"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    INCOMPLETE = "incomplete"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DISCARDED = "discarded"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


UNFINISHED: Final = (Outcome.WAITING, Outcome.LOADING, Outcome.RUNNING)
FINISHED: Final = (
    Outcome.SUCCEEDED,
    Outcome.COMPLETED_WITH_ERRORS,
    Outcome.INCOMPLETE,
    Outcome.UNCONFIRMED,
    Outcome.FAILED,
    Outcome.INTERRUPTED,
    Outcome.DISCARDED,
    Outcome.CANCELED,
)


@unique
class Reason(StrEnum):
    """Why a call failed: the values of the label `reason`."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    REDIRECTED = "redirected"
    PROXY = "proxy"
    INTERNAL = "internal"


REFUSALS: Final = frozenset({Reason.FORBIDDEN, Reason.NOT_FOUND})
"""The server answered but does not offer this endpoint to this user. Other endpoints may still work."""


@unique
class Kind(StrEnum):
    """The kinds of records that an operation counts while it loads."""

    USERS = "users"
    CHANNELS = "channels"
    MESSAGES = "messages"
    CONTACTS = "contacts"


KNOWN_IMPORTERS: Final = (
    "api",
    "csv",
    "slack",
    "slack-users",
    "pending-files",
    "pending-avatars",
    "omnichannel_contact",
    "hipchatenterprise",
)
OTHER_IMPORTER: Final = "other"


def known_importer(key: str) -> str:
    """The importer's key if it is one of `KNOWN_IMPORTERS`, else `other`, so that a label has few values."""
    return key if key in KNOWN_IMPORTERS else OTHER_IMPORTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """An operation's `count` as it was sent. `None` means that the key was missing."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    staged: Mapping[Kind, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def processed(self) -> int:
        """Records completed or rejected. Can exceed the total: since 7.0, file imports count users twice."""
        return (self.completed or 0) + (self.failed or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One import operation as one answer showed it.

    `getImportProgress` gives no id, no dates and no validity: then `id` is empty and `valid` is `None`. `dated_as_text`
    says that `ts` was text, as servers since 6.3 write it.
    """

    id: str
    importer: str
    step: Step
    valid: bool | None
    created: float | None = None
    dated_as_text: bool = False
    updated: float | None = None
    counts: Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """`import.status`: the state, and the newest operation if there is one."""

    state: State
    operation: Operation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAnswer:
    """`getLatestImportOperations`: up to 20 operations, the last written first. That may not be the newest."""

    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressAnswer:
    """`getImportProgress`: the newest operation without id, dates and validity, `None` if nothing was ever imported."""

    operation: Operation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoAnswer:
    """`/api/info`: the server's version, often without the patch number."""

    version: str


Answer = StatusAnswer | ListAnswer | ProgressAnswer | InfoAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the rate limiter said about an endpoint.

    `limit` and `remaining` are calls in its window, 60 s by default. `reset` is when the window ends, by the server's
    clock. `wait` is the number of seconds from the answer to that time.
    """

    limit: int | None
    remaining: int | None
    reset: float | None
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back.

    `code` is the HTTP status, `None` without an answer. `size` is the number of bytes in the body after decompression.
    `skew` is how many seconds the server's clock is ahead of ours, by the header `Date`. `answered` is when the answer
    came, by our clock. If that clock was set meanwhile, the machine slept, or the answer took more than a few seconds,
    `skew` is `None`, and `answered` is when the request was sent: the answer can be that old.
    """

    api: Api
    code: int | None
    seconds: float
    size: int = 0
    budget: Budget | None = None
    skew: float | None = None
    answered: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A call that returned the endpoint's JSON."""

    exchange: Exchange
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that did not.

    `detail` is one line for people, without any text from a body or a credential. `remedy` says what to do where the
    answer tells more than the reason does, else it is empty. `by_rocketchat` says that the answer came from
    Rocket.Chat, as far as its form shows, and not from a proxy.
    """

    exchange: Exchange
    reason: Reason
    detail: str
    remedy: str = ""
    by_rocketchat: bool = False


Result = Success | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The results of one poll: one for each endpoint that was called, and every request that was made for them."""

    started: float
    ended: float
    results: tuple[Result, ...]
    exchanges: tuple[Exchange, ...]

    def of(self, api: Api) -> Result | None:
        """The result of this endpoint, `None` if it was not called."""
        return next((result for result in self.results if result.exchange.api is api), None)

    @property
    def answered(self) -> bool:
        """Whether a feed answered, so that the state is known."""
        return any(isinstance(self.of(api), Success) for api in FEEDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the configuration expects of a workspace's imports. `None` expects nothing; `importer` "" means any."""

    importer: str = ""
    success_every: float | None = None
    longest_run: float | None = None
    failed_ratio: float | None = None
    min_records: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where people open the exporter and Grafana: URLs without a slash at the end; empty where not configured."""

    external_url: str = ""
    grafana_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A configured workspace without its secrets: `url` has no user and no password.

    Durations are seconds. If `stale_after` is `None`, it follows from the intervals.
    """

    name: str
    url: str
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    expect: Expectation = field(default_factory=Expectation)
    poll_interval: float = 15.0
    poll_interval_idle: float = 30.0
    stale_after: float | None = None
    apis: frozenset[Api] = frozenset(Api)
