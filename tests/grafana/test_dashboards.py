"""The dashboards' JSON: metric names, selectors, texts, colours, the grid, and Grafana's own types."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, cast

import pytest
import yaml

from grafana import generate, words
from rc_import_exporter.core.domain import Outcome, Reason, State, Step
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import PREFIX, HistogramMetric, Metric, MetricKind, WorkspaceMetric
from tests.support.grafana import NEWEST, NPM, OLDEST, Tree, annotations, children, load, panels, targets, variables

ROOT: Final = Path(__file__).parents[2]
BOARDS: Final = load()
DATA_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
FROM_PROMETHEUS: Final = frozenset({"cluster", "namespace", "job", "instance", "le"})
MADE: Final = "word"
"""The label that queries make of outcomes."""
SAMPLES: Final[Mapping[str, Metric]] = {
    name: metric
    for metric in METRICS
    for name in (
        [metric.full_name + suffix for suffix in ("_bucket", "_sum", "_count")]
        if isinstance(metric, HistogramMetric)
        else [metric.full_name]
    )
}

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def queries(board: Tree) -> Iterator[str]:
    """Every PromQL text of a dashboard: of panels, annotations and variables."""
    yield from (str(target["expr"]) for _, target in targets(board))
    yield from (str(annotation["expr"]) for annotation in annotations(board))
    yield from (variable_query(variable) for variable in variables(board) if variable["type"] == "query")


def variable_query(variable: Tree) -> str:
    """A query variable's text."""
    return str(cast("Tree", variable["query"])["query"])


def selectors(query: str) -> Iterator[tuple[str, str]]:
    """Each metric name in a query, with its matchers."""
    for found in re.finditer(r"\b((?:rocketchat_import|process|python)_\w+)(?:\{([^}]*)\})?", query):
        yield found[1], found[2] or ""


def defaults(panel: Tree) -> Tree:
    """The default field options of a panel."""
    return cast("Tree", cast("Tree", panel["fieldConfig"])["defaults"])


