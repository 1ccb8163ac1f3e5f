"""`watch` on simulated servers in virtual time: which import it follows, and its exit code."""

import asyncio
import io
import json
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from rc_import_exporter import cli
from rc_import_exporter.commands.display import SHOWN_FIELDS, Display, JsonLines, Lines
from rc_import_exporter.commands.exits import Exit, worst
from rc_import_exporter.commands.watch import Watch, Wish
from rc_import_exporter.core.advice import OUTCOMES, fitting
from rc_import_exporter.core.domain import Api, Outcome
from rc_import_exporter.simulator import faults
from rc_import_exporter.simulator.recording import Recording
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.script import Script
from rc_import_exporter.simulator.server import LoopClock, SimulatedServers
from rc_import_exporter.simulator.stories import (
    MINUTE,
    Telling,
    cleared_by_admin,
    crash,
    csv_migration,
    idle,
    nightly_sync,
    odd_words,
    phase_throws,
    read_only,
    rolling_deploy,
    stalls,
    superseded,
    waits_for_start,
)
from tests.support.rig import RECORDINGS, configure

pytestmark = [pytest.mark.looptime]

YESTERDAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a watch: its exit code, its seconds, and its output."""

    code: int
    seconds: float
    shown: str
    asked: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The last line that is no step to take."""
        return [line for line in self.shown.splitlines() if ": -> " not in line][-1]

    def came_to(self, code: int, seconds: float) -> bool:
        """Whether the watch ended with this code, at this second of the loop's time."""
        return self.code == code and abs(self.seconds - seconds) <= 2


async def watched(
    scripts: Mapping[str, Script],
    wish: Wish | None = None,
    *,
    as_json: bool = False,
    after: float = 0.0,
    **options: str,
) -> Ended:
    """Watches these workspaces, begun `after` seconds into their scripts, until it ends by itself.

    `url` is the pattern of a URL without its scheme, and names of options have `__` for a dot.
    """
    clock = LoopClock()
    stream = io.StringIO()
    display: Display = JsonLines(stream) if as_json else Lines(stream)
    async with SimulatedServers(scripts, clock=clock) as servers:
        await asyncio.sleep(after)
        pattern = options.pop("url", "http{}")
        urls = {name: pattern.format(servers.url(name).removeprefix("http")) for name in scripts}
        dotted = {name.replace("__", "."): text for name, text in options.items()}
        configured = configure(urls, dotted)
        began = clock.now()
        code = await Watch(configured, wish or Wish(), display, clock.now).run()
        asked = tuple(seen.endpoint for name in scripts for seen in servers.workspaces[name].requests)
        return Ended(code=code, seconds=clock.now() - began, shown=stream.getvalue(), asked=asked)


async def started() -> float:
    """The Unix second at which the scripts of the next watch begin."""
    return LoopClock().now()


def after_yesterdays(telling: Telling) -> Telling:
    """A story in a workspace whose last import succeeded a day ago."""

    def tell(stage: Stage) -> None:
        stage.remember("api", age=YESTERDAY, valid=True, total=100, completed=100, error=0)
        stage.wait(MINUTE)
        telling(stage)
        stage.wait(60 * MINUTE)

    return tell


def unhurried(telling: Telling) -> Telling:
    """A story that begins after a minute and ends with an hour of silence."""

    def tell(stage: Stage) -> None:
        stage.wait(MINUTE)
        telling(stage)
        stage.wait(60 * MINUTE)

    return tell


PARTS: Mapping[str, tuple[Telling, Exit]] = {
    "succeeds": (nightly_sync(waiting=20, running=300), Exit.DONE),
    "succeeds, by a read-only token": (read_only(nightly_sync(waiting=20, running=300)), Exit.DONE),
    "rejects some": (csv_migration(waiting=20, running=300), Exit.WITH_ERRORS),
    "a phase throws": (phase_throws(waiting=20, running=300), Exit.BROKEN_OFF),
    "the server crashes": (crash(waiting=20, running=300, killed_after=150, away=40), Exit.BROKEN_OFF),
    "another server starts": (rolling_deploy(waiting=20, running=300, killed_after=150), Exit.BROKEN_OFF),
    "an administrator clears it": (cleared_by_admin(waiting=20, running=300), Exit.BROKEN_OFF),
    "another import takes its place": (superseded(waiting=20, running=300), Exit.BROKEN_OFF),
    "a step of the future, then canceled": (odd_words(), Exit.BROKEN_OFF),
}


