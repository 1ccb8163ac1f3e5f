"""Tokens and certificates towards Rocket.Chat change while many workspaces are polled, and no call fails."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import trustme

from rc_import_exporter.app import App
from rc_import_exporter.config import settings
from rc_import_exporter.core.domain import Reason
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import USER_ID, LoopClock, SimulatedServers, SimulatedWorkspace
from tests.polling.test_certificates import present, serving
from tests.polling.test_reloading import running

pytestmark = [pytest.mark.looptime]

NAMES: Final = [f"tenant{number:02d}" for number in range(12)]
ROTATIONS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """A running exporter that polls each workspace every second."""

    app: App
    servers: SimulatedServers
    folder: Path

    def file(self, name: str) -> Path:
        """The file with a workspace's token."""
        return self.folder / f"{name}.token"

    def failures(self) -> set[Reason]:
        """Why calls failed so far."""
        return {reason for record in self.app.store.snapshot.records.values() for _, reason in record.failures}

    def statuses(self) -> set[int | None]:
        """What the servers answered so far."""
        return {seen.status for each in self.servers.workspaces.values() for seen in each.requests}

    def told(self) -> bool:
        """Whether the state of every import is known."""
        return all(record.told for record in self.app.store.snapshot.records.values())

    def replace(self, name: str, token: str) -> None:
        """Replaces a token's file as a secret store does."""
        draft = self.file(name).with_suffix(".new")
        draft.write_text(f"{token}\n")
        draft.replace(self.file(name))


@asynccontextmanager
async def polling(folder: Path, options: Mapping[str, str] | None = None, **tls: object) -> AsyncIterator[Polling]:
    """Starts servers, and an exporter over them."""
    servers = SimulatedServers({name: Story(running) for name in NAMES}, clock=(clock := LoopClock()))
    await servers.start(**tls)  # type: ignore[arg-type]  # only the option tls
    given = {"web.listen_address": "127.0.0.1:0", "poll_interval": "1s", "poll_interval_idle": "1s", **(options or {})}
    for name in NAMES:
        (folder / f"{name}.token").write_text(servers.auth_token)
        given |= {f"workspaces.{name}.url": servers.url(name), f"workspaces.{name}.user_id": USER_ID}
        given[f"workspaces.{name}.auth_token_file"] = str(folder / f"{name}.token")
    app = App(settings.load(given, {}), clock.now)
    await app.start()
    try:
        await asyncio.sleep(5)
        yield Polling(app=app, servers=servers, folder=folder)
    finally:
        await app.stop()
        await servers.stop()


async def rotate(exporter: Polling, change: Callable[[SimulatedWorkspace, str, str], AsyncIterator[None]]) -> None:
    """Rotates the token of every workspace several times, each at moments of its own."""
    dice = random.Random(0)

    async def one(name: str, pause: float) -> None:
        for number in range(ROTATIONS):
            await asyncio.sleep(pause)
            async for _ in change(exporter.servers.workspaces[name], name, f"token-{name}-{number}"):
                pass

    await asyncio.gather(*(one(name, 3 * dice.random()) for name in NAMES))
    await asyncio.sleep(3)


async def test_no_call_fails_while_the_old_token_is_valid_too(tmp_path: Path) -> None:
    """The server accepts both tokens until two polls later, as if an administrator had not removed the old one yet."""
    async with polling(tmp_path) as exporter:

        async def change(server: SimulatedWorkspace, name: str, token: str) -> AsyncIterator[None]:
            server.former_token, server.auth_token = server.auth_token, token
            await asyncio.sleep(0.7)
            exporter.replace(name, token)
            await asyncio.sleep(2)
            server.former_token = ""
            yield

        await rotate(exporter, change)
        assert exporter.told()
        assert not exporter.failures()
        assert exporter.statuses() == {200}


async def test_no_poll_fails_if_both_change_at_once(tmp_path: Path) -> None:
    """A call that is under way with the old token is refused. It is repeated with the new one."""
    async with polling(tmp_path) as exporter:

        async def change(server: SimulatedWorkspace, name: str, token: str) -> AsyncIterator[None]:
            exporter.replace(name, token)
            server.auth_token = token
            yield

        await rotate(exporter, change)
        assert exporter.told()
        assert not exporter.failures()


async def test_a_late_file_costs_the_polls_until_it_is_there(tmp_path: Path) -> None:
    """They fail with the reason `unauthorized`, and the first poll after it succeeds."""
    async with polling(tmp_path) as exporter:
        before = {name: record.polls for name, record in exporter.app.store.snapshot.records.items()}

        async def change(server: SimulatedWorkspace, name: str, token: str) -> AsyncIterator[None]:
            server.auth_token = token
            await asyncio.sleep(1.5)
            exporter.replace(name, token)
            await asyncio.sleep(2.1)
            assert exporter.app.store.snapshot.records[name].told
            yield

        await rotate(exporter, change)
        assert exporter.failures() == {Reason.UNAUTHORIZED}
        for name, record in exporter.app.store.snapshot.records.items():
            lost = max(record.failures.values())
            assert ROTATIONS <= lost <= 2 * ROTATIONS
            assert record.polls - before[name] > 2 * lost


async def test_no_call_fails_while_certificates_are_renewed(tmp_path: Path) -> None:
    """The server's, its authority and the exporter's own, in the order that lets both sides trust each other."""
    certificate, key, ca = tmp_path / "client.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    authority = trustme.CA()

    def issue() -> None:
        leaf = authority.issue_cert("exporter@example.org")
        key.write_bytes(leaf.private_key_pem.bytes())
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    issue()
    ca.write_bytes(authority.cert_pem.bytes())
    context = serving(authority, clients=authority)
    options = {"tls.ca_file": str(ca), "tls.cert_file": str(certificate), "tls.key_file": str(key)}
    async with polling(tmp_path, options, tls=context) as exporter:
        for _ in range(ROTATIONS):
            old, authority = authority, trustme.CA()
            authority.configure_trust(context)
            ca.write_bytes(old.cert_pem.bytes() + authority.cert_pem.bytes())
            await asyncio.sleep(2)
            present(context, authority)
            issue()
            await asyncio.sleep(2)
            ca.write_bytes(authority.cert_pem.bytes())
            await asyncio.sleep(2)
        assert exporter.told()
        assert not exporter.failures()
        assert exporter.statuses() == {200}
        assert all(record.polls > 10 for record in exporter.app.store.snapshot.records.values())
