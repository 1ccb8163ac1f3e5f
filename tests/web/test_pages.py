"""The pages as a server sends them: complete without a script, safe, and with links that work below any prefix."""

import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import pytest
from aiohttp import web

from rc_import_exporter.core.domain import Kind, Links, Step
from rc_import_exporter.web.answers import CONTENT_SECURITY_POLICY
from rc_import_exporter.web.pages import anchor, render_markdown
from rc_import_exporter.web.server import Server, create_application
from rc_import_exporter.web.writing import clock, code, date, number, soon, staged, when
from tests.support.gallery import HOSTILE, crowd, gallery, hostile, showing, stalled, told, workspace
from tests.support.pictures import NOW, operation, picture, running, untouched

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rocketchat-import.rules.yml"
PAGES = ["/", "/workspaces/acme", "/workspaces/hostile", "/workspaces/nobody", "/?q=acme", "/?level=critical"]


@dataclass(slots=True)
class Seen(HTMLParser):
    """A parsed page: its elements, links and text."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def addresses(self) -> list[str]:
        """Everything that the page links to or loads, except data."""
        found = [each.get("href") or each.get("src") for _, each in self.elements]
        return [address for address in found if address and not address.startswith("data:")]


async def look(url: str) -> tuple[int, dict[str, str], Seen]:
    """Status, headers and content of a page."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        seen = Seen()
        seen.feed(await response.text())
        return response.status, dict(response.headers), seen


