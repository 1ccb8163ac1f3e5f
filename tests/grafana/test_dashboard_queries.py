"""Every query of every dashboard, as Grafana's own code writes it, against a real Prometheus.

The Prometheus has one hour of fifteen simulated workspaces, scraped from two replicas every 15 s or every 60 s. Results
are compared with the simulator's data.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import pytest

from grafana import words
from grafana.panels import EMPTY
from rc_import_exporter.core import advice
from rc_import_exporter.core.domain import Outcome, Step
from rc_import_exporter.simulator.importer import Document
from tests.support import hour
from tests.support.grafana import (
    NEWEST,
    OLDEST,
    Column,
    Grafana,
    Tree,
    annotations,
    load,
    panels,
    running,
    targets,
)
from tests.support.prometheus import Prometheus, QueryError, Series, serving
from tests.support.timeline import openmetrics

pytestmark = [pytest.mark.program("prometheus", "promtool", "node", "npm"), pytest.mark.xdist_group("hour")]

BOARDS: Final = load()
ONE, ALL, EXPORTER = (BOARDS[uid] for uid in ("rocketchat-import", "rocketchat-imports", "rocketchat-import-exporter"))
REPLICAS: Final = ("exporter-0:19458", "exporter-1:19458")
JOB: Final = "rocketchat-import"
LOOKED_AT: Final = hour.END - 1


Choice = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Opens dashboards in Grafana and sends their queries to a Prometheus."""

    prometheus: Prometheus
    grafana: Grafana

    def look(self, board: Tree, target: Tree, *, at: float = LOOKED_AT, **chosen: Choice) -> Sequence[Series]:
        """The result of a panel's query, over the hour or at a time, with these values of variables."""
        self.grafana.open(board, **chosen)
        return self._result(target, at)

    def panel(self, board: Tree, title: str, **chosen: Choice) -> Mapping[str, Column]:
        """What a panel of instant queries shows, by column."""
        self.grafana.open(board, **chosen)
        panel = named(board, title)
        return self.grafana.show(
            panel, [self._result(target, LOOKED_AT) for found, target in targets(board) if found is panel]
        )

    def everywhere(self, title: str, query: int = 0, *, at: float = LOOKED_AT) -> Mapping[str, float]:
        """The value of a panel of the dashboard of one import for each workspace that has one."""
        found = {}
        for workspace in hour.SCRIPTS:
            if series := self.look(ONE, queries(ONE, title)[query], at=at, workspace=workspace):
                assert len(series) == 1, "a workspace appears twice"
                found[workspace] = series[0].last
        return found

    def values(self, board: Tree, title: str, query: int = 0, *, at: float = LOOKED_AT) -> Mapping[str, float]:
        """The value of a panel for each workspace; the key is empty if the panel shows one number."""
        found = self.look(board, queries(board, title)[query], at=at)
        assert len({each.labels.get("workspace", "") for each in found}) == len(found), "a workspace appears twice"
        return {each.labels.get("workspace", ""): each.last for each in found}

    def _result(self, target: Tree, at: float) -> Sequence[Series]:
        query = self.grafana.query(target)
        if target["range"]:
            return self.prometheus.range(query, hour.BEGUN, hour.END, 60.0)
        return self.prometheus.instant(query, at)


Open = Callable[..., Viewer]


def named(board: Tree, title: str) -> Tree:
    """The panel with this title."""
    return next(panel for panel in panels(board) if panel["title"] == title)


