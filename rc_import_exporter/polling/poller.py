"""Polls one workspace again and again: calls its endpoints, folds the results into the record, logs changes, sleeps.

`schedule` decides what to call and when, `store` what the answers mean, and `journal` what to log. If a poll fails by a
bug, that is logged and counted, and the next poll runs, so that a bug in one workspace's poll does not stop the others.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf
from typing import Final, NoReturn

from rc_import_exporter import garbage, logs
from rc_import_exporter.config.credentials import Credentials
from rc_import_exporter.config.tls import Trust
from rc_import_exporter.core import journal, schedule
from rc_import_exporter.core.domain import Api, Failure, Poll, Reason, Result
from rc_import_exporter.core.snapshot import Record
from rc_import_exporter.core.store import Store, fold, note_fault
from rc_import_exporter.polling.keyring import Keyring
from rc_import_exporter.rocketchat.client import Client

ROTATED: Final = frozenset({Reason.UNAUTHORIZED, Reason.TLS, Reason.PROXY, Reason.REDIRECTED})
"""Failures that a new token, a new certificate or a new header for a gateway may end."""


class Poller:
    """The poller of one workspace. `now` gives Unix seconds. `trust` holds the certificates that `client` uses."""

    def __init__(
        self,
        name: str,
        client: Client,
        keyring: Keyring[Credentials],
        store: Store,
        now: Callable[[], float],
        trust: Keyring[Trust] | None = None,
    ) -> None:
        self._name = name
        self._client = client
        self._keyring = keyring
        self._trust = trust
        self._store = store
        self._now = now
        self._log = logs.logger(workspace=name)
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._planned = inf
        """When the poll should start, by the clock of the event loop. A poll that nobody planned is not late."""

    async def run(self, delay: float) -> NoReturn:
        """Polls until it is cancelled, for the first time after `delay` seconds."""
        while True:
            self._due.clear()
            self._set_timer(delay)
            await self._due.wait()
            delay = await self.attempt()

    def wake(self, delay: float) -> None:
        """Polls in `delay` seconds instead of at the planned time. Does nothing while a poll runs."""
        if self._timer is not None and not self._due.is_set():
            self._timer.cancel()
            self._set_timer(delay)

    def _set_timer(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self._planned = loop.time() + delay
        self._timer = loop.call_at(schedule.wake(self._planned, len(self._store)), self._due.set)

    async def attempt(self) -> float:
        """Polls once and survives any bug. Returns the seconds until the next poll."""
        try:
            return await self.poll()
        except Exception:  # noqa: BLE001 - any bug at all must not stop this poller or the others
            self._log.exception("a fault of the exporter itself: this poll is lost")
            self._store.put(note_fault(self._record, self._now()))
            return self._record.interval

    async def poll(self) -> float:
        """Polls once. Returns the seconds until the next poll."""
        started = self._now()
        late = max(0.0, asyncio.get_running_loop().time() - self._planned)
        poll = await self._ask(self._record, started)
        exchanges = () if poll is None else poll.exchanges
        # Read only now, because a reload may have changed it during the calls.
        before = self._record
        after = before if poll is None else fold(before, poll)
        plan = schedule.plan(after, started, self._now(), late)
        after = replace(after, plan=plan, credentials_loaded=self._keyring.loaded_at)
        self._store.put(after, exchanges)
        for entry in journal.entries(before, after):
            self._log.log(entry.level, entry.event, **entry.fields)
        garbage.search(sum(exchange.size for exchange in exchanges))
        # Never longer than from the start: if the machine's clock is set back, the planned time can be hours away.
        return min(max(0.0, plan.next_poll - self._now()), plan.next_poll - started)

    @property
    def _keyrings(self) -> Sequence[Keyring[Credentials] | Keyring[Trust]]:
        return [self._keyring] if self._trust is None else [self._keyring, self._trust]

    @property
    def _record(self) -> Record:
        return self._store.record(self._name)

    async def _ask(self, record: Record, started: float) -> Poll | None:
        """Calls the endpoints that are due, and `getImportProgress` if they fail. `None` if no endpoint is due."""
        apis = schedule.due(record, started)
        if not apis:
            return None
        for keyring in self._keyrings:
            keyring.refresh()
        poll = await self._ask_all(apis, started)
        # Folded only to ask `schedule` what is left after these results. `poll` folds all of them once more, together.
        if not poll.answered and Api.PROGRESS not in apis and schedule.fallback_due(fold(record, poll), started):
            further = await self._ask_all([Api.PROGRESS], started)
            poll = replace(
                further, results=poll.results + further.results, exchanges=poll.exchanges + further.exchanges
            )
        return poll

    async def _ask_all(self, apis: Iterable[Api], started: float) -> Poll:
        """Calls these endpoints at the same time.

        Repeats those that refuse the credentials or the certificates, if these are new by now.
        """
        presented = [keyring.current for keyring in self._keyrings]
        results = await self._ask_each(sorted(apis), self._keyring.current)
        exchanges = [result.exchange for result in results]
        refused = [result for result in results if isinstance(result, Failure) and result.reason in ROTATED]
        # A 401 can mean that the token was rotated between the last look at its file and this call.
        for keyring in self._keyrings if refused else ():
            keyring.reload()
        if refused and [keyring.current for keyring in self._keyrings] != presented:
            again = await self._ask_each([each.exchange.api for each in refused], self._keyring.current)
            exchanges += [result.exchange for result in again]
            results = [result for result in results if result not in refused] + again
        return Poll(started=started, ended=self._now(), results=tuple(results), exchanges=tuple(exchanges))

    async def _ask_each(self, apis: Sequence[Api], credentials: Credentials) -> list[Result]:
        # The first call needs no task of its own, which would cost as much as a part of the call.
        others = asyncio.gather(*(self._client.ask(api, credentials) for api in apis[1:]))
        try:
            first = await self._client.ask(apis[0], credentials)
        except asyncio.CancelledError:
            others.cancel()
            raise
        finally:
            # Also after a cancellation: no call may outlive the poll.
            results = await others
        return [first, *results]
