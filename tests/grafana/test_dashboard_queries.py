"""Every query of every dashboard, against a real Prometheus with one hour of fifteen simulated workspaces.

The Prometheus has scraped two replicas, every 15 s or every 60 s. Results are compared with the simulator's data.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import pytest

from grafana import words
from rc_import_exporter.core import advice
from rc_import_exporter.core.domain import Outcome, Step
from rc_import_exporter.simulator.importer import Document
from tests.support import hour
from tests.support.interpolation import Tree, Window, annotations, load, panels, targets, variables
from tests.support.prometheus import Prometheus, QueryError, Series, serving
from tests.support.timeline import openmetrics

pytestmark = [pytest.mark.program("prometheus", "promtool"), pytest.mark.xdist_group("hour")]

BOARDS: Final = load()
ONE, ALL = BOARDS["rocketchat-import"], BOARDS["rocketchat-imports"]
REPLICAS: Final = ("exporter-0:19458", "exporter-1:19458")
TEAM: Final[Mapping[str, Sequence[str]]] = {"label": ["workspace"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Sends the dashboards' queries to a Prometheus that scrapes every `scrape` seconds."""

    prometheus: Prometheus
    scrape: float

    def look(self, board: Tree, target: Tree, *, at: float = hour.END - 1, **chosen: Sequence[str]) -> Sequence[Series]:
        """The result of a panel's query, over the hour or at its end."""
        window = self.window(**chosen)
        least = cast("str | None", target.get("interval"))
        query = window.fill(str(target["expr"]), board, least)
        if target["range"]:
            return self.prometheus.range(query, window.start, window.end, window.step(least))
        return self.prometheus.instant(query, at)

    def window(self, **chosen: Sequence[str]) -> Window:
        """The hour, with these values of variables."""
        return Window(start=hour.BEGUN, end=hour.END, scrape=self.scrape, variables={**TEAM, **chosen})

    def values(self, board: Tree, title: str, query: int = 0, *, at: float = hour.END - 1) -> Mapping[str, float]:
        """The value of a panel for each workspace; the key is empty if the panel shows one number."""
        target = next(
            [target for found, target in targets(board) if found is panel][query]
            for panel in panels(board)
            if panel["title"] == title
        )
        found = self.look(board, target, at=at)
        assert len({each.labels.get("workspace", "") for each in found}) == len(found), "a workspace appears twice"
        return {each.labels.get("workspace", ""): each.last for each in found}


@pytest.fixture(scope="module", params=[15.0, 60.0], ids=["scraped every 15 s", "scraped every 60 s"])
def viewer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A Prometheus that has scraped two replicas for one hour."""
    interval: float = request.param
    pages = hour.scrapes()[:: round(interval / hour.SCRAPE)]
    lines = [line for replica in REPLICAS for line in openmetrics(pages, job="rocketchat-import", instance=replica)]
    with serving(tmp_path_factory.mktemp("prometheus"), lines, interval=interval) as prometheus:
        yield Viewer(prometheus=prometheus, scrape=interval)


def truth(name: str, at: float = hour.END) -> Document:
    """The newest operation of a workspace in the simulator."""
    newest = hour.SCRIPTS[name].newest(at - hour.BEGUN)
    assert newest is not None
    return newest


def counts(name: str, at: float = hour.END) -> tuple[int, int]:
    """The processed and the total records of a workspace's newest operation in the simulator."""
    known = truth(name, at).counts or {}
    return known.get("completed", 0) + known.get("error", 0), known.get("total", 0)


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_shows_something_in_one_of_the_stories(uid: str, viewer: Viewer) -> None:
    board = BOARDS[uid]
    empty = [
        f"{panel['title']} {target['refId']}" for panel, target in targets(board) if not viewer.look(board, target)
    ]
    assert empty == []


@pytest.mark.parametrize("uid", BOARDS)
def test_every_query_is_understood_with_one_workspace_chosen_and_with_two(uid: str, viewer: Viewer) -> None:
    """Grafana writes one name as it is and several as a group. Names can contain special characters of regexes."""
    for chosen in (["slack-move"], ["slack-move", "csv.migration+(old)"]):
        for _, target in targets(BOARDS[uid]):
            found = viewer.look(BOARDS[uid], target, workspace=chosen)
            assert {each.labels["workspace"] for each in found if "workspace" in each.labels} <= {"slack-move"}


@pytest.mark.parametrize("uid", BOARDS)
def test_every_variable_offers_what_there_is(uid: str, viewer: Viewer) -> None:
    offered = {str(each["name"]): offer(viewer, BOARDS[uid], each) for each in variables(BOARDS[uid])}
    assert offered["job"] == ["rocketchat-import"]
    assert offered["instance"] == list(REPLICAS)
    assert offered["workspace"] == sorted(hour.SCRIPTS)
    if BOARDS[uid] is ALL:
        assert offered["label"] == ["team", "workspace"]
        assert offered["value"] == sorted(hour.SCRIPTS)


