"""The README's tables are what the code says, byte for byte."""

import re
from pathlib import Path

import pytest

from rc_import_exporter import cli
from rc_import_exporter.commands import documentation
from rc_import_exporter.commands.documentation import TABLES, metric_rows, metrics_table, options_table, renewed
from rc_import_exporter.config.notation import DOTTED
from rc_import_exporter.config.options import OPTIONS
from rc_import_exporter.metrics.catalogue import METRICS, PREFIX

README = Path(__file__).parents[2] / "README.md"
PLACES = "before\n<!-- metrics -->\nold\n<!-- /metrics -->\nbetween\n<!-- options -->\n<!-- /options -->\nafter\n"


@pytest.mark.parametrize("name", TABLES)
def test_the_readmes_table_is_the_codes(name: str) -> None:
    """`python -m rc_import_exporter.commands.documentation README.md` writes it anew."""
    text = README.read_text()
    assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- /{name} -->\n") == 1
    assert text.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->\n")[0] == TABLES[name]()


def test_renewing_replaces_what_stands_between_the_comments_and_nothing_else() -> None:
    """And a second time changes nothing; a document without them stays as it is."""
    once = renewed(PLACES)
    assert once == PLACES.replace("old\n", metrics_table()).replace("<!-- /options", f"{options_table()}<!-- /options")
    assert renewed(once) == once
    assert renewed("# Nothing\n<!-- metrics -->\n") == "# Nothing\n<!-- metrics -->\n"


def test_a_document_is_written_anew_in_its_place(tmp_path: Path) -> None:
    """That is the command for maintainers."""
    document = tmp_path / "README.md"
    document.write_text(PLACES)
    documentation.main([str(document)])
    assert document.read_text() == renewed(PLACES)


def test_every_metric_has_one_row() -> None:
    """In the order of the catalogue, with its type and its own labels."""
    rows = [line.split(" | ") for line in metrics_table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{metric.name}`" for metric in METRICS]
    assert [row[1] for row in rows] == [metric.kind for metric in METRICS]
    assert all(
        f"`{label.name}`" in row[2] for row, metric in zip(rows, METRICS, strict=True) for label in metric.labels
    )


def test_every_option_has_one_row() -> None:
    """With its bounds and its default."""
    table = options_table()
    for option in OPTIONS:
        written = DOTTED.write(option.path).replace("*", "NAME")
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{written}` |")]
        assert option.help in row
        assert option.value.allowed in row.replace("&#124;", "|")
        assert f"`{option.default}`" in row or not option.default


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_one_that_markdown_reads(table: str) -> None:
    """As many cells in each row as in the first, and no character that ends one early."""
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in TABLES[table]().splitlines()}
    assert len(widths) == 1


def test_the_command_prints_the_readmes_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`metrics --format markdown`, byte for byte."""
    assert cli.main(["metrics", "--format", "markdown"]) == 0
    assert capsys.readouterr().out == metrics_table()


def test_the_command_prints_a_line_for_each_metric(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe goes to grep: whole names, whole sentences."""
    assert cli.main(["metrics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, kind, labels, meaning in metric_rows():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert all(text in line for text in (kind, labels, meaning))
    assert all(name.startswith(PREFIX) for name, *_ in metric_rows())


def test_a_format_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With what there is."""
    assert cli.main(["metrics", "--format=yaml"]) == 2
    assert "must be text or markdown" in capsys.readouterr().err
