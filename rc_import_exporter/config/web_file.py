"""Reads the web configuration file: TLS, users and headers of the exporter's own server.

The format is that of Prometheus' exporter-toolkit. Source: `docs/web-configuration.md`, `web/tls_config.go` and
`web/handler.go` in github.com/prometheus/exporter-toolkit. If a key cannot have exactly the effect that it has there,
the file is refused. So the server is never less protected than the file says. No message shows a password or a key.
"""

import os
import re
import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, cast

from rc_import_exporter.config import files, layer, values, yaml_file
from rc_import_exporter.config.files import Mark
from rc_import_exporter.config.options import ANY, WEB_CONFIG_FILE, Path
from rc_import_exporter.errors import ConfigurationError

_TLS: Final = "tls_server_config"
_HTTP: Final = "http_server_config"
_USERS: Final = ("basic_auth_users",)
_HEADERS: Final = (_HTTP, "headers")
_LARGEST_PEM: Final = 4 * values.MEBIBYTE
_HASH: Final = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")

_HEADER_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""The headers that may be set, each with its allowed values. If there are none, every value is allowed."""
VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED: Final = frozenset({"RequestClientCert", "RequireAnyClientCert", "RequireClientCert"})
_SUITES: Final = {
    f"TLS_ECDHE_{key}_WITH_{suite}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for suite, openssl in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
    }.items()
}
"""Go's default suites of TLS 1.0 to 1.2, with the names that OpenSSL gives them."""
_SUITES_OF_TLS13: Final = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
"""In Go and here, these are always on."""
_SUITE: Final = re.compile("[A-Z0-9_]{1,64}")
"""A name that a message may show. Tokens and passwords have small letters too."""
_OLD_VERSIONS: Final = "@SECLEVEL=0"
"""OpenSSL 3 allows TLS 1.0 and 1.1 at this level only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Who may read the exporter's pages. The default is everyone, by plain HTTP.

    `users` has the bcrypt hash of each user's password. `context` is `None` without TLS. If `allowed_sans` is not
    empty, a client's certificate must have one of these names. `headers` are for every answer; an empty value removes
    the header. `marks` has the mark of each file that this was read from.
    """

    context: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()
    users: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    marks: Mapping[str, Mark | None] = field(default_factory=lambda: MappingProxyType({}), repr=False, compare=False)

    @property
    def versions(self) -> tuple[str, str]:
        """The oldest and the newest version of TLS; empty without TLS."""
        names = {version: f"TLS 1.{key[-1]}" for key, version in VERSIONS.items()}
        if self.context is None:
            return "", ""
        return names[self.context.minimum_version], names[self.context.maximum_version]

    @property
    def wants_certificate(self) -> bool:
        """Whether each client must show a certificate of a trusted authority."""
        return self.context is not None and self.context.verify_mode is ssl.CERT_REQUIRED

    @property
    def wants_login(self) -> bool:
        """Whether a client must prove who it is, by a password or by a certificate."""
        return bool(self.users) or self.wants_certificate


def load(path: str | None, marks: dict[str, Mark | None] | None = None) -> Protection:
    """What the file says; raises `ConfigurationError`. Without a file, everyone may read.

    Puts the mark of each file that it reads into `marks`, whether or not the files can be used.
    """
    return Protection() if path is None else _File(path, {} if marks is None else marks).protection()


