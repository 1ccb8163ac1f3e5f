"""Plays random worlds and prints wrong statements: `python -m tests.laws.worlds [NUMBER [FIRST_SEED]]`."""

import sys
from collections.abc import Iterator
from multiprocessing import Pool

from tests.laws.narrative import narrate
from tests.laws.world_table import Table, tabulate

CHUNK = 200


def played(number: int, first: int) -> Table:
    """The table of this many worlds from this seed on. All processors play."""
    table = Table()
    with Pool() as pool:
        for part in pool.imap(tabulate, _chunks(number, first)):
            table.add(part)
    return table


def _chunks(number: int, first: int) -> Iterator[range]:
    for begin in range(first, first + number, CHUNK):
        yield range(begin, min(begin + CHUNK, first + number))


def main(number: str = "10000", first: str = "0") -> None:
    """Print the table and how to see a log: `python -m tests.laws.worlds log SEED [EXPORTER [OPERATION ...]]`."""
    table = played(int(number), int(first))
    print(table)
    for (row, kind), cell in sorted(table.cells.items()):
        for seed, exporter, finding in cell.examples[:3]:
            print(f"{row} ({kind}): log {seed} {exporter} {finding.id}  {finding.text}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["log"]:
        seed, *rest = sys.argv[2:]
        print(narrate(int(seed), int(rest[0]) if rest else 0, rest[1:]))
    else:
        main(*sys.argv[1:])
