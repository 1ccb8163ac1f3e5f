"""The dashboards drawn from real query results, so that people can look at them; the README shows these pictures.

No Grafana is at hand here: a small renderer of the project's own draws them. `python -m tests.test_dashboard_pictures`
writes them anew.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support import hour
from tests.support.drawing import DARK, LIGHT, WIDTH, Drawing, Theme
from tests.support.interpolation import Window, load
from tests.support.prometheus import Prometheus, serving
from tests.support.timeline import openmetrics

pytestmark = [pytest.mark.program("prometheus", "promtool"), pytest.mark.xdist_group("hour")]

PICTURES: Final = Path(__file__).parents[2] / "grafana" / "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a picture shows: a dashboard with these variables, so many lines of its grid, and what it says in words."""

    board: str
    alternative: str
    variables: Mapping[str, Sequence[str]]
    lines: int | None = None


VIEWS: Final[Mapping[str, View]] = {
    "running": View(
        board="rocketchat-import",
        variables={"workspace": ["slack-move"]},
        lines=26,
        alternative=(
            "The dashboard of one import while it runs. A banner across the top says: do not restart or scale "
            "Rocket.Chat now. Below it the verdict Running, a progress bar, the time left and the hour of the end, "
            "the records done and rejected, a timeline of what happened when, and curves of the counts and of the "
            "speed."
        ),
    ),
    "cut-off": View(
        board="rocketchat-import",
        variables={"workspace": ["rolling-deploy"]},
        alternative=(
            "The same dashboard after a second server started mid-import: Rocket.Chat says done, the verdict is Cut "
            "off. The timeline shows running, interrupted and cut off; a table says since when, and three steps what "
            "to do."
        ),
    ),
    "all": View(
        board="rocketchat-imports",
        variables={"label": ["workspace"]},
        alternative=(
            "The dashboard of all workspaces: six counters, the first of them for those that need someone, and a table "
            "with a row for each workspace, the worst first, with its verdict in colour and words, progress, rejected "
            "records, last success and age of the data."
        ),
    ),
    "exporter": View(
        board="rocketchat-import-exporter",
        variables={},
        lines=29,
        alternative=(
            "The dashboard of the exporter: whether it can tell every state, how old the oldest data is, durations of "
            "calls, failures by reason, how often it polls, and what is left of the rate limit."
        ),
    ),
}


@contextmanager
def seen(folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped one exporter for the hour."""
    lines = openmetrics(hour.scrapes(), job="rocketchat-import", instance="exporter:19458")
    with serving(folder, lines, interval=hour.SCRAPE) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Stopped after the last picture."""
    with seen(tmp_path_factory.mktemp("pictures")) as started:
        yield started


def draw(view: View, theme: Theme, prometheus: Prometheus) -> tuple[str, int]:
    """A view's page and its height."""
    window = Window(start=hour.BEGUN, end=hour.END - 1, scrape=hour.SCRAPE, variables=view.variables)
    drawing = Drawing(board=load()[view.board], prometheus=prometheus, window=window, theme=theme)
    return drawing.page(lines=view.lines)


def photograph(page: str, height: int, picture: Path, *more: str) -> str:
    """Let a browser without a window take a picture of a page; gives the page as the browser holds it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},{height}",
            f"--screenshot={picture}",
            *more,
            source.as_uri(),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("name", VIEWS)
def test_every_view_can_be_drawn(name: str, theme: Theme, prometheus: Prometheus) -> None:
    """Each panel, in a kind and with units that the renderer knows, and never with the words No data."""
    page, height = draw(VIEWS[name], theme, prometheus)
    assert "No data" not in page
    assert height > 900


def test_the_picture_of_a_running_import_says_the_essential(prometheus: Prometheus) -> None:
    """Whoever glances at it reads what not to do, what it is at, how far, and when it ends."""
    page, _ = draw(VIEWS["running"], DARK, prometheus)
    for words in ("DO NOT RESTART OR SCALE ROCKET.CHAT NOW", "▶ Running", "importing messages", "Time left", "Fri 09:"):
        assert words in page


@pytest.mark.program("chromium")
def test_a_browser_shows_them(prometheus: Prometheus, tmp_path: Path) -> None:
    """A PNG as wide as a laptop."""
    page, height = draw(VIEWS["running"], DARK, prometheus)
    photograph(page, height, tmp_path / "picture.png")
    header = (tmp_path / "picture.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (WIDTH, height)


def test_every_view_has_its_pictures_and_an_alternative_in_words() -> None:
    """In both themes, and none is left over."""
    assert {path.name for path in PICTURES.glob("*.png")} == {
        f"{name}-{theme.name}.png" for name in VIEWS for theme in (DARK, LIGHT)
    }
    assert all(len(view.alternative) > 80 for view in VIEWS.values())


def test_whoever_cannot_see_the_pictures_is_told_what_they_show() -> None:
    """Each stands beside the dashboards' description with its alternative text."""
    description = (PICTURES.parent / "README.md").read_text(encoding="utf-8")
    for name, view in VIEWS.items():
        assert f"![{view.alternative}](pictures/{name}-light.png)" in description


def main() -> None:
    """Write every picture."""
    with tempfile.TemporaryDirectory() as folder, seen(Path(folder)) as prometheus:
        for name, view in VIEWS.items():
            for theme in (DARK, LIGHT):
                page, height = draw(view, theme, prometheus)
                photograph(page, height, PICTURES / f"{name}-{theme.name}.png")


if __name__ == "__main__":
    main()