class _File:
    """One web configuration file."""

    def __init__(self, path: str, marks: dict[str, Mark | None]) -> None:
        self._marks = marks
        # A mark is older than what is read after it, so a change in between is noticed.
        marks[path] = files.mark(path)
        self._layer = yaml_file.read(path, WEB_CONFIG_FILE.path, is_file=lambda key: _KEYS.get(key) is _path)
        self._found: dict[Path, object] = {}
        self._mistakes = list(self._layer.mistakes)

    def protection(self) -> Protection:
        """What it says; raises `ConfigurationError` with every mistake."""
        for key, value in self._layer.values.items():
            self._read(key, value)
        context = self._context() if any(key[0] == _TLS for key in self._found) else None
        if self._mistakes:
            raise ConfigurationError(self._mistakes)
        users = {key[1].encode(): cast(str, hash).encode() for key, hash in self._below(_USERS)}
        return Protection(
            context=context,
            allowed_sans=frozenset(cast("list[str]", self._found.get((_TLS, "client_allowed_sans"), []))),
            users=MappingProxyType(users),
            headers=MappingProxyType({key[2]: cast(str, value) for key, value in self._below(_HEADERS)}),
            marks=MappingProxyType(self._marks),
        )

    def _below(self, group: Path) -> Iterator[tuple[Path, object]]:
        return ((key, value) for key, value in self._found.items() if key[:-1] == group)

    def _read(self, key: Path, value: object) -> None:
        """Reads one value. As in Go, a key without a value counts as unset, but a header or a user has an empty one."""
        above = next((key[:end] for end in range(1, len(key) + 1) if key[:end] not in _GROUPS), key)
        read = _KEYS.get(above) or _KEYS.get((*above[:-1], ANY))
        if key[:-1] in (_USERS, _HEADERS):
            value = value or ""
        elif (value in (None, {}) and above in _GROUPS) or (value in (None, "") and read):
            return
        if read is None:
            self._refuse(above, "must be a mapping" if above in _GROUPS else "no such key in a web configuration file")
            return
        try:
            self._found[key] = read(value if above == key else {})
        except ValueError as error:
            self._refuse(above, str(error))

    def _refuse(self, key: Path, wrong: str) -> None:
        origins = self._layer.origins
        self._mistakes.append(layer.mistake(key, wrong, origins.get(key) or origins.get(key[:1])))

    def _tls(self, name: str) -> object:
        return self._found.get((_TLS, name))

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._set_versions(context)
        self._set_certificate(context)
        self._set_client_authority(context)
        return context

    def _set_versions(self, context: ssl.SSLContext) -> None:
        oldest, newest = self._tls("min_version") or VERSIONS["TLS12"], self._tls("max_version") or VERSIONS["TLS13"]
        with warnings.catch_warnings():
            # Python warns of TLS 1.0 and 1.1. The operator asked for them.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = cast(ssl.TLSVersion, oldest)
            context.maximum_version = cast(ssl.TLSVersion, newest)
        if context.minimum_version > context.maximum_version:
            self._refuse((_TLS, "max_version"), "must not be older than min_version, which is TLS12 if it is unset")
        suites = cast("list[str]", self._tls("cipher_suites"))
        is_old = context.minimum_version < VERSIONS["TLS12"]
        if suites or is_old:
            wanted = suites or list(_SUITES.values())
            with suppress(ssl.SSLError):
                context.set_ciphers(":".join([*wanted, _OLD_VERSIONS] if is_old else wanted))
            if not {suite["name"] for suite in context.get_ciphers()} >= set(wanted):
                self._refuse((_TLS, "cipher_suites"), "has a suite that this system's OpenSSL does not offer")

    def _set_certificate(self, context: ssl.SSLContext) -> None:
        certificate, key = self._pem("cert"), self._pem("key")
        if certificate is None or key is None:
            return
        try:
            with _as_file(certificate) as certificate_path, _as_file(key) as key_path:
                # Without a password, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(certificate_path, key_path, password=lambda: "")
        except (OSError, ValueError) as error:
            if "KEY_VALUES_MISMATCH" in str(error):
                self._refuse(self._place("key"), "is not the key of this certificate")
            else:
                wrong = "must hold a certificate in PEM form, and the key must be in PEM form without a password"
                self._refuse(self._place("cert"), wrong)

    def _set_client_authority(self, context: ssl.SSLContext) -> None:
        place = (_TLS, "client_auth_type")
        context.verify_mode = mode = cast(ssl.VerifyMode, self._tls("client_auth_type") or ssl.CERT_NONE)
        # Go accepts a chain that ends in any certificate of the file, not only in one that signed itself.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self._tls("client_allowed_sans") and mode is not ssl.CERT_REQUIRED:
            self._refuse((_TLS, "client_allowed_sans"), "needs client_auth_type: RequireAndVerifyClientCert")
        is_given = self._place("client_ca") in self._found
        if is_given and mode is ssl.CERT_NONE:
            self._refuse(self._place("client_ca"), "needs client_auth_type: RequireAndVerifyClientCert")
        if not is_given and mode is ssl.CERT_REQUIRED:
            self._refuse(place, "needs client_ca_file or client_ca: the certificates to trust")
        if not is_given and mode is ssl.CERT_OPTIONAL:
            # Go trusts the system's authorities then.
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        authorities = self._pem("client_ca") if is_given else None
        if authorities is not None:
            try:
                context.load_verify_locations(cadata=authorities.decode("ascii", errors="ignore"))
            except (OSError, ValueError):
                self._refuse(self._place("client_ca"), "must hold certificates in PEM form")

    def _place(self, name: str) -> Path:
        """Where this PEM is set. As in Go, the file has precedence."""
        return (_TLS, f"{name}_file") if (_TLS, f"{name}_file") in self._found else (_TLS, name)

    def _pem(self, name: str) -> bytes | None:
        """The content; `None` after a mistake."""
        place = self._place(name)
        text = self._found.get(place)
        if text is None:
            self._refuse(place, f"is missing; set {name}_file")
            return None
        if place[-1] == name:
            return str(text).encode()
        path = str(text)
        self._marks[path] = files.mark(path)
        try:
            return files.read(path, _LARGEST_PEM)
        except ValueError as error:
            self._refuse(place, str(error))
            return None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path at which this content can be read. Python's TLS takes keys from files only; this one is in memory."""
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _path(value: object) -> str:
    path = values.one_text(value)
    if "\0" in path:
        raise ValueError("must be the path of a file")
    return path


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of values")
    return [values.one_text(each) for each in value]


