"""What commands print: tables, with colours on a terminal, and as plain text of 80 columns elsewhere."""

from collections.abc import Sequence
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 80
"""Columns of a table that is not printed on a terminal."""


def console(stream: TextIO, plain_width: int = PLAIN_WIDTH) -> Console:
    """A console on this stream. The terminal and NO_COLOR decide about colours."""
    width = None if stream.isatty() else plain_width
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def printable(text: str) -> str:
    """The text without control characters. Importers and versions come from a server and could control the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Rows under their heads. A text that is too long for its column continues on the next line."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in heads:
        made.add_column(Text(head), overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def listed(mark: str, style: str, topic: str, lines: Sequence[str]) -> Table:
    """A mark of up to 7 columns, and beside it `topic: first line` and more lines. Long lines continue below it."""
    made = Table.grid(padding=(0, 1))
    made.add_column(width=7, no_wrap=True)
    made.add_column(overflow="fold")
    first, *more = map(printable, lines)
    text = Text.assemble((f"{topic}: ", "bold"), first, *(f"\n{line}" for line in more))
    made.add_row(Text(mark, style=style), text)
    return made
