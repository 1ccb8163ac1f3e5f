"""The settings of a command, with the workspaces that its command line names."""

from collections.abc import Mapping

from rc_import_exporter import logs
from rc_import_exporter.commands.flags import Invocation
from rc_import_exporter.config import settings
from rc_import_exporter.config.options import LOG_LEVEL
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.polling import fleet


def select(invocation: Invocation, environ: Mapping[str, str], level: str) -> Settings:
    """The settings with the named workspaces, or all of them. Sets up the log with `level` if no level is configured.

    Raises `ConfigurationError`.
    """
    configured = settings.load(invocation.options, environ)
    logs.configure(configured.log.level if configured.sets(LOG_LEVEL) else level, configured.log.format)
    return fleet.chosen(configured, invocation.operands)
