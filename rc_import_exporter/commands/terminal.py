"""What commands print: tables, with colours on a terminal, and as plain text of 80 columns elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 80
"""Columns of a table that is not printed on a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A text in a table, a second text on a line below it, and the style of both on a terminal."""

    text: str
    below: str = ""
    style: str = ""


def console(stream: TextIO, plain_width: int = PLAIN_WIDTH) -> Console:
    """A console on this stream. The terminal and NO_COLOR decide about colours."""
    width = None if stream.isatty() else plain_width
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def printable(text: str) -> str:
    """The text without control characters. Importers and versions come from a server and could control the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> Table:
    """Rows under their heads. A text that is too long for its column continues on the next line."""
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
