"""The route `/-/reload`, as Prometheus has it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.web import answers

_REFUSED: Final = "not reloaded, the last configuration stays in use"
_REFUSED_IN_PART: Final = "reloaded in part: the workspaces of files with mistakes stay as they were"


class Lifecycle:
    """The handler of reloads by request.

    `reload` returns what else to know, and raises `ConfigurationError` if the last configuration, or a part of it,
    stays in use.
    """

    def __init__(self, reload: Callable[[], Awaitable[Sequence[str]]], *, enabled: bool) -> None:
        self._reload = reload
        self._enabled = enabled

    @property
    def routes(self) -> list[web.RouteDef]:
        """Its path. aiohttp refuses all other methods with 405."""
        return [web.post("/-/reload", self.reload), web.put("/-/reload", self.reload)]

    async def reload(self, request: web.Request) -> web.Response:
        """200 after a reload, 400 with the mistakes, 403 if requests may not reload."""
        if not self._enabled:
            return answers.plain("reload by request is off: see web.enable_lifecycle\n", HTTPStatus.FORBIDDEN)
        try:
            remarks = await self._reload()
        except ConfigurationError as error:
            what = _REFUSED_IN_PART if error.in_part else _REFUSED
            return answers.plain(_lines(what, error.mistakes), HTTPStatus.BAD_REQUEST)
        return answers.plain(_lines("reloaded", remarks))


def _lines(first: str, more: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in (first, *more))
