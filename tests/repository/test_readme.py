"""The commands and configurations in the documents work."""

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
FOLDERS = (ROOT / "rc_import_exporter", ROOT / "deploy", ROOT / "grafana")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(path for folder in FOLDERS for path in folder.rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ALL = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
BLOCKS = FENCED.findall(README)
ORDER = [
    "Try it",
    "Get credentials",
    "Run it",
    "Configure",
    "Alerts and dashboards",
    "Before a restart",
    "Troubleshooting",
    "Limits",
    "Operations",
    "References",
]
INLINE = re.findall(r"`([^`\n]+)`", FENCED.sub("", ALL))
TYPED = sorted(
    {
        part.strip()
        for text in [*(block for _, block in FENCED.findall(ALL)), *INLINE]
        for written in text.splitlines()
        for part in re.split("&&|;|>", written.removeprefix("# "))
        if part.strip().startswith(("rc-import-exporter ", "watch --", "check --"))
    }
)


@pytest.mark.parametrize("typed", TYPED)
def test_a_command_line_is_understood(typed: str) -> None:
    """A flag that does not exist wastes the reader's time. `…` stands for a path."""
    words = shlex.split(typed.removeprefix("rc-import-exporter ").replace("…", "config.yml"))
    assert flags.parse(words, COMMANDS).command in (None, *COMMANDS)


def test_the_readme_is_short_and_in_the_order_of_use() -> None:
    """What is a reference stands in the README beside what it describes."""
    assert len(README.splitlines()) <= 320
    assert re.findall("^## (.*)", FENCED.sub("", README), re.MULTILINE) == ORDER


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_readme_names_every_command(command: flags.Command) -> None:
    assert re.search(rf"(`|rc-import-exporter |make ){command.name}\b", README)


def test_the_configuration_shown_can_be_used(tmp_path: Path) -> None:
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
    (shown,) = [block for language, block in BLOCKS if language == "yaml" and "scrape_configs:" in block]
    (job,) = yaml.safe_load(shown)["scrape_configs"]
    (default,) = [option.default for option in OPTIONS if option.path == ("web", "listen_address")]
    assert job["static_configs"] == [{"targets": [default]}]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_path_exists(document: Path) -> None:
    """Links are relative to the document, paths in backticks to the top of the checkout."""
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)#\"]+)", text) if "://" not in link]
    places = re.findall(r"\]\(((?:(?!://)[^)#])*)#([\w-]+)\)", text)
    paths = re.findall(r"`((?:deploy|grafana|tests|rc_import_exporter)/[\w./-]+)`", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [(path, place) for path, place in places if place not in anchors(document.parent / path, document)] == []


def anchors(linked: Path, document: Path) -> set[str]:
    """The headings of the linked document, or of this one, as GitHub writes them in links."""
    text = (document if linked.is_dir() else linked).read_text(encoding="utf-8")
    headings = re.findall("^#+ (.*)", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