@pytest.mark.parametrize("before", [unhurried, after_yesterdays], ids=["the first import", "after a success"])
@pytest.mark.parametrize("part", PARTS)
async def test_it_ends_by_the_outcome_of_the_next_import(part: str, before: Callable[[Telling], Telling]) -> None:
    """Earlier imports do not count."""
    telling, code = PARTS[part]
    ended = await watched({"acme": Story(before(telling))}, Wish(start_within=300))
    assert ended.code == code, ended.shown
    assert ended.seconds > 2 * MINUTE


async def test_yesterdays_success_is_no_success() -> None:
    """A watch that starts before a new import waits for the new one."""
    wish = Wish(start_within=300)
    ended = await watched({"acme": Story(after_yesterdays(idle()))}, wish)
    assert ended.came_to(Exit.NOTHING_STARTED, 300)
    ended = await watched({"acme": Story(after_yesterdays(phase_throws(waiting=20, running=300)))}, wish)
    assert ended.code == Exit.BROKEN_OFF


async def test_an_import_that_runs_already_is_followed() -> None:
    ended = await watched({"acme": Story(unhurried(csv_migration(waiting=20, running=600)))}, Wish(), after=300)
    assert ended.code == Exit.WITH_ERRORS


async def test_an_import_that_was_left_waiting_is_not_taken_for_the_next_one() -> None:
    """The creation of the next import discards it, which is not a failure."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=20, seconds=10)
        stage.wait(10 * MINUTE)
        nightly_sync(waiting=20, running=300)(stage)
        stage.wait(60 * MINUTE)

    ended = await watched({"acme": Story(tell)}, Wish(start_within=1800), after=MINUTE)
    assert ended.code == Exit.DONE, ended.shown
    assert "discarded" not in ended.shown


async def test_an_import_that_was_left_waiting_counts_once_it_goes_on() -> None:
    """Someone started it, and the watch waits for that."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.load(users=20, seconds=10)
        stage.wait(10 * MINUTE)
        stage.run(seconds=300)
        stage.wait(60 * MINUTE)

    ended = await watched({"acme": Story(tell)}, Wish(start_within=1800), after=MINUTE)
    assert ended.code == Exit.DONE, ended.shown
    assert (await watched({"acme": Story(waits_for_start())}, Wish(start_within=300), after=120)).code == 5


async def test_one_that_was_created_while_watching_and_discarded_failed() -> None:
    """It is the next import, and it never ran."""

    def tell(stage: Stage) -> None:
        stage.wait(MINUTE)
        stage.create("csv")
        stage.wait(MINUTE)
        stage.clear()
        stage.wait(60 * MINUTE)

    assert (await watched({"acme": Story(tell)})).code == Exit.BROKEN_OFF


async def test_an_import_between_two_polls_counts() -> None:
    """The list still shows it."""
    telling = unhurried(nightly_sync(waiting=0.5, running=2))
    assert (await watched({"acme": Story(telling)}, Wish(start_within=300))).code == Exit.DONE


async def test_a_named_operation_that_is_over_gives_its_outcome_at_once() -> None:
    """A short import may have ended before a script starts to watch it."""
    story = Story(after_yesterdays(csv_migration(waiting=20, running=60)))
    (_, newest) = story.operations(30 * MINUTE)
    ended = await watched({"acme": story}, Wish(operation_id=newest.id(await started())), after=30 * MINUTE)
    assert ended.came_to(Exit.WITH_ERRORS, 0)


