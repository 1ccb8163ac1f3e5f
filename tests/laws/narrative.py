"""A log of a world and one exporter in it: what the servers did, what was seen, and what was stated."""

from collections.abc import Iterable, Iterator
from random import Random

from rc_import_exporter.core.domain import Failure, Operation
from rc_import_exporter.core.snapshot import Moment
from tests.laws.claims import said_of
from tests.laws.exporter_lives import Look, live, random_exporters
from tests.laws.oracle import Oracle
from tests.laws.server_truth import START, Truth
from tests.laws.server_worlds import World, random_world
from tests.laws.tally import tally


def narrate(seed: int, number: int = 0, only: Iterable[str] = ()) -> str:
    """The log of this exporter in this world. It shows only the named operations, or all if none is named."""
    world, dice = random_world(seed), Random(-seed - 1)
    for nth, exporter in enumerate(random_exporters(dice, world)):
        oracle = Oracle(world, exporter)
        lines = [*_servers(world, set(only))]
        said: dict[str, str] = {}
        for look in live(dice, world, exporter, brief=True):
            findings = [*oracle.look(look)]
            lines += _seen(look, said, set(only))
            wrong = dict.fromkeys(
                f"{each.row} ({each.kind}) {each.id}: {each.text}"
                for each in findings
                if each.wrong and (not only or each.id in ("", *only))
            )
            lines += [(look.poll.ended, f"    WRONG {text}") for text in wrong]
        lines += [(world.ends, f"    WRONG {each.row}: {each.text}") for each in tally(oracle) if each.wrong]
        if nth == number:
            break
    else:
        return "there is no such exporter"
    site = world.site
    version = ".".join(map(str, site.version))
    header = f"seed {seed}, exporter {number}: version {version}, clocks {[round(each, 3) for each in site.clocks]}"
    polls = f"polls every {exporter.busy:g}/{exporter.idle:g} s from {_at(exporter.begins)}"
    forbidden = f", forbidden: {', '.join(exporter.forbidden)}" if exporter.forbidden else ""
    return "\n".join([header, polls + forbidden, *(f"{_at(at):>9} {text}" for at, text in sorted(lines, key=_when))])


def _when(line: tuple[float, str]) -> float:
    return line[0]


def _at(at: float) -> str:
    return f"{at - START:.2f}"


def _servers(world: World, only: set[str]) -> Iterator[tuple[float, str]]:
    for at, text in world.log:
        yield at, f"* {text}"
    for at, id, doc in world.writes:
        if not only or id in only:
            yield at, f"  writes {_doc(doc) if doc is not None else f'{id} is gone'}"
    for truth in world.truths.values():
        if not only or truth.id in only:
            yield truth.created, f"* TRUTH {_truth(truth)}"


def _truth(truth: Truth) -> str:
    ended = "" if truth.ended is None else f" {_at(truth.ended[0])}..{_at(truth.ended[1])}"
    started = "" if truth.run_started is None else f", ran from {_at(truth.run_started)}"
    habits = [name for name in ("doubled", "attachments", "deselected") if getattr(truth.course, name)]
    return f"{truth.id}: {truth.ending}{ended} {', '.join(truth.blames)}{started} {' '.join(habits)}"


def _doc(doc: Operation) -> str:
    counts = "" if doc.counts is None else f" {doc.counts.completed}+{doc.counts.failed} of {doc.counts.total}"
    staged = "" if doc.counts is None else " ".join(f"{key}={each}" for key, each in doc.counts.staged.items())
    validity = "" if doc.valid else " INVALID"
    dates = f"ts {_at(doc.created or 0)} upd {_at(doc.updated or 0)}"
    return f"{doc.id} {doc.importer} {doc.step}{validity}{counts} {staged} {dates}"


def _seen(look: Look, said: dict[str, str], only: set[str]) -> Iterator[tuple[float, str]]:
    failed = [f"{each.exchange.api}: {each.reason}" for each in look.poll.results if isinstance(each, Failure)]
    if failed:
        yield look.poll.ended, f"    poll fails: {', '.join(failed)}"
    if said.get("") != f"{look.record.restart_safe(look.poll.ended)}":
        said[""] = f"{look.record.restart_safe(look.poll.ended)}"
        yield look.poll.ended, f"    says restart_safe {said['']}"
    for doc in look.shown:
        if (not only or doc.id in only) and said.get(f"doc {doc.id}") != _doc(doc):
            said[f"doc {doc.id}"] = _doc(doc)
            yield look.poll.ended, f"    sees {_doc(doc)}"
    for id, track in look.record.history.tracks.items():
        told = said_of(track)
        text = (
            f"{told.outcome} / {told.sentence} / cause {told.cause} finished {_optional(told.finished)} "
            f"run {_optional(told.run_started)} dated {_optional(told.dated)} end {_span(told.end)} "
            f"start {_span(told.run_start)}"
        )
        if (not only or id in only) and said.get(id) != text:
            said[id] = text
            yield look.poll.ended, f"    says {id}: {text}"


def _optional(at: float | None) -> str:
    return "-" if at is None else _at(at)


def _span(span: Moment | None) -> str:
    return "-" if span is None else f"[{_at(span.earliest)}, {_at(span.latest)}]{'' if span.seen else '?'}"
