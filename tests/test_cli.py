"""The program as people run it: its exit codes, its output, and how it stops."""

import asyncio
import os
import signal
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from rc_import_exporter import __version__
from rc_import_exporter.simulator.server import AUTH_TOKEN

pytestmark = [pytest.mark.timeout(60)]

TOKEN: Final = "v3ry-s3cret-t0ken"
PATIENCE: Final = 20.0
"""Seconds after which a test gives up."""
SINGLE: Final = {
    "RC_IMPORT_EXPORTER_URL": "http://127.0.0.1:9",
    "RC_IMPORT_EXPORTER_USER_ID": "user0001",
    "RC_IMPORT_EXPORTER_AUTH_TOKEN": TOKEN,
}
PID_1: Final = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Words before a command line that make it PID 1, as in a container."""
ANYWHERE: Final = {"RC_IMPORT_EXPORTER_WEB__LISTEN_ADDRESS": "127.0.0.1:0"}


@asynccontextmanager
async def started(
    *arguments: str, environ: Mapping[str, str], before: Sequence[str] = (), stderr: int = PIPE
) -> AsyncIterator[Process]:
    """Run the program with only these arguments and variables. Kill it if it does not end.

    `before` are the words before its command line.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [*before, sys.executable, "-m", "rc_import_exporter", *arguments]
    process = await asyncio.create_subprocess_exec(*command, env={**inherited, **environ}, stdout=PIPE, stderr=stderr)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ran(*arguments: str, environ: Mapping[str, str]) -> tuple[int | None, str, str]:
    """The exit code, standard output and standard error of a program that ends by itself."""
    async with started(*arguments, environ=environ) as process, asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def line(process: Process, *words: str) -> str:
    """The next line of its log with all of these words."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        async for raw in process.stderr:
            if all(word in raw.decode() for word in words):
                return raw.decode()
    pytest.fail(f"it ended without a line with {words}")


async def printed(process: Process, end: str) -> str:
    """The next line of its output with this end, without surrounding blanks."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        async for raw in process.stdout:
            if raw.decode().strip().endswith(end):
                return raw.decode().strip()
    pytest.fail(f"it ended without a line that ends with {end}")


async def ended(process: Process, number: signal.Signals) -> tuple[int | None, str]:
    """Send the signal. Return the exit code and the rest of the log."""
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE):
        _, err = await process.communicate()
    return process.returncode, err.decode()


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that never answers: its URL, and the event of its first request."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        over.set()


def assert_clean(log: str) -> None:
    """The log has no error, no traceback and no secret."""
    assert "level=error" not in log
    assert "Traceback" not in log
    assert TOKEN not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_at_once_with_a_request_in_flight(number: signal.Signals) -> None:
    """The request has a timeout of five minutes, but Kubernetes kills a container after 30 seconds."""
    async with silent() as (url, asked):
        environ = {**SINGLE, **ANYWHERE, "RC_IMPORT_EXPORTER_URL": url, "RC_IMPORT_EXPORTER_TIMEOUT": "5m"}
        async with started(environ=environ) as process:
            await line(process, "listening")
            async with asyncio.timeout(PATIENCE):
                await asked.wait()
            code, log = await ended(process, number)
    assert code == 0
    assert "stopped" in log
    assert_clean(log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_while_a_name_is_looked_up(tmp_path: Path, number: signal.Signals) -> None:
    """A name server that does not answer must not delay the end."""
    looked_up = tmp_path / "looked-up"
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time, pathlib\n"
        "real = socket.getaddrinfo\n"
        "def hang(host, *rest, **more):\n"
        "    if host != 'chat.example.org':\n"
        "        return real(host, *rest, **more)\n"
        f"    pathlib.Path({str(looked_up)!r}).touch()\n"
        "    time.sleep(3600)\n"
        "socket.getaddrinfo = hang\n"
    )
    environ = {
        **SINGLE,
        **ANYWHERE,
        "RC_IMPORT_EXPORTER_URL": "https://chat.example.org",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
    }
    async with started(environ=environ) as process:
        await line(process, "polling")
        for _ in range(100):
            if looked_up.exists():
                break
            await asyncio.sleep(0.1)
        assert looked_up.exists()
        code, log = await ended(process, number)
    assert code == 0
    assert_clean(log)


def program(process: Process) -> int | None:
    """The process id of Python, `None` until it starts: `unshare` runs it as a child."""
    pid = process.pid
    while Path(f"/proc/{pid}/comm").read_text() == "unshare\n":
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return None
        pid = int(children[0])
    return pid


def blocks(pid: int, number: signal.Signals) -> bool:
    """Whether the kernel keeps this signal for a process."""
    (mask,) = (
        int(each.split()[1], 16)
        for each in Path(f"/proc/{pid}/status").read_text().splitlines()
        if each.startswith("SigBlk:")
    )
    return bool(mask >> (number - 1) & 1)