async def test_a_named_operation_is_followed_though_others_come() -> None:
    """The list shows how it ended after another import replaced it."""
    story = Story(unhurried(superseded(waiting=20, running=300)))
    (first,) = story.operations(200)
    ended = await watched({"acme": story}, Wish(operation_id=first.id(await started())), after=200)
    assert ended.code == Exit.BROKEN_OFF
    second = story.operations(30 * MINUTE)[1]
    ended = await watched({"acme": story}, Wish(operation_id=second.id(await started()), start_within=600), after=200)
    assert ended.code == Exit.DONE


async def test_a_named_operation_that_never_appears_did_not_start() -> None:
    """A misspelt id must not block a pipeline forever."""
    ended = await watched({"acme": Story(unhurried(nightly_sync()))}, Wish(operation_id="no-such", start_within=120))
    assert ended.code == Exit.NOTHING_STARTED
    assert "no-such" in ended.shown


async def test_it_times_out() -> None:
    """It makes no difference whether the import has stalled."""
    ended = await watched({"acme": Story(stalls())}, Wish(timeout=1800))
    assert ended.came_to(Exit.TIMED_OUT, 1800)


async def test_a_replaced_import_out_of_sight_cannot_be_told() -> None:
    """`import.status` alone does not show how it ended, and the new import is another one."""

    def tell(stage: Stage) -> None:
        stage.forbid("view-import-operations")
        superseded(waiting=20, running=300)(stage)
        stage.wait(60 * MINUTE)

    ended = await watched({"acme": Story(tell)}, Wish(start_within=300))
    assert ended.code == Exit.FAILED
    assert "another import took its place" in ended.shown


def refused(stage: Stage) -> None:
    """The token is revoked."""
    stage.revoke_token()
    stage.wait(60 * MINUTE)


def forbidden(stage: Stage) -> None:
    """The caller has no permission."""
    stage.forbid("view-import-operations")
    stage.forbid("run-import")
    stage.wait(60 * MINUTE)


def failing(fault: str) -> Telling:
    """Every call has this fault."""

    def tell(stage: Stage) -> None:
        stage.fault(faults.FAULTS[fault])
        stage.wait(60 * MINUTE)

    return tell


REFUSALS: Mapping[str, tuple[Telling, str]] = {
    "revoked": (refused, "HTTP 401: the user id or the token is wrong"),
    "forbidden": (forbidden, "HTTP 403: the permission view-import-operations is missing"),
    "no such path": (failing("missing"), "HTTP 404: this address has no such endpoint"),
    "an old server's page": (failing("start page"), "HTTP 200: this address has no such endpoint"),
    "a firewall": (failing("firewall's 403"), "HTTP 403: the answer is not from Rocket.Chat"),
}


@pytest.mark.parametrize("wish", [Wish(), Wish(idle=True, timeout=600)], ids=["import", "restart"])
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_what_someone_has_to_mend_ends_it_at_once(refusal: str, wish: Wish) -> None:
    """To wait for a missing permission is useless. The reason comes first, then what to do."""
    telling, reason = REFUSALS[refusal]
    ended = await watched({"acme": Story(telling)}, wish)
    assert ended.came_to(Exit.FAILED, 0)
    assert f" is unknown: {reason}" in ended.verdict
    assert "acme: -> " in ended.shown
    assert "0 %" not in ended.shown


async def test_an_address_with_a_page_in_it_ends_it_at_once_with_the_hint_of_check() -> None:
    ended = await watched({"acme": Story(idle())}, url="http{}/home")
    assert ended.came_to(Exit.FAILED, 0)
    assert "-> Check url: it is the address of the workspace" in ended.shown
    assert "without /home or /admin" in ended.shown


async def test_tls_that_cannot_work_ends_it_at_once_with_the_hint_of_check() -> None:
    """The simulated server has no TLS."""
    ended = await watched({"acme": Story(idle())}, url="https{}")
    assert ended.came_to(Exit.FAILED, 0)
    assert "try http:// instead of https://" in ended.verdict
    assert "-> Write http:// instead of https:// in url" in ended.shown


