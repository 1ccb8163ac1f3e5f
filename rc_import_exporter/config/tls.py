"""Which certificates a workspace's connections trust and present.

The files are read again when they change, so a renewed certificate or authority needs no restart.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from rc_import_exporter.config import files
from rc_import_exporter.config.files import Mark
from rc_import_exporter.errors import ConfigurationError

LARGEST: Final = 4 * 1024 * 1024
"""Bytes in a file with certificates. A system's list of authorities has a quarter of a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """A client's TLS context, and digests of the files that it was made from. Two are equal if the files are."""

    context: ssl.SSLContext = field(repr=False, compare=False)
    digests: tuple[bytes, ...]
    marks: tuple[Mark | None, ...] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The `tls` options of a workspace. `server_name` is requested and verified instead of the URL's host.

    `option` is their name in the configuration. It is ignored in comparisons.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    verify: bool = True
    option: str = field(default="tls", compare=False)

    def load(self, known: Trust | None = None) -> Trust:
        """Reads the files; raises `ConfigurationError` as `context` does. Keeps the known context if they are the same.

        A context with the system's authorities takes tens of milliseconds to make.
        """
        marks, digests = self._marks(), tuple(map(_digest, self._files()))
        if known is not None and known.digests == digests:
            return replace(known, marks=marks)
        return Trust(context=self.context(), digests=digests, marks=marks)

    def changed_since(self, loaded: Trust) -> bool:
        """Whether a file changed since it was loaded; costs a `stat` for each file."""
        return self._marks() != loaded.marks

    def context(self) -> ssl.SSLContext:
        """A client's context. It trusts the authorities in `ca_file`, or the system's if that is unset.

        Raises `ConfigurationError` if a file does not hold what its option needs.
        """
        context = ssl.create_default_context(cafile=None if self.ca_file is None else self._authorities(self.ca_file))
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            self._present(context, self.cert_file)
        return context

    def _files(self) -> Sequence[str]:
        authorities = self.ca_file or ssl.get_default_verify_paths().cafile
        return [path for path in (authorities, self.cert_file, self.key_file) if path is not None]

    def _marks(self) -> tuple[Mark | None, ...]:
        return tuple(map(files.mark, self._files()))

    def _authorities(self, path: str) -> str:
        # OpenSSL would wait for somebody who writes to a pipe; `files.read` refuses it.
        try:
            files.read(path, LARGEST)
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError):
            wrong = f"{self.option}.ca_file: {files.shown(path)} must hold certificates in PEM form"
            raise ConfigurationError([wrong]) from None
        return path

    def _present(self, context: ssl.SSLContext, path: str) -> None:
        # Without a password, OpenSSL would ask for one at the terminal.
        try:
            for each in filter(None, (path, self.key_file)):
                files.read(each, LARGEST)
            context.load_cert_chain(path, self.key_file, password=lambda: "")
        except (OSError, ValueError):
            wrong = (
                f"{self.option}.cert_file: {files.shown(path)} must hold a certificate in PEM form, and key_file "
                "or the same file must hold its private key without a password"
            )
            raise ConfigurationError([wrong]) from None


def _digest(path: str) -> bytes:
    try:
        return sha256(files.read(path, LARGEST)).digest()
    except ValueError:
        return b""
