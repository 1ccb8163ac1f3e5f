"""What commands print: tables that a terminal colours and a file holds as plain text of 80 columns. Used by check, cli
and display.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 80
"""Columns where nobody's terminal says how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A text in a table, another that begins a line of its own below it, and, on a terminal, the colour of both."""

    text: str
    below: str = ""
    style: str = ""


def console(stream: TextIO, plain_width: int = PLAIN_WIDTH) -> Console:
    """A console on this stream; colours follow the terminal and NO_COLOR."""
    width = None if stream.isatty() else plain_width
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def printable(text: str) -> str:
    """The text with a stand-in for whatever could steer a terminal: importers and versions are any server's words."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> Table:
    """Rows under their heads; what is too long for its column goes on in the next line."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in heads:
        made.add_column(Text(head), overflow="fold")
    for row in rows:
        made.add_row(*(_text(cell) for cell in row))
    return made


def _text(cell: Cell | str) -> Text:
    if isinstance(cell, str):
        return Text(printable(cell))
    lines = [printable(line) for line in (cell.text, cell.below) if line]
    return Text("\n".join(lines), style=cell.style)
