"""Reloads the configuration while the exporter runs: checks it first, takes over all of it or nothing.

A signal, a request and a changed file all lead here. If the new configuration has a mistake, the last one stays in use.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from rc_import_exporter import logs
from rc_import_exporter.config import files
from rc_import_exporter.config.files import Mark
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.errors import ConfigurationError, ExporterError
from rc_import_exporter.polling.fleet import Fleet
from rc_import_exporter.systemd import ServiceManager

LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at the files. A change counts once two looks show the same: the file is complete."""
_NEVER_SEEN: Final = (0, 0, 0)
"""Differs from the mark of each file, and from that of a missing one."""


class Reloader:
    """Reloads the configuration of a fleet.

    `settings` are those at the start. `load` reads the new ones, and raises `ConfigurationError` if it cannot.
    `manager` is told of each reload.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        load: Callable[[], Awaitable[Settings]],
        manager: ServiceManager,
    ) -> None:
        self._at_start = settings.at_start
        self._settings = settings
        self._fleet = fleet
        self._load = load
        self._manager = manager
        self._lock = asyncio.Lock()
        self._mistakes: Sequence[str] = ()
        self._seen = _look(_watched(settings))

    async def reload(self) -> Sequence[str]:
        """Reloads, and returns what else to know. Raises `ConfigurationError`; nothing has changed then."""
        self._mistakes = ()
        return await self._reload()

    async def watch(self) -> NoReturn:
        """Reloads when a file changes, until it is cancelled. After a failure, it follows all files that are named."""
        before = self._seen
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            look = _look(self._seen)
            if look == before and look != self._seen:
                with suppress(ConfigurationError):
                    await self._reload()
            before = look

    async def _reload(self) -> Sequence[str]:
        async with self._lock:
            with self._manager.reloading():
                return await self._take_over()

    async def _take_over(self) -> Sequence[str]:
        look = _look(self._seen)
        try:
            settings = await self._load()
            await self._fleet.reconfigure(settings)
        except ExporterError as error:
            raise self._refused(error, look) from None
        except Exception:  # noqa: BLE001 - a bug in a reload must not end the exporter or the next reload
            logs.logger().exception("a fault of the exporter itself: the configuration is not reloaded")
            raise self._refused(ConfigurationError(["a fault of the exporter itself, see its log"]), look) from None
        remarks = self._remarks(settings)
        _log_reload(self._settings, settings, remarks)
        self._settings, self._mistakes = settings, ()
        self._seen = {path: look.get(path, _NEVER_SEEN) for path in _watched(settings)}
        return remarks

    def _refused(self, error: ExporterError, look: Mapping[str, Mark | None]) -> ConfigurationError:
        """Notes the failure, and logs its mistakes unless they are the same as before."""
        refusal = error if isinstance(error, ConfigurationError) else ConfigurationError([str(error)])
        self._fleet.store.refuse_configuration()
        if refusal.mistakes != self._mistakes:
            for mistake in refusal.mistakes:
                logs.logger().error("configuration not reloaded, the last one stays in use", detail=mistake)
        self._mistakes = refusal.mistakes
        watched = {*_watched(self._settings), *refusal.files}
        self._seen = {path: look.get(path, _NEVER_SEEN) for path in sorted(watched)}
        return refusal

    def _remarks(self, settings: Settings) -> Sequence[str]:
        changed = [option for option, value in settings.at_start.items() if value != self._at_start[option]]
        return [f"{option}: restart the exporter to apply the new value" for option in changed]


def _watched(settings: Settings) -> Sequence[str]:
    return [] if settings.file is None else [settings.file]


def _look(paths: Iterable[str]) -> Mapping[str, Mark | None]:
    return {path: files.mark(path) for path in paths}


def _log_reload(before: Settings, after: Settings, remarks: Sequence[str]) -> None:
    old, new = before.workspaces, after.workspaces
    logs.logger().info(
        "configuration reloaded",
        workspaces=len(new),
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        changed=sum(new[name] != old[name] for name in new.keys() & old.keys()),
    )
    for remark in remarks:
        logs.logger().warning(remark)