def queries(board: Tree, title: str) -> Sequence[Tree]:
    """The queries of the panel with this title."""
    return [target for panel, target in targets(board) if panel["title"] == title]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Makes viewers of samples, in OpenMetrics lines, for a release of Grafana."""
    with ExitStack() as stack:

        def viewer(lines: Sequence[str], release: str = NEWEST, *, interval: float = 15.0) -> Viewer:
            folder = tmp_path_factory.mktemp("prometheus")
            prometheus = stack.enter_context(serving(folder, lines, interval=interval))
            grafana = stack.enter_context(running(release, url=prometheus.url, start=hour.BEGUN, end=hour.END))
            return Viewer(prometheus=prometheus, grafana=grafana)

        yield viewer


@pytest.fixture(
    scope="module",
    params=[(OLDEST, 15.0), (NEWEST, 60.0)],
    ids=["oldest Grafana, scraped every 15 s", "newest Grafana, scraped every 60 s"],
)
def viewer(request: pytest.FixtureRequest, opened: Open) -> Viewer:
    """A Prometheus that has scraped two replicas for one hour."""
    release, interval = request.param
    pages = hour.scrapes()[:: round(interval / hour.SCRAPE)]
    lines = [line for replica in REPLICAS for line in openmetrics(pages, job=JOB, instance=replica)]
    return opened(lines, release, interval=interval)


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
    chosen = ["slack-move", "csv-migration", "locked-out"] if board is ONE else [sorted(hour.SCRIPTS)]
    empty = [
        f"{panel['title']} {target['refId']}"
        for panel, target in targets(board)
        if not any(viewer.look(board, target, workspace=each) for each in chosen)
    ]
    assert empty == []


@pytest.mark.parametrize("uid", BOARDS)
def test_every_query_is_understood_with_one_workspace_chosen_and_with_two(uid: str, viewer: Viewer) -> None:
    """Names can contain special characters of regular expressions."""
    odd = "csv.migration+(old)"
    for chosen in (["slack-move"], ["slack-move", odd], [odd]):
        for _, target in targets(BOARDS[uid]):
            found = viewer.look(BOARDS[uid], target, workspace=chosen[-1] if BOARDS[uid] is ONE else chosen)
            assert {each.labels["workspace"] for each in found if "workspace" in each.labels} <= {"slack-move"}


@pytest.mark.parametrize("uid", BOARDS)
def test_every_variable_offers_what_there_is(uid: str, viewer: Viewer) -> None:
    """The series have neither a cluster nor a namespace, and All must still select them."""
    found = viewer.grafana.open(BOARDS[uid])
    assert [each.error for each in found.values()] == [None] * len(found)
    assert (found["cluster"].offered, found["namespace"].offered) == ([], [])
    assert found["job"].offered == [JOB]
    assert found["instance"].offered == list(REPLICAS)
    assert found["workspace"].offered == sorted(hour.SCRIPTS)
    if BOARDS[uid] is ALL:
        assert found["label"].offered == ["team", "workspace"]
        assert found["label"].value == "workspace"
        assert found["value"].offered == sorted(hour.SCRIPTS)


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def nothing(request: pytest.FixtureRequest, opened: Open) -> Viewer:
    """A Prometheus that scrapes no exporter."""
    return opened(['unrelated{job="x"} 1 1800000000\n'], request.param)


@pytest.mark.parametrize("uid", BOARDS)
def test_without_an_exporter_every_query_is_still_valid(nothing: Viewer, uid: str) -> None:
    """Panels then say that no exporter is scraped. An error in each of them would say nothing."""
    found = {series.last for _, target in targets(BOARDS[uid]) for series in nothing.look(BOARDS[uid], target)}
    assert found <= {0}


def test_a_dashboard_for_one_import_selects_one_workspace(viewer: Viewer) -> None:
    assert viewer.grafana.open(ONE)["workspace"].value == min(hour.SCRIPTS)
    assert viewer.grafana.open(ONE, workspace="slack-move")["workspace"].value == "slack-move"


def test_links_lead_to_the_page_of_the_workspace(viewer: Viewer) -> None:
    """The page knows what to do about this outcome; a text panel cannot."""
    viewer.grafana.open(ONE, workspace="crash", exporter="https://exporter.example.org")
    text = viewer.grafana.interpolate(str(named(ONE, "What to do")["options"]["content"]))  # type: ignore[index]
    assert "(https://exporter.example.org/workspaces/crash)" in text
    assert "(https://exporter.example.org/runbook)" in text


def test_the_list_of_alerts_is_about_the_selected_workspace(viewer: Viewer) -> None:
    """Other alerts would make a good import look bad."""
    (panel,) = (each for each in panels(ONE) if each["type"] == "alertlist")
    viewer.grafana.open(ONE, workspace="crash")
    options = panel["options"]
    assert isinstance(options, dict)
    assert viewer.grafana.interpolate(options["alertInstanceLabelFilter"]) == '{workspace="crash"}'


def marks(viewer: Viewer, name: str, workspace: str) -> Sequence[Series]:
    """The marks of an annotation on the dashboard of one import."""
    viewer.grafana.open(ONE, workspace=workspace)
    annotation = next(each for each in annotations(ONE) if each["name"] == name)
    return viewer.prometheus.range(viewer.grafana.query(annotation), hour.BEGUN, hour.END, 60.0)


def test_annotations_stand_at_the_instants_at_which_imports_began_and_ended(viewer: Viewer) -> None:
    """Marks at the times of scrapes would be up to a minute off, so they come from the server's timestamps."""
    story = truth("csv-migration")
    (created,) = marks(viewer, "Import created", "csv-migration")
    (ended,) = marks(viewer, "Import ended", "csv-migration")
    assert created.last / 1000 == pytest.approx(hour.BEGUN + story.created, abs=1)
    assert ended.last / 1000 == pytest.approx(hour.BEGUN + story.updated, abs=1)
    assert marks(viewer, "Import ended", "slack-move") == []
    lost = {name: len(each[0].points) for name in hour.SCRIPTS if (each := marks(viewer, advice.UNSEEN, name))}
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
    (shown,) = viewer.look(ONE, queries(ONE, "Outcome")[0], workspace=name)
    assert shown.last == place
    assert viewer.values(ALL, "Newest import of each workspace")[name] == place


