"""The routes of the multi-target pattern: `/probe` has the metrics of one workspace, `/sd` lists all of them.

`/sd` has the format of Prometheus' `http_sd_configs`.
"""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from rc_import_exporter.core.snapshot import Record, Snapshot
from rc_import_exporter.metrics.catalogue import WORKSPACE
from rc_import_exporter.metrics.exposition import Exposition, Steps
from rc_import_exporter.web import answers
from rc_import_exporter.web.turns import Turns

TARGET: Final = "target"
META_URL: Final = "__meta_rocketchat_import_url"
_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class Targets:
    """The handlers. `snapshot` gives the current snapshot, `clock` Unix seconds."""

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
        self._turns = turns or Turns()

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [web.get("/probe", self.probe), web.get("/sd", self.discover)]

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
        pieces = await self._turns.page(answers.packed(_listed(self._snapshot(), address), encoding))
        return answers.json(pieces, encoding)


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
