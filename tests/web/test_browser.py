"""The pages in a real browser: readable, accessible, up to date, and without requests to other servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

import looptime
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request, Response, expect

from rc_import_exporter.core import advice
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.simulator import faults, stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.stories import Telling
from rc_import_exporter.web import view
from rc_import_exporter.web.fields import Level
from rc_import_exporter.web.writing import icon
from tests.support.gallery import HOSTILE, LATER, chromium, crowd, failed, gallery, hostile, showing, waiting
from tests.support.pictures import picture, running, untouched
from tests.support.rig import exporting
from tests.web.test_pages import proxied

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.program("chromium"),
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser"),
]

AXE: Final = Path(__file__).parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
Scheme = Literal["dark", "light"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
PERIOD: Final = 5_100
"""Milliseconds after which the page has looked again."""
HIDDEN_PERIOD: Final = 30_100
"""The same for a page in a background tab."""
HIDE: Final = """
    Object.defineProperty(document, "hidden", { value: true });
    document.dispatchEvent(new Event("visibilitychange"));
"""
RECORD_NOTIFICATIONS: Final = """
    window.notified = [];
    window.Notification = class extends Notification {
        constructor(title, options) {
            super(title, options);
            notified.push(`${title}: ${options.body}`);
        }
    };
"""

TELLING: Final = ("acme", "beta", "globex", "gone", "hostile", "new", "refused", "wayne")
"""Workspaces whose pages have every part that a page can have."""

needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make node_modules")


@dataclass
class Watch:
    """Problems on a page: errors, blocked loads, dialogs, and requests to other servers."""

    home: str
    complaints: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        """Watch a page from now on."""
        page.on("console", self._console)
        page.on("pageerror", self._error)
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text}")

    def _error(self, error: Error) -> None:
        self.complaints.append(f"error: {error.message}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.home}/", "data:")):
            self.complaints.append(f"request elsewhere: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"status {response.status}: {response.url}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests, because its start takes seconds. Each test has its own profile."""
    async with chromium() as started:
        yield started


@asynccontextmanager
async def visiting(
    browser: Browser, home: str, *, width: int = 1100, scheme: Scheme = "light", script: bool = True
) -> AsyncIterator[Page]:
    """A page whose visitor complains about nothing, lives in Berlin, and allows notifications."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        java_script_enabled=script,
        timezone_id="Europe/Berlin",
        permissions=["notifications", "clipboard-read"],
    )
    page = await context.new_page()
    watch = Watch(home=home)
    watch.follow(page)
    yield page
    await context.close()
    assert watch.complaints == []


async def violations(page: Page) -> list[str]:
    """The violations that axe finds on a page: rules and places."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(await asyncio.to_thread(AXE.read_text, encoding="utf-8"))
    found: Mapping[str, list[dict[str, object]]] = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [f"{each['id']}: {json.dumps(each['nodes'])[:400]}" for each in found["violations"]]


async def tick(page: Page, period: int = PERIOD) -> None:
    """Lets the page's clock run until it has looked again, and waits for the answer."""
    async with page.expect_response("**/*"):
        await page.clock.run_for(period)


@needs_axe
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_kind_of_workspace_is_accessible(browser: Browser, scheme: Scheme) -> None:
    """Axe checks contrast, names, headings and landmarks in both colour schemes."""
    async with showing(gallery()) as shown, visiting(browser, shown.url, scheme=scheme) as page:
        paths = ["/", "/?q=nobody", "/runbook", *(f"/workspaces/{name}" for name in TELLING)]
        found = {}
        for path in paths:
            await page.goto(f"{shown.url}{path}")
            found[path] = await violations(page)
        assert {path: wrong for path, wrong in found.items() if wrong} == {}


@needs_axe
async def test_the_check_finds_what_is_wrong(browser: Browser) -> None:
    """A check that never finds anything proves nothing."""
    async with showing(gallery()) as shown, visiting(browser, shown.url) as page:
        await page.goto(f"{shown.url}/")
        await page.evaluate("document.querySelector('h1').append(new Image())")
        await page.evaluate("document.querySelector('h1').style.setProperty('color', '#eee')")
        assert {each.split(":")[0] for each in await violations(page)} >= {"image-alt", "color-contrast"}


