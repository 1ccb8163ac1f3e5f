"""Addresses as an operator writes them: the address to listen on, and URLs of workspaces, proxies and links.

A wrong address raises `ValueError` without showing the text, because a URL may hold a password.
"""

import re
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from yarl import URL

_LISTEN: Final = re.compile(r"(?P<host>\[[^\[\]]+\]|[A-Za-z0-9._-]*):(?P<port>[0-9]{1,5})")
_LAST_PORT: Final = 65_535
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")
"""`urlsplit` silently drops some of these, and browsers read a backslash as a slash."""
_AFTER_THE_HOST: Final = re.compile(r"[/?#].*@")
"""A password that holds one of these characters ends the host too early. Its rest would be shown as the path."""
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the exporter's own server listens. An empty host means every address, port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def listen(text: str) -> Listen:
    """`127.0.0.1:19458`, `:19458` (every address), `[::1]:0`."""
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > _LAST_PORT or not _is_host(found["host"]):
        raise ValueError("must be HOST:PORT, :PORT for every address, or [IPv6]:PORT, with a port from 0 to 65535")
    return Listen(host=found["host"].strip("[]"), port=int(found["port"]))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address that is written like this. An empty host is every address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def workspace_url(text: str) -> str:
    """A workspace's base URL: scheme and host in lower case, no slash at the end."""
    parts = _split(text)
    path = parts.path.rstrip("/")
    if path.endswith("/api/v1"):
        raise ValueError("must end before /api/v1, which the exporter appends itself")
    return f"{parts.scheme}://{parts.netloc}{path}"


def proxy_url(text: str) -> str:
    """A forward proxy's URL: scheme, host and port, and optionally a name and password."""
    parts = _split(text)
    if parts.path.strip("/"):
        raise ValueError("must have no path")
    return f"{parts.scheme}://{parts.netloc}"


def link_url(text: str) -> str:
    """The base of links: scheme, host and perhaps a path, no slash at the end."""
    parts = _split(text)
    if "@" in parts.netloc:
        raise ValueError("must have no name and no password, because metrics and pages show it")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def public(url: str) -> str:
    """The URL without the name and password that it may hold."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def authorization(url: str) -> str | None:
    """The value of the header `Authorization` for the name and password in a URL; `None` if it has none.

    Source: RFC 7617, basic authentication, with UTF-8.
    """
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    name, _, password = user.partition(":")
    pair = b":".join((unquote_to_bytes(name), unquote_to_bytes(password)))
    return f"Basic {b64encode(pair).decode()}" if at else None


def name_of(url: str) -> str:
    """A workspace's name made from its URL's host. A host that is not ASCII is written as in DNS."""
    host = urlsplit(url).hostname or ""
    with suppress(UnicodeError):
        host = host.encode("idna").decode("ascii")
    return _NOT_IN_A_NAME.sub("-", host.lower()).lstrip("._-") or "workspace"


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return True
    try:
        IPv6Address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _split(text: str) -> SplitResult:
    if _UNSAFE.search(text):
        raise ValueError("must not contain blanks, control characters or backslashes")
    if _AFTER_THE_HOST.search(text.partition("://")[2]):
        raise ValueError("must have no @ after its host; percent-encode / ? # @ in a password: %2F %3F %23 %40")
    if not _names_a_host(text):
        raise ValueError("must begin with http:// or https:// and name a host; a port must be from 1 to 65535")
    if not _is_valid_host(text):
        raise ValueError("must name a valid host; check for invisible characters")
    parts = urlsplit(text)
    if not _is_sendable_user(parts.netloc.rpartition("@")[0]):
        raise ValueError("must have a name and a password in UTF-8, and no colon in the name; percent-encode them")
    if "?" in text or "#" in text:
        raise ValueError("must have no query (?) and no fragment (#)")
    return parts._replace(netloc=_lowered(parts.netloc))


def _names_a_host(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_valid_host(text: str) -> bool:
    """Whether the HTTP library accepts the host, and DNS can look it up."""
    try:
        return bool((URL(text).raw_host or "").encode("idna"))
    except ValueError:
        return False


def _is_sendable_user(user: str) -> bool:
    try:
        unquote_to_bytes(user).decode()
    except UnicodeDecodeError:
        return False
    return b":" not in unquote_to_bytes(user.partition(":")[0])


def _lowered(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    return f"{user}{at}{host.lower()}"
