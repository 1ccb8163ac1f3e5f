"""How the pages write numbers, instants and texts: the filters of the templates.

A script turns dates into the reader's time zone; without it they are in UTC.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from markupsafe import Markup, escape

from rc_import_exporter.core.domain import Kind
from rc_import_exporter.core.verdict import spell
from rc_import_exporter.web.fields import Level, instant

LEVELS: Final = {
    Level.CRITICAL: ("Needs someone now", "✕"),
    Level.WARNING: ("Needs a look", "!"),
    Level.ACTIVE: ("In progress", "▶"),
    Level.WAITING: ("Waiting", "…"),
    Level.QUIET: ("At rest", "✓"),
}
"""The name of each level, and its sign: a colour alone is not enough for everyone."""
_ICONS: Final[Mapping[Level, str]] = {
    Level.CRITICAL: "#d93025",
    Level.WARNING: "#b06000",
    Level.ACTIVE: "#1a73e8",
    Level.WAITING: "#7a5fc0",
    Level.QUIET: "#2f8a67",
}
"""The colours of the icon in the browser's tab, which is light or dark whatever the page is."""
_NOW: Final = 60.0
"""Seconds by which something may be late and still be said to happen now."""


def icon(level: Level) -> str:
    """The icon of a page with this level, as a URL with its data."""
    sign = LEVELS[level][1]
    image = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
        f"<circle cx='16' cy='16' r='16' fill='{_ICONS[level]}'/>"
        f"<text x='16' y='23' fill='#fff' font-family='sans-serif' font-size='20' font-weight='bold' "
        f"text-anchor='middle'>{sign}</text></svg>"
    )
    return f"data:image/svg+xml,{quote(image)}"


def code(text: str) -> Markup:
    """A text whose parts between backticks are marked as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def when(at: float | None, now: float) -> Markup:
    """How long ago an instant was, or how soon it is. The date is a tooltip."""
    iso = instant(at)
    if at is None or iso is None:
        return Markup("never")
    distance = spell(abs(now - at))
    said = f"in {distance}" if at - now >= 1 else "just now" if now - at < 1 else f"{distance} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, _utc(iso), said)


def soon(at: float | None, now: float) -> Markup | str:
    """When something happens next. It may be a moment late, because it takes some time."""
    return "now" if at is not None and now - _NOW <= at < now + 1 else when(at, now)


def date(at: float | None) -> Markup:
    """The date and the time of day, in UTC until the script changes it."""
    iso = instant(at)
    return Markup("never") if iso is None else _time("stamp", iso, _utc(iso))


def clock(at: float, now: float) -> Markup:
    """The time of day without seconds, with the date if it is not today's; in UTC until the script changes it."""
    iso, today = instant(at), instant(now)
    if iso is None or today is None:
        return Markup("never")
    return _time("clock", iso, f"{iso[11:16]} UTC" if iso[:10] == today[:10] else f"{iso[:10]} {iso[11:16]} UTC")


def _time(form: str, iso: str, text: str) -> Markup:
    return Markup('<time class="{}" datetime="{}" title="{}">{}</time>').format(form, iso, _utc(iso), text)


def _utc(iso: str) -> str:
    return f"{iso[:10]} {iso[11:19]} UTC"


def number(value: float) -> str:
    """A number with separated thousands, and with a decimal if it is small."""
    return f"{value:,.1f}" if 0 < value < 10 and value != int(value) else f"{value:,.0f}"


def staged(records: Mapping[Kind, int]) -> str:
    """The records to import of each kind: `300 users, 20,000 messages`."""
    kinds = ((count, kind.removesuffix("s") if count == 1 else kind) for kind, count in records.items() if count)
    return ", ".join(f"{count:,} {kind}" for count, kind in kinds)


def capital(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]
