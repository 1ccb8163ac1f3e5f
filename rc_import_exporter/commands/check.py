"""The command `check`: finds the mistake before the daemon runs. `cli` runs it.

It reads what a single poll, made as the daemon makes it, left in each workspace's record, and says in words what works,
what does not, and what to do.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console

from rc_import_exporter.commands import terminal
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.pursuit import trouble
from rc_import_exporter.commands.suspicions import Finding, Level, suspicions, unexpected
from rc_import_exporter.commands.terminal import Cell
from rc_import_exporter.config import duration, inventory
from rc_import_exporter.config.options import WORKSPACES
from rc_import_exporter.config.settings import Settings, Workspace
from rc_import_exporter.core.advice import PERMISSIONS, REASONS, WHERE_TO_GRANT
from rc_import_exporter.core.domain import FEEDS, REFUSALS, Api, Outcome, Reason
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Snapshot
from rc_import_exporter.core.thresholds import CLOCKS_AGREE, CLOCKS_DISAGREE, RATE_LIMIT_WINDOW
from rc_import_exporter.core.verdict import sentence

_SILENT: Final = frozenset({Reason.TIMEOUT, Reason.CONNECTION})
_WITHOUT: Final = {
    Api.STATUS: "the list tells the same: read-only is enough",
    Api.LIST: "what comes and goes between two polls is missed, and how an import ended that another one replaced",
    Api.PROGRESS: "it is the last resort",
}
"""What it means to do without an endpoint where another one tells the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found in one workspace."""

    name: str
    url: str
    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether nothing was found that has to be mended."""
        return all(finding.level is not Level.PROBLEM for finding in self.findings)


def examine(settings: Settings, snapshot: Snapshot | None) -> list[Examination]:
    """Every workspace: its options, and what a poll told, where there was one.

    Raises `CredentialsError` where a secret cannot be read.
    """
    return [
        Examination(
            name=name,
            url=workspace.target.url,
            findings=_without_repetition(
                [
                    *_of_options(settings, workspace),
                    *(() if snapshot is None else _of_poll(snapshot.records[name])),
                    *unexpected(workspace.target.expect),
                ]
            ),
        )
        for name, workspace in settings.workspaces.items()
    ]


