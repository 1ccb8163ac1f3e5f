"""Where a workspace's user id and token come from, and how they are read.

A file is read again when it changes, so a rotated token needs no restart. `Source` says whether a file changed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rc_import_exporter.config import files
from rc_import_exporter.errors import CredentialsError

LARGEST: Final = 4096
"""Bytes in a file with a user id or a token. Common proxies accept headers of up to 8 KiB."""
_SENDABLE: Final = re.compile(r"[!-~]+")

Mark = tuple[int, int, int]
"""Modification time (ns), inode and size: they show that a file changed. Kubernetes replaces a symlink to renew a
secret, so the inode changes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user id and a token as loaded. Two are equal if a server would see no difference."""

    user_id: str = field(repr=False)
    auth_token: str = field(repr=False)
    marks: tuple[Mark | None, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A secret in the configuration itself, with the name of its option."""

    option: str
    value: str = field(repr=False)

    def load(self) -> str:
        """The secret; raises `CredentialsError` if an HTTP header cannot hold it."""
        return _load(self.option, lambda: check(self.value))

    def mark(self) -> Mark | None:
        """`None`: it never changes."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A secret in a file, with the name of the option that names the file."""

    option: str
    path: str = field(repr=False)

    def load(self) -> str:
        """The secret without the line end that editors leave; raises `CredentialsError`."""
        return _load(self.option, lambda: read(self.path))

    def mark(self) -> Mark | None:
        """The file's mark now, symlinks followed; `None` if the file cannot be found."""
        try:
            seen = Path(self.path).stat()
        except (OSError, ValueError):
            return None
        return (seen.st_mtime_ns, seen.st_ino, seen.st_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one workspace's credentials come from."""

    user_id: Given | File
    auth_token: Given | File

    def load(self) -> Credentials:
        """Read both; raises `CredentialsError`, which names the option and the file and shows no secret."""
        marks = self._marks()
        return Credentials(user_id=self.user_id.load(), auth_token=self.auth_token.load(), marks=marks)

    def changed_since(self, loaded: Credentials) -> bool:
        """Whether a file changed since these were loaded; costs a `stat` for each file."""
        return self._marks() != loaded.marks

    def _marks(self) -> tuple[Mark | None, ...]:
        return (self.user_id.mark(), self.auth_token.mark())


def check(secret: str) -> str:
    """The secret itself; raises `ValueError`, without showing it, if an HTTP header cannot hold it."""
    if not secret:
        raise ValueError("is empty")
    if secret.startswith("Bearer "):
        raise ValueError("must be the token alone, without the word Bearer before it")
    if not _SENDABLE.fullmatch(secret):
        raise ValueError("must be printable ASCII without blanks and line breaks")
    return secret


def read(path: str) -> str:
    """The secret in a file, without line ends after it; raises `ValueError` that names the file."""
    content = files.read(path, LARGEST)
    try:
        return check(content.decode("ascii", errors="replace").rstrip("\r\n"))
    except ValueError as error:
        raise ValueError(f"{files.shown(path)}: its content {error}") from None


def _load(option: str, secret: Callable[[], str]) -> str:
    try:
        return secret()
    except ValueError as error:
        raise CredentialsError(f"{option}: {error}") from None
