"""Many polls and scrapes in virtual time: `python -m tests.bench.virtual [POLLS]` prints the memory that they use."""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize

from rc_import_exporter import logs
from rc_import_exporter.config.credentials import Credentials, Given, Source
from rc_import_exporter.core.domain import Api, Exchange, Failure, Reason, Result, Target
from rc_import_exporter.core.snapshot import Build, Record, Snapshot
from rc_import_exporter.core.store import Store
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.polling.poller import Poller
from rc_import_exporter.rocketchat import diagnosis
from rc_import_exporter.rocketchat.client import Client
from rc_import_exporter.rocketchat.diagnosis import Response
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.script import Call, Reply, Script

STARTED = 1_800_000_000.0
POLLS = 100_000
SCRAPED = 10
"""Polls from one scrape to the next."""
MEASURED = 10
TELLINGS = {
    "nightly-sync": stories.nightly_sync(waiting=60.0, running=900.0),
    "csv-migration": stories.csv_migration(waiting=60.0, running=900.0),
    "rolling-deploy": stories.rolling_deploy(waiting=60.0, running=900.0, killed_after=600.0),
    "crash": stories.crash(waiting=60.0, running=900.0, killed_after=600.0, away=120.0),
}


class StoryClient(Client):
    """Asks a story directly, without a socket."""

    def __init__(self, script: Script, now: Callable[[], float]) -> None:
        self._script = script
        self._at = now

    async def ask(self, api: Api, credentials: Credentials) -> Result:
        """What the simulated server answers now."""
        answer = self._script.answer(Call(endpoint=api, at=self._at() - STARTED, started=STARTED))
        if not isinstance(answer, Reply):
            exchange = Exchange(api=api, code=None, seconds=0.01)
            return Failure(exchange=exchange, reason=Reason.CONNECTION, detail="made for a measurement")
        exchange = Exchange(api=api, code=answer.status, seconds=0.01, size=len(answer.body))
        return diagnosis.read(exchange, Response(status=answer.status, headers=answer.headers, body=answer.body))


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = STARTED

    def now(self) -> float:
        """Unix seconds of the story."""
        return self.at


def resident() -> float:
    """Megabytes of memory that this process uses."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / 1e6


async def run(polls: int) -> dict[str, object]:
    """Polls four workspaces in turn, scrapes from time to time, and reads the memory ten times."""
    clock, exposition = Clock(), Exposition()
    scripts = {name: Story(telling, repeat=True) for name, telling in TELLINGS.items()}
    records = {name: Record(target=Target(name=name, url="http://x")) for name in scripts}
    store = Store(Snapshot(build=Build(version="", revision="", python=""), records=records, configured_at=STARTED))
    source = Source(user_id=Given(option="user_id", value="u"), auth_token=Given(option="auth_token", value="t"))
    pollers = [
        Poller(name, StoryClient(script, clock.now), Keyring(source, clock.now, name), store, clock.now)
        for name, script in scripts.items()
    ]
    begun, memory = time.perf_counter(), []
    for number in range(polls):
        await pollers[number % len(pollers)].poll()
        if number % SCRAPED == 0:
            exposition.page(store.snapshot, clock.now(), Format.OPENMETRICS, Encoding.GZIP)
        clock.at += 15.0 / len(pollers)
        if (number + 1) % (polls // MEASURED) == 0:
            memory.append(round(resident(), 1))
    return {
        "polls": sum(record.polls for record in store.snapshot.records.values()),
        "days": (clock.at - STARTED) / 86_400.0,
        "seconds": time.perf_counter() - begun,
        "megabytes": memory,
    }


if __name__ == "__main__":
    logs.configure("critical", "logfmt")
    print(json.dumps(asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else POLLS))))
