"""Feeds mutated answers to the exporter: `python -m tests.endurance.fuzz [--executions N] [--seed S]`.

An execution is one answer. It is read as the client reads it and folded into the record of a workspace, and from the
record come the schedule, the log, the metrics and the web pages. Prints what came out, and each input that raised an
exception or gave a wrong page. Each life, a workspace's first polls, can be played again by its number.
"""

import argparse
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from resource import getpagesize
from typing import Final

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rc_import_exporter.core import journal, schedule
from rc_import_exporter.core.domain import Api, Exchange, Failure, Operation, Poll, Result, Target
from rc_import_exporter.core.snapshot import Build, Record, Snapshot
from rc_import_exporter.core.store import fold
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.negotiation import Format
from rc_import_exporter.rocketchat import diagnosis
from rc_import_exporter.rocketchat.diagnosis import Response
from rc_import_exporter.turns import all_taken
from rc_import_exporter.web import api as json_api
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.view import details
from tests.endurance.mutation import MARK, mutated
from tests.support.simulated import STARTED

EXECUTIONS: Final = 1_000_000
POLLS_OF_A_LIFE: Final = 40
PARSED_EVERY: Final = 100
"""Polls from one page that prometheus-client parses, and that is shown to people, to the next."""
MOST_SERIES: Final = 500
"""Series of one workspace. A real one has about 250."""
LONGEST_TEXT: Final = 64
LONGEST_LOG: Final = 400
"""Characters of a field in the log."""
MOST_PRINTED: Final = 20