@pytest.mark.program("unshare")
@pytest.mark.parametrize(
    ("before", "words", "code"),
    [((), (), 0), (PID_1, ("--log.level", "info"), 0), (PID_1, ("check",), 128 + signal.SIGTERM)],
)
async def test_a_signal_during_the_start_is_not_lost(before: Sequence[str], words: Sequence[str], code: int) -> None:
    """Python loads modules for tenths of a second, and the kernel drops a signal to PID 1 without a handler."""
    async with silent() as (url, _), asyncio.timeout(PATIENCE):
        environ = {**SINGLE, **ANYWHERE, "RC_IMPORT_EXPORTER_URL": url}
        async with started(*words, environ=environ, before=before) as process:
            while True:
                pid = program(process)
                if pid is not None and blocks(pid, signal.SIGTERM):
                    break
                await asyncio.sleep(0.001)
            os.kill(pid, signal.SIGTERM)
            out, err = await process.communicate()
    assert (process.returncode, out, err) == (code, b"", b"")


async def test_signals_without_a_meaning_do_nothing() -> None:
    """The default action of SIGUSR1 and SIGUSR2 ends the process."""
    async with started(environ={**SINGLE, **ANYWHERE}) as process:
        await line(process, "listening")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
        await line(process, "poll failed")
        code, log = await ended(process, signal.SIGTERM)
    assert code == 0
    assert "stopped" in log
    assert_clean(log)


async def test_a_second_signal_ends_it_at_once_with_the_same_code(tmp_path: Path) -> None:
    """The first one waits for a thread that hangs. systemd and container engines take other codes for failures."""
    (tmp_path / "sitecustomize.py").write_text(
        "import asyncio, sys, time\n"
        "async def hang(self, *arguments):\n"
        "    print('hanging', file=sys.stderr, flush=True)\n"
        "    time.sleep(3600)\n"
        "asyncio.BaseEventLoop.shutdown_default_executor = hang\n"
    )
    environ = {**SINGLE, **ANYWHERE, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])}
    async with started(environ=environ) as process:
        await line(process, "polling")
        process.terminate()
        await line(process, "hanging")
        code, log = await ended(process, signal.SIGTERM)
    assert code == 0
    assert_clean(log)


@pytest.mark.parametrize("name", ["folder", "pipe"])
async def test_a_key_log_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path, name: str) -> None:
    """Python's TLS reads the variable while modules are loaded."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    code, out, err = await ran(environ={**SINGLE, **ANYWHERE, "SSLKEYLOGFILE": str(tmp_path / name)})
    assert (code, out) == (2, "")
    (told,) = err.splitlines()
    assert told.startswith("rc-import-exporter: SSLKEYLOGFILE: cannot write this file: ")


async def test_a_hang_up_reloads_the_configuration(tmp_path: Path) -> None:
    """A mistake is reported, and the exporter goes on. Flags and variables stay as they were at the start."""
    file = tmp_path / "config.yml"
    await asyncio.to_thread(file.write_text, "poll_interval: 1m")
    async with started(f"--config.file={file}", "--web.enable-lifecycle", environ={**SINGLE, **ANYWHERE}) as process:
        address = (await line(process, "listening")).partition("address=")[2].split()[0].strip('"')
        await asyncio.to_thread(file.write_text, "poll_interval: soon")
        process.send_signal(signal.SIGHUP)
        await line(process, "configuration not reloaded", "poll_interval")
        await asyncio.to_thread(file.write_text, "poll_interval: 2m")
        process.send_signal(signal.SIGHUP)
        await line(process, "configuration reloaded", "changed=1")
        async with aiohttp.ClientSession() as session, session.post(f"http://{address}/-/reload") as answer:
            assert (answer.status, await answer.text()) == (200, "reloaded\n")
        code, _ = await ended(process, signal.SIGTERM)
    assert code == 0


async def test_three_variables_are_enough() -> None:
    """The workspace is named after its host."""
    async with started(environ={**SINGLE, **ANYWHERE}) as process:
        listening = await line(process, "listening")
        await line(process, "poll failed", "connection refused")
        url = listening.partition(" url=")[2].split()[0]
        async with aiohttp.ClientSession() as session, session.get(f"{url}metrics") as answer:
            page = await answer.text()
        code, log = await ended(process, signal.SIGTERM)
    assert 'rocketchat_import_up{workspace="127.0.0.1"} 0' in page
    assert TOKEN not in page
    assert code == 0
    assert_clean(log)


async def test_a_port_in_use_is_reported_in_one_line() -> None:
    """The exit code is 1, not 2, because the configuration is right."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = await ran(environ={**SINGLE, "RC_IMPORT_EXPORTER_WEB__LISTEN_ADDRESS": address})
    assert code == 1
    assert out == ""
    (told,) = err.splitlines()
    assert address.rpartition(":")[2] in told
    assert "in use" in told


