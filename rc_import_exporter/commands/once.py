"""The command `once`: polls every workspace once and writes a page for node_exporter's textfile collector.

The page in the file stays after the process ends, so it has only the gauges about workspaces and imports. It has no
metrics about the exporter itself and no counters, which only count while a process runs.
"""

import asyncio
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from rc_import_exporter import clock
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.faults import trouble
from rc_import_exporter.commands.flags import Command, Flag, Invocation
from rc_import_exporter.commands.selection import select
from rc_import_exporter.config import files, values
from rc_import_exporter.config.options import LogLevel
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import Metric, MetricKind
from rc_import_exporter.polling.fleet import Fleet

OF_THE_EXPORTER: Final = "exporter_"
READABLE_BY_ALL: Final = 0o644
HIDDEN: Final = ".rc-import-exporter."
"""The start of the name of a half-written file. It is short, because a longer name might not be allowed."""

OUTPUT: Final = Flag(
    name="--output",
    value=values.text(r"[^\0]*\.prom", "a path that ends in .prom, as node_exporter reads no other files", "FILE.prom"),
    help="Replace this file in one step, with mode 0644, instead of printing the page. A symbolic link is replaced, "
    "not followed.",
)

METRICS_OF_A_FILE: Final[tuple[Metric, ...]] = tuple(
    metric for metric in METRICS if metric.kind is MetricKind.GAUGE and not metric.name.startswith(OF_THE_EXPORTER)
)


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs the command."""
    path = None if (text := invocation.get(OUTPUT)) is None else Path(text)
    configured = select(invocation, environ, LogLevel.ERROR)
    if path is not None:
        probe(path)
    snapshot = asyncio.run(poll(configured))
    content = page(snapshot, clock.now())
    if path is None:
        sys.stdout.write(content.decode())
    else:
        write(content, path)
    for line in failures(snapshot):
        print(f"rc-import-exporter: {line}", file=sys.stderr)
    return code(snapshot)


async def poll(settings: Settings, now: Callable[[], float] = clock.now) -> Snapshot:
    """The snapshot after one poll of every workspace."""
    fleet = Fleet(settings, now)
    await fleet.poll_once()
    return fleet.store.snapshot


def page(snapshot: Snapshot, now: float) -> bytes:
    """The reduced page, in the text format and without timestamps."""
    return Exposition(METRICS_OF_A_FILE, process=False).page(snapshot, now)


def probe(path: Path) -> None:
    """Raises `OSError` if the file cannot be written, to find that out before the poll."""
    with _named(path):
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(path.lstat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with NamedTemporaryFile(dir=path.parent, prefix=HIDDEN):
            pass


def write(content: bytes, path: Path) -> None:
    """Replaces the file in one step by one that everyone can read; raises `OSError`."""
    with _named(path), NamedTemporaryFile(dir=path.parent, prefix=HIDDEN, delete=False) as temporary:
        try:
            temporary.write(content)
            temporary.flush()
            os.fchmod(temporary.fileno(), READABLE_BY_ALL)
            Path(temporary.name).replace(path)
        except BaseException:
            Path(temporary.name).unlink(missing_ok=True)
            raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file and the flag to the message of an error."""
    try:
        yield
    except FileNotFoundError:
        raise OSError(f"flag --output: {files.shown(str(path))} is in a folder that does not exist") from None
    except OSError as error:
        raise OSError(f"flag --output: {files.shown(str(path))} cannot be written: {error.strerror}") from None


def failures(snapshot: Snapshot) -> list[str]:
    """A line for each workspace whose state is unknown."""
    return [f"{name}: {trouble(record)}" for name, record in snapshot.records.items() if not record.told]


def code(snapshot: Snapshot) -> Exit:
    """The exit code: whether the state of every workspace is known."""
    return Exit.FAILED if failures(snapshot) else Exit.DONE


COMMAND: Final = Command(
    name="once",
    run=run,
    summary="Poll every workspace once and print the metrics for node_exporter's textfile collector.",
    details="The page has no timestamps, no counters and no metrics about the exporter itself. Exit code: 0 the state "
    "of every workspace is known, 1 one is unknown (the page is still written, with up 0), 2 the configuration is "
    "wrong.",
    flags=(OUTPUT,),
    operands="[WORKSPACE...]",
    examples=(
        "once --config.file=config.yml",
        "once --config.file=config.yml --output=/var/lib/node_exporter/import.prom",
    ),
)
