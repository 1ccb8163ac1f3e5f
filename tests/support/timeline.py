"""The pages that Prometheus would scrape over hours, made in seconds.

The exporter polls simulated servers in virtual time.
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
    """The scrapes of a new exporter for `duration` seconds. Needs an event loop with virtual time.

    The names of options have `__` instead of a dot.
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
    """`scrapes` in an event loop of its own."""
    loop = looptime.new_event_loop(start=0.0)
    try:
        return loop.run_until_complete(scrapes(scripts, interval=interval, duration=duration, **options))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def openmetrics(pages: Iterable[Scrape], *, job: str, instance: str, **others: str) -> Iterator[str]:
    """The samples of the pages as lines with a timestamp and the labels of the target."""
    labels = {"job": job, "instance": instance, **others}
    target = ",".join(f'{name}="{value}"' for name, value in labels.items())
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
