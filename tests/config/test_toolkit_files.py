"""The exporter-toolkit's own good and bad files: each good one is used or refused by name, each bad one is refused.

Source: what `web/testdata` in github.com/prometheus/exporter-toolkit tests, written anew. A comment says where a file
has another result here than there.
"""

import ssl
from pathlib import Path

import pytest
import trustme

from rc_import_exporter.config import web_file
from rc_import_exporter.config.web_file import Protection
from tests.support.guarded import HASH, Folder

PAIR = "cert_file: server.crt, key_file: server.key"
OPTIONAL = "client_auth_type: VerifyClientCertIfGiven"
HEADERS = (
    "X-Frame-Options: deny, X-Content-Type-Options: nosniff, X-XSS-Protection: 1, "
    "Content-Security-Policy: \"default-src 'self' *.test.example.net\", "
    "Strict-Transport-Security: max-age=31536000; includeSubDomains"
)
ECDHE = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
VERIFIED = "client_auth_type: RequireAndVerifyClientCert"
REQUIRED = f"{VERIFIED}, client_ca_file: ca.crt"
MODERN = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, TLS_AES_128_GCM_SHA256, "
    f"TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, {ECDHE}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder with an authority, a certificate and its key, in files and in a text for the file itself."""
    folder = Folder(path=tmp_path_factory.mktemp("toolkit"), authority=trustme.CA())
    folder.encrypt()
    return folder


def tls(*keys: str) -> str:
    """A file with these keys for TLS."""
    return f"tls_server_config: {{{', '.join(keys)}}}"


@pytest.mark.parametrize(
    "text",
    [
        "# nothing",
        tls(PAIR, OPTIONAL),
        tls(PAIR, OPTIONAL, f"cipher_suites: [{MODERN}]"),
        tls(PAIR, OPTIONAL, f"cipher_suites: [{ECDHE}], min_version: TLS12, max_version: TLS12"),
        tls(PAIR, OPTIONAL, f"cipher_suites: [{ECDHE}], prefer_server_cipher_suites: false, max_version: TLS12"),
        tls(PAIR, OPTIONAL, "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384], max_version: TLS12")
        + "\nhttp_server_config: {http2: false}",
        # Bad there, because HTTP/2 is on by default and needs another suite. The exporter has no HTTP/2.
        tls(PAIR, OPTIONAL, "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384], max_version: TLS12"),
        tls(PAIR, REQUIRED),
        tls(PAIR, REQUIRED, "client_allowed_sans: [one, test3, two]"),
        tls(PAIR) + f"\nbasic_auth_users: {{alice: {HASH}, bob: {HASH}}}",
        f"basic_auth_users: {{alice: {HASH}}}",
        f"http_server_config: {{headers: {{{HEADERS}}}}}",
    ],
)
def test_a_good_file_is_used(folder: Folder, text: str) -> None:
    assert folder.mistakes(text) == ""


