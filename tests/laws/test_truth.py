"""Twenty small histories that the exporter once described wrongly, each with the truth.

Times are seconds since `START`. A server shows a list; `import.status` names the newest operation. Each poll takes no
time, so its times can be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from rc_import_exporter.core import alerts, progress
from rc_import_exporter.core.alerts import Alert
from rc_import_exporter.core.domain import (
    Answer,
    Api,
    Counts,
    Exchange,
    Expectation,
    Failure,
    InfoAnswer,
    Kind,
    ListAnswer,
    Operation,
    Outcome,
    Poll,
    Reason,
    Result,
    State,
    StatusAnswer,
    Step,
    Success,
    Target,
)
from rc_import_exporter.core.snapshot import Cause, Moment, Record, Track
from rc_import_exporter.core.store import fold
from rc_import_exporter.core.verdict import sentence
from tests.laws.claims import CUTS, SUCCESSES
from tests.laws.exporter_lives import word
from tests.laws.server_truth import START

NOTHING: Final = Record(target=Target(name="acme", url="https://acme"))
Shown = Sequence[Operation] | Reason
"""What a poll brings home: the list, or why every call failed."""


def doc(
    id: str,
    step: Step,
    *,
    ts: float,
    upd: float,
    valid: bool = True,
    importer: str = "csv",
    counts: tuple[int, int | None, int | None] | None = None,
    staged: Mapping[Kind, int] | None = None,
) -> Operation:
    """An operation as a current server shows it. `counts` are total, completed and error."""
    total, completed, failed = counts or (None, None, None)
    return Operation(
        id=id,
        importer=importer,
        step=step,
        valid=valid,
        created=START + ts,
        dated_as_text=True,
        updated=START + upd,
        counts=Counts(total=total, completed=completed, failed=failed, staged=staged or {}) if counts else None,
    )


def poll(at: float, shown: Shown, *, named: Operation | None = None, ahead: float = 0.0) -> Poll:
    """A poll. `named` is the operation of `import.status` if it is not the newest. `ahead` is the server's clock."""
    results: list[Result] = []
    if isinstance(shown, Reason):
        code = 400 if shown is Reason.SERVER else None
        for api in (Api.STATUS, Api.LIST):
            exchange = Exchange(api=api, code=code, seconds=0.1)
            results.append(Failure(exchange=exchange, reason=shown, detail="made up"))
    else:
        newest = named or max(shown, key=lambda each: each.created or 0, default=None)
        state = State.NONE if newest is None else word(newest)
        answers: dict[Api, Answer] = {
            Api.STATUS: StatusAnswer(state=state, operation=newest),
            Api.LIST: ListAnswer(operations=tuple(shown)),
            Api.INFO: InfoAnswer(version="8.6"),
        }
        for api, answer in answers.items():
            exchange = Exchange(api=api, code=200, seconds=0.1, skew=ahead)
            results.append(Success(exchange=exchange, answer=answer))
    exchanges = tuple(each.exchange for each in results)
    return Poll(started=START + at, ended=START + at, results=tuple(results), exchanges=exchanges)


def seen(polls: Mapping[float, Shown], record: Record = NOTHING) -> Record:
    """The record after these polls."""
    for at, shown in polls.items():
        record = fold(record, poll(at, shown))
    return record


def track(record: Record, id: str) -> Track:
    """What the record says about this operation."""
    return record.history.tracks[id]


def bounds(moment: Moment | None) -> tuple[float, float]:
    """The bounds in seconds."""
    assert moment is not None
    return moment.earliest - START, moment.latest - START


def raised(record: Record, at: float) -> set[Alert]:
    """The alerts at this time."""
    return {each.alert for each in alerts.raised(record, START + at)}


IMPORTING: Final = doc("A", Step.IMPORTING_USERS, ts=0, upd=13, counts=(1000, 50, 0))


