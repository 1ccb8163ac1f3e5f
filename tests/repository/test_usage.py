"""Every metric is used, and every metric that is used exists."""

import re
from pathlib import Path

import pytest

from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import PREFIX, HistogramMetric, Metric

ROOT = Path(__file__).parents[2]
SHOWN_IN = [
    *sorted((ROOT / "grafana" / "dashboards").glob("*.json")),
    *(ROOT / "deploy" / "prometheus").glob("*.rules.yml"),
]
TOLD_IN = [
    *SHOWN_IN,
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "rc_import_exporter").rglob("*.md")),
]
COLLECTION = "data"
"""`rocketchat_import_data` is a collection of the server's database."""
SUFFIXES = ("_bucket", "_sum", "_count")


def names_in(path: Path) -> set[str]:
    """Every name with the exporter's prefix in a file, without the prefix."""
    return set(re.findall(rf"\b{PREFIX}([a-z_]*[a-z])\b", path.read_text(encoding="utf-8")))


def sample_names(metric: Metric) -> set[str]:
    """The names of a metric's samples."""
    return {metric.name + suffix for suffix in SUFFIXES} if isinstance(metric, HistogramMetric) else {metric.name}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_shown_or_says_why_not(metric: Metric) -> None:
    """A metric without a panel or rule needs a reason. One with a panel or rule must not have one."""
    shown = any(not sample_names(metric).isdisjoint(names_in(path)) for path in SHOWN_IN)
    assert shown is not bool(metric.beside)


@pytest.mark.parametrize("path", TOLD_IN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_that_is_told_is_published(path: Path) -> None:
    """A panel or a rule with a wrong name shows nothing and never fires."""
    published = {name for metric in METRICS for name in sample_names(metric)}
    assert names_in(path) - published - {COLLECTION} == set()