def _one_of(words: Mapping[str, object], value: object) -> object:
    try:
        return words[values.one_text(value)]
    except KeyError:
        raise ValueError(f"must be {', '.join(words)}") from None


def _read_client_auth(value: object) -> object:
    if values.one_text(value) in _UNVERIFIED:
        raise ValueError(
            f"{value} is not supported, because Python's TLS verifies each certificate that it asks for; "
            "use RequireAndVerifyClientCert"
        )
    return _one_of(_CLIENT_AUTH, value)


def _read_version(value: object) -> object:
    version = cast(ssl.TLSVersion, _one_of(VERSIONS, value))
    if not getattr(ssl, f"HAS_{version.name}"):
        raise ValueError("is a version that this system's OpenSSL does not offer")
    return version


def _read_suites(value: object) -> list[str]:
    names = [name for name in _texts(value) if name not in _SUITES_OF_TLS13]
    if unknown := [name for name in names if name not in _SUITES]:
        named = unknown[0] if _SUITE.fullmatch(unknown[0]) else "…"
        raise ValueError(f"{named} is not supported; supported are {', '.join(_SUITES)}")
    if not names:
        raise ValueError("must name a suite of TLS 1.2; to allow only TLS 1.3, set min_version: TLS13")
    return [_SUITES[name] for name in names]


def _read_http2(value: object) -> bool:
    if values.BOOLEAN.read(value):
        raise ValueError("HTTP/2 is not supported; set http2: false or remove the key")
    return False


def _refused(why: str) -> Callable[[object], object]:
    def read(value: object) -> object:
        raise ValueError(f"is not supported: {why}; remove the key")

    return read


def _header(allowed: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = values.one_text(value)
        if allowed and text not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        if not text.isprintable():
            raise ValueError("must be one line without control characters")
        return text

    return read


def _hash(value: object) -> str:
    text = values.one_text(value)
    if text.startswith(":") and _HASH.fullmatch(text[1:]):
        raise ValueError("must begin with $, and not with the colon that htpasswd writes before it")
    if not _HASH.fullmatch(text):
        raise ValueError("must be the bcrypt hash of the password, which begins like $2y$10$")
    return text


_NO_RATE_LIMIT: Final = _refused("the exporter limits connections, not requests")
_KEYS: Final[Mapping[Path, Callable[[object], object]]] = {
    (_TLS, "cert"): values.one_text,
    (_TLS, "cert_file"): _path,
    (_TLS, "key"): values.one_text,
    (_TLS, "key_file"): _path,
    (_TLS, "client_ca"): values.one_text,
    (_TLS, "client_ca_file"): _path,
    (_TLS, "client_auth_type"): _read_client_auth,
    (_TLS, "client_allowed_sans"): _texts,
    (_TLS, "min_version"): _read_version,
    (_TLS, "max_version"): _read_version,
    (_TLS, "cipher_suites"): _read_suites,
    (_TLS, "curve_preferences"): _refused("Python's TLS cannot choose curves"),
    # It has no effect in Go since 1.17, either.
    (_TLS, "prefer_server_cipher_suites"): values.BOOLEAN.read,
    (_HTTP, "http2"): _read_http2,
    **{(*_HEADERS, name): _header(allowed) for name, allowed in _HEADER_VALUES.items()},
    (*_USERS, ANY): _hash,
    ("rate_limit", "interval"): _NO_RATE_LIMIT,
    ("rate_limit", "burst"): _NO_RATE_LIMIT,
}
"""How each key's value is read. A key that is not supported raises `ValueError`."""
_GROUPS: Final = {key[:end] for key in _KEYS for end in range(1, len(key))}
