"""Reloads the configuration while the exporter runs: checks it first, takes over all of it or nothing.

A signal, a request and a changed file all lead here. If the new configuration has a mistake, the last one stays in use.
If only files of `workspaces_files` have mistakes, the workspaces in them stay as they were, and the rest is taken over.
At the start these workspaces are left out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from rc_import_exporter import logs
from rc_import_exporter.config import files, inventory
from rc_import_exporter.config.files import Mark
from rc_import_exporter.config.settings import Settings, Workspace
from rc_import_exporter.errors import ConfigurationError, ExporterError
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.systemd import ServiceManager
from rc_import_exporter.turns import Turns

LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at the files. A change counts once two looks show the same: the file is complete."""
_REFUSED: Final = "configuration not reloaded, the last one stays in use"
_REFUSED_IN_PART: Final = "file with workspaces not taken over, its workspaces stay as they were"
_LEFT_OUT: Final = "file with workspaces left out, nothing in it is watched until it is correct"
_NEVER_SEEN: Final = (0, 0, 0)
"""Differs from the mark of each file, and from that of a missing one."""


class Reloader:
    """Reloads the configuration of a fleet.

    `settings` are those at the start. `load` gets those in use and reads the new ones. It raises `ConfigurationError`
    if it cannot. `manager` is told of each reload.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        load: Callable[[Settings], Awaitable[Settings]],
        manager: ServiceManager,
    ) -> None:
        self._at_start = settings.at_start
        self._settings = settings
        self._fleet = fleet
        self._load = load
        self._manager = manager
        self._lock = asyncio.Lock()
        self._mistakes: Sequence[str] = ()
        self._also: Sequence[str] = ()
        self._seen: Mapping[str, Mark | None] = {path: files.mark(path) for path in self._watched()}
        if settings.refused is not None:
            self._refused(settings.refused, self._seen, _LEFT_OUT)

    async def reload(self) -> Sequence[str]:
        """Reloads, and returns what else to know. Raises `ConfigurationError` if something stays as it was."""
        self._mistakes = ()
        return await self._reload()

    async def watch(self) -> NoReturn:
        """Reloads when a file changes, until it is cancelled. After a failure, it follows all files that are named."""
        before = self._seen
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            look = await Turns().others(self._look())
            if look == before and look != self._seen:
                with suppress(ConfigurationError):
                    await self._reload()
            before = look

    async def _reload(self) -> Sequence[str]:
        async with self._lock:
            with self._manager.reloading():
                return await self._take_over()

    async def _take_over(self) -> Sequence[str]:
        look = await Turns().others(self._look())
        try:
            settings = await self._load(self._settings)
            await self._fleet.reconfigure(settings)
        except ExporterError as error:
            raise self._refused(error, look) from None
        except Exception:  # noqa: BLE001 - a bug in a reload must not end the exporter or the next reload
            logs.logger().exception("a fault of the exporter itself: the configuration is not reloaded")
            raise self._refused(ConfigurationError(["a fault of the exporter itself, see its log"]), look) from None
        remarks = self._remarks(settings)
        await _log_reload(self._settings, settings, remarks)
        self._settings = settings
        if settings.refused is not None:
            raise self._refused(settings.refused, look)
        self._mistakes = ()
        self._follow((), look)
        return remarks

    def _refused(
        self, error: ExporterError, look: Mapping[str, Mark | None], in_part: str = _REFUSED_IN_PART
    ) -> ConfigurationError:
        """Notes the failure, and logs its mistakes unless they are the same as before."""
        refusal = error if isinstance(error, ConfigurationError) else ConfigurationError([str(error)])
        self._fleet.store.refuse_configuration()
        if refusal.mistakes != self._mistakes:
            told = in_part if refusal.in_part else _REFUSED
            for mistake in refusal.mistakes:
                logs.logger().error(told, detail=mistake)
        self._mistakes = refusal.mistakes
        self._follow(refusal.files, look)
        return refusal

    def _follow(self, also: Sequence[str], look: Mapping[str, Mark | None]) -> None:
        """Watches these files besides those of the configuration. `look` is how all of them were before the load."""
        self._also = also
        self._seen = {path: look.get(path, _NEVER_SEEN) for path in self._watched()}

    def _watched(self) -> Sequence[str]:
        file = () if self._settings.file is None else (self._settings.file,)
        return sorted({*file, *inventory.matching(self._settings.patterns), *self._also})

    def _look(self) -> Generator[None, None, Mapping[str, Mark | None]]:
        marks = {}
        for path in self._watched():
            marks[path] = files.mark(path)
            yield
        return marks

    def _remarks(self, settings: Settings) -> Sequence[str]:
        changed = [option for option, value in settings.at_start.items() if value != self._at_start[option]]
        return [*(f"{option}: restart the exporter to apply the new value" for option in changed), *settings.remarks]


async def _log_reload(before: Settings, after: Settings, remarks: Sequence[str]) -> None:
    old, new = before.workspaces, after.workspaces
    changed = await Turns().others(_changed(old, new))
    logs.logger().info(
        "configuration reloaded",
        workspaces=len(new),
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        changed=changed,
    )
    for remark in remarks:
        logs.logger().warning(remark)


def _changed(old: Mapping[str, Workspace], new: Mapping[str, Workspace]) -> Generator[None, None, int]:
    """How many workspaces have other settings than before."""
    changed = 0
    for name in new.keys() & old.keys():
        changed += new[name] != old[name]
        yield
    return changed
