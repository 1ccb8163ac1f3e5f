"""What a workspace's connection trusts and shows. Configured by settings, used where connections are made."""

import ssl
from dataclasses import dataclass, field

from rc_import_exporter.config import files
from rc_import_exporter.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The `tls` part of a workspace; `server_name` is asked for and verified in place of the URL's host.

    `option` is its name in the configuration; two that differ in nothing else are equal.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    verify: bool = True
    option: str = field(default="tls", compare=False)

    def context(self) -> ssl.SSLContext:
        """A client's context: the system's authorities, or those of `ca_file` alone.

        Raises `ConfigurationError` where a file does not hold what its option says.
        """
        context = ssl.create_default_context(cafile=None if self.ca_file is None else self._authorities(self.ca_file))
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            self._show(context, self.cert_file)
        return context

    def _authorities(self, path: str) -> str:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError):
            wrong = f"{self.option}.ca_file: {files.shown(path)} must hold certificates in PEM form"
            raise ConfigurationError([wrong]) from None
        return path

    def _show(self, context: ssl.SSLContext, path: str) -> None:
        # Without a password of ours OpenSSL would ask for one at the terminal.
        try:
            context.load_cert_chain(path, self.key_file, password=lambda: "")
        except (OSError, ValueError):
            wrong = (
                f"{self.option}.cert_file: {files.shown(path)} must hold a certificate in PEM form, and key_file, "
                "or the same file, its private key without a password"
            )
            raise ConfigurationError([wrong]) from None
