"""Options decide which certificates a connection trusts and presents. The server has certificates of the test."""

import os
import ssl
from asyncio import StreamReader, StreamWriter, open_connection, start_server
from pathlib import Path

import pytest
import trustme

from rc_import_exporter.config.tls import Tls
from rc_import_exporter.errors import ConfigurationError


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority that signs the certificates of server and client."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Path:
    """A folder with `ca.pem`, and with `client.pem`, which has a certificate and its key."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "client.pem")
    )
    return tmp_path


async def greeting(authority: trustme.CA, tls: Tls) -> bytes:
    """The answer to this client of a server for `chat.internal` that demands a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("chat.internal").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    async def greet(_: StreamReader, writer: StreamWriter) -> None:
        writer.write(b"welcome")
        writer.close()

    async with await start_server(greet, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await open_connection(
            "127.0.0.1", port, ssl=tls.context(), server_hostname=tls.server_name or "127.0.0.1"
        )
        try:
            return await reader.read()
        finally:
            writer.close()


async def test_both_sides_are_known_to_each_other(authority: trustme.CA, files: Path) -> None:
    """The authority and the client's certificate are private, and the URL has another name."""
    tls = Tls(ca_file=str(files / "ca.pem"), cert_file=str(files / "client.pem"), server_name="chat.internal")
    assert await greeting(authority, tls) == b"welcome"


@pytest.mark.parametrize("server_name", [None, "other.internal"])
async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, files: Path, server_name: str | None
) -> None:
    """Verification is on by default."""
    tls = Tls(ca_file=str(files / "ca.pem"), cert_file=str(files / "client.pem"), server_name=server_name)
    with pytest.raises(ssl.SSLCertVerificationError):
        await greeting(authority, tls)


async def test_an_authority_that_is_not_named_is_not_trusted(authority: trustme.CA, files: Path) -> None:
    """The system does not know it."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await greeting(authority, Tls(cert_file=str(files / "client.pem"), server_name="chat.internal"))


async def test_without_verification_anybody_is_trusted(authority: trustme.CA, files: Path) -> None:
    """The option turns verification off."""
    assert await greeting(authority, Tls(cert_file=str(files / "client.pem"), verify=False)) == b"welcome"


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_refused(tmp_path: Path, content: str) -> None:
    """One line names the option and the file."""
    file = tmp_path / "x.pem"
    file.write_text(content)
    for option, tls in (("ca_file", Tls(ca_file=str(file))), ("cert_file", Tls(cert_file=str(file)))):
        with pytest.raises(ConfigurationError) as refused:
            tls.context()
        (line,) = refused.value.mistakes
        assert line.startswith(f"tls.{option}: {file} must hold ")


def test_a_key_of_another_certificate_is_refused(authority: trustme.CA, files: Path) -> None:
    """A server would refuse it with a less clear message."""
    authority.issue_cert("other@example.org").private_key_pem.write_to_path(str(files / "other.pem"))
    with pytest.raises(ConfigurationError, match="its private key"):
        Tls(cert_file=str(files / "client.pem"), key_file=str(files / "other.pem")).context()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("option", ["ca_file", "cert_file", "key_file"])
def test_a_pipe_in_place_of_a_certificate_does_not_block(files: Path, option: str) -> None:
    """OpenSSL would wait until somebody writes."""
    os.mkfifo(files / "pipe")
    paths = {"cert_file": files / "client.pem"} | {option: files / "pipe"}
    with pytest.raises(ConfigurationError, match="in PEM form"):
        Tls(**{name: str(path) for name, path in paths.items()}).load()  # type: ignore[arg-type]
