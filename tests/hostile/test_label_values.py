"""Label values from servers stay few and short, whatever a server sends, and however long it does so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rc_import_exporter import logs
from rc_import_exporter.core import store
from rc_import_exporter.core.domain import Api
from rc_import_exporter.metrics.metric import PREFIX
from rc_import_exporter.simulator.server import LoopClock
from tests.hostile.fault import OPERATION, Options, Site, answering, content
from tests.support.peers import http
from tests.support.rig import exporting

POLLS: Final = 500
MOST_SERIES: Final = 300
"""A workspace that imports has about 120."""
LONGEST_VALUE: Final = 64
"""Characters. Those of the workspace's URL are configured."""
OPERATIONS: Final = 5
"""New ones in each answer."""
STEPS: Final = ("new", "uploading", "user_selection", "importing_users", "done", "import_failed", "made_up")
"""Steps in turn, so that there are imports of each outcome."""


@asynccontextmanager
async def inventive(site: Site) -> AsyncIterator[Options]:
    """A server that has a new word for everything in each answer, and another status in every second one."""
    numbers = count()

    def answer(api: Api, _: Site) -> bytes:
        number = next(numbers)
        word = f"{number:06}".ljust((20, 62, 64, 4000)[number // 2 % 4], "x")
        made = [
            {
                **OPERATION,
                "_id": f"{index}-{word}"[: 64 if number % 5 else 4000],
                "importerKey": f"{index}-{word}",
                "status": f"importer_{STEPS[(number + index) % len(STEPS)]}",
                "valid": bool(number % 2),
                "ts": 1_800_000_000_000 + OPERATIONS * number + index,
                "_updatedAt": 1_800_000_000_000 + OPERATIONS * number + index,
                "count": {**dict.fromkeys((word, "total", "users"), number), "completed": number // 2},
            }
            for index in range(OPERATIONS)
        ]
        answers: dict[Api, object] = {
            Api.STATUS: {"state": STEPS[number % 7] if number % 2 else word, "operation": made[-1], "success": True},
            Api.LIST: made,
            Api.PROGRESS: content(Api.PROGRESS, importerKey=word),
            Api.INFO: {"version": f"{number}.0.0-{word}"[: 64 if number % 2 else 4000], "success": True},
        }
        bad = json.dumps({"success": False, "error": word, "errorType": word}).encode()
        odd = http(bad, status=f"{100 + number % 900:03} {word}")
        return http(json.dumps(answers[api]).encode()) if number % 2 else odd

    async with answering(answer)(site) as options:
        yield options


@pytest.mark.looptime
async def test_labels_stay_few_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new value is a new series in Prometheus' memory, and a server could make them without end."""
    site = Site(folder=tmp_path, patch=monkeypatch, now=LoopClock().now)
    logs.configure(logs.NOTHING, "json")
    async with inventive(site) as options:
        own = {
            f"workspaces__ill__{name}": text for name, text in {"user_id": "u", "auth_token": "t", **options}.items()
        }
        async with exporting({}, poll_interval="1s", poll_interval_idle="1s", **own) as exporter:
            while exporter.record("ill").polls < POLLS:
                await asyncio.sleep(200)
                check((await exporter.page()).text)
            assert exporter.record("ill").history.started > POLLS
            assert (Api.STATUS, store.OTHER_CODE) in exporter.record("ill").requests


def check(page: str) -> None:
    """The page has few series, and each value is short."""
    series = [each for family in text_string_to_metric_families(page) for each in family.samples]
    assert len([each for each in series if each.labels.get("workspace")]) < MOST_SERIES
    for name in ("operation_info", "server_info"):
        assert len([each for each in series if each.name == PREFIX + name]) <= 1
    assert all(len(value) <= LONGEST_VALUE for each in series for value in each.labels.values())
