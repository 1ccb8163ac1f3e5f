"""For tests of the simulator: the recordings, and functions that ask a script or a server."""

import asyncio
import json
import math
from datetime import datetime
from itertools import groupby
from typing import Final

import aiohttp

from rc_import_exporter.simulator.importer import Document
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.script import Call, Outage, Reply, Script
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServer
from tests.support.rig import RECORDINGS

NAMES: Final = sorted(path.stem for path in RECORDINGS.glob("*.json"))
STATUS: Final = "import.status"
LIST: Final = "getLatestImportOperations"
PROGRESS: Final = "getImportProgress"
CREDENTIALS: Final = {"X-User-Id": USER_ID, "X-Auth-Token": AUTH_TOKEN}
STARTED: Final = 1_800_000_000.0

STATES: Final = (
    ("new", "new", "error"),
    *((step, "loading", "error") for step in ("uploading", "downloading_file", "file_loaded", "preparing_started")),
    *((f"preparing_{kind}", "loading", "error") for kind in ("users", "channels", "messages", "contacts")),
    ("user_selection", "ready", "error"),
    *((f"importing_{what}", "importing", "error") for what in ("started", "users", "contacts", "channels")),
    *((f"importing_{what}", "importing", "error") for what in ("messages", "files")),
    ("finishing", "importing", "error"),
    ("done", "done", "done"),
    ("import_failed", "error", "error"),
    ("import_cancelled", "canceled", "error"),
    ("importing_polls", None, "error"),
)
"""Each step, with the state that Rocket.Chat gives a valid and an invalid operation in it."""


def member(value: object, *path: str | int) -> object:
    """The part of a JSON value at this path."""
    for key in path:
        if isinstance(key, str):
            assert isinstance(value, dict)
            value = value[key]
        else:
            assert isinstance(value, list)
            value = value[key]
    return value


def items(value: object) -> list[object]:
    """The items of a JSON array."""
    assert isinstance(value, list)
    return value


def reply_of(script: Script, endpoint: str, at: float = 0.0, *, authenticated: bool = True) -> Reply:
    """The script's answer, without a server."""
    answer = script.answer(Call(endpoint=endpoint, at=at, started=STARTED, authenticated=authenticated))
    assert isinstance(answer, Reply)
    return answer


def body_of(script: Script, endpoint: str, at: float = 0.0) -> object:
    """The JSON of the script's answer."""
    body: object = json.loads(reply_of(script, endpoint, at).body)
    return body


def newest(story: Story, at: float) -> Document:
    """The story's newest operation."""
    document = story.newest(at)
    assert document is not None
    return document


def states(story: Story, until: float, step: float = 0.5) -> list[object]:
    """The states and outages that a client sees if it asks `import.status` every `step` seconds, each once in a row."""
    seen: list[object] = []
    for turn in range(math.ceil(until / step)):
        answer = story.answer(Call(endpoint=STATUS, at=turn * step, started=STARTED))
        seen.append(answer if isinstance(answer, Outage) else member(json.loads(answer.body), "state"))
    return [state for state, _ in groupby(seen)]


async def ask(
    url: str, path: str, *, credentials: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers with lower-case names, and body."""
    presented = CREDENTIALS if credentials is None else credentials
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.request(method, f"{url}/api/{path}", headers=presented, allow_redirects=False) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, headers, await response.read()


def recorded(name: str) -> dict[str, object]:
    """The content of a recording."""
    value: object = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


async def until(server: SimulatedServer, at: float) -> None:
    """Sleep until that second of the script, and a millisecond longer, so that rounding cannot end it too early."""
    await asyncio.sleep(max(0.0, at + 1e-3 - server.at))


def undated(value: object) -> object:
    """The value without its dates, which change when a recording is played."""
    if isinstance(value, dict):
        return {key: undated(item) for key, item in value.items() if key not in {"ts", "_updatedAt"}}
    return [undated(item) for item in value] if isinstance(value, list) else value


def dates(value: object) -> list[object]:
    """The dates of the value, which change when a recording is played, in the order of the body."""
    if isinstance(value, dict):
        return [date for key in ("ts", "_updatedAt") if (date := value.get(key))] + dates(list(value.values()))
    return [date for item in value for date in dates(item)] if isinstance(value, list) else []


def instant(date: object) -> float:
    """A date of the API as Unix seconds."""
    return datetime.fromisoformat(date).timestamp() if isinstance(date, str) else float(str(date)) / 1000
