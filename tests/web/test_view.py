"""The page shows the right words, the most urgent first, and a rate only for an import that moves."""

import json
import shlex
import subprocess
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import yaml

from rc_import_exporter.core import advice
from rc_import_exporter.core.alerts import raised
from rc_import_exporter.core.domain import Api, Counts, Expectation, Kind, Outcome, Reason, State, Step
from rc_import_exporter.core.snapshot import Feed, Record
from rc_import_exporter.core.store import note_fault
from rc_import_exporter.web import api, view
from rc_import_exporter.web.fields import Danger, Level, WorkspaceView
from rc_import_exporter.web.remarks import GONE, LET_IT_END
from tests.support.gallery import (
    LATER,
    blinking,
    crowd,
    failed,
    gallery,
    importing,
    incomplete,
    interrupted,
    loading,
    overdue,
    progress_alone,
    refused,
    stalled,
    synchronised,
    told,
    waiting,
    workspace,
)
from tests.support.pictures import NOW, finished, lost, operation, picture, running, untouched

RUNBOOK: Final = Path(__file__).parents[2] / "rc_import_exporter" / "web" / "runbook.md"
RULES: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "rocketchat-import.rules.yml"


def shown(record: Record, now: float = LATER) -> WorkspaceView:
    """The record as it is shown."""
    return view.view(record, now)


def texts(seen: WorkspaceView) -> str:
    """The texts of all remarks on a workspace."""
    return "\n".join(remark.text for remark in seen.remarks)


@pytest.mark.parametrize(
    ("table", "members"),
    [
        (advice.OUTCOMES, Outcome),
        (advice.REASONS, Reason),
        (advice.STATES, State),
        (advice.STEPS, Step),
    ],
    ids=["outcomes", "reasons", "states", "steps"],
)
def test_every_member_has_its_words(table: Collection[str], members: Collection[str]) -> None:
    """A new member without words would fail on the page."""
    assert set(table) == set(members)


@pytest.mark.parametrize("outcome", Outcome)
def test_what_ended_badly_comes_with_advice(outcome: Outcome) -> None:
    """People who are woken need to know what to do. A good outcome needs no advice."""
    peaceful = {Outcome.NONE, Outcome.SUCCEEDED}
    assert bool(advice.OUTCOMES[outcome].advice) == (outcome not in peaceful)


@pytest.mark.parametrize("reason", Reason)
def test_every_failure_comes_with_advice(reason: Reason) -> None:
    """Each reason says what to do, and which alert tells of it."""
    words = advice.REASONS[reason]
    assert words.advice
    assert words.alert


@pytest.mark.parametrize("outcome", Outcome)
def test_advice_is_about_the_importer(outcome: Outcome) -> None:
    """People who migrate from Slack should not have to read what is true for other importers."""
    steps = advice.OUTCOMES[outcome].advice
    slack, csv, api = (" ".join(advice.fitting(steps, importer)) for importer in ("slack", "csv", "api"))
    assert "CSV" not in slack
    assert "API" not in slack + csv
    assert "Slack" not in csv + api
    assert ("a second time" in csv) == ("safe" in slack)


@pytest.mark.parametrize("command", [text for forms in advice.COMMANDS.values() for text in forms.values()])
def test_a_shell_understands_every_command(command: str) -> None:
    """A missing quote would only be noticed at night."""
    ran = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert any("rocketchat_import_data" in word for word in shlex.split(command))


@pytest.mark.parametrize("command", [text for forms in advice.COMMANDS.values() for text in forms.values()])
def test_the_runbook_has_the_same_commands(command: str) -> None:
    """It also says how to set their variables. Two forms of one command would leave open which one is right."""
    assert f"\n{command}\n" in RUNBOOK.read_text(encoding="utf-8")


