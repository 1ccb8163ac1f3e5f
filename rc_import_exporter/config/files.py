"""Reads the files that a configuration names, and says in words why one cannot be read. Used by credentials, kinds
and document.
"""

import re
import stat
from pathlib import Path
from typing import Final

_LIKE_A_SECRET: Final = re.compile(r"[^.]{17,}")
"""Rocket.Chat's user ids have 17 characters and its tokens 43, none of them a dot."""


def shown(path: str) -> str:
    """The path for a message, but for a last part that looks like a secret somebody put in a file's place."""
    if not path.isprintable():
        return "the path"
    last = Path(path).name
    return str(Path(path).with_name("…")) if _LIKE_A_SECRET.fullmatch(last) else path


def read(path: str, most: int) -> bytes:
    """The content of a regular file of 1 to `most` bytes.

    Raises `ValueError` with a sentence about the file. A pipe is refused: files are read again.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError(f"{shown(path)} is not a regular file")
        with Path(path).open("rb") as opened:
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
        case PermissionError():
            return "may not be read by the user that the exporter runs as"
        case _:
            return f"cannot be read: {error.strerror}"
