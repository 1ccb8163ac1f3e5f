"""The command `check`: checks the configuration and connects to each workspace once.

It polls as the daemon does, and says what works, what does not, and what to do.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console

from rc_import_exporter.commands import once, terminal
from rc_import_exporter.commands.exits import Exit
from rc_import_exporter.commands.faults import Fault, faults
from rc_import_exporter.commands.flags import SWITCH, Command, Flag, Invocation
from rc_import_exporter.commands.selection import command_line, select
from rc_import_exporter.commands.suspicions import Finding, Severity, of_server, suspicions, unexpected
from rc_import_exporter.config import duration, values
from rc_import_exporter.config.options import LogLevel
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.advice import PERMISSIONS, WHERE_TO_GRANT, advice_on
from rc_import_exporter.core.domain import FEEDS, REFUSALS, Api, Budget, Outcome, Reason
from rc_import_exporter.core.snapshot import Feed, Observation, Record, Snapshot
from rc_import_exporter.core.thresholds import CLOCKS_AGREE, CLOCKS_DISAGREE, RATE_LIMIT_WINDOW
from rc_import_exporter.core.verdict import sentence
from rc_import_exporter.errors import ConfigurationError, CredentialsError

CONFIG_ONLY: Final = Flag(name="--config-only", value=SWITCH, default="false", help="Do not connect to any workspace.")
FORMAT: Final = Flag(
    name="--format",
    value=values.text("text|json", "text or json", "WORD"),
    default="text",
    help="The format of the output.",
)

_SILENT: Final = frozenset({Reason.TIMEOUT, Reason.CONNECTION, Reason.TLS})
_TOPICS: Final = {
    Reason.TIMEOUT: "server",
    Reason.CONNECTION: "server",
    Reason.TLS: "TLS",
    Reason.UNAUTHORIZED: "token",
    Reason.FORBIDDEN: "permission",
    Reason.NOT_FOUND: "address",
}
_EXPLAINED_BY: Final = {
    Reason.UNAUTHORIZED: frozenset({"user_id", "auth_token"}),
    Reason.NOT_FOUND: frozenset({"url"}),
}
"""Options whose suspicious values explain a fault better than its own advice."""
_WITHOUT: Final = {
    Api.STATUS: "the list has the same data: read-only is enough",
    Api.LIST: "imports that start and end between two polls are missed, and how a replaced import ended",
    Api.PROGRESS: "it is only needed if the other two do not answer",
}
"""What is missing without an endpoint, if another one shows the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The findings of one workspace."""

    name: str
    url: str
    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether no problem was found."""
        return all(finding.level is not Severity.PROBLEM for finding in self.findings)


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Runs the command."""
    is_json = invocation[FORMAT] == "json"
    try:
        configured = select(invocation, environ, LogLevel.ERROR)
        examinations = examine(configured, None if invocation[CONFIG_ONLY] else asyncio.run(once.poll(configured)))
    except (ConfigurationError, CredentialsError) as error:
        if not is_json:
            raise
        print(mistakes_as_json(str(error).splitlines()))
        return Exit.MISCONFIGURED
    if is_json:
        print(as_json(configured, examinations))
    else:
        show(terminal.console(sys.stdout), configured, examinations, next_step(invocation, configured, examinations))
    return code(examinations)


def examine(settings: Settings, snapshot: Snapshot | None) -> list[Examination]:
    """The findings of every workspace, from its options, and from a poll if there was one.

    Raises `CredentialsError` if a secret cannot be read.
    """
    return [
        Examination(
            name=name,
            url=workspace.target.url,
            findings=_in_order(
                list(suspicions(workspace, workspace.credentials.load())),
                [] if snapshot is None else faults_of(snapshot.records[name]),
                [
                    *(() if snapshot is None else _of_poll(snapshot.records[name])),
                    *unexpected(workspace.target.expect),
                ],
            ),
        )
        for name, workspace in settings.workspaces.items()
    ]


def faults_of(record: Record) -> Sequence[Fault]:
    """Why the state cannot be read, empty if it can."""
    return [] if record.told else faults(record)


def _in_order(suspected: Sequence[Finding], found: Sequence[Fault], rest: Sequence[Finding]) -> tuple[Finding, ...]:
    """Problems first, then warnings. Where a warning explains a problem, its advice is the one to follow."""
    suspicious = {each.topic for each in suspected if each.level is Severity.WARNING}
    problems = [
        Finding(
            topic=_TOPICS.get(fault.reason, "answers"),
            level=Severity.PROBLEM,
            text=str(fault),
            advice="" if suspicious & _EXPLAINED_BY.get(fault.reason, frozenset()) else _plain_text(fault.steps),
        )
        for fault in found
    ]
    others = [*suspected, *rest]
    warnings = [each for each in others if each.level is Severity.WARNING]
    return (*problems, *warnings, *(each for each in others if each.level is not Severity.WARNING))


def _plain_text(steps: Iterable[str]) -> str:
    return " ".join(steps).replace("`", "")


def code(examinations: Sequence[Examination]) -> Exit:
    """The exit code: whether all of them work."""
    return Exit.DONE if all(each.works for each in examinations) else Exit.FAILED


def show(console: Console, settings: Settings, examinations: Sequence[Examination], closing: str = "") -> None:
    """Prints the findings and the options for people. `closing` is the next step."""
    for each in examinations:
        console.print(terminal.printable(f"{each.name}: {each.url}"), style="bold", soft_wrap=True)
        _show_findings(console, each.findings)
    console.print(terminal.printable(f"The exporter's own server: {settings.web.listen}"), style="bold", soft_wrap=True)
    _show_findings(console, of_server(settings.web))
    if settings.remarks:
        console.print("The configuration:", style="bold")
        _show_findings(console, _of_configuration(settings))
    console.print("Options that are set; every other option has its default:", style="bold")
    for option in settings.given:
        console.print(terminal.printable(f"{option.option} = {option.value}  ({option.origin})"), soft_wrap=True)
    console.print(f"\n{_summary(examinations)}\n{closing}", soft_wrap=True)


def next_step(invocation: Invocation, settings: Settings, examinations: Sequence[Examination]) -> str:
    """What to do after this run: repair and check again, connect, or start the exporter and open its page."""
    if code(examinations) is not Exit.DONE:
        again = command_line(invocation, settings, "check", *invocation.operands)
        return f"Check again: {again}"
    if invocation[CONFIG_ONLY]:
        return f"Connect: {command_line(invocation, settings, 'check', *invocation.operands)}"
    page = settings.web.page(settings.web.listen.port)
    return f"Start: {command_line(invocation, settings)}\nPage:  {page}"


def as_json(settings: Settings, examinations: Sequence[Examination]) -> str:
    """The JSON for scripts."""
    return json.dumps(
        {
            "exit_code": int(code(examinations)),
            "mistakes": [],
            "findings": _plain(_of_configuration(settings)),
            "options": [{"option": each.option, "value": each.value, "origin": each.origin} for each in settings.given],
            "server": {"address": str(settings.web.listen), "findings": _plain(of_server(settings.web))},
            "workspaces": [
                {"name": each.name, "url": each.url, "works": each.works, "findings": _plain(each.findings)}
                for each in examinations
            ],
        },
        indent=2,
    )


def mistakes_as_json(mistakes: Sequence[str]) -> str:
    """The JSON for a configuration that cannot be used."""
    told: dict[str, object] = {
        "exit_code": int(Exit.MISCONFIGURED),
        "mistakes": list(mistakes),
        "findings": [],
        "options": [],
        "server": None,
        "workspaces": [],
    }
    return json.dumps(told, indent=2)


def _of_configuration(settings: Settings) -> Sequence[Finding]:
    said = [remark.partition(": ") for remark in settings.remarks]
    return [Finding(topic=topic, level=Severity.WARNING, text=text) for topic, _, text in said]


def _plain(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [{"topic": each.topic, "level": each.level, "text": each.text, "advice": each.advice} for each in findings]


_STYLES: Final = {Severity.OK: "green", Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.PROBLEM: "bold red"}


def _show_findings(console: Console, findings: Iterable[Finding]) -> None:
    for each in findings:
        lines = [each.text, *([f"-> {each.advice}"] if each.advice else [])]
        console.print(terminal.listed(each.level, _STYLES[each.level], each.topic, lines))
    console.print()


def _summary(examinations: Sequence[Examination]) -> str:
    broken = [each.name for each in examinations if not each.works]
    return f"Problems in: {', '.join(broken)}. Solve what is marked problem." if broken else "No problem was found."


def _of_poll(record: Record) -> Iterator[Finding]:
    answering = [feed for feed in record.feeds.values() if feed.reason not in _SILENT]
    if answering:
        yield Finding(topic="server", level=Severity.OK, text="answers")
    if answering and record.target.url.startswith("https:"):
        yield Finding(topic="TLS", level=Severity.OK, text="the connection is encrypted")
    if record.version is not None:
        yield Finding(topic="version", level=Severity.OK, text=f"Rocket.Chat {record.version}")
    elif answering:
        yield Finding(topic="version", level=Severity.NOTE, text="unknown")
    if any(feed.ok or feed.reason is Reason.FORBIDDEN for feed in record.feeds.values() if feed.api is not Api.INFO):
        yield Finding(topic="token", level=Severity.OK, text="accepted")
    if record.told:
        yield from (_endpoint(record, feed) for feed in record.feeds.values() if feed.api is not Api.INFO)
    yield from (_not_asked(api) for api in FEEDS if api not in record.target.apis)
    yield from _rate_limit(record)
    yield from _clock(record)
    if record.told and record.observation is not None:
        yield _state(record.observation)


def _endpoint(record: Record, feed: Feed) -> Finding:
    finding = Finding(topic=feed.api, level=Severity.OK, text="allowed and answers")
    if feed.reason is None:
        return finding
    what = _refusal(feed) if feed.reason in REFUSALS and not feed.alone else feed.detail
    if feed.reason not in REFUSALS:
        advice = _plain_text(advice_on(feed.reason, (), feed.remedy))
        return replace(finding, level=Severity.WARNING, text=what, advice=advice)
    without = f"{what}; {_without(record, feed.api)}"
    if feed.api is not Api.LIST and _is_told_by(record, Api.LIST):
        return replace(finding, level=Severity.NOTE, text=without)
    advice = f"grant {PERMISSIONS[Api.LIST]} ({WHERE_TO_GRANT})"
    return replace(finding, level=Severity.WARNING, text=without, advice=advice)


def _refusal(feed: Feed) -> str:
    if feed.reason is Reason.FORBIDDEN:
        return f"the permission {PERMISSIONS[feed.api]} is missing"
    return "this server has no such endpoint" + (": it needs 6.3 or later" if feed.api is Api.STATUS else "")


def _without(record: Record, api: Api) -> str:
    if _is_told_by(record, Api.PROGRESS):
        return "with getImportProgress alone, an import that a restart cut off seems to run forever"
    return _WITHOUT[api]


def _is_told_by(record: Record, api: Api) -> bool:
    return record.observation is not None and record.observation.source is api


def _not_asked(api: Api) -> Finding:
    return Finding(topic=api, level=Severity.NOTE, text="not called: the option apis excludes it")


def _rate_limit(record: Record) -> Iterator[Finding]:
    topic, interval = "rate limit", record.target.poll_interval
    feeds = [feed for feed in record.feeds.values() if feed.api in FEEDS and feed.ok]
    budgets = [feed.budget for feed in feeds if feed.budget is not None and feed.budget.limit is not None]
    if not budgets:
        if feeds:
            yield Finding(topic=topic, level=Severity.OK, text="none: the user is exempt, or the limiter is off")
        return
    limit = min(budget.limit or 0 for budget in budgets)
    left = min(limit if budget.remaining is None else budget.remaining for budget in budgets)
    window = max(_window(budget) for budget in budgets)
    calls = window / interval
    told = (
        f"{limit} calls in {duration.write(window)}, {left} left; "
        f"poll_interval {duration.write(interval)} needs {calls:.3g}"
    )
    if calls > limit:
        enough = f"raise poll_interval to {duration.write(-(-window // max(1, limit)))} or more"
        yield Finding(topic=topic, level=Severity.WARNING, text=told, advice=enough)
    elif 2 * calls > limit:
        yield Finding(topic=topic, level=Severity.NOTE, text=f"{told}: too few for a second exporter at this address")
    else:
        yield Finding(topic=topic, level=Severity.OK, text=told)


def _window(budget: Budget) -> float:
    """The limiter's window in seconds, to 5 s.

    It begins with its first call. After a later call only a part of it is left. Then the window is taken to be the
    default of 60 s, or that part if it is longer.
    """
    is_first = budget.limit is not None and budget.remaining == budget.limit - 1
    length = 5 * round(budget.wait / 5) or 1
    return length if is_first else max(length, RATE_LIMIT_WINDOW)


def _clock(record: Record) -> Iterator[Finding]:
    skews = [feed.skew for feed in record.feeds.values() if feed.skew is not None]
    if not skews:
        return
    skew = min(skews, key=abs)
    if abs(skew) <= CLOCKS_AGREE:
        yield Finding(topic="clock", level=Severity.OK, text="the server's clock and ours agree")
        return
    told = f"the server's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
    if abs(skew) < CLOCKS_DISAGREE:
        yield Finding(topic="clock", level=Severity.NOTE, text=told)
    else:
        advice = "synchronize both with a time server: ages and durations are wrong by this much"
        yield Finding(topic="clock", level=Severity.WARNING, text=told, advice=advice)


def _state(seen: Observation) -> Finding:
    return Finding(topic="state", level=Severity.OK, text=f"{seen.state}: {_words(seen)} (from {seen.source})")


def _words(seen: Observation) -> str:
    if seen.outcome is Outcome.NONE:
        return "nothing imported yet"
    return f"step {seen.step}" if seen.track is None else sentence(seen.track)


COMMAND: Final = Command(
    name="check",
    run=run,
    summary="Check the configuration and connect to each workspace once. Reports problems and how to fix them.",
    details="Exit code: 0 everything works (a read-only token is enough), 1 something does not work, 2 the "
    "configuration is wrong.",
    flags=(CONFIG_ONLY, FORMAT),
    operands="[WORKSPACE...]",
    examples=(
        "check --config.file=config.yml",
        "check --config.file=config.yml acme",
        "check --config.file=config.yml --config-only --format=json",
    ),
)
