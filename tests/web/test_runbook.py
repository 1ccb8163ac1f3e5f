"""The runbook has a section for each alert, with the same questions, and names only published metrics."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest

import rc_import_exporter
from deploy.prometheus.generate import ROOT, Alert, alerts, records
from rc_import_exporter.cli import COMMANDS
from rc_import_exporter.config.options import OPTIONS
from rc_import_exporter.core.domain import Reason
from rc_import_exporter.core.thresholds import (
    FAILED_RATIO,
    LOADING_STALLED_AFTER,
    LONGEST_RUN,
    LONGEST_WAIT,
    LOST_SIGHT,
    STALLED_AFTER,
    TOLD_FOR,
)
from rc_import_exporter.metrics.catalogue import METRICS

RUNBOOK: Final = Path(rc_import_exporter.__file__).parent / "web" / "runbook.md"
TEXT: Final = RUNBOOK.read_text(encoding="utf-8")
SECTIONS: Final = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
GENERAL: Final = (
    "Contents",
    "First look",
    "Prepare the terminal",
    "Rocket.Chat's log",
    "Why the server stopped",
    "What Rocket.Chat waits for",
    "Before a new import",
    "After a crash",
    "Start again",
    "Messages of a CSV import",
    "Silence an alert",
)
ANSWERS: Final = (
    "Can it wait until morning?",
    "Meaning.",
    "Do.",
    "Do not.",
    "Look at.",
    "Likely causes.",
    "Ignore it",
)
ENDS: Final = ("Failed", "CutOff", "Stalled", "Unconfirmed", "NothingImported", "CompletedWithErrors", "Canceled")
"""Alerts after which someone may want to import again."""
SPELLED: Final = {0.05: "5 %", 1_800: "half an hour", 14_400: "four hours", 43_200: "12 hours", 72_000: "20 hours"}
"""Limits as the runbook writes them."""
FORMS: Final = ("Plain:", "Docker:", "Kubernetes:")
PROGRAMS: Final = {
    *(
        "amtool",
        "curl",
        "df",
        "docker",
        "export",
        "journalctl",
        "kubectl",
        "mongosh",
        "rc-import-exporter",
        "sudo",
        "systemctl",
    ),
    "top",
}
"""What commands start with."""
LINK: Final = re.compile(r"\[[^\[\]]*\]\(([^()]*)\)")
CODE: Final = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
QUERIES: Final = [
    query for block in re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL) for query in block.strip().splitlines()
]
BLOCKS: Final = [block.strip() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)]
INLINE: Final = [
    " ".join(code.split())
    for code in re.findall(r"`([^`]+)`", CODE.sub(lambda code: code[0] * (code[0][1] != "`"), TEXT))
    if re.match(r"(systemctl|journalctl|docker|kubectl|mongosh|rc-import-exporter) \w", code)
]
"""Commands within a sentence."""


def test_every_alert_has_a_heading_and_every_heading_an_alert() -> None:
    """In the order of the rules, after what is general."""
    assert list(SECTIONS) == [*GENERAL, *(alert.name for alert in alerts())]


def test_the_links_of_the_alerts_are_the_anchors_of_their_headings() -> None:
    """A code host's anchor is the heading in lower case, with hyphens for spaces, without punctuation."""
    assert {alert.anchor.removeprefix("#") for alert in alerts()} <= anchors()


def test_every_link_leads_to_a_heading_and_the_contents_to_all_of_them() -> None:
    """Who opens the file on a code host finds the same places as on the page."""
    links = LINK.findall(CODE.sub("", TEXT))
    assert {link.removeprefix("#") for link in links} <= anchors()
    listed = [link.removeprefix("#") for link in LINK.findall(SECTIONS["Contents"])]
    assert sorted([*listed, "contents"]) == sorted(anchors())


