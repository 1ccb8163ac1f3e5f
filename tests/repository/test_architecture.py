"""The rules of the design that the source shows: layers, sizes, names, immutable data."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "rc_import_exporter"
FOLDERS: Final = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
MOST_LINES: Final = 400
MOST_MODULES: Final = 14

BREACHES: Final = {
    "core/schedule.py": "import time, msgspec, prometheus_client, pydantic\n",
    "core/advice.py": "import rc_import_exporter.cli\n",
    "core/journal.py": "import rc_import_exporter.core.store\n",
    "core/store.py": "import rc_import_exporter.core.journal\n",
    "simulator/breach.py": "import rc_import_exporter.core.schedule\n",
}
"""Text that breaks every contract when it is added to these modules in a copy of the package."""


def modules() -> list[Path]:
    """Every module but those of the simulator, which has mutable state and a clock."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "simulator" not in path.parts)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter's contracts over the package in this folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    quiet = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=False)


def test_every_import_points_down() -> None:
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_each_contract_notices_a_breach(tmp_path: Path) -> None:
    """A contract with a wrong module name would never fail."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, source in BREACHES.items():
        with (tmp_path / PACKAGE.name / name).open("a") as module:
            module.write(source)
    told = lint_imports(tmp_path).stdout
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["name"] for contract in contracts if f"{contract['name']} BROKEN" not in told] == [], told


def test_no_module_is_too_long() -> None:
    """A module that needs scrolling for minutes has more than one subject."""
    lengths = {path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folder_has_few_modules(folder: Path) -> None:
    """The list of files should show what the folder does."""
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


@pytest.mark.parametrize("folder", [path for path in FOLDERS if path != PACKAGE], ids=lambda path: path.name)
def test_a_folder_says_what_it_may_import(folder: Path) -> None:
    """A reader of the code does not look into pyproject.toml first."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert "import" in docstring.lower()


def test_no_class_name_is_used_twice() -> None:
    """A name with two meanings misleads every search."""
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_is_immutable(module: Path) -> None:
    """A snapshot that someone changes after it was published would be wrong for every other reader."""
    wanted = {"frozen", "slots", "kw_only"} if module.parent.name == "core" else {"frozen", "slots"}
    tree = ast.parse(module.read_text())
    assert [name for name, on in dataclasses(tree) if not wanted <= on and not name.startswith("_")] == []


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_time_is_data(module: Path) -> None:
    """`now` is passed in. Otherwise tests in virtual time would see the real time."""
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    asked = [call.lineno for call in calls if isinstance(call.func, ast.Attribute) and asks_the_time(call.func)]
    assert asked == []


def asks_the_time(function: ast.Attribute) -> bool:
    """Whether this function of datetime reads the clock."""
    on_datetime = isinstance(function.value, ast.Name) and function.value.id in {"datetime", "date"}
    return on_datetime and function.attr in {"now", "utcnow", "today"}


def dataclasses(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Each dataclass of a module, and its options that are true."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            options = [each for each in node.decorator_list if ast.unparse(each).startswith("dataclass")]
            yield from ((node.name, switched_on(each)) for each in options)


def switched_on(decorator: ast.expr) -> set[str]:
    """The keywords of a decorator that are true."""
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return {word.arg for word in keywords if word.arg and ast.unparse(word.value) == "True"}
