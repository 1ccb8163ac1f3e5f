"""Real clients get in with the right certificates only, and certificates change without a failed request."""

import asyncio
import gc
import re
import ssl
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import structlog
import trustme
import yaml

from rc_import_exporter import descriptors
from rc_import_exporter.web import connections
from rc_import_exporter.web.answers import SLICE
from rc_import_exporter.web.connections import TlsConnection
from tests.support.guarded import HASH, PASSWORD, Folder, Guarded, guarded
from tests.support.pictures import picture, running
from tests.support.prometheus import eventually, query, scraping

README: Final = (Path(__file__).parents[2] / "README.md").read_text()
MUTUAL: Final = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
YESTERDAY: Final = datetime.now(tz=UTC) - timedelta(days=1)
ANSWERED, CANNOT_VERIFY = 0, 60
"""Exit codes of curl."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder, and an authority."""
    return Folder(path=tmp_path)


async def curl(exporter: Guarded, folder: Folder, *options: str) -> int:
    """The exit code of one request that trusts the folder's authority. `options` are names and values in turn."""
    trust = ("--cacert", str(folder.path / "ca.crt"), "--resolve", f"localhost:{exporter.port}:127.0.0.1")
    url = f"https://localhost:{exporter.port}/metrics"
    process = await asyncio.create_subprocess_exec("curl", "-sf", *trust, *options, url, stdout=DEVNULL)
    return await process.wait()


async def agrees(exporter: Guarded, version: str) -> bool:
    """Whether openssl and the server agree on this version of TLS."""
    server = f"127.0.0.1:{exporter.port}"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", server, "-cipher", "ALL:@SECLEVEL=0", f"-{version}"),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    told = (await process.communicate())[0].decode()
    assert "Cipher is " in told
    return "Cipher is (NONE)" not in told


async def talk(exporter: Guarded, folder: Folder, request: bytes) -> bytes:
    """Everything that the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("localhost", exporter.port, ssl=folder.trusting())
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_page_of_many_slices_comes_whole(folder: Folder) -> None:
    """And the connection ends with it if the client asks for that, or for nothing else."""
    folder.encrypt()
    async with guarded(folder) as exporter:
        exporter.store.snapshot = picture(running(f"workspace-{index:04}") for index in range(100))
        head = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
        whole = await talk(exporter, folder, head + b"Connection: close\r\n\r\n")
        pipelined = await talk(exporter, folder, 2 * (head + b"\r\n") + head + b"Connection: close\r\n\r\n")
    body = whole.partition(b"\r\n\r\n")[2]
    assert len(body) > 5 * SLICE
    assert f"Content-Length: {len(body)}".encode() in whole
    assert pipelined.count(body) == 3


async def test_a_client_that_does_not_read_costs_no_memory(folder: Folder) -> None:
    """TLS has a buffer of its own above that of the socket."""
    folder.encrypt()
    async with guarded(folder) as exporter:
        exporter.store.snapshot = picture(running(f"workspace-{index:04}") for index in range(1_000))
        reader, writer = await asyncio.open_connection("localhost", exporter.port, ssl=folder.trusting(), limit=1)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1)
        await asyncio.sleep(0.5)
        servers = [each for each in gc.get_objects() if isinstance(each, TlsConnection)]
        waiting = [each._get_write_buffer_size() for each in servers]  # type: ignore[attr-defined] # noqa: SLF001
        writer.transport.abort()
    assert 0 < max(waiting) <= 2 * SLICE


@pytest.mark.program("curl")
async def test_a_body_is_not_read_below_tls_either(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else TLS would hold half a megabyte for each connection that waits for its turn to close."""
    monkeypatch.setattr(connections, "TURN_TO_CLOSE", 1.0)
    read, buffer_updated = [0], TlsConnection.buffer_updated

    def note(self: TlsConnection, size: int) -> None:
        read[0] += size
        buffer_updated(self, size)

    monkeypatch.setattr(TlsConnection, "buffer_updated", note)
    folder.encrypt()
    async with guarded(folder) as exporter:
        reader, writer = await asyncio.open_connection("localhost", exporter.port, ssl=folder.trusting())
        writer.write(b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + bytes(40_000))
        assert (await reader.readline()).startswith(b"HTTP/1.1 405 ")
        before = read[0]
        writer.write(bytes(2_000_000))
        await asyncio.sleep(0.3)
        assert read[0] == before
        writer.transport.abort()


