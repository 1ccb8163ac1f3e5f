"""Plays what a real server answered, second by second, with its dates moved to now.

`tests/recordings` says what a recording holds. An answer of an endpoint is repeated until the next one in the file.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rc_import_exporter.core.domain import Api
from rc_import_exporter.simulator.answers import forbidden, json_reply, unauthorized
from rc_import_exporter.simulator.importer import iso_date
from rc_import_exporter.simulator.script import Answer, Call, Outage, Reply

NEAR: Final = 86_400.0
"""Seconds before the recording. A date in this time moves to now with the recording; an older one stays as it is."""
SERVER: Final = (8, 6, 1)

_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer of the recording, given from `at` seconds on. A `status` of 0 is a refused connection."""

    at: float
    status: int
    headers: Mapping[str, str]
    body: str


class Recording:
    """A script that plays a recording `speed` times as fast: once, or again and again with `repeat`.

    The `forbidden` endpoints answer as if the permission were missing. In each repetition, operations whose dates move
    get new ids.
    """

    def __init__(
        self, path: Path, *, speed: float = 1.0, repeat: bool = False, forbidden: Collection[str] = ()
    ) -> None:
        recorded: object = json.loads(path.read_text(encoding="utf-8"))
        self._answers = _by_endpoint(_member(recorded, "responses"))
        self._recorded_at = _number(_member(recorded, "recorded_at_ms")) / 1000
        self._length = _number(_member(recorded, "length_ms")) / 1000
        self._speed = speed
        self._repeat = repeat
        self._forbidden = frozenset(forbidden)

    @property
    def length(self) -> float:
        """Duration of the recording at this speed, seconds."""
        return self._length / self._speed

    def instants(self, endpoint: str) -> tuple[float, ...]:
        """The times at which this endpoint's answer changes, in seconds from the start of the first play."""
        return tuple(answered.at / self._speed for answered in self._answers.get(endpoint, ()))

    def limit(self, _at: float, /) -> int | None:
        """No limit: the rate limiter's headers and answers are part of the recording."""
        return None

    def answer(self, call: Call) -> Answer:
        """The real server's answer at this time of the recording."""
        if call.endpoint == Api.INFO:
            return json_reply({"version": f"{SERVER[0]}.{SERVER[1]}", "success": True})
        if not call.authenticated:
            return unauthorized(SERVER)
        if call.endpoint in self._forbidden:
            return forbidden(SERVER, call.endpoint)
        answered, play = self._answered(call)
        return Outage.REFUSED if answered.status == 0 else self._moved(answered, call.started, play)

    def _answered(self, call: Call) -> tuple[Answered, int]:
        answers = self._answers[call.endpoint]
        play = int(call.at // self.length) if self._repeat else 0
        at = (call.at - play * self.length) * self._speed
        return answers[max(0, bisect_right(answers, at, key=lambda answered: answered.at) - 1)], play

    def _moved(self, answered: Answered, started: float, play: int) -> Reply:
        def moved(instant: float) -> float:
            if instant < self._recorded_at - NEAR:
                return instant
            return started + play * self.length + (instant - self._recorded_at) / self._speed

        headers = dict(answered.headers)
        if (reset := headers.get("x-ratelimit-reset")) is not None:
            headers["x-ratelimit-reset"] = str(round(moved(int(reset) / 1000) * 1000))
        body: object = json.loads(answered.body)
        reply = json_reply(_redated(body, moved, play), answered.status)
        return replace(reply, headers=headers)


def _redated(value: object, moved: Callable[[float], float], play: int) -> object:
    """The value with its operations' dates moved. In a repetition, operations that moved get other ids."""
    if isinstance(value, list):
        return [_redated(item, moved, play) for item in value]
    if not isinstance(value, dict):
        return value
    dated = {key: _redated(item, moved, play) for key, item in value.items()}
    for key in ("ts", "_updatedAt"):
        if key in dated:
            dated[key] = _redated_instant(dated[key], moved)
    if play and dated.get("ts") != value.get("ts"):
        dated["_id"] = sha256(f"{value.get('_id')} {play}".encode()).hexdigest()[:24]
    return dated


def _redated_instant(value: object, moved: Callable[[float], float]) -> object:
    if isinstance(value, str) and _DATED.fullmatch(value):
        return iso_date(moved(datetime.fromisoformat(value).timestamp()))
    if isinstance(value, int):
        return round(moved(value / 1000) * 1000)
    return value


def _by_endpoint(responses: object) -> dict[str, tuple[Answered, ...]]:
    answers: dict[str, tuple[Answered, ...]] = {}
    for response in responses if isinstance(responses, list) else ():
        endpoint = str(_member(response, "endpoint"))
        answers[endpoint] = (*answers.get(endpoint, ()), _answered(response))
    return answers


def _answered(response: object) -> Answered:
    headers = _member(response, "headers")
    named = headers.items() if isinstance(headers, dict) else ()
    return Answered(
        at=_number(_member(response, "t_ms")) / 1000,
        status=int(_number(_member(response, "status"))),
        headers=MappingProxyType({str(name): str(value) for name, value in named}),
        body=str(_member(response, "body")),
    )


def _member(value: object, key: str) -> object:
    if not isinstance(value, dict) or key not in value:
        raise ValueError(f"not a recording: no {key}")
    found: object = value[key]
    return found


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise ValueError("not a recording: a number is missing")
