"""The runbook has a section for each alert, with the same questions, and names only published metrics."""

import json
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

import rc_import_exporter
from deploy.prometheus.generate import ROOT, Alert, alerts, records
from rc_import_exporter.config.options import OPTIONS
from rc_import_exporter.core.domain import Reason
from rc_import_exporter.metrics.catalogue import METRICS

RUNBOOK: Final = Path(rc_import_exporter.__file__).parent / "web" / "runbook.md"
TEXT: Final = RUNBOOK.read_text(encoding="utf-8")
SECTIONS: Final = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
GENERAL: Final = {"First look", "Before a new import", "After a crash"}
ANSWERS: Final = (
    "Can it wait until morning?",
    "Meaning.",
    "Look at.",
    "Likely causes.",
    "Do.",
    "Do not.",
    "Ignore it",
)
QUERIES: Final = [
    query for block in re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL) for query in block.strip().splitlines()
]


def test_every_alert_has_a_heading_and_every_heading_an_alert() -> None:
    """In the order of the rules, after what is general."""
    assert [name for name in SECTIONS if name not in GENERAL] == [alert.name for alert in alerts()]


def test_the_links_of_the_alerts_are_the_anchors_of_their_headings() -> None:
    """A heading's anchor is itself in lower case, with hyphens for spaces."""
    anchors = {heading.lower().replace(" ", "-") for heading in SECTIONS}
    assert {alert.anchor.removeprefix("#") for alert in alerts()} <= anchors


@pytest.mark.parametrize("name", [alert.name for alert in alerts()])
def test_each_section_answers_the_same_questions_in_the_same_order(name: str) -> None:
    """Someone who was woken up finds each answer in the same place."""
    assert re.findall(r"^\*\*(.+?)\*\*", SECTIONS[name], re.MULTILINE) == list(ANSWERS)
    assert "```promql\n" in SECTIONS[name]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_only_what_is_critical_cannot_wait(alert: Alert) -> None:
    """The runbook and the severity must agree."""
    answer = re.search(r"until morning\?\*\* (\w+)", SECTIONS[alert.name])
    assert answer is not None
    assert (answer[1] == "No") == (alert.severity == "critical")


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