def test_advice_names_alerts_that_exist() -> None:
    """Links into the runbook lead to a heading."""
    rules = {
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    named = {words.alert for table in (advice.OUTCOMES, advice.REASONS) for words in table.values()} - {""}
    remarked = {alert for record in gallery().records.values() for alert in shown(record).alerts}
    assert {f"RocketChatImport{alert}" for alert in named | remarked} - rules == set()


@pytest.mark.parametrize("name", gallery().records)
def test_the_page_names_what_is_raised_once_and_in_order(name: str) -> None:
    """`tests/laws` compares what is raised with the rules."""
    record = gallery().records[name]
    assert shown(record).alerts == tuple(dict.fromkeys(each.alert for each in raised(record, LATER)))


def test_a_workspace_that_is_not_polled_yet_has_the_alert_that_is_pending() -> None:
    """If its first poll never comes, nothing else says so."""
    seen = shown(workspace("unpolled"))
    assert (seen.level, seen.title, seen.alerts) == (Level.WAITING, "Not polled yet", ("DataStale",))


def test_a_running_import_shows_rate_and_time_left() -> None:
    """500 records in 15 s, and 3,518 to go; 20 users count twice."""
    operation = shown(running("acme")).operation
    assert operation is not None
    assert operation.records_per_second == pytest.approx(500 / 15)
    assert operation.seconds_left == pytest.approx((3_518 + 20) / (500 / 15))
    assert operation.progress_ratio == pytest.approx(1_502 / 5_020)


@pytest.mark.parametrize(
    ("record", "now"),
    [
        (running("acme", polls=1), LATER),
        (running("acme"), LATER + 80.0),
        (interrupted("acme"), LATER),
        (finished("acme"), LATER),
        (blinking("acme"), LATER),
    ],
    ids=["one movement", "moves no more", "cut off", "done", "no answer"],
)
def test_what_does_not_move_has_no_rate(record: Record, now: float) -> None:
    """An old rate does not tell when the import will be done."""
    operation = shown(record, now).shown_operation
    assert operation is not None
    assert (operation.records_per_second, operation.seconds_left) == (None, None)


def test_a_loading_import_has_no_progress() -> None:
    """The total grows while it loads, and a share would fall."""
    operation = shown(loading("acme")).operation
    assert operation is not None
    assert operation.progress_ratio is None


def test_progress_is_at_most_all() -> None:
    """Users of a file import are counted twice: 43 of 20 is 100 %, and is explained."""
    seen = shown(finished("acme"))
    assert seen.operation is not None
    assert seen.operation.progress_ratio == 1.0
    assert "twice" in texts(seen)


def test_the_most_urgent_come_first() -> None:
    """By level, then what happened last, then by name."""
    seen = view.overview(gallery(), LATER)
    levels = [list(Level).index(each.level) for each in seen.workspaces]
    assert levels == sorted(levels)
    assert [each.name for each in seen.workspaces][:3] == ["hooli", "initech", "globex"]
    assert sum(seen.levels.values()) == seen.total == len(seen.workspaces)


@pytest.mark.parametrize(
    ("search", "level", "found"),
    [
        ("workspace-007", "", 1),
        ("WORKSPACE-00", "", 10),
        ("region=eu", "", 20),
        ("region=eu workspace-00", "", 4),
        ("region=eu region=us", "", 0),
        ("", "critical", 5),
        ("region=eu", "critical", 1),
        ("", "", 60),
    ],
)
def test_a_search_finds_names_and_labels(search: str, level: str, found: int) -> None:
    """Each word must be in the name or in a label. The totals do not change."""
    seen = view.overview(crowd(60), LATER, search, level)
    assert len(seen.workspaces) == found
    assert seen.total == 60
    assert seen.levels[Level.CRITICAL] == 5


def test_loading_and_running_imports_forbid_a_restart() -> None:
    """A waiting import survives a restart. One that only `getImportProgress` reports does not."""
    assert shown(running("acme")).restart_safe is False
    assert shown(loading("acme")).restart_safe is False
    assert shown(progress_alone("acme")).restart_safe is False
    assert shown(waiting("acme")).restart_safe
    assert shown(interrupted("acme")).restart_safe
    endangered = view.overview(gallery(), LATER).endangered
    assert endangered[Danger.RUNS] == ("acme", "hostile", "stark", "wonka")
    assert endangered[Danger.STALLED] == ("wayne",)
    assert endangered[Danger.SILENT] == ("cyberdyne", "gone")


@pytest.mark.parametrize(
    ("record", "first"),
    [
        (stalled("acme"), "Find out what Rocket.Chat waits for"),
        (lost("acme"), "Open Rocket.Chat in a browser. If it is down, start it"),
        (blinking("acme"), "Open Rocket.Chat in a browser. If it is down, start it"),
        (refused(running("acme"), 0.0, Reason.UNAUTHORIZED, 401), "Do not restart or scale Rocket.Chat"),
        (refused(workspace("acme"), 0.0, Reason.UNAUTHORIZED, 401), "Create a new token"),
        (refused(untouched("acme"), 0.0, Reason.CONNECTION, None), "Rocket.Chat is down"),
        (overdue("acme"), "Check the job that starts the import"),
    ],
    ids=["stalled", "lost", "no answer", "revoked while running", "wrong token", "down", "overdue"],
)
def test_what_is_wrong_comes_with_its_steps(record: Record, first: str) -> None:
    """What to do must not depend on which part of the page says that something is wrong."""
    steps = shown(record).advice
    assert steps[0].startswith(first)
    assert len(set(steps)) == len(steps)


def test_a_server_that_is_gone_during_an_import_gets_one_message() -> None:
    """Two different answers to "may I start it?" are worse than none."""
    steps = shown(lost("acme")).advice
    assert steps == advice.SILENT
    revoked = shown(refused(running("acme"), 0.0, Reason.UNAUTHORIZED, 401))
    assert revoked.danger is Danger.UNREAD
    assert any("new token" in step for step in revoked.advice)


def test_a_bad_end_of_another_importer_stays_visible() -> None:
    """A later import of avatars repairs nothing in a failed Slack import."""
    avatars = replace(importing(5, 10.0, step=Step.DONE, id="z"), importer="pending-avatars", created=NOW - 60)
    seen = shown(told(failed("acme"), 0.0, avatars, importing(500, 20.0, step=Step.IMPORT_FAILED)))
    (earlier,) = seen.unresolved
    assert (earlier.importer, earlier.level, earlier.title) == ("slack", Level.CRITICAL, "Failed")
    log, save, again = advice.fitting(advice.OUTCOMES[Outcome.FAILED].advice, "slack")
    assert save in advice.COMMANDS
    assert earlier.advice == (log, GONE, again)
    assert (seen.level, seen.title) == (Level.CRITICAL, "Failed before")
    assert seen.advice == ()
    assert "level" in (listed := json.loads(api.workspace_json(seen))["unresolved"][0])
    assert listed["advice"] == list(earlier.advice)


def test_an_earlier_bad_end_is_no_reason_to_disturb_the_import_that_runs() -> None:
    """A page must not say "start the import again" beside one that runs."""
    avatars = replace(importing(5, 10.0, id="z"), importer="pending-avatars", created=NOW - 60)
    seen = shown(told(failed("acme"), 0.0, avatars, importing(500, 20.0, step=Step.IMPORT_FAILED)))
    assert seen.outcome is Outcome.RUNNING
    assert seen.unresolved[0].advice[0] == LET_IT_END


@pytest.mark.parametrize(("importer", "first"), [("slack", True), ("pending-avatars", False)])
def test_an_import_that_waits_is_not_started_before_the_earlier_one_is_repaired(importer: str, *, first: bool) -> None:
    """A second run of a CSV import creates all messages a second time."""
    next_one = replace(importing(0, 10.0, step=Step.USER_SELECTION, id="z"), importer=importer, created=NOW - 60)
    seen = shown(told(failed("acme"), 0.0, next_one, importing(500, 20.0, step=Step.IMPORT_FAILED)))
    assert [each.importer for each in seen.unresolved] == ["slack"]
    assert (seen.advice[0] == advice.REPEATED) is first
    assert seen.advice[-1] == advice.OUTCOMES[Outcome.WAITING].advice[0]


def test_the_title_in_the_tab_says_how_far_it_is_or_how_it_ended() -> None:
    """The title is all that people see of a page in the background."""
    assert shown(running("hours")).tab == "29 % · hours"
    assert shown(interrupted("hours")).tab == "Cut off · hours"
    assert shown(stalled("hours")).tab == "Stalled · hours"
    assert view.overview(gallery(), LATER).tab == "(13) Failed · hooli"
    assert view.overview(picture([untouched("acme")]), LATER).tab == "Rocket.Chat imports"
    assert view.overview(picture([loading("acme")]), LATER).tab == "Loading · acme"


def test_an_import_in_an_unknown_step_wants_a_look() -> None:
    """The import may run or not, so people should rely on neither."""
    seen = shown(told(workspace("acme"), 0.0, importing(10, 5.0, step=Step.UNKNOWN)))
    assert (seen.level, seen.danger, seen.restart_safe) == (Level.WARNING, None, None)


def test_an_import_lost_from_sight_is_critical_and_its_last_known_state_stays() -> None:
    """An old state must not look like the current one."""
    seen = shown(lost("acme"))
    assert (seen.level, seen.title, seen.outcome) == (Level.CRITICAL, "Lost sight", None)
    assert seen.last_known is not None
    assert seen.last_known.outcome is Outcome.RUNNING
    assert seen.sentence.startswith("No connection")
    assert seen.alerts[0] == "LostSight"


def test_a_workspace_at_rest_that_cannot_be_reached_is_no_emergency() -> None:
    """No import can be lost."""
    gone = refused(untouched("acme"), 0.0, Reason.CONNECTION, None)
    assert shown(gone, LATER + 3600.0).level is Level.WARNING


def test_one_poll_without_an_answer_keeps_the_state_and_says_of_when_it_is() -> None:
    """Single polls often fail, and the state is still fresh enough."""
    seen = shown(blinking("acme"))
    assert seen.outcome is Outcome.RUNNING
    assert (seen.up, seen.danger, seen.level) == (False, Danger.SILENT, Level.WARNING)
    assert [problem.reason for problem in seen.failures] == [Reason.TIMEOUT]


def test_a_read_only_token_is_enough() -> None:
    """Careful people use one. The refused endpoint is then no problem to solve."""
    seen = shown(finished("acme"))
    assert seen.source_note is not None
    assert "read-only: enough" in seen.source_note
    assert [(each.apis, each.known_limit, each.advice) for each in seen.problems] == [((Api.STATUS,), True, ())]
    assert seen.failures == ()


def test_a_missing_permission_is_named_with_the_place_to_grant_it() -> None:
    """Endpoints that fail alike are one problem."""
    seen = shown(refused(workspace("acme"), 0.0, Reason.FORBIDDEN, 403))
    (problem,) = seen.problems
    assert problem.apis == (Api.PROGRESS, Api.LIST, Api.STATUS)
    said = " ".join(problem.advice)
    assert "Administration → Workspace → Permissions" in said
    assert "`view-import-operations`" in said
    assert "`import.status` needs `run-import`" in said
    assert seen.alerts == ("PermissionMissing",)


def test_an_api_import_of_existing_people_is_no_failure() -> None:
    """Unless an expectation limits how many may be rejected."""
    assert shown(synchronised("acme")).level is Level.QUIET
    watched = shown(synchronised("acme", failed_ratio=0.05))
    assert watched.level is Level.WARNING
    assert "100 % rejected, more than the limit of 5 %" in texts(watched)
    assert shown(synchronised("acme", failed_ratio=1.0)).level is Level.QUIET


def test_a_stall_is_critical() -> None:
    """A stalled import needs someone. The time without progress shows how urgent it is."""
    seen = shown(stalled("acme"))
    assert (seen.level, seen.title) == (Level.CRITICAL, "Stalled")
    assert "No progress for 1 h" in texts(seen)


def test_a_missing_success_is_overdue() -> None:
    """A job that never starts raises no error anywhere else."""
    seen = shown(overdue("acme"))
    assert (seen.level, seen.title) == (Level.CRITICAL, "Overdue")
    assert "The last success is 2 d 7 h ago, but one is expected every 1 d 2 h" in texts(seen)
    expect = Expectation(importer="csv", success_every=3600.0)
    other = replace(overdue("acme"), target=workspace("acme", expect=expect).target)
    assert "No success is known" in texts(shown(other))
    first = told(workspace("acme", expect=expect), 0.0, importing(100, 5.0))
    assert shown(first).level is Level.ACTIVE


def test_the_first_interval_begins_with_the_first_poll() -> None:
    """An expectation that was added today is not missed today, however old the last success is."""
    seen = shown(replace(overdue("acme"), first_poll=NOW - 90_000.0))
    assert (seen.level, seen.title, seen.alerts) == (Level.WARNING, "Succeeded", ())
    assert "The last success is 2 d 7 h ago" in texts(seen)


def test_an_import_that_takes_too_long_is_mentioned() -> None:
    """A configured limit counts only for its importer."""
    expect = Expectation(importer="slack", longest_run=60.0)
    slow = told(told(workspace("acme", expect=expect), 90.0, importing(50, 95.0)), 0.0, importing(100, 5.0))
    assert shown(slow).title == "Running too long"
    assert "It has been running for at least 1 min, longer than 1 min" in texts(shown(slow))
    assert shown(replace(slow, target=workspace("acme").target)).title == "Importing"
    late = told(workspace("acme"), 0.0, operation("w" * 17, Step.USER_SELECTION, created=20_000.0))
    assert "waiting to be started for 5 h 33 min" in texts(shown(late))


def test_fewer_records_than_expected_are_mentioned() -> None:
    """A synchronisation of forty people instead of thousands is no success."""
    few = replace(overdue("acme"), target=workspace("acme", expect=Expectation(min_records=400)).target)
    assert (shown(few).level, shown(few).title) == (Level.QUIET, "Succeeded")
    assert "40 records, but at least 400 are expected" in texts(shown(few))
    done = operation("k" * 17, Step.DONE, created=60.0, updated=9.0, counts=Counts(total=40, completed=40, failed=0))
    new = told(few, 0.0, done)
    assert (shown(new).level, shown(new).title) == (Level.WARNING, "Too few records")


def test_rejections_are_measured_among_people() -> None:
    """Rocket.Chat never counts rejected messages: 15 of 20 people are many, whatever the number of messages."""
    counts = Counts(total=5_020, completed=5_020, failed=15, staged={Kind.USERS: 20, Kind.MESSAGES: 5_000})
    done = operation("p" * 17, Step.DONE, created=60.0, counts=counts)
    seen = shown(told(workspace("acme"), 0.0, done))
    assert seen.sentence.startswith("Done with errors: 15 of 20 users rejected")
    assert "75 % rejected, more than the limit of 5 %" in texts(seen)
    runs = replace(done, step=Step.IMPORTING_MESSAGES)
    assert "15 of 20 users rejected so far, more than the limit of 5 %" in texts(shown(told(workspace("a"), 0.0, runs)))


def test_ages_are_measured_by_the_server_s_clock() -> None:
    """An import on a server whose clock is an hour behind has not stalled."""
    record = stalled("acme")
    feeds = {api: replace(feed, skew=-3_600.0) for api, feed in record.feeds.items()}
    seen = shown(replace(record, feeds=feeds))
    assert seen.level is Level.ACTIVE
    assert "The server's clock is 1 h behind the exporter's" in texts(seen)


@pytest.mark.parametrize(("ahead", "notable"), [(29.9, False), (30.0, True), (-29.9, False), (-30.0, True)])
def test_a_clock_that_is_off_by_half_a_minute_is_mentioned(ahead: float, *, notable: bool) -> None:
    """From the same difference as in `check`, so that both say the same."""
    record = finished("acme")
    feeds = {api: replace(feed, skew=ahead) for api, feed in record.feeds.items()}
    assert ("The server's clock is" in texts(shown(replace(record, feeds=feeds)))) == notable


def test_a_fault_of_ours_is_shown_as_ours() -> None:
    """People should not look for it in Rocket.Chat."""
    seen = shown(note_fault(running("acme"), NOW))
    assert [problem.reason for problem in seen.failures] == [Reason.INTERNAL]
    assert seen.level is Level.WARNING


def test_a_workspace_that_was_not_polled_yet_is_no_failure() -> None:
    """A page that shows an error at each start would be ignored."""
    seen = shown(workspace("acme"))
    assert (seen.level, seen.title, seen.failures) == (Level.WAITING, "Not polled yet", ())


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (running("acme"), "import.status and the list of operations"),
        (progress_alone("acme"), "getImportProgress alone"),
        (
            replace(running("acme"), feeds={Api.STATUS: Feed(api=Api.STATUS, at=NOW, answered=NOW)}),
            "import.status; an import",
        ),
    ],
    ids=["both", "fallback", "import.status alone"],
)
def test_it_says_where_the_state_was_read(record: Record, words: str) -> None:
    """Each source misses something, and the page says what."""
    assert (shown(record).source_note or "").startswith(words)


def test_earlier_operations_are_listed_newest_first() -> None:
    """The current one is shown above them."""
    earlier = view.details(running("acme"), LATER).earlier_operations
    assert [each.outcome for each in earlier] == [Outcome.FAILED, Outcome.COMPLETED_WITH_ERRORS]


def test_a_cut_off_import_tells_its_cause() -> None:
    """The cause decides what to do next."""
    assert (
        "the server restarted, another server of the cluster started, or an administrator cleared it"
        in shown(interrupted("acme")).sentence
    )
    assert "cleared it, or another server" in shown(incomplete("acme")).sentence