def mapped(tree: object) -> Iterator[Tree]:
    """Every value mapping in a tree."""
    if isinstance(tree, dict):
        if tree.get("type") == "value" and isinstance(tree.get("options"), dict):
            yield from tree["options"].values()
        for branch in tree.values():
            yield from mapped(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from mapped(branch)


def mistakes(release: str, files: Sequence[Path]) -> str:
    """What Grafana's types of this release do not allow in these dashboards, one line each."""
    command = ["node", str(NPM / "schema.cjs"), release, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_committed_files_are_what_the_source_makes() -> None:
    """A change of the JSON alone would be lost at the next `python -m grafana.generate`."""
    made = generate.files()
    assert {path: path.read_text(encoding="utf-8") for path in generate.FOLDER.iterdir()} == made


@pytest.mark.program("node", "npm")
@pytest.mark.parametrize("release", [OLDEST, NEWEST])
def test_grafana_s_own_types_allow_every_key_and_value(release: str) -> None:
    """These are the oldest and the newest supported Grafana."""
    assert mistakes(release, sorted(generate.FOLDER.iterdir())) == ""


@pytest.mark.program("node", "npm")
@pytest.mark.parametrize("release", [OLDEST, NEWEST])
def test_grafana_s_own_types_would_notice_a_mistake(release: str, tmp_path: Path) -> None:
    text = (generate.FOLDER / "rocketchat-import.json").read_text(encoding="utf-8")
    for right, wrong in {
        '"drawStyle"': '"drawStile"',
        '"unit": "percentunit"': '"unit": 7',
        '"orientation": "vertical"': '"orientation": "up"',
    }.items():
        assert right in text
        text = text.replace(right, wrong)
    (tmp_path / "wrong.json").write_text(text, encoding="utf-8")
    found = mistakes(release, [tmp_path / "wrong.json"])
    assert all(word in found for word in ("drawStile", "defaults/unit must be string", "options/orientation"))


def test_npm_s_lock_names_no_server() -> None:
    """Npm then uses the registry that the machine is configured for, and checks hashes."""
    lock = json.loads((NPM / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all("resolved" not in package and package["integrity"] for package in packages.values())


@each_board
def test_a_dashboard_can_be_loaded_into_any_grafana(board: Tree) -> None:
    """An id of one database or the data source of one installation would break it elsewhere."""
    assert "id" not in board
    assert "__inputs" not in board
    assert board["editable"] is False
    assert board["refresh"] == "30s"
    assert board["timezone"] == "browser"
    assert "rocketchat-import" in cast("list[str]", board["tags"])
    for part in (*panels(board), *annotations(board), *(target for _, target in targets(board))):
        assert part.get("datasource", DATA_SOURCE) == DATA_SOURCE
    first, *others = variables(board)
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(other.get("datasource", DATA_SOURCE) == DATA_SOURCE for other in others)


def test_the_uids_are_those_that_links_and_alerts_rely_on() -> None:
    """Bookmarks and alerts of users contain them."""
    assert set(BOARDS) == {"rocketchat-import", "rocketchat-imports", "rocketchat-import-exporter"}
    assert all(board["uid"] == uid for uid, board in BOARDS.items())


@each_board
def test_cluster_namespace_job_instance_and_workspace_can_be_chosen(board: Tree) -> None:
    """All of cluster and namespace matches series without these labels, too."""
    offered = {str(variable["name"]): variable for variable in variables(board)}
    for name, everything in {"cluster": ".*", "namespace": ".*", "job": ".+", "instance": ".+"}.items():
        assert (offered[name]["includeAll"], offered[name]["allValue"]) == (True, everything)
    one = board is BOARDS["rocketchat-import"]
    for name in ("cluster", "namespace", "workspace"):
        assert offered[name]["multi"] is not one
    assert offered["workspace"]["includeAll"] is not one


@each_board
def test_every_selector_uses_the_variables(board: Tree) -> None:
    """Grafana writes a single value as it is, without escaping, so it must not be a regular expression."""
    workspaces = 'workspace="$workspace"' if board is BOARDS["rocketchat-import"] else 'workspace=~"$workspace"'
    for query in queries(board):
        for name, matchers in selectors(query):
            if query.startswith(("label_values(rocketchat_import_exporter_build_info", "label_names(")):
                continue
            for variable in ("cluster", "namespace", "job", "instance"):
                assert f'{variable}=~"${variable}"' in matchers, query
            if isinstance(SAMPLES.get(name), WorkspaceMetric) and not query.startswith("label_"):
                assert workspaces in matchers, query


@each_board
def test_workspaces_are_told_apart_by_cluster_namespace_and_name(board: Tree) -> None:
    """Two clusters can each have a workspace of the same name."""
    for query in queries(board):
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
            labels = re.split(r",\s*", group)
            assert "workspace" not in labels or labels[:3] == ["cluster", "namespace", "workspace"], query


@each_board
def test_every_metric_is_in_the_catalogue(board: Tree) -> None:
    """The dashboards have to work without recording rules, and a misspelt metric shows nothing."""
    for query in queries(board):
        for name, _ in selectors(query):
            assert name in SAMPLES or not name.startswith(PREFIX), name
        assert not re.search(r"\b[a-z_]+:[a-z_:]+\{", query), query


@each_board
def test_every_label_and_label_value_is_in_the_catalogue(board: Tree) -> None:
    """A matcher for a value that does not exist shows nothing, and nobody notices."""
    for query in queries(board):
        for name, matchers in selectors(query):
            if name not in SAMPLES:
                continue
            labels = {label.name: label.values for label in SAMPLES[name].labels}
            for label, value in re.findall(r'(\w+)[!=]~?"([^"]*)"', matchers.replace("$label=~", "workspace=~")):
                if label in labels and labels[label] is not None:
                    assert set(value.split("|")) <= set(labels[label] or ()), query
                else:
                    assert label in {*labels, "workspace", *FROM_PROMETHEUS}, query


@each_board
def test_queries_group_by_existing_labels(board: Tree) -> None:
    """A misspelt label would silently merge different series."""
    known = {label.name for metric in METRICS for label in metric.labels} | {"workspace", MADE, *FROM_PROMETHEUS}
    for query in queries(board):
        for group in re.findall(r"\b(?:by|on|without|group_left) \(([^)]*)\)", query):
            assert set(filter(None, re.split(r",\s*", group))) <= known, query


@each_board
def test_counters_are_read_as_rates_over_an_interval_that_suits_the_scrape(board: Tree) -> None:
    """Grafana may assume scrapes every 15 s when they are every 60 s. The smallest step prevents empty rates."""
    for panel, target in targets(board):
        expr = str(target["expr"])
        for found in re.finditer(r"(\w*)\(?(\w+_(?:total|bucket|sum|count))\{[^}]*\}(\[[^\]]*\])?", expr):
            metric = SAMPLES.get(found[2])
            if metric is None or metric.kind is not MetricKind.GAUGE:
                assert found[1] in {"rate", "increase"}, panel["title"]
                assert found[3] == ("[$__rate_interval]" if target["range"] else "[$__range]"), panel["title"]
        assert ("$__rate_interval" in expr) == (target.get("interval") == "1m"), panel["title"]


@each_board
def test_every_panel_has_a_description_and_a_text_for_no_value(board: Tree) -> None:
    """Grafana's own "No data" does not say whether this is normal."""
    titles = [str(panel["title"]) for panel in panels(board)]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert len(str(panel["description"])) > 20, panel["title"]
        if "targets" in panel:
            assert defaults(panel).get("noValue"), panel["title"]


@each_board
def test_every_number_has_a_unit_or_a_word(board: Tree) -> None:
    """Without one, readers have to guess."""
    for panel in panels(board):
        if panel["type"] in {"stat", "bargauge", "timeseries", "state-timeline"}:
            shown = defaults(panel)
            assert shown.get("unit") or shown["mappings"] or shown.get("decimals") is not None, panel["title"]


@each_board
def test_a_state_timeline_has_a_colour_mode_that_respects_words(board: Tree) -> None:
    """With colours by thresholds, Grafana merges values by threshold and shows "-\u221e+" in place of words."""
    for panel in panels(board):
        if panel["type"] == "state-timeline":
            assert defaults(panel)["mappings"], panel["title"]
            assert cast("Tree", defaults(panel)["color"])["mode"] in {"fixed", "palette-classic"}, panel["title"]


def configured(board: Tree) -> Iterator[tuple[str, Tree]]:
    """The options of each field of each panel: the panel's defaults, and each override on top of them."""
    for panel in panels(board):
        if "fieldConfig" not in panel:
            continue
        yield str(panel["title"]), defaults(panel)
        for override in children(cast("Tree", panel["fieldConfig"]), "overrides"):
            set_here = {str(each["id"]): each["value"] for each in children(override, "properties")}
            yield f"{panel['title']}: {cast('Tree', override['matcher'])['options']}", {"of override": True, **set_here}


@each_board
def test_a_duration_has_no_decimals(board: Tree) -> None:
    """Otherwise Grafana writes every part: "6 seconds, 277 milliseconds"."""
    for title, options in configured(board):
        if options.get("unit") == "dtdurations":
            assert options.get("decimals") == 0, title


@each_board
def test_a_table_s_cell_without_a_value_has_a_text_of_its_own(board: Tree) -> None:
    """Grafana puts the text for an empty table in each empty cell. An override's mappings replace the panel's."""
    tables = {str(panel["title"]) for panel in panels(board) if panel["type"] == "table"}
    for title, options in configured(board):
        if title.partition(":")[0] in tables and ("mappings" in options or "of override" not in options):
            special = [each for each in children(options, "mappings") if each["type"] == "special"]
            assert [cast("Tree", each["options"])["match"] for each in special] == ["null"], title


def room(width: int) -> int:
    """The letters of a title that fit a panel of this width beside the icon of its description.

    Seen at 1,400 pixels in Grafana 12.3: 10 letters in 3 columns, 16 but not 20 in 4, and 28 in 6.
    """
    return 6 * width - 8


@each_board
def test_titles_fit_their_panels(board: Tree) -> None:
    """Grafana cuts off the rest: "Records pe…"."""
    for panel in panels(board):
        width = cast("dict[str, int]", panel["gridPos"])["w"]
        assert len(str(panel["title"])) <= room(width), panel["title"]


@each_board
def test_columns_of_relative_times_are_wide_enough(board: Tree) -> None:
    """Grafana aligns them to the right and cuts off their beginning: "few seconds ago"."""
    for title, options in configured(board):
        if options.get("unit") == "dateTimeFromNow":
            assert cast("int", options["custom.width"]) >= 150, title


def test_the_banner_s_text_fits_one_line() -> None:
    """Grafana's automatic size fills the height, and the text then needs two lines."""
    banner = panels(BOARDS["rocketchat-import"])[0]
    assert cast("Tree", banner["options"])["text"] == {"valueSize": 34}


def test_the_list_of_alerts_is_about_the_workspace_that_is_shown() -> None:
    lists = [panel for panel in panels(BOARDS["rocketchat-import"]) if panel["type"] == "alertlist"]
    assert [cast("Tree", each["options"])["alertInstanceLabelFilter"] for each in lists] == ['{workspace="$workspace"}']


def test_what_to_do_names_every_outcome() -> None:
    """A text that does not depend on the outcome has to say which step is for which."""
    (text,) = [panel for panel in panels(BOARDS["rocketchat-import"]) if panel["type"] == "text"]
    content = str(cast("Tree", text["options"])["content"])
    assert {word.text for word in words.OUTCOMES if word.value is not Outcome.UNKNOWN} <= set(
        re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", content)
    )


@each_board
def test_the_panels_fill_the_grid_without_overlap(board: Tree) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in children(board, "panels"):
        place = cast("dict[str, int]", panel["gridPos"])
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    widths = {y: sum(1 for _, other in taken if other == y) for _, y in taken}
    assert set(widths.values()) == {24}


def test_every_member_of_a_closed_set_has_a_text_and_a_colour() -> None:
    """A new member cannot be forgotten here."""
    for closed, listed in (
        (Outcome, words.OUTCOMES),
        (State, words.STATES),
        (Step, words.STEPS),
        (Reason, words.REASONS),
    ):
        assert {word.value for word in listed} == set(closed)
        assert all(word.text and re.fullmatch("#[0-9A-F]{6}", word.color) for word in listed)


@each_board
def test_every_colour_has_a_text(board: Tree) -> None:
    """Not everyone can tell colours apart."""
    assert all(option["text"] and option["color"] for option in mapped(board))


def seen_by(color: str, eye: tuple[tuple[float, float, float], ...]) -> tuple[float, ...]:
    """A colour as an eye without one kind of cone sees it (Viénot, Brettel and Mollon 1999)."""
    light = [(int(color[index : index + 2], 16) / 255) ** 2.2 for index in (1, 3, 5)]
    seen = [sum(weight * part for weight, part in zip(row, light, strict=True)) for row in eye]
    return tuple(max(0.0, part) ** (1 / 2.2) for part in seen)


EYES: Final = {
    "every cone": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanope": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranope": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


@pytest.mark.parametrize("eye", EYES.values(), ids=EYES)
def test_good_bad_and_uncertain_differ_for_every_kind_of_eye(eye: tuple[tuple[float, float, float], ...]) -> None:
    """About one man in twelve cannot tell red from green."""
    colors = [words.DEEP_BLUE, words.SKY, words.YELLOW, words.VERMILION, words.SLATE]
    for one, other in combinations(colors, 2):
        distance = sum((a - b) ** 2 for a, b in zip(seen_by(one, eye), seen_by(other, eye), strict=True)) ** 0.5
        assert distance > 0.2, (one, other)


def test_the_dashboards_lead_to_each_other_to_the_exporter_and_to_the_runbook() -> None:
    """Links keep the time range and the variables, or users would have to select them again."""
    for uid, board in BOARDS.items():
        links = {str(link["url"]): link for link in children(board, "links")}
        assert {f"/d/{other}" for other in BOARDS if other != uid} <= set(links)
        assert all(link["includeVars"] and link["keepTime"] for url, link in links.items() if url.startswith("/d/"))
        assert {"${exporter:raw}/", "${exporter:raw}/runbook"} <= set(links)


def test_the_banner_comes_first_and_is_in_capitals() -> None:
    """Someone who opens the dashboard during an import has to see at once what not to do."""
    banner = panels(BOARDS["rocketchat-import"])[0]
    assert cast("dict[str, int]", banner["gridPos"]) == {"x": 0, "y": 0, "w": 24, "h": 3}
    assert "DO NOT RESTART OR SCALE ROCKET.CHAT NOW" in json.dumps(banner)


def test_provisioning_loads_what_is_there() -> None:
    """The data source has the uid that Rocket.Chat's own monitoring stack uses."""
    folder = ROOT / "grafana" / "provisioning"
    providers = yaml.safe_load((folder / "dashboards" / "rocketchat-import.yaml").read_text())["providers"]
    assert [(each["type"], each["allowUiUpdates"]) for each in providers] == [("file", False)]
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert [(each["type"], each["uid"]) for each in sources] == [("prometheus", "DS_PROMETHEUS")]
