"""The image's health check finds the exporter wherever it listens, and believes only its own answers."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from deploy.container import health
from rc_import_exporter.web.server import Server, create_application
from tests.support.guarded import Folder, guarded
from tests.support.lone_machine import LoneMachine

MUTUAL: Final = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
SCRIPT: Final = Path(health.__file__)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder, and an authority."""
    return Folder(path=tmp_path)


@pytest.mark.parametrize("options", [{}, MUTUAL], ids=["TLS", "mutual"])
@pytest.mark.parametrize("limits", [{}, {"max_version": "TLS12"}], ids=["newest", "TLS 1.2"])
async def test_an_encrypted_exporter_is_healthy(
    folder: Folder, options: dict[str, object], limits: dict[str, object]
) -> None:
    """The check has neither the certificate's name nor a certificate of its own."""
    folder.encrypt({**options, **limits})
    async with guarded(folder) as exporter:
        assert await asyncio.to_thread(health.answers, "127.0.0.1", exporter.port)


async def test_what_is_not_an_exporter_is_not_healthy() -> None:
    """The demo's simulated servers listen in the exporter's own process."""
    server = Server(create_application([]))
    port = await server.start("127.0.0.1", 0)
    assert not await asyncio.to_thread(health.answers, "127.0.0.1", port)
    await server.stop()
    assert not await asyncio.to_thread(health.answers, "127.0.0.1", port)


async def test_an_unhealthy_answer_counts_as_none() -> None:
    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=503)

    server = Server(create_application([web.get("/-/healthy", broken)]))
    port = await server.start("127.0.0.1", 0)
    assert not await asyncio.to_thread(health.answers, "127.0.0.1", port)
    await server.stop()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1"),
        ("00000000000000000000000000000000", "127.0.0.1"),
        ("B80D01200000000067452301EFCDAB89", "2001:db8::123:4567:89ab:cdef"),
    ],
)
def test_the_kernels_addresses_are_read(written: str, address: str) -> None:
    assert health.reachable(written) == address


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")
@pytest.mark.program("ip", "nsenter", "unshare")
@pytest.mark.parametrize("address", [":9111", "[::1]:9222"])
def test_the_check_asks_the_address_that_is_configured(address: str, tmp_path: Path) -> None:
    """A proxy in the environment must not be asked."""
    proxies = {f"{scheme}_proxy": "http://192.0.2.1:1" for scheme in ("http", "https", "all")}
    check = (sys.executable, "-I", str(SCRIPT))
    with LoneMachine(tmp_path) as machine:
        assert machine.run(*check).returncode == 1
        command = (sys.executable, "-m", "rc_import_exporter", "demo", f"--web.listen-address={address}")
        machine.start("exporter", *command, environment={"PYTHONPATH": str(SCRIPT.parents[2])})
        environment = {**os.environ, **proxies}
        while (asked := machine.run(*check, environment=environment)).returncode != 0:
            assert "cannot" not in machine.log("exporter")
        assert (asked.stdout, asked.stderr) == ("", "")


def test_the_check_needs_nothing_but_python() -> None:
    """It starts every 30 seconds, and loading the exporter's libraries would cost half a second each time."""
    source = f"import runpy, sys; runpy.run_path({str(SCRIPT)!r}); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, text=True, check=True)
    assert {"aiohttp", "pydantic", "rc_import_exporter"} & set(ran.stdout.split()) == set()
