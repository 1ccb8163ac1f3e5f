"""Certificates that a workspace's connections trust and present are read again when they change."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trustme

from rc_import_exporter.app import App
from rc_import_exporter.config import settings
from rc_import_exporter.core.domain import Reason
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, LoopClock, SimulatedServer

pytestmark = [pytest.mark.looptime]


@pytest.fixture(scope="module")
def authorities() -> tuple[trustme.CA, trustme.CA]:
    """An old authority and a new one."""
    return trustme.CA(), trustme.CA()


@asynccontextmanager
async def polling(served: ssl.SSLContext, **options: Path) -> AsyncIterator[App]:
    """The exporter, over a server with this TLS context."""
    server = SimulatedServer(Story(stories.idle()), clock=(clock := LoopClock()))
    url = await server.start(tls=served)
    given = {"url": url, "user_id": USER_ID, "auth_token": AUTH_TOKEN, "web.listen_address": "127.0.0.1:0"}
    app = App(settings.load({**given, **{f"tls.{name}": str(path) for name, path in options.items()}}, {}), clock.now)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
        await server.stop()


def record(app: App) -> Record:
    """The workspace's record."""
    (known,) = app.store.snapshot.records.values()
    return known


def serving(authority: trustme.CA, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's context with a certificate of this authority. With `clients`, it demands one of theirs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    present(context, authority)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def present(context: ssl.SSLContext, authority: trustme.CA) -> None:
    """New connections get a certificate of this authority."""
    authority.issue_cert("127.0.0.1").configure_cert(context)


async def test_a_renewed_authority_is_trusted(tmp_path: Path, authorities: tuple[trustme.CA, trustme.CA]) -> None:
    """The file is replaced before the server's certificate, which costs no failed call, or after it."""
    old, new = authorities
    file = tmp_path / "ca.pem"
    old.cert_pem.write_to_path(str(file))
    context = serving(old)
    async with polling(context, ca_file=file) as app:
        await asyncio.sleep(100)
        file.write_bytes(old.cert_pem.bytes() + new.cert_pem.bytes())
        present(context, new)
        await asyncio.sleep(100)
        assert record(app).told
        assert not record(app).failures
        file.write_bytes(new.cert_pem.bytes())
        present(context, old)
        await asyncio.sleep(100)
        assert {reason for _, reason in record(app).failures} == {Reason.TLS}
        file.write_bytes(old.cert_pem.bytes())
        await asyncio.sleep(100)
        assert record(app).told


async def test_a_failure_of_tls_reads_the_files_again(
    tmp_path: Path, authorities: tuple[trustme.CA, trustme.CA]
) -> None:
    """Some file systems do not show a change. The call is repeated at once, so `up` stays 1."""
    old, new = authorities
    file = tmp_path / "ca.pem"
    size = max(len(one.cert_pem.bytes()) for one in authorities)
    file.write_bytes(old.cert_pem.bytes().ljust(size, b"\n"))
    seen = file.stat()
    context = serving(old)
    async with polling(context, ca_file=file) as app:
        await asyncio.sleep(100)
        file.write_bytes(new.cert_pem.bytes().ljust(size, b"\n"))
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        present(context, new)
        await asyncio.sleep(100)
        assert record(app).told
        assert not record(app).failures


async def test_a_renewed_client_certificate_is_presented(
    tmp_path: Path, authorities: tuple[trustme.CA, trustme.CA]
) -> None:
    """A broken file keeps the last certificate in use, and is told once."""
    old, new = authorities
    certificate, key, ca = tmp_path / "client.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    old.cert_pem.write_to_path(str(ca))

    def issue(authority: trustme.CA) -> None:
        leaf = authority.issue_cert("exporter@example.org")
        key.write_bytes(leaf.private_key_pem.bytes())
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    issue(old)
    context = serving(old, clients=old)
    async with polling(context, ca_file=ca, cert_file=certificate, key_file=key) as app:
        await asyncio.sleep(100)
        assert record(app).told
        with structlog.testing.capture_logs() as caught:
            certificate.write_text("half of a file")
            await asyncio.sleep(300)
            assert record(app).told
            assert len([each for each in caught if "certificates cannot be read" in str(each["event"])]) == 1
        issue(new)
        new.configure_trust(context)
        await asyncio.sleep(100)
        assert record(app).told
        assert not record(app).failures
