"""The checkout as a whole: locks, documents, the wheel, and text that no file may contain."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rc_import_exporter import __version__

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS: Final = (
    "requirements.txt",
    "requirements-test.txt",
    "deploy/container/requirements.txt",
    "tests/tools/release.txt",
)

TOP_LEVEL: Final = frozenset(
    {
        ".ci",
        ".dockerignore",
        ".editorconfig",
        ".github",
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "SECURITY.md",
        "deploy",
        "grafana",
        "pyproject.toml",
        "rc_import_exporter",
        "requirements-test.txt",
        "requirements.txt",
        "tests",
    }
)

# Each pattern has a class of one character, so that it does not match itself here.
FORBIDDEN: Final = {
    "a package index's address": r"pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.(org|com)|yarnpk[g]\.com",
    "a folder of one machine": r"(?<![\w.-])/(home|root/\.pyenv|wor[k])/|\.\./share[d]\b",
    "a word for unfinished": r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|pragm[a]: no cover",
}


def files() -> list[Path]:
    """Every file that is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(ROOT / name for name in set(listed.split("\0")) - {""} if (ROOT / name).is_file())


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that holds text, and its text."""
    for path in files():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def locked(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with its hashes."""
    joined = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [line.split("#")[0].split() for line in joined.splitlines()]
    return [
        (
            Requirement(" ".join(word for word in words if not word.startswith("--"))),
            [word for word in words if word.startswith("--hash=sha256:")],
        )
        for words in lines
        if words
    ]


def pins(lock: str) -> dict[str, str]:
    """Name and version of what a lock installs on this Python."""
    return {
        canonicalize_name(requirement.name): str(requirement.specifier)
        for requirement, _ in locked(lock)
        if requirement.marker is None or requirement.marker.evaluate()
    }


def needed(requirements: list[str]) -> set[str]:
    """The names of these requirements and of all that they require on this Python, as installed."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting += [Requirement(text) for text in metadata.requires(name) or []]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_line_by_version_and_hash(lock: str) -> None:
    """Without a hash, an index could serve another file for the same version."""
    assert locked(lock) != []
    loose = [str(requirement) for requirement, hashes in locked(lock) if not hashes or "==" not in str(requirement)]
    assert loose == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    """A lock with the address of an index or a path works on one machine only."""
    words = re.sub(r"#.*", "", (ROOT / lock).read_text()).split()
    assert [word for word in words if "/" in word or (word.startswith("-") and "--hash=" not in word)] == []


def test_the_runtime_lock_holds_what_the_exporter_needs_and_nothing_else() -> None:
    """The container image is installed from it, and each further package is attack surface."""
    assert set(pins("requirements.txt")) == needed(PROJECT["dependencies"])


def test_tests_run_on_the_versions_that_the_image_gets() -> None:
    """Otherwise the tests say nothing about the image."""
    assert pins("requirements.txt").items() <= pins("requirements-test.txt").items()


def test_the_locks_satisfy_the_bounds() -> None:
    versions = {name: pin.removeprefix("==") for name, pin in pins("requirements-test.txt").items()}
    bounds = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
    behind = [str(bound) for bound in bounds if versions.get(canonicalize_name(bound.name), "0") not in bound.specifier]
    assert behind == []


@pytest.mark.program("git")
def test_the_top_level_stays_short() -> None:
    """A newcomer sees it first, and each further file hides the others."""
    assert {path.relative_to(ROOT).parts[0] for path in files()} - TOP_LEVEL == set()


@pytest.mark.program("git")
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    """Each of these works on one machine only, or marks what is not finished."""
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_the_changelog_tells_of_this_version() -> None:
    headings = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[:1] == [__version__]


def test_contributing_says_what_each_dependency_is_for() -> None:
    """A dependency without a purpose should go."""
    declared = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
    reasons = purposes()
    assert {canonicalize_name(name) for name in reasons} == {canonicalize_name(bound.name) for bound in declared}
    assert [name for name, reason in reasons.items() if not reason] == []


def purposes() -> dict[str, str]:
    """The purpose of each dependency in CONTRIBUTING's table; a cell may name several, separated by commas."""
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    rows: dict[str, str] = {}
    start = lines.index("| Dependency | purpose |")
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        names, reason = line.strip("|").split("|")[:2]
        rows |= {name.strip(" `"): reason.strip() for name in names.split(",")}
    return rows


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    documents = "\n".join(path.read_text() for path in ROOT.glob("*.md"))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", documents, flags=re.MULTILINE))
    assert named - targets == set()


def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    """A page or a schema that the wheel lacks fails only after the installation."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"rc_import_exporter-{__version__}.dist-info"
        commands = archive.read(f"{about}/entry_points.txt").decode()
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rc_import_exporter").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if not name.startswith(about)} >= package
    assert {name.split("/")[0] for name in names} == {"rc_import_exporter", about}
    assert f"{about}/licenses/LICENSE" in names
    assert "rc-import-exporter = rc_import_exporter.__main__:main" in commands


@pytest.mark.parametrize(
    ("in_ci", "source"),
    [
        ("true", "import pytest\n@pytest.mark.program('no-such-program')\ndef test_it(): pass\n"),
        ("true", "import pytest\npytest.importorskip('no_such_module')\n"),
        ("", "import pytest\n@pytest.mark.program('no-such-program')\ndef test_it(): pass\n"),
    ],
    ids=["a test in CI", "a module in CI", "a test elsewhere"],
)
def test_a_skip_fails_in_ci_alone(tmp_path: Path, in_ci: str, source: str) -> None:
    """In CI every program is installed, so a skipped test would never run."""
    (tmp_path / "test_it.py").write_text(source)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-o", "markers=program(*names): needed"]
    ran = subprocess.run(command, cwd=tmp_path, env={"CI": in_ci}, capture_output=True, text=True, check=False)
    assert "no-such-program" in ran.stdout or "no_such_module" in ran.stdout
    assert (ran.returncode != 0) == (in_ci == "true"), ran.stdout