def test_a_workspace_whose_state_is_not_known_says_so(viewer: Viewer) -> None:
    """An old outcome would be wrong, and a missing row would go unnoticed."""
    shown = viewer.everywhere("Outcome")
    assert {name for name, place in shown.items() if place == words.UNSEEN} == {"locked-out", "gone"}


def test_the_step_is_the_server_s(viewer: Viewer) -> None:
    shown = viewer.everywhere("Step")
    for name in ("slack-move", "csv-migration", "phase-throws", "waiting", "crash"):
        place = round(shown[name])
        assert words.STEPS[place].value == Step(truth(name).status.removeprefix("importer_"))


def test_the_records_are_those_that_the_server_counted(viewer: Viewer) -> None:
    """A running import is allowed a delay of 90 s: the server's writes, a poll and a scrape."""
    done, total = viewer.everywhere("Records"), viewer.everywhere("Records", 1)
    for name in ("nightly-sync", "nightly-again", "csv-migration", "rolling-deploy", "crash"):
        assert (done[name], total[name]) == counts(name)
    assert counts("slack-move", hour.END - 90)[0] <= done["slack-move"] <= counts("slack-move")[0]
    assert viewer.everywhere("Rejected")["csv-migration"] == 36


def test_progress_is_a_share_and_is_absent_before_all_is_loaded(viewer: Viewer) -> None:
    """File imports count users twice, and the total grows while loading: both would give a wrong share."""
    shown = viewer.everywhere("Progress")
    processed, total = counts("rolling-deploy")
    assert shown["rolling-deploy"] == pytest.approx(processed / total)
    assert counts("csv-migration")[0] > counts("csv-migration")[1]
    assert shown["csv-migration"] == 1
    assert "untouched" not in shown
    while_loading = hour.BEGUN + 7.5 * hour.MINUTE
    assert truth("slack-move", while_loading).status.startswith("importer_preparing")
    assert "slack-move" not in viewer.everywhere("Progress", at=while_loading)


def test_the_expected_end_is_right_within_a_tenth_and_shown_only_while_an_import_runs(viewer: Viewer) -> None:
    end = next(
        at
        for at in range(round(hour.LENGTH), 4 * round(hour.LENGTH))
        if (newest := hour.SCRIPTS["slack-move"].newest(at)) and newest.status == "importer_done"
    )
    left = viewer.everywhere("Time left")
    assert left.keys() == {"slack-move"}
    assert left["slack-move"] == pytest.approx(end - hour.LENGTH, rel=0.1)
    about = viewer.everywhere("Expected end")["slack-move"] / 1000
    assert about == pytest.approx(hour.END + left["slack-move"], abs=2)


def test_the_pace_is_that_of_the_last_ten_minutes(viewer: Viewer) -> None:
    recent = (counts("slack-move")[0] - counts("slack-move", hour.END - 600)[0]) / 600
    shown = viewer.everywhere("Records/s")
    assert shown["slack-move"] == pytest.approx(recent, rel=0.1)
    assert shown["stalled"] == 0