@asynccontextmanager
async def proxied(url: str, prefix: str) -> AsyncIterator[str]:
    """The address, with its prefix, of a proxy that only forwards paths below the prefix."""

    async def forward(request: web.Request) -> web.Response:
        target = f"{url}/{request.match_info['path']}"
        address = f"{target}?{request.query_string}" if request.query_string else target
        async with session.get(address, allow_redirects=False) as answer:
            kept = {name: answer.headers[name] for name in ("Content-Type", "Location") if name in answer.headers}
            kept["Content-Security-Policy"] = answer.headers["Content-Security-Policy"]
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    server = Server(create_application([web.get(f"{prefix}/{{path:.*}}", forward)]))
    async with aiohttp.ClientSession() as session:
        port = await server.start("127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{port}{prefix}"
        finally:
            await server.stop()


@pytest.mark.parametrize("path", PAGES)
async def test_nothing_in_a_page_is_inline_or_from_elsewhere(path: str) -> None:
    """The policy would block it."""
    async with showing(gallery()) as shown:
        _, headers, seen = await look(f"{shown.url}{path}")
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["Cache-Control"] == "no-store"
    assert all(each.get("src") for each in seen.all("script"))
    assert seen.all("style") == []
    inline = [name for _, each in seen.elements for name in each if name == "style" or name.startswith("on")]
    assert inline == []
    loaded = [each.get("href") or each.get("src") for tag, each in seen.elements if tag in ("link", "script", "img")]
    assert [address for address in loaded if not (address or "").startswith(("static/", "../static/", "data:"))] == []
    links = [address for address in seen.addresses if urlsplit(address).scheme or address.startswith("/")]
    assert [address for address in links if ".example.org" not in urlsplit(address).netloc] == []


@pytest.mark.parametrize(
    ("path", "dashboard"),
    [
        ("/", "/d/rocketchat-imports"),
        ("/runbook", "/d/rocketchat-imports"),
        ("/workspaces/acme", "/d/rocketchat-import?var-workspace=acme"),
    ],
)
async def test_pages_link_to_grafana_if_its_address_is_configured(path: str, dashboard: str) -> None:
    """Without its address a link would be dead."""
    grafana = "https://grafana.example.org"
    async with (
        showing(replace(gallery(), links=Links(grafana_url=grafana))) as shown,
        aiohttp.ClientSession() as session,
    ):
        _, _, seen = await look(f"{shown.url}{path}")
        async with session.get(f"{shown.url}/api/v1/workspaces/acme") as response:
            acme = await response.json()
        async with session.get(f"{shown.url}/api/v1/workspaces") as response:
            listed = {each["name"]: each["grafana_url"] for each in (await response.json())["workspaces"]}
    assert [address for address in seen.addresses if address.startswith(grafana)] == [f"{grafana}{dashboard}"]
    assert acme["grafana_url"] == listed["acme"] == f"{grafana}/d/rocketchat-import?var-workspace=acme"
    async with showing(gallery()) as shown:
        _, _, seen = await look(f"{shown.url}{path}")
    assert "Grafana" not in seen.text or path == "/runbook"


async def test_the_warning_stands_as_long_as_a_restart_is_not_safe() -> None:
    """An import that was under way when its server went away may go on: the JSON says so, and the page must as well."""
    snapshot = gallery()
    async with showing(snapshot) as shown:
        for name, record in snapshot.records.items():
            _, _, seen = await look(f"{shown.url}/workspaces/{name}")
            warned = any(each.get("id") == "banner" for each in seen.all("section"))
            assert warned == (record.restart_safe(shown.now) is False), name
            assert ("cut off already" in seen.text) == (name in ("gone", "cyberdyne")), name


async def test_an_idle_workspace_says_where_to_start_an_import() -> None:
    """The exporter only watches."""
    async with showing(gallery()) as shown:
        for path in ("/", "/workspaces/new"):
            _, _, seen = await look(f"{shown.url}{path}")
            assert "http://new.example.org:3000/admin/import" in seen.addresses
            assert "To start an import, open Administration → Workspace → Import" in " ".join(seen.text.split())


async def test_counts_are_told_with_what_explains_them() -> None:
    """40 done of 20 looks wrong, and 20 users are no progress."""
    async with showing(gallery()) as shown:
        _, _, beta = await look(f"{shown.url}/workspaces/beta")
        _, _, acme = await look(f"{shown.url}/workspaces/acme")
    words, more = " ".join(beta.text.split()), " ".join(acme.text.split())
    assert "Done40More than the total is normal: Rocket.Chat counts the users of a file import twice." in words
    assert "Started1 min ago or earlier" in words
    assert "Tookat least 59 s" in words
    assert "To import20 users, 8 channels, 4,992 messages" in more
    assert "about 1 min left, until 08:01 UTC" in more
    assert "Last progress8 s ago" in more


async def test_an_end_that_was_not_seen_is_shown_as_a_bound() -> None:
    """A restart can have stamped it hours after its end."""
    found = operation("a" * 17, Step.DONE, created=7200.0, updated=60.0, valid=False)
    async with showing(picture([told(workspace("acme"), 0.0, found)])) as shown:
        _, _, seen = await look(f"{shown.url}/workspaces/acme")
    words = " ".join(seen.text.split())
    assert "Ended1 min ago or earlier" in words
    assert "Took" not in words


@pytest.mark.parametrize("prefix", ["", "/tools/imports"])
async def test_every_link_leads_somewhere_below_any_prefix(prefix: str) -> None:
    """Many run the exporter behind a proxy with a path prefix. The test follows every link."""
    async with showing(gallery()) as shown, proxied(shown.url, prefix) as base, aiohttp.ClientSession() as session:
        start = f"{base}/"
        waiting, followed = [start], {start}
        places, ids = set[str](), set[str]()
        while waiting:
            url = waiting.pop()
            async with session.get(url) as response:
                assert response.status == 200 or url.endswith("/-/ready"), url
                if response.content_type != "text/html":
                    continue
                seen = Seen()
                seen.feed(await response.text())
            ids |= {f"{url}#{each['id']}" for _, each in seen.elements if each.get("id")}
            for address in seen.addresses:
                if ".example.org" in address:  # a link to Rocket.Chat
                    continue
                place = urljoin(url, address)
                target = place.split("#")[0]
                places |= {place} - {target}
                assert target.startswith(start), (url, address)
                if target not in followed:
                    followed.add(target)
                    waiting.append(target)
        assert {f"{start}{path}" for path in ("metrics", "-/healthy", "runbook", "workspaces/acme")} <= followed
        assert places <= ids
        explained = ("after-a-crash", "why-the-server-stopped", "rocketchats-log", "what-rocketchat-waits-for")
        assert {f"{start}runbook#{section}" for section in (*explained, "start-again", "before-a-new-import")} <= places


@pytest.mark.parametrize(
    ("path", "end"),
    [("/workspaces", "/"), ("/workspaces/", "/"), ("/workspaces/acme/", "/workspaces/acme"), ("/runbook/", "/runbook")],
)
async def test_a_slash_too_many_or_too_few_leads_on(path: str, end: str) -> None:
    """People type addresses. The redirect must keep a proxy's prefix."""
    async with (
        showing(gallery()) as shown,
        proxied(shown.url, "/p") as base,
        aiohttp.ClientSession() as session,
        session.get(f"{base}{path}") as response,
    ):
        assert str(response.url) == f"{base}{end}"


async def test_texts_of_rocketchat_are_escaped() -> None:
    """Markup in Rocket.Chat's texts must not run."""
    async with showing(picture([hostile("acme"), untouched("beta")])) as shown:
        for path in ("/", "/workspaces/acme"):
            _, _, seen = await look(f"{shown.url}{path}")
            assert HOSTILE in seen.text
            assert len(seen.all("script")) == 1
            assert seen.all("img") == []


async def test_a_search_is_escaped() -> None:
    """Anyone can send a link with a search in it."""
    query = urlencode({"q": '"><script>', "level": '"><b>'})
    async with showing(gallery()) as shown:
        _, _, seen = await look(f"{shown.url}/?{query}")
    assert seen.all("input")[0]["value"] == '"><script>'
    assert len(seen.all("script")) == 1
    assert seen.all("b") == []


async def test_a_form_filters_without_a_script() -> None:
    """The page must work where scripts are blocked."""
    async with showing(crowd(60)) as shown:
        _, _, seen = await look(f"{shown.url}/?q=workspace-00+region%3Deu")
    assert "4 of 60 shown" in seen.text
    shown_names = {each["id"] for each in seen.all("li") if "id" in each}
    assert shown_names == {f"workspace-workspace-{index:03}" for index in (0, 3, 6, 9)}


async def test_a_single_workspace_is_shown_in_full_on_the_index() -> None:
    """Most people have one server and should not have to click."""
    async with showing(picture([running("acme")])) as shown:
        _, _, seen = await look(f"{shown.url}/")
        assert "importing messages" in seen.text
        assert "Do not restart or scale Rocket.Chat now" in seen.text
        _, _, elsewhere = await look(f"{shown.url}/?q=nobody")
        assert "No workspace matches" in elsewhere.text


async def test_a_stalled_import_says_when_not_to_restart_and_when_to() -> None:
    """Its last step is a restart, so a banner that forbids one without a condition contradicts it."""
    async with showing(picture([stalled("acme")])) as shown:
        _, _, seen = await look(f"{shown.url}/workspaces/acme")
    assert "Do not restart or scale Rocket.Chat yet" in seen.text
    assert "restart only if Rocket.Chat's log shows no progress either" in seen.text
    assert "Restart Rocket.Chat only if neither its log nor the counts have moved" in seen.text
    async with showing(picture([stalled("acme"), running("wayne")])) as shown:
        _, _, both = await look(f"{shown.url}/")
    assert "Do not restart or scale Rocket.Chat now" in both.text
    assert "The import in acme makes no progress" in both.text


async def test_no_workspace_at_all_is_said() -> None:
    """It is a valid configuration."""
    async with showing(picture([])) as shown:
        status, _, seen = await look(f"{shown.url}/")
    assert status == 200
    assert "No workspace is configured" in seen.text


async def test_an_unknown_workspace_is_a_page_that_leads_back() -> None:
    """With status 404, for scripts."""
    async with showing(gallery()) as shown:
        status, _, seen = await look(f"{shown.url}/workspaces/%3Cb%3Enobody")
    assert status == 404
    assert "No workspace is called <b>nobody" in seen.text
    assert "../" in seen.addresses


async def test_a_page_reloads_itself_without_scripts() -> None:
    """Only a browser without scripts reads this directive."""
    async with (
        showing(gallery()) as shown,
        aiohttp.ClientSession() as session,
        session.get(f"{shown.url}/") as response,
    ):
        assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in await response.text()


async def test_style_and_script_are_cached_until_they_change() -> None:
    """The address changes with the content, so that no browser shows a new page with an old style."""
    async with showing(gallery()) as shown, aiohttp.ClientSession() as session:
        _, _, seen = await look(f"{shown.url}/")
        for address in [each["href"] for each in seen.all("link") if each["rel"] == "stylesheet"] + [
            each["src"] for each in seen.all("script")
        ]:
            assert address is not None
            async with session.get(f"{shown.url}/{address}") as response:
                assert "immutable" in response.headers["Cache-Control"]
            async with session.get(f"{shown.url}/{address.split('?')[0]}") as response:
                assert response.headers["Cache-Control"] == "no-cache"
        async with session.get(f"{shown.url}/static/..%2fpages.py") as response:
            assert response.status == 404


async def test_pages_are_compressed() -> None:
    """A page of three hundred workspaces is large for a phone."""
    async with showing(crowd(300)) as shown, aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(f"{shown.url}/", headers={"Accept-Encoding": "gzip"}) as response:
            packed = await response.read()
            assert response.headers["Content-Encoding"] == "gzip"
            assert "Accept-Encoding" in response.headers["Vary"]
        async with session.get(f"{shown.url}/", headers={"Accept-Encoding": "identity"}) as response:
            assert len(await response.read()) > 5 * len(packed)


@pytest.mark.parametrize("path", ["/", "/workspaces/acme", "/runbook", "/api/v1/workspaces", "/api/v1/workspaces/acme"])
@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip;q=0", None),
        ("gzip;q=0, *", None),
        ("gzip;q=0.1, identity", None),
        ("deflate", None),
        ("*", "gzip"),
        ("X-GZIP", "gzip"),
        ("deflate, gzip;q=0.5", "gzip"),
    ],
)
async def test_pages_come_in_the_encoding_that_was_asked_for(path: str, accepted: str, encoding: str | None) -> None:
    """By itself aiohttp ignores weights and would send gzip to a client that refuses it."""
    headers = {"Accept-Encoding": accepted}
    async with (
        showing(picture([running("acme"), untouched("beta")])) as shown,
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(f"{shown.url}{path}", headers=headers) as response,
    ):
        body = await response.read()
    assert response.headers.get("Content-Encoding") == encoding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert (gzip.decompress(body) if encoding else body).startswith((b"<!doctype", b"{"))


