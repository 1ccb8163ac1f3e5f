"""The command line: reads it, sets up the log, runs the daemon or a command, and turns what went wrong into lines.

Exit codes: 0 ended as asked, 1 something does not work, 2 the command line or the configuration is wrong; `watch` has
more of them, see `exits`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Final

from rc_import_exporter import build, limits, logs
from rc_import_exporter.app import App
from rc_import_exporter.commands import common as commands
from rc_import_exporter.commands import demo, flags
from rc_import_exporter.commands.exits import SIGNALLED, Exit
from rc_import_exporter.commands.flags import Command, Invocation
from rc_import_exporter.config import settings
from rc_import_exporter.config.settings import OPTIONS, Settings
from rc_import_exporter.errors import ConfigurationError, ExporterError
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServers

COMMANDS: Final = (
    Command(name="demo", help="Run the exporter and four simulated servers in one process."),
    commands.CHECK,
    commands.ONCE,
    commands.WATCH,
    commands.METRICS,
)


NO_RELOAD: Final = "nothing is read again on SIGHUP: restart to change the configuration"
"""Told rather than to end, which is what the system does with a signal that nobody takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit code."""
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that knows no arrows gets question marks.
        sys.stdout.reconfigure(errors="replace")
    try:
        invocation = flags.parse(sys.argv[1:] if argv is None else argv, OPTIONS, COMMANDS)
        if invocation.help:
            print(flags.help_text(OPTIONS, COMMANDS, invocation.command), end="")
            return Exit.DONE
        if invocation.version:
            print(_version())
            return Exit.DONE
        return _HANDLERS[invocation.command](invocation, os.environ)
    except ConfigurationError as error:
        return _tell(error.mistakes, Exit.MISCONFIGURED)
    except ExporterError as error:
        return _tell([str(error)], Exit.MISCONFIGURED)
    except BrokenPipeError:
        # What is still to be written goes nowhere, or Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALLED + signal.SIGPIPE
    except OSError as error:
        return _tell([error.strerror or str(error)], Exit.FAILED)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT


def _open_closed_streams() -> None:
    """Sends what would go to a stream that the shell closed (`>&-`) nowhere: Python has no object for it at all."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _serve(invocation: Invocation, environ: Mapping[str, str]) -> int:
    configured = settings.load(invocation.options, environ)
    logs.configure(configured.log.level, configured.log.format)
    return _run(_daemon(configured))


async def _daemon(configured: Settings) -> int:
    limits.raise_descriptors()
    ended = _watch_signals()
    log = logs.logger()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, log.warning, NO_RELOAD)
    app = App(configured)
    port = await app.start()
    names = sorted(configured.workspaces)
    log.info("listening", address=f"{configured.web.listen.host or '*'}:{port}", version=build.current().version)
    log.info("polling", workspaces=len(names), names=",".join(names[:20]))
    await ended.wait()
    await app.stop()
    log.info("stopped")
    return Exit.DONE


def _demonstrate(invocation: Invocation, environ: Mapping[str, str]) -> int:
    return _run(_demo(invocation, environ))


async def _demo(invocation: Invocation, environ: Mapping[str, str]) -> int:
    ended = _watch_signals()
    async with SimulatedServers(stories.demo()) as servers:
        urls = {name: servers.url(name) for name in servers.workspaces}
        configured = demo.settings(invocation.options, environ, urls, USER_ID, AUTH_TOKEN)
        logs.configure(configured.log.level, configured.log.format)
        app = App(configured)
        port = await app.start()
        print(_welcome(configured, port), flush=True)
        await ended.wait()
        await app.stop()
    return Exit.DONE


def _welcome(configured: Settings, port: int) -> str:
    host = configured.web.listen.host or "127.0.0.1"
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return (
        f"Four simulated Rocket.Chat servers tell their stories, each in less than a minute, again and again:\n"
        f"  {', '.join(sorted(configured.workspaces))}\n"
        f"Look at\n"
        f"  {base}/\n"
        f"  {base}/metrics\n"
        f"Ctrl-C ends it."
    )


def _watch_signals() -> asyncio.Event:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


def _run(command: Coroutine[object, object, int]) -> int:
    with suppress(KeyboardInterrupt):
        return asyncio.run(command)
    return Exit.DONE


def _version() -> str:
    current = build.current()
    return f"rc-import-exporter {current.version} (revision {current.revision}, Python {current.python})"


def _tell(mistakes: Sequence[str], code: int) -> int:
    for mistake in mistakes:
        print(f"rc-import-exporter: {mistake}", file=sys.stderr)
    return code


_HANDLERS: Final[Mapping[str, Callable[[Invocation, Mapping[str, str]], int]]] = {
    "": _serve,
    "demo": _demonstrate,
    commands.CHECK.name: commands.run_check,
    commands.ONCE.name: commands.run_once,
    commands.WATCH.name: commands.run_watch,
    commands.METRICS.name: commands.run_metrics,
}