def test_the_stall_shows_its_age(viewer: Viewer) -> None:
    shown = viewer.everywhere("Last progress")
    assert shown.keys() == {"slack-move", "stalled"}
    assert shown["stalled"] == pytest.approx(hour.END - hour.BEGUN - truth("stalled").updated, abs=2)


@pytest.mark.parametrize(
    ("workspace", "text"),
    {"slack-move": "DO NOT RESTART OR SCALE ROCKET.CHAT NOW", "gone": "Not known", "crash": "Yes"}.items(),
)
def test_the_banner_forbids_a_restart_while_an_import_loads_or_runs(viewer: Viewer, workspace: str, text: str) -> None:
    """A workspace whose state is not known may have a running import, so the banner must not say yes."""
    shown = viewer.panel(ONE, "May Rocket.Chat be restarted?", workspace=workspace)
    assert shown["Value"].texts[0].startswith(text)


def test_a_replica_doubles_nothing(viewer: Viewer) -> None:
    assert viewer.values(ALL, "Workspaces") == {"": len(hour.SCRIPTS)}
    assert viewer.values(ALL, "Do not restart") == {"": 2}
    assert viewer.values(ALL, "Need attention") == {"": 3}
    assert viewer.values(ALL, advice.UNSEEN) == {"": 2}
    (latest,) = queries(ONE, "Latest imports")
    whole, half = (
        viewer.look(ONE, latest, instance=chosen, workspace="slack-move") for chosen in (REPLICAS, REPLICAS[:1])
    )
    assert whole == half


def test_the_workspaces_can_be_filtered_by_a_label_of_their_own(viewer: Viewer) -> None:
    """A team must be able to see only its own workspaces."""
    rows = queries(ALL, "Newest import of each workspace")[0]
    found = viewer.look(ALL, rows, label="team", value=["chat", "migration"])
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
    assert viewer.values(ALL, title, 4)["slack-move"] == pytest.approx(12 / 900 / 0.01)
    assert viewer.values(ALL, title, 5) == {"nightly-sync": pytest.approx(420 / 400)}
    assert viewer.values(ALL, title, 2)["csv-migration"] > 1 > viewer.values(ALL, title, 2)["nightly-sync"]


def tables(board: Tree) -> Iterator[str]:
    """The titles of a dashboard's tables."""
    return (str(panel["title"]) for panel in panels(board) if panel["type"] == "table")


@pytest.mark.parametrize("workspace", ["untouched", "nightly-sync", "slack-move", "locked-out"])
def test_every_table_has_all_its_columns_and_a_dash_where_there_is_no_value(workspace: str, viewer: Viewer) -> None:
    """Grafana fills empty cells with the text for an empty table, "Prometheus scrapes no exporter", or so it did."""
    for board in BOARDS.values():
        for title in tables(board):
            panel = named(board, title)
            nothing = panel["fieldConfig"]["defaults"]["noValue"]  # type: ignore[index]
            shown = viewer.panel(board, title, workspace=workspace if board is ONE else [workspace])
            rows = {len(column.values) for column in shown.values()}
            if rows <= {0}:
                continue
            renamed = panel["transformations"][-1]["options"]["renameByName"]  # type: ignore[index]
            assert {title for name, title in renamed.items() if name.startswith("Value")} <= set(shown)
            for column in shown.values():
                assert nothing not in column.texts, (title, column.title)
                for value, text in zip(column.values, column.texts, strict=True):
                    assert (value is None) == (text == EMPTY), (title, column.title)


def test_the_last_result_of_each_importer_is_shown(viewer: Viewer) -> None:
    """Alerts judge each importer by these numbers, and a later import of another importer does not change them."""
    shown = viewer.panel(ONE, "Last result by importer", workspace="csv-migration")
    assert {column.title: column.texts for column in shown.values()} == {
        "Importer": ["csv"],
        "Records": ["60,240"],
        "Completed": [f"{counts('csv-migration')[0] - 36:,}"],
        "Rejected": ["36"],
        "Share rejected": [f"{36 / 240:.1%}"],
        "Duration": ["34 minutes"],
    }


