"""The table of statements in many worlds, and how many were wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from tests.laws.claims import Kind, Row
from tests.laws.exporter_lives import live, random_exporters
from tests.laws.oracle import Finding, Oracle
from tests.laws.server_worlds import random_world
from tests.laws.tally import tally


@dataclass(slots=True, kw_only=True)
class Cell:
    """Statements of one row about operations found in one way. Several about one operation count once."""

    stated: int = 0
    wrong: int = 0
    excused: int = 0
    examples: list[tuple[int, int, Finding]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Table:
    """The cells, and the numbers of worlds and polls."""

    cells: dict[tuple[Row, Kind], Cell] = field(default_factory=dict)
    worlds: int = 0
    lives: int = 0
    polls: int = 0

    def cell(self, row: Row, kind: Kind) -> Cell:
        """The cell. It may be empty."""
        return self.cells.get((row, kind), Cell())

    def wrong(self, row: Row, *kinds: Kind) -> list[tuple[int, int, Finding]]:
        """The wrong statements of this row: seed, number of the exporter, and finding."""
        return [each for kind in kinds or Kind for each in self.cell(row, kind).examples]

    def share(self, row: Row, *kinds: Kind) -> float:
        """The share of wrong statements."""
        cells = [self.cell(row, kind) for kind in kinds or Kind]
        stated = sum(cell.stated for cell in cells)
        return sum(cell.wrong for cell in cells) / stated if stated else 0.0

    def add(self, other: "Table") -> None:
        """Add another table."""
        self.worlds, self.lives, self.polls = (
            self.worlds + other.worlds,
            self.lives + other.lives,
            self.polls + other.polls,
        )
        for key, cell in other.cells.items():
            mine = self.cells.setdefault(key, Cell())
            mine.stated += cell.stated
            mine.wrong += cell.wrong
            mine.excused += cell.excused
            mine.examples += cell.examples[: 20 - len(mine.examples)]

    def note(self, seed: int, number: int, findings: Iterable[Finding]) -> None:
        """Add the findings about one exporter."""
        worst: dict[tuple[Row, str], Finding] = {}
        for each in findings:
            key = each.row, each.id
            before = worst.get(key)
            if before is None or (each.wrong, each.excused) > (before.wrong, before.excused):
                worst[key] = each
        for each in worst.values():
            cell = self.cells.setdefault((each.row, each.kind), Cell())
            cell.stated += 1
            cell.wrong += each.wrong
            cell.excused += each.excused
            if each.wrong and len(cell.examples) < 20:
                cell.examples.append((seed, number, each))

    def __str__(self) -> str:
        lines = [
            f"{self.worlds:,} worlds, {self.lives:,} exporters, {self.polls:,} polls",
            "",
            f"{'wrong of stated':42}" + "".join(f"{kind:>26}" for kind in Kind),
        ]
        for row in Row:
            cells = [self.cell(row, kind) for kind in Kind]
            if any(cell.stated for cell in cells):
                lines.append(f"{row:42}" + "".join(f"{_shown(cell):>26}" for cell in cells))
        return "\n".join(lines)


def _shown(cell: Cell) -> str:
    if not cell.stated:
        return "-"
    excused = f" (+{cell.excused})" if cell.excused else ""
    return f"{cell.wrong}{excused} of {cell.stated} {cell.wrong / cell.stated:6.1%}"


def tabulate(seeds: Iterable[int]) -> Table:
    """Play the worlds of these seeds."""
    table = Table()
    for seed in seeds:
        world = random_world(seed)
        dice = Random(-seed - 1)
        table.worlds += 1
        for number, exporter in enumerate(random_exporters(dice, world)):
            oracle = Oracle(world, exporter)
            findings: list[Finding] = []
            for look in live(dice, world, exporter, brief=True):
                table.polls += 1
                findings += oracle.look(look)
            findings += tally(oracle)
            table.lives += 1
            table.note(seed, number, findings)
    return table
