"""Says what an HTTP answer means: the endpoint's data, or the reason why the call failed.

The reasons (`core.domain.Reason`) are a table, and the first row that applies counts. `client` has those of calls
without an answer. The status comes before the body, because bodies differ
from release to release. A status of 200 alone proves nothing: old servers and proxies send pages with it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from rc_import_exporter.core.domain import (
    Api,
    Budget,
    Exchange,
    Failure,
    Operation,
    ProgressAnswer,
    Reason,
    Result,
    Success,
)
from rc_import_exporter.core.thresholds import RATE_LIMIT_WINDOW
from rc_import_exporter.errors import BodyError
from rc_import_exporter.rocketchat import parser

LONGEST_WAIT: Final = 3600.0
"""Seconds. A longer wait in the headers makes no sense."""
PERMISSION_ERRORS: Final = frozenset({"error-action-not-allowed", "not_authorized"})
"""With these in `errorType`, a 400 from servers up to 5.0 says that a permission is missing."""
NOTHING_IMPORTED: Final = "error-operation-not-found"
"""With this in `errorType`, a 400 from `getImportProgress` says that nothing was ever imported."""
PLAIN_ERROR: Final = b"Internal Server Error"
"""The whole body of Rocket.Chat's own 500, which has no JSON."""
PLAIN_NOT_FOUND: Final = b"404 Not Found"
"""The whole body of Rocket.Chat's own 404 since 8.0, which has no JSON."""
PLAIN_HTTP_REFUSED: Final = re.compile(
    rb"plain http request was sent to https port|plain http to an ssl-enabled server port|http request to an https",
    re.IGNORECASE,
)
"""In the body of a 400, this says that the port uses TLS: nginx, Apache, and servers written in Go."""
USES_TLS: Final = "the port uses TLS; try https:// instead of http://"
USE_HTTPS: Final = "Write `https://` instead of `http://` in `url`."
NOT_ROCKETCHATS: Final = "the answer is not from Rocket.Chat but from a proxy or firewall in front of it"
CHECK_PATH: Final = "Check `url` and its path, if it has one. If they are right, check the proxy's rules for `/api/`."
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
"""A number in a header. A time in milliseconds has 13 digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP answer. `body` is decompressed, and empty if it was too large. `headers` ignores upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    too_large: bool = False

    @property
    def is_html(self) -> bool:
        """Whether it is a web page. Older servers and proxies send one if the endpoint does not exist."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.body[:256].lstrip().startswith(b"<")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """An answer and the `errorType` in its body: "" without one, `None` if the body is not from Rocket.Chat.

    The type is read once for all rows, because a body can have megabytes.
    """

    response: Response
    error_type: str | None

    @property
    def status(self) -> int:
        return self.response.status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    reason: Reason
    applies: Callable[[_Refusal], bool]
    detail: str
    remedy: str = ""


def _is_from_a_proxy(refusal: _Refusal) -> bool:
    # A firewall's 401 says nothing about the token, and a proxy's 408 or 502 nothing about the database.
    plain = PLAIN_NOT_FOUND if refusal.status == HTTPStatus.NOT_FOUND else PLAIN_ERROR
    own = refusal.error_type is not None or refusal.response.body.strip() == plain
    return refusal.status >= HTTPStatus.BAD_REQUEST and not own


def _is_a_proxys_404(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.NOT_FOUND and _is_from_a_proxy(refusal)


def _is_forbidden(refusal: _Refusal) -> bool:
    if refusal.status == HTTPStatus.BAD_REQUEST:  # servers up to 5.0
        return refusal.error_type in PERMISSION_ERRORS
    return refusal.status == HTTPStatus.FORBIDDEN


def _is_missing(refusal: _Refusal) -> bool:
    # Older servers answer an unknown path with the start page of the web client.
    return refusal.status == HTTPStatus.NOT_FOUND or (refusal.status == HTTPStatus.OK and refusal.response.is_html)


def _wants_tls(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.BAD_REQUEST and PLAIN_HTTP_REFUSED.search(refusal.response.body) is not None


_ROWS: Final = (
    _Row(reason=Reason.TLS, applies=_wants_tls, detail=USES_TLS, remedy=USE_HTTPS),
    _Row(
        reason=Reason.REDIRECTED,
        applies=lambda refusal: HTTPStatus.MULTIPLE_CHOICES <= refusal.status < HTTPStatus.BAD_REQUEST,
        detail="redirected to another address, perhaps to a login page",
    ),
    _Row(
        reason=Reason.RATE_LIMITED,
        applies=lambda refusal: refusal.status == HTTPStatus.TOO_MANY_REQUESTS,
        detail="the server's rate limiter refused the call",
    ),
    _Row(reason=Reason.PROXY, applies=_is_a_proxys_404, detail=NOT_ROCKETCHATS, remedy=CHECK_PATH),
    _Row(reason=Reason.PROXY, applies=_is_from_a_proxy, detail=NOT_ROCKETCHATS),
    _Row(
        reason=Reason.UNAUTHORIZED,
        applies=lambda refusal: refusal.status == HTTPStatus.UNAUTHORIZED,
        detail="the user id or the token is wrong or revoked, or the user is deactivated",
    ),
    _Row(reason=Reason.FORBIDDEN, applies=_is_forbidden, detail="the user lacks the permission for this endpoint"),
    _Row(reason=Reason.NOT_FOUND, applies=_is_missing, detail="this address has no such endpoint"),
    _Row(
        reason=Reason.SERVER,
        applies=lambda refusal: refusal.status >= HTTPStatus.BAD_REQUEST,
        detail="the server or its database has a problem",
    ),
    _Row(
        reason=Reason.TOO_LARGE,
        applies=lambda refusal: refusal.response.too_large,
        detail="the body is larger than max_response_bytes",
    ),
    _Row(
        reason=Reason.INVALID,
        applies=lambda refusal: refusal.status != HTTPStatus.OK,
        detail="Rocket.Chat's import API does not answer with this status",
    ),
)


def read(exchange: Exchange, response: Response, known: dict[int, Operation] | None = None) -> Result:
    """The endpoint's data, or the first reason in the table that applies. For `known`, see `parser.parse_list`."""
    if response.status != HTTPStatus.OK or response.too_large or response.is_html:
        return _refused(exchange, response)
    try:
        return Success(exchange=exchange, answer=parser.parse(exchange.api, response.body, known))
    except BodyError as error:
        detail = f"the body is not this endpoint's JSON: {error}"
        return _failure(exchange, Reason.INVALID, detail, parser.error_of(response.body))


