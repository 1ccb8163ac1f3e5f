"""The stories: five for the demo, and more for tests, which use realistic durations."""

from collections.abc import Callable
from typing import Final

from rc_import_exporter.simulator.answers import Fault
from rc_import_exporter.simulator.scenario import Stage, Story

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86_400.0

Telling = Callable[[Stage], None]


def demo() -> dict[str, Story]:
    """The demo's workspaces by name. Each shows every phase within 55 s and starts again."""
    tellings: dict[str, Telling] = {
        "nightly-sync": nightly_sync(),
        "csv-migration": csv_migration(),
        "slack-migration": slack_migration(),
        "rolling-deploy": rolling_deploy(),
        "crash": crash(),
    }
    return {name: Story(telling, repeat=True) for name, telling in tellings.items()}


def nightly_sync(*, users: int = 420, existing: int = 0, waiting: float = 4, running: float = 20) -> Telling:
    """An API import that ends well. The server counts the `existing` ones among the `users` as errors."""

    def tell(stage: Stage) -> None:
        stage.wait(waiting)
        stage.create("api")
        stage.wait(waiting)
        stage.load(users=users, seconds=2 * waiting)
        stage.wait(waiting)
        stage.run(seconds=running, rejected=existing)
        stage.wait(3 * waiting)

    return tell


def csv_migration(
    *, users: int = 240, rejected: int = 36, messages: int = 6000, waiting: float = 4, running: float = 20
) -> Telling:
    """A file import that rejects some users and imports the messages."""

    def tell(stage: Stage) -> None:
        _upload(stage, users, messages, waiting)
        stage.run(seconds=running, rejected=rejected)
        stage.wait(3 * waiting)

    return tell


def slack_migration(
    *, users: int = 300, channels: int = 40, messages: int = 20_000, waiting: float = 4, running: float = 20
) -> Telling:
    """A Slack import that ends well. Its users count twice, so it processes more records than there are."""

    def tell(stage: Stage) -> None:
        _upload(stage, users, messages, waiting, importer="slack", channels=channels)
        stage.run(seconds=running)
        stage.wait(3 * waiting)

    return tell


def rolling_deploy(
    *, users: int = 20, messages: int = 5000, waiting: float = 4, running: float = 40, killed_after: float = 14
) -> Telling:
    """A file import that a second server of the cluster ends by starting: importing, error, done before its total."""

    def tell(stage: Stage) -> None:
        _upload(stage, users, messages, waiting)
        stage.begin_run(seconds=running)
        stage.wait(killed_after)
        stage.start_other_instance(aborts_after=1.5 * waiting)
        stage.wait(4 * waiting)

    return tell


def crash(*, waiting: float = 4, running: float = 40, killed_after: float = 14, away: float = 8) -> Telling:
    """A file import whose only server stops and comes back: refused connections, then error for ever."""

    def tell(stage: Stage) -> None:
        _upload(stage, 20, 5000, waiting)
        stage.begin_run(seconds=running)
        stage.wait(killed_after)
        stage.crash(away)
        stage.wait(3 * waiting)

    return tell


def phase_throws(*, waiting: float = 4, running: float = 40) -> Telling:
    """A file import that fails with an exception while it imports messages."""

    def tell(stage: Stage) -> None:
        _upload(stage, 30, 400, waiting)
        stage.begin_run(seconds=running)
        stage.wait(running * 0.4)
        stage.throw()
        stage.wait(3 * waiting)

    return tell


def cleared_by_admin(*, waiting: float = 4, running: float = 40) -> Telling:
    """A running import that an administrator clears, then another one that is cleared before it runs."""

    def tell(stage: Stage) -> None:
        _upload(stage, 20, 5000, waiting)
        stage.begin_run(seconds=running)
        stage.wait(running / 2)
        stage.clear(aborts_after=waiting)
        stage.wait(2 * waiting)
        _upload(stage, 20, 5000, waiting)
        stage.clear()
        stage.wait(2 * waiting)

    return tell


