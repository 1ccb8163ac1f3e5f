# ruff: noqa: INP001 - a program beside the package, not a part of it
"""The image's health check: asks the addresses that the exporter listens on for `/-/healthy`.

The kernel knows them, whether a flag, a variable or a file set them. Ends with 1 if none answers.
"""

import http.client
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

TIMEOUT: Final = 2.0
PROC: Final = Path("/proc")
LISTEN: Final = "0A"
"""The state of a listening socket in `/proc/net/tcp`. Source: the kernel's `include/net/tcp_states.h`."""


def main() -> int:
    """0 if an address answers, else 1."""
    return 0 if any(answers(*address) for address in addresses()) else 1


def addresses() -> Iterator[tuple[str, int]]:
    """Host and port of each socket that a process of this container listens on.

    Containers may share a network, but not processes.
    """
    own = set(sockets())
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
                if state == LISTEN and f"socket:[{inode}]" in own:
                    host, port = local.split(":")
                    yield reachable(host), int(port, 16)


def sockets() -> Iterator[str]:
    """What the file descriptors of all readable processes refer to."""
    for folder in PROC.glob("[0-9]*/fd"):
        with suppress(OSError):
            for descriptor in folder.iterdir():
                with suppress(OSError):
                    yield str(descriptor.readlink())


def reachable(written: str) -> str:
    """An address as the kernel writes it (each 32 bits in hexadecimal, in this machine's byte order), made readable.

    The address of this machine replaces the one that means every address.
    """
    words = [int(written[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(written), 8)]
    address = ip_address(b"".join(words))
    if not address.is_unspecified:
        return str(address)
    # A socket for every address of IPv6 takes IPv4 as well, and a machine may have no IPv6.
    return "127.0.0.1"


def answers(host: str, port: int) -> bool:
    """Whether the exporter answers there, with or without TLS. The certificate is for clients to verify.

    If it wants a certificate from its clients, it ends the connection, which shows that its event loop runs.
    """
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    encrypted = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=unverified)
    return is_healthy(http.client.HTTPConnection(host, port, timeout=TIMEOUT)) or is_healthy(
        encrypted, ssl.SSLEOFError, ConnectionResetError
    )


def is_healthy(connection: http.client.HTTPConnection, *fine: type[Exception]) -> bool:
    """Whether the server says that it is healthy, or the request ends with an error that is fine."""
    try:
        connection.request("GET", "/-/healthy")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException) as error:
        return isinstance(error, fine)
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
