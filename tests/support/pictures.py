"""Snapshots for tests and the benchmark, made as the exporter makes them: by folding polls.

`python -m tests.support.pictures` writes the golden pages.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rc_import_exporter.core.domain import (
    Answer,
    Api,
    Budget,
    Counts,
    Exchange,
    Expectation,
    Failure,
    InfoAnswer,
    Kind,
    ListAnswer,
    Operation,
    Poll,
    Reason,
    Result,
    State,
    StatusAnswer,
    Step,
    Success,
    Target,
)
from rc_import_exporter.core.snapshot import Build, Plan, Record, Snapshot
from rc_import_exporter.core.store import Store, fold
from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.negotiation import Format

NOW: Final = 1_800_000_000.0
BUILD: Final = Build(version="0.1.0", revision="0123abc", python="3.11.7")
GOLDEN: Final[Mapping[Format, Path]] = {
    Format.TEXT: Path(__file__).parents[1] / "golden" / "four-workspaces.prom",
    Format.OPENMETRICS: Path(__file__).parents[1] / "golden" / "four-workspaces.openmetrics.prom",
}


def operation(
    name: str,
    step: Step,
    *,
    created: float,
    valid: bool = True,
    updated: float | None = None,
    counts: Counts | None = None,
) -> Operation:
    """An operation of a current server. `created` and `updated` are seconds before `NOW`."""
    return Operation(
        id=name,
        importer="slack",
        step=step,
        valid=valid,
        created=NOW - created,
        dated_as_text=True,
        updated=NOW - (created if updated is None else updated),
        counts=counts,
    )


def success(api: Api, answer: Answer, seconds: float = 0.02) -> Success:
    """A call that succeeded, with the headers of the rate limiter."""
    budget = None if api is Api.INFO else Budget(limit=10, remaining=7, reset=NOW + 42.0, wait=42.0)
    return Success(exchange=Exchange(api=api, code=200, seconds=seconds, size=900, budget=budget), answer=answer)


def failure(api: Api, reason: Reason, code: int | None = None) -> Failure:
    exchange = Exchange(api=api, code=code, seconds=10.0 if reason is Reason.TIMEOUT else 0.01)
    return Failure(exchange=exchange, reason=reason, detail="made for a test", by_rocketchat=code is not None)


def polled(record: Record, ended: float, *results: Result) -> Record:
    """The record after a poll with these results, with its next poll 15 s later."""
    poll = Poll(
        started=ended - 0.1,
        ended=ended,
        results=results,
        exchanges=tuple(result.exchange for result in results),
    )
    plan = Plan(next_poll=ended + 15.0, interval=15.0)
    return replace(fold(record, poll), plan=plan, credentials_loaded=NOW - 86_400.0)


def picture(records: Iterable[Record], *, exchanges: Iterable[Exchange] = ()) -> Snapshot:
    """A snapshot of these records."""
    store = Store(Snapshot(build=BUILD, records={}, configured_at=NOW - 86_400.0))
    for record in records:
        store.put(record)
    if exchanges:
        store.put(next(iter(store.snapshot.records.values())), exchanges)
    return store.snapshot


def running(name: str, *, polls: int = 2) -> Record:
    """A workspace in the middle of a large import. Both feeds answer, and the list shows two older imports."""
    record = Record(
        target=Target(
            name=name,
            url=f"https://{name}.example.org",
            labels={"team": "chat"},
            expect=Expectation(
                importer="slack", success_every=93_600.0, longest_run=7_200.0, failed_ratio=0.05, min_records=1
            ),
        )
    )
    older = [
        operation(
            "a" * 17, Step.DONE, created=90_000.0, updated=88_000.0, counts=Counts(total=120, completed=117, failed=3)
        ),
        operation("b" * 17, Step.IMPORT_FAILED, created=80_000.0, updated=79_500.0),
    ]
    for index in range(polls):
        ago = 15.0 * (polls - 1 - index)
        now = operation(
            "c" * 17,
            Step.IMPORTING_MESSAGES,
            created=2_520.25,
            updated=ago + 3.5,
            counts=Counts(
                total=5_020,
                completed=1_000 + 500 * index,
                failed=2,
                staged={Kind.USERS: 20, Kind.CHANNELS: 8, Kind.MESSAGES: 4_992, Kind.CONTACTS: 0},
            ),
        )
        record = polled(
            record,
            NOW - ago,
            success(Api.STATUS, StatusAnswer(state=State.IMPORTING, operation=now)),
            success(Api.LIST, ListAnswer(operations=(now, *older))),
            success(Api.INFO, InfoAnswer(version="8.6.1")),
        )
    return record


def finished(name: str) -> Record:
    """A workspace whose file import rejected users. Only the list answers."""
    record = Record(target=Target(name=name, url=f"https://{name}.example.org/chat"))
    counts = Counts(total=20, completed=40, failed=3, staged={Kind.USERS: 20})
    for step, at in ((Step.IMPORTING_USERS, 60.0), (Step.DONE, 0.0)):
        now = operation("d" * 17, step, created=300.0, updated=at + 1.0, counts=counts)
        record = polled(
            record,
            NOW - at,
            failure(Api.STATUS, Reason.FORBIDDEN, 403),
            success(Api.LIST, ListAnswer(operations=(now,))),
        )
    return record


def lost(name: str) -> Record:
    """A workspace that was importing when its server went away. Its data is stale."""
    record = running(name, polls=1)
    gone = [failure(api, Reason.CONNECTION) for api in (Api.STATUS, Api.LIST)]
    return replace(polled(record, NOW, *gone), last_success=NOW - 600.0)


def untouched(name: str) -> Record:
    """A workspace without any import."""
    return polled(
        Record(target=Target(name=name, url=f"http://{name}.example.org:3000")),
        NOW,
        success(Api.STATUS, StatusAnswer(state=State.NONE, operation=None)),
        success(Api.LIST, ListAnswer(operations=())),
    )


def four_workspaces() -> Snapshot:
    """One workspace of each kind above, and some requests."""
    exchanges = [
        Exchange(api=api, code=200, seconds=seconds) for api in Api for seconds in (0.004, 0.02, 0.02, 0.75, 60.0)
    ]
    return picture([running("acme"), finished("beta"), lost("gone"), untouched("new")], exchanges=exchanges)


def write_golden() -> None:
    """Write the golden pages as the exporter renders them now."""
    exposition = Exposition(process=False)
    for form, path in GOLDEN.items():
        path.write_bytes(exposition.page(four_workspaces(), NOW + 5.0, form))


if __name__ == "__main__":
    write_golden()
