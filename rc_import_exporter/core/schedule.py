"""Decides when a workspace is polled next, which of its endpoints are called, and which one is the fallback.

Polls come at the workspace's interval, or less often if the rate limit allows fewer calls. An endpoint that failed, or
whose rate limit is used up, rests for some time while the others go on. If all of them rest, the next poll comes when
the first of them is ready.
"""

from collections.abc import Iterable
from math import ceil, floor
from typing import Final, assert_never
from zlib import crc32

from rc_import_exporter.core.domain import FEEDS, Api, Reason
from rc_import_exporter.core.snapshot import LARGE_LIST, LARGE_LIST_INTERVAL, Feed, Plan, Record

REFUSED_REST: Final = 300.0
"""Seconds until an endpoint that is forbidden or missing is tried again."""
SOON: Final = 60.0
"""The longest wait, in seconds, after a failure that can end by itself, such as a restart of the server."""
LATER: Final = 300.0
"""The longest wait, in seconds, after a failure that someone has to repair."""
INFO_INTERVAL: Final = 3600.0
"""Seconds between two readings of the server's version."""
SPREAD: Final = 0.1
"""A wait is up to this share shorter, by the workspace's name, so that a thousand of them do not return at once.

The first poll and each wait come later for the same names, so that workspaces only move apart.
"""
FIRST_POLL_SPACING: Final = 0.015
"""Seconds from the first poll of one workspace to that of the next."""
EARLY: Final = 0.01
"""Seconds. A timer can fire this much before the clock shows the planned time."""
MANY: Final = 100
"""Workspaces of which the polls begin together, and the lines stand in the order of the polls."""
LONGEST_SLOT: Final = 0.05
"""The polls of `MANY` workspaces or more begin at multiples of a slot, in seconds.

To wake an idle processor takes as long as a part of a poll, so polls that begin together cost much less.
"""
WORKSPACE_SECONDS_IN_SLOT: Final = 75.0
"""A slot is shorter if the workspaces are more, so that only a few polls begin together."""


def first_poll(name: str, workspaces: int, interval: float) -> float:
    """Seconds from the start of the exporter to the first poll of this workspace."""
    return share(name) * min(interval, FIRST_POLL_SPACING * workspaces)


def slot(workspaces: int) -> float:
    """The seconds from one instant at which polls of many workspaces begin to the next one."""
    return min(LONGEST_SLOT, WORKSPACE_SECONDS_IN_SLOT / workspaces)


def wake(at: float, workspaces: int) -> float:
    """When to wake up for a poll that is planned at this instant, by any clock."""
    return at if workspaces < MANY else ceil((at - EARLY / 2) / slot(workspaces)) * slot(workspaces)


def due(record: Record, now: float) -> frozenset[Api]:
    """The endpoints to call now. Empty if every endpoint that could tell the state rests."""
    ways = frozenset(api for api in _ways(record) if _is_due(record, api, now))
    # No poll is made for the version alone.
    if ways and Api.INFO in record.target.apis and _is_due(record, Api.INFO, now):
        return ways | {Api.INFO}
    return ways


def fallback_due(record: Record, now: float) -> bool:
    """Whether to call `getImportProgress` as well. The record already holds this poll's failures of the two feeds."""
    return not record.told and Api.PROGRESS in _ways(record) and _is_due(record, Api.PROGRESS, now)


def plan(record: Record, started: float, now: float, late: float = 0.0) -> Plan:
    """The next poll. The record already holds the last one, which started `late` seconds after it was planned.

    The interval counts from the planned start. So neither slow answers nor a busy processor make polls rarer, and polls
    that were delayed together spread out again. After a long delay, whole intervals are left out, and at least half an
    interval is between the two starts.
    """
    planned = started - late + floor(late / record.interval + 0.5) * record.interval
    tick = max(now, planned + record.interval)
    wakes = [_wakes(record, api) for api in _ways(record)]
    # Endpoints rest from when they were called. One that is ready a moment later must not wait for one more poll.
    soon = max(started + record.interval, tick + LONGEST_SLOT)
    next_poll = max(tick, min(wakes, default=tick), *(wake for wake in wakes if wake <= soon))
    return Plan(next_poll=next_poll, interval=round(next_poll - planned, 3))


def _ways(record: Record) -> Iterable[Api]:
    """The endpoints that can tell the state: the two feeds, and `getImportProgress` if the server refuses both."""
    ways = (*FEEDS, Api.PROGRESS) if record.refused_everywhere else FEEDS
    return [api for api in ways if api in record.target.apis]


def _is_due(record: Record, api: Api, now: float) -> bool:
    feed = record.feeds.get(api)
    # A last call in the future means that the clock was set back. Call at once instead of waiting for that time again.
    return feed is None or now >= _wakes(record, api) - EARLY or now < feed.at


def _wakes(record: Record, api: Api) -> float:
    """When this endpoint may be called again."""
    feed = record.feeds.get(api)
    if feed is None:
        return float("-inf")
    rest = _rest_after_success(record, feed) if feed.reason is None else _rest_after(record, feed, feed.reason)
    if feed.retry:
        rest = 0.0
    return max(feed.at + rest, feed.at if feed.blocked_until is None else feed.blocked_until)


def _rest_after_success(record: Record, feed: Feed) -> float:
    if feed.api is Api.INFO:
        return INFO_INTERVAL
    rest = LARGE_LIST_INTERVAL if feed.api is Api.LIST and _may_rest(record, feed) else 0.0
    return max(rest, feed.spacing)


def _may_rest(record: Record, listing: Feed) -> bool:
    """Whether the list is too large to read at each poll, and can wait."""
    status = record.feeds.get(Api.STATUS)
    # It cannot wait while `import.status` fails, because then only the list tells the state. But if the server always
    # refuses `import.status`, the list is all there is, and it must not be read every few seconds. It cannot wait
    # either if a new operation has started since it was read.
    elsewhere = status is None or status.ok or status.refused
    return listing.size > LARGE_LIST and elsewhere and record.history.current == record.history.listed_for


def _rest_after(record: Record, feed: Feed, reason: Reason) -> float:
    match reason:
        case Reason.RATE_LIMITED:
            return 0.0  # `blocked_until` holds the wait that the server asked for
        case Reason.FORBIDDEN:
            return REFUSED_REST
        case Reason.NOT_FOUND:
            # If nothing else of this server answered, a proxy may send the 404 while the server restarts.
            return _backoff(record, feed, SOON) if feed.alone else REFUSED_REST
        case Reason.UNAUTHORIZED | Reason.REDIRECTED | Reason.TOO_LARGE:
            return _backoff(record, feed, LATER)
        case (
            Reason.TIMEOUT
            | Reason.CONNECTION
            | Reason.TLS
            | Reason.SERVER
            | Reason.PROXY
            | Reason.INVALID
            | Reason.INTERNAL
        ):
            return _backoff(record, feed, SOON)
    assert_never(reason)


def _backoff(record: Record, feed: Feed, longest: float) -> float:
    """One interval after the first failure, then twice as long each time, up to `longest` or the interval itself."""
    interval = record.interval
    if feed.failures <= 1:
        return interval
    # 2**16 intervals are longer than any limit; without a bound a float overflows after a thousand failures.
    doubled = interval * 2.0 ** min(feed.failures - 1, 16)
    return max(interval, min(doubled, longest) * (1 - SPREAD + SPREAD * share(record.target.name)))


def share(name: str) -> float:
    """A number from 0 to 1, always the same for a name and different from name to name.

    The first polls of all workspaces come in its order.
    """
    return crc32(name.encode()) / 2**32