def offer(viewer: Viewer, board: Tree, variable: Tree) -> Sequence[str]:
    """The values of a variable, from the same query that Grafana sends."""
    if variable["type"] != "query":
        return []
    text = viewer.window().fill(str(cast("Tree", variable["query"])["query"]), board)
    if names := re.fullmatch(r"label_names\((.+)\)", text):
        found = viewer.prometheus.label_names(names[1], hour.BEGUN, hour.END)
    else:
        values = re.fullmatch(r"label_values\((.+), (\w+)\)", text)
        assert values, text
        found = viewer.prometheus.label_values(values[2], values[1], hour.BEGUN, hour.END)
    regex = str(variable["regex"]).strip("/") or ".*"
    return [each for each in found if re.search(regex, each)]


def test_annotations_stand_at_the_instants_at_which_imports_began_and_ended(viewer: Viewer) -> None:
    """Marks at the times of scrapes would be up to a minute off, so they come from the server's timestamps."""
    marks = {
        str(each["name"]): viewer.prometheus.range(
            viewer.window().fill(str(each["expr"]), ONE), hour.BEGUN, hour.END, 60.0
        )
        for each in annotations(ONE)
    }
    created = {each.labels["workspace"]: each.last / 1000 for each in marks["Import created"]}
    ended = {each.labels["workspace"]: each.last / 1000 for each in marks["Import ended"]}
    assert created["csv-migration"] == pytest.approx(hour.BEGUN + truth("csv-migration").created, abs=1)
    assert ended["csv-migration"] == pytest.approx(hour.BEGUN + truth("csv-migration").updated, abs=1)
    assert "slack-move" not in ended
    lost = {each.labels["workspace"]: len(each.points) for each in marks[advice.UNSEEN]}
    assert lost.keys() == {"crash", "gone", "locked-out", "flaky"}
    assert lost["crash"] < 10 < lost["gone"]


@pytest.mark.parametrize(
    ("name", "outcome"),
    {
        "nightly-sync": Outcome.SUCCEEDED,
        "nightly-again": Outcome.COMPLETED_WITH_ERRORS,
        "csv-migration": Outcome.COMPLETED_WITH_ERRORS,
        "slack-move": Outcome.RUNNING,
        "rolling-deploy": Outcome.INCOMPLETE,
        "crash": Outcome.INTERRUPTED,
        "phase-throws": Outcome.FAILED,
        "cleared": Outcome.DISCARDED,
        "stalled": Outcome.RUNNING,
        "odd-words": Outcome.CANCELED,
        "waiting": Outcome.WAITING,
        "untouched": Outcome.NONE,
    }.items(),
)
def test_the_outcome_is_that_of_the_story(viewer: Viewer, name: str, outcome: Outcome) -> None:
    place = next(place for place, word in enumerate(words.OUTCOMES) if word.value is outcome)
    assert viewer.values(ONE, "Outcome")[name] == place
    assert viewer.values(ALL, "Newest import of each workspace")[name] == place


def test_a_workspace_whose_state_is_not_known_says_so(viewer: Viewer) -> None:
    """An old outcome would be wrong, and a missing row would go unnoticed."""
    shown = viewer.values(ONE, "Outcome")
    assert {name for name, place in shown.items() if place == words.UNSEEN} == {"locked-out", "gone"}


def test_the_step_is_the_server_s(viewer: Viewer) -> None:
    shown = viewer.values(ONE, "Step")
    for name in ("slack-move", "csv-migration", "phase-throws", "waiting", "crash"):
        place = round(shown[name])
        assert words.STEPS[place].value == Step(truth(name).status.removeprefix("importer_"))


def test_the_records_are_those_that_the_server_counted(viewer: Viewer) -> None:
    """A running import is allowed a delay of 90 s: the server's writes, a poll and a scrape."""
    done, total = viewer.values(ONE, "Records"), viewer.values(ONE, "Records", 1)
    for name in ("nightly-sync", "nightly-again", "csv-migration", "rolling-deploy", "crash"):
        assert (done[name], total[name]) == counts(name)
    assert counts("slack-move", hour.END - 90)[0] <= done["slack-move"] <= counts("slack-move")[0]
    assert viewer.values(ONE, "Rejected")["csv-migration"] == 36


def test_progress_is_a_share_and_is_absent_before_all_is_loaded(viewer: Viewer) -> None:
    """File imports count users twice, and the total grows while loading: both would give a wrong share."""
    shown = viewer.values(ONE, "Progress")
    processed, total = counts("rolling-deploy")
    assert shown["rolling-deploy"] == pytest.approx(processed / total)
    assert counts("csv-migration")[0] > counts("csv-migration")[1]
    assert shown["csv-migration"] == 1
    assert "untouched" not in shown
    while_loading = hour.BEGUN + 7.5 * hour.MINUTE
    assert truth("slack-move", while_loading).status.startswith("importer_preparing")
    assert "slack-move" not in viewer.values(ONE, "Progress", at=while_loading)


