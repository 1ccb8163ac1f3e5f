"""A YAML file is read exactly, or refused in one line that does not quote it."""

from pathlib import Path

import pytest

from rc_import_exporter.config import yaml_file
from rc_import_exporter.config.layer import Layer
from tests.support.commands import run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a file that the test writes."""
    return tmp_path / "config.yml"


def read(file: Path, content: str | bytes) -> Layer:
    """What is read from a file with this text."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return yaml_file.read(str(file))


def test_every_value_stays_the_text_that_it_is(file: Path) -> None:
    """The option decides what the text means."""
    layer = read(file, "a: yes\nb: 012\nc: '~'\nd: ~\ne:\nf: [1, null]\ng: !!str 5\n")
    expected = {"a": "yes", "b": "012", "c": "~", "d": None, "e": None, "f": ["1", None], "g": "5"}
    assert layer.values == {(key,): value for key, value in expected.items()}


def test_every_key_knows_its_line(file: Path) -> None:
    """Groups have lines too."""
    layer = read(file, "tls:\n  verify: no\n")
    assert layer.origins == {("tls",): f"{file} line 1", ("tls", "verify"): f"{file} line 2"}


def test_a_key_twice_is_a_mistake(file: Path) -> None:
    """Other readers of YAML silently use the last one."""
    for text in ("timeout: 1s\nurl: x\ntimeout: 2s\n", "url: x\ntimeout: 1s\n'timeout': 2s\n"):
        assert read(file, text).mistakes == [f"timeout: is set twice (from {file} line 3)"]


def test_a_byte_order_mark_is_no_part_of_the_first_key(file: Path) -> None:
    """Some editors write one."""
    assert read(file, "\ufefftimeout: 1s\n").values == {("timeout",): "1s"}


def test_an_alias_means_what_it_points_at(file: Path) -> None:
    """Aliases are for values that several workspaces share."""
    layer = read(file, "tls: &ours {verify: no}\nworkspaces: {a: {tls: *ours}}\n")
    assert layer.values == {("tls", "verify"): "no", ("workspaces", "a", "tls", "verify"): "no"}


@pytest.mark.parametrize("content", ["a: ä".encode("latin-1"), "a: b".encode("utf-16"), b"\xff\xfe"])
def test_what_is_not_utf_8_is_refused(file: Path, content: bytes) -> None:
    """With a guessed encoding, a secret could change."""
    assert read(file, content).mistakes == [f"config.file: {file} must be UTF-8"]


@pytest.mark.parametrize("content", ["- a\n", "word\n", "[]\n"])
def test_a_document_that_is_no_mapping_is_refused(file: Path, content: str) -> None:
    """Examples are a list and a single word."""
    assert read(file, content).mistakes == [
        f"config.file: {file} must hold a mapping of options, not a list or one value"
    ]


@pytest.mark.parametrize(
    "content",
    [
        *("a: b: c\n", "a: 'x\n", "a: [1\n", "a: @x\n", "a: *x\n", "a: 1\n---\nb: 2\n", "a: \x00\n", "a: \x07\n"),
        *("[" * 5000, "a: !x y\n", "a: &x [*x]\n", "? [a]\n: b\n", "{" * 50 + "}" * 50),
    ],
)
def test_what_cannot_be_understood_is_one_line(file: Path, content: str) -> None:
    """The parser's exceptions must not become tracebacks."""
    (mistake,) = read(file, content).mistakes
    assert str(file) in mistake
    assert "\n" not in mistake


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_without_end_does_not_end_the_process(file: Path, opening: str) -> None:
    """The test uses another process, because libyaml could overflow the stack of C."""
    file.write_text(opening * 100_000)
    ended = run("check", "--config-only", f"--config.file={file}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"config.file: {file} must be YAML without control characters and without deep nesting" in ended.stderr


def test_tabs_are_called_by_their_name(file: Path) -> None:
    """Tabs are invisible."""
    (mistake,) = read(file, "a:\n\tb: c\n").mistakes
    assert mistake == f"config.file: {file} line 2, column 1: is not YAML: indent with spaces, not with tabs"


def test_a_few_lines_cannot_mean_billions_of_values(file: Path) -> None:
    """The number of values from aliases is limited."""
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
    )
    (mistake,) = read(file, bomb).mistakes
    assert "is nested too deeply or repeated too often" in mistake


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The message names the option."""
    assert yaml_file.read(str(tmp_path / "no.yml")).mistakes == [f"config.file: {tmp_path / 'no.yml'} does not exist"]
