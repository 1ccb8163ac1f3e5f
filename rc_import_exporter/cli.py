"""The command line's entry point: runs the daemon or a command, and prints mistakes.

Exit codes: 0 done, 1 something does not work, 2 the command line or the configuration is wrong. `watch` has more, see
`exits`. SIGTERM and SIGINT end the daemon with 0, and a second one ends it at once with 0. They end a command with 143
and 130.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Final

from rc_import_exporter import build, descriptors, garbage, logs, signals
from rc_import_exporter.app import App
from rc_import_exporter.commands import check, demo, flags, metrics, once, watch
from rc_import_exporter.commands.exits import SIGNALLED, Exit
from rc_import_exporter.commands.flags import Invocation
from rc_import_exporter.config import settings
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.errors import ConfigurationError, ExporterError
from rc_import_exporter.systemd import ServiceManager

COMMANDS: Final = (demo.COMMAND, check.COMMAND, once.COMMAND, watch.COMMAND, metrics.COMMAND)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that cannot print arrows gets question marks.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _run(flags.parse(sys.argv[1:] if argv is None else argv, COMMANDS))
    except ConfigurationError as error:
        return _tell(error.mistakes, Exit.MISCONFIGURED)
    except ExporterError as error:
        return _tell([str(error)], Exit.MISCONFIGURED)
    except BrokenPipeError:
        # Discard the rest of the output, or Python complains about the broken pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALLED + signal.SIGPIPE
    except OSError as error:
        return _tell([error.strerror or str(error)], Exit.FAILED)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT


def _run(invocation: Invocation) -> int:
    if invocation.help:
        print(flags.help_text(COMMANDS, invocation.command), end="")
    elif invocation.version:
        current = build.current()
        print(f"rc-import-exporter {current.version} (revision {current.revision}, Python {current.python})")
    elif invocation.command is not None:
        signals.exit_with(SIGNALLED + signal.SIGTERM, [signal.SIGTERM])
        return invocation.command.run(invocation, os.environ)
    else:
        # Until there is something to reload.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signals.exit_with(Exit.DONE)
        _serve(invocation, os.environ)
    return Exit.DONE


def _open_closed_streams() -> None:
    """Replaces streams that the shell closed (`>&-`), for which Python has no object, by the null device."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, os.fdopen(number, "w"))


def _serve(invocation: Invocation, environ: Mapping[str, str]) -> None:
    configured = settings.load(invocation.options, environ)
    logs.configure(configured.log.level, configured.log.format)
    with suppress(KeyboardInterrupt):
        asyncio.run(
            _daemon(configured, ServiceManager(environ), lambda last: settings.load(invocation.options, environ, last))
        )


async def _daemon(configured: Settings, manager: ServiceManager, load: Callable[[Settings], Settings]) -> None:
    descriptors.raise_descriptors()
    log = logs.logger()

    def announce(port: int) -> None:
        names, address = sorted(configured.workspaces), f"{configured.web.listen.host or '*'}:{port}"
        log.info("listening", address=address, url=configured.web.page(port), version=build.current().version)
        log.info("polling", workspaces=len(names), names=",".join(names[:20]))
        for remark in configured.remarks:
            log.warning(remark)

    # In a thread, because thousands of workspaces take seconds, and scrapes do not wait for them.
    app = App(configured, load=lambda last: asyncio.to_thread(load, last), manager=manager)
    await app.serve(announce)
    garbage.keep(app)
    log.info("stopped")


def _tell(mistakes: Sequence[str], code: int) -> int:
    for mistake in mistakes:
        print(f"rc-import-exporter: {mistake}", file=sys.stderr)
    return code
