"""Reads the files that a configuration names, and says in words why a file cannot be read."""

import os
import re
import stat
from pathlib import Path
from typing import Final

_LIKE_A_SECRET: Final = re.compile(r"[^.]{17,}")
"""Rocket.Chat's user ids have 17 characters and its tokens 43, and neither contains a dot."""

Mark = tuple[int, int, int]
"""Modification time (ns), inode and size. They show that a file changed. Kubernetes replaces a symlink to renew a file,
so the inode changes.
"""


def shown(path: str) -> str:
    """The path for a message. Its last part is left out if it looks like a secret that somebody gave as a path."""
    if not path.isprintable():
        return "the path"
    last = Path(path).name
    return str(Path(path).with_name("…")) if _LIKE_A_SECRET.fullmatch(last) else path


def mark(path: str) -> Mark | None:
    """The file's mark now, with symlinks followed; `None` if the file cannot be found."""
    try:
        seen = os.stat(path)  # noqa: PTH116 - three times as fast, and each poll looks at several files
    except (OSError, ValueError):
        return None
    return seen.st_mtime_ns, seen.st_ino, seen.st_size


def read(path: str, most: int) -> bytes:
    """The content of a regular file of 1 to `most` bytes.

    Raises `ValueError` with a sentence about the file. Files are read more than once, so a pipe is refused.
    """
    try:
        # To open a pipe would block until somebody writes. What is open cannot be replaced by one.
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise ValueError(f"{shown(path)} is not a regular file")
            content = opened.read(most + 1)
    except OSError as error:
        raise ValueError(f"{shown(path)} {_in_words(error)}") from None
    if not content:
        raise ValueError(f"{shown(path)} is empty")
    if len(content) > most:
        raise ValueError(f"{shown(path)} is larger than {most} bytes")
    return content


def _in_words(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "does not exist"
        case IsADirectoryError():
            return "is not a regular file"
        case PermissionError():
            return "cannot be read: the exporter's user has no permission"
        case _:
            return f"cannot be read: {error.strerror}"
