"""What a simulated server is asked and what it answers, as values. Every other part of the simulator imports this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Protocol

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as far as an answer depends on it.

    `endpoint` is the last part of the path below `/api/v1/`, or `info`. `at` is seconds since the script began,
    `started` the Unix seconds at which it did. `authenticated` says that the user id and the token were the right ones.
    """

    endpoint: str
    at: float
    started: float = 0.0
    authenticated: bool = True
    extra_query: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response.

    It begins after `delay` seconds; its body takes `drip` seconds to arrive and, if `cut` is set, the connection is
    dropped after half of it. `limited` says that the rate limiter counts this answer.
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
    """Nothing listens: the connection ends before a byte is answered."""
    RESET = "reset"
    """The connection is accepted and then reset."""
    HANG = "hang"
    """The request is read and never answered."""


Answer = Reply | Outage


class Script(Protocol):
    """Whatever can stand behind a simulated server: the same call gets the same answer, however often it is asked."""

    def answer(self, call: Call) -> Answer:
        """What the server answers to this call."""

    def limit(self, at: float, /) -> int | None:
        """Calls in 60 s that the rate limiter allows `at` seconds into the script; `None` for an exempt caller."""
