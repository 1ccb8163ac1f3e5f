"""Options come from flags, environment and file. Each mistake is one line without its value."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from rc_import_exporter.commands.flags import OPTION_FLAGS
from rc_import_exporter.config import notation, settings
from rc_import_exporter.config.address import Listen
from rc_import_exporter.config.notation import DOTTED, VARIABLE
from rc_import_exporter.config.options import OPTIONS
from rc_import_exporter.config.settings import Settings, Workspace
from rc_import_exporter.config.values import RESERVED_LABELS
from rc_import_exporter.core.domain import Api, Links
from rc_import_exporter.errors import ConfigurationError

PREFIX = "RC_IMPORT_EXPORTER_"
SECRET = "Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Z"
SINGLE = {"URL": "https://chat.example.org", "USER_ID": "u", "AUTH_TOKEN": "t"}
ACME = "workspaces: {acme: {url: 'https://acme.example.org', user_id: u, auth_token: t"


def load(
    flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> Settings:
    """Load with variables named without their prefix."""
    named = {} if file is None else {"config.file": str(file)}
    return settings.load({**named, **(flags or {})}, {PREFIX + name: value for name, value in (environ or {}).items()})


def single(flags: Mapping[str, str] | None = None, **environ: str) -> Workspace:
    """The workspace of the three variables, with these options too."""
    (workspace,) = load(flags, {**SINGLE, **environ}).workspaces.values()
    return workspace


def mistakes(
    flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> tuple[str, ...]:
    """The mistakes in these options."""
    with pytest.raises(ConfigurationError) as refused:
        load(flags, environ, file)
    return refused.value.mistakes


def test_links_come_from_two_options(tmp_path: Path) -> None:
    """They are empty by default. The exporter's has a flag, as in Prometheus."""
    assert load(environ=SINGLE).web.links == Links()
    file = tmp_path / "config.yml"
    file.write_text("grafana_url: https://grafana.example.org/")
    loaded = load({"web.external_url": "https://imports.example.org/"}, SINGLE, file)
    assert loaded.web.links == Links(
        external_url="https://imports.example.org", grafana_url="https://grafana.example.org"
    )
    assert notation.flag(("web", "external_url")) in OPTION_FLAGS
    assert notation.flag(("grafana_url",)) not in OPTION_FLAGS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a configuration file that the test writes."""
    return tmp_path / "config.yml"


def test_three_variables_are_enough() -> None:
    """The workspace is named after its host. All else has a default."""
    loaded = load(environ=SINGLE)
    acme = loaded.workspaces["chat.example.org"]
    assert list(loaded.workspaces) == ["chat.example.org"]
    assert acme.target.url == acme.url.get_secret_value() == "https://chat.example.org"
    assert (acme.credentials.load().user_id, acme.credentials.load().auth_token) == ("u", "t")
    assert (acme.timeout, acme.max_response_bytes, acme.proxy_url) == (10, 8 * 1024 * 1024, None)
    assert (acme.target.poll_interval, acme.target.poll_interval_idle, acme.target.stale_after) == (15, 30, None)
    assert acme.target.apis == frozenset(Api)
    assert (loaded.web.listen, loaded.log.level, loaded.log.format) == (
        Listen(host="127.0.0.1", port=19458),
        "info",
        "logfmt",
    )


@pytest.mark.parametrize(
    ("flags", "environ", "file_text", "port"),
    [
        ({}, {}, "timeout: 1s", 1),
        ({}, {}, "web: {listen_address: ':2'}", 2),
        ({}, {"WEB__LISTEN_ADDRESS": ":3"}, "web: {listen_address: ':2'}", 3),
        ({"web.listen_address": ":4"}, {"WEB__LISTEN_ADDRESS": ":3"}, "web: {listen_address: ':2'}", 4),
    ],
    ids=["the image's", "the file's", "the variable's", "the flag's"],
)
def test_the_image_s_listen_address_yields_to_every_other(
    file: Path, flags: Mapping[str, str], environ: Mapping[str, str], file_text: str, port: int
) -> None:
    """An ordinary variable would win over the file, and the port in the file would be dead."""
    file.write_text(file_text)
    loaded = load(flags, {**SINGLE, **environ, "WEB__DEFAULT_LISTEN_ADDRESS": ":1"}, file)
    assert loaded.web.listen == Listen(host="", port=port)


def test_an_empty_default_leaves_the_programs_own() -> None:
    loaded = load(environ={**SINGLE, "WEB__DEFAULT_LISTEN_ADDRESS": ""})
    assert loaded.web.listen == Listen(host="127.0.0.1", port=19458)
    (wrong,) = mistakes(environ={**SINGLE, "WEB__DEFAULT_LISTEN_ADDRESS": "19458"})
    assert wrong.endswith("(from environment variable RC_IMPORT_EXPORTER_WEB__DEFAULT_LISTEN_ADDRESS)")


def test_flags_precede_the_environment_and_that_the_file_key_by_key(file: Path) -> None:
    """Each source may set options that the others do not set."""
    file.write_text(
        "log: {level: error, format: json}\npoll_interval: 1s\ntimeout: 1s\nmax_response_bytes: 1KiB\n"
        "labels: {team: file, tenant: file}\n" + ACME + ", expect: {longest_run: 1h, success_every: 1d}}}\n"
    )
    loaded = load(
        {"poll_interval": "3s", "workspaces.acme.expect.success_every": "3d"},
        {"POLL_INTERVAL": "2s", "TIMEOUT": "2s", "LABELS__TEAM": "environment", "LOG__LEVEL": "debug"},
        file,
    )
    acme = loaded.workspaces["acme"]
    assert (acme.target.poll_interval, acme.timeout, acme.max_response_bytes) == (3, 2, 1024)
    assert acme.target.labels == {"team": "environment", "tenant": "file"}
    assert (acme.target.expect.longest_run, acme.target.expect.success_every) == (3600, 259_200)
    assert (loaded.log.level, loaded.log.format) == ("debug", "json")


def test_a_workspace_s_own_precedes_what_the_top_level_says_for_all(file: Path) -> None:
    """It has priority even over a flag for all workspaces."""
    file.write_text(
        "labels: {team: all, tenant: all}\ntls: {server_name: all.example.org}\n"
        + ACME
        + ", labels: {team: own, tenant: ''}, timeout: 5s, apis: [info, import.status], tls: {verify: no}}}\n"
    )
    acme = load({"timeout": "3s", "poll_interval": "2s"}, file=file).workspaces["acme"]
    assert acme.target.labels == {"team": "own"}
    assert (acme.timeout, acme.target.poll_interval) == (5, 2)
    assert acme.target.apis == {Api.INFO, Api.STATUS}
    assert (acme.tls.server_name, acme.tls.verify, acme.tls.option) == ("all.example.org", False, "workspaces.acme.tls")


def test_workspaces_can_be_made_of_variables_alone() -> None:
    """Names become lower case. They may contain characters that a shell does not allow in variables."""
    for name in ("ACME", "CHAT.EXAMPLE.ORG", "a-b_1"):
        given = {f"WORKSPACES__{name}__{key}": value for key, value in SINGLE.items()}
        given[f"WORKSPACES__{name}__EXPECT__SUCCESS_EVERY"] = "1d"
        (workspace,) = load(environ=given).workspaces.values()
        assert workspace.target.name == name.lower()
        assert workspace.target.expect.success_every == 86_400


def test_every_origin_is_kept(file: Path) -> None:
    """A command can then say where each option came from."""
    file.write_text("timeout: 5s\n" + ACME + "}}\n")
    loaded = load({"workspaces.acme.user_id": "v"}, {"LOG__LEVEL": "info"}, file)
    assert {setting.option: setting.origin for setting in loaded.given} == {
        "config.file": "flag --config.file",
        "log.level": "environment variable RC_IMPORT_EXPORTER_LOG__LEVEL",
        "timeout": f"{file} line 1",
        "workspaces.acme.auth_token": f"{file} line 2",
        "workspaces.acme.url": f"{file} line 2",
        "workspaces.acme.user_id": "flag --workspaces.acme.user-id",
    }


def test_a_url_s_password_is_used_and_never_shown() -> None:
    """It is for a proxy in front of the workspace. It is not published."""
    workspace = single(URL="https://user:p4ss@Chat.Example.org:8443/chat/", PROXY_URL="http://me:s3cr@proxy:3128")
    assert workspace.url.get_secret_value() == "https://user:p4ss@chat.example.org:8443/chat"
    assert workspace.target.url == "https://chat.example.org:8443/chat"
    assert workspace.proxy_url is not None
    assert workspace.proxy_url.get_secret_value() == "http://me:s3cr@proxy:3128"
    assert "p4ss" not in repr(workspace)
    assert "s3cr" not in repr(workspace)


def test_secret_files_are_found_beside_the_file_that_names_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a variable is relative to the working directory."""
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets" / "token").write_text("from-file\n")
    file.write_text("workspaces: {acme: {url: 'http://a', user_id: u, auth_token_file: secrets/token}}")
    assert load(file=file).workspaces["acme"].credentials.load().auth_token == "from-file"
    monkeypatch.chdir(file.parent / "secrets")
    by_variable = {"URL": "http://a", "USER_ID": "u", "AUTH_TOKEN_FILE": "token"}
    assert load(environ=by_variable).workspaces["a"].credentials.load().auth_token == "from-file"


