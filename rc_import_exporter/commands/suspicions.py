"""Common mistakes in a valid configuration, found without asking a server."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final
from urllib.parse import urlsplit

from rc_import_exporter.config.address import is_loopback
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.config.settings import Web, Workspace
from rc_import_exporter.core.domain import Expectation

USER_ID: Final = re.compile(r"[A-Za-z0-9]{17}|[0-9a-f]{24}")
"""A user id: Meteor's form, or MongoDB's for users that another program created."""
TOKEN_LENGTH: Final = 43
"""Characters in a personal access token."""
PAGES: Final = frozenset(
    {"home", "admin", "login", "account", "channel", "group", "direct", "directory", "omnichannel"}
)
"""First words in the paths of the web client's pages. People copy them with the address."""


@unique
class Severity(StrEnum):
    """How bad a finding is. Only a problem makes `check` fail."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of what `check` found: the topic, what was found, and what to do."""

    topic: str
    level: Severity
    text: str
    advice: str = ""


def suspicions(workspace: Workspace, credentials: Credentials) -> Iterator[Finding]:
    """What is probably a mistake in a workspace's options. No finding shows a secret."""
    yield from _of_url(workspace.target.url)
    yield from _of_user(credentials)
    yield from _of_token(credentials)
    if not workspace.tls.verify:
        yield _warning(
            "tls.verify",
            "off: anyone on the network path can steal the token",
            "set tls.ca_file to the authority's certificate",
        )


def of_server(web: Web) -> Iterator[Finding]:
    """Which TLS, login and exposure the exporter's own server has."""
    protection = web.protection
    oldest, newest = protection.versions
    text = f"{oldest} to {newest}" if oldest else "off: plain http"
    yield Finding(topic="TLS", level=Severity.OK if oldest else Severity.NOTE, text=text)
    ways = ["by certificate"] if protection.wants_certificate else []
    ways += [f"by password (users: {len(protection.users)})"] if protection.users else []
    login = Severity.OK if protection.wants_login else Severity.NOTE
    yield Finding(topic="login", level=login, text=" and ".join(ways) or "none")
    if is_loopback(web.listen.host):
        yield Finding(topic="exposure", level=Severity.OK, text="only this machine can connect")
    elif not protection.wants_login:
        yield Finding(
            topic="exposure",
            level=Severity.NOTE,
            text="other machines can read this without a login",
            advice="to change that, set web.config.file",
        )
    elif not oldest:
        yield _warning(
            "exposure",
            "other machines can connect, and passwords are sent without encryption",
            "set tls_server_config in the web configuration file",
        )
    else:
        yield Finding(topic="exposure", level=Severity.OK, text="other machines can connect, with a login only")


def unexpected(expect: Expectation) -> Iterator[Finding]:
    """The expectations that are not set, in one note: without them some alerts cannot fire."""
    unset = [option for option in _EXPECTATIONS if getattr(expect, option) is None]
    if unset:
        yield Finding(topic="expect", level=Severity.NOTE, text=f"not set: {', '.join(unset)}")


_EXPECTATIONS: Final = ("success_every", "longest_run", "failed_ratio", "min_records")


def _of_url(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    words = parts.path.strip("/").split("/")
    page = next((place for place, word in enumerate(words) if word in PAGES), None)
    if page is not None:
        meant = f"{parts.scheme}://{parts.netloc}/{'/'.join(words[:page])}".rstrip("/")
        yield _warning("url", f"ends in /{'/'.join(words[page:])}, a page of the web client", f"use {meant}")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield _warning("TLS", "plain http: the token is sent without encryption", "use https if the server supports it")


def _of_user(credentials: Credentials) -> Iterator[Finding]:
    if USER_ID.fullmatch(credentials.user_id):
        return
    if _is_like_a_token(credentials.user_id) and USER_ID.fullmatch(credentials.auth_token):
        yield _warning("user_id", "looks like a token, and auth_token looks like a user id", "swap the two")
    else:
        yield _warning(
            "user_id",
            "does not look like an id (17 letters and digits); a login name does not work",
            "use the id that Rocket.Chat shows beside a new token",
        )


def _of_token(credentials: Credentials) -> Iterator[Finding]:
    if not _is_like_a_token(credentials.auth_token) and not USER_ID.fullmatch(credentials.auth_token):
        yield Finding(
            topic="auth_token",
            level=Severity.NOTE,
            text=f"has {len(credentials.auth_token)} characters; a personal access token has {TOKEN_LENGTH}",
            advice="check that you copied all of it",
        )


def _is_like_a_token(text: str) -> bool:
    return len(text) == TOKEN_LENGTH


def _warning(topic: str, text: str, advice: str) -> Finding:
    return Finding(topic=topic, level=Severity.WARNING, text=text, advice=advice)