async def test_a_stall_is_told_with_the_words_of_the_page() -> None:
    """Once, after the same 30 minutes."""
    ended = await watched({"acme": Story(stalls(running=600))}, Wish(timeout=2400))
    (line,) = [line for line in ended.shown.splitlines() if "Stalled" in line]
    assert re.search(r"Z acme: Stalled: .* 30 min; import(s|ing): [\d,]+ of", line)
    assert ended.code == Exit.TIMED_OUT


async def test_the_time_left_is_told_with_the_clock_time_of_the_end() -> None:
    """At night, nobody should have to add hours."""
    ended = await watched({"acme": Story(unhurried(nightly_sync(waiting=20, running=600)))}, Wish())
    assert re.search(r"records \(\d+ %\), about \d min left, ends about 08:\d\d UTC$", ended.shown, re.MULTILINE)


async def test_the_end_is_followed_by_what_to_do_and_where_to_look() -> None:
    """Advice is that of the page. The page itself is named if people can open it."""
    telling = unhurried(phase_throws(waiting=20, running=100))
    ended = await watched({"acme": Story(telling)})
    steps = [line.partition(": -> ")[2] for line in ended.shown.splitlines() if ": -> " in line]
    assert steps[:-1] == [step.replace("`", "") for step in fitting(OUTCOMES[Outcome.FAILED].advice, "csv")]
    assert re.fullmatch(r"Look at http://127.0.0.1:\d+/acme/admin/import", steps[-1])
    ended = await watched({"acme": Story(telling)}, web__external_url="https://imports.example.org")
    assert ended.shown.endswith("acme: -> Look at https://imports.example.org/workspaces/acme\n")


async def test_a_cut_off_is_one_line() -> None:
    """The end is one line with the last counts. No line before it has earlier counts."""
    telling = unhurried(rolling_deploy(waiting=20, running=300, killed_after=150))
    ended = await watched({"acme": Story(telling)}, poll_interval="1s")
    assert ended.shown.count("cut off at") == 1


async def test_what_timed_out_is_told_as_it_is() -> None:
    """An import that was never seen does not go on."""
    ended = await watched({"acme": Story(idle())}, Wish(timeout=60))
    assert ended.verdict.endswith("acme: timed out before an import started")
    assert "0 %" not in ended.shown
    ended = await watched({"acme": Story(failing("unavailable"))}, Wish(timeout=60))
    assert "acme: timed out; how the import ends is unknown: HTTP 503: " in ended.verdict


@pytest.mark.parametrize("fault", sorted(faults.FAULTS))
async def test_every_fault_before_the_first_success_ends_it(fault: str) -> None:
    """It ends at once, or after the time in which a busy server would answer."""

    def tell(stage: Stage) -> None:
        stage.remember("api", age=YESTERDAY, valid=True, total=100, completed=100, error=0)
        stage.fault(faults.FAULTS[fault])
        stage.wait(60 * MINUTE)

    ended = await watched({"acme": Story(tell)}, Wish(start_within=120))
    assert ended.code == Exit.FAILED
    assert "is unknown" in ended.verdict


@pytest.mark.parametrize("fault", sorted(faults.FAULTS))
async def test_no_fault_of_a_minute_hides_the_outcome(fault: str) -> None:
    """The watch waits if something fails for a while during an import."""

    def tell(stage: Stage) -> None:
        stage.wait(5)
        stage.create("api")
        stage.load(users=1000, seconds=5)
        stage.begin_run(seconds=120)
        stage.wait(30)
        stage.fault(faults.FAULTS[fault])
        stage.wait(60)
        stage.mend()
        stage.wait(120 * MINUTE)

    assert (await watched({"acme": Story(tell)}, Wish(start_within=300))).code == Exit.DONE


async def test_the_worst_of_several_is_the_end_of_all() -> None:
    """The watch waits for the last workspace."""
    scripts = {
        "well": Story(unhurried(nightly_sync(waiting=20, running=600))),
        "rejects": Story(unhurried(csv_migration(waiting=20, running=100))),
        "throws": Story(unhurried(phase_throws(waiting=20, running=100))),
    }
    ended = await watched(scripts, Wish(start_within=300))
    assert ended.code == Exit.BROKEN_OFF
    assert all(f"{name}: {word}" in ended.shown for name, word in [("well", "succeeded"), ("throws", "failed")])


