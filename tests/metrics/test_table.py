"""The catalogue as people read it: the command `metrics`, and the table in the metrics' README."""

import pytest

from rc_import_exporter import cli
from rc_import_exporter.metrics import table
from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import PREFIX


def test_every_metric_has_one_row_in_the_order_of_the_catalogue() -> None:
    rows = [line.split(" | ") for line in table.markdown().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{metric.name}`" for metric in METRICS]
    assert [row[1] for row in rows] == [metric.kind for metric in METRICS]
    assert all(
        f"`{label.name}`" in row[2] for row, metric in zip(rows, METRICS, strict=True) for label in metric.labels
    )


def test_a_bar_in_a_cell_does_not_end_the_cell() -> None:
    assert table.markdown_table(("a",), [("b|c",)]) == "| a |\n|---|\n| b&#124;c |\n"


def test_the_command_prints_the_table_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metrics", "--format", "markdown"]) == 0
    assert capsys.readouterr().out == table.markdown()


def test_the_command_prints_a_line_for_each_metric(capsys: pytest.CaptureFixture[str]) -> None:
    """People pipe it to grep: a line must hold the whole name and the whole sentence."""
    assert cli.main(["metrics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, kind, labels, meaning in table.rows():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert all(text in line for text in (kind, labels, meaning))
    assert all(name.startswith(PREFIX) for name, *_ in table.rows())


def test_an_unknown_format_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metrics", "--format=yaml"]) == 2
    assert "must be text or markdown" in capsys.readouterr().err
