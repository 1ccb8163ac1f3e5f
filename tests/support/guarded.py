"""A server with a web configuration file, and the certificates of its tests."""

import base64
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bcrypt
import trustme
import yaml
from aiohttp import web

from rc_import_exporter.config import web_file
from rc_import_exporter.core.store import Store
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.web.auth import Guard
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application
from tests.support.pictures import NOW, four_workspaces

LONG_AGO: Final = 1_700_000_000
PASSWORD: Final = "correct horse battery staple"
HASH: Final = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()
"""The cheapest hash that bcrypt has. Its salt is always the same, because names of tests hold it."""


def basic(name: str, password: str) -> str:
    """The header that logs in with a name and a password."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder with a web configuration file. What is written looks older than any time that the server waits."""

    path: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    _writes: list[int] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The path of the web configuration file."""
        return str(self.path / "web.yml")

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file anew, as an editor does: under another name first. Each write has another date."""
        self._writes.append(0)
        draft = self.path / f"{name}.new"
        draft.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(draft, (LONG_AGO, LONG_AGO + len(self._writes)))
        draft.replace(self.path / name)

    def configure(self, **sections: object) -> None:
        """Writes the web configuration file."""
        self.write("web.yml", yaml.safe_dump(sections))

    def mistakes(self, text: str) -> str:
        """Why a web configuration file with this text cannot be used; empty if it can."""
        self.write("web.yml", text)
        try:
            web_file.load(self.file)
        except ConfigurationError as error:
            return str(error)
        return ""

    def certify(self, name: str = "server", issued: trustme.LeafCert | None = None) -> None:
        """Writes a certificate and its key, as `server.crt` and `server.key`."""
        issued = issued or self.authority.issue_cert("localhost", "127.0.0.1")
        self.write(f"{name}.crt", b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.write(f"{name}.key", issued.private_key_pem.bytes())

    def encrypt(self, tls: Mapping[str, object] | None = None, **sections: object) -> None:
        """Writes the authority, a certificate, and a web configuration file that uses it."""
        self.write("ca.crt", self.authority.cert_pem.bytes())
        self.certify()
        files = {"cert_file": "server.crt", "key_file": "server.key"}
        self.configure(tls_server_config={**files, **(tls or {})}, **sections)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A running server, its port, and what it publishes."""

    port: int
    store: Store
    guard: Guard


@asynccontextmanager
async def guarded(folder: Folder, *routes: web.RouteDef, host: str = "127.0.0.1") -> AsyncIterator[Guarded]:
    """A server that shows four workspaces and uses this folder's web configuration file."""
    store = Store(four_workspaces())
    publisher = Publisher(lambda: store.snapshot, lambda: NOW, Exposition(process=False))
    pages = Pages(lambda: store.snapshot, lambda: NOW)
    guard = Guard(folder.file, web_file.load(folder.file), note=store.note_web_configuration)
    server = Server(create_application([*publisher.routes, *pages.routes, *routes]), guard)
    try:
        yield Guarded(port=await server.start(host, 0), store=store, guard=guard)
    finally:
        await server.stop()