def superseded(*, waiting: float = 4, running: float = 40) -> Telling:
    """A running import that ends because someone creates the next one, which succeeds."""

    def tell(stage: Stage) -> None:
        _upload(stage, 20, 5000, waiting)
        stage.begin_run(seconds=running)
        stage.wait(running / 2)
        nightly_sync(waiting=waiting, running=running)(stage)

    return tell


def waits_for_start(*, hours: float = 8) -> Telling:
    """A file import that is ready and not started."""

    def tell(stage: Stage) -> None:
        _upload(stage, 20, 5000, 4)
        stage.wait(hours * HOUR)

    return tell


def stalls(*, running: float = HOUR, stuck_for: float = 2 * HOUR) -> Telling:
    """An import that makes no more progress after a third, while its server answers as usual."""

    def tell(stage: Stage) -> None:
        _upload(stage, 200, 50_000, 4)
        stage.begin_run(seconds=running)
        stage.wait(running / 3)
        stage.freeze()
        stage.wait(stuck_for)

    return tell


def idle(*, seconds: float = HOUR) -> Telling:
    """A workspace without any import."""

    def tell(stage: Stage) -> None:
        stage.wait(seconds)

    return tell


def read_only(telling: Telling) -> Telling:
    """Another story, seen with a token that has only the read-only permission."""

    def tell(stage: Stage) -> None:
        stage.read_only()
        telling(stage)

    return tell


def faulty(fault: Fault, *apis: str, waiting: float = MINUTE, broken_for: float = 5 * MINUTE) -> Telling:
    """A successful import during which these endpoints, or all, have a fault for some time."""

    def tell(stage: Stage) -> None:
        stage.create("api")
        stage.load(users=1000, seconds=waiting)
        stage.begin_run(seconds=2 * waiting + broken_for)
        stage.wait(waiting)
        stage.fault(fault, *apis)
        stage.wait(broken_for)
        stage.mend()
        stage.wait(3 * waiting)

    return tell


def odd_words(*, waiting: float = MINUTE) -> Telling:
    """An import in a step that no release knows, then canceled, a state that no current release writes."""

    def tell(stage: Stage) -> None:
        _upload(stage, 20, 500, waiting)
        for step in ("importing_polls", "import_cancelled"):
            stage.set_step(step)
            stage.wait(waiting)

    return tell


def deselected(*, waiting: float = 4, running: float = 20) -> Telling:
    """A file import with nearly everything deselected. It succeeds at 2 %."""

    def tell(stage: Stage) -> None:
        _upload(stage, 100, 10_000, waiting)
        stage.run(seconds=running, selected=0.02)
        stage.wait(3 * waiting)

    return tell


def old_failure_restamped(*, age: float = 21 * DAY, seconds: float = HOUR) -> Telling:
    """An import that failed long ago and stays valid until the server restarts and writes to it again."""

    def tell(stage: Stage) -> None:
        stage.remember("slack", age=age, step="import_failed", valid=True, total=500, users=500, completed=100, error=0)
        stage.wait(seconds / 2)
        stage.crash(seconds / 60)
        stage.wait(seconds / 2)

    return tell


def nights(
    number: int, *, users: int = 8000, new: int = 5, running: float = HOUR, unless: dict[int, Telling] | None = None
) -> Telling:
    """This many nights of a synchronisation. `unless` holds other stories for some nights, counted from 1.

    The story of a night should last less than a day: the next one begins a day after it began.
    """

    def tell(stage: Stage) -> None:
        healthy = nightly_sync(users=users, existing=users - new, waiting=MINUTE, running=running)
        for night in range(1, number + 1):
            began = stage.now
            (unless or {}).get(night, healthy)(stage)
            stage.wait(max(0.0, began + DAY - stage.now))

    return tell


def _upload(
    stage: Stage, users: int, messages: int, waiting: float, *, importer: str = "csv", channels: int = 0
) -> None:
    """A file import from its creation until it is ready, with some time in each state."""
    stage.wait(waiting)
    stage.create(importer)
    stage.wait(waiting)
    stage.load(users=users, channels=channels, messages=messages, seconds=2 * waiting)
    stage.wait(waiting)
