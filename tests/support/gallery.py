"""One workspace of each kind that a page can show, and a server that shows them.

`python -m tests.support.gallery` takes the README's pictures of the page with Chromium.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright

from rc_import_exporter.core.domain import (
    Api,
    Counts,
    Expectation,
    Kind,
    ListAnswer,
    Operation,
    ProgressAnswer,
    Reason,
    StatusAnswer,
    Step,
    Target,
)
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.core.verdict import state_of
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.web.pages import Pages
from rc_import_exporter.web.publisher import Publisher
from rc_import_exporter.web.server import Server, create_application
from tests.support.pictures import NOW, failure, finished, lost, operation, picture, polled, running, success, untouched

LATER: Final = NOW + 5.0
HOSTILE: Final = "<script>document.title='taken over'</script><img src=x onerror=alert(1)>\"'&"
BROWSER: Final = "/usr/bin/chromium"
BROWSER_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PICTURES: Final = Path(__file__).parents[1] / "golden"


def workspace(name: str, labels: Mapping[str, str] | None = None, expect: Expectation | None = None) -> Record:
    """A workspace before its first poll."""
    return Record(
        target=Target(
            name=name,
            url=f"https://{name}.example.org",
            labels=labels or {},
            expect=expect or Expectation(),
        )
    )


def told(record: Record, at: float, *operations: Operation) -> Record:
    """The record after a poll, `at` seconds before `NOW`, that showed these operations. The current one is first."""
    return polled(
        record,
        NOW - at,
        success(Api.STATUS, StatusAnswer(state=state_of(operations[0]), operation=operations[0])),
        success(Api.LIST, ListAnswer(operations=operations)),
    )


def refused(record: Record, at: float, reason: Reason, code: int | None) -> Record:
    """The record after a poll, `at` seconds before `NOW`, without an answer."""
    apis = (Api.STATUS, Api.LIST, *([Api.PROGRESS] if reason is Reason.FORBIDDEN else []))
    return polled(record, NOW - at, *(failure(api, reason, code) for api in apis))


def importing(
    done: int, at: float, *, step: Step = Step.IMPORTING_MESSAGES, valid: bool = True, id: str = "e"
) -> Operation:
    """A Slack import in this step with this progress, written `at` seconds before `NOW`."""
    counts = Counts(total=5_020, completed=done, failed=0, staged={Kind.USERS: 20, Kind.MESSAGES: 5_000})
    return operation(id * 17, step, created=4_000.0, updated=at, valid=valid, counts=counts)


def interrupted(name: str) -> Record:
    """An import whose only server stopped and started again."""
    record = told(workspace(name, {"team": "chat"}), 120.0, importing(1_500, 125.0))
    record = refused(record, 90.0, Reason.CONNECTION, None)
    return told(record, 0.0, importing(1_500, 30.0, valid=False))


def incomplete(name: str) -> Record:
    """An import that another server of the cluster cut off."""
    record = workspace(name, {"team": "platform", "tenant": "eu"})
    for done, at, step, valid in (
        (1_000, 120.0, Step.IMPORTING_MESSAGES, True),
        (2_500, 60.0, Step.IMPORTING_MESSAGES, False),
        (2_500, 30.0, Step.DONE, False),
    ):
        record = told(record, at, importing(done, at + 1.0, step=step, valid=valid))
    return told(record, 0.0, importing(2_500, 31.0, step=Step.DONE, valid=False))


def failed(name: str) -> Record:
    """An import in which a phase threw an error."""
    record = told(workspace(name), 60.0, importing(500, 61.0))
    return told(record, 0.0, importing(500, 20.0, step=Step.IMPORT_FAILED))


def waiting(name: str) -> Record:
    """An import that is ready and not started."""
    return told(workspace(name), 0.0, importing(0, 600.0, step=Step.USER_SELECTION))


def loading(name: str) -> Record:
    """An import that still reads its file."""
    counts = Counts(total=812)
    return told(
        workspace(name), 0.0, operation("f" * 17, Step.PREPARING_USERS, created=40.0, updated=3.0, counts=counts)
    )


def stalled(name: str) -> Record:
    """An import without progress for an hour."""
    return told(workspace(name), 0.0, importing(1_700, 3_600.0))


def synchronised(name: str, *, failed_ratio: float | None = None) -> Record:
    """A nightly API import of users who nearly all exist already."""
    record = workspace(name, {"team": "people"}, Expectation(importer="api", failed_ratio=failed_ratio))
    counts = Counts(total=8_000, completed=5, failed=7_995, staged={Kind.USERS: 8_000})
    for step, at, seen in ((Step.IMPORTING_USERS, 900.0, 900.0), (Step.DONE, 600.0, 600.0), (Step.DONE, 600.0, 0.0)):
        now = operation("g" * 17, step, created=1_200.0, updated=at, counts=counts)
        record = told(record, seen, replace(now, importer="api"))
    return record


def overdue(name: str) -> Record:
    """A workspace whose last success is longer ago than expected."""
    record = replace(workspace(name, expect=Expectation(success_every=93_600.0)), first_poll=NOW - 100_000.0)
    done = operation(
        "h" * 17, Step.DONE, created=200_000.0, updated=199_000.0, counts=Counts(total=40, completed=40, failed=0)
    )
    return told(record, 0.0, done)


def progress_alone(name: str) -> Record:
    """A workspace for which only `getImportProgress` answers."""
    record = refused(workspace(name), 15.0, Reason.FORBIDDEN, 403)
    counts = Counts(total=200, completed=120, failed=0)
    operation = Operation(id="", importer="csv", step=Step.IMPORTING_USERS, valid=None, counts=counts)
    return polled(
        record,
        NOW,
        failure(Api.STATUS, Reason.FORBIDDEN, 403),
        failure(Api.LIST, Reason.FORBIDDEN, 403),
        success(Api.PROGRESS, ProgressAnswer(operation=operation)),
    )


def hostile(name: str) -> Record:
    """A workspace whose texts are all markup."""
    record = workspace(name, {"team": HOSTILE})
    now = replace(importing(1_000, 4.0, id="i"), importer=HOSTILE, id=HOSTILE)
    older = replace(importing(10, 5_000.0, step=Step.IMPORT_FAILED, id="j"), importer=HOSTILE, id=f"{HOSTILE}2")
    return told(record, 0.0, now, older)


def blinking(name: str) -> Record:
    """A running import whose server did not answer the last poll."""
    return refused(running(name), 0.0, Reason.TIMEOUT, None)


def gallery() -> Snapshot:
    """One workspace of each kind."""
    return picture(
        [
            running("acme"),
            finished("beta"),
            lost("gone"),
            untouched("new"),
            interrupted("initech"),
            incomplete("globex"),
            failed("hooli"),
            waiting("umbrella"),
            loading("stark"),
            stalled("wayne"),
            synchronised("nightly-sync"),
            synchronised("nightly-watched", failed_ratio=0.05),
            overdue("tyrell"),
            progress_alone("wonka"),
            hostile("hostile"),
            blinking("cyberdyne"),
            refused(workspace("refused"), 0.0, Reason.FORBIDDEN, 403),
            refused(workspace("wrong-token"), 0.0, Reason.UNAUTHORIZED, 401),
            workspace("unpolled"),
        ]
    )


def crowd(number: int) -> Snapshot:
    """Hundreds of workspaces, most of them idle."""
    kinds = (running, interrupted, waiting, *[finished, untouched] * 5)
    records = (kinds[index % len(kinds)](f"workspace-{index:03}") for index in range(number))
    return picture(
        replace(record, target=replace(record.target, labels={"region": ("eu", "us", "ap")[index % 3]}))
        for index, record in enumerate(records)
    )


@dataclass(slots=True)
class Showing:
    """A server that shows a snapshot at a time. A test may replace both."""

    snapshot: Snapshot
    now: float = LATER
    url: str = ""


@asynccontextmanager
async def showing(snapshot: Snapshot) -> AsyncIterator[Showing]:
    """The exporter's pages and metrics of a snapshot, on a free port, until the block ends."""
    shown = Showing(snapshot=snapshot)
    pages = Pages(lambda: shown.snapshot, lambda: shown.now)
    publisher = Publisher(lambda: shown.snapshot, lambda: shown.now, Exposition(process=False))
    server = Server(create_application([*publisher.routes, *pages.routes]))
    shown.url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}"
    try:
        yield shown
    finally:
        await server.stop()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=BROWSER_OPTIONS)
        try:
            yield browser
        finally:
            await browser.close()


