"""The web configuration file decides who may read, also after a change. The check of passwords delays no one else."""

import asyncio
import itertools
import os
import random
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp
import bcrypt
import pytest
import structlog
from aiohttp import web

from rc_import_exporter.config import settings, web_file
from rc_import_exporter.metrics.metric import PREFIX
from rc_import_exporter.web.auth import Guard, Login
from tests.polling.test_reloading import spoilt
from tests.support.guarded import HASH, LONG_AGO, PASSWORD, Folder, Guarded, basic, guarded

OPEN: Final = ("/-/healthy", "/-/ready")
CLOSED: Final = (
    *("/", "/metrics", "/probe?target=acme", "/sd", "/runbook", "/api/v1/workspaces", "/workspaces/acme"),
    *("/static/style.css", "/nowhere"),
)
RIGHT: Final = basic("alice", PASSWORD)
SUCCESSFUL: Final = f"{PREFIX}exporter_web_config_last_reload_successful"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder whose web configuration file has one user."""
    folder = Folder(path=tmp_path)
    folder.configure(basic_auth_users={"alice": HASH})
    return folder


async def get(exporter: Guarded, path: str, auth: str | None = None) -> aiohttp.ClientResponse:
    """The answer, read, on a connection of its own."""
    headers = {} if auth is None else {"Authorization": auth}
    async with aiohttp.ClientSession(headers=headers) as session:
        response = await session.get(f"http://127.0.0.1:{exporter.port}{path}")
        await response.read()
        return response


async def status(exporter: Guarded, path: str = "/metrics", auth: str | None = RIGHT) -> int:
    return (await get(exporter, path, auth)).status


async def test_everything_but_the_health_paths_is_inside_the_login(folder: Folder) -> None:
    """A path that does not exist as well: its answer would tell what exists."""
    async with guarded(folder) as exporter:
        assert [await status(exporter, path, None) for path in OPEN] == [200, 200]
        assert [await status(exporter, path, None) for path in CLOSED] == [401] * len(CLOSED)
        assert [await status(exporter, path) for path in ("/", "/metrics", "/sd", "/probe?target=acme")] == [200] * 4
        refused = await get(exporter, "/metrics")
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="rc-import-exporter", charset="UTF-8"'
        assert refused.headers["Server"] == "rc-import-exporter"
        assert await refused.text() == "401 Unauthorized\n"


@pytest.mark.parametrize(
    "auth",
    [
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("bob", PASSWORD),
        basic("", PASSWORD),
        "Bearer x",
        "Basic",
        "Basic !",
        "Basic YWxpY2U=",
        "Basic \u00e4",
    ],
)
async def test_anything_but_name_and_password_is_refused(folder: Folder, auth: str) -> None:
    async with guarded(folder) as exporter:
        assert await status(exporter, auth=auth) == 401
        assert await status(exporter) == 200
        assert await status(exporter, auth=auth) == 401


async def test_names_and_passwords_may_be_any_text(folder: Folder) -> None:
    """Bcrypt uses 72 bytes of a password, as htpasswd and Go do."""
    long = "\u20ac:" * 40
    folder.configure(basic_auth_users={"\u00e4": bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()})
    async with guarded(folder) as exporter:
        auth = basic("\u00e4", long)
        assert [await status(exporter, auth=each) for each in (auth, auth.replace("Basic", "basic"))] == [200, 200]


class Checks:
    """Takes the place of bcrypt: each check waits until it is released."""

    def __init__(self) -> None:
        self.hashes: list[bytes] = []
        self.released = threading.Event()

    def __call__(self, password: bytes, hash: bytes) -> bool:
        self.hashes.append(hash)
        self.released.wait(20)
        return password == b"right"


def accepts(login: Login, name: bytes, password: bytes, *, connected: bool = True) -> asyncio.Task[bool]:
    """A check under way."""
    users = {b"alice": b"hash of alice", b"bob": b"hash of bob"}
    return asyncio.create_task(login.accepts(users, name, password, lambda: connected))


async def test_an_unknown_user_costs_what_a_known_one_costs() -> None:
    """Otherwise the time of an answer tells which users exist. The hash of a user is checked, always the same one."""
    checks = Checks()
    checks.released.set()
    login = Login(checks)
    tries = [await accepts(login, name, b"right") for name in (b"mallory", b"mallory", b"alice")]
    assert tries == [False, False, True]
    assert checks.hashes[0] == checks.hashes[1]
    assert checks.hashes[0] in {b"hash of alice", b"hash of bob"}
    assert checks.hashes[2:] == [b"hash of alice"]
    login.close()


async def test_one_password_is_remembered_for_each_user() -> None:
    """Wrong passwords, and those of removed users, are not kept: anyone could fill the memory."""
    checks = Checks()
    checks.released.set()
    login = Login(checks)
    tries = [await accepts(login, name, b"%d" % number) for name in (b"alice", b"mallory") for number in range(20)]
    assert not any(tries)
    assert not vars(login)["_proofs"]
    assert await accepts(login, b"alice", b"right")
    assert await accepts(login, b"bob", b"right")
    assert vars(login)["_proofs"].keys() == {b"alice", b"bob"}
    assert await login.accepts({b"carol": b"hash of carol"}, b"carol", b"right", lambda: True)
    assert vars(login)["_proofs"].keys() == {b"carol"}
    login.close()


async def test_wrong_passwords_do_not_hold_up_a_right_one_that_is_known() -> None:
    """One password is checked at a time, and who left in the meantime is not checked at all."""
    checks = Checks()
    checks.released.set()
    login = Login(checks)
    assert await accepts(login, b"alice", b"right")
    checks.released.clear()
    wrong = [accepts(login, b"alice", b"wrong %d" % number, connected=number < 3) for number in range(100)]
    await asyncio.sleep(0)
    assert await accepts(login, b"alice", b"right")
    assert not any(each.done() for each in wrong)
    assert len(checks.hashes) <= 2
    checks.released.set()
    results = await asyncio.gather(*wrong, return_exceptions=True)
    assert results[:3] == [False] * 3
    assert all(isinstance(each, ConnectionError) for each in results[3:])
    assert len(checks.hashes) == 4
    login.close()


async def test_a_password_is_checked_once_for_all_that_send_it_together() -> None:
    """A browser opens several connections at a time."""
    checks = Checks()
    login = Login(checks)
    tries = [accepts(login, b"bob", b"right") for _ in range(6)]
    await asyncio.sleep(0)
    checks.released.set()
    assert await asyncio.gather(*tries) == [True] * 6
    assert len(checks.hashes) == 1
    assert b"right" not in repr(vars(login)).encode()
    login.close()


async def test_who_waits_for_a_password_check_makes_room_for_others(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise as many wrong passwords as there may be connections would lock everyone out."""
    monkeypatch.setattr("rc_import_exporter.web.server.MOST_CONNECTIONS", 4)
    async with guarded(folder) as exporter, aiohttp.ClientSession() as session:
        assert await status(exporter) == 200
        slow = bcrypt.hashpw(b"x", bcrypt.gensalt(11)).decode()
        folder.configure(basic_auth_users={"alice": HASH, "slow": slow})

        async def guess(number: int) -> None:
            with suppress(aiohttp.ClientError):
                headers = {"Authorization": basic("slow", str(number))}
                async with session.get(f"http://127.0.0.1:{exporter.port}/metrics", headers=headers) as response:
                    assert response.status == 401

        guesses = [asyncio.create_task(guess(number)) for number in range(12)]
        with structlog.testing.capture_logs() as caught:
            # Eight are cut to make room for the last four.
            for ended in itertools.islice(asyncio.as_completed(guesses), 8):
                await ended
            assert [await status(exporter) for _ in range(5)] == [200] * 5
            assert not all(each.done() for each in guesses)
            for each in guesses:
                each.cancel()
            await asyncio.gather(*guesses, return_exceptions=True)
        assert [line["event"] for line in caught] in ([], ["web configuration file read"])


