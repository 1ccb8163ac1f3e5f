"""`check` finds mistakes, says what to do, and never shows a secret."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rc_import_exporter import cli
from rc_import_exporter.commands import check, once, terminal
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.suspicions import Finding, Severity, suspicions, unexpected
from rc_import_exporter.config import settings
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.domain import Api, Budget, Expectation
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.simulator import faults
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, LoopClock, SimulatedServers, WallClock
from rc_import_exporter.simulator.stories import Telling
from tests.support.commands import config_file, run, simulated
from tests.support.guarded import Folder

USER_ID = "aobEdbYhXfu5hkeqG"
TOKEN = "Zt0k3nZt0k3nZt0k3nZt0k3nZt0k3nZt0k3nZt0k3nZ"

virtual = pytest.mark.looptime


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What `check` found in the only workspace, and how it shows it."""

    settings: Settings
    examinations: list[check.Examination]

    @property
    def code(self) -> Exit:
        return check.code(self.examinations)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.examinations[0].findings

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level is Severity.PROBLEM)

    @property
    def shown(self) -> str:
        stream = io.StringIO()
        check.show(terminal.console(stream), self.settings, self.examinations)
        return stream.getvalue()

    def about(self, topic: str) -> Finding:
        """The only finding about this topic."""
        (found,) = [finding for finding in self.findings if finding.topic == topic]
        return found

    def said(self, topic: str) -> tuple[Severity, str]:
        """How bad the finding is, and its text."""
        found = self.about(topic)
        return found.level, found.text


async def checked(
    telling: Telling,
    options: Mapping[str, str] | None = None,
    *,
    path: str = "",
    ahead: float = 0.0,
    budget: Budget | None = None,
) -> Checked:
    """Check one workspace of a simulated server in virtual time. Its clock is `ahead` seconds fast.

    `budget` is what its rate limiter says instead of the simulator's.
    """
    clock = LoopClock()
    async with SimulatedServers(
        {"acme": Story(telling)}, clock=LoopClock(zero=clock.zero + ahead), user_id=USER_ID, auth_token=TOKEN
    ) as servers:
        given = {"url": servers.url("acme") + path, "user_id": USER_ID, "auth_token": TOKEN, **(options or {})}
        configured = settings.load({}, {f"RC_IMPORT_EXPORTER_{key.upper()}": text for key, text in given.items()})
        snapshot = await once.poll(configured, clock.now)
        if budget is not None:
            snapshot = replace(snapshot, records={key: _with(budget, each) for key, each in snapshot.records.items()})
        return Checked(settings=configured, examinations=check.examine(configured, snapshot))


def _with(budget: Budget, record: Record) -> Record:
    return replace(record, feeds={api: replace(feed, budget=budget) for api, feed in record.feeds.items()})


def healthy(stage: Stage) -> None:
    """An import an hour ago, on a server that answers everything and limits calls."""
    stage.limit_rate(10)
    stage.remember("api", age=3600, valid=True, total=420, users=420, completed=420, error=0)
    stage.wait(3600)


def amended(change: Telling) -> Telling:
    """The same server after this change."""

    def tell(stage: Stage) -> None:
        change(stage)
        healthy(stage)

    return tell


@virtual
async def test_a_healthy_workspace_needs_nothing() -> None:
    """Every line reports success, and one note names the expectations that are not set."""
    found = await checked(healthy)
    assert found.code is Exit.DONE
    assert {finding.level for finding in found.findings} == {Severity.OK, Severity.NOTE}
    assert [finding.topic for finding in found.findings if finding.level is Severity.NOTE] == ["expect"]
    assert found.said("version") == (Severity.OK, "Rocket.Chat 8.6")
    assert found.said("token") == (Severity.OK, "accepted")
    assert found.said("rate limit") == (Severity.OK, "10 calls in 1m, 9 left; poll_interval 15s needs 4")
    assert found.about("state").text.startswith("done: succeeded: all 420 records")


@virtual
async def test_a_read_only_token_is_enough() -> None:
    """A token with few rights is recommended, so it must not look like a mistake."""
    found = await checked(amended(Stage.read_only))
    assert found.code is Exit.DONE
    level, text = found.said(Api.STATUS)
    assert (level, "run-import is missing" in text, "read-only is enough" in text) == (Severity.NOTE, True, True)


