"""What Prometheus would have scraped over hours, played in moments.

The exporter runs over simulated servers in virtual time. Tests of dashboards load its pages into a real Prometheus.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import looptime

from rc_import_exporter.simulator.script import Script
from tests.support.rig import exporting


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """A page and the Unix second at which it was scraped."""

    at: float
    text: str


async def scrapes(
    scripts: Mapping[str, Script], *, interval: float, duration: float, **options: str
) -> Sequence[Scrape]:
    """Scrapes a new exporter of these scripts for so many seconds; to be called in a loop of virtual time.

    The exporter's options are named with `__` for a dot.
    """
    made: list[Scrape] = []
    async with exporting(scripts, **options) as running:
        begun = asyncio.get_running_loop().time()
        while (passed := interval * (len(made) + 1)) <= duration:
            await asyncio.sleep(begun + passed - asyncio.get_running_loop().time())
            async with running.session.get(f"{running.url}/metrics") as response:
                made.append(Scrape(at=running.servers.clock.now(), text=await response.text()))
    return made


def play(scripts: Mapping[str, Script], *, interval: float, duration: float, **options: str) -> Sequence[Scrape]:
    """The same in a loop of its own, for what no test's loop is there for."""
    loop = looptime.new_event_loop(start=0.0)
    try:
        return loop.run_until_complete(scrapes(scripts, interval=interval, duration=duration, **options))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def openmetrics(pages: Iterable[Scrape], *, job: str, instance: str) -> Iterator[str]:
    """The samples of these pages as lines with a timestamp, labelled as a scrape configuration labels them."""
    target = f'job="{job}",instance="{instance}"'
    for page in pages:
        for line in page.text.splitlines():
            if line and not line.startswith("#"):
                yield f"{_labelled(line, target)} {page.at:.3f}\n"


def _labelled(line: str, target: str) -> str:
    name, brace, rest = line.partition("{")
    if brace:
        return f"{name}{{{target},{rest}"
    name, _, value = line.partition(" ")
    return f"{name}{{{target}}} {value}"
