"""Finds the alerts that a story raises, with real parts only: simulated servers, the exporter over HTTP, promtool.

`play` runs exporters in virtual time and scrapes them as Prometheus would, and notes the alerts that their pages name.
`alerts` evaluates the shipped rules over the scraped series with promtool, and returns what fired and when.
"""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

import aiohttp
import looptime
import yaml

from deploy.prometheus.generate import PREFIX, RULES, rules
from rc_import_exporter.app import App
from rc_import_exporter.core.alerts import raised
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.simulator.script import Script
from rc_import_exporter.simulator.server import LoopClock, SimulatedServers
from tests.support.rig import configure

Sample = float | None
"""The value of a series in one scrape, `None` if the page did not have it."""
Named = frozenset[tuple[str, str]]
"""Alerts without their prefix, each with its importer."""

READ: Final = frozenset(re.findall(r"\brocketchat_import_\w+", yaml.safe_dump([rule for _, rule in rules()])))
"""The metrics that rules and annotations use."""
Labels = frozenset[tuple[str, str]]

FOREVER: Final = float("inf")
RARELY: Final = "400"
"""`GOGC` for promtool: it collects its memory more rarely than by default, which saves a quarter of the time."""
_FOUND: Final = re.compile(r"\{([^{}]*)\} ([-+.\dE]+)")
_PAIR: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """An exporter that runs from `starts` to `ends`, in seconds. A later one with the same instance is its restart.

    `options` are pairs of a dotted name and a text, besides those of the play.
    """

    instance: str = "a"
    starts: float = 0.0
    ends: float = FOREVER
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """The series of several scrapes, which are `interval` seconds apart. Each series has one sample for each scrape.

    `named` has the alerts that the page names for each workspace at each scrape, `None` unless exactly one exporter
    runs.
    """

    interval: float
    series: Mapping[str, Sequence[Sample]]
    named: Mapping[str, Sequence[Named | None]]

    def every(self, number: int) -> "Scraped":
        """Only each `number`-th scrape, as a Prometheus with a longer interval would have it."""
        return replace(
            self,
            interval=self.interval * number,
            series={key: each[::number] for key, each in self.series.items()},
            named={key: each[::number] for key, each in self.named.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """An alert that fired: its name without the prefix, and its other labels.

    `first` and `last` are seconds since the first scrape; `times` is how often it began to fire.
    """

    name: str
    labels: Mapping[str, str]
    first: float
    last: float
    times: int

    @property
    def workspace(self) -> str:
        """The workspace of the alert, empty if it has none."""
        return self.labels.get("workspace", "")


def play(
    scripts: Mapping[str, Script],
    *,
    interval: float,
    duration: float,
    options: Mapping[str, str] | None = None,
    lives: Sequence[Life] = (Life(),),
    ahead: float = 0.0,
) -> Scraped:
    """Run exporters of these scripts and scrape each of them every `interval` seconds. Options have dotted names.

    The servers' clock is `ahead` seconds fast.
    """
    loop = looptime.new_event_loop(start=0.0, noop_cycles=2)
    try:
        run = _Run(scripts, options or {}, lives, ahead)
        return loop.run_until_complete(run.scrapes(interval, duration))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class _Run:
    """Simulated servers, and the exporters that run at the moment."""

    def __init__(
        self, scripts: Mapping[str, Script], options: Mapping[str, str], lives: Sequence[Life], ahead: float
    ) -> None:
        self._scripts = scripts
        self._options = options
        self._lives = lives
        self._clock = LoopClock()
        self._servers_clock = LoopClock(zero=self._clock.zero + ahead)
        self._alive: dict[Life, tuple[App, int]] = {}

    async def scrapes(self, interval: float, duration: float) -> Scraped:
        count = int(duration // interval) + 1
        series: dict[str, list[Sample]] = {}
        named: dict[str, list[Named | None]] = {name: [None] * count for name in self._scripts}
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(SimulatedServers(self._scripts, clock=self._servers_clock))
            session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
            )
            stack.push_async_callback(self._end, list(self._lives))
            for number in range(count):
                await asyncio.sleep(max(0.0, number * interval - asyncio.get_running_loop().time()))
                await self._change(servers, number * interval)
                async for key, value in self._page(session, number * interval):
                    series.setdefault(key, [None] * count)[number] = value
                if len(self._alive) == 1:
                    [(app, _)] = self._alive.values()
                    for name, record in app.store.snapshot.records.items():
                        named[name][number] = named_alerts(record, self._clock.now())
        return Scraped(interval=interval, series=series, named=named)

    async def _change(self, servers: SimulatedServers, now: float) -> None:
        await self._end([life for life in self._alive if life.ends <= now])
        for life in self._lives:
            if life.starts <= now < life.ends and life not in self._alive:
                urls = {name: servers.url(name) for name in self._scripts}
                app = App(configure(urls, {**self._options, **dict(life.options)}), now=self._clock.now)
                self._alive[life] = app, await app.start()

    async def _end(self, lives: Sequence[Life]) -> None:
        for life in lives:
            if life in self._alive:
                await self._alive.pop(life)[0].stop()

    async def _page(self, session: aiohttp.ClientSession, now: float) -> AsyncIterator[tuple[str, float]]:
        for instance in {life.instance for life in self._lives if life.starts <= now}:
            alive = next((life for life in self._alive if life.instance == instance), None)
            target = f'instance="{instance}",job="exporter"'
            if alive is not None:
                async with session.get(f"http://127.0.0.1:{self._alive[alive][1]}/metrics") as response:
                    for key, value in _samples(await response.text(), target, self._clock.zero):
                        yield key, value
            comes_back = any(life.instance == instance and life.ends > now for life in self._lives)
            if alive is not None or comes_back:
                yield f"up{{{target}}}", float(alive is not None)


def in_clusters(scraped: Mapping[str, Scraped]) -> Scraped:
    """What one Prometheus has of several clusters, by their names. All must have the same scrapes."""
    (interval,) = {each.interval for each in scraped.values()}
    series = {
        key.replace("{", f'{{cluster="{cluster}",', 1): values
        for cluster, each in scraped.items()
        for key, values in each.series.items()
    }
    return Scraped(interval=interval, series=series, named={})


def named_alerts(record: Record, now: float) -> Named:
    """The alerts that the page names."""
    return frozenset((each.alert.value, each.importer) for each in raised(record, now))


def _samples(page: str, target: str, zero: float) -> Iterator[tuple[str, float]]:
    """The series that rules use, with the labels that a scrape adds, and dates as seconds since the clock's zero."""
    for line in page.splitlines():
        name = re.split("[{ ]", line, maxsplit=1)[0]
        if name in READ:
            key, _, value = line.rpartition(" ")
            labelled = f"{key[:-1]},{target}}}" if key.endswith("}") else f"{key}{{{target}}}"
            yield labelled, float(value) - (zero if name.endswith("_timestamp_seconds") else 0.0)


def alerts(scraped: Scraped, folder: Path, local: Path | None = None) -> list[Fired]:
    """The alerts that fire if the shipped rules are evaluated at each scrape, in the order in which they fire.

    `local` is a file of rules that are evaluated before.
    """
    last = (max(len(each) for each in scraped.series.values()) - 1) * scraped.interval
    step = f"{scraped.interval:.0f}s"
    window = f"[{last + scraped.interval:.0f}s:{step}]"
    firing = 'ALERTS{alertstate="firing"}'
    first, until, times = _ask(
        scraped,
        [
            f"min_over_time(timestamp({firing}){window})",
            f"max_over_time(timestamp({firing}){window})",
            f"sum_over_time(({firing} unless {firing} offset {step}){window})",
        ],
        last,
        folder,
        local,
    )
    fired = [
        Fired(
            name=dict(labels)["alertname"].removeprefix(PREFIX),
            labels={key: value for key, value in sorted(labels) if key not in {"alertname", "alertstate", "severity"}},
            first=began,
            last=until[labels],
            times=round(times[labels]),
        )
        for labels, began in first.items()
    ]
    return sorted(fired, key=lambda each: (each.first, each.name, each.workspace))


def _ask(
    scraped: Scraped, exprs: Sequence[str], at: float, folder: Path, local: Path | None
) -> list[dict[Labels, float]]:
    """The result of each expression. promtool is told to expect none, and its error says what it got instead."""
    bare = bare_rules(folder)
    files = [bare] if local is None else [local, bare]
    case = {
        "rule_files": [str(each) for each in files],
        "evaluation_interval": f"{scraped.interval:.0f}s",
        "group_eval_order": [group["name"] for each in files for group in yaml.safe_load(each.read_text())["groups"]],
        "tests": [
            {
                "interval": f"{scraped.interval:.0f}s",
                "input_series": [{"series": key, "values": notation(values)} for key, values in scraped.series.items()],
                "promql_expr_test": [{"expr": expr, "eval_time": f"{at:.0f}s"} for expr in exprs],
            }
        ],
    }
    output = promtool(case, folder)
    if not output:
        return [{} for _ in exprs]
    got = re.findall(r"exp: nil\s+got: (.*)", output)
    if len(got) != len(exprs):
        raise RuntimeError(output)
    return [{frozenset(_PAIR.findall(labels)): float(value) for labels, value in _FOUND.findall(line)} for line in got]


def bare_rules(folder: Path, *, kept: bool = True) -> Path:
    """A copy of the shipped rules in this folder, without annotations: their queries take most of the time.

    Without `kept`, alerts end with their condition: `keep_firing_for` is left out, too.
    """
    written = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for rule in (each for group in written["groups"] for each in group["rules"]):
        rule.pop("annotations", None)
        if not kept:
            rule.pop("keep_firing_for", None)
    path = folder / "rules.yml"
    path.write_text(json.dumps(written))
    return path


def promtool(case: Mapping[str, object], folder: Path) -> str:
    """What `promtool test rules` says of this case, empty if all is as expected."""
    path = folder / "case.yml"
    path.write_text(json.dumps(case))
    environ = {**os.environ, "GOGC": RARELY}
    ran = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False, env=environ)
    return ran.stdout + ran.stderr if ran.returncode else ""


def notation(values: Sequence[Sample]) -> str:
    """The values in promtool's notation. A series that ends gets the stale marker that Prometheus would write."""
    written = []
    held: Sample = None
    for value, group in groupby(values):
        length = sum(1 for _ in group)
        if value is None:
            written.append("stale" if held is not None else "_")
            written += [f"_x{length - 1}"] if length > 1 else []
        else:
            written.append(f"{value!r}+0x{length - 1}")
        held = value
    return " ".join(written)