@virtual
async def test_a_missing_permission_is_named_with_what_works_without_it() -> None:
    """The message says where to grant it."""
    found = await checked(amended(lambda stage: stage.forbid("view-import-operations")))
    assert found.code is Exit.DONE
    listing = found.about(Api.LIST)
    assert listing.level is Severity.WARNING
    assert "view-import-operations is missing; imports that start and end between two polls are missed" in listing.text
    assert "Administration" in listing.advice


@virtual
async def test_no_permission_at_all_does_not_work() -> None:
    """The permission that is enough is named, first and once."""

    def tell(stage: Stage) -> None:
        stage.forbid("view-import-operations")
        stage.forbid("run-import")
        healthy(stage)

    found = await checked(tell)
    assert found.code is Exit.FAILED
    assert found.said("token") == (Severity.OK, "accepted")
    assert found.problems == found.findings[:1]
    assert found.said("permission")[1] == "HTTP 403: the permission view-import-operations is missing"
    assert "Grant the permission view-import-operations" in found.about("permission").advice
    assert "run-import" not in found.shown


@virtual
async def test_the_last_resort_alone_is_told_as_such() -> None:
    """`getImportProgress` alone is enough, but it tells less."""
    found = await checked(amended(lambda stage: stage.fault(faults.refused_permission, Api.STATUS, Api.LIST)))
    assert found.code is Exit.DONE
    assert "seems to run forever" in found.about(Api.STATUS).text


@virtual
@pytest.mark.parametrize("fault", sorted(faults.FAULTS))
async def test_every_fault_is_a_problem_with_words_and_advice(fault: str) -> None:
    """The problem comes first, and each reason once. No text of a body is shown. Each problem has a next step."""
    found = await checked(amended(lambda stage: stage.fault(faults.FAULTS[fault])))
    assert found.code is Exit.FAILED
    assert found.problems == found.findings[: len(found.problems)]
    assert all(finding.advice for finding in found.problems)
    assert len({finding.text.partition(" (")[0] for finding in found.problems}) == len(found.problems)
    assert "state" not in [finding.topic for finding in found.findings]
    assert "nginx" not in found.shown


@virtual
async def test_one_endpoint_in_trouble_beside_one_that_works_is_a_warning() -> None:
    """The daemon works in this case too."""
    found = await checked(amended(lambda stage: stage.fault(faults.database_down, Api.LIST)))
    assert found.code is Exit.DONE
    assert found.about(Api.LIST).level is Severity.WARNING


@virtual
@pytest.mark.parametrize(
    ("options", "topic", "words"),
    [
        ({"user_id": "import-exporter"}, "user_id", "a login name does not work"),
        ({"user_id": TOKEN, "auth_token": USER_ID}, "user_id", "looks like a token"),
        ({"auth_token": TOKEN[:-3]}, "auth_token", "has 40 characters"),
    ],
)
async def test_refused_credentials_are_told_with_the_mistake_behind_it(
    options: Mapping[str, str], topic: str, words: str
) -> None:
    """The server only says 401."""
    found = await checked(healthy, options)
    assert found.code is Exit.FAILED
    assert found.problems == (found.about("token"),)
    assert found.shown.count("HTTP 401") == 1
    assert words in found.about(topic).text


@virtual
async def test_the_address_of_a_page_is_told_with_the_one_that_is_meant() -> None:
    """People copy the address from their browser."""
    found = await checked(healthy, path="/admin/import")
    assert found.code is Exit.FAILED
    assert [finding.topic for finding in found.findings[:2]] == ["address", "url"]
    assert found.about("address").advice == ""
    assert found.about("url").text == "ends in /admin/import, a page of the web client"
    assert found.about("url").advice == f"use {found.settings.workspaces['127.0.0.1'].target.url[:-13]}"


