"""The command `once`: polls everything once and gives the page that node_exporter's textfile collector reads.

`cli` runs it. A page in a file stands for as long as the file does: it carries what is known of workspaces and imports.
Left out is what tells of the exporter itself, of a process that is gone, and what only counts while a process runs.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from rc_import_exporter import clock
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.pursuit import trouble
from rc_import_exporter.config import files
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.metrics.catalogue import METRICS, Metric, MetricKind
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.polling.fleet import Fleet

OF_THE_EXPORTER: Final = "exporter_"
READABLE_BY_ALL: Final = 0o644
SUFFIX: Final = ".prom"
"""What node_exporter reads; it passes over everything else in its folder, files half written too."""
HIDDEN: Final = ".rc-import-exporter."
"""How the name of a file half written begins: a longer name could be too long where the file's own is not."""

METRICS_OF_A_FILE: Final[tuple[Metric, ...]] = tuple(
    metric for metric in METRICS if metric.kind is MetricKind.GAUGE and not metric.name.startswith(OF_THE_EXPORTER)
)


async def poll(settings: Settings, now: Callable[[], float] = clock.now) -> Snapshot:
    """The picture after one poll of every workspace."""
    fleet = Fleet(settings, now)
    await fleet.poll_once()
    return fleet.store.snapshot


def page(snapshot: Snapshot, now: float) -> bytes:
    """The reduced page, in the text format and without timestamps."""
    return Exposition(METRICS_OF_A_FILE, process=False).page(snapshot, now)


def probe(path: Path) -> None:
    """Raises `OSError` where no file can be put in this place: better before a poll than after it."""
    with _named(path):
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(path.lstat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with NamedTemporaryFile(dir=path.parent, prefix=HIDDEN):
            pass


def write(content: bytes, path: Path) -> None:
    """Puts the page in the file's place at once, readable by all; raises `OSError`."""
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
    """Says which file an error is about, and which flag named it."""
    try:
        yield
    except FileNotFoundError:
        raise OSError(f"flag --output: {files.shown(str(path))} is in a folder that does not exist") from None
    except OSError as error:
        raise OSError(f"flag --output: {files.shown(str(path))} cannot be written: {error.strerror}") from None


def output(text: str) -> Path:
    """The file that `--output` names; raises `ConfigurationError` where node_exporter would not read it."""
    if not text.endswith(SUFFIX) or "\0" in text:
        raise ConfigurationError([f"flag --output: must end in {SUFFIX}, which is what node_exporter reads"])
    return Path(text)


def failures(snapshot: Snapshot) -> list[str]:
    """A line for each workspace whose state could not be told."""
    return [f"{name}: {trouble(record)}" for name, record in snapshot.records.items() if not record.told]


def code(snapshot: Snapshot) -> Exit:
    """Whether the state of every workspace could be told, by whichever way."""
    return Exit.FAILED if failures(snapshot) else Exit.DONE
