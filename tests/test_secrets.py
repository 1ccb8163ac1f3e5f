"""Secrets with a known text are used in every kind of failure. Then all output is searched for them."""

import asyncio
import gc
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
import pytest

from rc_import_exporter import logs
from rc_import_exporter.app import App
from rc_import_exporter.config import settings
from rc_import_exporter.errors import ExporterError
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.rocketchat.client import Access, Client
from rc_import_exporter.simulator.answers import Fault
from rc_import_exporter.simulator.faults import FAULTS, with_body
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import LoopClock, SimulatedServers

pytestmark = [pytest.mark.looptime]

MARK: Final = "M4rk3d"
USER_ID, AUTH_TOKEN, PASSWORD, HEADER = (f"{MARK}-{what}-0123456789" for what in ("user", "token", "pw", "header"))
PATHS: Final = (
    *("/", "/metrics", "/metrics?workspace=hang", "/-/healthy", "/-/ready", "/runbook", "/api/v1/workspaces"),
    *("/workspaces/hang", "/api/v1/workspaces/hang", "/nowhere", f"/workspaces/{MARK.lower()}"),
)


def scripts() -> dict[str, Story]:
    """A server for each fault, one whose every answer holds the secrets, and one that refuses the token."""

    def spoilt(fault: Fault) -> Story:
        def tell(stage: Stage) -> None:
            stage.create("csv")
            stage.fault(fault)
            stage.wait(40_000)

        return Story(tell)

    faults = {re.sub(r"[^a-z0-9]", "-", name.lower()): fault for name, fault in FAULTS.items()}
    echo = f'{{"success":false,"error":"{AUTH_TOKEN}","errorType":"{AUTH_TOKEN}","state":"{HEADER}"}}'
    return {name: spoilt(fault) for name, fault in {**faults, "echo": with_body(echo, 400)}.items()}


def options(servers: SimulatedServers, secret: Path) -> dict[str, str]:
    """Workspaces over these servers, over a port where nothing listens, and over a proxy that is gone."""
    password = f"gate:{quote(PASSWORD)}@"
    urls = {name: servers.url(name).replace("://", f"://{password}") for name in servers.workspaces}
    urls |= {"gone": f"http://{password}127.0.0.1:9", "insecure": f"https://{password}{servers.base_url[7:]}"}
    return {
        "auth_token_file": "",
        **{f"workspaces.{name}.url": url for name, url in {**urls, "proxied": "http://127.0.0.1:9"}.items()},
        **{f"workspaces.{name}.user_id": USER_ID for name in (*urls, "proxied")},
        **{f"workspaces.{name}.auth_token_file": str(secret) for name in (*urls, "proxied")},
        "workspaces.proxied.proxy_url": f"http://{password}127.0.0.1:9",
        "headers.CF-Access-Client-Secret": HEADER,
        "web.listen_address": "127.0.0.1:0",
        "web.enable_lifecycle": "true",
        "log.level": "debug",
    }


def held() -> Iterator[str]:
    """The `repr` of everything that the exporter holds."""
    kinds = (App, Fleet, Keyring, Access, Client, settings.Settings, settings.Workspace)
    for each in gc.get_objects():
        if isinstance(each, kinds):
            yield repr(each)


async def test_no_secret_comes_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither by the log at its lowest level, nor by pages, JSON, metrics, messages or `repr`."""
    secret = tmp_path / "token"
    secret.write_text(AUTH_TOKEN)
    clock = LoopClock()
    logs.configure("debug", "logfmt")
    shown: list[str] = []
    async with SimulatedServers(scripts(), clock=clock, user_id=USER_ID, auth_token=AUTH_TOKEN) as servers:
        flags = {name: text for name, text in options(servers, secret).items() if text}

        async def load(last: settings.Settings | None = None) -> settings.Settings:
            return settings.load(flags, {}, last)

        app = App(await load(), clock.now, load)
        port = await app.start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for turn in range(3):
                await asyncio.sleep(30)
                shown += [await text(session, "GET", path) for path in PATHS]
                flags |= broken(turn)
                shown.append(await text(session, "POST", "/-/reload"))
            secret.write_text(f"{AUTH_TOKEN} {AUTH_TOKEN}")
            await asyncio.sleep(30)
        shown += [*held(), repr(app.store.snapshot)]
        await app.stop()
    failures = {reason for record in app.store.snapshot.records.values() for _, reason in record.failures}
    assert len(failures) >= 9
    logging.shutdown()
    out, err = capfd.readouterr()
    assert "level=debug" in err or "level=info" in err
    assert "credentials cannot be read" in err
    told = "\n".join((*shown, out, err)).splitlines()
    assert not [line for line in told if MARK in line]


def broken(turn: int) -> Mapping[str, str]:
    """A mistake in an option that holds a secret."""
    return [
        {"workspaces.gone.url": f"http://gate:{PASSWORD}/{PASSWORD}@a"},
        {"headers.CF-Access-Client-Secret": f"{HEADER}\u20ac", "workspaces.gone.proxy_url": f"ftp://{PASSWORD}@a"},
        {"workspaces.gone.auth_token": f"'{AUTH_TOKEN}'"},
    ][turn]


async def text(session: aiohttp.ClientSession, method: str, path: str) -> str:
    """The headers and the text of an answer."""
    async with session.request(method, path) as answer:
        return f"{answer.headers} {await answer.text()}"


@pytest.mark.parametrize("name", ["auth_token", "user_id", "headers.X-Gate", "url", "proxy_url"])
def test_no_exception_shows_a_secret(name: str) -> None:
    """A traceback with its chain of causes is logged as a whole."""
    good = {"url": "https://chat.example.org", "user_id": "u", "auth_token": "t"}
    with pytest.raises(ExporterError) as refused:
        settings.load({**good, name: f"http://{PASSWORD}:{PASSWORD}\u20ac {PASSWORD}@"}, {})
    assert MARK not in "".join(traceback.format_exception(refused.value))


def test_systemd_s_credentials_are_files(tmp_path: Path) -> None:
    """`LoadCredential=` gives a folder that only the service can read; `%d` in a unit stands for it."""
    (tmp_path / "acme").write_text(f"{AUTH_TOKEN}\n")
    (tmp_path / "acme").chmod(0o400)
    environ = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "RC_IMPORT_EXPORTER_URL": "https://chat.example.org",
        "RC_IMPORT_EXPORTER_USER_ID": "u",
        "RC_IMPORT_EXPORTER_AUTH_TOKEN_FILE": f"{tmp_path}/acme",
    }
    (workspace,) = settings.load({}, environ).workspaces.values()
    assert workspace.credentials.load().auth_token == AUTH_TOKEN