def test_every_code_has_its_place_in_the_order() -> None:
    """The best is 0."""
    assert worst([]) is Exit.DONE
    for code in Exit:
        assert worst([Exit.DONE, code]) is code
    assert worst([Exit.WITH_ERRORS, Exit.NOTHING_STARTED, Exit.TIMED_OUT, Exit.FAILED, Exit.BROKEN_OFF]) == 4
    assert worst([Exit.BUSY, Exit.FAILED]) is Exit.BUSY


@pytest.mark.parametrize(("at", "code"), [(30, 0), (150, 7), (250, 0), (400, 7), (900, 0)])
async def test_the_guard_tells_at_once_whether_something_loads_or_runs(at: float, code: int) -> None:
    """An import that waits for its start survives a restart."""

    def tell(stage: Stage) -> None:
        stage.wait(100)
        stage.create("csv")
        stage.load(users=100, messages=1000, seconds=100)
        stage.wait(100)
        stage.run(seconds=300)
        stage.wait(3600)

    ended = await watched({"acme": Story(tell)}, Wish(idle=True), after=at)
    assert ended.came_to(code, 0), ended.shown


async def test_the_guard_waits_until_all_are_idle() -> None:
    """It waits no longer than its timeout."""
    scripts = {"busy": Story(stalls(running=900, stuck_for=3600)), "idle": Story(idle())}
    running = {"acme": Story(nightly_sync(waiting=20, running=600)), "idle": Story(idle())}
    ended = await watched(running, Wish(idle=True, timeout=1800), after=300)
    assert ended.code == Exit.DONE
    assert 300 < ended.seconds < 600
    ended = await watched(scripts, Wish(idle=True, timeout=600), after=300)
    assert ended.came_to(Exit.BUSY, 600)


async def test_the_guard_does_not_take_silence_for_idleness() -> None:
    """If the state is not known, an import may run."""

    def tell(stage: Stage) -> None:
        stage.go_down()
        stage.wait(3600)

    assert (await watched({"acme": Story(tell)}, Wish(idle=True))).code == Exit.FAILED
    assert (await watched({"acme": Story(tell)}, Wish(idle=True, timeout=100))).code == Exit.FAILED
    ended = await watched({"acme": Story(odd_words())}, Wish(idle=True), after=4 * MINUTE + 70)
    assert ended.code == Exit.FAILED


@pytest.mark.parametrize(
    ("fault", "code"),
    [("reset", 0), ("unavailable", 0), ("hang", 1), ("database down", 1), ("rate limited", 1), ("missing", 1)],
)
async def test_who_is_about_to_start_does_not_wait_for_itself(fault: str, code: int) -> None:
    """If no server runs, no import can be lost. A server that is slow or fails may run one."""

    def tell(stage: Stage) -> None:
        stage.fault(faults.FAULTS[fault])
        stage.wait(3600)

    assert (await watched({"acme": Story(tell)}, Wish(idle=True, or_down=True))).code == code
    assert (await watched({"acme": Story(tell)}, Wish(idle=True, or_down=True, timeout=100))).code == code
    busy = {"acme": Story(nightly_sync(waiting=20, running=600))}
    assert (await watched(busy, Wish(idle=True, or_down=True), after=300)).code == Exit.BUSY


async def test_the_guard_goes_by_the_last_resort_too() -> None:
    """If only `getImportProgress` answers, an import that seems to run counts as running."""

    def tell(stage: Stage) -> None:
        stage.fault(faults.refused_permission, Api.STATUS, Api.LIST)
        nightly_sync(waiting=20, running=600)(stage)
        stage.wait(3600)

    assert (await watched({"acme": Story(tell)}, Wish(idle=True), after=300)).code == Exit.BUSY
    assert (await watched({"acme": Story(tell)}, Wish(idle=True), after=1200)).code == Exit.DONE


