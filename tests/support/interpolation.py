"""The dashboards as Grafana reads them: panels, and queries with their variables replaced."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tests.support.prometheus import duration

DASHBOARDS: Final = Path(__file__).parents[2] / "grafana" / "dashboards"
POINTS: Final = 500
"""About as many points as a panel on a laptop asks for."""

Tree = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time range in Unix seconds, the scrape interval of the data source, and the values of variables.

    A variable that is not in `variables` is at All.
    """

    start: float
    end: float
    scrape: float
    variables: Mapping[str, Sequence[str]]

    def step(self, least: str | None = None) -> float:
        """The step of a range query: a multiple of the smallest step, for at most `POINTS` points."""
        smallest = max(self.scrape, duration(least) if least else 0.0)
        return smallest * max(1, math.ceil((self.end - self.start) / POINTS / smallest))

    def rate_interval(self, least: str | None = None) -> float:
        """Grafana's `$__rate_interval`: at least four scrapes or four smallest steps."""
        scrape = duration(least) if least else self.scrape
        return max(self.step(least) + scrape, 4 * scrape)

    def fill(self, text: str, dashboard: Tree, least: str | None = None) -> str:
        """The text with its variables replaced."""
        known = {str(each["name"]): each for each in variables(dashboard)}
        built_in = {
            "__rate_interval": f"{self.rate_interval(least):g}s",
            "__interval": f"{self.step(least):g}s",
            "__range": f"{self.end - self.start:g}s",
            "__from": str(round(self.start * 1000)),
            "__to": str(round(self.end * 1000)),
        }

        def value(found: "re.Match[str]") -> str:
            name = found[1] or found[2]
            return built_in[name] if name in built_in else self._value(known[name])

        return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", value, text)

    def _value(self, variable: Tree) -> str:
        chosen = self.variables.get(str(variable["name"]))
        if variable["type"] == "textbox":
            return str(variable["query"])
        if chosen is None:
            return str(variable["allValue"])
        if not variable["multi"]:
            return chosen[0]
        escaped = [re.sub(r"([\\^$*+?.()|\[\]{}])", r"\\\\\1", each) for each in chosen]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


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
