"""Who may read: the web configuration file in force, read again when it changes, and the passwords of its users."""

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt
from aiohttp import web

from rc_import_exporter import clock, logs
from rc_import_exporter.config import files, web_file
from rc_import_exporter.config.files import Mark
from rc_import_exporter.config.web_file import Protection
from rc_import_exporter.errors import ConfigurationError

EVERYONE: Final = Protection()
OPEN_PATHS: Final = frozenset({"/-/healthy", "/-/ready"})
"""Paths without a login, so that a probe needs no password."""
SETTLE_TIME: Final = 1.0
"""Seconds that a changed file must be old. A younger one may be half written, and would have a part of its users."""
LONGEST_PASSWORD: Final = 72
"""Bytes of a password that bcrypt uses."""


class Guard:
    """Keeps the web configuration file in force, and asks for its users' passwords.

    `protection` is what the file at `path` said at the start. If the file or one that it names changes, all of them are
    read again. If they cannot be used, that is logged, and what was read last stays in force. `note` is told each time
    whether they could be used. `now` gives Unix seconds. Without a file, everyone may read.
    """

    def __init__(
        self,
        path: str | None = None,
        protection: Protection = EVERYONE,
        now: Callable[[], float] = clock.now,
        note: Callable[[bool], None] = lambda well: None,
    ) -> None:
        self._path = path
        self._now = now
        self._note = note
        self._marks = protection.marks
        self._login = Login()
        self.protection = protection
        if path is not None:
            note(True)

    def refresh(self) -> None:
        """Reads the files again if one of them changed; costs a `stat` for each."""
        marks = {path: files.mark(path) for path in self._marks}
        if marks == self._marks or any(self._is_young(mark) for mark in marks.values()):
            return
        self._marks = read = dict[str, Mark | None]()
        log = logs.logger()
        try:
            self.protection = web_file.load(self._path, read)
        except ConfigurationError as error:
            log.warning(
                "the web configuration file cannot be used, the last one stays in force",
                detail="; ".join(error.mistakes),
            )
            self._note(False)
        else:
            log.info("web configuration file read")
            self._note(True)

    async def admits(self, request: web.BaseRequest) -> bool:
        """Whether the request may be answered. Raises `ConnectionError` if its client is gone before that is known."""
        users = self.protection.users
        if not users or request.rel_url.raw_path in OPEN_PATHS:
            return True
        given = _credentials(request.headers.get("Authorization", ""))
        return given is not None and await self._login.accepts(users, *given, lambda: request.transport is not None)

    def close(self) -> None:
        """Ends the thread that checks passwords."""
        self._login.close()

    def _is_young(self, mark: Mark | None) -> bool:
        return mark is not None and 0 <= self._now() - mark[0] / 1e9 < SETTLE_TIME


class Login:
    """Checks passwords, one at a time, in a thread.

    `check` gets a password and a hash. A keyed hash of each right password is kept, so only the first request of a user
    takes bcrypt's time.
    """

    def __init__(self, check: Callable[[bytes, bytes], bool] = bcrypt.checkpw) -> None:
        self._check = check
        self._key = secrets.token_bytes()
        self._proofs: dict[bytes, bytes] = {}
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "login")

    async def accepts(
        self, users: Mapping[bytes, bytes], name: bytes, password: bytes, is_connected: Callable[[], bool]
    ) -> bool:
        """Whether this is the password of this user. `users` has the hash of each, and is not empty.

        Raises `ConnectionError` if the client does not wait for its turn.
        """
        hash = users.get(name)
        proof = self._digest((hash or b"") + password)
        if hash is not None and self._is_proved(name, proof):
            return True
        async with self._turn:
            if not is_connected():
                raise ConnectionResetError("the client left")
            # Another request may have had the same password and the turn before.
            if hash is not None and self._is_proved(name, proof):
                return True
            # An unknown name must take as long as a known one, so one of the users' hashes stands in for it.
            checked = hash or list(users.values())[int.from_bytes(self._digest(name)) % len(users)]
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._thread, self._check, password[:LONGEST_PASSWORD], checked)
        if hash is None or not is_right:
            return False
        self._proofs = {known: kept for known, kept in self._proofs.items() if known in users} | {name: proof}
        return True

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _digest(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")

    def _is_proved(self, name: bytes, proof: bytes) -> bool:
        return hmac.compare_digest(self._proofs.get(name, b""), proof)


def _credentials(header: str) -> tuple[bytes, bytes] | None:
    """Name and password of HTTP's basic authentication (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None
