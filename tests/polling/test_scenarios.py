"""The simulator's stories produce each metric of the catalogue and each possible value of its labels."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from rc_import_exporter.app import App
from rc_import_exporter.commands import demo
from rc_import_exporter.core.domain import Api, Outcome, Reason
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import MetricKind
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.answers import Fault, unauthorized
from rc_import_exporter.simulator.faults import FAULTS, padded, with_body
from rc_import_exporter.simulator.importer import IMPORTERS
from rc_import_exporter.simulator.scenario import Stage, Story
from rc_import_exporter.simulator.server import LoopClock, SimulatedServers
from rc_import_exporter.simulator.stories import HOUR, Telling
from tests.support.rig import Page, configure

pytestmark = [pytest.mark.looptime]

STEPS: Final = (
    "uploading downloading_file file_loaded preparing_started preparing_users preparing_channels preparing_messages "
    "preparing_contacts importing_started importing_users importing_contacts importing_channels importing_messages "
    "importing_files finishing"
)


def every_step(stage: Stage) -> None:
    """An import that stays in each step for a while."""
    stage.create("csv")
    for step in ("new", *STEPS.split(), "user_selection", "done", "import_failed", "import_cancelled", "new_words"):
        stage.set_step(step)
        stage.wait(10)


def throw(stage: Stage) -> None:
    """A phase throws in the middle of the run."""
    stage.begin_run(seconds=60)
    stage.wait(30)
    stage.throw()


def abort(stage: Stage) -> None:
    """Another server starts in the middle of the run, which ends some time later."""
    stage.begin_run(seconds=60)
    stage.wait(30)
    stage.start_other_instance(aborts_after=10)
    stage.wait(10)


def die(stage: Stage) -> None:
    """The only server restarts in the middle of the run."""
    stage.begin_run(seconds=60)
    stage.wait(30)
    stage.crash(15)


def unseen(stage: Stage) -> None:
    """The import is done, and a restart follows before the next poll."""
    stage.run(seconds=1)
    stage.restart()


ENDS: Final[tuple[Telling, ...]] = (
    lambda stage: stage.run(seconds=60),
    lambda stage: stage.run(seconds=60, rejected=3),
    throw,
    abort,
    die,
    lambda stage: stage.clear(),
    lambda stage: stage.set_step("import_cancelled"),
    unseen,
)


def ending(importer: str, end: Telling) -> Telling:
    """An import that is loaded and then ends like this. An older one rejected a user, another one succeeded."""

    def tell(stage: Stage) -> None:
        stage.remember(importer, age=9000, total=20, users=20, completed=39, error=1)
        stage.wait(10)
        stage.create(importer)
        stage.load(users=20, seconds=10)
        stage.run(seconds=10)
        stage.wait(10)
        stage.create(importer)
        stage.load(users=20, channels=3, messages=100, contacts=7, seconds=20)
        stage.wait(10)
        end(stage)
        stage.wait(20)

    return tell


def restored(stage: Stage) -> None:
    """The database is put back to a day before the first import."""
    stage.create("csv")
    stage.wait(30)
    stage.fault(with_body('{"state":"none","success":true}'), Api.STATUS)
    stage.fault(with_body("[]"), Api.LIST)
    stage.wait(30)


def failing(api: Api, fault: Fault) -> Telling:
    """Endpoints that always have this fault. `getImportProgress` is called if both feeds are refused."""

    def tell(stage: Stage) -> None:
        stage.create("csv")
        stage.limit_rate(30)
        if api is Api.PROGRESS:
            stage.fault(FAULTS["refused permission"], Api.STATUS, Api.LIST)
        stage.fault(fault, api)
        stage.wait(HOUR)

    return tell


FAULTS_BY_REASON: Final[Mapping[Reason, Fault]] = {
    Reason.TIMEOUT: FAULTS["hang"],
    Reason.CONNECTION: FAULTS["reset"],
    Reason.UNAUTHORIZED: lambda reply: unauthorized((8, 6, 1)),
    Reason.FORBIDDEN: FAULTS["refused permission"],
    Reason.NOT_FOUND: FAULTS["missing"],
    Reason.RATE_LIMITED: FAULTS["rate limited"],
    Reason.SERVER: FAULTS["database down"],
    Reason.INVALID: FAULTS["no JSON"],
    Reason.TOO_LARGE: padded(64 * 1024),
    Reason.REDIRECTED: FAULTS["login redirect"],
    Reason.PROXY: FAULTS["bad gateway"],
}
"""One of each; `tls` comes of a URL, and `internal` of nothing that a server does."""

TELLINGS: Final[Mapping[str, Telling]] = {
    "nightly-sync": stories.nightly_sync(),
    "csv-migration": stories.csv_migration(),
    "slack-migration": stories.slack_migration(),
    "rolling-deploy": stories.rolling_deploy(),
    "crash": stories.crash(),
    "phase-throws": stories.phase_throws(),
    "cleared": stories.cleared_by_admin(),
    "superseded": stories.superseded(),
    "odd-words": stories.odd_words(waiting=30),
    "idle": stories.idle(),
    "read-only": stories.read_only(stories.csv_migration()),
    "old-failure": stories.old_failure_restamped(seconds=200),
    "every-step": every_step,
    "restored": restored,
    "progress-only": failing(Api.PROGRESS, lambda reply: reply),
    "no-tls": stories.idle(),
    **{
        f"ending-{importer}": ending(importer, ENDS[index % len(ENDS)])
        for index, importer in enumerate((*IMPORTERS, "my-own"))
    },
}
FAILING: Final[Mapping[str, Telling]] = {
    f"{api.lower()}.{reason}": failing(api, fault) for api in Api for reason, fault in FAULTS_BY_REASON.items()
}
EXPECTED: Final = {
    "labels.team": "people",
    "expect.importer": "api",
    "expect.success_every": "26h",
    "expect.longest_run": "2h",
    "expect.failed_ratio": "0.05",
    "expect.min_records": "400",
}


async def scrape(tellings: Mapping[str, Telling], seconds: int, **options: str) -> list[Page]:
    """The pages during these stories, read every five seconds. The workspace `no-tls` has a URL with `https`."""
    scripts = {name: Story(telling) for name, telling in tellings.items()}
    clock, scraped = LoopClock(), []
    async with SimulatedServers(scripts, clock=clock) as servers, aiohttp.ClientSession() as session:
        urls = {name: servers.url(name) for name in scripts}
        if "no-tls" in urls:
            urls["no-tls"] = urls["no-tls"].replace("http:", "https:")
        app = App(configure(urls, {**EXPECTED, **options}), now=clock.now)
        port = await app.start()
        for _ in range(seconds // 5):
            await asyncio.sleep(5)
            async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                scraped.append(Page(await response.text()))
        await app.stop()
    return scraped


def bring_forth(scraped: list[Page], found: dict[str, dict[str, set[str]]]) -> None:
    """Collects the label values of all series that were not 0, by metric and label. Label "" is the metric itself."""
    for page in scraped:
        for metric in METRICS:
            suffix = "_count" if metric.kind is MetricKind.HISTOGRAM else ""
            for labels, value in page.series(metric.name + suffix).items():
                found[metric.name][""].add("")
                for label, text in labels:
                    if value:
                        found[metric.name][label].add(text)


async def test_the_stories_bring_forth_everything_that_the_catalogue_names(tmp_path: Path) -> None:
    """A metric or a label value that never appears is a mistake, unless the catalogue gives a reason."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    bring_forth(await scrape(TELLINGS, 240, poll_interval="5s", poll_interval_idle="5s"), found)
    web = tmp_path / "web.yml"
    web.write_text("http_server_config: {http2: false}\n")
    options = {"max_response_bytes": "32KiB", "timeout": "3s", "web.config.file": str(web)}
    options |= {"shard.index": "0", "shard.count": "1"}
    bring_forth(await scrape(FAILING, 20, **options), found)
    assert not [metric.name for metric in METRICS if not found[metric.name]]
    closed = [
        (metric, label.name, value) for metric in METRICS for label in metric.labels for value in label.values or ()
    ]
    missing = [
        f"{metric.name} {name}={value}"
        for metric, name, value in closed
        if value not in found[metric.name][name] and value not in (metric.never or {})
    ]
    assert not missing
    assert not [
        f"{metric.name} {name}={value}"
        for metric, name, value in closed
        if value in found[metric.name][name] and value in (metric.never or {})
    ]