_TEXT: Final = rf'"(?:[^"\\\n]|\\[\\n"]){{0,{LONGEST_TEXT}}}"'
_SAMPLE: Final = rf"rocketchat_import_\w+(?:\{{(?:\w+={_TEXT},?)*\}})? -?\d+(?:\.\d+)?(?:e[+-]\d+)?"
_PAGE: Final = re.compile(rf"(?:(?:# (?:HELP|TYPE) [^\n]*|{_SAMPLE})\n)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What went wrong, in which life, and the last answers before it."""

    life: int
    error: str
    bodies: Sequence[bytes]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came out: the number of answers, the different results, and what went wrong."""

    executions: int = 0
    results: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


class Published:
    """What is published of a workspace. One for all lives: the exporter keeps what it rendered, too."""

    def __init__(self) -> None:
        self._snapshot = Snapshot(build=Build(version="1", revision="", python="3"), records={}, configured_at=STARTED)
        self._now = STARTED
        self._exposition = Exposition(process=False)
        self._pages = Pages(lambda: self._snapshot, lambda: self._now)

    def check(self, record: Record, now: float) -> None:
        """Checks the metrics: their format, the length of their texts, and their number."""
        self._snapshot, self._now = replace(self._snapshot, records={record.target.name: record}), now
        page = self._exposition.page(self._snapshot, now).decode()
        assert _PAGE.fullmatch(page), next(_wrong_lines(page), "the page has no end")
        assert page.count("\n") < MOST_SERIES, page.count("\n")

    def show(self) -> None:
        """Parses the metrics as Prometheus does in both formats, and makes the pages for people."""
        pages = [self._exposition.page(self._snapshot, self._now, form).decode() for form in Format]
        text = sum(len(family.samples) for family in parse_text(pages[0]))
        openmetrics = parse_openmetrics(pages[1])  # type: ignore[no-untyped-call]
        assert text == sum(len(family.samples) for family in openmetrics) > 0
        (record,) = self._snapshot.records.values()
        json_api.workspace_json(details(record, self._now))
        shown = self._pages._details(record, "", self._snapshot)  # noqa: SLF001 - without a server
        assert MARK not in b"".join(map(bytes, all_taken(shown))).decode()


class Life:
    """A workspace that is polled a few times, each time with mutated answers."""

    def __init__(self, seed: int, number: int, published: Published) -> None:
        self._published = published
        self._dice = Random(f"{seed} {number}")
        self._now = STARTED
        self._record = Record(target=Target(name="acme", url="https://acme"))
        self._known: dict[int, Operation] = {}
        self.last: Sequence[Response] = ()

    def poll(self) -> Sequence[Result]:
        """Takes the answers of one poll. Raises `AssertionError` if something is published that must not be."""
        apis = self._dice.sample(tuple(Api), self._dice.choice((1, 2, 2, 3)))
        return self.take({api: mutated(self._dice, api) for api in apis})

    def take(self, answers: Mapping[Api, Response]) -> Sequence[Result]:
        """Takes these answers as one poll."""
        self.last = tuple(answers.values())
        results = tuple(self._read(api, response) for api, response in answers.items())
        exchanges = tuple(each.exchange for each in results)
        before, ended = self._record, self._now + self._dice.choice((0.05, 3.0))
        schedule.due(before, self._now)
        after = fold(before, Poll(started=self._now, ended=ended, results=results, exchanges=exchanges))
        plan = schedule.plan(after, self._now, ended)
        assert self._now < plan.next_poll <= self._now + 3700, plan
        self._record = after = replace(after, plan=plan)
        _check_log(before, after)
        _check_counters(before, after)
        self._published.check(after, ended)
        self._now = plan.next_poll + self._dice.choice((0, 0, 0, 100_000))
        return results

    def _read(self, api: Api, response: Response) -> Result:
        date = diagnosis.date_of(response)
        exchange = Exchange(
            api=api,
            code=response.status,
            seconds=0.05,
            size=len(response.body),
            budget=diagnosis.budget_of(response),
            skew=None if date is None else date - self._now,
        )
        return diagnosis.read(exchange, response, self._known if self._dice.random() < 0.9 else None)


def _wrong_lines(page: str) -> Iterator[str]:
    return (line for line in page.splitlines() if not _PAGE.fullmatch(f"{line}\n"))


def _check_log(before: Record, after: Record) -> None:
    for entry in journal.entries(before, after):
        for text in (entry.event, *entry.fields.values()):
            assert len(text) <= LONGEST_LOG, text
            assert text.isprintable(), text


def _check_counters(before: Record, after: Record) -> None:
    old, new = before.history, after.history
    assert (new.started, new.completed, new.failed) >= (old.started, old.completed, old.failed)
    assert all(new.finished[outcome] >= number for outcome, number in old.finished.items())
    assert min(new.completed - old.completed, new.failed - old.failed, new.started - old.started) >= 0


def kind(result: Result) -> str:
    """The result in words that are alike for results that are."""
    if isinstance(result, Failure):
        return f"{result.exchange.api}: {result.reason}: {result.detail}"
    return f"{result.exchange.api}: {type(result.answer).__name__}"


def run(executions: int, seed: int = 0, first: int = 0) -> Iterator[Tally]:
    """Plays lives from this number on, until so many answers were read. Gives the same tally after each life."""
    tally, published = Tally(), Published()
    for number in count(first):
        life, polls = Life(seed, number, published), 0
        while polls < POLLS_OF_A_LIFE and tally.executions < executions:
            polls += 1
            try:
                results = life.poll()
                tally.executions += len(results)
                tally.results.update(map(kind, results))
                if (number * POLLS_OF_A_LIFE + polls) % PARSED_EVERY == 0:
                    published.show()
            except Exception:  # noqa: BLE001 - an exception of any kind is a finding
                tally.executions += len(life.last)
                bodies = [each.body for each in life.last]
                tally.findings.append(Finding(life=number, error=traceback.format_exc(), bodies=bodies))
                break
        yield tally
        if tally.executions >= executions:
            return


def resident() -> float:
    """Megabytes of memory that this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / 1e6


def main() -> int:
    """Reads the command line, runs, and prints. The exit code is 1 if something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.fuzz", description=__doc__)
    parser.add_argument("--executions", type=int, default=EXECUTIONS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first life")
    options = parser.parse_args()
    begun, tally = time.monotonic(), Tally()
    memory: list[float] = []
    for tally in run(options.executions, options.seed, options.first):
        if tally.executions * 10 >= options.executions * (len(memory) + 1):
            memory.append(resident())
            print(f"{tally.executions:,} executions, {memory[-1]:.1f} MB", file=sys.stderr, flush=True)
    for finding in tally.findings[:MOST_PRINTED]:
        print(f"\nlife {finding.life}: {finding.error}", *(repr(body[:2000]) for body in finding.bodies), sep="\n")
    reasons = Counter(key.split(": ")[1] for key in tally.results.elements())
    took = f"{time.monotonic() - begun:.0f} s, {time.process_time():.0f} s of processor time"
    print(f"{tally.executions:,} executions in {took}, seed {options.seed}.")
    print(f"{len(tally.results)} different results: {', '.join(f'{n:,} {what}' for what, n in reasons.most_common())}.")
    print(f"Memory after each tenth: {', '.join(f'{each:.1f}' for each in memory)} MB.")
    print(f"{len(tally.findings)} findings.")
    return bool(tally.findings)


if __name__ == "__main__":
    sys.exit(main())