async def test_a_workspace_not_polled_yet_has_a_page() -> None:
    """People open the page right after the start."""
    async with showing(picture([workspace("acme"), workspace("beta")])) as shown:
        status, _, seen = await look(f"{shown.url}/workspaces/acme")
    assert status == 200
    assert "The first poll comes in a moment" in seen.text


async def test_the_runbook_has_every_place_that_alerts_link_to() -> None:
    """Alerts link to the exporter's own runbook, which needs no internet."""
    anchors = set(re.findall(r"/runbook#([a-z-]+)", RULES.read_text()))
    async with showing(gallery()) as shown:
        status, _, seen = await look(f"{shown.url}/runbook")
    assert status == 200
    assert anchors
    assert anchors - {each.get("id") for _, each in seen.elements} == set()


async def test_every_link_of_the_runbook_leads_to_a_place_on_the_page() -> None:
    """Its contents list, and each step's link to its commands."""
    async with showing(gallery()) as shown:
        _, _, seen = await look(f"{shown.url}/runbook")
    links = {each.get("href") or "" for _, each in seen.elements}
    inside = {link.removeprefix("#") for link in links if link.startswith("#")} - {"content"}
    assert len(inside) > 30
    assert inside - {each.get("id") for _, each in seen.elements} == set()


def test_headings_of_the_runbook_have_the_anchors_that_alerts_link_to() -> None:
    """The same links work in the repository."""
    rendered = render_markdown("# Runbook\n\n## RocketChatImportCutOff\n\n### What to do, now?\n\n<b>x</b>\n")
    assert '<h2 id="rocketchatimportcutoff">' in rendered
    assert '<h3 id="what-to-do-now">' in rendered
    assert "<b>" not in rendered
    assert anchor("Read-only: enough") == "read-only-enough"