async def test_a_file_that_changes_is_in_force_at_once(folder: Folder) -> None:
    """On connections that are open as well."""
    async with guarded(folder) as exporter, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{exporter.port}/metrics"
        assert (await session.get(url, headers={"Authorization": RIGHT})).status == 200
        with structlog.testing.capture_logs() as caught:
            folder.configure(basic_auth_users={"bob": HASH})
            assert (await session.get(url, headers={"Authorization": RIGHT})).status == 401
            assert (await session.get(url, headers={"Authorization": basic("bob", PASSWORD)})).status == 200
        assert [line["event"] for line in caught] == ["web configuration file read"]


async def test_a_broken_file_leaves_the_last_good_one_in_force(folder: Folder) -> None:
    """It is logged once, and a metric says so until the file is good again."""

    async def successful() -> str:
        page = await (await get(exporter, "/metrics", RIGHT)).text()
        return next(line for line in page.splitlines() if line.startswith(SUCCESSFUL))

    async with guarded(folder) as exporter:
        assert await successful() == f"{SUCCESSFUL} 1"
        with structlog.testing.capture_logs() as caught:
            folder.write("web.yml", "basic_auth_users: {alice: pa55word}\n")
            assert [await successful() for _ in range(3)] == [f"{SUCCESSFUL} 0"] * 3
            (folder.path / "web.yml").unlink()
            assert await status(exporter, auth=None) == 401
            assert await successful() == f"{SUCCESSFUL} 0"
            folder.configure(basic_auth_users={"alice": HASH})
            assert await successful() == f"{SUCCESSFUL} 1"
        cannot = "the web configuration file cannot be used, the last one stays in force"
        assert [line["event"] for line in caught] == [cannot, cannot, "web configuration file read"]
        assert "basic_auth_users.alice: must be the bcrypt hash" in caught[0]["detail"]
        assert "pa55word" not in str(caught)