def test_a_label_whose_name_looks_like_a_file_keeps_its_value(file: Path) -> None:
    """Only options can name files."""
    file.write_text("labels: {import_file: march}\n" + ACME + "}}\n")
    assert load(file=file).workspaces["acme"].target.labels == {"import_file": "march"}


def test_yaml_s_own_ideas_of_words_and_numbers_change_no_secret(file: Path) -> None:
    """YAML reads `yes`, `0123`, `1e5` and `1:30` as other values."""
    for written in ("yes", "0123", "1e5", "1:30", "2024-01-01", "1_000"):
        file.write_text(f"workspaces:\n  acme:\n    url: http://a\n    user_id: {written}\n    auth_token: {written}\n")
        assert load(file=file).workspaces["acme"].credentials.load().auth_token == written


def test_an_empty_variable_counts_as_unset(file: Path) -> None:
    """Compose files and charts set empty variables for options without a value."""
    assert single(AUTH_TOKEN_FILE="", POLL_INTERVAL="", CONFIG__FILE="").target.poll_interval == 15
    file.write_text("timeout: 3s\n" + ACME + "}}\n")
    assert load(environ={"TIMEOUT": ""}, file=file).workspaces["acme"].timeout == 3


def test_a_key_without_a_value_counts_as_unset(file: Path) -> None:
    """Prometheus does the same."""
    file.write_text("tls:\nlog:\n  level:\n" + ACME + ", timeout: null, labels: ~}}\n")
    assert load(file=file).workspaces["acme"].timeout == 10


