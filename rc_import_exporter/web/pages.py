"""The live page, the runbook, and the JSON API: their routes, joined to the server by `app`.

What is shown is `view`'s and `report`'s; the templates lay it out. Nothing is loaded from elsewhere, all links are
relative, so that any prefix of a proxy works, and every text is escaped by jinja2.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from rc_import_exporter.core import advice
from rc_import_exporter.core.snapshot import Snapshot
from rc_import_exporter.core.verdict import spell
from rc_import_exporter.web import api as report
from rc_import_exporter.web import view
from rc_import_exporter.web.server import negotiated
from rc_import_exporter.web.view import Level, WorkspaceView

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
REFRESH: Final = 5
"""Seconds between two looks of the page's script; polls are seldom closer."""
RELOAD: Final = 15
"""Seconds between two loads of the page where there is no script."""
LONGEST_SEARCH: Final = 200
MOST_MADE: Final = 16
"""Answers kept for the second in which they were made."""
MOST_EARLIER: Final = 20
"""Earlier operations that a page lists, as many as the server itself remembers."""
FOREVER: Final = "public, max-age=31536000, immutable"
"""For files whose address changes with what they hold."""

LEVELS: Final = {
    Level.CRITICAL: ("Needs someone now", "✕"),
    Level.WARNING: ("Needs a look", "!"),
    Level.ACTIVE: ("In progress", "▶"),
    Level.WAITING: ("Waiting", "…"),
    Level.QUIET: ("At rest", "✓"),
}
"""What a level is called, and the sign beside its colour."""
_TYPES: Final = {".css": "text/css", ".js": "text/javascript"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asset:
    body: bytes
    type: str
    version: str


class Pages:
    """The handlers for people; `snapshot` gives the picture of the moment, `clock` Unix seconds."""

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Callable[[], float]) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._assets = dict(_assets())
        self._runbook: Markup | None = None
        self._second = 0
        self._made: dict[tuple[str, str, str], bytes] = {}
        self._templates = Environment(
            loader=PackageLoader("rc_import_exporter.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"code": code, "spell": spell, "when": when, "percent": percent, "number": number}
        self._templates.globals |= {"levels": LEVELS, "words": advice, "refresh": REFRESH, "reload": RELOAD}

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its paths; those that end in a slash where none belongs lead to those that do not."""
        return [
            web.get("/", self.index),
            web.get("/workspaces", _to("./")),
            web.get("/workspaces/", _to("../")),
            web.get("/workspaces/{name}", self.workspace),
            web.get("/workspaces/{name}/", _to("../{name}")),
            web.get("/runbook", self.runbook),
            web.get("/runbook/", _to("../runbook")),
            web.get("/static/{name}", self.asset),
            web.get("/api/v1/workspaces", self.workspaces_json),
            web.get("/api/v1/workspaces/{name}", self.workspace_json),
            web.get("/api/v1/workspaces.schema.json", self.schema),
        ]

    async def index(self, request: web.Request) -> web.Response:
        """All workspaces, the worst first; with only one configured, everything about it."""
        return _html(request, self._kept("index.html", *_asked(request), self._index))

    async def workspace(self, request: web.Request) -> web.Response:
        """Everything about one workspace; an unknown name is 404."""
        name, snapshot = request.match_info["name"], self._snapshot()
        record = snapshot.records.get(name)
        if record is None:
            return _html(request, self._page("missing.html", "../", snapshot, name=name[:64]), HTTPStatus.NOT_FOUND)
        return _html(request, self._one(view.view(record, self._clock()), "../", snapshot))

    async def runbook(self, request: web.Request) -> web.Response:
        """The alerts' runbook; its headings have the anchors that the alerts link to."""
        if self._runbook is None:
            self._runbook = _runbook()
        return _html(request, self._page("runbook.html", "", self._snapshot(), text=self._runbook))

    async def asset(self, request: web.Request) -> web.Response:
        """A style sheet or a script."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            return web.Response(text="404 Not Found\n", status=HTTPStatus.NOT_FOUND)
        kept = FOREVER if request.query_string == asset.version else "no-cache"
        headers = {"Cache-Control": kept, "ETag": f'"{asset.version}"'}
        return web.Response(body=asset.body, content_type=asset.type, charset="utf-8", headers=headers)

    async def workspaces_json(self, request: web.Request) -> web.Response:
        """What the index shows, as JSON; the query searches as it does there."""
        return _json(request, self._kept("workspaces.json", *_asked(request), self._overview))

    async def workspace_json(self, request: web.Request) -> web.Response:
        """What a workspace's page shows, as JSON; an unknown name is 404."""
        name = request.match_info["name"]
        record = self._snapshot().records.get(name)
        if record is None:
            body = report.error_json(f"no workspace is called {name[:64]!a}")
            return _json(request, body, HTTPStatus.NOT_FOUND)
        return _json(request, report.workspace_json(view.view(record, self._clock()), view.past(record)))

    async def schema(self, request: web.Request) -> web.Response:
        """The JSON Schema of both."""
        return web.Response(text=report.schema(), content_type="application/schema+json")

    def _kept(self, what: str, search: str, level: str, make: Callable[[str, str], bytes]) -> bytes:
        """What was made within the same second, else anew: many readers of hundreds of workspaces cost as one."""
        second = int(self._clock())
        if second != self._second or len(self._made) >= MOST_MADE:
            self._second, self._made = second, {}
        key = what, search, level
        if key not in self._made:
            self._made[key] = make(search, level)
        return self._made[key]

    def _index(self, search: str, level: str) -> bytes:
        snapshot = self._snapshot()
        seen = view.overview(snapshot, self._clock(), search, level)
        if seen.total == 1 and len(seen.workspaces) == 1:
            return self._one(seen.workspaces[0], "", snapshot)
        return self._page("index.html", "", snapshot, seen=seen, search=search, level=level)

    def _overview(self, search: str, level: str) -> bytes:
        snapshot = self._snapshot()
        return report.overview_json(view.overview(snapshot, self._clock(), search, level), snapshot.build)

    def _one(self, seen: WorkspaceView, root: str, snapshot: Snapshot) -> bytes:
        earlier = tuple(view.past(snapshot.records[seen.name]))[:MOST_EARLIER]
        return self._page("workspace.html", root, snapshot, workspace=seen, earlier=earlier)

    def _page(self, template: str, root: str, snapshot: Snapshot, **shown: object) -> bytes:
        """A page whose links begin with `root`, the way back to where the exporter's paths begin."""
        text = self._templates.get_template(template).render(
            root=root,
            build=snapshot.build,
            assets={name: f"{root}static/{name}?{asset.version}" for name, asset in self._assets.items()},
            **shown,
        )
        return text.encode(errors="replace")


def code(text: str) -> Markup:
    """A text whose parts between backticks are set as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def when(at: float | None, now: float, *, dated: bool = False) -> Markup:
    """How long ago an instant was, or is to come; with its date where that is wanted, else to be pointed at."""
    iso = report.instant(at)
    if at is None or iso is None:
        return Markup("never")
    date = f"{iso[:10]} {iso[11:19]} UTC"
    distance = spell(abs(now - at))
    said = f"in {distance}" if at - now >= 1 else "just now" if now - at < 1 else f"{distance} ago"
    shown = Markup(' <span class="date">{}</span>').format(date) if dated else ""
    return Markup('<time datetime="{}" title="{}">{}</time>{}').format(iso, date, said, shown)


def percent(share: float) -> str:
    """A share in whole percents; all of it only where it is."""
    return f"{int(share * 100)} %"


def number(value: float) -> str:
    """A number as people read it: thousands apart, and a decimal where it is small."""
    return f"{value:,.1f}" if 0 < value < 10 and value != int(value) else f"{value:,.0f}"


def _asked(request: web.Request) -> tuple[str, str]:
    search, level = request.query.get("q", ""), request.query.get("level", "")
    return search[:LONGEST_SEARCH], level if level in set(Level) else ""


def _to(path: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def redirect(request: web.Request) -> web.StreamResponse:
        # Relative, so that a proxy's prefix stays; the name as it was sent, still quoted.
        name = request.rel_url.raw_parts[-2] if "{name}" in path else ""
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": path.replace("{name}", name)})

    return redirect


def _html(request: web.Request, body: bytes, status: int = HTTPStatus.OK) -> web.Response:
    response = _packed(request, body, status, "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def _json(request: web.Request, body: bytes, status: int = HTTPStatus.OK) -> web.Response:
    return _packed(request, body, status, "application/json")


def _packed(request: web.Request, body: bytes, status: int, kind: str) -> web.Response:
    """An answer in the encoding that the request asks for; aiohttp's own choice is blind to weights."""
    headers = {"Vary": "Accept-Encoding"}
    response = web.Response(body=body, status=status, content_type=kind, charset="utf-8", headers=headers)
    _, encoding = negotiated(request)
    response.enable_compression(web.ContentCoding(encoding))
    return response


def _assets() -> Iterator[tuple[str, _Asset]]:
    for file in (resources.files("rc_import_exporter.web") / "static").iterdir():
        kind = _TYPES.get(Path(file.name).suffix)
        if kind is not None:
            body = file.read_bytes()
            yield file.name, _Asset(body=body, type=kind, version=sha256(body).hexdigest()[:12])


def _runbook() -> Markup:
    return render_markdown((resources.files("rc_import_exporter.web") / "runbook.md").read_text(encoding="utf-8"))


def render_markdown(text: str) -> Markup:
    """Markdown as HTML, without raw HTML, whose headings have anchors as in a repository's web view."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - the parser escapes


def anchor(heading: str) -> str:
    """A heading's anchor: lower case, hyphens for spaces, nothing but letters, digits, hyphens and underscores."""
    return "".join(each for each in heading.lower().replace(" ", "-") if each.isalnum() or each in "-_")