async def test_a_file_that_is_being_written_is_not_read_yet(folder: Folder) -> None:
    """Half a file may have no users, and would let everyone in."""
    async with guarded(folder) as exporter:
        (folder.path / "web.yml").write_text("http_server_config:\n")
        assert await status(exporter, auth=None) == 401
        os.utime(folder.path / "web.yml", (LONG_AGO, LONG_AGO))
        assert await status(exporter, auth=None) == 200


async def test_the_symlink_that_kubernetes_replaces_is_followed(tmp_path: Path) -> None:
    """All files of a mounted Secret change at once, and none of their paths does."""
    for name, user in {"..1": "alice", "..2": "bob"}.items():
        (tmp_path / name).mkdir()
        Folder(path=tmp_path / name).configure(basic_auth_users={user: HASH})
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "web.yml").symlink_to("..data/web.yml")
    async with guarded(Folder(path=tmp_path)) as exporter:
        assert await status(exporter) == 200
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        assert await status(exporter) == 401
        assert await status(exporter, auth=basic("bob", PASSWORD)) == 200


def test_a_file_that_breaks_while_the_exporter_starts_is_noticed(folder: Folder) -> None:
    """The file is read once, with the configuration.

    Its content at that time is in force, even if it changes right after.
    """
    workspace = {"url": "http://127.0.0.1:1", "user_id": "u", "auth_token": "t"}
    web = settings.load({**workspace, "web.config.file": folder.file}, {}).web
    folder.write("web.yml", "rate_limit: {burst: 1}")
    noted: list[bool] = []
    guard = Guard(web.config_file, web.protection, note=noted.append)
    guard.refresh()
    assert noted == [True, False]
    assert guard.protection.users == {b"alice": HASH.encode()}
    guard.close()


async def test_headers_of_the_file_are_in_every_answer(folder: Folder) -> None:
    """They take the place of the exporter's own, and an empty one removes it."""
    headers = {"X-Frame-Options": "sameorigin", "Strict-Transport-Security": "max-age=9", "Content-Security-Policy": ""}
    folder.configure(basic_auth_users={"alice": HASH}, http_server_config={"headers": headers})

    async def faulty(request: web.Request) -> web.Response:
        raise ZeroDivisionError

    async with guarded(folder, web.get("/faulty", faulty)) as exporter:
        for path, auth in (("/", RIGHT), ("/", None), ("/nowhere", RIGHT), ("/faulty", RIGHT), ("/-/ready", None)):
            answer = await get(exporter, path, auth)
            assert answer.headers["X-Frame-Options"] == "sameorigin"
            assert answer.headers["Strict-Transport-Security"] == "max-age=9"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Content-Security-Policy" not in answer.headers


@pytest.mark.parametrize(
    ("host", "users", "told"),
    [("0.0.0.0", {}, True), ("127.0.0.1", {}, False), ("0.0.0.0", {"alice": HASH}, False)],
)
async def test_a_server_that_everyone_can_read_says_so(
    folder: Folder, host: str, users: Mapping[str, str], *, told: bool
) -> None:
    folder.configure(basic_auth_users=dict(users))
    with structlog.testing.capture_logs() as caught:
        async with guarded(folder, host=host):
            pass
    said = "other machines can read this without a login; see the option web.config.file"
    assert [(line["event"], line["log_level"]) for line in caught] == ([(said, "info")] if told else [])


async def test_no_request_fails_while_users_change(folder: Folder) -> None:
    """A new user is added, the scraper changes to it, and the old one is removed."""
    async with guarded(folder) as exporter:
        users = {"user0": HASH}
        folder.configure(basic_auth_users=users)
        for number in range(10):
            auth = basic(f"user{number}", PASSWORD)
            load = [asyncio.create_task(status(exporter, auth=auth)) for _ in range(5)]
            users[f"user{number + 1}"] = HASH
            folder.configure(basic_auth_users=users)
            assert await asyncio.gather(*load) == [200] * 5
            users.pop(f"user{number}")
            folder.configure(basic_auth_users=users)
            assert await status(exporter, auth=auth) == 401


def test_no_file_breaks_a_running_server(folder: Folder) -> None:
    """A file is either used as a whole, or refused with reasons, and then the last good one stays in use."""
    folder.encrypt(basic_auth_users={"alice": HASH, "bob": HASH})
    good = (folder.path / "web.yml").read_bytes()
    certificate, key = ((folder.path / name).read_bytes() for name in ("server.crt", "server.key"))
    guard = Guard(folder.file, web_file.load(folder.file))
    dice, seen = random.Random(0), set[str]()
    for _ in range(100):
        before = guard.protection
        name, content = dice.choice([("web.yml", good), ("server.crt", certificate), ("server.key", key)])
        folder.write(name, spoilt(content, dice))
        with structlog.testing.capture_logs() as caught:
            guard.refresh()
        seen.add(caught[0]["log_level"])
        assert caught[0]["log_level"] == "info" or guard.protection is before
        assert HASH not in str(caught)
        folder.write(name, {"web.yml": good, "server.crt": certificate, "server.key": key}[name])
        guard.refresh()
    assert seen == {"info", "warning"}
    guard.close()