def test_nothing_configured_says_how_to_start() -> None:
    """The first line that a new user sees says what to set."""
    (line,) = mistakes()
    for word in (
        "RC_IMPORT_EXPORTER_URL",
        "RC_IMPORT_EXPORTER_USER_ID",
        "RC_IMPORT_EXPORTER_AUTH_TOKEN",
        "--config.file",
    ):
        assert word in line


def test_an_empty_file_configures_nothing(file: Path) -> None:
    """A file with only comments is empty too."""
    for text in ("# nothing yet\n", "---\n", "{}\n", "workspaces: {}\n", "\ufeff# with a byte order mark\n"):
        file.write_text(text)
        assert mistakes(file=file)[0].startswith("workspaces: none is configured;")


def test_what_a_workspace_lacks_is_told_with_the_variable_to_set(file: Path) -> None:
    """All three are named at once, with the line of the workspace."""
    file.write_text("workspaces:\n  acme:\n")
    told = mistakes(file=file)
    assert [line.split(":")[0] for line in told] == [
        f"workspaces.acme.{key}" for key in ("url", "user_id", "auth_token")
    ]
    for line, key in zip(told, SINGLE, strict=True):
        assert f"{PREFIX}WORKSPACES__ACME__{key}" in line
        assert line.endswith(f"(from {file} line 2)")
    assert mistakes(environ={"USER_ID": "u", "AUTH_TOKEN": "t"}) == (
        "url: is missing; set it in the file, or RC_IMPORT_EXPORTER_URL in the environment",
    )


