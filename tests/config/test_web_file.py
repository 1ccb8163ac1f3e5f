"""The web configuration file has the format of Prometheus' exporter-toolkit, and nothing in it is ignored."""

import ssl
from pathlib import Path

import pytest
import trustme

from rc_import_exporter.config import settings, web_file
from rc_import_exporter.config.web_file import Protection
from rc_import_exporter.errors import ConfigurationError
from tests.support.guarded import HASH, Folder

SAMPLE = """\
# The sample of the exporter-toolkit's documentation.
tls_server_config:
  cert_file: server.crt
  key_file: server.key

basic_auth_users:
  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze
  bob: $2y$10$hLqFl9jSjoAAy95Z/zw8Ye8wkdMBM8c5Bn1ptYqP/AXyV0.oy0S8m
"""
CERTIFICATE = "cert_file: server.crt, key_file: server.key"
TRUST = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signed the certificates."""
    return trustme.CA()


@pytest.fixture
def folder(authority: trustme.CA, tmp_path: Path) -> Folder:
    """A folder with an authority, and a server's certificate and key."""
    folder = Folder(path=tmp_path, authority=authority)
    folder.encrypt()
    return folder


def loaded(folder: Folder, text: str) -> Protection:
    """What the file with this text says."""
    folder.write("web.yml", text)
    return web_file.load(folder.file)


def test_a_file_that_people_already_have_works_unchanged(folder: Folder) -> None:
    """Paths in it are relative to its folder."""
    protection = loaded(folder, SAMPLE)
    assert sorted(protection.users) == [b"alice", b"bob"]
    assert protection.versions == ("TLS 1.2", "TLS 1.3")
    assert protection.wants_login
    assert not protection.wants_certificate
    assert "$2y$" not in repr(protection)


@pytest.mark.parametrize(
    "text", ["basic_auth_users: {}\nhttp_server_config:\n", "tls_server_config: {}", "# nothing\n"]
)
def test_an_empty_section_sets_nothing(folder: Folder, text: str) -> None:
    assert loaded(folder, text) == Protection()
    assert not Protection().wants_login


def test_certificates_can_be_in_the_file_itself(authority: trustme.CA, folder: Folder) -> None:
    """Nothing is written to disk for it."""
    issued = authority.issue_cert("localhost")
    indented = {
        key: "".join(f"    {line}\n" for line in blob.bytes().decode().splitlines())
        for key, blob in {"cert": issued.cert_chain_pems[0], "key": issued.private_key_pem}.items()
    }
    protection = loaded(folder, f"tls_server_config:\n  cert: |\n{indented['cert']}  key: |\n{indented['key']}")
    assert protection.context is not None


@pytest.mark.parametrize(
    ("tls", "versions"),
    [
        ("min_version: TLS13", ("TLS 1.3", "TLS 1.3")),
        ("max_version: TLS12", ("TLS 1.2", "TLS 1.2")),
        ("min_version: TLS10", ("TLS 1.0", "TLS 1.3")),
    ],
)
def test_versions_are_those_of_the_file(folder: Folder, tls: str, versions: tuple[str, str]) -> None:
    assert loaded(folder, f"tls_server_config: {{{CERTIFICATE}, {tls}}}").versions == versions


