"""The command `demo`: the exporter and simulated Rocket.Chat servers in one process.

The simulated imports take less than a minute each, so the demo polls every second.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from rc_import_exporter import logs
from rc_import_exporter.app import App
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.flags import Command, Invocation
from rc_import_exporter.config import options
from rc_import_exporter.config.notation import VARIABLE
from rc_import_exporter.config.options import LOG_LEVEL
from rc_import_exporter.config.settings import Settings, load
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServers

POLL_INTERVAL: Final = "1s"
KEPT_VARIABLES: Final = ("RC_IMPORT_EXPORTER_WEB__", "RC_IMPORT_EXPORTER_LOG__", "RC_IMPORT_EXPORTER_GRAFANA_URL")
"""Variables that configure the demo too. Its workspaces are its own."""

EXPECTATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "nightly-sync": {
        "labels.team": "people",
        "expect.importer": "api",
        "expect.success_every": "26h",
        "expect.longest_run": "2h",
        "expect.failed_ratio": "0.05",
        "expect.min_records": "400",
    },
    "csv-migration": {"labels.team": "migration"},
    "slack-migration": {"labels.team": "migration", "expect.importer": "slack", "expect.longest_run": "6h"},
    "rolling-deploy": {"labels.team": "platform"},
    "crash": {"labels.team": "platform"},
}


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs the command until a signal ends it."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(invocation, environ))
    return Exit.DONE


async def _run(invocation: Invocation, environ: Mapping[str, str]) -> None:
    async with SimulatedServers(stories.demo()) as servers:
        urls = {name: servers.url(name) for name in servers.workspaces}
        configured = settings(invocation.options, environ, urls, USER_ID, AUTH_TOKEN)
        # The log would move the addresses out of view within seconds.
        logs.configure(configured.log.level if configured.sets(LOG_LEVEL) else logs.NOTHING, configured.log.format)
        await App(configured, demo=True).serve(lambda port: print(_welcome(configured, port), flush=True))


def settings(
    flags: Mapping[str, str], environ: Mapping[str, str], urls: Mapping[str, str], user_id: str, auth_token: str
) -> Settings:
    """Settings for these simulated workspaces by name; raises `ConfigurationError` for mistakes in `flags`."""
    workspaces = {
        f"workspaces.{name}.{option}": text
        for name, url in urls.items()
        for option, text in {"url": url, "user_id": user_id, "auth_token": auth_token, **EXPECTATIONS[name]}.items()
    }
    intervals = {"poll_interval": POLL_INTERVAL, "poll_interval_idle": POLL_INTERVAL}
    kept = {name: text for name, text in environ.items() if name.startswith(KEPT_VARIABLES)}
    return load({**intervals, **flags, **workspaces}, kept)


def _variables(configured: Settings) -> str:
    """What other commands need to ask one of the servers."""
    url = configured.workspaces["slack-migration"].target.url
    given = {options.URL.path: url, options.USER_ID.path: USER_ID, options.AUTH_TOKEN.path: AUTH_TOKEN}
    return " ".join(f"{VARIABLE.write(path)}={value}" for path, value in given.items())


def _welcome(configured: Settings, port: int) -> str:
    page = configured.web.page(port)
    return (
        f"Five simulated Rocket.Chat servers repeat their imports, each in less than a minute:\n"
        f"  {', '.join(sorted(configured.workspaces))}\n"
        f"Open\n"
        f"  {page}\n"
        f"  {page}metrics\n"
        f"To try `check` or `watch` on one of them in another terminal, first type there\n"
        f"  export {_variables(configured)}\n"
        f"The log is off; --log.level=info shows it. Press Ctrl-C to stop."
    )


COMMAND: Final = Command(
    name="demo",
    run=run,
    summary="Run the exporter and five simulated Rocket.Chat servers in one process.",
    examples=("demo", "demo --web.listen-address=127.0.0.1:9000"),
)
