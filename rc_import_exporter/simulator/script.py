"""The requests to a simulated server and its answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Protocol

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The part of a request that an answer depends on.

    `endpoint` is the last part of the path below `/api/v1/`, or `info`. `at` is the seconds since the script began, and
    `started` is when it began, in Unix seconds. `authenticated` says that the user id and the token were right.
    """

    endpoint: str
    at: float
    started: float = 0.0
    authenticated: bool = True
    extra_query: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response.

    It begins after `delay` seconds, and its body takes `drip` seconds to arrive. If `cut` is set, the connection ends
    after half of the body. `limited` says that the rate limiter counts this answer.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    delay: float = 0.0
    drip: float = 0.0
    cut: bool = False
    limited: bool = False


@unique
class Outage(StrEnum):
    """No response at all."""

    REFUSED = "refused"
    """Nothing listens: the connection ends without an answer."""
    RESET = "reset"
    """The connection is accepted and then reset."""
    HANG = "hang"
    """The request is read and never answered."""


Answer = Reply | Outage


class Script(Protocol):
    """Decides what a simulated server answers. The same call always gets the same answer."""

    def answer(self, call: Call) -> Answer:
        """The answer to this call."""

    def limit(self, at: float, /) -> int | None:
        """Calls in 60 s that the rate limiter allows, `at` seconds into the script. `None` means no limit."""
