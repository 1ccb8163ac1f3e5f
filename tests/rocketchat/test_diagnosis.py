"""The reasons of failures in their order, and the rate limiter's headers."""

from collections.abc import Mapping
from email.utils import formatdate
from itertools import product
from typing import Final

import pytest
from multidict import CIMultiDict

from rc_import_exporter.core.domain import Api, Budget, Exchange, Failure, ProgressAnswer, Reason, Success
from rc_import_exporter.rocketchat import diagnosis
from rc_import_exporter.rocketchat.diagnosis import Response

BODIES: Final[Mapping[str, bytes]] = {
    "none": b"",
    "good": b'{"state":"none","success":true}',
    "old 401": b'{"status":"error","message":"You must be logged in to do this."}',
    "new 401": b'{"status":"error","message":"You must be logged in.","success":false,"error":"You must be"}',
    "refused": b'{"success":false,"error":"User does not have the permissions [error-unauthorized]"}',
    "refused later": b'{"success":false,"error":"Not allowed [error-forbidden]"}',
    "old refusal": b'{"success":false,"error":"x","errorType":"error-action-not-allowed"}',
    "old refusal of the list": b'{"success":false,"error":"x","errorType":"not_authorized"}',
    "database": b'{"success":false,"error":"MongoServerSelectionError: connection timed out"}',
    "limited": b'{"success":false,"error":"Error, too many requests. [error-too-many-requests]"}',
    "nothing yet": b'{"success":false,"error":"x","errorType":"error-operation-not-found"}',
    "plain error": b"Internal Server Error",
    "plain text": b"404 Not Found",
    "html": b"<!DOCTYPE html>\n<html></html>",
    "stranger's json": b'{"error":"access_denied"}',
}
ROCKET_CHATS: Final = frozenset(BODIES) - {"none", "good", "plain error", "plain text", "html", "stranger's json"}
STATUSES: Final = (
    *(200, 204, 301, 302, 304, 400, 401, 402, 403, 404, 405, 407, 408, 410, 413, 414, 417, 418, 421, 422, 425),
    *(426, 428, 429, 431, 444, 451, 494, 495, 497, 499, 500, 502, 503, 504, 520, 529),
)


def expected(status: int, body: str) -> Reason | None:
    """The reason as the design says it, first match first."""
    if 300 <= status < 400:
        return Reason.REDIRECTED
    if status == 429:
        return Reason.RATE_LIMITED
    own = ROCKET_CHATS | {"plain text" if status == 404 else "plain error"}
    if status >= 400 and body not in own:
        return Reason.PROXY
    if status == 401:
        return Reason.UNAUTHORIZED
    if status == 403 or (status == 400 and body in ("old refusal", "old refusal of the list")):
        return Reason.FORBIDDEN
    if status == 404 or (status == 200 and body == "html"):
        return Reason.NOT_FOUND
    if status >= 400:
        return Reason.SERVER
    return None if (status, body) == (200, "good") else Reason.INVALID


@pytest.mark.parametrize("status", STATUSES)
def test_the_reasons_apply_in_their_order(status: int) -> None:
    """An answer can match several reasons, and only one of them helps the reader."""
    for body, raw in BODIES.items():
        result = read(Response(status=status, headers=CIMultiDict(), body=raw))
        reason = result.reason if isinstance(result, Failure) else None
        assert reason == expected(status, body), body


def test_rocket_chat_s_own_failures_are_told_from_a_stranger_s() -> None:
    """A missing endpoint is tried less often only if the server is known to be Rocket.Chat."""
    for status, body in product(STATUSES, BODIES):
        result = read(Response(status=status, headers=CIMultiDict(), body=BODIES[body]))
        if isinstance(result, Failure):
            assert result.by_rocketchat == (body in ROCKET_CHATS), (status, body)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, b"not even a tag"),
        ({"content-type": "TEXT/HTML"}, b""),
        ({}, b"\n  <html>"),
        ({"Content-Type": "application/xhtml+xml"}, b"<?xml version='1.0'?>"),
    ],
)
def test_a_page_for_people_with_status_200_is_a_missing_endpoint(headers: dict[str, str], body: bytes) -> None:
    """Older servers answer an unknown path with the page of the web client."""
    result = read(Response(status=200, headers=CIMultiDict(headers), body=body))
    assert isinstance(result, Failure)
    assert result.reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, Reason.TOO_LARGE),
        (400, Reason.PROXY),
        (404, Reason.PROXY),
        (429, Reason.RATE_LIMITED),
        (502, Reason.PROXY),
    ],
)
def test_a_body_that_is_too_large_is_the_reason_only_of_a_200(status: int, reason: Reason) -> None:
    """Any other status says more than the size does."""
    result = read(Response(status=status, headers=CIMultiDict(), body=b"", too_large=True))
    assert isinstance(result, Failure)
    assert result.reason is reason


