"""What is published is shown somewhere, and what is shown is published."""

import re
from pathlib import Path

import pytest

from rc_import_exporter.metrics.catalogue import METRICS, PREFIX, HistogramMetric, Metric

ROOT = Path(__file__).parents[2]
SHOWN_IN = [
    *sorted((ROOT / "grafana" / "dashboards").glob("*.json")),
    *(ROOT / "deploy" / "prometheus").glob("*.rules.yml"),
]
TOLD_IN = [*SHOWN_IN, ROOT / "README.md", ROOT / "rc_import_exporter" / "web" / "runbook.md"]
COLLECTION = "data"
"""`rocketchat_import_data` is a collection of the server's database."""
SUFFIXES = ("_bucket", "_sum", "_count")


def names_in(path: Path) -> set[str]:
    """Every name with the exporter's prefix that a file holds, without the prefix."""
    return set(re.findall(rf"\b{PREFIX}([a-z_]*[a-z])\b", path.read_text(encoding="utf-8")))


def sample_names(metric: Metric) -> set[str]:
    """The names that a metric's samples go by."""
    return {metric.name + suffix for suffix in SUFFIXES} if isinstance(metric, HistogramMetric) else {metric.name}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_shown_or_says_why_not(metric: Metric) -> None:
    """In a panel or a rule; what is used needs no excuse."""
    shown = any(not sample_names(metric).isdisjoint(names_in(path)) for path in SHOWN_IN)
    assert shown is not bool(metric.beside)


@pytest.mark.parametrize("path", TOLD_IN, ids=lambda path: path.name)
def test_every_name_that_is_told_is_published(path: Path) -> None:
    """No panel, rule or page asks for a metric that there is not."""
    published = {name for metric in METRICS for name in sample_names(metric)}
    assert names_in(path) - published - {COLLECTION} == set()