def test_1_a_cut_stays_a_cut_whatever_its_counts() -> None:
    """Users of a file import count twice, so 1,000 of 1,000 may be half of them."""
    staged = {Kind.USERS: 600, Kind.MESSAGES: 400}

    def at(step: Step, upd: float, completed: int, *, valid: bool) -> list[Operation]:
        return [doc("A", step, ts=0, upd=upd, valid=valid, counts=(1000, completed, 0), staged=staged)]

    record = seen(
        {
            15: at(Step.IMPORTING_USERS, 14, 900, valid=True),
            30: at(Step.IMPORTING_USERS, 29, 1000, valid=False),
            45: at(Step.DONE, 31, 1050, valid=False),
        }
    )
    assert track(record, "A").outcome in CUTS
    assert sentence(track(record, "A")).startswith("cut off")
    assert Alert.CUT_OFF in raised(record, 45)


def test_2_what_the_next_operation_invalidated_when_it_was_done_ended_well() -> None:
    record = seen(
        {
            15: [doc("A", Step.IMPORTING_USERS, ts=0, upd=13, importer="slack", counts=(60, 50, 0))],
            30: [
                doc("N", Step.NEW, ts=25.001, upd=25.001, importer="slack"),
                doc("A", Step.DONE, ts=0, upd=25, valid=False, importer="slack", counts=(60, 50, 0)),
            ],
        }
    )
    assert track(record, "A").outcome is Outcome.SUCCEEDED
    earliest, latest = bounds(track(record, "A").end)
    assert 13 <= earliest <= 15
    assert 25 <= latest <= 25.1
    assert Alert.CUT_OFF not in raised(record, 30)


def test_3_a_slack_larger_than_the_import_makes_no_success() -> None:
    found = doc("A", Step.DONE, ts=0, upd=50, valid=False, counts=(343, None, None), staged={Kind.MESSAGES: 340})
    record = seen({100: [found]})
    assert track(record, "A").outcome is Outcome.UNCONFIRMED
    assert "cannot be told" in sentence(track(record, "A"))


def test_4_what_was_found_short_may_have_been_deselected() -> None:
    found = doc("A", Step.DONE, ts=0, upd=50, valid=False, counts=(9000, 180, 0))
    record = seen({100: [found]})
    assert track(record, "A").outcome is Outcome.UNCONFIRMED
    assert "180 of 9,000" in sentence(track(record, "A"))
    assert Alert.CUT_OFF not in raised(record, 100)


def test_5_a_wait_is_no_run() -> None:
    """It ran for the last three seconds of an hour and a half, and no poll saw its start."""
    record = seen(
        {
            10: [doc("A", Step.USER_SELECTION, ts=0, upd=9, counts=(100, None, None))],
            5412: [doc("A", Step.DONE, ts=0, upd=5410, counts=(100, 100, 0))],
        }
    )
    assert track(record, "A").run_started is None
    assert "ran 1 h" not in sentence(track(record, "A"))
    assert " after 1 h" not in sentence(track(record, "A"))


def test_6_a_run_whose_last_minute_was_seen_took_at_least_that() -> None:
    record = seen(
        {
            10760: [doc("A", Step.IMPORTING_MESSAGES, ts=0, upd=10758, counts=(9000, 8000, 0))],
            10775: [doc("A", Step.IMPORTING_MESSAGES, ts=0, upd=10774, counts=(9000, 8500, 0))],
            10790: [doc("A", Step.DONE, ts=0, upd=10780, counts=(9000, 9000, 0))],
        }
    )
    assert track(record, "A").run_started is None
    assert "ran at least 20 s" in sentence(track(record, "A"))