@pytest.mark.parametrize("secret", ["user_id", "auth_token"])
def test_a_secret_given_both_ways_is_a_mistake(secret: str, file: Path) -> None:
    """It is not clear which one counts. The line names both."""
    (file.parent / "secret").write_text("x")
    file.write_text(ACME + "}}")
    (line,) = mistakes({f"workspaces.acme.{secret}_file": str(file.parent / "secret")}, file=file)
    assert line.startswith(f"workspaces.acme.{secret}_file: is set beside workspaces.acme.{secret} ({file} line 1)")
    assert line.endswith(f"(from flag --workspaces.acme.{secret.replace('_', '-')}-file)")


def test_one_workspace_s_options_do_not_stand_beside_workspaces(file: Path) -> None:
    """A URL or a token cannot be a default for all workspaces."""
    file.write_text(ACME + "}}")
    assert mistakes(environ=SINGLE, file=file) == tuple(
        f"{key.lower()}: belongs to one workspace; unset it, or set workspaces.NAME.{key.lower()} instead "
        f"(from environment variable {PREFIX}{key})"
        for key in SINGLE
    )


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("poll_interval", ["1s", "1h", "15", "1m30s"], ["0.9", "61m", "x", "15 s", "-1", "", "nan", "9" * 5000]),
        ("poll_interval_idle", ["1s", "1h"], ["0s", "3601"]),
        ("stale_after", ["90s", "1d"], ["0", "never"]),
        ("timeout", ["100ms", "5m", "0.1"], ["99ms", "301"]),
        ("max_response_bytes", ["1024", "1KiB", "1GiB", "8 MiB"], ["1023", "2GiB", "8MB", "-1", "1.5MiB", "9" * 5000]),
        ("expect.success_every", ["1d"], ["daily", "0"]),
        ("expect.longest_run", ["2h"], ["0"]),
        ("expect.failed_ratio", ["0", "1", "0.05", "1.0", ".5"], ["1.01", "-0.1", "5%", "nan", "inf", "1e-1", "."]),
        ("expect.min_records", ["0", "5000"], ["-1", "1.5", "9" * 5000]),
        ("expect.importer", ["slack-users", "omnichannel_contact"], ["", "a b"]),
        ("tls.verify", ["true", "no", "OFF", "1"], ["maybe", "2", ""]),
        ("tls.server_name", ["chat.internal"], ["", "a b", "-x"]),
        ("proxy_url", ["http://proxy:3128", "https://u:p@proxy/"], ["proxy:3128", "socks5://p", "http://p/path"]),
        (
            "apis",
            ["import.status", "getLatestImportOperations, info"],
            ["", "info", "import.progress", "import.status,"],
        ),
        ("labels.team", ["a", "ä ö", ""], ["two\nlines", "\x00"]),
        ("log.level", ["debug", "error"], ["INFO", "trace", ""]),
        ("log.format", ["json"], ["xml"]),
        (
            "web.listen_address",
            [":0", "[::1]:0", "localhost:9", "0.0.0.0:19458"],
            ["19458", "::1:9", "a:65536", "[x]:1", ""],
        ),
        (
            "url",
            ["http://a", "HTTPS://A:1/b/"],
            ["a", "ftp://a", "http://", "http://a?b", "http://a:0", "http://a b", ""],
        ),
        ("user_id", ["abc"], ["a b", "ü", ""]),
        ("auth_token", ["abc"], ["a b", "a\nb", "ü", "tail ", ""]),
    ],
)
def test_each_option_keeps_to_its_bounds(option: str, good: list[str], bad: list[str]) -> None:
    """Allowed values load. For others, the message names the option and its flag."""
    for value in good:
        load({option: value}, {key: SINGLE[key] for key in SINGLE if key.lower() != option})
    for value in bad:
        given = {key: SINGLE[key] for key in SINGLE if key.lower() != option}
        (line,) = mistakes({option: value}, given)
        assert line.startswith((f"{option}: must ", f"{option}: is empty")), line
        assert line.endswith(f"(from flag {notation.flag(tuple(option.split('.')))})")


@pytest.mark.parametrize("label", [*sorted(RESERVED_LABELS), "__x"])
def test_a_label_that_scrape_configurations_attach_is_refused(label: str) -> None:
    """Prometheus would rename it to `exported_…`, and the rules would not work."""
    (line,) = mistakes({f"labels.{label}": "x"}, SINGLE)
    assert line.startswith(f"labels.{label}: must have a label's name")


