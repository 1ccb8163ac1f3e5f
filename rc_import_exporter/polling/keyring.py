"""Holds what a workspace's calls present, its credentials and its certificates, and reads it again when it changes.

A new token or certificate counts from the next poll on: a file is read again if it changed, and each time the server
answers 401 or TLS fails. If a file is missing, that is logged once, and what was read last stays in use.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from rc_import_exporter import logs
from rc_import_exporter.errors import ExporterError

HeldT = TypeVar("HeldT")


class Rotating(Protocol[HeldT]):
    """Something that is loaded from files."""

    def load(self, known: HeldT | None = None) -> HeldT:
        """Reads the files. Raises `ExporterError`. `known` is what was loaded before."""

    def changed_since(self, loaded: HeldT) -> bool:
        """Whether a file changed since it was loaded."""


class Keyring(Generic[HeldT]):
    """The credentials of a workspace, or the certificates of several: `what` is their name in the log.

    Raises `ExporterError` if they cannot be read at the start.
    """

    def __init__(
        self, source: Rotating[HeldT], now: Callable[[], float], name: str = "", what: str = "credentials"
    ) -> None:
        self._source = source
        self._now = now
        self._log = logs.logger(workspace=name) if name else logs.logger()
        self._what = what
        self._failed = False
        self.current = source.load()
        self.loaded_at = now()

    def refresh(self) -> None:
        """Reads the files again if one of them changed."""
        if self._source.changed_since(self.current):
            self.reload()

    def reload(self) -> None:
        """Reads the files again."""
        before = self.current
        try:
            self.current, self.loaded_at = self._source.load(before), self._now()
        except ExporterError as error:
            if not self._failed:
                self._log.warning(f"{self._what} cannot be read, the last ones stay in use", detail=str(error))
            self._failed = True
            return
        if self._failed or self.current != before:
            self._log.info(f"{self._what} read")
        self._failed = False