def _refused(exchange: Exchange, response: Response) -> Result:
    error_type = None if response.status == HTTPStatus.OK else parser.error_of(response.body)
    if (exchange.api, response.status, error_type) == (Api.PROGRESS, HTTPStatus.BAD_REQUEST, NOTHING_IMPORTED):
        return Success(exchange=exchange, answer=ProgressAnswer(operation=None))
    refusal = _Refusal(response=response, error_type=error_type)
    row = next(row for row in _ROWS if row.applies(refusal))
    return replace(_failure(exchange, row.reason, row.detail, error_type), remedy=row.remedy)


def _failure(exchange: Exchange, reason: Reason, detail: str, error_type: str | None) -> Failure:
    told = f"HTTP {exchange.code}: {detail}"
    return Failure(exchange=exchange, reason=reason, detail=told, by_rocketchat=error_type is not None)


def budget_of(response: Response) -> Budget | None:
    """What the rate limiter's headers say. `None` without them: the limiter does not count this user."""
    limit, remaining, reset = (
        _number(response.headers.get(f"X-RateLimit-{what}")) for what in ("Limit", "Remaining", "Reset")
    )
    if limit is None and remaining is None and reset is None:
        return None
    # Compared with the answer's own `Date`, because the server's clock can differ from ours.
    at, date = None if reset is None else reset / 1000, date_of(response)
    wait = RATE_LIMIT_WINDOW if at is None or date is None else at - date
    return Budget(
        limit=limit, remaining=remaining, reset=at, wait=wait if 0 < wait <= LONGEST_WAIT else RATE_LIMIT_WINDOW
    )


def date_of(response: Response) -> float | None:
    """The answer's `Date`, Unix seconds."""
    return _seconds(response.headers.get("Date", ""))


# Answers of the same second share it.
@lru_cache(maxsize=64)
def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
