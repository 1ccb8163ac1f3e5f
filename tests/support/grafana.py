"""Grafana's own code in a Node process: the dashboards' variables, queries and cells as a user of Grafana gets them.

`tests/npm/grafana.mjs` runs it. Grafana's server is not JavaScript: it replaces `$__rate_interval` and `$__range`, and
here the tests do.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tests.support.prometheus import Series

DASHBOARDS: Final = Path(__file__).parents[2] / "grafana" / "dashboards"
NPM: Final = Path(__file__).parents[1] / "npm"
OLDEST: Final = "11"
NEWEST: Final = "13"
"""The releases that `tests/npm/package.json` installs: the oldest and the newest that the dashboards support."""

Tree = dict[str, object]


class GrafanaError(Exception):
    """Grafana's code raised an error; the message is its stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable of an opened dashboard: what it offers, what is selected, and the error of its query if it failed."""

    offered: Sequence[str]
    value: str | Sequence[str]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table or a field of another panel, with the text and the colour of each value."""

    title: str
    values: Sequence[object]
    texts: Sequence[str]
    colors: Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grafana:
    """A running process, and the hour and the Prometheus that its dashboards show."""

    process: "subprocess.Popen[str]"
    url: str
    start: float
    end: float

    def open(self, board: Tree, **chosen: str | Sequence[str]) -> Mapping[str, Variable]:
        """Open a dashboard and select these values of variables. All other calls are about the opened dashboard."""
        found = self._ask("open", dashboard=board, url=self.url, chosen=chosen, **{"from": self.start, "to": self.end})
        return {name: Variable(**each) for name, each in cast("dict[str, dict[str, object]]", found).items()}  # type: ignore[arg-type]

    def query(self, target: Tree) -> str:
        """A panel's query with all variables replaced."""
        text = cast("str", self._ask("query", target=target))
        return text.replace("$__rate_interval", "4m").replace("$__range", f"{self.end - self.start:.0f}s")

    def interpolate(self, text: str) -> str:
        """A text, for example of a link, with all variables replaced."""
        return cast("str", self._ask("interpolate", text=text))

    def legend(self, target: Tree, labels: Mapping[str, str]) -> str:
        """The name of a series of a query. A label that the series does not have stands with its own name."""
        return cast("str", self._ask("legend", format=target["legendFormat"], labels=labels))

    def show(self, panel: Tree, answers: Sequence[Sequence[Series]]) -> Mapping[str, Column]:
        """The columns of a panel by title, from the answers of Prometheus to each of its instant queries."""
        sent = [[{"labels": each.labels, "value": each.last} for each in answer] for answer in answers]
        found = cast("list[dict[str, object]]", self._ask("show", panel=panel, answers=sent, at=self.end))
        return {str(each["title"]): Column(**each) for each in found}  # type: ignore[arg-type]

    def _ask(self, request: str, **rest: object) -> object:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"request": request, **rest}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise GrafanaError(answer["error"])
        return answer["result"]


@contextmanager
def running(release: str, *, url: str = "", start: float, end: float) -> Iterator[Grafana]:
    """Grafana's code of a release, until the block ends. `url` is that of a Prometheus."""
    command = ["node", str(NPM / "grafana.cjs"), release]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Grafana(process=process, url=url, start=start, end=end)
        finally:
            process.terminate()


def load() -> Mapping[str, Tree]:
    """The dashboards by their uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def variables(dashboard: Tree) -> list[Tree]:
    """A dashboard's variables."""
    return children(cast("Tree", dashboard["templating"]), "list")


def annotations(dashboard: Tree) -> list[Tree]:
    """A dashboard's annotations."""
    return children(cast("Tree", dashboard["annotations"]), "list")


def panels(dashboard: Tree) -> list[Tree]:
    """A dashboard's panels, without the headings."""
    return [panel for panel in children(dashboard, "panels") if panel["type"] != "row"]


def children(tree: Tree, name: str) -> list[Tree]:
    """A list of trees in a tree; empty if there is none."""
    return cast("list[Tree]", tree.get(name, []))


def targets(dashboard: Tree) -> Iterator[tuple[Tree, Tree]]:
    """Every query of every panel, with its panel."""
    for panel in panels(dashboard):
        for target in children(panel, "targets"):
            yield panel, target
