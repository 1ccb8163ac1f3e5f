"""Why the state of a workspace cannot be read, each reason once, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rc_import_exporter.core.advice import PERMISSIONS, REASONS, advice_on
from rc_import_exporter.core.domain import Api, Reason
from rc_import_exporter.core.snapshot import Feed, Record
from rc_import_exporter.rocketchat.client import CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A reason why endpoints fail, in words, and the steps to take.

    `apis` holds the endpoints, and is empty if all of them fail for this reason.
    """

    reason: Reason
    text: str
    steps: tuple[str, ...]
    apis: tuple[Api, ...] = ()

    def __str__(self) -> str:
        return f"{self.text} ({', '.join(self.apis)})" if self.apis else self.text


def faults(record: Record) -> Sequence[Fault]:
    """What fails now. Empty before the first poll."""
    failing = [feed for feed in record.feeds.values() if feed.reason is not None and feed.api is not Api.INFO]
    # An old server has no import.status. If it refuses something else, that is what to solve.
    failing = [feed for feed in failing if not _is_missing(feed)] or failing
    alike: dict[tuple[Reason, str, str], list[Feed]] = {}
    for feed in failing:
        if feed.reason is not None:
            alike.setdefault((feed.reason, feed.detail, feed.remedy), []).append(feed)
    if not alike and record.polls > 0:
        text = "an error in the exporter itself; --log.level=error shows it"
        return [Fault(reason=Reason.INTERNAL, text=text, steps=REASONS[Reason.INTERNAL].advice)]
    return [
        Fault(
            reason=reason,
            text=_text(reason, detail, feeds),
            steps=advice_on(reason, (), remedy or _guess(record, detail)),
            apis=() if len(alike) == 1 else tuple(feed.api for feed in feeds),
        )
        for (reason, detail, remedy), feeds in alike.items()
    ]


def trouble(record: Record) -> str:
    """What fails now, in one line."""
    return "; ".join(map(str, faults(record))) or "no answer yet"


def _is_missing(feed: Feed) -> bool:
    return feed.reason is Reason.NOT_FOUND and not feed.alone


def _text(reason: Reason, detail: str, feeds: Iterable[Feed]) -> str:
    if reason is not Reason.FORBIDDEN:
        return detail
    apis = {feed.api for feed in feeds}
    # One permission is enough, and the one for the list is read-only.
    needed = PERMISSIONS[Api.LIST if Api.LIST in apis else min(apis)]
    return f"{detail.partition(':')[0]}: the permission {needed} is missing"


def _guess(record: Record, detail: str) -> str:
    """A remedy that only fits a server which never answered."""
    if record.last_success is None and detail == CLOSED and record.target.url.startswith("http:"):
        return "If the port uses TLS, try `https://` in `url`. Otherwise Rocket.Chat may be starting: wait a minute."
    return ""
