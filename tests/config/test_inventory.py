"""Workspaces come from many files, and each of these files is judged by itself."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rc_import_exporter.config import settings
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.errors import ConfigurationError
from tests.support.commands import run

PREFIX = "RC_IMPORT_EXPORTER_"
OWN = "{url: 'https://%s.example.org', user_id: u, auth_token: t}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose `config.yml` names the files below `workspaces.d`."""
    (tmp_path / "workspaces.d").mkdir()
    (tmp_path / "config.yml").write_text("workspaces_files: [workspaces.d/*.yml]\n")
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    """Writes a file with workspaces."""
    path = folder / "workspaces.d" / name
    path.write_text(text)
    return path


def having(*names: str) -> str:
    """The text of a file with these workspaces."""
    return "".join(f"{name}: {OWN % name}\n" for name in names)


def load(folder: Path, last: Settings | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the folder. Variables are named without their prefix."""
    variables = {PREFIX + name: value for name, value in (environ or {}).items()}
    return settings.load({"config.file": str(folder / "config.yml")}, variables, last)


def mistakes(folder: Path, last: Settings | None = None) -> tuple[str, ...]:
    """The mistakes that keep the configuration, or the workspaces of some files, from being loaded."""
    try:
        refused = load(folder, last).refused
    except ConfigurationError as error:
        return error.mistakes
    assert refused is not None
    return refused.mistakes


def token_of(loaded: Settings, name: str) -> str:
    """The token of a workspace."""
    return loaded.workspaces[name].credentials.load().auth_token


def test_a_pattern_that_no_file_matches_is_told(folder: Path) -> None:
    """It is allowed, because files may come later. A folder with a typing error looks the same."""
    (folder / "config.yml").write_text("workspaces_files: [workspaces.d/*.yml, 'tenants.d/**/[ab].yml']\n")
    empty = f"workspaces_files: no file matches {folder / 'workspaces.d' / '*.yml'}"
    missing = f"workspaces_files: no file matches {folder / 'tenants.d' / '**' / '[ab].yml'}"
    assert list(load(folder).remarks) == [empty, f"{missing}; the folder {folder / 'tenants.d'} does not exist"]
    write(folder, "a.yml", having("acme"))
    (folder / "tenants.d").mkdir()
    assert list(load(folder).remarks) == [missing]


def test_each_matching_file_adds_its_workspaces(folder: Path) -> None:
    """A file has one workspace or more. Those of the main file count too. Files that do not match are ignored."""
    (folder / "config.yml").write_text(
        f"workspaces_files: [workspaces.d/*.yml, more.yml]\ntimeout: 7s\nworkspaces: {{main: {OWN % 'main'}}}\n"
    )
    write(folder, "a.yml", having("acme"))
    write(folder, "b.yml", having("beta", "gamma"))
    write(folder, "c.yml.bak", "not read: [")
    (folder / "more.yml").write_text(having("delta"))
    loaded = load(folder)
    assert set(loaded.workspaces) == {"main", "acme", "beta", "gamma", "delta"}
    assert {each.timeout for each in loaded.workspaces.values()} == {7}
    origins = {setting.option: setting.origin for setting in loaded.given}
    assert origins["workspaces.gamma.url"] == f"{folder / 'workspaces.d' / 'b.yml'} line 2"


def test_patterns_can_come_from_a_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commas separate the patterns. They are relative to the working directory. ** stands for any folders."""
    write(folder, "a.yml", having("acme"))
    (folder / "more.yml").write_text(having("beta"))
    monkeypatch.chdir(folder)
    loaded = settings.load({}, {f"{PREFIX}WORKSPACES_FILES": "**/a.yml,more.yml"})
    assert set(loaded.workspaces) == {"acme", "beta"}


def test_a_variable_can_set_one_option_of_a_workspace_in_a_file(folder: Path) -> None:
    """The rules are the same as for workspaces of the main file."""
    write(folder, "a.yml", having("acme"))
    assert load(folder, environ={"WORKSPACES__ACME__TIMEOUT": "3s"}).workspaces["acme"].timeout == 3


def test_no_file_is_no_mistake_unless_it_is_named_without_a_wildcard(folder: Path) -> None:
    """Tenants can come later, and the last one can leave."""
    assert load(folder).workspaces == {}
    (folder / "config.yml").write_text("workspaces_files: [workspaces.d/*.yml, tenants.yml]\n")
    missing = folder / "tenants.yml"
    assert mistakes(folder) == (f"workspaces_files: {missing} does not exist",)


@pytest.mark.parametrize("value", ["''", "['']", "[[a]]", "{a: b}", "a,,b"])
def test_what_is_no_pattern_is_one_line(folder: Path, value: str) -> None:
    (folder / "config.yml").write_text(f"workspaces_files: {value}\nworkspaces: {{main: {OWN % 'main'}}}\n")
    (line,) = mistakes(folder)
    assert line.startswith("workspaces_files")


WRONG = {
    "not YAML": ("acme: [", ["is not YAML"]),
    "a list": ("- acme\n", ["must hold a mapping of options"]),
    "empty": ("", ["is empty"]),
    "no mapping": ("acme: 5\n", ["workspaces.acme: must be a mapping of options"]),
    "a name": ("Acme!: {url: x}\n", ["workspaces.…: must be a workspace's name"]),
    "an option": ("acme: {url: 'http://a', user_id: u, auth_token: t, timeou: 1s}\n", ["did you mean"]),
    "a value": (
        "acme: {url: 'http://a', user_id: u, auth_token: t, timeout: never}\n",
        ["workspaces.acme.timeout: must"],
    ),
    "missing": ("acme: {user_id: u}\n", ["workspaces.acme.url: is missing", "workspaces.acme.auth_token: is missing"]),
    "a secret": ("acme: {url: 'http://a', user_id: u, auth_token_file: nowhere}\n", ["nowhere does not exist"]),
    "tls": (
        "acme: {url: 'http://a', user_id: u, auth_token: t, tls: {ca_file: b.yml}}\n",
        ["certificates in PEM form"],
    ),
    "twice": ("acme: {url: 'http://a', user_id: u, auth_token: t}\nacme: {}\n", ["workspaces.acme: is set twice"]),
    "option of all": ("poll_interval: 5s\n", ["workspaces.poll_interval: must be a mapping of options"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_in_a_file_names_it_and_keeps_only_its_own_workspaces_as_they_were(folder: Path, kind: str) -> None:
    """At the start this is an error, like each other mistake."""
    text, told = WRONG[kind]
    write(folder, "b.yml", having("beta"))
    broken = write(folder, "a.yml", having("acme", "other"))
    first = load(folder)
    broken.write_text(text)
    lines = mistakes(folder)
    write(folder, "b.yml", having("beta", "gamma"))
    loaded = load(folder, first)
    assert set(loaded.workspaces) == {"acme", "other", "beta", "gamma"}
    assert loaded.workspaces["acme"] == first.workspaces["acme"]
    assert loaded.refused is not None
    assert loaded.refused.in_part
    assert loaded.refused.mistakes == lines
    assert all(any(part in line for line in lines) for part in told)
    assert all(str(broken) in line for line in lines)
    again = load(folder, loaded)
    assert again.workspaces == loaded.workspaces
    broken.write_text(having("acme"))
    mended = load(folder, again)
    assert (set(mended.workspaces), mended.refused) == ({"acme", "beta", "gamma"}, None)


def test_a_new_file_with_a_mistake_adds_nothing(folder: Path) -> None:
    """If only a part of a tenant's workspaces were loaded, it would look like all of them."""
    write(folder, "a.yml", having("acme"))
    first = load(folder)
    write(folder, "b.yml", having("beta") + "gamma: {url: x}\n")
    loaded = load(folder, first)
    assert set(loaded.workspaces) == {"acme"}
    assert loaded.refused is not None


def test_the_start_leaves_out_a_file_with_a_mistake(folder: Path) -> None:
    """One tenant's mistake must not keep hundreds from being watched after a restart."""
    write(folder, "a.yml", having("acme"))
    broken = write(folder, "b.yml", having("beta") + "gamma: {url: x}\n")
    loaded = load(folder)
    assert (set(loaded.workspaces), loaded.inventory[str(broken)]) == ({"acme"}, [])
    assert loaded.refused is not None
    assert all(str(broken) in line for line in loaded.refused.mistakes)
    (folder / "workspaces.d" / "a.yml").unlink()
    with pytest.raises(ConfigurationError):
        load(folder)


def test_a_variable_for_a_workspace_of_a_broken_file_does_not_stop_the_others(folder: Path) -> None:
    """The variable sets one option. All other options are in the file that cannot be read."""
    write(folder, "a.yml", "acme: [")
    write(folder, "b.yml", having("beta"))
    environ = {"WORKSPACES__ACME__POLL_INTERVAL": "5s"}
    assert set(load(folder, environ=environ).workspaces) == {"beta"}
    write(folder, "a.yml", having("acme"))
    assert set(load(folder, environ=environ).workspaces) == {"acme", "beta"}


def test_a_reload_may_leave_no_workspace(folder: Path) -> None:
    """A removed file is removed even if a new file has a mistake."""
    removed = write(folder, "a.yml", having("acme"))
    first = load(folder)
    removed.unlink()
    write(folder, "b.yml", "beta: [")
    loaded = load(folder, first)
    assert (set(loaded.workspaces), loaded.refused is None) == (set(), False)


def test_a_mistake_in_the_main_file_is_a_mistake_in_all(folder: Path) -> None:
    """It says what all workspaces have in common."""
    write(folder, "a.yml", having("acme"))
    first = load(folder)
    (folder / "config.yml").write_text("workspaces_files: [workspaces.d/*.yml]\npoll_interval: never\n")
    write(folder, "b.yml", "[")
    lines = mistakes(folder, first)
    assert any("poll_interval: must be" in line for line in lines)
    assert any("b.yml" in line for line in lines)


def test_a_removed_file_takes_its_workspaces_along(folder: Path) -> None:
    """This is also true if the file had a mistake before."""
    write(folder, "a.yml", having("acme"))
    broken = write(folder, "b.yml", having("beta"))
    first = load(folder)
    broken.write_text("[")
    second = load(folder, first)
    assert set(second.workspaces) == {"acme", "beta"}
    broken.unlink()
    assert (set(load(folder, second).workspaces), load(folder, second).refused) == ({"acme"}, None)


def test_a_name_in_two_files_is_a_mistake_that_names_both(folder: Path) -> None:
    """One of the two files can be the main file."""
    a, b = write(folder, "a.yml", having("acme")), write(folder, "b.yml", having("beta", "acme"))
    assert mistakes(folder) == (f"workspaces.acme: is set twice, the other time in {a} line 1 (from {b} line 2)",)
    b.unlink()
    (folder / "config.yml").write_text(
        f"workspaces_files: [workspaces.d/*.yml]\nworkspaces: {{acme: {OWN % 'acme'}}}\n"
    )
    assert mistakes(folder) == (
        f"workspaces.acme: is set twice, the other time in {folder / 'config.yml'} line 2 (from {a} line 1)",
    )


def test_a_name_that_a_second_file_takes_stays_with_the_first(folder: Path) -> None:
    """The workspace that is in use goes on, whichever file comes first in the folder."""
    first = load(write(folder, "m.yml", having("acme")).parent.parent)
    for other in ("a.yml", "z.yml"):
        taken = write(folder, other, having("acme", "new").replace("acme.example", "stolen.example"))
        loaded = load(folder, first)
        assert loaded.workspaces == first.workspaces
        assert loaded.refused is not None
        assert all(part in loaded.refused.mistakes[0] for part in ("is set twice", "m.yml", other))
        taken.unlink()


def test_a_workspace_can_move_to_another_file(folder: Path) -> None:
    """This is one reload, so the workspace always has a configuration, even if the old file has another mistake."""
    write(folder, "a.yml", having("acme", "stays"))
    first = load(folder)
    write(folder, "b.yml", having("acme"))
    write(folder, "a.yml", having("stays"))
    assert load(folder, first).refused is None
    write(folder, "a.yml", "stays: {url: x}\n")
    loaded = load(folder, first)
    assert set(loaded.workspaces) == {"acme", "stays"}
    assert set(load(folder, loaded).workspaces) == {"acme", "stays"}


def secrets(folder: Path, *names: str) -> None:
    """Writes a user id, a token and a header for each of these workspaces."""
    for name in names:
        (folder / name).mkdir()
        for kind in ("id", "token", "header"):
            (folder / name / kind).write_text(f"{kind}-of-{name}\n")


def test_a_path_can_hold_the_workspace_s_name(folder: Path) -> None:
    """Relative paths start at the folder of the file that they are in."""
    secrets(folder, "acme", "beta")
    own = "{url: 'http://a', user_id_file: '../{name}/id', auth_token_file: '../{name}/token'"
    own += ", headers_file: {X: '../{name}/header'}}"
    write(folder, "a.yml", f"acme: {own}\nbeta: {own}\n")
    loaded = load(folder)
    for name in ("acme", "beta"):
        found = loaded.workspaces[name].credentials.load()
        assert (found.user_id, found.auth_token) == (f"id-of-{name}", f"token-of-{name}")
        assert found.headers == {"X": f"header-of-{name}"}


def test_such_a_path_at_the_top_level_is_the_default_of_all(folder: Path) -> None:
    """A workspace's own secret or file comes first. A tenant then needs only a URL."""
    secrets(folder, "acme", "beta", "gamma")
    (folder / "config.yml").write_text(
        "workspaces_files: [workspaces.d/*.yml]\nuser_id_file: '{name}/id'\nauth_token_file: '{name}/token'\n"
        "headers_file: {X-Gateway: '{name}/header'}\n"
    )
    write(
        folder,
        "a.yml",
        "acme: {url: 'http://a'}\nbeta: {url: 'http://b', auth_token: own, headers: {x-gateway: own}}\n"
        "gamma: {url: 'http://c', user_id_file: ../acme/id}\n",
    )
    loaded = load(folder)
    found = {name: each.credentials.load() for name, each in loaded.workspaces.items()}
    assert (found["acme"].user_id, found["acme"].auth_token) == ("id-of-acme", "token-of-acme")
    assert found["acme"].headers == {"X-Gateway": "header-of-acme"}
    assert (found["beta"].user_id, found["beta"].auth_token) == ("id-of-beta", "own")
    assert found["beta"].headers == {"x-gateway": "own"}
    assert (found["gamma"].user_id, found["gamma"].auth_token) == ("id-of-acme", "token-of-gamma")
    write(folder, "b.yml", "delta: {url: 'http://d'}\n")
    refused = load(folder, loaded).refused
    assert refused is not None
    assert len(refused.mistakes) == 3
    assert all("workspaces.delta." in line and "b.yml" in line for line in refused.mistakes)
    assert str(folder / "delta" / "token") in refused.files


def test_only_files_with_credentials_have_a_place_for_the_name(folder: Path) -> None:
    """In a token these characters are part of the token."""
    write(folder, "a.yml", "acme: {url: 'http://a', user_id: u, auth_token: 'a{name}b', labels: {x: '{name}'}}\n")
    loaded = load(folder)
    assert token_of(loaded, "acme") == "a{name}b"
    assert loaded.workspaces["acme"].target.labels == {"x": "{name}"}


def test_a_name_cannot_lead_out_of_the_folder(folder: Path) -> None:
    """The name is not valid, so the file is not read."""
    (folder / "token").write_text("t")
    write(folder, "a.yml", "'..': {url: 'http://a', user_id: u, auth_token_file: '../{name}/token'}\n")
    assert not any("token-of" in line for line in mistakes(folder))


def test_a_folder_in_the_place_of_a_file_is_told(folder: Path) -> None:
    (folder / "workspaces.d" / "a.yml").mkdir()
    (line,) = mistakes(folder)
    assert line == f"workspaces_files: {folder / 'workspaces.d' / 'a.yml'} is not a regular file"


def test_check_reads_these_files_too(folder: Path) -> None:
    """It shows the options with the line that each comes from."""
    write(folder, "a.yml", having("acme"))
    ended = run("check", "--config-only", f"--config.file={folder / 'config.yml'}")
    assert ended.returncode == 0
    assert "acme" in ended.stdout
    write(folder, "a.yml", "acme: {url: x}\n")
    write(folder, "b.yml", having("beta"))
    ended = run("check", "--config-only", f"--config.file={folder / 'config.yml'}")
    assert ended.returncode == 2
    assert f"{folder / 'workspaces.d' / 'a.yml'} line 1" in ended.stderr
