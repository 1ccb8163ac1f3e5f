"""Connections that are kept from one call to the next, and those that are not."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

import pytest

from rc_import_exporter.core.domain import Api, Reason
from rc_import_exporter.rocketchat.client import Access, Client, open_session
from rc_import_exporter.simulator.faults import MEBIBYTE
from rc_import_exporter.simulator.server import WallClock
from tests.support.peers import CREDENTIALS, GOOD, LONG, http, listening, reason

pytestmark = [pytest.mark.looptime]

LATE: Final = http(b"<html>408</html>", status="408 Request Time-out")


@asynccontextmanager
async def keeping(
    after: Callable[[int], bytes] = lambda answered: b"",
) -> AsyncIterator[tuple[Client, list[StreamWriter]]]:
    """A client, and the connections that its server has seen. `after` gives what the server adds to each answer."""
    connections: list[StreamWriter] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        connections.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(http(GOOD))
                await asyncio.sleep(0.01)
                writer.write(after(len(connections)))
        writer.close()

    async with listening(serve) as port, open_session() as session:
        access = Access(url=f"http://127.0.0.1:{port}", timeout=LONG, max_bytes=MEBIBYTE)
        yield Client(session, access, WallClock().now), connections


async def test_a_connection_is_kept_but_not_for_ever() -> None:
    """The address behind a name can change, and only a new connection looks it up."""
    async with keeping() as (client, connections):
        for _ in range(30):
            assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is None
            await asyncio.sleep(5)
    assert 2 <= len(connections) <= 4


async def test_a_call_comes_again_on_the_connection_of_the_last_with_the_same_bytes() -> None:
    """The quick way on an idle connection, and aiohttp's own way on a new one, must look the same to a server."""
    heads: list[bytes] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head)
                writer.write(http(GOOD))
        writer.close()

    async with listening(serve) as port, open_session() as session:
        access = Access(url=f"http://user:word@127.0.0.1:{port}/chat", timeout=LONG, max_bytes=MEBIBYTE)
        client = Client(session, access, WallClock().now)
        for _ in range(3):
            assert reason(await client.ask(Api.STATUS, replace(CREDENTIALS, headers={"Accept": "own"}))) is None
    assert len(heads) == 3
    assert len(set(heads)) == 1


async def test_the_connection_for_the_version_is_not_kept() -> None:
    """The version is read once an hour, and 5,000 workspaces need their file descriptors for the feeds."""
    async with keeping() as (client, connections):
        for _ in range(2):
            await client.ask(Api.INFO, CREDENTIALS)
            await asyncio.sleep(1)
    assert len(connections) == 2


async def test_what_a_server_says_unasked_is_no_answer_to_the_next_call() -> None:
    """A proxy says 408 on an idle connection. That is no answer to a call which comes later."""
    async with keeping(lambda answered: LATE) as (client, connections):
        for _ in range(3):
            assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is None
            await asyncio.sleep(1)
    assert len(connections) == 3


async def test_a_flood_of_answers_that_were_not_asked_for_ends_the_connection() -> None:
    """They would all be kept in memory until the next call."""
    async with keeping(lambda answered: http(b"") * 1000) as (client, connections):
        assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is None
        await asyncio.sleep(1)
        assert connections[0].transport.is_closing()
        assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is None


async def test_connections_that_were_closed_while_idle_fail_no_call() -> None:
    """One idle connection that is dead says that the others are dead, too: the second try is on a new one."""
    asked: list[int] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.01)
            writer.write(http(GOOD))
            await reader.readuntil(b"\r\n\r\n")
            asked.append(1)
        writer.close()

    async with listening(serve) as port, open_session() as session:
        access = Access(url=f"http://127.0.0.1:{port}", timeout=LONG, max_bytes=MEBIBYTE)
        client = Client(session, access, WallClock().now)
        await asyncio.gather(*(client.ask(Api.STATUS, CREDENTIALS) for _ in range(3)))
        assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is None
    assert len(asked) == 1


async def test_a_switch_of_protocols_on_an_idle_connection_is_no_answer() -> None:
    """Nobody asked for it, and nothing more comes."""
    loop = asyncio.get_running_loop()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http(GOOD))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            await reader.read()
        writer.close()

    async with listening(serve) as port, open_session() as session:
        access = Access(url=f"http://127.0.0.1:{port}", timeout=LONG, max_bytes=MEBIBYTE)
        client = Client(session, access, WallClock().now)
        assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is None
        before = loop.time()
        assert reason(await client.ask(Api.STATUS, CREDENTIALS)) is Reason.INVALID
        assert loop.time() - before < 1
