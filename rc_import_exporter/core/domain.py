"""The words of Rocket.Chat's import API and the facts a poll brings home.

Everything here is immutable data without behaviour beyond reading itself. Every other module imports this one; it
imports none of them. Instants are Unix seconds, durations are seconds, counts are records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final


@unique
class Api(StrEnum):
    """The endpoints that are asked, by the last part of their path below `/api/v1/` (`info` lies below `/api/`)."""

    STATUS = "import.status"
    LIST = "getLatestImportOperations"
    PROGRESS = "getImportProgress"
    INFO = "info"


FEEDS: Final = (Api.STATUS, Api.LIST)
"""The two endpoints that name an operation and its validity."""


@unique
class State(StrEnum):
    """What `import.status` calls the state; `UNKNOWN` is any word, or none, that this release does not know."""

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
    """An operation's `status` without its prefix `importer_`; `NONE` is the absence of an operation."""

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
LAST_STEPS: Final = frozenset({Step.DONE, Step.IMPORT_FAILED, Step.IMPORT_CANCELLED})


@unique
class Outcome(StrEnum):
    """What an operation has come to: what neither state nor step says. Judged in `verdict`."""

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
    """Why a call failed, as the label `reason` has it."""

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
"""The server is there and will not, or cannot, answer this endpoint: the other ways of reading the state stay open."""


@unique
class Kind(StrEnum):
    """Kinds of records that an operation counts while it loads."""

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
    """The importer's key where it is one of `KNOWN_IMPORTERS`, else `other`: a label value from a closed set."""
    return key if key in KNOWN_IMPORTERS else OTHER_IMPORTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """An operation's `count`, raw. `None` is a key that was not there."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    staged: Mapping[Kind, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def processed(self) -> int:
        """Records completed or rejected; may exceed the total (users of file imports are counted twice)."""
        return (self.completed or 0) + (self.failed or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One import operation as one answer showed it.

    `valid` is `None` only where the endpoint does not tell (`getImportProgress`, which gives no id and no dates
    either: `id` is then empty). `dated_as_text` says that `ts` was written as text, as servers from 6.3 on do.
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
    """`import.status`: the server's word and the operation it is about, if there is one."""

    state: State
    operation: Operation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAnswer:
    """`getLatestImportOperations`: up to 20 operations, the one last written to first."""

    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressAnswer:
    """`getImportProgress`: an operation without id, dates and validity; `None` when nothing was ever imported."""

    operation: Operation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoAnswer:
    """`/api/info`: the server's version, the patch number often cut off."""

    version: str


Answer = StatusAnswer | ListAnswer | ProgressAnswer | InfoAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the rate limiter said of an endpoint.

    `limit` and `remaining` are calls in the window of 60 s, `reset` the instant it ends by the server's clock, `wait`
    the seconds until then, measured against the answer's own `Date`.
    """

    limit: int | None
    remaining: int | None
    reset: float | None
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back: `code` is the HTTP status, `None` where there was no answer.

    `size` is the body's size in bytes after decompression; `skew` is how many seconds the server's clock is ahead of
    ours, by its `Date` header.
    """

    api: Api
    code: int | None
    seconds: float
    size: int = 0
    budget: Budget | None = None
    skew: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A call that brought the right JSON."""

    exchange: Exchange
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that did not.

    `detail` is one line for people, made by us: nothing of a body or a credential is in it. `by_rocketchat` says that
    the answer was recognisably Rocket.Chat's own, and not a proxy's.
    """

    exchange: Exchange
    reason: Reason
    detail: str
    by_rocketchat: bool = False


Result = Success | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One cycle: what each endpoint that was asked came to, and every request made on the way there."""

    started: float
    ended: float
    results: tuple[Result, ...]
    exchanges: tuple[Exchange, ...]

    def of(self, api: Api) -> Result | None:
        """What this endpoint came to; `None` where it was not asked."""
        return next((result for result in self.results if result.exchange.api is api), None)

    @property
    def answered(self) -> bool:
        """Whether either feed answered, so that the state can be told."""
        return any(isinstance(self.of(api), Success) for api in FEEDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the configuration expects of a workspace's imports; `None` is no expectation. `importer` "" is any."""

    importer: str = ""
    success_every: float | None = None
    longest_run: float | None = None
    failed_ratio: float | None = None
    min_records: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A configured workspace as everything but the HTTP client needs it: no secret, no credentials in `url`.

    Durations are seconds. `stale_after` is `None` where it follows from the intervals.
    """

    name: str
    url: str
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    expect: Expectation = field(default_factory=Expectation)
    poll_interval: float = 15.0
    poll_interval_idle: float = 60.0
    stale_after: float | None = None
    apis: frozenset[Api] = frozenset(Api)
