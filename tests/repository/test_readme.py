"""What the README tells people to type is understood, and what it shows is true."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rc_import_exporter.cli import COMMANDS
from rc_import_exporter.commands import flags
from rc_import_exporter.config import settings
from rc_import_exporter.config.options import OPTIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
BLOCKS = FENCED.findall(README)
INLINE = re.findall(r"`([^`]+)`", FENCED.sub("", README))
TYPED = sorted(
    {
        part.strip()
        for text in [*(block for _, block in BLOCKS), *INLINE]
        for written in text.splitlines()
        for part in written.removeprefix("# ").split("&&")
        if part.strip().startswith(("rc-import-exporter ", "watch --"))
    }
)


@pytest.mark.parametrize("typed", TYPED)
def test_a_command_line_is_understood(typed: str) -> None:
    """Commands, options and the commands' own flags; `…` stands for a path."""
    words = shlex.split(typed.removeprefix("rc-import-exporter ").replace("…", "config.yml"))
    assert flags.parse(words, COMMANDS).command in (None, *COMMANDS)


def test_the_readme_tells_of_every_command() -> None:
    """By its name, in a line that can be typed or beside one."""
    assert [command.name for command in COMMANDS if f"{command.name}" not in README] == []


def test_the_configuration_shown_can_be_used(tmp_path: Path) -> None:
    """With secrets where it says that they are."""
    (shown,) = [block for language, block in BLOCKS if language == "yaml" and "workspaces:" in block]
    for name in re.findall(r"/run/secrets/([\w-]+)", shown):
        (tmp_path / name).write_text(f"{name.replace('-', '')}\n")
    config = tmp_path / "config.yml"
    config.write_text(shown.replace("/run/secrets", str(tmp_path)))
    loaded = settings.load({"config.file": str(config)}, {})
    assert sorted(loaded.workspaces) == ["acme", "globex"]
    assert loaded.workspaces["acme"].target.expect.success_every == 26 * 3600
    assert loaded.workspaces["globex"].target.url == "https://globex.example/chat"


def test_the_scrape_configuration_shown_finds_the_exporter() -> None:
    """Where it listens by default."""
    (shown,) = [block for language, block in BLOCKS if language == "yaml" and "scrape_configs:" in block]
    (job,) = yaml.safe_load(shown)["scrape_configs"]
    (default,) = [option.default for option in OPTIONS if option.path == ("web", "listen_address")]
    assert job["static_configs"] == [{"targets": [default]}]


def test_what_it_points_to_exists() -> None:
    """Pictures, folders and files."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    paths = re.findall(r"`((?:deploy|grafana|tests)/[\w./-]+)`", README)
    assert [path for path in links + paths if not (ROOT / path).exists()] == []