def test_no_duration_is_shown_in_parts_of_a_second(viewer: Viewer) -> None:
    """Without a number of decimals, Grafana writes "6 seconds, 277 milliseconds"."""
    for board, title in ((ALL, "Newest import of each workspace"), (ONE, "Data age"), (EXPORTER, "Oldest data")):
        for column in viewer.panel(board, title).values():
            assert not any("millisecond" in text for text in column.texts), title


PRODUCTION: Final = {"cluster": "production", "namespace": "chat"}
STAGING: Final = {"cluster": "staging", "namespace": "chat"}


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def clusters(request: pytest.FixtureRequest, opened: Open) -> Viewer:
    """Two clusters with workspaces of the same names. In staging, two of them have changed places."""
    pages = hour.scrapes()[-40:]
    places = {"phase-throws": "nightly-sync", "nightly-sync": "phase-throws"}
    lines = list(openmetrics(pages, job=JOB, instance=REPLICAS[0], **PRODUCTION))
    for line in openmetrics(pages, job=JOB, instance=REPLICAS[0], replica="a", **STAGING):
        name = next((name for name in places if f'workspace="{name}"' in line), "")
        lines.append(line.replace(f'workspace="{name}"', f'workspace="{places[name]}"') if name else line)
    return opened(lines, request.param)


@pytest.mark.parametrize("uid", BOARDS)
def test_each_line_of_a_panel_has_a_name_of_its_own(uid: str, clusters: Viewer) -> None:
    """Lines with the same name look the same. A label that a series does not have would give it a wrong name."""
    board, named_lines = BOARDS[uid], 0
    workspace = "slack-move" if board is ONE else sorted(hour.SCRIPTS)
    for panel in panels(board):
        lines = []
        for target in (each for found, each in targets(board) if found is panel and found["type"] != "table"):
            for series in clusters.look(board, target, workspace=workspace):
                assert set(re.findall(r"{{(.*?)}}", str(target["legendFormat"]))) <= series.labels.keys()
                lines.append(clusters.grafana.legend(target, series.labels))
        assert sorted(set(lines)) == sorted(lines), panel["title"]
        named_lines += len(lines)
    assert named_lines > 10


def test_two_clusters_with_a_workspace_of_the_same_name_are_two_workspaces(clusters: Viewer) -> None:
    """Merged by name, production's failure would look like staging's success, or the other way round."""
    assert clusters.values(ALL, "Need attention") == {"": 6}
    shown = clusters.panel(ALL, "Newest import of each workspace")
    assert len(shown["Workspace"].values) == 2 * len(hour.SCRIPTS)
    found = {
        (cluster, workspace): text
        for cluster, workspace, text in zip(
            shown["Cluster"].values, shown["Workspace"].values, shown["Outcome"].texts, strict=True
        )
    }
    assert found["production", "nightly-sync"] == found["staging", "phase-throws"] == "Succeeded"
    assert found["staging", "nightly-sync"] == found["production", "phase-throws"] == "Failed"


def test_a_cluster_can_be_chosen(clusters: Viewer) -> None:
    chosen = clusters.grafana.open(ALL)
    assert (chosen["cluster"].offered, chosen["namespace"].offered) == (["production", "staging"], ["chat"])
    assert chosen["label"].offered == ["team", "workspace"], "labels of the scrape are no labels of a workspace"
    shown = clusters.panel(ALL, "Newest import of each workspace", cluster=["staging"])
    assert set(shown["Cluster"].values) == {"staging"}
    for cluster, text in {"production": "Succeeded", "staging": "Failed"}.items():
        (shown,) = [clusters.panel(ONE, "Outcome", workspace="nightly-sync", cluster=cluster)]
        assert [column.texts for title, column in shown.items() if title != "Time"] == [[text]]


def of_one_workspace(samples: Mapping[str, float]) -> list[str]:
    """The lines of these samples, by name and labels without what is the same in all."""
    target = f'job="{JOB}",instance="{REPLICAS[0]}",workspace="one"'
    lines = []
    for name, value in {"up": 1, "workspace_info": 1, "exporter_build_info": 1, **samples}.items():
        metric, _, labels = name.rstrip("}").partition("{")
        whole = ",".join(filter(None, [target, labels]))
        lines.append(f"rocketchat_import_{metric}{{{whole}}} {value} {LOOKED_AT:.0f}\n")
    return lines


