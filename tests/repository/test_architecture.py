"""The design's layers and habits, as far as the source itself shows them."""

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

BREACHES: Final = {
    "core/schedule.py": "import time, prometheus_client, pydantic\n",
    "core/advice.py": "import rc_import_exporter.cli\n",
    "core/journal.py": "import rc_import_exporter.core.store\n",
    "core/store.py": "import rc_import_exporter.core.journal\n",
    "simulator/breach.py": "import rc_import_exporter.core.schedule\n",
}
"""What breaks every contract at once when it is added to a copy of the package."""


def modules() -> list[Path]:
    """Every module of the exporter: the simulator is a server, with a memory and a clock."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "simulator" not in path.parts)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter's contracts over the package in this folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    quiet = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=False)


def test_every_import_points_down() -> None:
    """The contracts of pyproject.toml hold."""
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_each_contract_notices_a_breach(tmp_path: Path) -> None:
    """A contract that nothing can break would guard nothing."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, source in BREACHES.items():
        with (tmp_path / PACKAGE.name / name).open("a") as module:
            module.write(source)
    told = lint_imports(tmp_path).stdout
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["name"] for contract in contracts if f"{contract['name']} BROKEN" not in told] == [], told


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_is_immutable(module: Path) -> None:
    """Public dataclasses are frozen and have slots; those of the core are also keyword-only."""
    wanted = {"frozen", "slots", "kw_only"} if module.parent.name == "core" else {"frozen", "slots"}
    tree = ast.parse(module.read_text())
    assert [name for name, on in dataclasses(tree) if not wanted <= on and not name.startswith("_")] == []


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_time_is_data(module: Path) -> None:
    """No module asks datetime what time it is: `now` is passed in."""
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    asked = [call.lineno for call in calls if isinstance(call.func, ast.Attribute) and asks_the_time(call.func)]
    assert asked == []


def asks_the_time(function: ast.Attribute) -> bool:
    """Whether this is one of datetime's ways to read the clock."""
    on_datetime = isinstance(function.value, ast.Name) and function.value.id in {"datetime", "date"}
    return on_datetime and function.attr in {"now", "utcnow", "today"}


def dataclasses(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Each dataclass of a module, and the options that it switches on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            options = [each for each in node.decorator_list if ast.unparse(each).startswith("dataclass")]
            yield from ((node.name, switched_on(each)) for each in options)


def switched_on(decorator: ast.expr) -> set[str]:
    """The keywords that a decorator is called with as true."""
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return {word.arg for word in keywords if word.arg and ast.unparse(word.value) == "True"}