def test_nothing_imported_is_an_answer_of_progress() -> None:
    """A new workspace without imports must not look broken."""
    response = Response(status=400, headers=CIMultiDict(), body=BODIES["nothing yet"])
    told = read(response, Api.PROGRESS)
    assert isinstance(told, Success)
    assert told.answer == ProgressAnswer(operation=None)
    for other in (Api.STATUS, Api.LIST, Api.INFO):
        assert isinstance(read(response, other), Failure)
    for status in (200, 403, 500):
        result = read(Response(status=status, headers=CIMultiDict(), body=BODIES["nothing yet"]), Api.PROGRESS)
        assert isinstance(result, Failure)


def test_an_importer_that_is_gone_is_a_failure_of_progress() -> None:
    """This 400 says nothing about the imports."""
    gone = b'{"success":false,"error":"x","errorType":"error-importer-not-defined"}'
    result = read(Response(status=400, headers=CIMultiDict(), body=gone), Api.PROGRESS)
    assert isinstance(result, Failure)
    assert result.reason is Reason.SERVER


def test_a_detail_quotes_nothing_of_the_body() -> None:
    """The detail goes into the log, and a body can hold names and addresses."""
    for status in STATUSES:
        for body in (b'{"success":false,"error":"jane@example.org"}', b"jane@example.org", b'["jane@example.org"]'):
            result = read(Response(status=status, headers=CIMultiDict(), body=body))
            assert "jane" not in repr(result)


NOW: Final = 1_800_000_000
LIMIT: Final = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "3"}


@pytest.mark.parametrize(
    ("reset", "ahead", "wait"),
    [
        (42, 0, 42),
        (42, 3600, 42),
        (42, -86400, 42),
        (600, 0, 600),
        (3600, 0, 3600),
        (3601, 0, 60),
        (0, 0, 60),
        (-5, 0, 60),
    ],
)
def test_a_wait_is_measured_by_the_server_s_own_clock(reset: float, ahead: float, wait: float) -> None:
    """A server whose clock is wrong must not stop the polls for hours."""
    date = formatdate(NOW + ahead, usegmt=True)
    headers = {**LIMIT, "X-RateLimit-Reset": str((NOW + ahead + reset) * 1000), "Date": date}
    assert budget(headers) == Budget(limit=10, remaining=3, reset=NOW + ahead + reset, wait=wait)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-RateLimit-Reset": str((NOW + 42) * 1000)},
        {"X-RateLimit-Reset": str((NOW + 42) * 1000), "Date": "today"},
        {"X-RateLimit-Reset": str((NOW + 42) * 1000), "Date": "Fri, 31 Dec 9999 99:99:99 GMT"},
        {"X-RateLimit-Reset": "soon", "Date": formatdate(NOW, usegmt=True)},
        {"X-RateLimit-Reset": "9" * 16, "Date": formatdate(NOW, usegmt=True)},
    ],
)
def test_a_wait_that_cannot_be_measured_is_the_window_s(headers: dict[str, str]) -> None:
    """Missing or broken headers must not stop the polls or make them hammer the server."""
    known = budget({**LIMIT, **headers})
    assert known is not None
    assert known.wait == 60


@pytest.mark.parametrize("written", ["-1", "1.5", "", "ten", "\u0661\u0660", "1" * 16])
def test_a_header_that_is_no_number_tells_nothing(written: str) -> None:
    """Python reads more as a number than HTTP allows."""
    known = budget({**LIMIT, "X-RateLimit-Remaining": written})
    assert known is not None
    assert known.remaining is None


def test_a_caller_who_is_exempt_has_no_budget() -> None:
    """The server sends no such headers to these users."""
    assert budget({"Date": formatdate(NOW, usegmt=True)}) is None


def read(response: Response, api: Api = Api.STATUS) -> Success | Failure:
    """The result of this answer for an endpoint."""
    return diagnosis.read(Exchange(api=api, code=response.status, seconds=0.1), response)


def budget(headers: Mapping[str, str]) -> Budget | None:
    """The budget in these headers."""
    return diagnosis.budget_of(Response(status=200, headers=CIMultiDict(headers), body=b""))