async def test_a_waiting_workspace_is_asked_as_often_as_a_busy_one() -> None:
    """People wait for the import to start, so idle workspaces are polled as often as busy ones."""
    ended = await watched({"acme": Story(idle())}, Wish(start_within=301), poll_interval="15s", poll_interval_idle="1h")
    assert ended.asked.count(Api.STATUS) == 21


@pytest.mark.parametrize(
    ("recording", "code"), [("api-import-succeeds", Exit.DONE), ("second-instance-starts-mid-import", Exit.BROKEN_OFF)]
)
async def test_what_a_real_server_answered_is_followed_to_its_end(recording: str, code: Exit) -> None:
    """One import succeeded. The start of another server cut off the other."""
    script = Recording(RECORDINGS / f"{recording}.json")
    ended = await watched({"acme": script}, Wish(start_within=300), poll_interval="1s")
    assert ended.code == code, ended.shown


async def test_each_json_line_has_every_field_and_the_last_one_the_exit_code() -> None:
    """Scripts read fields, not sentences."""
    ended = await watched({"acme": Story(unhurried(csv_migration(waiting=20, running=300)))}, Wish(), as_json=True)
    lines = [json.loads(line) for line in ended.shown.splitlines()]
    assert all(tuple(line) == SHOWN_FIELDS for line in lines)
    assert [line["exit_code"] for line in lines[:-1]] == [None] * (len(lines) - 1)
    assert lines[-1]["exit_code"] == 3
    assert (lines[-1]["outcome"], lines[-1]["failed"], lines[-1]["importer"]) == ("completed_with_errors", 36, "csv")
    seen = [line["outcome"] for line in lines]
    assert list(dict.fromkeys(seen)) == [None, "waiting", "loading", "running", "completed_with_errors"]


async def test_lines_are_few_and_tell_each_step() -> None:
    """A pipeline's log of one day stays readable: one line for each percent and for each step."""
    ended = await watched({"acme": Story(unhurried(csv_migration(waiting=60, running=1800)))}, Wish())
    lines = ended.shown.splitlines()
    assert 20 < len(lines) < 130
    assert len(set(lines)) == len(lines)


async def test_contact_lost_is_told_and_waited_for() -> None:
    """A restart does not end the watch. It may have ended the import."""
    ended = await watched({"acme": Story(unhurried(crash(waiting=20, running=300, killed_after=150, away=40)))}, Wish())
    assert "; trying again" in ended.shown
    assert "the server restarted" in ended.verdict


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_watch_as_shells_expect(number: signal.Signals) -> None:
    """The codes 130 and 143 mean no outcome."""
    clock = LoopClock()
    async with SimulatedServers({"acme": Story(stalls())}, clock=clock) as servers:
        configured = configure({"acme": servers.url("acme")})
        stream = io.StringIO()
        watch = Watch(configured, Wish(), Lines(stream), clock.now)
        asyncio.get_running_loop().call_later(100, watch.end, number)
        assert await watch.run() == 128 + number
    assert stream.getvalue().endswith("\nStopped watching. This does not stop the import.\n")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--operation-id", "x"], "name the workspace"),
        (["--require", "busy"], "flag --require"),
        (["--require", "idle", "--operation-id", "x", "a"], "flag --require"),
        (["--timeout", "soon"], "flag --timeout"),
        (["--start-within=-1"], "flag --start-within"),
        (["--format", "xml"], "flag --format"),
        (["no-such-workspace"], "no such workspace"),
        ([], "is missing"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(
    words: list[str], wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code is 2, and no server is called."""
    config = tmp_path / "config.yml"
    one = "url: http://127.0.0.1:1, user_id: simulatedUser0001, auth_token: t"
    config.write_text(f"workspaces:\n  a: {{{one}}}\n  b: {{{one if words else 'url: http://127.0.0.1:1'}}}\n")
    assert cli.main(["watch", f"--config.file={config}", *words]) == Exit.MISCONFIGURED
    assert wrong in capsys.readouterr().err
