"""The routes of the live page, the runbook and the JSON API.

Nothing is loaded from another server. All links but those to Grafana are relative, so that they work behind a proxy
with any path prefix. jinja2 escapes every text.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
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
from rc_import_exporter.metrics.cells import Pieces, Steps
from rc_import_exporter.metrics.negotiation import Encoding
from rc_import_exporter.turns import Turns
from rc_import_exporter.web import answers, api, view, writing
from rc_import_exporter.web.fields import Level, Overview, WorkspaceView

REFRESH: Final = 5
"""Seconds between two updates by the page's script. Polls are seldom more frequent."""
REFRESH_HIDDEN: Final = 30
"""The same while the page is in a background tab: its title, its icon and its notifications stay up to date."""
RELOAD: Final = 15
"""Seconds between two reloads of the page in a browser without scripts."""
LONGEST_SEARCH: Final = 200
MOST_CACHED: Final = 8 * 1024 * 1024
"""Bytes of answers that are cached for a second. A reader who varies the search cannot fill the memory."""
MOST_EARLIER: Final = 20
"""Earlier operations on a page. Rocket.Chat's own list has as many."""
TEXTS_IN_PIECE: Final = 1000
"""Texts of a template that are joined in one step. A workspace on the index has about 50."""
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

    An answer is made in short turns, and one at a time, so that readers do not delay scrapes and polls. `turns` is
    shared with `Publisher`. With `demo` the pages say that the servers are simulated.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        turns: Turns | None = None,
        *,
        demo: bool = False,
    ) -> None:
        self._turns = Turns() if turns is None else turns
        self._one_at_a_time = asyncio.Lock()
        self._is_loaded = False
        self._snapshot = snapshot
        self._clock = clock
        self._assets = dict(_assets())
        self._runbook = Markup()
        self._second = 0
        self._cached: dict[tuple[str, ...], Pieces] = {}
        self._seen: tuple[Snapshot, Overview] | None = None
        self._templates = Environment(
            loader=PackageLoader("rc_import_exporter.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        written = (writing.clock, writing.code, writing.date, writing.icon, writing.number, writing.soon)
        filters = (*written, writing.staged, writing.when, spell, anchor)
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

    async def index(self, request: web.Request) -> web.StreamResponse:
        """All workspaces, the most urgent first. If only one is configured, its own page."""
        asked = _asked(request)
        return await self._html(request, ("index", *asked), partial(self._index, *asked))

    async def workspace(self, request: web.Request) -> web.StreamResponse:
        """One workspace; 404 for an unknown name."""
        name, snapshot = request.match_info["name"], self._snapshot()
        record = snapshot.records.get(name)
        if record is None:
            holder = snapshot.shard.holder(name) if snapshot.shard is not None and name in snapshot.elsewhere else None
            missing = partial(self._page, "missing.html", "../", snapshot, name=name[:64], holder=holder)
            return await self._html(request, ("missing", name[:64]), missing, HTTPStatus.NOT_FOUND)
        return await self._html(request, ("workspace", name), partial(self._details, record, "../", snapshot))

    async def runbook(self, request: web.Request) -> web.StreamResponse:
        """The runbook. Alerts link to its headings."""
        return await self._html(
            request, ("runbook",), lambda: self._page("runbook.html", "", self._snapshot(), text=self._runbook)
        )

    async def asset(self, request: web.Request) -> web.Response:
        """A style sheet or a script."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            return answers.refusal(HTTPStatus.NOT_FOUND)
        cached = FOREVER if request.query_string == asset.version else "no-cache"
        headers = {"Cache-Control": cached, "ETag": f'"{asset.version}"'}
        return web.Response(body=asset.body, content_type=asset.type, charset="utf-8", headers=headers)

    async def workspaces_json(self, request: web.Request) -> web.StreamResponse:
        """The index as JSON. The query searches as it does on the index."""
        asked = _asked(request)
        encoding = answers.negotiated(request)[1]
        return answers.json(
            await self._made(request, ("json", *asked), partial(self._overview, *asked), encoding), encoding
        )

    async def workspace_json(self, request: web.Request) -> web.StreamResponse:
        """One workspace as JSON; 404 for an unknown name."""
        name, snapshot = request.match_info["name"], self._snapshot()
        record = snapshot.records.get(name)
        if record is None:
            return answers.json(
                [api.error_json(answers.no_workspace(name, snapshot))], Encoding.IDENTITY, HTTPStatus.NOT_FOUND
            )
        encoding = answers.negotiated(request)[1]

        def steps() -> Steps:
            yield
            return (api.workspace_json(self._details_seen(record, snapshot)),)

        return answers.json(await self._made(request, ("one json", name), steps, encoding), encoding)

    async def schema(self, request: web.Request) -> web.Response:
        """The JSON Schema of both answers."""
        return web.Response(text=api.schema(), content_type="application/schema+json")

    async def _html(
        self, request: web.Request, key: tuple[str, ...], steps: Callable[[], Steps], status: int = HTTPStatus.OK
    ) -> web.StreamResponse:
        encoding = answers.negotiated(request)[1]
        return answers.html(await self._made(request, key, steps, encoding), encoding, status)

    async def _made(
        self, request: web.Request, key: tuple[str, ...], steps: Callable[[], Steps], encoding: Encoding
    ) -> Pieces:
        """An answer made within this second, or a new one: many readers cost as much as one."""
        key = (*key, encoding)
        async with self._one_at_a_time:
            if request.transport is None:
                raise ConnectionResetError("the client left")
            if not self._is_loaded:
                await asyncio.to_thread(self._load)
                self._is_loaded = True
            self._forget_old()
            if key not in self._cached:
                pieces = await self._turns.others(answers.packed(steps(), encoding))
                self._forget_old()
                self._cached[key] = pieces
            return self._cached[key]

    def _forget_old(self) -> None:
        second, size = int(self._clock()), sum(len(piece) for pieces in self._cached.values() for piece in pieces)
        if second != self._second or size > MOST_CACHED:
            self._second, self._cached, self._seen = second, {}, None

    def _load(self) -> None:
        """Compiles what would hold the event loop for long at the first answer."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)
        self._runbook = _runbook()

    def _all_seen(self) -> Generator[None, None, tuple[Snapshot, Overview]]:
        """The views of all workspaces, made at most once a second. All searches filter the same ones."""
        if self._seen is None:
            snapshot = self._snapshot()
            self._seen = snapshot, (yield from view.overview_steps(snapshot, self._clock()))
        return self._seen

    def _index(self, search: str, level: str) -> Steps:
        snapshot, every = yield from self._all_seen()
        seen = yield from view.matching(every, search, level)
        if seen.total == 1 and seen.workspaces:
            return (yield from self._details(snapshot.records[seen.workspaces[0].name], "", snapshot))
        return (yield from self._page("index.html", "", snapshot, seen=seen, search=search, level=level))

    def _overview(self, search: str, level: str) -> Steps:
        _, every = yield from self._all_seen()
        return (yield from api.overview_steps((yield from view.matching(every, search, level))))

    def _details(self, record: Record, root: str, snapshot: Snapshot) -> Steps:
        seen = self._details_seen(record, snapshot)
        earlier = seen.earlier_operations[:MOST_EARLIER]
        return (yield from self._page("workspace.html", root, snapshot, workspace=seen, earlier=earlier))

    def _details_seen(self, record: Record, snapshot: Snapshot) -> WorkspaceView:
        return view.details(record, self._clock(), snapshot.links.grafana_url)

    def _page(self, template: str, root: str, snapshot: Snapshot, **shown: object) -> Steps:
        """A page, a few words in each step. Its links begin with `root`, the relative path to the index."""
        texts = self._templates.get_template(template).generate(
            root=root,
            build=snapshot.build,
            shard=snapshot.shard,
            held=len(snapshot.records),
            configured=len(snapshot.records) + len(snapshot.elsewhere),
            grafana_url=snapshot.links.grafana_url,
            assets={name: f"{root}static/{name}?{asset.version}" for name, asset in self._assets.items()},
            **shown,
        )
        pieces, some = [], []
        for text in texts:
            some.append(text)
            if len(some) >= TEXTS_IN_PIECE:
                pieces.append("".join(some).encode(errors="replace"))
                some = []
            yield
        return (*pieces, "".join(some).encode(errors="replace"))


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