def test_limits_are_about_the_last_import_of_each_importer(opened: Open) -> None:
    """Like the alerts: a download of files after a Slack import does not hide what that import rejected."""
    viewer = opened(
        of_one_workspace(
            {
                'outcome{outcome="succeeded"}': 1,
                "operation_records": 5,
                "operation_records_completed": 5,
                "operation_records_failed": 0,
                'last_finished_failed_ratio{importer="slack"}': 0.2,
                'last_finished_records_completed{importer="slack"}': 240,
                'last_finished_records_failed{importer="slack"}': 60,
                'last_finished_failed_ratio{importer="pending-files"}': 0,
                'last_finished_records_completed{importer="pending-files"}': 5,
                'last_finished_records_failed{importer="pending-files"}': 0,
                'expected_failed_ratio{importer=""}': 0.1,
                'expected_records{importer="slack"}': 400,
            }
        )
    )
    rejected, least = queries(ALL, "Share of each limit")[4:6]
    assert viewer.look(ALL, rejected)[0].last == pytest.approx(2)
    assert viewer.look(ALL, least)[0].last == pytest.approx(300 / 400)


def test_an_importer_that_is_not_known_has_its_limits_under_the_name_that_finished_imports_have(opened: Open) -> None:
    """Alerts and pages hold "other" to the limits of an importer that the exporter does not know. So must the table."""
    viewer = opened(
        of_one_workspace(
            {
                'outcome{outcome="running"}': 1,
                'operation_info{importer="ours"}': 1,
                "operation_run_started_timestamp_seconds": LOOKED_AT - 300,
                'last_finished_timestamp_seconds{importer="other",outcome="succeeded"}': LOOKED_AT - 7200,
                'last_finished_failed_ratio{importer="other"}': 0.2,
                'last_finished_records_completed{importer="other"}': 240,
                'last_finished_records_failed{importer="other"}': 60,
                'expected_success_interval_seconds{importer="ours"}': 14_400,
                'expected_run_seconds{importer="ours"}': 600,
                'expected_failed_ratio{importer="ours"}': 0.1,
                'expected_records{importer="ours"}': 400,
            }
        )
    )
    shares = queries(ALL, "Share of each limit")[2:6]
    assert [viewer.look(ALL, share)[0].last for share in shares] == pytest.approx([0.5, 0.5, 2, 0.75])


@pytest.mark.parametrize("ahead", [3600, 0, -3600])
def test_a_clock_that_is_wrong_changes_no_age(ahead: int, opened: Open) -> None:
    """The server's timestamps are by the server's clock, and the panels compare them with ours."""
    done = LOOKED_AT + ahead
    samples = {
        'outcome{outcome="running"}': 1,
        "server_clock_offset_seconds": ahead,
        "operation_progress_timestamp_seconds": done - 120,
        "operation_run_started_timestamp_seconds": done - 300,
        "operation_created_timestamp_seconds": done - 400,
        'operation_info{importer="csv",operation_id="a"}': 1,
        "operation_records": 100,
        'operation_staged_records{kind="users"}': 20,
        "operation_records_completed": 30,
        "operation_records_failed": 0,
        'last_finished_timestamp_seconds{importer="csv",outcome="succeeded"}': done - 7200,
        'expected_success_interval_seconds{importer="csv"}': 14_400,
    }
    viewer = opened(of_one_workspace(samples))
    assert viewer.look(ONE, queries(ONE, "Last progress")[0])[0].last == pytest.approx(120)
    assert viewer.look(ONE, queries(ONE, "Records/s")[0])[0].last == pytest.approx(0.1)
    # Users count twice in a file import of an unknown version.
    assert viewer.look(ONE, queries(ONE, "Time left")[0])[0].last == pytest.approx((100 + 20 - 30) / 0.1)
    assert viewer.look(ALL, queries(ALL, "Share of each limit")[2])[0].last == pytest.approx(0.5)
    assert viewer.panel(ALL, "Newest import of each workspace")["Last progress"].texts == ["2 minutes ago"]
    (mark,) = marks(viewer, "Import created", "one")
    assert mark.last / 1000 == pytest.approx(LOOKED_AT - 400)


def test_prometheus_refuses_an_invalid_query(viewer: Viewer) -> None:
    """The other tests rely on it."""
    with pytest.raises(QueryError):
        viewer.prometheus.instant("max by (workspace) (", hour.END)