async def test_a_client_sees_which_certificate_the_server_has_now(folder: Folder) -> None:
    """A right one, an expired one, one of another host, one of another authority, and a right one again."""
    folder.encrypt()
    right = folder.authority.issue_cert("localhost")
    others = [
        folder.authority.issue_cert("localhost", not_after=YESTERDAY),
        folder.authority.issue_cert("elsewhere.example.org"),
        trustme.CA().issue_cert("localhost"),
    ]
    async with guarded(folder) as exporter:
        found = []
        for issued in (right, *others, right):
            folder.certify(issued=issued)
            found.append(await curl(exporter, folder))
    assert found == [ANSWERED, CANNOT_VERIFY, CANNOT_VERIFY, CANNOT_VERIFY, ANSWERED]


@pytest.mark.program("curl")
async def test_a_client_without_the_right_certificate_is_refused(folder: Folder) -> None:
    """Right, none, expired, of another authority, and with a name that is not allowed."""
    folder.encrypt({**MUTUAL, "client_allowed_sans": ["prometheus.example.org", "::1"]})
    issued = {
        "right": folder.authority.issue_cert("prometheus.example.org"),
        "address": folder.authority.issue_cert("::1"),
        "expired": folder.authority.issue_cert("prometheus.example.org", not_after=YESTERDAY),
        "foreign": trustme.CA().issue_cert("prometheus.example.org"),
        "other": folder.authority.issue_cert("grafana.example.org"),
    }
    found = {}
    async with guarded(folder) as exporter:
        for name, certificate in issued.items():
            folder.certify(name, certificate)
            shown = ("--cert", str(folder.path / f"{name}.crt"), "--key", str(folder.path / f"{name}.key"))
            found[name] = await curl(exporter, folder, *shown) == ANSWERED
        found["none"] = await curl(exporter, folder) == ANSWERED
    assert [name for name, answered in found.items() if answered] == ["right", "address"]


async def test_an_authority_for_clients_is_exchanged_too(folder: Folder) -> None:
    """The old one is no longer trusted."""
    folder.encrypt(MUTUAL)
    old, new = folder.trusting(), folder.trusting()
    folder.authority.issue_cert("me").configure_cert(old)
    successor = trustme.CA()
    successor.issue_cert("me").configure_cert(new)

    async def answers(context: ssl.SSLContext) -> bool:
        with suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session:
                return (await session.get(f"https://localhost:{exporter.port}/metrics", ssl=context)).status == 200
        return False

    async with guarded(folder) as exporter:
        assert [await answers(old), await answers(new)] == [True, False]
        folder.write("ca.crt", successor.cert_pem.bytes())
        assert [await answers(old), await answers(new)] == [False, True]


@pytest.mark.program("openssl")
async def test_old_versions_of_tls_are_refused_unless_the_file_allows_them(folder: Folder) -> None:
    found = []
    folder.encrypt()
    async with guarded(folder) as exporter:
        for limits in ({}, {"min_version": "TLS13"}, {"min_version": "TLS10", "max_version": "TLS12"}):
            folder.encrypt(limits)
            found.append([await agrees(exporter, each) for each in ("tls1", "tls1_1", "tls1_2", "tls1_3")])
    assert found == [[False, False, True, True], [False, False, False, True], [True, True, True, False]]


async def test_no_request_fails_while_certificates_change(folder: Folder) -> None:
    """Each request has a new connection. A key that does not fit its certificate yet is not used."""
    folder.encrypt()
    answered: asyncio.Queue[int] = asyncio.Queue()
    done = asyncio.Event()

    async def load() -> None:
        connector = aiohttp.TCPConnector(force_close=True, ssl=folder.trusting())
        async with aiohttp.ClientSession(connector=connector) as session:
            while not done.is_set():
                async with session.get(f"https://localhost:{exporter.port}/-/healthy") as response:
                    assert response.status == 200
                answered.put_nowait(response.status)

    async with guarded(folder) as exporter:
        async with asyncio.TaskGroup() as clients:
            for _ in range(4):
                clients.create_task(load())
            for _ in range(10):
                folder.certify()
                for _ in range(5):
                    await answered.get()
            done.set()
        assert exporter.store.snapshot.web_configured_well