def test_numbers_and_instants_are_written_for_people() -> None:
    """Large numbers and dates are hard to read otherwise."""
    assert [number(each) for each in (0, 0.25, 9.5, 12.4, 15_020)] == ["0", "0.2", "9.5", "12", "15,020"]
    assert when(None, NOW) == "never"
    assert ">2 min ago<" in when(NOW - 120, NOW)
    assert ">in 12 s<" in when(NOW + 12, NOW)
    assert ">just now<" in when(NOW + 0.5, NOW)
    assert ">2027-01-15 08:00:00 UTC<" in date(NOW)
    assert ">08:02 UTC<" in clock(NOW + 120, NOW)
    assert ">2027-01-16 08:00 UTC<" in clock(NOW + 86_400, NOW)
    assert 'title="2027-01-15 08:02:00 UTC"' in clock(NOW + 120, NOW)
    assert (soon(NOW - 5, NOW), soon(NOW + 0.5, NOW)) == ("now", "now")
    assert ">in 12 s<" in soon(NOW + 12, NOW)
    assert ">5 min ago<" in soon(NOW - 300, NOW)
    assert staged({Kind.USERS: 1, Kind.MESSAGES: 20_000, Kind.CONTACTS: 0}) == "1 user, 20,000 messages"
    assert when(1e300, NOW) == "never"


def test_what_is_to_be_typed_is_set_as_code() -> None:
    """Markup in it is still escaped."""
    assert code("set `a<b`, & go") == "set <code>a&lt;b</code>, &amp; go"
