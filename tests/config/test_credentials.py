"""Credentials come from values and files. A change is noticed, and no secret is shown."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rc_import_exporter.config.credentials import LARGEST, Credentials, File, Given, Source, read
from rc_import_exporter.errors import CredentialsError

USER_ID = "ghJk3LmN5pQr7StUv"
TOKEN = "Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Zt0k3n-Zt0k3n_Z"


def source(token: Path) -> Source:
    """A user id as a value, and a token in this file."""
    return Source(
        user_id=Given(option="workspaces.acme.user_id", value=USER_ID),
        auth_token=File(option="workspaces.acme.auth_token_file", path=str(token)),
    )


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file with a token and a line end, as editors write it."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def unreadable(token: Path) -> Iterator[Path]:
    """The file without permission to read it. The test runs as another user than root, who may read everything."""
    token.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield token
    os.seteuid(before)


@pytest.mark.parametrize("start", ["", "\ufeff", " ", "\n", "\ufeff\t"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", " ", "\t\n", "\u00a0"])
def test_blanks_line_ends_and_a_bom_around_a_secret_in_a_file_are_no_part_of_it(
    token: Path, start: str, end: str
) -> None:
    """Editors, `echo` and copying from a web page add them; servers would refuse the token."""
    token.write_text(start + TOKEN + end, encoding="utf-8")
    loaded = source(token).load()
    assert (loaded.user_id, loaded.auth_token) == (USER_ID, TOKEN)


def test_no_representation_shows_a_secret_or_a_file(token: Path) -> None:
    """A traceback or a debugger may print these objects."""
    given = Source(user_id=Given(option="user_id", value=USER_ID), auth_token=Given(option="auth_token", value=TOKEN))
    shown = repr((given, given.load(), source(token)))
    assert USER_ID not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize(
    "wrong", ["two words", "tab\tinside", "a\nb", "bell\a", "tökén", "b\ufeffom", "zero\u200bwidth"]
)
def test_a_secret_that_no_header_can_carry_is_refused_by_name_alone(token: Path, wrong: str) -> None:
    """Every request would fail, or contain another header. The message names option and file."""
    token.write_text(wrong)
    with pytest.raises(CredentialsError) as refused:
        source(token).load()
    assert "workspaces.acme.auth_token_file" in str(refused.value)
    assert str(token) in str(refused.value)
    assert wrong not in str(refused.value)
    with pytest.raises(CredentialsError, match=r"^auth_token: must be printable ASCII"):
        Given(option="auth_token", value=wrong).load()


@pytest.mark.parametrize(
    ("secret", "named"),
    [
        ("two words", "character 4 is U+0020 (space)"),
        ("tökén", "character 2 is U+00F6 (latin small letter o with diaeresis)"),
        ("zero\u200bwidth", "character 5 is U+200B (zero width space)"),
        ("a\nb", "character 2 is U+000A (a control character)"),
        ('"quoted"', "must not have quotes around it"),
        ("'quoted'", "must not have quotes around it"),
    ],
)
def test_what_is_wrong_with_a_secret_is_named(token: Path, secret: str, named: str) -> None:
    """An invisible character is found only by its name, and `docker --env-file` keeps quotes without a word."""
    with pytest.raises(CredentialsError) as refused:
        Given(option="auth_token", value=secret).load()
    assert named in str(refused.value)
    token.write_text(secret, encoding="utf-8")
    with pytest.raises(CredentialsError) as refused:
        source(token).load()
    assert named in str(refused.value)


def test_an_empty_file_is_no_secret(token: Path) -> None:
    """A file with only a line end is empty too."""
    token.write_text("")
    with pytest.raises(CredentialsError, match="is empty"):
        source(token).load()
    token.write_text("\n")
    with pytest.raises(CredentialsError, match="is empty"):
        source(token).load()


def test_a_missing_file_is_told_with_its_option(tmp_path: Path) -> None:
    """The reader needs to know which option to change and which file is missing."""
    missing = tmp_path / "missing"
    with pytest.raises(CredentialsError) as refused:
        source(missing).load()
    assert str(refused.value) == f"workspaces.acme.auth_token_file: {missing} does not exist"


def test_a_folder_a_pipe_and_a_large_file_are_refused(tmp_path: Path, token: Path) -> None:
    """To read a pipe would block, or give nothing the second time."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    token.write_text("x" * (LARGEST + 1))
    for file, wrong in ((tmp_path, "not a regular file"), (pipe, "not a regular file"), (token, "larger than")):
        with pytest.raises(CredentialsError, match=wrong):
            source(file).load()


@pytest.mark.timeout(20)
def test_a_pipe_that_takes_the_place_of_a_file_does_not_block(tmp_path: Path, token: Path) -> None:
    """Whoever may write to the folder could stop all polls."""
    (tmp_path / "regular").write_text("fresh\n")
    os.mkfifo(tmp_path / "pipe")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for name in ("pipe", "regular"):
                (tmp_path / "next").symlink_to(name)
                (tmp_path / "next").replace(token)

    before = read(str(token))
    swapping = threading.Thread(target=swap)
    swapping.start()
    results: dict[str, int] = {}
    while min(results.get(each, 0) for each in ("fresh", "is not a regular file")) < 500:
        try:
            result = read(str(token))
        except ValueError as error:
            result = str(error).removeprefix(f"{token} ")
        results[result] = results.get(result, 0) + 1
    over.set()
    swapping.join()
    assert set(results) - {before} == {"fresh", "is not a regular file"}


def test_a_file_that_may_not_be_read_is_told_apart_from_a_missing_one(unreadable: Path) -> None:
    """One needs other permissions, the other another path."""
    with pytest.raises(CredentialsError, match="no permission"):
        source(unreadable).load()


def test_a_token_in_the_place_of_its_file_is_not_shown() -> None:
    """This is the most frequent mistake with `…_file` options, and the token must not be in a log."""
    with pytest.raises(CredentialsError) as refused:
        source(Path("/etc") / TOKEN).load()
    assert TOKEN not in str(refused.value)


def test_nothing_has_changed_right_after_loading(token: Path) -> None:
    """An unchanged file is not read again."""
    assert not source(token).changed_since(source(token).load())


def test_a_rewritten_a_replaced_and_a_removed_file_have_changed(token: Path) -> None:
    """Tools rotate secrets in different ways."""
    for rotate in (lambda: token.write_text("other"), lambda: token.write_text("again!"), token.unlink):
        before = source(token).load()
        rotate()
        assert source(token).changed_since(before)


def test_a_kubernetes_secret_that_is_renewed_has_changed(tmp_path: Path) -> None:
    """The kubelet replaces the symlink to a folder. The symlink of the file stays the same."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "token").symlink_to("..data/token")
    before = source(tmp_path / "token").load()
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert source(tmp_path / "token").changed_since(before)
    assert source(tmp_path / "token").load().auth_token == "two"


def test_given_secrets_never_change() -> None:
    """Only files can change."""
    given = Source(user_id=Given(option="user_id", value="u"), auth_token=Given(option="auth_token", value="t"))
    assert not given.changed_since(given.load())


def test_credentials_are_equal_by_what_a_server_sees() -> None:
    """If a file has a new date but the same content, a new attempt is useless."""
    assert Credentials(user_id="u", auth_token="t", marks=((1, 2, 3), None)) == Credentials(user_id="u", auth_token="t")
    assert Credentials(user_id="u", auth_token="t") != Credentials(user_id="u", auth_token="other")
