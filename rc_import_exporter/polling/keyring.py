"""A workspace's credentials as they were last read, renewed while the exporter runs. `poller` asks it before each call.

A rotated token takes effect at the next poll: its file is read again when it changed, and whenever the server answers
401. A file that has gone missing is told once, and what was read last stays in force.
"""

from collections.abc import Callable

from rc_import_exporter import logs
from rc_import_exporter.config.credentials import Source
from rc_import_exporter.errors import CredentialsError


class Keyring:
    """One workspace's; reads them when it is made, and raises `CredentialsError` where they cannot be read."""

    def __init__(self, source: Source, now: Callable[[], float], name: str) -> None:
        self._source = source
        self._now = now
        self._log = logs.logger(workspace=name)
        self._failed = False
        self.current = source.load()
        self.loaded_at = now()

    def refresh(self) -> None:
        """Reads the source again where a file of it changed."""
        if self._source.changed_since(self.current):
            self.reload()

    def reload(self) -> bool:
        """Reads the source again; says whether what it holds is new."""
        before = self.current
        try:
            self.current, self.loaded_at = self._source.load(), self._now()
        except CredentialsError as error:
            if not self._failed:
                self._log.warning("credentials cannot be read, the last ones stay in force", detail=str(error))
            self._failed = True
            return False
        if self._failed or self.current != before:
            self._log.info("credentials read")
        self._failed = False
        return self.current != before
