"""When a workspace is polled next, and which of its endpoints are asked then: the pure answer for `poller`.

An endpoint that failed or that has used up its budget rests; the others go on at the workspace's interval. Polls keep
to the ticks of that interval, and only when every feed rests does the next one wait for the first to come back.
"""

from collections.abc import Iterable
from typing import Final, assert_never
from zlib import crc32

from rc_import_exporter.core.domain import FEEDS, Api, Reason
from rc_import_exporter.core.snapshot import LARGE_LIST, LARGE_LIST_INTERVAL, Feed, Plan, Record

REFUSED_REST: Final = 300.0
"""Seconds between tries of an endpoint that is forbidden or missing."""
SOON: Final = 60.0
"""The longest wait after a failure that a restart of the server brings with it."""
LATER: Final = 300.0
"""The longest wait after a failure that someone has to mend."""
INFO_INTERVAL: Final = 3600.0
SPREAD: Final = 0.1
"""The share by which a wait is shortened, by the workspace's name, so that a thousand do not come back at once."""
FIRST_POLL_SPACING: Final = 0.015
"""Seconds from one workspace's first poll to the next one's."""
EARLY: Final = 0.01
"""Seconds by which a timer may fire before the wall clock reaches its instant."""


def first_poll(name: str, workspaces: int, interval: float) -> float:
    """Seconds after the start of the exporter at which this workspace is first polled."""
    return _share(name) * min(interval, FIRST_POLL_SPACING * workspaces)


def due(record: Record, now: float) -> frozenset[Api]:
    """The endpoints to ask now; empty where every way of reading the state rests."""
    ways = frozenset(api for api in _ways(record) if _is_due(record, api, now))
    if ways and Api.INFO in record.target.apis and _is_due(record, Api.INFO, now):
        return ways | {Api.INFO}
    return ways


def fallback_due(record: Record, now: float) -> bool:
    """Whether `getImportProgress` is to be asked after this poll of the feeds, which could not tell the state."""
    return not record.told and Api.PROGRESS in _ways(record) and _is_due(record, Api.PROGRESS, now)


def plan(record: Record, started: float, now: float) -> Plan:
    """The next poll after one that started at `started` and has been folded into the record."""
    tick = max(now, started + record.interval)
    wakes = [_wakes(record, api) for api in _ways(record)]
    next_poll = max(tick, min(wakes, default=tick))
    return Plan(next_poll=next_poll, interval=next_poll - started)


def _ways(record: Record) -> Iterable[Api]:
    """The endpoints that can tell the state: the feeds, and the fallback where neither of them is open."""
    ways = (*FEEDS, Api.PROGRESS) if record.refused_everywhere else FEEDS
    return [api for api in ways if api in record.target.apis]


def _is_due(record: Record, api: Api, now: float) -> bool:
    feed = record.feeds.get(api)
    return feed is None or now >= _wakes(record, api) - EARLY or now < feed.at


def _wakes(record: Record, api: Api) -> float:
    """The instant from which on this endpoint may be asked; a clock that was set back voids it, see `_is_due`."""
    feed = record.feeds.get(api)
    if feed is None:
        return float("-inf")
    rest = _rest_after_success(record, feed) if feed.reason is None else _rest_after(record, feed, feed.reason)
    return max(feed.at + rest, feed.at if feed.blocked_until is None else feed.blocked_until)


def _rest_after_success(record: Record, feed: Feed) -> float:
    if feed.api is Api.INFO:
        return INFO_INTERVAL
    return LARGE_LIST_INTERVAL if feed.api is Api.LIST and _may_rest(record, feed) else 0.0


def _may_rest(record: Record, listing: Feed) -> bool:
    """Whether a large list may be left alone: nothing new in it, and the state is read elsewhere or from it alone."""
    status = record.feeds.get(Api.STATUS)
    elsewhere = status is None or status.ok or status.refused
    return listing.size > LARGE_LIST and elsewhere and record.history.current == record.history.listed_for


def _rest_after(record: Record, feed: Feed, reason: Reason) -> float:
    match reason:
        case Reason.RATE_LIMITED:
            return 0.0
        case Reason.FORBIDDEN:
            return REFUSED_REST
        case Reason.NOT_FOUND:
            return _backoff(record, feed, SOON) if feed.alone else REFUSED_REST
        case Reason.UNAUTHORIZED | Reason.REDIRECTED | Reason.TOO_LARGE:
            return _backoff(record, feed, LATER)
        case Reason.TIMEOUT | Reason.CONNECTION | Reason.TLS | Reason.SERVER | Reason.PROXY | Reason.INVALID:
            return _backoff(record, feed, SOON)
        case Reason.INTERNAL:
            return _backoff(record, feed, SOON)
    assert_never(reason)


def _backoff(record: Record, feed: Feed, longest: float) -> float:
    """One interval after the first failure, then twice as long each time, up to `longest` or the interval itself."""
    interval = record.interval
    if feed.failures <= 1:
        return interval
    doubled = interval * 2.0 ** min(feed.failures - 1, 16)
    return max(interval, min(doubled, longest) * (1 - SPREAD * _share(record.target.name)))


def _share(name: str) -> float:
    """A number from 0 to 1 that is the workspace's own."""
    return crc32(name.encode()) / 2**32