@virtual
@pytest.mark.parametrize(
    ("interval", "level"),
    [("15s", Severity.OK), ("8s", Severity.NOTE), ("6s", Severity.NOTE), ("5s", Severity.WARNING)],
)
async def test_the_interval_is_held_to_the_rate_limit(interval: str, level: Severity) -> None:
    """Ten calls a minute are one every six seconds, and a second exporter needs as many."""
    found = await checked(healthy, {"poll_interval": interval})
    assert found.about("rate limit").level is level
    assert ("6s" in found.about("rate limit").advice) == (level is Severity.WARNING)


@virtual
@pytest.mark.parametrize(
    ("remaining", "wait", "told"),
    [
        (9, 30.6, "10 calls in 30s, 9 left; poll_interval 15s needs 2"),
        (9, 300.0, "10 calls in 5m, 9 left; poll_interval 15s needs 20"),
        (7, 12.0, "10 calls in 1m, 7 left; poll_interval 15s needs 4"),
        (7, 240.0, "10 calls in 4m, 7 left; poll_interval 15s needs 16"),
    ],
)
async def test_the_window_of_the_limit_is_named(remaining: int, wait: float, told: str) -> None:
    """An administrator can change it. Only the first call of a window shows its whole length."""
    found = await checked(healthy, budget=Budget(limit=10, remaining=remaining, reset=None, wait=wait))
    assert found.about("rate limit").text == told
    assert found.about("rate limit").advice == (
        "" if wait < 240 else f"raise poll_interval to {wait / 10:.0f}s or more"
    )


@virtual
async def test_no_limit_is_told_as_that() -> None:
    """The user is exempt, or the server has no rate limiter."""
    found = await checked(lambda stage: stage.wait(3600))
    assert found.said("rate limit") == (Severity.OK, "none: the user is exempt, or the limiter is off")
    assert found.said("state")[1].startswith("none: nothing imported yet")


@virtual
@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [(0.0, Severity.OK, "agree"), (10.0, Severity.NOTE, "10 s ahead"), (-95.0, Severity.WARNING, "95 s behind")],
)
async def test_clocks_that_differ_are_told(ahead: float, level: Severity, words: str) -> None:
    """Ages and durations are wrong by the same time."""
    found = await checked(healthy, ahead=ahead)
    assert (found.about("clock").level, words in found.about("clock").text) == (level, True)


@virtual
async def test_an_endpoint_that_is_not_asked_is_told() -> None:
    """It is configured like this, so it is not a problem."""
    found = await checked(healthy, {"apis": "getLatestImportOperations"})
    assert found.said(Api.STATUS) == (Severity.NOTE, "not called: the option apis excludes it")


def suspected(**options: str) -> dict[str, str]:
    """The suspicions about these options, by topic."""
    given = {"url": "https://chat.example.org", "user_id": USER_ID, "auth_token": TOKEN, **options}
    configured = settings.load(given, {})
    (workspace,) = configured.workspaces.values()
    loaded = Credentials(user_id=given["user_id"], auth_token=given["auth_token"])
    return {each.topic: each.text for each in suspicions(workspace, loaded)}


def test_a_sound_configuration_raises_no_suspicion() -> None:
    """User ids in MongoDB's form, paths, and http to this machine are all correct."""
    assert suspected() == {}
    assert suspected(user_id="0123456789abcdef01234567", url="https://example.org/chat") == {}
    assert suspected(url="http://localhost:3000") == suspected(url="http://[::1]:3000") == {}


@pytest.mark.parametrize(
    ("option", "value", "topic", "words"),
    [
        ("url", "https://chat.example.org/home", "url", "ends in /home"),
        ("url", "https://example.org/chat/admin/info", "url", "ends in /admin/info"),
        ("url", "http://chat.example.org", "TLS", "plain http"),
        ("url", "http://10.0.0.7:3000", "TLS", "plain http"),
        ("tls.verify", "false", "tls.verify", "can steal the token"),
        ("user_id", "admin", "user_id", "login name"),
        ("auth_token", "short", "auth_token", "has 5 characters"),
    ],
)
def test_a_usual_mistake_is_named(option: str, value: str, topic: str, words: str) -> None:
    """No server is called."""
    found = suspected(**{option: value})
    assert list(found) == [topic]
    assert words in found[topic]