async def test_tls_can_be_turned_on_without_a_restart(folder: Folder) -> None:
    folder.configure(basic_auth_users={})
    async with guarded(folder) as exporter, aiohttp.ClientSession() as session:
        assert (await session.get(f"http://localhost:{exporter.port}/metrics")).status == 200
        folder.encrypt()
        answer = await session.get(f"https://localhost:{exporter.port}/metrics", ssl=folder.trusting())
        assert answer.status == 200


async def test_who_speaks_no_tls_is_cut_without_a_word(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """Anyone who reaches the port could fill the log with tracebacks."""
    folder.encrypt()
    async with guarded(folder) as exporter:
        with structlog.testing.capture_logs() as caught:
            for sent in (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port)
                writer.write(sent)
                if writer.can_write_eof():
                    writer.write_eof()
                assert b"HTTP" not in await reader.read()
                writer.close()
            assert not caught
    assert not caplog.records


@pytest.mark.looptime
async def test_a_handshake_has_the_deadline_of_a_request(folder: Folder) -> None:
    folder.encrypt()
    async with guarded(folder) as exporter:
        reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port)
        await asyncio.sleep(11)
        assert await reader.read() == b""
        writer.close()


async def test_connections_before_their_handshake_make_room_for_others(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else anyone could use up the exporter's file descriptors."""
    monkeypatch.setattr(descriptors, "share", lambda: 4)
    folder.encrypt()
    async with guarded(folder) as exporter, aiohttp.ClientSession() as session:
        silent = [await asyncio.open_connection("127.0.0.1", exporter.port) for _ in range(12)]
        answer = await session.get(f"https://localhost:{exporter.port}/metrics", ssl=folder.trusting())
        assert answer.status == 200
        assert [await reader.read() for reader, _ in silent[:8]] == [b""] * 8
        for _, writer in silent:
            writer.close()


@pytest.mark.program("prometheus")
@pytest.mark.timeout(90)
async def test_prometheus_scrapes_with_a_certificate_and_a_password(folder: Folder, tmp_path: Path) -> None:
    """With either of them missing or wrong, it does not. It does with the README's two files as they are."""
    (tmp_path / "readme").mkdir()
    shown = Folder(path=tmp_path / "readme")
    shown.certify()
    shown.write("password", f"{PASSWORD}\n")
    blocks = r"```yaml\n((?:tls_server_config:|  - job_name:.*\n    scheme:).*?)```"
    web_file, copied = re.findall(blocks, README, re.DOTALL)
    shown.write("web.yml", web_file.replace("$2y$10$...", HASH))
    folder.encrypt(MUTUAL, basic_auth_users={"prometheus": HASH})
    folder.certify("client", folder.authority.issue_cert("prometheus"))
    folder.write("foreign.crt", trustme.CA().cert_pem.bytes())
    login = {"basic_auth": {"username": "prometheus", "password": PASSWORD}}
    paths = {name: str(folder.path / name) for name in ("ca.crt", "client.crt", "client.key", "foreign.crt")}
    trust = {"ca_file": paths["ca.crt"], "server_name": "localhost"}
    certificate = {"cert_file": paths["client.crt"], "key_file": paths["client.key"]}
    wrong = {"basic_auth": {"username": "prometheus", "password": "wrong"}}
    settings: dict[str, dict[str, object]] = {
        "right": {**login, "tls_config": {**trust, **certificate}},
        "no_login": {"tls_config": {**trust, **certificate}},
        "wrong_password": {**wrong, "tls_config": {**trust, **certificate}},
        "no_certificate": {**login, "tls_config": trust},
        "wrong_authority": {**login, "tls_config": {**certificate, "ca_file": paths["foreign.crt"]}},
    }
    async with guarded(folder) as exporter, guarded(shown) as as_shown:
        (job,) = yaml.safe_load(copied)
        for options, name in ((job["tls_config"], "ca_file"), (job["basic_auth"], "password_file")):
            options[name] = str(shown.path / options[name])
        job["static_configs"] = [{"targets": [f"localhost:{as_shown.port}"]}]
        jobs = [
            {
                "job_name": name,
                "scheme": "https",
                "static_configs": [{"targets": [f"localhost:{exporter.port}"]}],
                **each,
            }
            for name, each in settings.items()
        ] + [job]
        async with scraping(folder.path, jobs) as url:
            await eventually(url, "up", len(jobs))
            await eventually(url, "up == 1", 2)
            assert {series["job"] for series in await query(url, "up == 1")} == {"right", job["job_name"]}
            assert await query(url, "rocketchat_import_up")
