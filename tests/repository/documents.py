"""Writes the parts of documents that repeat code: options, metrics, JSON fields, alerts, faults and modules.

Run as `python -m tests.repository.documents` from the top of the checkout. A document holds each part between two
comments, `<!-- metrics -->` and `<!-- /metrics -->`. Tests compare what is committed with what `files` returns.
"""

import ast
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from deploy.prometheus import generate as rules
from rc_import_exporter.config.notation import DOTTED, VARIABLE, flag
from rc_import_exporter.config.options import ANY, OPTIONS, Group, Option
from rc_import_exporter.metrics import table
from rc_import_exporter.web import api
from tests.hostile import table as faults

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "rc_import_exporter"
_WIDTH: Final = 120
_PROSE: Final = 128


def options() -> str:
    """The options, a table for each group."""
    return "\n".join(f"### {group}\n\n{_options(group)}" for group in Group)


def critical_alerts() -> str:
    """The names of the alerts that should wake someone."""
    rows = [row.split("|")[1].strip() for row in rules.table().splitlines() if "| critical |" in row]
    return textwrap.fill(", ".join(rows), _PROSE) + ".\n"


def fields() -> str:
    """The fields of a workspace in the JSON API."""
    rows = [(f"`{path}`", form, meaning) for path, form, meaning in api.field_rows()]
    return table.markdown_table(("field", "type", "meaning"), rows)


def modules() -> str:
    """Every module with the first sentence of its docstring, in the order of the layers."""
    named = list(_tree())
    column = max(len(name) for name, _ in named) + 2
    lines = [
        textwrap.fill(
            text,
            _WIDTH,
            initial_indent=name.ljust(column),
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )
        for name, text in named
    ]
    return "\n".join(["```", *lines, "```", ""])


PARTS: Final[Mapping[Path, Mapping[str, Callable[[], str]]]] = {
    ROOT / "README.md": {"reasons": faults.reasons, "critical-alerts": critical_alerts},
    ROOT / "deploy" / "prometheus" / "README.md": {"alerts": rules.table},
    ROOT / "CONTRIBUTING.md": {"modules": modules},
    PACKAGE / "config" / "README.md": {"options": options},
    PACKAGE / "metrics" / "README.md": {"metrics": table.markdown},
    PACKAGE / "rocketchat" / "README.md": {"faults": faults.summary},
    PACKAGE / "web" / "README.md": {"json": fields},
}


def files() -> dict[Path, str]:
    """Every document with its content."""
    return {path: renewed(path.read_text(encoding="utf-8"), parts) for path, parts in PARTS.items()}


def renewed(document: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """The document with these parts written again; raises `ValueError` where one has no place."""
    for name, part in parts.items():
        before, begin, rest = document.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise ValueError(f"no <!-- {name} --> and <!-- /{name} --> around a place for it")
        document = f"{before}{begin}{part()}{end}{after}"
    return document


def _options(group: Group) -> str:
    rows = [
        (_written(option), option.help, option.value.allowed, f"`{option.default}`" if option.default else "")
        for option in OPTIONS
        if option.group is group
    ]
    return table.markdown_table(("YAML, flag, variable", "meaning", "allowed", "default"), rows)


def _written(option: Option[object]) -> str:
    """The option's ways to be written, one below the other."""
    path = tuple("NAME" if key == ANY else key for key in option.path)
    ways = [DOTTED.write(path), *([flag(path)] if option.is_flag else []), VARIABLE.write(path)]
    return "<br>".join(f"`{way}`" for way in ways)


def _tree() -> Iterator[tuple[str, str]]:
    """The name of each folder and module, indented, and what its docstring says first."""
    yield f"{PACKAGE.name}/", _first_sentence(PACKAGE / "__init__.py")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    for name in re.findall(r"\w+", " ".join(layers)):
        if not (PACKAGE / name).is_dir():
            yield f"  {name}", _first_sentence(PACKAGE / f"{name}.py")
            continue
        yield f"  {name}/", _first_sentence(PACKAGE / name / "__init__.py")
        for path in sorted((PACKAGE / name).glob("*.py")):
            if path.stem != "__init__":
                yield f"    {path.stem}", _first_sentence(path)


def _first_sentence(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"(?<=[.?!])\s", docstring, maxsplit=1)[0]
    return " ".join(sentence.split()).removesuffix(".")


def main() -> None:
    """Write every document."""
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