@pytest.mark.parametrize("last", ["client_auth_type: VerifyClientCertIfGiven", "client_auth_type: NoClientCert"])
def test_a_good_file_with_everything_in_it_is_used(folder: Folder, last: str) -> None:
    """Certificate and key as texts, as the toolkit's file has them."""
    texts = [
        f"  {key}: |\n" + "".join(f"    {line}\n" for line in (folder.path / name).read_text().splitlines())
        for key, name in {"cert": "server.crt", "key": "server.key", "client_ca": "ca.crt"}.items()
        if key != "client_ca" or "IfGiven" in last
    ]
    assert folder.mistakes(f"tls_server_config:\n{''.join(texts)}  {last}") == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            tls(PAIR, "client_auth_type: RequireAnyClientCert"),
            "client_auth_type: RequireAnyClientCert is not supported",
        ),
        (tls(PAIR, "curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]"), "curve_preferences: is not"),
        # Go calls these insecure since 1.22.
        (tls(PAIR, "cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]"), "TLS_RSA_WITH_AES_128_GCM_SHA256 is not"),
        ("rate_limit: {interval: 1s, burst: 1}", "rate_limit.interval: is not supported"),
        ("rate_limit: {interval: 0, burst: 0}", "rate_limit.interval: is not supported"),
        ("http_server_config: {http2: true}", "http_server_config.http2: HTTP/2 is not supported"),
        # A full disk leaves an empty file, and it would let everyone in. A comment in it is enough.
        ("", "web.yml is empty"),
        # Trusts every public authority there; here it is taken for a forgotten file.
        (tls(PAIR, VERIFIED), "client_auth_type: needs client_ca_file"),
    ],
)
def test_a_good_file_that_cannot_be_honoured_is_refused_by_name(folder: Folder, text: str, named: str) -> None:
    assert named in folder.mistakes(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("this is no mapping", "must hold a mapping"),
        (tls("cert_filse: server.crt"), "tls_server_config.cert_filse: no such key"),
        (tls('cert_file: "", key_file: server.key'), "tls_server_config.cert: is missing"),
        (tls('cert: "", key_file: server.key'), "tls_server_config.cert: is missing"),
        (tls('cert_file: server.crt, key_file: ""'), "tls_server_config.key: is missing"),
        (tls('cert_file: server.crt, key: ""'), "tls_server_config.key: is missing"),
        (tls('cert_file: "", key_file: "", client_auth_type: x'), "tls_server_config.client_auth_type: must be"),
        (tls("cert_file: somefile, key_file: server.key"), "somefile does not exist"),
        (tls("cert_file: server.crt, key_file: somefile"), "somefile does not exist"),
        (tls("cert_file: somefile, key_file: somefile", OPTIONAL), "somefile does not exist"),
        (tls(PAIR, "client_ca_file: /dev/null"), "client_ca_file: needs client_auth_type"),
        (
            tls(PAIR, VERIFIED, "client_ca_file: somefile"),
            "somefile does not exist",
        ),
        (tls(PAIR, VERIFIED, "client_ca_file: web.yml"), "must hold certificates"),
        (tls(PAIR, VERIFIED, "client_ca: none"), "must hold certificates"),
        (tls(PAIR, "client_allowed_sans: [one]"), "client_allowed_sans: needs client_auth_type"),
        (tls(PAIR, OPTIONAL, "client_ca_file: ca.crt, client_allowed_sans: [one]"), "client_allowed_sans: needs"),
        (tls(PAIR, OPTIONAL, "min_version: TLS111"), "min_version: must be TLS10, TLS11, TLS12, TLS13"),
        (tls(PAIR, OPTIONAL, "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA2048]"), "cipher_suites: TLS_ECDHE_R"),
        (tls(PAIR, OPTIONAL, "curve_preferences: [CurveP257]"), "curve_preferences: is not supported"),
        ("basic_auth_users: {alice: short}", "basic_auth_users.alice: must be the bcrypt hash"),
        ("http_server_config: {headers: {X-Content-Type-Options: sniff}}", "X-Content-Type-Options: must be nosniff"),
        ("http_server_config: {headers: {X-Frame-Options: none}}", "X-Frame-Options: must be deny or sameorigin"),
        ('http_server_config: {headers: {X-Frame-Options: ""}}', "X-Frame-Options: must be deny or sameorigin"),
        ("http_server_config: {headers: {Server: x}}", "http_server_config.headers.Server: no such key"),
        ("auth_excluded_paths: [/-/healthy]", "auth_excluded_paths: no such key"),
    ],
)
def test_a_bad_file_is_refused(folder: Folder, text: str, named: str) -> None:
    assert named in folder.mistakes(text)


def test_a_file_that_sets_nothing_is_no_tls_and_no_login(folder: Folder) -> None:
    folder.write("web.yml", "# nothing")
    assert web_file.load(folder.file) == Protection()


def test_an_optional_certificate_without_an_authority_is_verified_with_the_system_s(folder: Folder) -> None:
    """As in Go, the system's authorities are used.

    With none, every certificate would be refused. Without verification, every certificate would be accepted.
    """
    folder.write("web.yml", tls(PAIR, OPTIONAL))
    context = web_file.load(folder.file).context
    assert context is not None
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()


def test_a_relative_path_is_in_the_folder_of_the_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes no difference in which folder the exporter was started."""
    monkeypatch.chdir(Path("/"))
    assert folder.mistakes(tls(PAIR, REQUIRED)) == ""
    assert "does not exist" in folder.mistakes(tls(PAIR.replace("server", "./sub/server"), REQUIRED))