@pytest.mark.parametrize("name", ["Acme", "-a", "a b", "ä", "a/b"])
def test_a_workspace_s_name_is_fit_for_a_path_and_a_variable(file: Path, name: str) -> None:
    """It has lower-case letters, digits, dots, dashes and underscores."""
    file.write_text(f"workspaces: {{'{name}': {{url: 'http://a', user_id: u, auth_token: t}}}}")
    (line,) = mistakes(file=file)
    assert "must be a workspace's name: [a-z0-9][a-z0-9._-]*" in line


@pytest.mark.parametrize(
    ("text", "option", "meant"),
    [
        ("pol_interval: 1s", "pol_interval", "poll_interval"),
        ("web: {listen_adress: x}", "web.listen_adress", "web.listen_address"),
        ("expect: {sucess_every: 1d}", "expect.sucess_every", "expect.success_every"),
        ("workspace: {}", "workspace", "workspaces"),
        ("exepct: {success_every: 1d}", "exepct", "expect"),
        ("labls: {team: x}", "labls", "labels"),
        ("web: {frobnicate: }", "web.frobnicate", None),
    ],
)
def test_a_misspelt_key_is_named_at_every_level(file: Path, text: str, option: str, meant: str | None) -> None:
    """The message has the line, and a suggestion if an option is similar."""
    file.write_text(f"{text}\n{ACME}}}}}\n")
    (line,) = mistakes(file=file)
    assert line == f"{option}: no such option{f'; did you mean {meant}?' if meant else ''} (from {file} line 1)"


def test_a_misspelt_key_of_a_workspace_is_named(file: Path) -> None:
    """The workspace's name may have dots."""
    file.write_text(
        "workspaces:\n  a.b:\n    url: http://a\n    user_id: u\n    auth_token: t\n    tls:\n      verfy: yes\n"
    )
    assert mistakes(file=file) == (
        f"workspaces.a.b.tls.verfy: no such option; did you mean workspaces.a.b.tls.verify? (from {file} line 7)",
    )


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    """They are of every kind and from every source."""
    file.write_text("poll_interval: fast\n" + ACME + ", tls: {ca_file: missing.pem}}, other: {url: 'http://b'}}\n")
    told = mistakes({"log.level": "loud"}, {"AUTH_TOKN": "x"}, file)
    starts = [
        "environment variable RC_IMPORT_EXPORTER_AUTH_TOKN",
        "workspaces.other.user_id",
        "workspaces.other.auth_token",
    ]
    starts += ["log.level", "poll_interval", "workspaces.acme.tls.ca_file"]
    assert len(told) == len(starts)
    assert all(any(line.startswith(f"{start}: ") for line in told) for start in starts)


def test_a_list_or_a_word_in_the_place_of_options_is_a_mistake(file: Path) -> None:
    """It is a mistake even if a variable overrides it."""
    for text in ("workspaces: [acme]", "workspaces: acme", "tls: 5", "labels: [a]", "web: x", "workspaces: {acme: 5}"):
        file.write_text(text)
        told = mistakes(environ={f"WORKSPACES__ACME__{key}": value for key, value in SINGLE.items()}, file=file)
        assert told[0].endswith(f"must be a mapping of options (from {file} line 1)"), text
    file.write_text("timeout: [1]\nlog: {level: {a: b}}\n" + ACME + "}}\n")
    assert len([line for line in mistakes(file=file) if "must be one value" in line]) == 2


def test_a_file_cannot_name_a_file(file: Path) -> None:
    """One file is enough to search."""
    file.write_text(f"config: {{file: {file}}}\n{ACME}}}}}\n")
    assert mistakes(file=file) == (f"config.file: cannot be set in the file itself (from {file} line 1)",)
    file.write_text(f"config: {{auto_reload: true}}\n{ACME}}}}}\n")
    assert load(file=file).auto_reload


def test_a_file_that_cannot_be_read_is_the_only_mistake(tmp_path: Path) -> None:
    """Options that may be in the file are not reported as missing."""
    assert mistakes({"config.file": str(tmp_path / "no.yml")}) == (
        f"config.file: {tmp_path / 'no.yml'} does not exist",
    )


