"""The generated parts of the documents match the code, and CONTRIBUTING lists every module."""

import re
from pathlib import Path

import pytest

from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import OPTIONS, Option
from tests.repository import documents
from tests.repository.documents import PACKAGE, PARTS, ROOT, renewed

PLACES = "before\n<!-- one -->\nold\n<!-- /one -->\nbetween\n<!-- two -->\n<!-- /two -->\nafter\n"
NAMED = {name: part for parts in PARTS.values() for name, part in parts.items()}


@pytest.mark.parametrize("path", sorted(PARTS), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_is_as_generated(path: Path) -> None:
    """If this fails, run `make generate`."""
    assert path.read_text(encoding="utf-8") == documents.files()[path]


def test_only_the_text_between_the_comments_is_replaced() -> None:
    once = renewed(PLACES, {"one": lambda: "new\n", "two": lambda: "also new\n"})
    assert once == PLACES.replace("old\n", "new\n").replace("<!-- /two", "also new\n<!-- /two")
    assert renewed(once, {"one": lambda: "new\n"}) == once


def test_a_document_without_the_comments_is_an_error() -> None:
    """Otherwise a deleted comment would silently remove a table from what the tests compare."""
    with pytest.raises(ValueError, match="<!-- one -->"):
        renewed("# Title\n<!-- one -->\n", {"one": lambda: "new\n"})


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: DOTTED.write(option.path))
def test_every_option_has_one_row(option: Option[object]) -> None:
    written = DOTTED.write(option.path).replace("*", "NAME")
    (row,) = [line for line in documents.options().splitlines() if line.startswith(f"| `{written}`<br>")]
    assert option.help in row
    assert option.value.allowed in row.replace("&#124;", "|")
    assert f"`{option.default}`" in row or not option.default


@pytest.mark.parametrize("name", sorted(NAMED.keys() - {"modules"}))
def test_all_rows_of_a_table_have_the_same_cells(name: str) -> None:
    """A `|` inside a cell would end the cell, and Markdown drops what does not fit."""
    for part in NAMED[name]().split("\n\n"):
        rows = [line for line in part.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_the_tree_names_every_module_once_and_says_what_it_is() -> None:
    """A reader chooses the file to open from this list alone."""
    lines = [line for line in documents.modules().splitlines() if re.match(r"(  ){0,2}\w", line)]
    listed = [line.split(maxsplit=1)[0] for line in lines]
    expected = [path.stem for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    expected += [f"{path.parent.name}/" for path in PACKAGE.rglob("__init__.py")]
    assert sorted(listed) == sorted(expected)
    assert [line for line in lines if len(line.split()) < 3] == []
