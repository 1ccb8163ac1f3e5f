"""The same series behind prometheus_client's own aiohttp handler: `python -m tests.bench.reference URL PORT`."""

import asyncio
import sys
import urllib.request
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Metric,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

OWN = ("process_", "python_")


class Histograms(Collector):
    """Histograms as they were read. prometheus_client has no way to set a histogram's buckets."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)

    def collect(self) -> Iterable[Metric]:
        """The given families."""
        return self.families


def registry_of(page: str) -> CollectorRegistry:
    """A registry with the page's series as gauges and counters, and the collectors for the process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    families = [each for each in text_string_to_metric_families(page) if not each.name.startswith(OWN)]
    registry.register(Histograms(each for each in families if each.type == "histogram"))
    for family in families:
        if family.type != "histogram":
            fill(registry, family)
    return registry


def fill(registry: CollectorRegistry, family: Metric) -> None:
    """One gauge or counter for the family, with the label names of all its samples."""
    names = sorted({name for sample in family.samples for name in sample.labels})
    kind = Counter if family.type == "counter" else Gauge
    metric = kind(family.name, family.documentation, names, registry=registry)
    for sample in family.samples:
        labelled = metric.labels(*(sample.labels.get(name, "") for name in names)) if names else metric
        # A new counter is 0, so this sets both kinds.
        labelled.inc(sample.value)


async def serve(page: str, port: int) -> None:
    """Serve until killed."""
    application = web.Application()
    application.router.add_get("/metrics", make_aiohttp_handler(registry_of(page)))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with urllib.request.urlopen(sys.argv[1]) as response:
        shown = response.read().decode()
    asyncio.run(serve(shown, int(sys.argv[2])))
