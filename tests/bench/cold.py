"""The time of a page after every workspace changed: `python -m tests.bench.cold ROUNDS` prints milliseconds as JSON.

It is compared with a plain collector for prometheus_client, which reads the same metrics from the same snapshot at each
scrape. Both pages leave out the lines about the process.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import median

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import HistogramMetric, ProcessMetric, WorkspaceMetric
from tests.support.pictures import NOW, four_workspaces

PAGES = 50
"""Pages in a round."""


class PlainCollector(Collector):
    """Builds every family at each scrape."""

    def __init__(self) -> None:
        self.snapshot = four_workspaces()

    def collect(self) -> Iterator[Metric]:
        """All metrics of the catalogue."""
        for metric in METRICS:
            family = Metric(metric.full_name, metric.help, metric.kind)
            if isinstance(metric, WorkspaceMetric):
                for name, record in self.snapshot.records.items():
                    for labels, value in metric.read(record, NOW):
                        family.add_sample(metric.full_name, {"workspace": name, **dict(labels)}, value)
            elif isinstance(metric, ProcessMetric):
                for labels, value in metric.read(self.snapshot):
                    family.add_sample(metric.full_name, dict(labels), value)
            elif isinstance(metric, HistogramMetric):
                add_histograms(family, metric, self.snapshot)
            yield family


def add_histograms(family: Metric, metric: HistogramMetric, snapshot: Snapshot) -> None:
    """Adds the buckets, sums and counts of a histogram."""
    for labels, histogram in metric.read(snapshot):
        counts = list(accumulate(histogram.counts))
        for bound, count in zip((*metric.buckets, float("inf")), counts, strict=True):
            le = "+Inf" if bound == float("inf") else str(bound)
            family.add_sample(f"{metric.full_name}_bucket", {**dict(labels), "le": le}, count)
        family.add_sample(f"{metric.full_name}_sum", dict(labels), histogram.total)
        family.add_sample(f"{metric.full_name}_count", dict(labels), counts[-1])


def changed(snapshot: Snapshot) -> Snapshot:
    """The same snapshot after a poll of every workspace."""
    return replace(snapshot, records={name: replace(record) for name, record in snapshot.records.items()})


def milliseconds(render: Callable[[Snapshot], bytes], snapshots: Sequence[Snapshot]) -> float:
    """The time of one page."""
    begun = time.perf_counter()
    for snapshot in snapshots:
        render(snapshot)
    return (time.perf_counter() - begun) * 1000 / len(snapshots)


def run(rounds: int) -> dict[str, float]:
    """The medians of alternating rounds."""
    collector, registry, exposition = PlainCollector(), CollectorRegistry(), Exposition(process=False)
    registry.register(collector)

    def plain(snapshot: Snapshot) -> bytes:
        collector.snapshot = snapshot
        return generate_latest(registry)

    def own(snapshot: Snapshot) -> bytes:
        return exposition.page(snapshot, NOW)

    times: dict[str, list[float]] = {"rc-import-exporter": [], "plain collector": []}
    for _ in range(rounds):
        snapshots = [changed(collector.snapshot) for _ in range(PAGES)]
        times["rc-import-exporter"].append(milliseconds(own, snapshots))
        times["plain collector"].append(milliseconds(plain, snapshots))
    return {name: median(each) for name, each in times.items()}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
