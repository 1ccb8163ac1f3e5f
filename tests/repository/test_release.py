"""The release: its workflow and `make release-check` do the same, and its small programs notice what is wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / "tests" / "tools"
WORKFLOWS: Final = ROOT / ".github" / "workflows"
RELEASE: Final = (WORKFLOWS / "release.yml").read_text()


def prerequisites() -> list[str]:
    """The targets of `make release-check`, in order."""
    found = re.search(r"^release-check: (.*?) ##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert found is not None
    return found[1].split()


def test_the_workflow_checks_what_make_release_check_does() -> None:
    """If the command passes before a tag, the workflow should pass too."""
    assert re.findall(r"^ +- run: make (\S+)$", RELEASE, flags=re.MULTILINE) == prerequisites()
    documented = re.findall(r"^\| `make (\S+)` \|", (WORKFLOWS / "README.md").read_text(), flags=re.MULTILINE)
    assert documented == prerequisites()


def test_the_readme_marks_each_step_that_did_not_run_here() -> None:
    """People must know which steps were never run."""
    told = re.findall(
        r"^\| (\S[^|]+) \|[^|]+\| (yes|not run)", (WORKFLOWS / "README.md").read_text(), flags=re.MULTILINE
    )
    ran = {step.strip("`").lower(): ran for step, ran in told}
    others = {"attest-": "attestations", "pypi-publish": "publish to pypi"}
    done = set()
    for step in re.findall(r"^ +- (?:name|run|uses): (.*)", RELEASE.lower(), flags=re.MULTILINE):
        named = next((row for part, row in others.items() if part in step), step)
        if not re.match(r"actions/(checkout|setup|upload|download)|docker/(setup|login)", named):
            (row,) = [row for row in ran if named.startswith(row)]
            assert ran[row] == ("yes" if row.startswith("make ") else "not run"), row
            done.add(row)
    assert done == set(ran)


def test_every_action_is_pinned_by_a_commit() -> None:
    """A tag of an action can be moved to other code, which would get the rights to publish."""
    used = re.findall(r"uses: (.*)", RELEASE)
    assert len(used) > 5
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


def test_only_a_tag_publishes_and_nothing_has_rights_that_it_does_not_need() -> None:
    jobs = yaml.safe_load(RELEASE)["jobs"]
    assert yaml.safe_load(RELEASE)["permissions"] == {}
    assert jobs["check"]["permissions"] == {"contents": "read"}
    assert jobs["publish"]["if"] == "github.ref_type == 'tag'"
    assert jobs["publish"]["needs"] == "check"


def test_the_workflow_follows_github_s_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    ended = subprocess.run([*command, WORKFLOWS / "release.yml"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_what_is_published_comes_from_the_checked_job() -> None:
    """The wheel and the chart that were checked, not other ones."""
    _, publish = RELEASE.split("\n  publish:\n")
    assert "make " not in publish
    assert all(name in publish for name in ("dist/python", ".tgz", "rc-import-exporter.cdx.json", "download-artifact"))


def test_the_smoke_test_reads_the_demo_s_pages() -> None:
    command = [sys.executable, str(TOOLS / "smoke.py"), sys.executable, "-m", "rc_import_exporter"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "answers on /, /runbook, /metrics and ends well" in ended.stdout


@pytest.mark.parametrize(
    ("named", "missing"),
    [
        ({"a.b": "1", "c": "2", "d": "9"}, ""),
        ({"a-b": "1"}, "c 2"),
        ({"a-b": "1", "c": "3"}, "c 2"),
        ({}, "a_b 1, c 2"),
    ],
    ids=["complete", "one missing", "another version", "empty"],
)
def test_a_package_that_the_sbom_lacks_is_noticed(tmp_path: Path, named: dict[str, str], missing: str) -> None:
    parts = [{"name": name, "version": version} for name, version in named.items()]
    (tmp_path / "sbom.json").write_text(json.dumps({"components": parts}))
    (tmp_path / "lock.txt").write_text("a_b==1 \\\n    --hash=sha256:0\nc==2 \\\n    --hash=sha256:1\n")
    command = [sys.executable, str(TOOLS / "parts.py"), "sbom.json", "lock.txt"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode == 0) == (missing == "")
    assert ended.stderr.strip() == (f"sbom.json lacks {missing}" if missing else "")
