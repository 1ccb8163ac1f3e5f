"""The commands of helm and kubectl that documents and manifests tell people to type are right."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from deploy import generate
from rc_import_exporter import __version__
from tests.deploy.test_kubernetes import FOLDERS
from tests.support import deployment
from tests.support.deployment import KUBERNETES, ROOT, Object, at

pytestmark = pytest.mark.program()
"""`deployment` lists the programs. These tests do not need to run with every Python."""


DOCUMENTS: Final = (ROOT / "README.md", KUBERNETES / "README.md", generate.CHART / "README.md")


def _typed(program: str) -> list[list[str]]:
    """The words of each command in code blocks and in comments of the manifests."""
    written = [re.sub(r" \\\n#?\s*", " ", path.read_text()) for path in KUBERNETES.rglob("*.yaml")]
    lines = [line for one in written for line in re.findall(rf"^#\s*({program} .*)$", one, flags=re.MULTILINE)]
    for document in (path for path in DOCUMENTS if path.exists()):
        blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        lines += [line for block in blocks for line in re.sub(r" \\\n\s*", " ", block).splitlines()]
    return [shlex.split(line) for line in dict.fromkeys(lines) if line.startswith(f"{program} ")]


def _chart_of(words: list[str], folder: Path) -> list[Object]:
    """Renders what a line `helm install RELEASE CHART …` installs, with the values of the chart's README."""
    shown = re.findall(r"```yaml\n(.*?)```", (generate.CHART / "README.md").read_text(), flags=re.DOTALL)[0]
    (folder / "values.yaml").write_text(shown)
    flags = [word for word in words[4:] if word not in {"--reset-then-reuse-values", "--install"}]
    given = [str(folder / word) if word == "values.yaml" else word for word in flags]
    if not {"--values", "demo=true"} & set(given) and "workspaces." not in " ".join(given):
        given += ["--values", str(folder / "values.yaml")]
    return deployment.objects(deployment.run(deployment.helm(), "template", words[2], str(ROOT / words[3]), *given))


def test_every_helm_line_that_people_are_told_to_type_renders(tmp_path: Path) -> None:
    lines = _typed("helm")
    assert {words[1] for words in lines} == {"install", "upgrade", "uninstall"}
    for words in _installing(lines):
        assert deployment.contradictions(_chart_of(words, tmp_path), _secrets_typed()) == []
    known = deployment.run(deployment.helm(), "upgrade", "--help")
    assert all(word.partition("=")[0] in known for words in lines for word in words if word.startswith("--"))
    assert {words[2] for words in lines} == {words[2] for words in _installing(lines)}


def _installing(lines: list[list[str]]) -> list[list[str]]:
    return [words for words in lines if words[1] in {"install", "upgrade"}]


def test_every_image_that_is_named_is_of_this_release() -> None:
    named = [path.read_text() for path in (*DOCUMENTS, *KUBERNETES.rglob("*.yaml")) if path.exists()]
    tags = [tag for one in named for tag in re.findall(rf"{generate.NAME}:([0-9][\w.-]*)", one)]
    assert len(tags) > 2
    assert set(tags) == {__version__}


def _secrets_typed() -> frozenset[str]:
    return frozenset(
        f"Secret/{words[4]}" for words in _typed("kubectl") if words[1:4] == ["create", "secret", "generic"]
    )


def test_every_kubectl_line_that_people_are_told_to_type_is_one(tmp_path: Path) -> None:
    deployed = [_chart_of(words, tmp_path) for words in _installing(_typed("helm"))]
    deployed += [deployment.kustomize(folder) for folder in FOLDERS.values()]
    there = {f"{str(one['kind']).lower()}/{at(one, 'metadata', 'name')}" for found in deployed for one in found}
    lines = _typed("kubectl")
    assert len(lines) > 6
    for words in lines:
        ours = words[: words.index("--")] if "--" in words else words
        flags = {word.partition("=")[0] for word in ours if word.startswith("--")} - {"--namespace"}
        subcommand = words[1:4] if words[1] == "create" else words[1:2]
        known = deployment.run(deployment.kubectl(), *subcommand, "--help")
        assert {flag for flag in flags if f"{flag}=" not in known} == set(), words
        assert {word for word in ours if re.match(r"(deployment|service)/", word)} <= there, words
        if "--kustomize" in ours and (folder := ours[ours.index("--kustomize") + 1]) != "FOLDER":
            deployment.kustomize(ROOT / folder)