def _without_repetition(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings with each piece of advice where it is given first."""
    given: set[str] = set()
    kept = []
    for finding in findings:
        kept.append(replace(finding, advice="") if finding.advice in given else finding)
        given.add(finding.advice)
    return tuple(kept)


def code(examinations: Sequence[Examination]) -> Exit:
    """Whether all of them work."""
    return Exit.DONE if all(each.works for each in examinations) else Exit.FAILED


def show(console: Console, settings: Settings, examinations: Sequence[Examination]) -> None:
    """Prints tables for people."""
    _show_options(console, settings, "")
    console.print("Every other option has its default.\n")
    for each in examinations:
        console.print(terminal.printable(f"{each.name}: {each.url}"), style="bold", soft_wrap=True)
        _show_options(console, settings, each.name)
        console.print(terminal.table(("", "what", "found"), [_row(finding) for finding in each.findings]))
        console.print()
    console.print(_summary(examinations), soft_wrap=True)


def _show_options(console: Console, settings: Settings, workspace: str) -> None:
    entries = [entry for entry in inventory.entries(settings) if entry.workspace == workspace]
    if entries:
        above = f"{WORKSPACES}.{workspace}." if workspace else ""
        rows = [(entry.option.removeprefix(above), entry.value, entry.origin) for entry in entries]
        console.print(terminal.table(("option", "value", "set by"), rows))
        console.print()


def as_json(settings: Settings, examinations: Sequence[Examination]) -> str:
    """The same for scripts."""
    return json.dumps(
        {
            "exit_code": int(code(examinations)),
            "mistakes": [],
            "options": [
                {"option": entry.option, "value": entry.value, "origin": entry.origin}
                for entry in inventory.entries(settings)
            ],
            "workspaces": [
                {"name": each.name, "url": each.url, "works": each.works, "findings": _plain(each.findings)}
                for each in examinations
            ],
        },
        indent=2,
    )


def mistakes_as_json(mistakes: Sequence[str]) -> str:
    """What `as_json` gives where the configuration cannot be used."""
    told = {"exit_code": int(Exit.MISCONFIGURED), "mistakes": list(mistakes), "options": [], "workspaces": []}
    return json.dumps(told, indent=2)


def _plain(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{"topic": each.topic, "level": each.level, "text": each.text, "advice": each.advice} for each in findings]


_STYLES: Final = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def _row(finding: Finding) -> tuple[Cell, Cell, Cell]:
    advice = f"-> {finding.advice}" if finding.advice else ""
    level = Cell(text=finding.level, style=_STYLES[finding.level])
    return level, Cell(text=finding.topic), Cell(text=finding.text, below=advice)


def _summary(examinations: Sequence[Examination]) -> str:
    broken = [each.name for each in examinations if not each.works]
    if not broken:
        return "Nothing was found that has to be mended."
    return f"To be mended: {', '.join(broken)}. Look for the lines marked problem."


def _of_options(settings: Settings, workspace: Workspace) -> Iterator[Finding]:
    yield from suspicions(workspace, workspace.credentials.load(), settings.origins)


def _of_poll(record: Record) -> Iterator[Finding]:
    yield _reachable(record)
    yield from _tls(record)
    yield _version(record)
    yield from _token(record)
    yield from (_endpoint(record, feed) for feed in record.feeds.values() if feed.api is not Api.INFO)
    yield from (_not_asked(api) for api in FEEDS if api not in record.target.apis)
    yield from _rate_limit(record)
    yield from _clock(record)
    yield _state(record)


def _reachable(record: Record) -> Finding:
    reasons = {feed.reason for feed in record.feeds.values()}
    if record.feeds and not reasons <= _SILENT:
        return Finding(topic="server", level=Level.OK, text="answers")
    reason = next((reason for reason in reasons if reason is not None), Reason.INTERNAL)
    return Finding(topic="server", level=Level.PROBLEM, text=trouble(record), advice=_remedy(reason))


def _remedy(reason: Reason) -> str:
    return " ".join(REASONS[reason].advice).replace("`", "")


def _tls(record: Record) -> Iterator[Finding]:
    failed = next((feed for feed in record.feeds.values() if feed.reason is Reason.TLS), None)
    if failed is not None:
        yield Finding(topic="TLS", level=Level.PROBLEM, text=failed.detail, advice=_remedy(Reason.TLS))
    elif record.target.url.startswith("https:") and any(feed.reason not in _SILENT for feed in record.feeds.values()):
        yield Finding(topic="TLS", level=Level.OK, text="the connection is encrypted")


def _version(record: Record) -> Finding:
    if record.version is None:
        return Finding(topic="version", level=Level.NOTE, text="not told")
    return Finding(topic="version", level=Level.OK, text=f"Rocket.Chat {record.version}")


def _token(record: Record) -> Iterator[Finding]:
    feeds = [feed for feed in record.feeds.values() if feed.api is not Api.INFO]
    refused = next((feed for feed in feeds if feed.reason is Reason.UNAUTHORIZED), None)
    if refused is not None:
        text, advice = refused.detail, _remedy(Reason.UNAUTHORIZED)
        yield Finding(topic="token", level=Level.PROBLEM, text=text, advice=advice)
    elif any(feed.ok or feed.reason is Reason.FORBIDDEN for feed in feeds):
        yield Finding(topic="token", level=Level.OK, text="accepted")


def _endpoint(record: Record, feed: Feed) -> Finding:
    finding = Finding(topic=feed.api, level=Level.OK, text="allowed, and answers")
    if feed.reason is None:
        return finding
    what = _refusal(feed) if feed.reason in REFUSALS and not feed.alone else feed.detail
    if not record.told:
        advice = "" if feed.reason in _SILENT | {Reason.UNAUTHORIZED, Reason.TLS} else _remedy(feed.reason)
        return replace(finding, level=Level.PROBLEM, text=what, advice=advice)
    if feed.reason not in REFUSALS:
        return replace(finding, level=Level.WARNING, text=what, advice=_remedy(feed.reason))
    without = f"{what}; {_without(record, feed.api)}"
    if feed.api is not Api.LIST and _is_told_by(record, Api.LIST):
        return replace(finding, level=Level.NOTE, text=without)
    advice = f"grant {PERMISSIONS[Api.LIST]} ({WHERE_TO_GRANT})"
    return replace(finding, level=Level.WARNING, text=without, advice=advice)


def _refusal(feed: Feed) -> str:
    if feed.reason is Reason.FORBIDDEN:
        return f"the permission {PERMISSIONS[feed.api]} is missing"
    return "this server has no such endpoint" + (": it came with 6.3" if feed.api is Api.STATUS else "")


def _without(record: Record, api: Api) -> str:
    if _is_told_by(record, Api.PROGRESS):
        return "with getImportProgress alone, an import that a restart killed looks as if it ran for ever"
    return _WITHOUT[api]


def _is_told_by(record: Record, api: Api) -> bool:
    return record.observation is not None and record.observation.source is api


def _not_asked(api: Api) -> Finding:
    return Finding(topic=api, level=Level.NOTE, text="not asked: the option apis leaves it out")


def _rate_limit(record: Record) -> Iterator[Finding]:
    topic, interval = "rate limit", record.target.poll_interval
    feeds = [feed for feed in record.feeds.values() if feed.api in FEEDS and feed.ok]
    budgets = [feed.budget for feed in feeds if feed.budget is not None and feed.budget.limit is not None]
    if not budgets:
        if feeds:
            yield Finding(topic=topic, level=Level.OK, text="none told: the user is exempt, or the limiter is off")
        return
    limit = min(budget.limit or 0 for budget in budgets)
    left = min(limit if budget.remaining is None else budget.remaining for budget in budgets)
    calls = RATE_LIMIT_WINDOW / interval
    told = f"{limit} calls a minute, {left} left; poll_interval {duration.write(interval)} needs {calls:.3g}"
    if calls > limit:
        enough = f"raise poll_interval to {duration.write(-(-RATE_LIMIT_WINDOW // max(1, limit)))} or more"
        yield Finding(topic=topic, level=Level.WARNING, text=told, advice=enough)
    elif 2 * calls > limit:
        yield Finding(topic=topic, level=Level.NOTE, text=f"{told}: no room for a second exporter at this address")
    else:
        yield Finding(topic=topic, level=Level.OK, text=told)


def _clock(record: Record) -> Iterator[Finding]:
    skews = [feed.skew for feed in record.feeds.values() if feed.skew is not None]
    if not skews:
        return
    skew = min(skews, key=abs)
    if abs(skew) <= CLOCKS_AGREE:
        yield Finding(topic="clock", level=Level.OK, text="the server's and ours agree")
        return
    told = f"the server's is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
    if abs(skew) < CLOCKS_DISAGREE:
        yield Finding(topic="clock", level=Level.NOTE, text=told)
    else:
        advice = "let both follow a time server: ages and durations are off by as much"
        yield Finding(topic="clock", level=Level.WARNING, text=told, advice=advice)


def _state(record: Record) -> Finding:
    seen = record.observation
    if not record.told or seen is None:
        return Finding(topic="state", level=Level.PROBLEM, text="cannot be told: see above")
    return Finding(topic="state", level=Level.OK, text=f"{seen.state}: {_words(seen)} (told by {seen.source})")


def _words(seen: Observation) -> str:
    if seen.outcome is Outcome.NONE:
        return "nothing was ever imported"
    return f"step {seen.step}" if seen.track is None else sentence(seen.track)