def test_7_the_time_in_which_the_server_was_down_is_no_running_time() -> None:
    running = [
        doc("A", Step.IMPORTING_MESSAGES, ts=0, upd=upd, counts=(9000, int(upd) * 10, 0)) for upd in range(15, 600, 25)
    ]
    polls: dict[float, Shown] = {0: [doc("A", Step.USER_SELECTION, ts=0, upd=0, counts=(9000, None, None))]}
    polls |= {
        float(15 * n): [max((r for r in running if (r.updated or 0) <= START + 15 * n), key=_updated)]
        for n in range(1, 41)
    }
    polls |= {float(at): Reason.CONNECTION for at in range(615, 11400, 60)}
    dead = replace(running[-1], valid=False, updated=START + 11400)
    record = seen({**polls, 11410: [dead], 11425: [dead], 11445: [dead]})
    earliest, latest = bounds(track(record, "A").end)
    assert 585 <= earliest <= 600
    assert latest <= 616
    assert "3 h" not in sentence(track(record, "A"))
    assert track(record, "A").cause is Cause.RESTARTED


def _updated(each: Operation) -> float:
    return each.updated or 0


def test_8_a_stamp_of_a_restart_is_no_end() -> None:
    """It failed at 31 s. The polls only show that it had failed before a restart."""
    failed = doc("A", Step.IMPORT_FAILED, ts=0, upd=4800, valid=False, counts=(1000, 60, 0))
    record = seen({15: [IMPORTING], 4810: [failed]})
    assert track(record, "A").outcome is Outcome.FAILED
    assert track(record, "A").finished is None
    assert bounds(track(record, "A").end)[1] <= 4800
    assert "ran 1 h" not in sentence(track(record, "A"))


def test_9_what_stays_frozen_died_with_its_server() -> None:
    """No poll sees a restart between two polls."""
    frozen = [replace(IMPORTING, valid=False, updated=START + 22)]
    record = seen({15: [IMPORTING], 30: frozen, 45: frozen, 60: frozen, 75: frozen})
    assert track(record, "A").cause is Cause.RESTARTED
    assert "cleared" not in sentence(track(record, "A"))


def test_10_one_error_of_the_database_is_no_restart() -> None:
    record = seen(
        {
            15: [IMPORTING],
            30: Reason.SERVER,
            45: [replace(IMPORTING, valid=False, updated=START + 43)],
            60: [doc("A", Step.DONE, ts=0, upd=46, valid=False, counts=(1000, 100, 0))],
        }
    )
    assert track(record, "A").cause is Cause.INVALIDATED
    assert "cleared it, or another server" in sentence(track(record, "A"))


def test_11_a_restart_spares_what_is_only_ready() -> None:
    record = seen(
        {
            15: [doc("A", Step.USER_SELECTION, ts=0, upd=10, counts=(100, None, None))],
            30: Reason.TIMEOUT,
            45: [
                doc("N", Step.NEW, ts=40, upd=40),
                doc("A", Step.USER_SELECTION, ts=0, upd=40, valid=False, counts=(100, None, None)),
            ],
        }
    )
    assert track(record, "A").outcome is Outcome.DISCARDED
    assert track(record, "A").cause is Cause.SUPERSEDED


def test_12_what_was_done_before_the_next_was_created_was_not_replaced_by_it() -> None:
    record = seen(
        {
            0: [doc("A", Step.IMPORTING_USERS, ts=-60, upd=-1, counts=(1000, 50, 0))],
            15: [
                doc("N", Step.NEW, ts=13, upd=13),
                doc("A", Step.DONE, ts=-60, upd=6, valid=False, counts=(1000, 100, 0)),
            ],
        }
    )
    assert track(record, "A").outcome in CUTS
    assert track(record, "A").cause not in (Cause.SUPERSEDED, Cause.RESTARTED)