@pytest.mark.parametrize(
    "option", ["url", "user_id", "user_id_file", "auth_token", "auth_token_file", "proxy_url", "apis"]
)
def test_no_mistake_shows_a_value(option: str) -> None:
    """The value may be a secret, in its own place or in a wrong one."""
    for value in (
        f"{SECRET} x",
        f"/{SECRET} ",
        f"http://u:{SECRET}@:9 ",
        f"ftp://u:{SECRET}@h ",
        f"é{SECRET}",
        f"{SECRET}\n",
    ):
        given = {key: SINGLE[key] for key in SINGLE if not option.startswith(key.lower())}
        assert SECRET not in "\n".join(mistakes({option: value}, given))


@pytest.mark.parametrize(
    "text",
    [
        f"auth_token:{SECRET}",
        f"{SECRET}: x",
        f"workspaces: {{acme: {{auth_token:{SECRET}}}}}",
        f"auth_token: *{SECRET}",
        f"auth_token: !{SECRET}",
        f"auth_token: !{SECRET} x",
        f"auth_token: '{SECRET}",
        f"auth_token: @{SECRET}",
        f"auth_token: {{{SECRET}: {{}}}}",
        f"workspaces: {{{SECRET}: }}",
        f"workspaces: {{acme: {SECRET}}}",
        f"tls: {SECRET}",
        f"log: {{level: {SECRET}}}",
        f"expect: {{importer: '{SECRET}!'}}",
        f"{SECRET}\n",
        f"- {SECRET}",
    ],
)
def test_no_mistake_quotes_the_file(file: Path, text: str) -> None:
    """Without a blank or a quote, a token becomes a key, an alias or a tag."""
    file.write_text(text)
    assert SECRET not in "\n".join(mistakes(file=file))


def test_a_key_without_its_certificate_is_a_mistake(tmp_path: Path) -> None:
    """The certificate may come from the top level."""
    ca = trustme.CA()
    issued = ca.issue_cert("client@example.org")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    (line,) = mistakes({"tls.key_file": key}, SINGLE)
    assert line.startswith("tls.key_file: needs tls.cert_file")
    assert isinstance(single({"tls.key_file": key, "tls.cert_file": cert}).tls.context(), ssl.SSLContext)
    own = {f"WORKSPACES__ACME__{name}": value for name, value in {**SINGLE, "TLS__KEY_FILE": key}.items()}
    assert load({"tls.cert_file": cert}, own).workspaces["acme"].tls.cert_file == cert


def test_a_file_that_holds_no_certificate_is_a_mistake(tmp_path: Path) -> None:
    """It is found before the first request, once for all workspaces that use it."""
    (tmp_path / "ca.pem").write_text("not a certificate")
    given = {f"WORKSPACES__{name}__{key}": value for name in ("A", "B") for key, value in SINGLE.items()}
    (line,) = mistakes({"tls.ca_file": str(tmp_path / "ca.pem")}, given)
    assert line == f"workspaces.a.tls.ca_file: {tmp_path / 'ca.pem'} must hold certificates in PEM form"


def test_every_option_can_be_written_in_two_ways() -> None:
    """Both are read as the same path."""
    for option in OPTIONS:
        path = tuple("team" if key == "*" else key for key in option.path)
        for one in (path, ("workspaces", "acme", *path)) if option.each else (path,):
            assert DOTTED.read(DOTTED.write(one)) == one
            assert VARIABLE.read(VARIABLE.write(one)) == one


def test_every_option_is_described() -> None:
    """Help, tables and messages use the description."""
    assert len({option.path for option in OPTIONS}) == len(OPTIONS)
    for option in OPTIONS:
        assert option.help.endswith(".")
        assert option.value.allowed
        assert option.value.metavar


def test_the_defaults_that_are_shown_are_the_ones_in_force() -> None:
    """If all defaults are given, nothing changes."""
    shown = {DOTTED.write(option.path): option.default for option in OPTIONS if option.default}
    assert load(shown, SINGLE).workspaces == load(environ=SINGLE).workspaces
    assert len(shown) == 11
