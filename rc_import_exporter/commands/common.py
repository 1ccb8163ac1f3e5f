"""The commands that end by themselves, from their flags to their exit codes: check, once, watch, metrics. Used by
cli.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from rc_import_exporter import clock, logs
from rc_import_exporter.commands import check, once, terminal
from rc_import_exporter.commands.display import Bars, Display, JsonLines, Lines
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.flags import Command, Extra, Invocation
from rc_import_exporter.commands.watch import Watch, Wish
from rc_import_exporter.config import settings
from rc_import_exporter.config import values as kinds
from rc_import_exporter.config.settings import LogLevel, Settings
from rc_import_exporter.errors import ConfigurationError, CredentialsError
from rc_import_exporter.metrics import table
from rc_import_exporter.polling import fleet

_YEAR: Final = 365 * 86_400.0
_DURATION: Final = kinds.Duration(0, _YEAR)
_SELECTION: Final = "[WORKSPACE...]"
_TEXT: Final = "text"
_JSON: Final = "json"
_MARKDOWN: Final = "markdown"
_IDLE: Final = "idle"
_IDLE_OR_DOWN: Final = "idle-or-down"

CHECK: Final = Command(
    name="check",
    help="Find the mistake: tell what is configured, ask each workspace once, and say what to mend. Exit code: 0 all "
    "works (a read-only token is enough), 1 something does not, 2 the configuration is wrong.",
    extras=(
        Extra(name="config-only", help="Ask no workspace."),
        Extra(name="format", metavar="WORD", default=_TEXT, help="text or json."),
    ),
    operands=_SELECTION,
)
ONCE: Final = Command(
    name="once",
    help="Poll every workspace once and print a page of metrics for node_exporter's textfile collector: without "
    "timestamps, counters, and what is about the exporter itself. Exit code: 0 every state could be told, 1 one could "
    "not (the page is written all the same, with up 0), 2 the configuration is wrong.",
    extras=(
        Extra(
            name="output",
            metavar="FILE.prom",
            help="Replace this file, at once and with mode 0644, instead of printing. A symbolic link in its place is "
            "replaced, too, and not followed.",
        ),
    ),
    operands=_SELECTION,
)
WATCH: Final = Command(
    name="watch",
    help="Follow an import until it has ended. Exit code: 0 succeeded, 1 could not tell, 2 the configuration is wrong, "
    "3 completed with errors, 4 failed, cut off, canceled or discarded, 5 nothing started, 6 timed out, 7 not idle "
    "(--require idle); 130 and 143 after Ctrl-C and SIGTERM, which leave the import alone. Of several workspaces the "
    "worst: 7, 4, 1, 6, 5, 3, 0 in this order.",
    extras=(
        Extra(
            name="operation-id",
            metavar="ID",
            help="Follow this operation, as import.new answered it, of the one workspace that is named or configured; "
            "if it is over already, its outcome counts. Without it the next import that starts is followed, or one "
            "that loads or runs already; what was finished before never counts.",
        ),
        Extra(
            name="start-within",
            metavar="DURATION",
            default="5m",
            help="How long to wait for the import to start, or for the operation to appear.",
        ),
        Extra(
            name="timeout",
            metavar="DURATION",
            help="How long to watch at the most; for ever, if unset. After the word watch this flag is not the option "
            "of the same name.",
        ),
        Extra(
            name="require",
            metavar="WORD",
            help="idle: guard a restart instead, and end with 0 if nothing loads or runs, with 7 if something does, "
            "with 1 if that cannot be told; at once, or with --timeout as soon as all is idle, at the latest then. "
            "idle-or-down: 0 also where no server is there, for one that is about to start and must not wait for "
            "itself.",
        ),
        Extra(
            name="format",
            metavar="WORD",
            default=_TEXT,
            help="text (progress bars on a terminal, else lines) or json (an object a line).",
        ),
    ),
    operands=_SELECTION,
)
METRICS: Final = Command(
    name="metrics",
    help="Print every metric with its type, its labels and its meaning.",
    extras=(Extra(name="format", metavar="WORD", default=_TEXT, help="text or markdown."),),
)


def run_check(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs `check`."""
    as_json = _word(invocation, "format", _TEXT, _JSON) == _JSON
    try:
        configured = _settings(invocation, environ, LogLevel.ERROR)
        offline = invocation.extras.get("config-only") == "true"
        examinations = check.examine(configured, None if offline else asyncio.run(once.poll(configured)))
    except (ConfigurationError, CredentialsError) as error:
        if not as_json:
            raise
        print(check.mistakes_as_json(str(error).splitlines()))
        return Exit.MISCONFIGURED
    if as_json:
        print(check.as_json(configured, examinations))
    else:
        check.show(terminal.console(sys.stdout), configured, examinations)
    return check.code(examinations)


