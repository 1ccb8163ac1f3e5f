"""Holds a workspace's credentials and reads them again when they change.

A new token counts from the next poll on: its file is read again if it changed, and each time the server answers 401. If
a file is missing, that is logged once, and the credentials that were read last stay in use.
"""

from collections.abc import Callable

from rc_import_exporter import logs
from rc_import_exporter.config.credentials import Source
from rc_import_exporter.errors import CredentialsError


class Keyring:
    """The credentials of one workspace. Raises `CredentialsError` if they cannot be read at the start."""

    def __init__(self, source: Source, now: Callable[[], float], name: str) -> None:
        self._source = source
        self._now = now
        self._log = logs.logger(workspace=name)
        self._failed = False
        self.current = source.load()
        self.loaded_at = now()

    def refresh(self) -> None:
        """Reads the credentials again if one of their files changed."""
        if self._source.changed_since(self.current):
            self.reload()

    def reload(self) -> bool:
        """Reads the credentials again. Returns whether they are new."""
        before = self.current
        try:
            self.current, self.loaded_at = self._source.load(), self._now()
        except CredentialsError as error:
            if not self._failed:
                self._log.warning("credentials cannot be read, the last ones stay in use", detail=str(error))
            self._failed = True
            return False
        if self._failed or self.current != before:
            self._log.info("credentials read")
        self._failed = False
        return self.current != before
