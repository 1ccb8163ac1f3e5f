"""What an answer means: the endpoint's JSON, or why not. `client` asks it about everything that came back over HTTP.

The reasons are a table, read from the top. Go by the status first: what stands in bodies differs from release to
release, and a 200 is worth nothing before its body has parsed as the right JSON.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from rc_import_exporter.core.domain import Api, Budget, Exchange, Failure, ProgressAnswer, Reason, Result, Success
from rc_import_exporter.core.thresholds import RATE_LIMIT_WINDOW
from rc_import_exporter.errors import BodyError
from rc_import_exporter.rocketchat import wire

LONGEST_WAIT: Final = 600.0
LONGEST_NUMBER: Final = 15
"""Digits of a header's number: an instant in milliseconds has 13."""
PERMISSION_ERRORS: Final = frozenset({"error-action-not-allowed", "not_authorized"})
"""`errorType` of a 400 by which servers up to 5.0 say that a permission is missing."""
NOTHING_IMPORTED: Final = "error-operation-not-found"
"""`errorType` of the 400 by which `getImportProgress` says that nothing was ever imported."""
PLAIN_ERROR: Final = b"Internal Server Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer over HTTP: `body` is decompressed, and empty where it was larger than allowed.

    `headers` finds a name in any case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    too_large: bool = False

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people, as older servers and proxies send where there is no endpoint."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.body[:256].lstrip().startswith(b"<")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """An answer, and what Rocket.Chat says in it as an error: read once, for a body may be megabytes."""

    response: Response
    error: Mapping[str, str] | None

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def error_type(self) -> str:
        return (self.error or {}).get("errorType", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    reason: Reason
    applies: Callable[[_Refusal], bool]
    detail: str


def _is_a_strangers(refusal: _Refusal) -> bool:
    guarded = refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or refusal.status >= SERVER_ERRORS
    return guarded and refusal.error is None and refusal.response.body.strip() != PLAIN_ERROR


def _is_forbidden(refusal: _Refusal) -> bool:
    if refusal.status == HTTPStatus.BAD_REQUEST:
        return refusal.error_type in PERMISSION_ERRORS
    return refusal.status == HTTPStatus.FORBIDDEN


def _is_missing(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.NOT_FOUND or (refusal.status == HTTPStatus.OK and refusal.response.is_html)


def _says_that_nothing_was_imported(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.BAD_REQUEST and refusal.error_type == NOTHING_IMPORTED


SERVER_ERRORS: Final = 500
_ROWS: Final = (
    _Row(
        reason=Reason.REDIRECTED,
        applies=lambda refusal: HTTPStatus.MULTIPLE_CHOICES <= refusal.status < HTTPStatus.BAD_REQUEST,
        detail="redirected: a login page, or another address",
    ),
    _Row(
        reason=Reason.RATE_LIMITED,
        applies=lambda refusal: refusal.status == HTTPStatus.TOO_MANY_REQUESTS,
        detail="the server's rate limiter refused the call",
    ),
    _Row(
        reason=Reason.PROXY,
        applies=_is_a_strangers,
        detail="not Rocket.Chat's own answer: a proxy or firewall in front of it",
    ),
    _Row(
        reason=Reason.UNAUTHORIZED,
        applies=lambda refusal: refusal.status == HTTPStatus.UNAUTHORIZED,
        detail="the user id or the token is wrong or revoked, or the user is deactivated",
    ),
    _Row(reason=Reason.FORBIDDEN, applies=_is_forbidden, detail="the user lacks the permission for this endpoint"),
    _Row(reason=Reason.NOT_FOUND, applies=_is_missing, detail="there is no such endpoint at this address"),
    _Row(
        reason=Reason.SERVER,
        applies=lambda refusal: refusal.status >= HTTPStatus.BAD_REQUEST,
        detail="the server or its database is in trouble",
    ),
    _Row(
        reason=Reason.TOO_LARGE,
        applies=lambda refusal: refusal.response.too_large,
        detail="the body is larger than max_response_bytes",
    ),
    _Row(
        reason=Reason.INVALID,
        applies=lambda refusal: refusal.status != HTTPStatus.OK,
        detail="an answer that Rocket.Chat does not give",
    ),
)


def read(exchange: Exchange, response: Response) -> Result:
    """The endpoint's answer, or the first reason in the table why there is none."""
    welcome = response.status == HTTPStatus.OK
    refusal = _Refusal(response=response, error=None if welcome else wire.error_of(response.body))
    if exchange.api is Api.PROGRESS and _says_that_nothing_was_imported(refusal):
        return Success(exchange=exchange, answer=ProgressAnswer(operation=None))
    for row in _ROWS:
        if row.applies(refusal):
            return _failure(exchange, row.reason, row.detail, refusal.error)
    try:
        return Success(exchange=exchange, answer=wire.parse(exchange.api, response.body))
    except BodyError as error:
        detail = f"the body is not this endpoint's JSON: {error}"
        return _failure(exchange, Reason.INVALID, detail, wire.error_of(response.body))


def _failure(exchange: Exchange, reason: Reason, detail: str, error: Mapping[str, str] | None) -> Failure:
    told = f"HTTP {exchange.code}: {detail}"
    return Failure(exchange=exchange, reason=reason, detail=told, by_rocketchat=error is not None)


def budget_of(response: Response) -> Budget | None:
    """What the rate limiter says; `None` for a caller that is exempt, who gets no such headers.

    The wait is measured against the answer's own `Date`, since the server's clock need not be ours.
    """
    limit, remaining, reset = (
        _number(response.headers.get(f"X-RateLimit-{what}")) for what in ("Limit", "Remaining", "Reset")
    )
    if limit is None and remaining is None and reset is None:
        return None
    at, date = None if reset is None else reset / 1000, date_of(response)
    wait = RATE_LIMIT_WINDOW if at is None or date is None else at - date
    return Budget(
        limit=limit, remaining=remaining, reset=at, wait=wait if 0 < wait <= LONGEST_WAIT else RATE_LIMIT_WINDOW
    )


def date_of(response: Response) -> float | None:
    """The answer's `Date`, Unix seconds."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def _number(text: str | None) -> int | None:
    plain = text is not None and text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
    return int(text) if plain and text is not None else None