def test_what_is_not_expected_does_not_alert() -> None:
    """One note for all expectations that are missing, none if they are there."""
    (note,) = unexpected(Expectation(longest_run=1))
    assert note.text == "not set: success_every, failed_ratio, min_records"
    assert list(unexpected(Expectation(success_every=1, longest_run=1, failed_ratio=0.0, min_records=0))) == []


SECRETS = (USER_ID, TOKEN, "pa55word")


def test_no_output_shows_a_secret(tmp_path: Path) -> None:
    """The output is a table or JSON. The secret is an option, a variable or a file."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    config = tmp_path / "config.yml"
    with simulated({"acme": Story(healthy)}) as urls:
        inside = urls["acme"].replace("http://", "http://proxy:pa55word@")
        config.write_text(
            f"user_id: {USER_ID}\nurl: {inside}\nauth_token_file: {tmp_path / 'token'}\n"
            "proxy_url: http://me:pa55word@127.0.0.1:1\n"
        )
        outputs = [
            run("check", f"--config.file={config}", f"--format={form}", *more)
            for form in ("text", "json")
            for more in ((), ("--config-only",))
        ]
    told = "".join(ended.stdout + ended.stderr for ended in outputs)
    assert [secret for secret in SECRETS if secret in told] == []
    assert str(tmp_path / "token") in told
    assert [ended.returncode for ended in outputs] == [1, 0, 1, 0]


def test_where_each_value_came_from_is_told(tmp_path: Path) -> None:
    """The sources are flags, variables, and lines of files."""
    config = config_file(tmp_path, {"acme": "http://127.0.0.1:1"}, poll_interval="30s", labels={"team": "people"})
    ended = run(
        "check", config, "--config-only", "--log.format=json", "--format=json", RC_IMPORT_EXPORTER_LOG__LEVEL="error"
    )
    options = {entry["option"]: (entry["value"], entry["origin"]) for entry in json.loads(ended.stdout)["options"]}
    assert options["log.format"] == ("json", "flag --log.format")
    assert options["log.level"] == ("error", "environment variable RC_IMPORT_EXPORTER_LOG__LEVEL")
    assert options["poll_interval"][0] == "30s"
    assert options["poll_interval"][1].endswith("config.yml line 1")
    assert options["labels.team"][0] == "people"
    assert options["workspaces.acme.auth_token"][0] == "********"
    assert AUTH_TOKEN not in ended.stdout


def server(folder: Path, listen: str, web: str | None) -> tuple[Mapping[str, str], dict[str, tuple[str, str]]]:
    """The options that `check` shows, and what it says of the exporter's own server with this web configuration."""
    options: dict[str, object] = {"listen_address": listen, "external_url": "https://exporter.example.org"}
    if web is not None:
        (folder / "web.yml").write_text(web)
        options["config"] = {"file": "web.yml"}
    ended = run(
        "check", config_file(folder, {"acme": "http://127.0.0.1:1"}, web=options), "--config-only", "--format=json"
    )
    told = json.loads(ended.stdout)
    assert told["server"]["address"] == listen
    shown = {entry["option"]: entry["value"] for entry in told["options"]}
    return shown, {each["topic"]: (each["level"], each["text"]) for each in told["server"]["findings"]}


def test_which_login_and_exposure_are_in_force_is_told(tmp_path: Path) -> None:
    """A server that everyone can read, one with a login, and one that only this machine can reach."""
    users = "basic_auth_users: {alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze}"
    shown, found = server(tmp_path, ":19458", None)
    assert (shown["web.listen_address"], shown["web.external_url"]) == (":19458", "https://exporter.example.org")
    assert found["exposure"] == ("note", "other machines can read this without a login")
    assert (found["TLS"], found["login"]) == (("note", "off: plain http"), ("note", "none"))
    shown, found = server(tmp_path, ":19458", users)
    assert shown["web.config.file"] == str(tmp_path / "web.yml")
    assert found["login"] == ("ok", "by password (users: 1)")
    assert found["exposure"] == ("warning", "other machines can connect, and passwords are sent without encryption")
    assert server(tmp_path, "[::1]:0", users)[1]["exposure"] == ("ok", "only this machine can connect")