def test_13_an_end_that_only_has_bounds_is_not_shown_as_a_time() -> None:
    """Nor does it make the next success overdue: it may have ended a minute ago."""
    expect = Expectation(success_every=6 * 3600)
    nightly = replace(NOTHING, target=replace(NOTHING.target, expect=expect))
    done = doc("A", Step.DONE, ts=-36_000, upd=-60, valid=False, importer="api", counts=(100, 100, 0))
    record = seen({0: [done]}, nightly)
    assert track(record, "A").outcome in SUCCESSES
    assert track(record, "A").finished is None
    assert bounds(track(record, "A").end) == (-36_000, -60)
    assert Alert.OVERDUE not in raised(record, 0)


def test_14_a_success_is_no_earlier_than_the_end_of_its_predecessor() -> None:
    record = seen(
        {
            9000: [
                doc("B", Step.DONE, ts=100, upd=8000, valid=False, importer="api", counts=(100, 100, 0)),
                doc("A", Step.PREPARING_USERS, ts=0, upd=100, valid=False, importer="api"),
            ]
        }
    )
    assert track(record, "A").outcome in CUTS
    assert track(record, "B").outcome in SUCCESSES
    assert Alert.CUT_OFF not in raised(record, 9000)


def test_15_what_runs_is_endangered_though_a_fast_clock_made_another_the_newest() -> None:
    record = seen(
        {
            15: [doc("A", Step.USER_SELECTION, ts=23, upd=24)],
            30: [
                doc("B", Step.IMPORTING_USERS, ts=20, upd=29, counts=(100, 50, 0)),
                doc("A", Step.USER_SELECTION, ts=23, upd=20, valid=False),
            ],
        }
    )
    assert record.restart_safe(START + 30) is False


def test_16_what_a_restored_database_does_not_hold_is_gone() -> None:
    old = doc("O", Step.DONE, ts=-9000, upd=-8000, counts=(100, 100, 0))
    record = seen({0: [old, IMPORTING], 15: [old, IMPORTING], 30: [old], 45: [old]})
    assert record.observation is not None
    assert record.observation.operation == old
    assert record.restart_safe(START + 45) is True


def test_17_another_importer_repairs_nothing() -> None:
    failed = doc("A", Step.IMPORT_FAILED, ts=-300, upd=-200, importer="slack", counts=(100, 50, 0))
    other = doc("B", Step.DONE, ts=-100, upd=-90, importer="pending-files")
    record = seen({0: [replace(failed, valid=False, updated=START - 100), other]})
    assert record.history.last_results["slack"].outcome is Outcome.FAILED
    assert record.history.last_results["pending-files"].outcome is Outcome.SUCCEEDED
    assert Alert.FAILED in raised(record, 0)


def test_18_waiting_counts_from_the_step() -> None:
    loading = doc("A", Step.PREPARING_MESSAGES, ts=0, upd=14_000, counts=(100, None, None))
    ready = doc("A", Step.USER_SELECTION, ts=0, upd=14_280, counts=(100, None, None))
    record = seen({14_265: [loading], 14_280: [ready], 14_460: [ready]})
    assert track(record, "A").step_started == START + 14_280
    assert Alert.WAITING_FOR_START not in raised(record, 14_460)


def test_19_a_server_whose_clock_is_behind_does_not_stall() -> None:
    record = NOTHING
    for at in range(0, 1200, 15):
        moving = doc("A", Step.IMPORTING_USERS, ts=-3700, upd=at - 3601, counts=(1000, at // 2, 0))
        record = fold(record, poll(at, [moving], ahead=-3600.0))
    assert record.server_time(START + 1200) == START - 2400
    assert Alert.STALLED not in raised(record, 1190)


def test_20_half_of_what_counts_twice_takes_as_long_again() -> None:
    """After a hundred seconds, a hundred users were counted once. Each counts twice."""
    record = NOTHING
    for at in range(5, 110, 5):
        done = doc("A", Step.IMPORTING_USERS, ts=0, upd=at, counts=(110, at, 0), staged={Kind.USERS: 110})
        record = fold(record, poll(at, [done]))
    left = progress.seconds_left(track(record, "A"), START + 105)
    assert left is not None
    assert 90 <= left <= 130
