"""The log: one line for each event, on standard error, in logfmt or JSON. Lines of libraries have the same form.

A thread writes the lines, so a reader of standard error that stops does not stop the exporter. Lines for which the
queue has no room are dropped and counted.
"""

import logging
import os
import select
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from typing import Final

import structlog
from structlog.typing import Processor

NOTHING: Final = "critical"
"""A level above all that is logged, for commands that show themselves what happens."""
STANDARD_ERROR: Final = 2
"""Its file descriptor. `sys.stderr` has a lock: if the thread waits inside it, Python cannot exit."""
MOST_WAITING: Final = 5000
"""Lines that wait to be written: about 1 MB. A thousand workspaces that fail at once write fewer."""
BATCH: Final = 64 * 1024
"""Bytes after which the thread writes what it has: the room in a pipe."""
FLUSH_TIMEOUT: Final = 1.0
"""Seconds that the end of the program waits for a slow reader."""
ORDER: Final = ("ts", "level", "msg", "workspace")


def configure(level: str, form: str) -> None:
    """Writes lines of `level` (debug, info, warning, error) and above to standard error, as `logfmt` or `json`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.EventRenamer("msg"),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(key_order=ORDER, drop_missing=True)
    )
    handler = _Lines(STANDARD_ERROR)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # At debug it has 3,000 lines about the text of the runbook.
    logging.getLogger("markdown_it").setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def logger(**fields: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that adds these fields to every line."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger("rc_import_exporter").bind(**fields)
    return bound


def dropped() -> int:
    """Lines that were not written since `configure`: the queue was full, or standard error is closed."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, _Lines))


class _Lines(logging.Handler):
    """Puts lines into a queue. A daemon thread writes them to a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._queue: Queue[bytes | None] = Queue(MOST_WAITING)
        self._refused = 0
        self._unwritten = 0
        self._thread = Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were not written."""
        # Each count has one writer: callers of `emit` hold the handler's lock, and the thread has its own count.
        return self._refused + self._unwritten

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._queue.put_nowait(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001 - no room, or a library's line that cannot be formatted; neither may stop a poll
            self._refused += 1

    def close(self) -> None:
        """Waits until all lines are written, for `FLUSH_TIMEOUT` at most. Python calls it at exit."""
        super().close()
        try:
            self._queue.put(None, timeout=FLUSH_TIMEOUT)
        except Full:
            return
        self._thread.join(FLUSH_TIMEOUT)

    def _write_all(self) -> None:
        goes_on = True
        while goes_on:
            lines, goes_on = self._take()
            try:
                _write(self._descriptor, b"".join(lines))
            except OSError:
                self._unwritten += len(lines)

    def _take(self) -> tuple[list[bytes], bool]:
        """The next lines, and whether more may follow. Waits for the first. One call writes all: that saves time."""
        lines: list[bytes] = []
        size = 0
        line = self._queue.get()
        with suppress(Empty):
            while line is not None:
                lines.append(line)
                size += len(line)
                if size >= BATCH:
                    break
                line = self._queue.get_nowait()
        return lines, line is not None


def _write(descriptor: int, content: bytes) -> None:
    """Writes all of it. Also waits if the descriptor does not block, as another program may have set it."""
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:
            writable = select.poll()
            writable.register(descriptor, select.POLLOUT)
            writable.poll()
