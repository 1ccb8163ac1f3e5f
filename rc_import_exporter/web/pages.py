"""The routes of the live page, the runbook and the JSON API.

Nothing is loaded from another server. All links but those to Grafana are relative, so that they work behind a proxy
with any path prefix. jinja2 escapes every text.
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
from markupsafe import Markup

from rc_import_exporter.core import advice, progress
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.core.verdict import spell
from rc_import_exporter.web import answers, api, view, writing
from rc_import_exporter.web.fields import Level, WorkspaceView

REFRESH: Final = 5
"""Seconds between two updates by the page's script. Polls are seldom more frequent."""
REFRESH_HIDDEN: Final = 30
"""The same while the page is in a background tab: its title, its icon and its notifications stay up to date."""
RELOAD: Final = 15
"""Seconds between two reloads of the page in a browser without scripts."""
LONGEST_SEARCH: Final = 200
MOST_CACHED: Final = 16
"""Answers that are cached for a second. A reader who varies the search cannot fill the memory."""
MOST_EARLIER: Final = 20
"""Earlier operations on a page. Rocket.Chat's own list has as many."""
FOREVER: Final = "public, max-age=31536000, immutable"
"""For files whose address changes with their content."""

_TYPES: Final = {".css": "text/css", ".js": "text/javascript"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asset:
    body: bytes
    type: str
    version: str


class Pages:
    """The handlers for people and scripts. `snapshot` gives the current snapshot, `clock` Unix seconds.

    With `demo` the pages say that the servers are simulated.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Callable[[], float], *, demo: bool = False) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._assets = dict(_assets())
        self._runbook: Markup | None = None
        self._second = 0
        self._cached: dict[tuple[str, str, str], bytes] = {}
        self._templates = Environment(
            loader=PackageLoader("rc_import_exporter.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        written = (writing.clock, writing.code, writing.date, writing.icon, writing.number, writing.soon)
        filters = (*written, writing.staged, writing.when, spell)
        self._templates.filters |= {each.__name__: each for each in filters}
        self._templates.filters["percent"] = progress.percent
        self._templates.globals |= {"levels": writing.LEVELS, "words": advice, "reload": RELOAD, "demo": demo}
        self._templates.globals |= {"refresh": REFRESH, "refresh_hidden": REFRESH_HIDDEN}

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its paths. A path with a slash too many or too few redirects to the right one."""
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
        """All workspaces, the most urgent first. If only one is configured, its own page."""
        return answers.html(request, self._from_cache("index.html", *_asked(request), self._index))

    async def workspace(self, request: web.Request) -> web.Response:
        """One workspace; 404 for an unknown name."""
        name, snapshot = request.match_info["name"], self._snapshot()
        record = snapshot.records.get(name)
        if record is None:
            holder = snapshot.shard.holder(name) if snapshot.shard is not None and name in snapshot.elsewhere else None
            page = self._page("missing.html", "../", snapshot, name=name[:64], holder=holder)
            return answers.html(request, page, HTTPStatus.NOT_FOUND)
        return answers.html(request, self._details(record, "../", snapshot))

    async def runbook(self, request: web.Request) -> web.Response:
        """The runbook. Alerts link to its headings."""
        if self._runbook is None:
            self._runbook = _runbook()
        return answers.html(request, self._page("runbook.html", "", self._snapshot(), text=self._runbook))

    async def asset(self, request: web.Request) -> web.Response:
        """A style sheet or a script."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            return answers.refusal(HTTPStatus.NOT_FOUND)
        cached = FOREVER if request.query_string == asset.version else "no-cache"
        headers = {"Cache-Control": cached, "ETag": f'"{asset.version}"'}
        return web.Response(body=asset.body, content_type=asset.type, charset="utf-8", headers=headers)

    async def workspaces_json(self, request: web.Request) -> web.Response:
        """The index as JSON. The query searches as it does on the index."""
        return answers.json(request, self._from_cache("workspaces.json", *_asked(request), self._overview))

    async def workspace_json(self, request: web.Request) -> web.Response:
        """One workspace as JSON; 404 for an unknown name."""
        name, snapshot = request.match_info["name"], self._snapshot()
        record = snapshot.records.get(name)
        if record is None:
            return answers.json(request, api.error_json(answers.no_workspace(name, snapshot)), HTTPStatus.NOT_FOUND)
        return answers.json(request, api.workspace_json(self._seen(record, snapshot)))

    async def schema(self, request: web.Request) -> web.Response:
        """The JSON Schema of both answers."""
        return web.Response(text=api.schema(), content_type="application/schema+json")

    def _from_cache(self, what: str, search: str, level: str, make: Callable[[str, str], bytes]) -> bytes:
        """An answer made within this second, or a new one: many readers cost as much as one."""
        second = int(self._clock())
        if second != self._second or len(self._cached) >= MOST_CACHED:
            self._second, self._cached = second, {}
        key = what, search, level
        if key not in self._cached:
            self._cached[key] = make(search, level)
        return self._cached[key]

    def _index(self, search: str, level: str) -> bytes:
        snapshot = self._snapshot()
        seen = view.overview(snapshot, self._clock(), search, level)
        if seen.total == 1 and seen.workspaces:
            return self._details(snapshot.records[seen.workspaces[0].name], "", snapshot)
        return self._page("index.html", "", snapshot, seen=seen, search=search, level=level)

    def _overview(self, search: str, level: str) -> bytes:
        return api.overview_json(view.overview(self._snapshot(), self._clock(), search, level))

    def _details(self, record: Record, root: str, snapshot: Snapshot) -> bytes:
        seen = self._seen(record, snapshot)
        earlier = seen.earlier_operations[:MOST_EARLIER]
        return self._page("workspace.html", root, snapshot, workspace=seen, earlier=earlier)

    def _seen(self, record: Record, snapshot: Snapshot) -> WorkspaceView:
        return view.details(record, self._clock(), snapshot.links.grafana_url)

    def _page(self, template: str, root: str, snapshot: Snapshot, **shown: object) -> bytes:
        """A page. Its links begin with `root`, the relative path to the index."""
        text = self._templates.get_template(template).render(
            root=root,
            build=snapshot.build,
            shard=snapshot.shard,
            held=len(snapshot.records),
            configured=len(snapshot.records) + len(snapshot.elsewhere),
            grafana_url=snapshot.links.grafana_url,
            assets={name: f"{root}static/{name}?{asset.version}" for name, asset in self._assets.items()},
            **shown,
        )
        return text.encode(errors="replace")


def _asked(request: web.Request) -> tuple[str, str]:
    search, level = request.query.get("q", ""), request.query.get("level", "")
    return search[:LONGEST_SEARCH], level if level in set(Level) else ""


def _to(path: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def redirect(request: web.Request) -> web.StreamResponse:
        # Relative, so that a proxy's prefix stays. The name stays quoted, as it was sent.
        name = request.rel_url.raw_parts[-2] if "{name}" in path else ""
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": path.replace("{name}", name)})

    return redirect


def _assets() -> Iterator[tuple[str, _Asset]]:
    for file in (resources.files("rc_import_exporter.web") / "static").iterdir():
        kind = _TYPES.get(Path(file.name).suffix)
        if kind is not None:
            body = file.read_bytes()
            yield file.name, _Asset(body=body, type=kind, version=sha256(body).hexdigest()[:12])


def _runbook() -> Markup:
    return render_markdown((resources.files("rc_import_exporter.web") / "runbook.md").read_text(encoding="utf-8"))


def render_markdown(text: str) -> Markup:
    """Markdown as HTML. Headings get the anchors that code hosts give them; raw HTML is escaped."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - the parser escapes


def anchor(heading: str) -> str:
    """A heading's anchor: lower case, hyphens for spaces, only letters, digits, hyphens and underscores."""
    return "".join(each for each in heading.lower().replace(" ", "-") if each.isalnum() or each in "-_")
