"""Plays random worlds and prints what was stated wrongly: `python -m tests.laws.worlds NUMBER [FIRST_SEED]`."""

import sys

from tests.laws.world_table import tabulate


def main(number: str = "1000", first: str = "0") -> None:
    """Play this many worlds, from this seed on."""
    print(tabulate(range(int(first), int(first) + int(number))))


if __name__ == "__main__":
    main(*sys.argv[1:])