async def test_a_host_that_does_not_resolve_is_reported_in_one_line_and_the_others_are_polled() -> None:
    """All endpoints of the workspace share one line."""
    environ = {
        **ANYWHERE,
        **{
            f"RC_IMPORT_EXPORTER_WORKSPACES__{name}__{option}": text
            for name, url in (("LOST", "http://chat.invalid"), ("OTHER", "http://127.0.0.1:9"))
            for option, text in (("URL", url), ("USER_ID", "user0001"), ("AUTH_TOKEN", TOKEN))
        },
    }
    async with started(environ=environ) as process:
        await line(process, "polling", "workspaces=2")
        assert process.stderr is not None
        lines = [(await process.stderr.readline()).decode() for _ in range(2)]
        code, log = await ended(process, signal.SIGTERM)
    assert code == 0
    assert sum("no such host: chat.invalid" in each and "workspace=lost" in each for each in lines) == 1
    assert sum("workspace=other" in each for each in lines) == 1
    assert "workspace=lost" not in log


async def status(session: aiohttp.ClientSession, path: str) -> int:
    """The status of a page, 0 while nobody listens."""
    try:
        async with session.get(path) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:
        return 0


async def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """The pipe is full: `docker logs` or a shell's pager has stopped."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 4096):
            pass
    os.set_blocking(writer, True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        started(f"--web.listen-address=127.0.0.1:{port}", environ=SINGLE, stderr=writer) as process,
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        while True:
            if await status(session, "/-/ready") == 200:
                break
            await asyncio.sleep(0.1)
        assert await status(session, "/metrics") == 200
        process.terminate()
        assert await process.wait() == 0
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({"RC_IMPORT_EXPORTER_URL": "chat.example.org"}, [], ["url"]),
        ({"RC_IMPORT_EXPORTER_POL_INTERVAL": "15s"}, [], ["POL_INTERVAL"]),
        ({"RC_IMPORT_EXPORTER_POLL_INTERVAL": "0s"}, [], ["poll_interval"]),
        ({"RC_IMPORT_EXPORTER_AUTH_TOKEN_FILE": "/nowhere/token"}, [], ["auth_token_file"]),
        ({}, ["--config.file=/nowhere/config.yml"], ["/nowhere/config.yml"]),
        ({}, ["--no-such-flag"], ["--no-such-flag"]),
        ({}, ["no-such-command"], ["command"]),
    ],
)
async def test_a_wrong_configuration_is_reported_line_by_line(
    changes: Mapping[str, str], arguments: list[str], words: list[str]
) -> None:
    """Each mistake is one line, without a traceback and without secrets."""
    code, out, err = await ran(*arguments, environ={**SINGLE, **ANYWHERE, **changes})
    assert code == 2
    assert out == ""
    assert all(word in err for word in words)
    assert all(each.startswith("rc-import-exporter: ") for each in err.splitlines())
    assert_clean(err)


async def test_without_a_workspace_it_says_how_to_start() -> None:
    code, _, err = await ran(environ={})
    assert code == 2
    assert "RC_IMPORT_EXPORTER_URL" in err


async def test_variables_that_kubernetes_sets_are_not_options() -> None:
    """Kubernetes sets them if a Service has the exporter's name."""
    injected = {
        "RC_IMPORT_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "RC_IMPORT_EXPORTER_SERVICE_PORT": "19458",
        "RC_IMPORT_EXPORTER_SERVICE_PORT_METRICS": "19458",
        "RC_IMPORT_EXPORTER_PORT": "tcp://10.0.0.1:19458",
        "RC_IMPORT_EXPORTER_PORT_19458_TCP": "tcp://10.0.0.1:19458",
        "RC_IMPORT_EXPORTER_PORT_19458_TCP_ADDR": "10.0.0.1",
        "RC_IMPORT_EXPORTER_PORT_19458_TCP_PORT": "19458",
        "RC_IMPORT_EXPORTER_PORT_19458_TCP_PROTO": "tcp",
    }
    async with started(environ={**SINGLE, **ANYWHERE, **injected}) as process:
        await line(process, "listening", "127.0.0.1:")
        code, _ = await ended(process, signal.SIGTERM)
    assert code == 0


async def test_version_and_help_are_printed() -> None:
    """It needs no configuration for that."""
    code, out, err = await ran("--version", environ={})
    assert (code, err) == (0, "")
    assert out.startswith(f"rc-import-exporter {__version__} ")
    code, out, err = await ran("--help", environ={})
    assert (code, err) == (0, "")
    assert all(flag in out for flag in ("--config.file", "--web.listen-address", "--log.level", "--log.format", "demo"))


async def test_the_demo_prints_its_address_and_ends_at_once() -> None:
    """Ctrl-C also stops its simulated servers."""
    async with started("demo", "--web.listen-address=127.0.0.1:0", environ={}) as process:
        url = await printed(process, "/metrics")
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                page = await answer.text()
            async with session.get(url.removesuffix("metrics")) as answer:
                people = await answer.text()
        variables = (await printed(process, AUTH_TOKEN)).removeprefix("export ").split()
        checked, *_ = await ran("check", environ=dict(each.split("=", 1) for each in variables))
        code, log = await ended(process, signal.SIGINT)
    assert "This is a demo" in people
    assert 'workspace="slack-migration"' in page
    assert 'workspace="rolling-deploy"' in page
    assert (code, checked) == (0, 0)
    assert "Traceback" not in log
