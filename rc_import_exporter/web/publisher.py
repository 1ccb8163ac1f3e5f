"""The routes for Prometheus and probes: all metrics, those of one workspace, the list of workspaces, and health.

`/probe` and `/sd` are the multi-target pattern: `/sd` has the format of Prometheus' `http_sd_configs`.
"""

import asyncio
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from math import inf
from typing import Final

from aiohttp import web

from rc_import_exporter import logs
from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.cells import Pieces, Steps
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import WORKSPACE
from rc_import_exporter.metrics.negotiation import Encoding, Format
from rc_import_exporter.turns import Turns
from rc_import_exporter.web import answers

TARGET: Final = "target"
META_URL: Final = "__meta_rocketchat_import_url"
NAMED_AT_MOST: Final = 10
"""Workspaces that the readiness answer names. Kubernetes shows the answer in an event."""
LONGEST_PAUSE: Final = 5.0
"""The most seconds from the end of one preparation of the next page to the next one."""
WORKSPACE_SECONDS_IN_PAUSE: Final = 500.0
"""A pause is shorter if the workspaces are more: at an interval of 15 s, about 30 are polled in it."""
SCRAPED_LATELY: Final = 150.0
"""Seconds since the last page for which the next one is prepared. Prometheus needs a scrape in two minutes or less."""
_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class Publisher:
    """The handlers for scrapers and probes, and of the multi-target pattern.

    `snapshot` gives the current snapshot, `clock` Unix seconds. `turns` is shared with `Pages`. Readiness waits for the
    workspaces of the first snapshot.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        exposition: Exposition,
        turns: Turns | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._exposition = exposition
        self._turns = Turns() if turns is None else turns
        self._page_turn = asyncio.Lock()
        self._next_pages: dict[tuple[Format, Encoding], asyncio.Task[Pieces]] = {}
        self._awaited = list(snapshot().records)
        self._scraped = -inf

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [
            web.get("/metrics", self.metrics),
            web.get("/probe", self.probe),
            web.get("/sd", self.discover),
            web.get("/-/healthy", self.healthy),
            web.get("/-/ready", self.ready),
        ]

    async def prepare(self) -> None:
        """Renders the lines of each workspace a little after its poll while somebody scrapes all. Never ends.

        A scrape then only puts the lines together. If polls are more frequent than scrapes, some lines are rendered and
        never read: short scrapes are worth that.
        """
        well = True
        while True:
            await asyncio.sleep(min(LONGEST_PAUSE, WORKSPACE_SECONDS_IN_PAUSE / max(1, len(self._snapshot().records))))
            if not self._scraped <= self._clock() < self._scraped + SCRAPED_LATELY:
                continue
            try:
                await self._turns.others(self._exposition.prepare(self._snapshot(), self._clock()))
            except Exception:  # noqa: BLE001 - a bug in one record must not make all later scrapes slow
                if well:
                    logs.logger().exception("a fault of the exporter itself: the next page is not prepared")
                well = False

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """All metrics, or those of the workspaces in the query; 404 for an unknown name."""
        form, encoding = answers.negotiated(request)
        names = request.query.getall("workspace", []) if request.query_string else []
        if not names:
            return answers.metrics(await self._page(form, encoding), form, encoding)
        snapshot = self._snapshot()
        if unknown := [name for name in names if name not in snapshot.records]:
            return answers.plain(f"{answers.no_workspace(unknown[0], snapshot)}\n", HTTPStatus.NOT_FOUND)
        steps = self._exposition.selection_steps(snapshot, self._clock(), names, form, encoding)
        return answers.metrics(await self._turns.scrape(steps), form, encoding)

    async def _page(self, form: Format, encoding: Encoding) -> Pieces:
        """The whole page. Requests that come while another page is being made share the next one."""
        self._scraped = self._clock()
        if not self._page_turn.locked():
            return await self._make_page(form, encoding)
        asked = form, encoding
        if asked not in self._next_pages:
            self._next_pages[asked] = asyncio.create_task(self._make_page(form, encoding))
        # A client that leaves must not take the page from the others.
        return await asyncio.shield(self._next_pages[asked])

    async def _make_page(self, form: Format, encoding: Encoding) -> Pieces:
        async with self._page_turn:
            self._next_pages.pop((form, encoding), None)
            steps = self._exposition.page_steps(self._snapshot(), self._clock(), form, encoding)
            return await self._turns.scrape(steps)

    async def probe(self, request: web.Request) -> web.StreamResponse:
        """The metrics of one workspace, without those of the exporter itself; 404 for an unknown name."""
        snapshot, names = self._snapshot(), request.query.getall(TARGET, [])
        if len(names) != 1 or not names[0]:
            return answers.plain(
                "name one workspace, as in /probe?target=NAME; /sd lists all\n", HTTPStatus.BAD_REQUEST
            )
        if names[0] not in snapshot.records:
            wrong = answers.no_workspace(names[0], snapshot)
            return answers.plain(f"{wrong}; /sd lists the workspaces of this exporter\n", HTTPStatus.NOT_FOUND)
        form, encoding = answers.negotiated(request)
        steps = self._exposition.selection_steps(snapshot, self._clock(), names, form, encoding, whole=False)
        return answers.metrics(await self._turns.scrape(steps), form, encoding)

    async def discover(self, request: web.Request) -> web.StreamResponse:
        """One target for each workspace.

        All have the address that the client has used itself: it can reach that one, and the rules for alerts need the
        same instance as the metrics of the exporter itself have.
        """
        address = request.headers.get("Host", "")
        if not _ADDRESS.fullmatch(address):
            return answers.plain("the header Host must be a host, perhaps with a port\n", HTTPStatus.BAD_REQUEST)
        encoding = answers.negotiated(request)[1]
        pieces = await self._turns.others(answers.packed(_listed(self._snapshot(), address), encoding))
        return answers.json(pieces, encoding)

    async def healthy(self, request: web.Request) -> web.Response:
        """200 whenever the event loop runs."""
        return answers.plain("healthy\n")

    async def ready(self, request: web.Request) -> web.Response:
        """503 until each workspace configured at the start was polled once, whatever the result; then always 200."""
        records = self._snapshot().records
        self._awaited = [name for name in self._awaited if name in records and records[name].polls == 0]
        if not self._awaited:
            return answers.plain("ready\n")
        shown = ", ".join(self._awaited[:NAMED_AT_MOST]) + (", …" if len(self._awaited) > NAMED_AT_MOST else "")
        return answers.plain(
            f"not ready: {len(self._awaited)} not polled yet: {shown}\n", HTTPStatus.SERVICE_UNAVAILABLE
        )


def _listed(snapshot: Snapshot, address: str) -> Steps:
    """The list as JSON, one workspace in each step."""
    groups = []
    for record in snapshot.records.values():
        group = {"targets": [address], "labels": _labels(record)}
        groups.append(json.dumps(group, ensure_ascii=False).encode(errors="replace"))
        yield
    return (b"[%b]\n" % b", ".join(groups),)


def _labels(record: Record) -> dict[str, str]:
    """The labels of `workspace_info`. The URL is only for relabelling, because it would be in each series."""
    target = record.target
    return {f"__param_{TARGET}": target.name, WORKSPACE: target.name, META_URL: target.url, **target.labels}