async def test_a_visitor_complains_of_loads_from_elsewhere(browser: Browser) -> None:
    """The policy blocks the loads, and the other tests rely on this check."""
    watch = Watch(home="none")
    async with showing(gallery()) as shown:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{shown.url}/")
        watch.follow(page)
        async with page.expect_console_message():
            await page.evaluate("fetch('http://127.0.0.1:9/').catch(() => null)")
        await context.close()
    assert any("Content Security Policy" in complaint for complaint in watch.complaints)


@pytest.mark.parametrize("width", [320, 400, 768, 1600])
async def test_nothing_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    """A phone shows everything without scrolling sideways, even long words."""
    async with showing(gallery()) as shown, visiting(browser, shown.url, width=width) as page:
        for path in ["/", "/runbook", *(f"/workspaces/{name}" for name in TELLING)]:
            await page.goto(f"{shown.url}{path}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        header = await page.locator("header").bounding_box()
        assert header is not None
        assert width < 400 or header["height"] < 70, "the navigation needs more than one line"


async def test_no_header_of_the_runbook_breaks_inside_a_word(browser: Browser) -> None:
    """Each word of a table's header stands on one line, on a phone as on a desktop."""
    async with showing(gallery()) as shown, visiting(browser, shown.url) as page:
        await page.goto(f"{shown.url}/runbook")
        assert await page.locator("th").count() > 5
        for width in (320, 400, 1100):
            await page.set_viewport_size({"width": width, "height": 800})
            broken = await page.evaluate("""() => [...document.querySelectorAll("th")].flatMap((header) =>
                [...header.textContent.matchAll(/\\S+/g)].filter((word) => {
                  const range = document.createRange();
                  range.setStart(header.firstChild, word.index);
                  range.setEnd(header.firstChild, word.index + word[0].length);
                  return range.getClientRects().length !== 1;
                }).map(String))""")
            assert broken == [], width


async def test_a_refresh_does_not_disturb_the_reader(browser: Browser) -> None:
    """The elements stay. So do the focus, the text in the search field and the scroll position."""
    async with showing(picture([waiting("acme"), untouched("beta")])) as shown, visiting(browser, shown.url) as page:
        await page.clock.install()
        await page.goto(f"{shown.url}/")
        card = page.locator("#workspace-acme")
        await expect(card.locator(".badge")).to_contain_text("Waiting")
        await card.evaluate("element => { element.known = true }")
        await page.locator("#workspace-beta h2 a").focus()
        shown.snapshot, shown.now = picture([running("acme"), untouched("beta")]), LATER + 5.0
        await tick(page)
        await expect(card.locator(".badge")).to_contain_text("Importing")
        await expect(page.locator("#banner")).to_contain_text("Do not restart or scale Rocket.Chat now")
        assert await card.evaluate("element => element.known") is True
        await expect(page.locator("#workspace-beta h2 a")).to_be_focused()
        shown.snapshot, shown.now = picture([failed("acme"), untouched("beta")]), LATER + 10.0
        await tick(page)
        await expect(card.locator(".badge")).to_contain_text("Failed")
        await expect(page.locator("#banner")).to_have_count(0)
        await expect(page).to_have_title("(1) Failed · acme")


async def test_a_background_tab_reports_the_end_of_an_import(browser: Browser) -> None:
    """Who starts an import leaves the tab: its title, its icon, and a notification are what they see of it."""
    async with showing(picture([running("acme"), untouched("beta")])) as shown, visiting(browser, shown.url) as page:
        await page.add_init_script(RECORD_NOTIFICATIONS)
        await page.clock.install()
        await page.goto(f"{shown.url}/workspaces/acme")
        await expect(page).to_have_title("29 % · acme")
        await page.get_by_role("button", name="Notify me").click()
        await expect(page.locator("#notify")).to_contain_text("turn them off")
        before = await page.locator("#icon").get_attribute("href")
        await page.evaluate(HIDE)
        await tick(page)
        shown.snapshot, shown.now = picture([failed("acme"), untouched("beta")]), LATER + 5.0
        await page.clock.run_for(PERIOD)
        await expect(page).to_have_title("29 % · acme")
        await tick(page, HIDDEN_PERIOD - PERIOD)
        await expect(page).to_have_title("Failed · acme")
        assert await page.locator("#icon").get_attribute("href") == icon(Level.CRITICAL) != before
        (notified,) = await page.evaluate("notified")
        assert notified.startswith("acme: Failed: Failed at 500 of 5,020 records")
        await page.locator("#notify").click()
        shown.snapshot = picture([running("acme"), untouched("beta")])
        await tick(page, HIDDEN_PERIOD)
        shown.snapshot = picture([failed("acme"), untouched("beta")])
        await tick(page, HIDDEN_PERIOD)
        await expect(page).to_have_title("Failed · acme")
        assert await page.evaluate("notified") == [notified]


async def test_commands_are_copied_and_dates_are_in_the_reader_s_zone(browser: Browser) -> None:
    """At three in the morning nobody should retype a command or convert a time."""
    async with showing(gallery()) as shown, visiting(browser, shown.url) as page:
        await page.goto(f"{shown.url}/workspaces/beta")
        ended = page.locator("dd time.stamp").last
        await expect(ended).to_have_text("2027-01-15 08:59:59 GMT+1")
        await expect(ended).to_have_attribute("title", "2027-01-15 07:59:59 UTC")
        await page.get_by_role("button", name="Copy for kubectl").click()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == advice.LIST_REJECTED["kubectl"]
        await page.goto(f"{shown.url}/runbook")
        block = page.locator("pre").first
        await page.locator(".copy").first.click()
        assert await page.evaluate("navigator.clipboard.readText()") == (await block.inner_text()).rstrip()


async def test_what_moves_up_keeps_its_element_and_its_focus(browser: Browser) -> None:
    """Otherwise a reader who is about to click would hit something else."""
    async with showing(picture([failed("acme"), untouched("beta")])) as shown, visiting(browser, shown.url) as page:
        await page.clock.install()
        await page.goto(f"{shown.url}/")
        await page.locator("#workspace-beta h2 a").focus()
        shown.snapshot, shown.now = picture([untouched("acme"), failed("beta")]), LATER + 5.0
        await tick(page)
        await expect(page.locator(".workspaces h2").first).to_have_text("beta")
        await expect(page.locator("#workspace-beta h2 a")).to_be_focused()
        assert await page.locator(".workspaces > li").count() == 2


async def test_a_search_narrows_as_it_is_typed_and_survives_a_refresh(browser: Browser) -> None:
    """People with three hundred workspaces find theirs with a few letters."""
    async with showing(crowd(300)) as shown, visiting(browser, shown.url) as page:
        await page.clock.install()
        await page.goto(f"{shown.url}/")
        assert await page.locator(".workspaces > li").count() == 300
        await expect(page.locator(".workspaces .badge").first).to_contain_text("Cut off")
        await page.locator("#q").press_sequentially("workspace-12 region=eu")
        await page.clock.run_for(200)
        await expect(page.locator(".workspaces > li")).to_have_count(4)
        assert page.url.endswith("?q=workspace-12+region%3Deu")
        shown.now = LATER + 5.0
        await page.locator("#q").press_sequentially("x")
        await page.clock.run_for(200)
        await expect(page.locator(".found")).to_contain_text("No workspace matches")
        await expect(page.locator("#q")).to_have_value("workspace-12 region=eux")
        await expect(page.locator("#q")).to_be_focused()


async def test_without_a_script_everything_is_there(browser: Browser) -> None:
    """The page has state, cause, progress, advice and filter, and reloads by itself."""
    async with showing(gallery()) as shown, visiting(browser, shown.url, script=False) as page:
        await page.goto(f"{shown.url}/")
        assert await page.locator("meta[http-equiv=refresh]").count() == 1
        assert await page.locator(".workspaces > li").count() == len(shown.snapshot.records)
        await page.locator("#q").fill("team=platform")
        await page.get_by_role("button", name="Filter").click()
        await expect(page.locator(".workspaces > li")).to_have_count(1)
        await page.get_by_role("link", name="globex", exact=True).click()
        await expect(page.locator(".verdict")).to_contain_text("Cut off at 2,500 or more of 5,020 records")
        await expect(page.get_by_role("heading", name="What to do")).to_be_visible()
        await expect(page.get_by_role("progressbar")).to_have_attribute("value", str(2_500 / 5_020))
        await expect(page.locator("time.stamp").first).to_have_text("2027-01-15 06:53:20 UTC")
        await expect(page.get_by_role("button")).to_have_count(0)


async def test_with_a_script_the_page_does_not_reload(browser: Browser) -> None:
    """Two ways of refreshing would flicker."""
    async with showing(gallery()) as shown, visiting(browser, shown.url) as page:
        await page.goto(f"{shown.url}/")
        assert await page.locator("meta[http-equiv=refresh]").count() == 0


async def test_hostile_names_are_shown_as_they_are_written(browser: Browser) -> None:
    """The script inserts texts too."""
    async with showing(picture([running("acme"), untouched("beta")])) as shown, visiting(browser, shown.url) as page:
        await page.clock.install()
        await page.goto(f"{shown.url}/workspaces/acme")
        shown.snapshot, shown.now = picture([hostile("acme"), untouched("beta")]), LATER + 5.0
        await tick(page)
        await expect(page.locator("dd", has_text=HOSTILE).first).to_be_visible()
        await page.reload()
        await expect(page.locator("dd", has_text=HOSTILE).first).to_be_visible()
        await expect(page).to_have_title("19 % · acme")
        assert await page.locator("main script, main img").count() == 0


async def test_the_gzip_page_of_metrics_is_read_whole(browser: Browser) -> None:
    """A browser reads only the first gzip member, so the page must be a single one."""
    async with showing(gallery()) as shown, visiting(browser, shown.url) as page:
        response = await page.goto(f"{shown.url}/metrics")
        assert response is not None
        assert await response.header_value("content-encoding") == "gzip"
        assert await response.text() == Exposition(process=False).page(shown.snapshot, shown.now).decode()


async def test_it_works_below_a_prefix(browser: Browser) -> None:
    """A proxy may serve other programs beside the exporter."""
    async with (
        showing(gallery()) as shown,
        proxied(shown.url, "/tools/imports") as base,
        visiting(browser, base) as page,
    ):
        await page.clock.install()
        await page.goto(f"{base}/")
        await page.get_by_role("link", name="Needs someone now").click()
        await page.get_by_role("link", name="initech", exact=True).click()
        assert page.url == f"{base}/workspaces/initech"
        colour = await page.locator("#verdict").evaluate("element => getComputedStyle(element).borderLeftWidth")
        assert colour == "5px"
        shown.snapshot, shown.now = picture([running("initech"), untouched("beta")]), LATER + 5.0
        await tick(page)
        await expect(page.locator("#verdict .badge")).to_contain_text("Importing")
        await page.get_by_role("link", name="team=chat").click()
        assert page.url == f"{base}/?q=team%3Dchat"
        await expect(page.locator(".workspaces > li")).to_have_count(1)


async def test_it_says_when_the_exporter_is_away(browser: Browser) -> None:
    """The data on the page is then old. The message goes when the exporter answers again."""
    async with showing(gallery()) as shown:
        context = await browser.new_context()
        page = await context.new_page()
        await page.clock.install()
        await page.goto(f"{shown.url}/")
        await context.set_offline(True)
        await page.clock.run_for(PERIOD)
        await expect(page.locator("#lost")).to_contain_text("The exporter has not answered since")
        await expect(page.locator(".workspaces > li")).to_have_count(len(shown.snapshot.records))
        await context.set_offline(False)
        await tick(page)
        await expect(page.locator("#lost")).to_be_empty()
        await context.close()


async def test_a_keyboard_reaches_everything_and_sees_where_it_is(browser: Browser) -> None:
    """The first key skips the navigation. The element with the focus has an outline."""
    async with showing(gallery()) as shown, visiting(browser, shown.url) as page:
        await page.goto(f"{shown.url}/")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await expect(page.locator(".skip")).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        focused = page.locator("main :focus")
        await expect(focused).to_have_count(1)
        assert await focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The exporter's data at one time."""

    snapshot: Snapshot
    now: float


def moments(play: Callable[[], Coroutine[None, None, list[Moment]]]) -> list[Moment]:
    """The times that a play keeps, in virtual time."""
    loop = looptime.new_event_loop(start=0.0)
    try:
        return loop.run_until_complete(play())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def play_demo() -> list[Moment]:
    """The turns of one minute of the demo: the seconds in which an outcome changed."""
    kept: list[Moment] = []
    titles: list[str] = []
    async with exporting(stories.demo(), poll_interval="1s", poll_interval_idle="1s") as running_demo:
        for _ in range(60):
            await asyncio.sleep(1.0)
            moment = Moment(snapshot=running_demo.app.store.snapshot, now=running_demo.servers.clock.now())
            seen = [f"{each.title} {each.level}" for each in view.overview(moment.snapshot, moment.now).workspaces]
            if seen != titles:
                kept.append(moment)
                titles = seen
    return kept


@needs_axe
async def test_the_demo_s_stories_are_shown_as_they_happen(browser: Browser) -> None:
    """A background tab shows every turn of all five in title, icon and text, on a narrow screen and in both themes."""
    played = await asyncio.to_thread(moments, play_demo)
    told, wrong = set(), []
    async with showing(played[0].snapshot) as shown, visiting(browser, shown.url) as page:
        shown.now = played[0].now
        await page.clock.install()
        await page.goto(f"{shown.url}/")
        await page.evaluate(HIDE)
        for turn, moment in enumerate(played[1:]):
            shown.snapshot, shown.now = moment.snapshot, moment.now
            await page.set_viewport_size({"width": (320, 400)[turn % 2], "height": 700})
            await page.emulate_media(color_scheme=SCHEMES[turn // 2 % 2])
            await tick(page, HIDDEN_PERIOD)
            seen = view.overview(moment.snapshot, moment.now)
            await expect(page).to_have_title(seen.tab)
            await expect(page.locator("#icon")).to_have_attribute("href", icon(seen.worst))
            for each in seen.workspaces:
                badge = page.locator(f"#workspace-{each.name} .badge")
                await expect(badge).to_contain_text(each.title)
                told.add(each.title)
            assert await page.evaluate("document.documentElement.scrollWidth") <= (320, 400)[turn % 2]
            wrong += await violations(page) if turn % 4 == 0 else []
    assert {"Waiting", "Loading", "Importing", "Succeeded", "Done with errors", "Cut off"} <= told
    assert wrong == []


def every_story() -> Mapping[str, Story]:
    """Each story under the name of its function."""
    tellings: Mapping[str, Telling] = {
        "nightly_sync": stories.nightly_sync(waiting=60, running=1200),
        "csv_migration": stories.csv_migration(waiting=60, running=1200),
        "slack_migration": stories.slack_migration(waiting=60, running=1200),
        "rolling_deploy": stories.rolling_deploy(waiting=60, running=2400, killed_after=1200),
        "crash": stories.crash(waiting=60, running=2400, killed_after=600, away=1200),
        "phase_throws": stories.phase_throws(waiting=60, running=1200),
        "cleared_by_admin": stories.cleared_by_admin(waiting=60, running=1200),
        "superseded": stories.superseded(waiting=60, running=1200),
        "waits_for_start": stories.waits_for_start(),
        "stalls": stories.stalls(running=900),
        "idle": stories.idle(),
        "read_only": stories.read_only(stories.csv_migration(waiting=60, running=4800)),
        "faulty": stories.faulty(faults.page(502), waiting=600, broken_for=1800),
        "odd_words": stories.odd_words(waiting=300),
        "deselected": stories.deselected(waiting=60, running=1200),
        "old_failure_restamped": stories.old_failure_restamped(seconds=2400),
        "nights": stories.nights(1, users=800),
    }
    return {name: Story(telling) for name, telling in tellings.items()}


async def play_every_story() -> list[Moment]:
    """All stories, in their middle and at their end."""
    kept: list[Moment] = []
    scripts = {name.replace("_", "-"): story for name, story in every_story().items()}
    async with exporting(scripts, poll_interval="1m", poll_interval_idle="1m") as playing:
        for minutes in (18, 27):
            await asyncio.sleep(60.0 * minutes)
            kept.append(Moment(snapshot=playing.app.store.snapshot, now=playing.servers.clock.now()))
    return kept


@cache
def told_stories() -> Sequence[Moment]:
    """All stories, played once for all tests."""
    return moments(play_every_story)


@needs_axe
async def test_every_story_is_readable_and_accessible_on_a_phone_in_both_themes(browser: Browser) -> None:
    """A page is a mixture of parts, and each story has another one."""
    assert set(every_story()) == {
        name for name, each in vars(stories).items() if getattr(each, "__annotations__", {}).get("return") is Telling
    } - {"_upload"}
    told, wrong = set(), {}
    middle, end = await asyncio.to_thread(told_stories)
    async with showing(middle.snapshot) as shown, visiting(browser, shown.url) as page:
        for moment in (middle, end):
            shown.snapshot, shown.now = moment.snapshot, moment.now
            for name in moment.snapshot.records:
                await page.goto(f"{shown.url}/workspaces/{name}")
                told.add((await page.locator("#verdict .badge").inner_text())[2:])
                for width, scheme in zip((320, 400), SCHEMES, strict=True):
                    await page.set_viewport_size({"width": width, "height": 800})
                    await page.emulate_media(color_scheme=scheme)
                    assert await page.evaluate("document.documentElement.scrollWidth") <= width, name
                    if moment is end and (found := await violations(page)):
                        wrong[f"{name}, {scheme}"] = found
    assert told >= {
        *("Canceled", "Cut off", "Done with errors", "Failed", "Importing", "Lost sight", "Nothing imported yet"),
        *("Stalled", "Succeeded", "Waiting"),
    }
    assert wrong == {}


async def test_a_background_tab_follows_every_story(browser: Browser) -> None:
    """Title and icon are the story's, and a notification comes if the import ended or needs someone now, else none."""
    middle, end = await asyncio.to_thread(told_stories)
    notified = set()
    async with showing(middle.snapshot) as shown, visiting(browser, shown.url) as page:
        await page.add_init_script(f"{RECORD_NOTIFICATIONS} localStorage.setItem('notify', 'yes');")
        await page.clock.install()
        for name in middle.snapshot.records:
            shown.snapshot, shown.now = middle.snapshot, middle.now
            await page.goto(f"{shown.url}/workspaces/{name}")
            before = view.details(middle.snapshot.records[name], middle.now)
            await expect(page).to_have_title(before.tab)
            await page.evaluate(HIDE)
            shown.snapshot, shown.now = end.snapshot, end.now
            await tick(page, HIDDEN_PERIOD)
            after = view.details(end.snapshot.records[name], end.now)
            await expect(page).to_have_title(after.tab)
            await expect(page.locator("#icon")).to_have_attribute("href", icon(after.level))
            ended = before.restart_safe is False and after.restart_safe is True
            alarming = after.level is Level.CRITICAL is not before.level
            assert bool(await page.evaluate("notified")) == (ended or alarming), name
            notified |= {after.title} if ended or alarming else set()
    assert notified >= {"Succeeded", "Done with errors", "Cut off"}
