"""A server of many workspaces whose records change all the time: `python -m tests.bench.crowded WORKSPACES PORT`.

`/measured` tells how long one callback held the event loop since the last time it was asked, and the memory.
"""

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Final

from aiohttp import web

from rc_import_exporter import clock, garbage
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.turns import Turns
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application
from tests.support.held import Meter
from tests.support.pictures import NOW, picture, running

INTERVAL: Final = 15.0
"""Seconds in which each record changes once."""


class Crowd:
    """The snapshot and its clock."""

    def __init__(self, number: int) -> None:
        self.snapshot: Snapshot = picture(running(f"workspace-{index:04}") for index in range(number))
        self._meter = Meter()
        self._ahead = clock.now() - NOW

    def now(self) -> float:
        """Seconds since the picture was made, on its own calendar. Nothing goes stale in the first half minute."""
        return NOW + (clock.now() - self._ahead - NOW) % 30.0

    async def change(self) -> None:
        """One record after the other, each once in `INTERVAL`."""
        names, at, begun, done = list(self.snapshot.records), 0, perf_counter(), 0
        while True:
            await asyncio.sleep(0.05)
            due = int((perf_counter() - begun) / INTERVAL * len(names))
            records = dict(self.snapshot.records)
            for at in range(done, due):
                name = names[at % len(names)]
                records[name] = replace(records[name], polls=records[name].polls + 1)
            done, self.snapshot = due, replace(self.snapshot, records=records)

    async def measured(self, request: web.Request) -> web.Response:
        """The longest hold in milliseconds and the memory in megabytes, both since the last request."""
        status = Path("/proc/self/status").read_text()  # noqa: ASYNC240 - the kernel answers at once
        (peak,) = (int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM:"))
        told = {"held": self._meter.read(), "peak": peak}
        Path("/proc/self/clear_refs").write_text("5")  # noqa: ASYNC240
        return web.Response(text=json.dumps(told))


async def serve(number: int, port: int) -> None:
    """Runs until the process ends."""
    crowd, turns = Crowd(number), Turns()
    publisher = Publisher(lambda: crowd.snapshot, crowd.now, Exposition(), turns)
    pages = Pages(lambda: crowd.snapshot, crowd.now, turns)
    routes = [*publisher.routes, *pages.routes, web.get("/measured", crowd.measured)]
    with garbage.searched_while_young():
        await Server(create_application(routes)).start("127.0.0.1", port)
        await asyncio.gather(publisher.prepare(), crowd.change())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
