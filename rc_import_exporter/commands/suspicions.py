"""The usual mistakes in a configuration that is valid as such, found without asking a server. Used by `check`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.config.settings import Workspace
from rc_import_exporter.core.domain import Expectation

USER_ID: Final = re.compile(r"[A-Za-z0-9]{17}|[0-9a-f]{24}")
"""The form of ids: Meteor's, or MongoDB's in users that came another way."""
TOKEN_LENGTH: Final = 43
"""Characters in a personal access token."""
PAGES: Final = frozenset(
    {"home", "admin", "login", "account", "channel", "group", "direct", "directory", "omnichannel"}
)
"""First words in the paths of the web client's pages, which people copy with the address."""


@unique
class Level(StrEnum):
    """How bad a finding is: only a problem makes `check` fail."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of what `check` found: what it is about, what is the matter, and what to do."""

    topic: str
    level: Level
    text: str
    advice: str = ""


def suspicions(workspace: Workspace, credentials: Credentials, origins: Mapping[str, str]) -> Iterator[Finding]:
    """What is probably meant otherwise in a workspace's options; no finding shows a secret."""
    yield from _of_url(workspace.target.url)
    yield from _of_user(credentials)
    yield from _of_token(credentials)
    if not workspace.tls.verify:
        yield _warning("tls.verify", "off: anybody on the way can take the token", "name the authority in tls.ca_file")
    for option, origin in origins.items():
        mine = option in ("auth_token", f"workspaces.{workspace.target.name}.auth_token")
        if mine and origin.startswith("flag "):
            yield _warning(
                "auth_token", "set by a flag, which other users of the machine can read", "give it as a file"
            )


def unexpected(expect: Expectation) -> Iterator[Finding]:
    """What would not alert, because nothing says what is expected of the workspace's imports."""
    for option, text in _SILENCES.items():
        if getattr(expect, option) is None:
            yield Finding(topic="alerts", level=Level.NOTE, text=f"{text} (expect.{option})")


_SILENCES: Final = {
    "success_every": "no schedule expected: a job that never starts will not alert",
    "longest_run": "no longest run expected: an import that moves and never ends will not alert",
    "failed_ratio": "no share of failures expected: an API import that rejects many will not alert",
    "min_records": "no least number expected: an import of too few records will not alert",
}


def _of_url(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    words = parts.path.strip("/").split("/")
    page = next((place for place, word in enumerate(words) if word in PAGES), None)
    if page is not None:
        meant = f"{parts.scheme}://{parts.netloc}/{'/'.join(words[:page])}".rstrip("/")
        yield _warning("url", f"ends in /{'/'.join(words[page:])}, a page of the web client", f"write {meant}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        yield _warning("url", "plain http: the token crosses the network in clear", "write https, if the server has it")


def _of_user(credentials: Credentials) -> Iterator[Finding]:
    if USER_ID.fullmatch(credentials.user_id):
        return
    if _is_like_a_token(credentials.user_id) and USER_ID.fullmatch(credentials.auth_token):
        yield _warning("user_id", "looks like a token, and auth_token like a user id", "swap the two")
    else:
        yield _warning(
            "user_id",
            "does not look like an id (17 letters and digits): a login name will not do",
            "take the id that Rocket.Chat shows beside a new token",
        )


def _of_token(credentials: Credentials) -> Iterator[Finding]:
    if not _is_like_a_token(credentials.auth_token) and not USER_ID.fullmatch(credentials.auth_token):
        yield Finding(
            topic="auth_token",
            level=Level.NOTE,
            text=f"has {len(credentials.auth_token)} characters; a personal access token has {TOKEN_LENGTH}",
            advice="see whether all of it was copied",
        )


def _is_like_a_token(text: str) -> bool:
    return len(text) == TOKEN_LENGTH


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _warning(topic: str, text: str, advice: str) -> Finding:
    return Finding(topic=topic, level=Level.WARNING, text=text, advice=advice)
