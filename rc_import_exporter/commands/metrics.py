"""The command `metrics`: prints the catalogue of metrics."""

import sys
from collections.abc import Mapping
from typing import Final

from rc_import_exporter.commands import terminal
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.flags import Command, Flag, Invocation
from rc_import_exporter.config import values
from rc_import_exporter.metrics import table

_ONE_LINE_EACH: Final = 400
"""Columns that are enough for the longest row, so that each metric is one line for grep."""

FORMAT: Final = Flag(
    name="--format",
    value=values.text("text|markdown", "text or markdown", "WORD"),
    default="text",
    help="How to print.",
)


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs the command."""
    if invocation[FORMAT] == "markdown":
        print(table.markdown(), end="")
    else:
        heads = ("name", "type", "labels", "meaning")
        terminal.console(sys.stdout, _ONE_LINE_EACH).print(terminal.table(heads, table.rows()))
    return Exit.DONE


COMMAND: Final = Command(
    name="metrics",
    run=run,
    summary="Print every metric with its type, its labels and its meaning.",
    flags=(FORMAT,),
    examples=("metrics", "metrics | grep failed", "metrics --format=markdown"),
)