def run_once(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs `once`."""
    path = once.output(invocation.extras["output"]) if "output" in invocation.extras else None
    configured = _settings(invocation, environ, LogLevel.ERROR)
    if path is not None:
        once.probe(path)
    snapshot = asyncio.run(once.poll(configured))
    page = once.page(snapshot, clock.now())
    if path is None:
        sys.stdout.write(page.decode())
    else:
        once.write(page, path)
    for line in once.failures(snapshot):
        print(f"rc-import-exporter: {line}", file=sys.stderr)
    return once.code(snapshot)


def run_watch(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs `watch`."""
    as_json = _word(invocation, "format", _TEXT, _JSON) == _JSON
    wish = _wish(invocation)
    configured = _settings(invocation, environ, _NO_LOG)
    if wish.operation_id and len(configured.workspaces) > 1:
        names = ", ".join(sorted(configured.workspaces)[:20])
        raise ConfigurationError([f"flag --operation-id: name the workspace that it is of after watch, one of {names}"])
    return asyncio.run(_watch(configured, wish, JsonLines(sys.stdout) if as_json else _display()))


def run_metrics(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs `metrics`."""
    if _word(invocation, "format", _TEXT, _MARKDOWN) == _MARKDOWN:
        print(table.markdown(), end="")
    else:
        heads = ("name", "type", "labels", "meaning")
        terminal.console(sys.stdout, _ONE_LINE_EACH).print(terminal.table(heads, table.rows()))
    return Exit.DONE


async def _watch(configured: Settings, wish: Wish, display: Display) -> int:
    watch = Watch(configured, wish, display)
    watch.heed_signals()
    return await watch.run()


def _display() -> Display:
    """Bars where the terminal can draw them again in their place."""
    drawable = sys.stdout.isatty() and not terminal.console(sys.stdout).is_dumb_terminal
    return Bars(sys.stdout) if drawable else Lines(sys.stdout)


def _wish(invocation: Invocation) -> Wish:
    idle = "require" in invocation.extras
    operation_id = invocation.extras.get("operation-id", "")
    if idle and operation_id:
        raise ConfigurationError(["flag --require: asks about all imports; leave --operation-id out"])
    return Wish(
        operation_id=operation_id,
        start_within=_seconds(invocation, "start-within"),
        timeout=_seconds(invocation, "timeout"),
        idle=idle,
        or_down=idle and _word(invocation, "require", _IDLE, _IDLE_OR_DOWN) == _IDLE_OR_DOWN,
    )


def _settings(invocation: Invocation, environ: Mapping[str, str], level: str) -> Settings:
    """The settings with the workspaces that the command line names; the log is as loud as asked for, else `level`."""
    configured = settings.load(invocation.options, environ)
    logs.configure(configured.log.level if "log.level" in configured.origins else level, configured.log.format)
    return fleet.chosen(configured, invocation.operands)


_ONE_LINE_EACH: Final = 400
"""Columns that the longest row of the catalogue fits into: a pipe goes to grep."""
_NO_LOG: Final = "critical"
"""Quieter than anything that is logged: `watch` shows itself what happens."""


def _seconds(invocation: Invocation, flag: str) -> float | None:
    if flag not in invocation.extras:
        return None
    try:
        return _DURATION.read(invocation.extras[flag])
    except ValueError as error:
        raise ConfigurationError([f"flag --{flag}: {error}"]) from None


def _word(invocation: Invocation, flag: str, *words: str) -> str:
    if (word := invocation.extras[flag]) not in words:
        raise ConfigurationError([f"flag --{flag}: must be {' or '.join(words)}"])
    return word
