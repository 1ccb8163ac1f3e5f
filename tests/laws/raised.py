"""Compares the alerts that the shipped rules raise with those that `core.alerts` names, at each scrape.

`python -m tests.laws.raised [NUMBER [FIRST_SEED]]` plays many worlds and prints each difference.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

from deploy.prometheus.generate import PREFIX, rules
from rc_import_exporter.core import schedule
from rc_import_exporter.core.alerts import Alert
from rc_import_exporter.core.domain import Expectation
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.metrics.catalogue import WORKSPACE_METRICS
from tests.laws.exporter_lives import Exporter, live, random_exporters
from tests.laws.server_truth import START
from tests.laws.server_worlds import World, random_world, spread_evenly
from tests.support.bridge import READ, Named, Sample, Scraped, bare_rules, named_alerts, notation, promtool

SCRAPE: Final = 60.0
STRETCHES: Final = (1, 8, 40)
"""Factors by which worlds are slowed down: some limits are minutes and some are most of a day."""
WORKSPACES_OF_A_RUN: Final = 60
PATIENT: Final = frozenset({"RunningTooLong"})
"""Alerts that may differ for longer: if a run's start was not seen, page and rules each know when they saw it first."""
ONLY_RULES: Final = frozenset({"ExporterDown", "MetricsMissing", "WorkspaceGone", "ConfigReloadFailed"})

_TIME: Final = re.compile(r"time: (\S+),\s*exp: nil\s*got: (.*)")
_PART: Final = re.compile(r"(\d+)([a-z]+)")
_SERIES: Final = re.compile(r"\{([^{}]*)\} 1E\+00")
_PAIR: Final = re.compile(r'(\w+)="([^"]*)"')
_SECONDS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "w": 604800.0, "y": 31536000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A workspace at each scrape: its series, and the alerts on its page. `None` means no scrape."""

    name: str
    series: Mapping[str, Sequence[Sample]]
    named: Sequence[Named | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An alert that only one side raises, while the other does not raise it one scrape earlier or later."""

    workspace: str
    scrape: int
    alert: str
    importer: str
    by: str


def samples(record: Record, now: float, zero: float) -> Iterator[tuple[str, float]]:
    """The series that the rules read, with dates in seconds since `zero`."""
    for metric in WORKSPACE_METRICS:
        if metric.full_name in READ:
            shift = zero if metric.name.endswith("_timestamp_seconds") else 0.0
            for labels, value in metric.read(record, now):
                yield _key(metric.full_name, (("workspace", record.target.name), *labels)), value - shift


@lru_cache(maxsize=1000)
def _key(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    return f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels)}}}"


def watched(record_at: Sequence[tuple[float, Record]], name: str, interval: float, ends: float) -> Watched:
    """The workspace's scrapes from its first record on, until it ends. The first scrape is at two intervals."""
    zero = record_at[0][0] - 2 * interval
    series: dict[str, list[Sample]] = {}
    found: list[Named | None] = [None, None]
    at = 0
    number = 2
    while (now := zero + number * interval) <= ends:
        while at + 1 < len(record_at) and record_at[at + 1][0] <= now:
            at += 1
        record = record_at[at][1]
        record = replace(record, target=replace(record.target, name=name))
        for key, value in samples(record, now, zero):
            held = series.setdefault(key, [])
            held += [None] * (number - len(held)) + [value]
        found.append(named_alerts(record, now))
        number += 1
    return Watched(name=name, series={k: [*v, *[None] * (number - len(v))] for k, v in series.items()}, named=found)


def random_watched(seed: int, stretch: int) -> Iterator[Watched]:
    """Each exporter's view of a random world, with random expectations."""
    world = random_world(seed)
    dice = Random(-seed - 1)
    for number, exporter in enumerate(random_exporters(dice, world)):
        expect = _random_expectation(dice, world, stretch)
        slow, far = _stretched_exporter(exporter, stretch), _stretched_world(world, stretch)
        records = []
        for look in live(dice, far, slow):
            plan = schedule.plan(look.record, look.at, look.poll.ended)
            target = replace(look.record.target, expect=expect, stale_after=3 * SCRAPE * stretch)
            records.append((look.poll.ended, replace(look.record, target=target, plan=plan)))
        if records:
            last = min(slow.ends, records[-1][0] + dice.choice((1, 1, 40)) * SCRAPE * stretch)
            yield watched(records, f"w{seed}-{number}", SCRAPE * stretch, last)


def _random_expectation(dice: Random, world: World, stretch: int) -> Expectation:
    importers = sorted({truth.course.importer for truth in world.truths.values()}) or ["csv"]
    return Expectation(
        importer=dice.choice(["", dice.choice(importers), "api", "another"]),
        success_every=dice.choice([None, spread_evenly(dice, 300, 5000) * stretch]),
        longest_run=dice.choice([None, spread_evenly(dice, 30, 2000) * stretch]),
        failed_ratio=dice.choice([None, 0.01, 0.2]),
        min_records=dice.choice([None, round(spread_evenly(dice, 10, 10000))]),
    )


def _later(at: float, stretch: int) -> float:
    return START + (at - START) * stretch


