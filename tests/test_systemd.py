"""systemd is told the state of the service, by datagrams to a socket as systemd's own."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rc_import_exporter.systemd import ServiceManager
from tests.test_cli import ANYWHERE, PATIENCE, SINGLE, line, started


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As `NOTIFY_SOCKET` has it. An abstract address has no file."""
    return f"@rc-import-exporter/{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")


@pytest.fixture
def notified(address: str) -> Iterator[socket.socket]:
    """The socket of systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address.replace("@", "\0", 1))
        bound.settimeout(PATIENCE)
        yield bound


def test_a_datagram_has_a_line_for_each_state(notified: socket.socket, address: str) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    manager.tell("READY=1")
    with manager.reloading():
        manager.tell("STOPPING=1")
    assert notified.recv(100) == b"READY=1"
    reloading, since = notified.recv(100).split(b"\n")
    assert reloading == b"RELOADING=1"
    assert since.startswith(b"MONOTONIC_USEC=")
    assert notified.recv(100) == b"STOPPING=1"
    assert notified.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """Also if the socket is gone, as in a container that inherits the variable."""
    ServiceManager({}).tell("READY=1")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")


@pytest.mark.looptime
async def test_the_event_loop_feeds_the_watchdog(notified: socket.socket, address: str) -> None:
    """At half of the time after which systemd kills the service."""
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    feeding = asyncio.create_task(ServiceManager(environ).feed_watchdog())
    await asyncio.sleep(31)
    feeding.cancel()
    notified.setblocking(False)
    assert [notified.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        notified.recv(100)


@pytest.mark.looptime
@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}]
)
async def test_a_watchdog_that_waits_for_nobody_is_not_fed(
    notified: socket.socket, address: str, environ: dict[str, str]
) -> None:
    """Systemd sets no time, or waits for another process."""
    await ServiceManager({"NOTIFY_SOCKET": address, **environ}).feed_watchdog()
    notified.setblocking(False)
    with pytest.raises(BlockingIOError):
        notified.recv(100)


def received(notified: socket.socket) -> list[bytes]:
    """The next datagram that is not for the watchdog, by lines."""
    while True:
        lines = notified.recv(1000).splitlines()
        if lines != [b"WATCHDOG=1"]:
            return lines


@pytest.mark.parametrize("address", ["path"], indirect=True)
async def test_the_exporter_tells_its_life(notified: socket.socket, address: str, tmp_path: Path) -> None:
    """It is ready once it listens. Each reload begins and ends, also one that is refused."""
    file = tmp_path / "config.yml"
    file.write_text("workspaces_files: [none.d/*.yml]")
    environ = {**SINGLE, **ANYWHERE, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    async with started(f"--config.file={file}", environ=environ) as process:
        assert await asyncio.to_thread(received, notified) == [b"READY=1"]
        await line(process, "listening")
        await line(process, "no file matches")
        for content in ("poll_interval: 1m", "poll_interval: soon"):
            file.write_text(content)
            process.send_signal(signal.SIGHUP)
            assert (await asyncio.to_thread(received, notified))[0] == b"RELOADING=1"
            assert await asyncio.to_thread(received, notified) == [b"READY=1"]
        assert await asyncio.to_thread(notified.recv, 1000) == b"WATCHDOG=1"
        process.terminate()
        assert await asyncio.to_thread(received, notified) == [b"STOPPING=1"]
        assert await process.wait() == 0