def test_every_cross_reference_is_a_link() -> None:
    """At night, people follow links. They do not search for a section by its name."""
    plain = LINK.sub("", CODE.sub("", "\n".join(SECTIONS.values())))
    headings = [*(alert.name.removeprefix("RocketChatImport") for alert in alerts()), *GENERAL]
    names = [name for name in headings if re.search(r"[a-z][A-Z]| ", name)]
    bodies = re.sub(rf"^({'|'.join(SECTIONS)})$", "", plain, flags=re.MULTILINE)
    assert [name for name in names if re.search(rf"\b{re.escape(name)}\b", bodies)] == []
    assert re.findall(r"\(see (?!\[)[^)]*\)|\b[Ss]ee (?:the section|above|below)", plain) == []


def anchors() -> set[str]:
    """The anchors of all sections, as code hosts make them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in SECTIONS}


@pytest.mark.parametrize("name", [alert.name for alert in alerts()])
def test_each_section_answers_the_same_questions_in_the_same_order(name: str) -> None:
    """Someone who was woken up finds each answer in the same place."""
    assert re.findall(r"^\*\*(.+?)\*\*", SECTIONS[name], re.MULTILINE) == list(ANSWERS)
    queries = answer(name, "Look at.")
    assert re.search(r"In Prometheus.+Grafana.+:\s+```promql\n", queries, re.DOTALL), "nobody knows where to paste them"


@pytest.mark.parametrize("name", [alert.name for alert in alerts()])
def test_what_to_do_is_numbered_and_leads_on(name: str) -> None:
    """The steps come right after the meaning, in their order, with a link to how each is done."""
    steps = answer(name, "Do.")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", steps, re.MULTILINE)]
    assert len(numbers) > 1
    assert numbers == list(range(1, len(numbers) + 1))
    assert steps.lstrip().startswith("1. ")
    assert LINK.search(steps)


@pytest.mark.parametrize("name", ENDS)
def test_a_section_says_itself_whether_a_second_run_is_safe(name: str) -> None:
    """A CSV import that is repeated without thought creates all messages twice."""
    steps = answer(f"RocketChatImport{name}", "Do.")
    assert "(#start-again)" in steps
    assert re.findall(r"\*\*(Slack|CSV|API)\*\*", steps) == ["Slack", "CSV", "API"]
    assert "not before" in steps or "a second time" in steps


def test_errors_are_saved_before_an_import_starts_again() -> None:
    """A new import deletes them."""
    for name in ("Failed", "CutOff", "Stalled"):
        steps = answer(f"RocketChatImport{name}", "Do.")
        assert 0 < steps.index("(#before-a-new-import)") < steps.index("(#start-again)"), name


@pytest.mark.parametrize("name", ["CutOff", "LostSight", "Stalled"])
def test_out_of_memory_is_among_the_causes(name: str) -> None:
    """It is the most common one: the server loads the whole import into memory."""
    causes = answer(f"RocketChatImport{name}", "Likely causes.")
    assert "memory" in causes
    assert "(#why-the-server-stopped)" in causes


def test_every_form_says_how_to_find_out_that_memory_was_short() -> None:
    """With what each platform remembers of it."""
    plain, docker, kubernetes = forms("Why the server stopped")[0]
    assert "dmesg" in plain
    assert "journalctl" in plain
    assert ".State.OOMKilled" in docker
    assert 'kubectl --namespace "$NAMESPACE" describe pod' in kubernetes


def test_the_four_settings_have_their_defaults_and_their_places() -> None:
    """Rocket.Chat's own, from apps/meteor/server/settings; during an import, from Importer.ts."""
    text = " ".join(SECTIONS["After a crash"].split())
    row = r"- \*\*([\w ]+) → [\w ]+\*\* \(`(\w+)`\): default (.+?), in an import (.+?)(?= - | The )"
    assert re.findall(row, text) == [
        ("File Upload", "FileUpload_MaxFileSize", "`104857600` (100 MB)", "`-1` (no limit)"),
        ("File Upload", "FileUpload_MediaTypeWhiteList", "empty (every type)", "`*` (every type)"),
        ("File Upload", "FileUpload_MediaTypeBlackList", "`image/svg+xml`", "empty (none blocked)"),
        ("Accounts", "Accounts_AllowUsernameChange", "on", "on"),
    ]


