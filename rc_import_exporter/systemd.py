"""Tells systemd the state of the service: sd_notify(3), a datagram to the socket that `NOTIFY_SOCKET` names."""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from rc_import_exporter import clock

SEND_TIMEOUT: Final = 1.0
"""Seconds to wait for systemd to take a datagram."""


class ServiceManager:
    """systemd, as the environment describes it. Without its variables, nothing is sent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # An "@" stands for the zero byte of an abstract address.
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._watchdog = environ.get("WATCHDOG_USEC", "")
        if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            self._watchdog = ""

    def tell(self, *assignments: str) -> None:
        """Sends such as `READY=1`. A failure is ignored: the exporter works without systemd."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_TIMEOUT)
            sender.sendto("\n".join(assignments).encode(), self._address)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tells that a reload begins, and that it ended, well or not."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={clock.monotonic_microseconds()}")
        try:
            yield
        finally:
            self.tell("READY=1")

    async def feed_watchdog(self) -> None:
        """Tells until it is cancelled that the event loop runs, in half of the time that systemd waits for it.

        Returns at once if systemd does not wait.
        """
        interval = int(self._watchdog) / 2e6 if self._watchdog.isdecimal() else 0
        while interval:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(interval)
