"""Runs the exporter against simulated servers, over real sockets.

`exporting` starts both. A test sleeps to let time pass, and reads the page as Prometheus would. In looptime's virtual
time, hours pass in moments.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from rc_import_exporter.app import App
from rc_import_exporter.config import settings
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.metrics.metric import PREFIX
from rc_import_exporter.simulator.script import Script
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, LoopClock, SimulatedServers

RECORDINGS = Path(__file__).parents[1] / "recordings"


class Page:
    """The values of a scraped page. Names are without the exporter's prefix."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the series with exactly these labels, `None` if there is none."""
        return self._samples.get((PREFIX + name, frozenset(labels.items())))

    def series(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """All series of a name that have at least these labels."""
        wanted = set(labels.items())
        return {
            each: value for (found, each), value in self._samples.items() if found == PREFIX + name and wanted <= each
        }

    def one(self, label: str, workspace: str) -> str | None:
        """The state, step or outcome whose series is 1, `None` if there is no series. Fails if more than one is."""
        chosen = [dict(each)[label] for each, value in self.series(label, workspace=workspace).items() if value]
        assert len(chosen) <= 1, chosen
        return chosen[0] if chosen else None

    def names(self, **labels: str) -> set[str]:
        """The names that have a series with at least these labels."""
        wanted = set(labels.items())
        return {name.removeprefix(PREFIX) for name, each in self._samples if wanted <= each}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """A running exporter and its servers."""

    app: App
    servers: SimulatedServers
    url: str
    session: aiohttp.ClientSession

    async def page(self) -> Page:
        """The page of `/metrics` as text."""
        async with self.session.get(f"{self.url}/metrics") as response:
            assert response.status == 200
            return Page(await response.text())

    def record(self, name: str) -> Record:
        """The record of a workspace."""
        return self.app.store.snapshot.records[name]


def configure(urls: Mapping[str, str], options: Mapping[str, str] | None = None) -> settings.Settings:
    """Settings for these workspaces of simulated servers. More options have dotted names."""
    workspaces = {
        f"workspaces.{name}.{option}": text
        for name, url in urls.items()
        for option, text in {"url": url, "user_id": USER_ID, "auth_token": AUTH_TOKEN}.items()
    }
    return settings.load({"web.listen_address": "127.0.0.1:0", **workspaces, **(options or {})}, {})


@asynccontextmanager
async def exporting(scripts: Mapping[str, Script], **options: str) -> AsyncIterator[Exporting]:
    """Starts servers and exporter in the loop's time, and stops both. Option names have `__` for a dot."""
    clock = LoopClock()
    dotted = {name.replace("__", "."): text for name, text in options.items()}
    async with SimulatedServers(scripts, clock=clock) as servers, aiohttp.ClientSession() as session:
        app = App(configure({name: servers.url(name) for name in scripts}, dotted), now=clock.now)
        port = await app.start()
        try:
            yield Exporting(app=app, servers=servers, url=f"http://127.0.0.1:{port}", session=session)
        finally:
            await app.stop()