@pytest.mark.parametrize("heading", GENERAL)
def test_commands_come_in_three_forms(heading: str) -> None:
    """Plain, Docker, Kubernetes; the last two run the first one's `mongosh` in a container."""
    for plain, docker, kubernetes in forms(heading):
        for scripts in zip(*(re.findall(r"--eval '(.*)'", form) for form in (plain, docker, kubernetes)), strict=True):
            assert len(set(scripts)) == 1
        assert "mongosh" not in plain or "docker exec" in docker
        assert "mongosh" not in plain or re.search(r"kubectl .*\bexec\b", kubernetes)


def test_each_variable_of_a_command_is_set_where_the_terminal_is_prepared() -> None:
    """Who pastes a command does not guess what `MONGO_URL` is."""
    used = {name for block in (*BLOCKS, *INLINE) for name in re.findall(r"\$([A-Z_]+)", block)}
    told = set(re.findall(r"\b([A-Z_]+)=", SECTIONS["Prepare the terminal"]))
    assert used == {"AUTH_TOKEN", "EXPORTER", "MONGODB", "MONGO_URL", "NAMESPACE", "ROCKETCHAT", "URL", "USER_ID"}
    assert used <= told


@pytest.mark.parametrize("command", [*BLOCKS, *INLINE], ids=lambda command: command.split("\n")[0][:40])
def test_a_shell_can_read_every_command(command: str) -> None:
    """At night nobody sees that a quote is missing."""
    ran = subprocess.run(["sh", "-n"], input=f"{command}\n", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert {line.split()[0] for line in command.splitlines()} <= PROGRAMS


def test_every_command_of_the_exporter_is_one() -> None:
    """`check`, `watch`."""
    named = {name for text in (*BLOCKS, *INLINE) for name in re.findall(r"rc-import-exporter ([a-z]+)", text)}
    assert named == {"check", "watch"}
    assert named <= {command.name for command in COMMANDS}


@pytest.mark.program("node")
def test_mongosh_can_read_every_script() -> None:
    """As JavaScript. Shell quotes around a script leave it as it is."""
    scripts = re.findall(r"--eval '(.*?)'", "\n".join(BLOCKS)) + re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)
    assert len(scripts) > 10
    check = "for (const script of JSON.parse(require('fs').readFileSync(0))) new Function(script)"
    ran = subprocess.run(["node", "-e", check], input=json.dumps(scripts), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.program("node")
def test_the_messages_of_one_csv_import_are_told_from_all_others() -> None:
    """A wrong search would delete messages of people."""
    search = re.findall(r"```js\n(.*?)```", SECTIONS["Messages of a CSV import"], re.DOTALL)[0]
    found = re.search(r"(var started.*?);\nprint", search, re.DOTALL)
    assert found is not None
    script = f"""
        const run = {{ts: "2027-01-15T08:00:00Z"}};
        {found[1]};
        const id = (at) => Math.floor(new Date(at) / 1000).toString(16) + "0123456789abcdef";
        const old = new Date("2020-01-01"), now = new Date("2027-01-15T08:05:00Z");
        const messages = [
          {{_id: id(now), ts: old, imported: true}},
          {{_id: id("2027-01-14T08:00:00Z"), ts: old}},
          {{_id: id(now), ts: now}},
          {{_id: "zzzzzzzzzzzzzzzzz", ts: old}},
          {{_id: "slack-C024BE91L-1579075200-000100", ts: old}},
        ];
        const {{_id, ts}} = imported;
        const is = (one) => _id.$regex.test(one._id) && one._id >= _id.$gte && one.ts < ts.$lt;
        process.exit(messages.every((one) => is(one) === Boolean(one.imported)) ? 0 : 1);
    """
    assert subprocess.run(["node", "-e", script], check=False).returncode == 0


def answer(name: str, to: str) -> str:
    """What a section says after `**to**`, up to its next answer."""
    after = SECTIONS[name].partition(f"**{to}**")[2]
    return re.split(rf"^\*\*(?:{'|'.join(map(re.escape, ANSWERS))})", after, maxsplit=1, flags=re.MULTILINE)[0]


def forms(heading: str) -> list[tuple[str, str, str]]:
    """The commands of a section that come in three forms. Each form follows the one before it."""
    labelled = re.findall(r"^(\w+:)\n\n```sh\n(.*?)```", SECTIONS[heading], re.DOTALL | re.MULTILINE)
    labels, blocks = [label for label, _ in labelled], [block for _, block in labelled]
    assert labels == [*FORMS] * (len(labels) // len(FORMS))
    if heading not in {"Contents", "Start again"}:
        assert labels
    return list(zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_only_what_is_critical_cannot_wait(alert: Alert) -> None:
    """The runbook and the severity must agree."""
    answer = re.search(r"until morning\?\*\* (\w+)", SECTIONS[alert.name])
    assert answer is not None
    assert (answer[1] == "No") == (alert.severity == "critical")


@pytest.mark.parametrize(
    ("alert", "limits"),
    [
        ("Failed", {TOLD_FOR}),
        ("CutOff", {TOLD_FOR}),
        ("Unconfirmed", {TOLD_FOR}),
        ("CompletedWithErrors", {TOLD_FOR, FAILED_RATIO}),
        ("NothingImported", {TOLD_FOR}),
        ("HighErrorRatio", {FAILED_RATIO}),
        ("Stalled", {STALLED_AFTER, LOADING_STALLED_AFTER}),
        ("LostSight", {LOST_SIGHT}),
        ("RunningTooLong", {LONGEST_RUN}),
        ("WaitingForStart", {LONGEST_WAIT}),
    ],
)
def test_limits_are_told_as_defaults(alert: str, limits: set[float]) -> None:
    """The rules or the chart's values may have other limits, and the exporter does not know them."""
    meaning = " ".join(answer(f"RocketChatImport{alert}", "Meaning.").split())
    told = re.findall(r"\b(half an hour|\w+ hours|\d+ %)( by default)?", meaning.partition("a healthy import")[0])
    assert set(told) == {(SPELLED[limit], " by default") for limit in limits}


@pytest.mark.program("amtool")
def test_alertmanager_s_tool_understands_how_to_silence() -> None:
    """It gets as far as the connection."""
    plain, _, _ = forms("Silence an alert")[0]
    nowhere = shlex.split(plain.replace("localhost:9093", "127.0.0.1:1"))
    ran = subprocess.run(nowhere, capture_output=True, text=True, check=False)
    assert "connection refused" in ran.stderr


def test_every_metric_in_the_runbook_is_published_or_recorded() -> None:
    """A query that finds nothing misleads the reader."""
    known = {metric.full_name for metric in METRICS} | set(records())
    assert set(re.findall(r"\brocketchat_import[_:]\w+", TEXT)) - {"rocketchat_import_data"} <= known


def test_every_option_in_the_runbook_is_one() -> None:
    options = {".".join(option.path) for option in OPTIONS}
    named = set(re.findall(r"`((?:expect|tls)\.\w+)`", TEXT)) | {"poll_interval", "max_response_bytes"}
    assert named <= options


def test_every_reason_that_is_a_workspace_out_of_reach_is_explained() -> None:
    """The other reasons have alerts of their own."""
    section = SECTIONS["RocketChatImportWorkspaceUnreachable"]
    rows = {reason for row in re.findall(r"^\| ([a-z_, ]+) \|", section, re.MULTILINE) for reason in row.split(", ")}
    assert rows - {"reason"} == set(Reason) - {Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.RATE_LIMITED}


@pytest.mark.program("promtool")
def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "runbook", "rules": rules}]}))
    ran = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_runbook_lies_beside_the_rules_as_well() -> None:
    """The package has the only copy, so that the exporter can serve it without the internet."""
    beside = ROOT / "deploy" / "prometheus" / "runbook.md"
    assert beside.is_symlink()
    assert beside.resolve() == RUNBOOK.resolve()


def test_every_block_of_code_stands_on_lines_of_its_own() -> None:
    """Otherwise it is rendered as part of the paragraph."""
    assert not re.search(r"[^\n]```\w", TEXT)
    assert len(re.findall(r"^```", TEXT, re.MULTILINE)) % 2 == 0
