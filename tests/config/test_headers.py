"""Further headers of requests: each value is given or in a file, and is never shown."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rc_import_exporter.config import settings
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.errors import ConfigurationError

SECRET = "s3cret-of-a-g4teway"
ACME = {"workspaces": {"acme": {"url": "https://acme.example.org", "user_id": "u", "auth_token": "t"}}}


def load(file: Path, content: str) -> Settings:
    """The settings of a file with this content, and of a workspace `acme`."""
    file.write_text(content, encoding="utf-8")
    given = {f"workspaces.acme.{name}": value for name, value in ACME["workspaces"]["acme"].items()}
    return settings.load({"config.file": str(file), **given}, {})


def headers(loaded: Settings) -> Mapping[str, str]:
    """The further headers of the workspace."""
    return loaded.workspaces["acme"].credentials.load().headers


def mistakes(file: Path, content: str) -> str:
    """What is wrong with this content."""
    with pytest.raises(ConfigurationError) as refused:
        load(file, content)
    assert SECRET not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration's file, beside a file with a secret."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return tmp_path / "config.yml"


def test_values_are_given_or_in_files(file: Path) -> None:
    """A service token of a gateway is a pair, and only one half of it is a secret."""
    loaded = load(file, "headers: {CF-Access-Client-Id: a.access}\nheaders_file: {CF-Access-Client-Secret: secret}\n")
    assert headers(loaded) == {"CF-Access-Client-Id": "a.access", "CF-Access-Client-Secret": SECRET}
    assert SECRET not in repr(loaded)
    shown = {each.option: each.value for each in loaded.given}
    assert shown["headers.CF-Access-Client-Id"] == "********"


def test_a_workspace_s_own_header_comes_first(file: Path) -> None:
    """Names ignore upper and lower case, and a file can replace a value that is given."""
    own = "workspaces: {acme: {headers_file: {x-gate: secret}}}"
    assert headers(load(file, f"headers: {{X-Gate: all, X-More: one}}\n{own}")) == {"x-gate": SECRET, "X-More": "one"}


def test_a_variable_sets_a_header(file: Path) -> None:
    """Its name is in lower case then, which is the same to HTTP."""
    variables = {"RC_IMPORT_EXPORTER_WORKSPACES__ACME__HEADERS__X-GATE": SECRET}
    given = {f"workspaces.acme.{name}": value for name, value in ACME["workspaces"]["acme"].items()}
    assert headers(settings.load(given, variables)) == {"x-gate": SECRET}


@pytest.mark.parametrize(
    "name",
    [
        *("X-Auth-Token", "x-user-id", "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Connection"),
        *("Accept", "Accept-Encoding", "Proxy-Authorization", "If-None-Match", "Range", "Expect", "Upgrade", "TE"),
        *("a b", "naïve", "x:y"),
    ],
)
@pytest.mark.parametrize("group", ["headers", "headers_file"])
def test_the_exporter_s_own_headers_cannot_be_replaced(file: Path, group: str, name: str) -> None:
    """Another token, host or length would break requests or send them to somebody else."""
    told = mistakes(file, f"{group}: {{'{name}': secret}}")
    assert "must have a header's name, none of x-auth-token" in told


@pytest.mark.parametrize(("value", "wrong"), [(" ", "is empty"), ("a\\r\\nX-Evil: b", "U+000D"), ("ü", "U+00FC")])
def test_a_value_that_cannot_be_sent_is_named(file: Path, value: str, wrong: str) -> None:
    assert wrong in mistakes(file, f'headers: {{X-Gate: "{value}"}}')


def test_a_header_that_is_set_twice_is_a_mistake(file: Path) -> None:
    """Which one counts would be a guess."""
    assert "is set twice" in mistakes(file, "headers: {X-Gate: a, x-gate: b}")
    assert "is set twice" in mistakes(file, "headers: {X-Gate: a}\nheaders_file: {X-Gate: secret}")
    assert "is set twice" in mistakes(
        file, "workspaces: {acme: {headers: {X-Gate: a}, headers_file: {x-gate: secret}}}"
    )


def test_a_url_s_password_and_an_authorization_exclude_each_other(tmp_path: Path) -> None:
    """Both are the same header."""
    given = {"url": "https://mon:pw@acme.example.org", "user_id": "u", "auth_token": "t"}
    variables = {"RC_IMPORT_EXPORTER_HEADERS__AUTHORIZATION": f"Bearer {SECRET}"}
    with pytest.raises(ConfigurationError, match=r"^headers.authorization: the name and password in url are sent"):
        settings.load(given, variables)
    plain = {**given, "url": "https://acme.example.org"}
    (workspace,) = settings.load(plain, variables).workspaces.values()
    assert workspace.credentials.load().headers == {"authorization": f"Bearer {SECRET}"}


def test_a_missing_file_is_followed_until_it_is_there(file: Path) -> None:
    """A reload that failed because of it is tried again when it appears."""
    with pytest.raises(ConfigurationError) as refused:
        load(file, "headers_file: {X-Gate: missing}")
    assert str(file.parent / "missing") in refused.value.files
    assert str(file) in refused.value.files