def test_cipher_suites_are_exactly_those_of_the_file(folder: Folder) -> None:
    """The suites of TLS 1.3 are always on, as in Go."""
    names = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256"
    protection = loaded(folder, f"tls_server_config: {{{CERTIFICATE}, cipher_suites: [{names}]}}")
    assert protection.context is not None
    suites = {suite["name"] for suite in protection.context.get_ciphers() if not suite["name"].startswith("TLS_")}
    assert suites == {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA"}


def test_client_certificates_are_verified(folder: Folder) -> None:
    protection = loaded(folder, f"tls_server_config: {{{CERTIFICATE}, {TRUST}, client_allowed_sans: [prometheus]}}")
    assert protection.context is not None
    assert protection.context.verify_mode is ssl.CERT_REQUIRED
    assert protection.allowed_sans == {"prometheus"}
    assert protection.wants_login


def test_headers_are_those_that_the_toolkit_allows(folder: Folder) -> None:
    headers = "{X-Frame-Options: sameorigin, Strict-Transport-Security: max-age=9, X-XSS-Protection: }"
    protection = loaded(folder, f"http_server_config: {{http2: false, headers: {headers}}}")
    assert protection.headers == {
        "X-Frame-Options": "sameorigin",
        "Strict-Transport-Security": "max-age=9",
        "X-XSS-Protection": "",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http_server_config: {http2: true}", "http_server_config.http2: HTTP/2 is not supported"),
        ("rate_limit: {interval: 1s, burst: 9}", "rate_limit.interval: is not supported"),
        ("basic_auth_user: {a: b}", "basic_auth_user: no such key"),
        ("tls_server_config: {cert_fil: x}", "tls_server_config.cert_fil: no such key"),
        ("tls_server_config: x", "tls_server_config: must be a mapping"),
        ("[a, b]", "must hold a mapping"),
        ("basic_auth_users: ''", "basic_auth_users: must be a mapping"),
        ("basic_auth_user:", "basic_auth_user: no such key"),
        ("basic_auth_users: {alice: secret}", "basic_auth_users.alice: must be the bcrypt hash"),
        (
            f"basic_auth_users: {{alice: ':{'$2y$10$' + 'a' * 21 + 'O' + 'b' * 31}'}}",
            "must begin with $, and not with the colon",
        ),
        ("basic_auth_users: {alice: }", "basic_auth_users.alice: must be the bcrypt hash"),
        ("basic_auth_users: {alice: {a: b}}", "basic_auth_users.alice: must be one value"),
        ("http_server_config: {headers: {X-Frame-Options: DENY}}", "must be deny or sameorigin"),
        ("http_server_config: {headers: {Server: x}}", "http_server_config.headers.Server: no such key"),
        ('http_server_config: {headers: {X-XSS-Protection: "1\\r\\nX: 2"}}', "must be one line"),
        ("tls_server_config: {cert_file: server.crt}", "tls_server_config.key: is missing; set key_file"),
        ("tls_server_config: {min_version: TLS12}", "tls_server_config.cert: is missing; set cert_file"),
        ("tls_server_config: {cert_file: none.crt, key_file: server.key}", "none.crt does not exist"),
        ("tls_server_config: {cert_file: ca.crt, key_file: server.key}", "is not the key of this certificate"),
        ("tls_server_config: {cert_file: web.yml, key_file: server.key}", "must hold a certificate in PEM form"),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Folder, text: str, told: str) -> None:
    found = folder.mistakes(text)
    assert told in found
    assert "web.yml" in found
    assert "secret" not in found


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ("curve_preferences: [X25519]", "curve_preferences: is not supported"),
        ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "TLS_RSA_WITH_RC4_128_SHA is not supported"),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", "must name a suite of TLS 1.2"),
        ("cipher_suites: TLS_AES_128_GCM_SHA256", "must be a list"),
        ("client_auth_type: RequestClientCert", "RequestClientCert is not supported"),
        ("client_auth_type: RequireAnyClientCert", "RequireAnyClientCert is not supported"),
        ("client_auth_type: RequireClientCert", "RequireClientCert is not supported"),
        ("client_auth_type: Maybe", "must be NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert"),
        ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file"),
        ("client_ca_file: ca.crt", "client_ca_file: needs client_auth_type: RequireAndVerifyClientCert"),
        (f"{TRUST}, client_ca_file: server.key", "client_ca_file: is set twice"),
        ("client_auth_type: VerifyClientCertIfGiven, client_ca_file: server.key", "must hold certificates in PEM form"),
        ("client_allowed_sans: [me]", "client_allowed_sans: needs client_auth_type"),
        (f"{TRUST}, client_allowed_sans: []", "client_allowed_sans: must be a list of values"),
        ("min_version: SSL3", "must be TLS10, TLS11, TLS12, TLS13"),
        ("min_version: TLS13, max_version: TLS12", "max_version: must not be older"),
    ],
)
def test_what_python_cannot_do_exactly_is_refused(folder: Folder, tls: str, told: str) -> None:
    """A server that is weaker than its file says is worse than one that does not start."""
    assert told in folder.mistakes(f"tls_server_config: {{{CERTIFICATE}, {tls}}}")


def test_all_mistakes_are_named_when_the_exporter_starts(folder: Folder) -> None:
    """They are reported together with the mistakes of the configuration itself."""
    folder.write("web.yml", "rate_limit: {burst: 1}\nbasic_auth_users: {alice: pa55word}\n")
    workspace = {"url": "http://127.0.0.1:1", "user_id": "u", "auth_token": "t", "timeout": "never"}
    with pytest.raises(ConfigurationError) as raised:
        settings.load({**workspace, "web.config.file": folder.file}, {})
    told = "\n".join(raised.value.mistakes)
    assert all(key in told for key in ("timeout", "rate_limit.burst", "basic_auth_users.alice"))
    assert "pa55word" not in told


def test_the_file_can_be_named_in_every_place(folder: Folder) -> None:
    """In a YAML file it is relative to that file."""
    folder.configure(basic_auth_users={"alice": HASH})
    folder.write("config.yml", "web: {config: {file: web.yml}}\nurl: http://127.0.0.1:1\nuser_id: u\nauth_token: t\n")
    by_file = settings.load({"config.file": str(folder.path / "config.yml")}, {})
    assert by_file.web.config_file == folder.file
    with pytest.raises(ConfigurationError, match=r"web.config.file: /missing.yml does not exist"):
        settings.load(
            {"config.file": str(folder.path / "config.yml")}, {"RC_IMPORT_EXPORTER_WEB__CONFIG__FILE": "/missing.yml"}
        )
