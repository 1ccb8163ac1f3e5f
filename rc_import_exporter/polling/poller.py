"""Polls one workspace for as long as the exporter runs: asks, folds, plans, sleeps. `app` starts one for each.

It decides nothing: what is asked and when is `schedule`'s, what it means is `store`'s, what is worth a line is
`journal`'s. What dies of a fault of ours is logged, counted and started again, so that no workspace blinds another.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

from rc_import_exporter import logs
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.core import journal, schedule
from rc_import_exporter.core.domain import Api, Failure, Poll, Reason, Result
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import Store, fold, note_fault
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.rocketchat.client import Client


class Poller:
    """One workspace's poller; `now` gives Unix seconds."""

    def __init__(self, name: str, client: Client, keyring: Keyring, store: Store, now: Callable[[], float]) -> None:
        self._name = name
        self._client = client
        self._keyring = keyring
        self._store = store
        self._now = now
        self._log = logs.logger(workspace=name)

    async def run(self, delay: float) -> NoReturn:
        """Polls from `delay` seconds on until it is cancelled."""
        await asyncio.sleep(delay)
        while True:
            pause = await self.attempt()
            await asyncio.sleep(pause)

    async def attempt(self) -> float:
        """Polls once whatever goes wrong in it, and gives the seconds until the next time."""
        try:
            return await self.poll()
        except Exception:  # noqa: BLE001 - the supervisor: whatever it is, the other workspaces go on
            self._log.exception("a fault of the exporter itself: this poll is lost")
            self._store.put(note_fault(self._record, self._now()))
            return self._record.interval

    async def poll(self) -> float:
        """Polls once, and gives the seconds until the next time."""
        started = self._now()
        before = self._record
        poll = await self._ask(before, started)
        after = before if poll is None else fold(before, poll)
        plan = schedule.plan(after, started, self._now())
        after = replace(after, plan=plan, credentials_loaded=self._keyring.loaded_at)
        self._store.put(after, () if poll is None else poll.exchanges)
        for entry in journal.entries(before, after):
            self._log.log(_LOG_LEVELS[entry.level], entry.event, **entry.fields)
        return min(max(0.0, plan.next_poll - self._now()), plan.interval)

    @property
    def _record(self) -> Record:
        return self._store.snapshot.records[self._name]

    async def _ask(self, record: Record, started: float) -> Poll | None:
        """Asks what is due, and the fallback where that tells nothing; `None` where nothing is due."""
        apis = schedule.due(record, started)
        if not apis:
            return None
        self._keyring.refresh()
        poll = await self._ask_all(apis, started)
        if not poll.answered and Api.PROGRESS not in apis and schedule.fallback_due(fold(record, poll), started):
            further = await self._ask_all([Api.PROGRESS], started)
            poll = replace(
                further, results=poll.results + further.results, exchanges=poll.exchanges + further.exchanges
            )
        return poll

    async def _ask_all(self, apis: Iterable[Api], started: float) -> Poll:
        """Asks these endpoints side by side, and once more what was not let in, if the credentials have changed."""
        results = await self._ask_each(sorted(apis), self._keyring.current)
        exchanges = [result.exchange for result in results]
        refused = [result.exchange.api for result in results if _is_unauthorized(result)]
        if refused and self._keyring.reload():
            again = await self._ask_each(refused, self._keyring.current)
            exchanges += [result.exchange for result in again]
            results = [result for result in results if not _is_unauthorized(result)] + again
        return Poll(started=started, ended=self._now(), results=tuple(results), exchanges=tuple(exchanges))

    async def _ask_each(self, apis: Iterable[Api], credentials: Credentials) -> list[Result]:
        return list(await asyncio.gather(*(self._client.ask(api, credentials) for api in apis)))


def _is_unauthorized(result: Result) -> bool:
    return isinstance(result, Failure) and result.reason is Reason.UNAUTHORIZED


_LOG_LEVELS = {journal.Level.INFO: 20, journal.Level.WARNING: 30, journal.Level.ERROR: 40}