@pytest.mark.program("promtool")
async def test_promtool_has_nothing_to_say_about_any_story() -> None:
    """Also pages about failures must follow Prometheus' conventions."""
    page = (await scrape({**TELLINGS, **FAILING}, 60, max_response_bytes="32KiB", timeout="3s"))[-1]
    promtool = await asyncio.create_subprocess_exec(
        "promtool", "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await promtool.communicate(page.text.encode())
    assert (promtool.returncode, said) == (0, b"")


async def test_the_demo_shows_its_outcomes_within_a_minute() -> None:
    """A visitor of the demo should see everything soon."""
    clock = LoopClock()
    async with SimulatedServers(stories.demo(), clock=clock) as servers:
        urls = {name: servers.url(name) for name in servers.workspaces}
        configured = demo.settings({"web.listen_address": "127.0.0.1:0"}, {}, urls, servers.user_id, servers.auth_token)
        app = App(configured, now=clock.now)
        await app.start()
        await asyncio.sleep(60)
        finished = {
            name: {outcome for outcome, count in record.history.finished.items() if count}
            for name, record in app.store.snapshot.records.items()
        }
        await asyncio.sleep(60)
        again = sum(app.store.snapshot.records["nightly-sync"].history.finished.values())
        await app.stop()
    assert finished == {
        "nightly-sync": {Outcome.SUCCEEDED},
        "csv-migration": {Outcome.COMPLETED_WITH_ERRORS},
        "slack-migration": {Outcome.SUCCEEDED},
        "rolling-deploy": {Outcome.INTERRUPTED, Outcome.INCOMPLETE},
        "crash": {Outcome.INTERRUPTED},
    }
    assert again >= 2
