"""The settings of a command, with the workspaces that its command line names, and command lines to copy."""

import shlex
from collections.abc import Mapping

from rc_import_exporter import logs
from rc_import_exporter.commands.flags import Invocation
from rc_import_exporter.config import notation, settings
from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import LOG_LEVEL, option_at
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.polling import fleet


def select(invocation: Invocation, environ: Mapping[str, str], level: str) -> Settings:
    """The settings with the named workspaces, or all of them. Sets up the log with `level` if no level is configured.

    Raises `ConfigurationError`, also if only one of `workspaces_files` has a mistake.
    """
    configured = settings.load(invocation.options, environ)
    if configured.refused is not None:
        raise configured.refused
    logs.configure(configured.log.level if configured.sets(LOG_LEVEL) else level, configured.log.format)
    return fleet.chosen(configured, invocation.operands)


def command_line(invocation: Invocation, configured: Settings, *words: str) -> str:
    """A command line with these words and the options of this one, to copy into a shell. A secret is a name to fill."""
    shown = {setting.option: setting.value for setting in configured.given}
    flags = []
    for written in invocation.options:
        path = DOTTED.read(written) or (written,)
        option = option_at(path)
        value = shown.get(DOTTED.write(path), "")
        if option is not None and option.value.is_secret:
            value = option.value.metavar
        flags.append(f"{notation.flag(path)}={value}")
    return shlex.join(["rc-import-exporter", *words[:1], *flags, *words[1:]])