def test_tls_and_client_certificates_in_force_are_told(tmp_path: Path) -> None:
    """The file is used unchanged."""
    Folder(path=tmp_path).encrypt({"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"})
    _, found = server(tmp_path, ":19458", (tmp_path / "web.yml").read_text())
    assert found["TLS"] == ("ok", "TLS 1.2 to TLS 1.3")
    assert found["login"] == ("ok", "by certificate")
    assert found["exposure"] == ("ok", "other machines can connect, with a login only")


def test_a_pattern_that_no_file_matches_is_told(tmp_path: Path) -> None:
    """The folder may be misspelt, and then no exporter watches its workspaces."""
    config = tmp_path / "config.yml"
    workspace = "{url: http://127.0.0.1:1, user_id: u, auth_token: t}"
    config.write_text(f"workspaces_files: [none.d/*.yml]\nworkspaces: {{acme: {workspace}}}\n")
    shown, as_json = (
        run("check", f"--config.file={config}", "--config-only", f"--format={form}") for form in ("text", "json")
    )
    missing = tmp_path / "none.d"
    told = f"no file matches {missing / '*.yml'}; the folder {missing} does not exist"
    (finding,) = json.loads(as_json.stdout)["findings"]
    assert (finding["level"], finding["topic"], finding["text"]) == ("warning", "workspaces_files", told)
    assert f"the folder {missing.parent}" in " ".join(shown.stdout.split())


def test_a_mistake_in_the_web_configuration_is_code_2(tmp_path: Path) -> None:
    """The message has the file and the line, but not the password that someone wrote instead of a hash."""
    (tmp_path / "web.yml").write_text("basic_auth_users:\n  alice: pa55word\n")
    config = config_file(tmp_path, {"acme": "http://127.0.0.1:1"}, web={"config": {"file": "web.yml"}})
    ended = run("check", config, "--config-only")
    assert ended.returncode == 2
    assert "basic_auth_users.alice: must be the bcrypt hash" in ended.stderr
    assert f"{tmp_path / 'web.yml'} line 2" in ended.stderr
    assert "pa55word" not in ended.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_configuration_that_cannot_be_used_is_code_2(tmp_path: Path, form: str) -> None:
    """Each mistake has a message of its own."""
    (tmp_path / "config.yml").write_text(
        "workspaces:\n"
        f"  one: {{url: 'https://x', user_id: {USER_ID}, auth_token: 'Bearer {TOKEN}'}}\n"
        f'  two: {{url: "https://x", user_id: {USER_ID}, auth_token: "{TOKEN}\\n"}}\n'
        f"  three: {{url: 'https://x', user_id: {USER_ID}, auth_token_file: {tmp_path}/missing}}\n"
        f"  four: {{url: 'https://x/api/v1', user_id: {USER_ID}, auth_token: {TOKEN}}}\n"
    )
    ended = run("check", f"--config.file={tmp_path / 'config.yml'}", f"--format={form}")
    told = json.loads(ended.stdout)["mistakes"] if form == "json" else ended.stderr.splitlines()
    assert ended.returncode == 2
    assert len(told) == 4
    words = [("one", "Bearer"), ("two", "line break"), ("three", "does not exist"), ("four", "/api/v1")]
    assert all(any(name in line and word in line for line in told) for name, word in words), told
    assert [secret for secret in SECRETS if secret in ended.stdout + ended.stderr] == []


@virtual
@pytest.mark.parametrize("columns", [40, 80, 110, 200])
async def test_findings_fit_each_width_with_the_fault_first(columns: int) -> None:
    """Only options and commands, which are copied, are longer."""

    def tell(stage: Stage) -> None:
        stage.forbid("view-import-operations")
        stage.forbid("run-import")
        healthy(stage)

    found = await checked(tell)
    stream = io.StringIO()
    check.show(terminal.console(stream, columns), found.settings, found.examinations)
    head, first, *rest = stream.getvalue().split("\n\n")[0].splitlines()
    assert head.startswith("127.0.0.1: http://")
    assert first.startswith("problem permission: HTTP 403: the")
    assert max(map(len, [first, *rest])) <= columns
    assert " ".join(" ".join(rest).split()).count("view-import-operations") <= 2