def readme_pictures() -> Sequence[tuple[str, str, str]]:
    """Name, path and colour scheme of each picture in the README."""
    return (
        ("page-light.png", "/", "light"),
        ("page-dark.png", "/", "dark"),
        ("page-workspace.png", "/workspaces/globex", "light"),
    )


def few() -> Snapshot:
    """The workspaces in the README's pictures."""
    return picture(
        [incomplete("globex"), running("acme"), waiting("umbrella"), synchronised("nightly-sync"), finished("initech")]
    )


async def take_pictures() -> None:
    """Write the README's pictures."""
    async with showing(few()) as shown, chromium() as browser:
        for name, path, scheme in readme_pictures():
            context = await browser.new_context(
                viewport={"width": 1100, "height": 700}, color_scheme="dark" if scheme == "dark" else "light"
            )
            page = await context.new_page()
            await page.clock.set_fixed_time(LATER)
            await page.goto(f"{shown.url}{path}")
            await page.screenshot(path=PICTURES / name, full_page=True)
            await context.close()


def main() -> None:
    """Take the pictures. Without Chromium, print that they do not change."""
    if Path(BROWSER).exists():
        asyncio.run(take_pictures())
    else:
        print(f"{BROWSER} is not installed: the pictures in {PICTURES.name}/ stay as they are.", file=sys.stderr)


if __name__ == "__main__":
    main()