def _stretched_world(world: World, stretch: int) -> World:
    writes = []
    for at, id, doc in world.writes:
        slow = doc
        if doc is not None:
            slow = replace(
                doc,
                created=None if doc.created is None else _later(doc.created, stretch),
                updated=None if doc.updated is None else _later(doc.updated, stretch),
            )
        writes.append((_later(at, stretch), id, slow))
    outages = [replace(o, begins=_later(o.begins, stretch), ends=_later(o.ends, stretch)) for o in world.outages]
    site = replace(world.site, clocks=tuple(each * stretch for each in world.site.clocks))
    return replace(world, site=site, writes=writes, outages=outages, ends=_later(world.ends, stretch))


def _stretched_exporter(exporter: Exporter, stretch: int) -> Exporter:
    return replace(
        exporter,
        begins=_later(exporter.begins, stretch),
        ends=_later(exporter.ends, stretch),
        busy=exporter.busy * stretch,
        idle=exporter.idle * stretch,
        blind=[replace(o, begins=_later(o.begins, stretch), ends=_later(o.ends, stretch)) for o in exporter.blind],
        asleep=[(_later(begins, stretch), _later(ends, stretch)) for begins, ends in exporter.asleep],
    )


def at_each_scrape(series: Mapping[str, Sequence[Sample]], interval: float, folder: Path) -> list[dict[str, Named]]:
    """The alerts of each workspace that are pending or fire at each scrape, by the shipped rules.

    Alerts that are kept for a while after their condition has ended are not kept here.
    """
    count = max(len(each) for each in series.values())
    step = f"{interval:.0f}s"
    case = {
        "rule_files": [str(bare_rules(folder, kept=False))],
        "evaluation_interval": step,
        "group_eval_order": list(dict.fromkeys(group for group, _ in rules())),
        "tests": [
            {
                "interval": step,
                "input_series": [{"series": key, "values": notation(values)} for key, values in series.items()],
                "promql_expr_test": [
                    {"expr": 'ALERTS{workspace!=""}', "eval_time": f"{number * interval:.0f}s"}
                    for number in range(count)
                ],
            }
        ],
    }
    found: list[dict[str, Named]] = [{} for _ in range(count)]
    output = promtool(case, folder)
    matches = _TIME.findall(output)
    if output and not matches:
        raise RuntimeError(output[:5000])
    for time, got in matches:
        at = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(time))
        by_workspace: dict[str, set[tuple[str, str]]] = {}
        for labels in _SERIES.findall(got):
            pairs = dict(_PAIR.findall(labels))
            name = pairs["alertname"].removeprefix(PREFIX)
            by_workspace.setdefault(pairs["workspace"], set()).add((name, pairs.get("importer", "")))
        found[round(at / interval)] = {key: frozenset(value) for key, value in by_workspace.items()}
    return found


def differences(worlds: Sequence[Watched], interval: float, folder: Path) -> Iterator[Difference]:
    """The differences between page and rules, except at the scrape at which a limit is passed."""
    found = at_each_scrape({key: values for world in worlds for key, values in world.series.items()}, interval, folder)
    for world in worlds:
        fired = [found[number].get(world.name, frozenset()) for number in range(len(world.named))]
        for number, page in enumerate(world.named):
            if page is not None:
                for by, ours, theirs in (("page", world.named, fired), ("rules", fired, world.named)):
                    for alert, importer in sorted(ours[number] or ()):
                        near = range(max(0, number - _slack(alert)), number + _slack(alert) + 1)
                        others = [theirs[each] for each in near if each < len(theirs)]
                        if not any((alert, importer) in (other or ()) for other in others) and not (
                            by == "rules" and _only_rules(alert, world, number)
                        ):
                            yield Difference(workspace=world.name, scrape=number, alert=alert, importer=importer, by=by)


def differences_of(scraped: Scraped, folder: Path) -> list[Difference]:
    """The differences for the workspaces of one exporter."""
    worlds = [Watched(name=name, series=scraped.series, named=named) for name, named in scraped.named.items()]
    return list(differences(worlds, scraped.interval, folder))


def _slack(alert: str) -> int:
    return 3 if alert in PATIENT else 1


def _only_rules(alert: str, world: Watched, number: int) -> bool:
    """Whether one exporter cannot know this alert, because outages come and go."""
    label = f'workspace="{world.name}"'
    up = next(each for key, each in world.series.items() if key.startswith("rocketchat_import_up{") and label in key)
    comes_and_goes = sum(a != b for a, b in pairwise(up[: number + 1])) >= 4
    return alert in ONLY_RULES or (alert == Alert.WORKSPACE_UNREACHABLE and comes_and_goes)


def play(seeds: range, stretch: int) -> Iterator[Difference]:
    """The differences of random worlds that are slowed down by this factor.

    promtool takes as long for a workspace that has ended as for any other, so those of one length share a run.
    """
    worlds = sorted((each for seed in seeds for each in random_watched(seed, stretch)), key=lambda it: len(it.named))
    for begin in range(0, len(worlds), WORKSPACES_OF_A_RUN):
        with tempfile.TemporaryDirectory() as folder:
            yield from differences(worlds[begin : begin + WORKSPACES_OF_A_RUN], SCRAPE * stretch, Path(folder))


def shares(number: int, first: int) -> Iterator[tuple[range, int]]:
    """This many seeds from the first one on, parted among the stretches."""
    for index, stretch in enumerate(STRETCHES):
        yield range(first + index, first + number, len(STRETCHES)), stretch


def main(number: str = "600", first: str = "0") -> int:
    """Print the differences."""
    found = [each for seeds, stretch in shares(int(number), int(first)) for each in play(seeds, stretch)]
    for each in found:
        print(each)
    print(f"{len(found)} differences")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