def test_findings_fit_eighty_columns_without_colour(tmp_path: Path) -> None:
    """Examples are a mail from cron and the log of a pipeline."""
    with simulated({"acme": Story(healthy), "globex": Story(Stage.revoke_token)}) as urls:
        ended = run("check", config_file(tmp_path, urls), FORCE_COLOR="", COLUMNS="200")
    assert ended.returncode == 1
    assert "\x1b" not in ended.stdout
    heads = [line for line in ended.stdout.splitlines() if line.startswith(("problem", "ok", "note"))]
    assert heads
    assert max(map(len, heads)) <= 80
    assert "Problems in: globex." in ended.stdout


def last_lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The last two lines of `check`."""
    cli.main(["check", *words])
    return capsys.readouterr().out.splitlines()[-2:]


def test_it_ends_with_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command to copy, with the flags that were given and without secrets, and the address of the page."""
    (tmp_path / "the token").write_text(AUTH_TOKEN)
    with simulated({"acme": Story(healthy), "globex": Story(Stage.revoke_token)}) as urls:
        flags = [f"--url={urls['acme']}", "--user-id=simulatedUser0001", f"--auth-token-file={tmp_path}/the token"]
        single = last_lines(capsys, *flags)
        config = config_file(tmp_path, urls)
        several = last_lines(capsys, config, "--web.listen-address=:9000", "acme")
        broken = last_lines(capsys, config)
        unasked = last_lines(capsys, "--config-only", config, "acme")
        monkeypatch.setenv("RC_IMPORT_EXPORTER_WEB__EXTERNAL_URL", "https://imports.example.org/x")
        elsewhere = last_lines(capsys, config, "acme")
    assert single == [
        f"Start: rc-import-exporter {flags[0]} --user-id=SECRET '{flags[2]}'",
        "Page:  http://127.0.0.1:19458/",
    ]
    assert several == [
        f"Start: rc-import-exporter {config} --web.listen-address=:9000",
        "Page:  http://127.0.0.1:9000/",
    ]
    assert broken == [
        "Problems in: globex. Solve what is marked problem.",
        f"Check again: rc-import-exporter check {config}",
    ]
    assert unasked[-1] == f"Connect: rc-import-exporter check {config} acme"
    assert elsewhere[-1] == "Page:  https://imports.example.org/x/"


def test_an_old_terminal_gets_question_marks(tmp_path: Path) -> None:
    """The path to the permissions has arrows in it."""
    with simulated({"acme": Story(amended(lambda stage: stage.forbid("view-import-operations")))}) as urls:
        ended = run("check", config_file(tmp_path, urls), PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Administration ?" in ended.stdout


def test_only_the_named_workspaces_are_asked(tmp_path: Path) -> None:
    """With hundreds of workspaces, people check one."""
    with simulated({"acme": Story(healthy), "globex": Story(Stage.revoke_token)}) as urls:
        config = config_file(tmp_path, urls)
        well, unknown = run("check", config, "--format=json", "acme"), run("check", config, "acne")
    assert [each["name"] for each in json.loads(well.stdout)["workspaces"]] == ["acme"]
    assert (well.returncode, unknown.returncode) == (0, 2)
    assert "there are acme, globex" in unknown.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    ("command", "stray"),
    [
        ("check", "SECRETTOKEN"),
        ("once", "v3ryS3cretT0ken-that-is-as-long-as-they-are"),
        ("watch", "a" * 43),
        ("watch", "user:pass"),
    ],
)
def test_a_stray_word_is_not_repeated(command: str, stray: str, tmp_path: Path) -> None:
    """It may be a secret whose flag was forgotten."""
    ended = run(command, config_file(tmp_path, {"acme": "http://127.0.0.1:1"}), stray)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "rc-import-exporter: …: no such workspace is configured; there are acme\n"


def test_words_of_a_server_cannot_steer_a_terminal(tmp_path: Path) -> None:
    """An escape sequence in a version is replaced."""

    def tell(stage: Stage) -> None:
        stage.fault(faults.with_json(lambda value: {"version": "8\x1b[2J", "success": True}), Api.INFO)
        healthy(stage)

    with simulated({"acme": Story(tell)}, WallClock()) as urls:
        ended = run("check", config_file(tmp_path, urls))
    assert "\x1b" not in ended.stdout
