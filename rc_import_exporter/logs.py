"""The log: one line for each event, on standard error, in logfmt or JSON. Lines of libraries have the same form."""

import logging
import sys
from typing import Final

import structlog
from structlog.typing import Processor

NOTHING: Final = "critical"
"""A level above all that is logged, for commands that show themselves what happens."""
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
    handler = logging.StreamHandler(sys.stderr)
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
