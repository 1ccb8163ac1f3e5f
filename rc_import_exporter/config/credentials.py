"""Where a workspace's user id, token and extra headers come from, and how they are read.

A file is read again when it changes, so a rotated token needs no restart. `Source` says whether a file changed.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from rc_import_exporter.config import files
from rc_import_exporter.config.files import Mark
from rc_import_exporter.errors import CredentialsError

LARGEST: Final = 4096
"""Bytes in a file with a secret. Common proxies accept headers of up to 8 KiB."""
_UNSENDABLE: Final = re.compile(r"[^!-~]")
_UNSENDABLE_IN_A_HEADER: Final = re.compile(r"[^ -~]")
_AROUND: Final = " \t\r\n\v\f\u00a0\ufeff"
"""What editors and shells leave around a secret in a file: blanks, line ends, a byte order mark."""


def check(secret: str) -> str:
    """The secret itself; raises `ValueError`, without showing it, if it cannot be a user id or a token."""
    if not secret:
        raise ValueError("is empty")
    if secret.startswith("Bearer "):
        raise ValueError("must be the token alone, without the word Bearer before it")
    if secret[0] == secret[-1] and secret[0] in "\"'" and len(secret) > 1:
        raise ValueError("must not have quotes around it; docker --env-file keeps quotes as a part of the value")
    return _sendable(secret, _UNSENDABLE, "printable ASCII without blanks and line breaks")


def check_header(value: str) -> str:
    """The value itself; raises `ValueError`, without showing it, if it cannot be the value of a header."""
    if not value.strip():
        raise ValueError("is empty")
    if value != value.strip():
        raise ValueError("must not have blanks around it")
    return _sendable(value, _UNSENDABLE_IN_A_HEADER, "printable ASCII without line breaks")


def read(path: str, check: Callable[[str], str] = check) -> str:
    """The secret in a file, without blanks, line ends and BOM around it; raises `ValueError` that names the file."""
    content = files.read(path, LARGEST)
    try:
        return check(content.decode(errors="replace").strip(_AROUND))
    except ValueError as error:
        raise ValueError(f"{files.shown(path)}: its content {error}") from None


def _sendable(secret: str, unsendable: re.Pattern[str], allowed: str) -> str:
    if found := unsendable.search(secret):
        named = f"U+{ord(found[0]):04X} ({unicodedata.name(found[0], 'a control character').lower()})"
        raise ValueError(f"must be {allowed}; character {found.start() + 1} is {named}")
    return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user id, a token and extra headers as loaded. Two are equal if a server would see no difference."""

    user_id: str = field(repr=False)
    auth_token: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    marks: tuple[Mark | None, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A secret in the configuration itself, with the name of its option."""

    option: str
    value: str = field(repr=False)
    check: Callable[[str], str] = field(default=check, repr=False)

    def load(self) -> str:
        """The secret; raises `CredentialsError` if an HTTP header cannot hold it."""
        return _load(self.option, lambda: self.check(self.value))

    def mark(self) -> Mark | None:
        """`None`: it never changes."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A secret in a file, with the name of the option that names the file."""

    option: str
    path: str = field(repr=False)
    check: Callable[[str], str] = field(default=check, repr=False)

    def load(self) -> str:
        """The secret without what surrounds it in the file; raises `CredentialsError`."""
        return _load(self.option, lambda: read(self.path, self.check))

    def mark(self) -> Mark | None:
        """The file's mark now; `None` if the file cannot be found."""
        return files.mark(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one workspace's credentials come from."""

    user_id: Given | File
    auth_token: Given | File
    headers: Mapping[str, Given | File] = field(default_factory=lambda: MappingProxyType({}))

    def load(self, known: Credentials | None = None) -> Credentials:
        """Read all; raises `CredentialsError`, which names the option and the file and shows no secret."""
        marks = self._marks()
        return Credentials(
            user_id=self.user_id.load(),
            auth_token=self.auth_token.load(),
            headers=MappingProxyType({name: secret.load() for name, secret in self.headers.items()}),
            marks=marks,
        )

    def changed_since(self, loaded: Credentials) -> bool:
        """Whether a file changed since these were loaded; costs a `stat` for each file."""
        return self._marks() != loaded.marks

    def _marks(self) -> tuple[Mark | None, ...]:
        return tuple(secret.mark() for secret in (self.user_id, self.auth_token, *self.headers.values()))


def _load(option: str, secret: Callable[[], str]) -> str:
    try:
        return secret()
    except ValueError as error:
        raise CredentialsError(f"{option}: {error}") from None
