"""The cost to load a configuration."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rc_import_exporter.config import settings

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def instructions(work: Callable[[], object]) -> int:
    """How many instructions of Python's bytecode this takes. Unlike time, this is the same on each machine."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> "TraceFunction":
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def configured(folder: Path, number: int) -> int:
    """The cost of a configuration with so many workspaces, each with options of its own and options of all."""
    lines = ["headers: {X-All: a}", "workspaces:"]
    for each in range(number):
        name = f"t{number}-{each}"  # which no other load has put into a cache
        own = f"url: 'https://{name}.example.org', user_id: u, auth_token: t, labels: {{tenant: {name}}}"
        lines.append(f"  {name}: {{{own}, headers: {{X-One: b}}}}")
    file = folder / "config.yml"
    file.write_text("\n".join(lines))
    return instructions(lambda: settings.load({"config.file": str(file)}, {}))


def test_each_further_workspace_costs_the_same(tmp_path: Path) -> None:
    """A thousand workspaces load in about a second. If the cost grew with the square, they would take 20 seconds."""
    configured(tmp_path, 1)
    few, some, many = (configured(tmp_path, number) for number in (20, 40, 60))
    assert many - some <= 1.1 * (some - few)