def test_the_expected_end_is_right_within_a_tenth_and_shown_only_while_an_import_runs(viewer: Viewer) -> None:
    end = next(
        at
        for at in range(round(hour.LENGTH), 4 * round(hour.LENGTH))
        if (newest := hour.SCRIPTS["slack-move"].newest(at)) and newest.status == "importer_done"
    )
    left = viewer.values(ONE, "Time left")
    assert left.keys() == {"slack-move"}
    assert left["slack-move"] == pytest.approx(end - hour.LENGTH, rel=0.1)
    about = viewer.values(ONE, "Expected end")["slack-move"] / 1000
    assert about == pytest.approx(hour.END + left["slack-move"], abs=2)


def test_the_pace_is_that_of_the_last_ten_minutes(viewer: Viewer) -> None:
    recent = (counts("slack-move")[0] - counts("slack-move", hour.END - 600)[0]) / 600
    shown = viewer.values(ONE, "Records/s")
    assert shown["slack-move"] == pytest.approx(recent, rel=0.1)
    assert shown["stalled"] == 0


def test_the_stall_shows_its_age(viewer: Viewer) -> None:
    shown = viewer.values(ONE, "Last progress")
    assert shown.keys() == {"slack-move", "stalled"}
    assert shown["stalled"] == pytest.approx(hour.END - hour.BEGUN - truth("stalled").updated, abs=2)


def test_the_banner_forbids_a_restart_while_anything_loads_or_runs(viewer: Viewer) -> None:
    """A workspace whose state is not known may have a running import, so the banner must not say yes."""
    banner = next(target for _, target in targets(ONE))
    assert viewer.values(ONE, "May Rocket.Chat be restarted?") == {"": 2}
    quiet, unseen = (
        viewer.look(ONE, banner, workspace=chosen)[0].last
        for chosen in (["nightly-sync", "crash"], ["nightly-sync", "gone"])
    )
    assert (quiet, unseen) == (0, 1)


def test_a_replica_doubles_nothing(viewer: Viewer) -> None:
    assert viewer.values(ALL, "Workspaces") == {"": len(hour.SCRIPTS)}
    assert viewer.values(ALL, "Do not restart") == {"": 2}
    assert viewer.values(ALL, "Need attention") == {"": 3}
    assert viewer.values(ALL, advice.UNSEEN) == {"": 2}
    whole, half = (
        viewer.look(ONE, target, instance=chosen)
        for panel, target in targets(ONE)
        if panel["title"] == "Latest imports"
        for chosen in (REPLICAS, REPLICAS[:1])
    )
    assert whole == half


def test_the_workspaces_can_be_filtered_by_a_label_of_their_own(viewer: Viewer) -> None:
    """A team must be able to see only its own workspaces."""
    rows = next(target for panel, target in targets(ALL) if panel["title"] == "Newest import of each workspace")
    found = viewer.look(ALL, rows, label=["team"], value=["chat", "migration"])
    assert {each.labels["workspace"] for each in found} == {"csv-migration", "slack-move"}


def test_expectations_show_the_share_of_their_limit(viewer: Viewer) -> None:
    title = "Share of each limit"
    run = viewer.values(ALL, title, 3)
    assert run.keys() == {"slack-move"}
    started = next(
        at
        for at in range(round(hour.LENGTH))
        if (newest := hour.SCRIPTS["slack-move"].newest(at)) and newest.status.startswith("importer_importing")
    )
    assert run["slack-move"] == pytest.approx((hour.LENGTH - started) / 3600, rel=0.02)
    assert viewer.values(ALL, title, 4)["slack-move"] == pytest.approx(12 / 90_900 / 0.01, rel=0.01)
    assert viewer.values(ALL, title, 2)["csv-migration"] > 1 > viewer.values(ALL, title, 2)["nightly-sync"]


@pytest.mark.parametrize("workspace", ["untouched", "nightly-sync", "slack-move"])
def test_a_table_of_several_queries_has_at_least_two_with_rows(workspace: str, viewer: Viewer) -> None:
    """If only one query has rows, Grafana names its values differently, and the column would be lost."""
    for uid, board in BOARDS.items():
        for panel in panels(board):
            own = [target for found, target in targets(board) if found is panel and target["format"] == "table"]
            filled = [target for target in own if viewer.look(board, target, workspace=[workspace])]
            assert len(own) == 1 or len(filled) != 1, (uid, panel["title"])


def test_prometheus_refuses_an_invalid_query(viewer: Viewer) -> None:
    """The other tests rely on it."""
    with pytest.raises(QueryError):
        viewer.prometheus.instant("max by (workspace) (", hour.END)
