"""The rows of the catalogue agree with Prometheus' conventions and with each other."""

import re
from typing import Final

import pytest

from rc_import_exporter.metrics.catalogue import METRICS
from rc_import_exporter.metrics.metric import PREFIX, WORKSPACE, Metric, MetricKind, WorkspaceMetric

ATTACHED: Final = {"job", "instance", "endpoint", "namespace", "pod", "container", "service", "node"}
"""Labels that scrape configurations add."""
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_names_are_unique() -> None:
    """Prometheus rejects a page with two families of one name."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@each_metric
def test_a_name_is_one_that_prometheus_likes(metric: Metric) -> None:
    """Only counters end with `_total`, and help is whole sentences on one line, so that tables can show it."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
    assert metric.full_name == PREFIX + metric.name
    assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER)
    assert re.fullmatch(r"[A-Z1].*\.", metric.help)


@each_metric
def test_no_label_is_one_that_scrape_configurations_attach(metric: Metric) -> None:
    """Prometheus would rename our label to `exported_…`, and the rules would not find it."""
    names = [label.name for label in metric.labels]
    assert not ATTACHED & set(names)
    assert len(set(names)) == len(names)
    if isinstance(metric, WorkspaceMetric):
        assert WORKSPACE not in names


@each_metric
def test_what_never_comes_is_a_value_that_could(metric: Metric) -> None:
    """An exception for a value that does not exist would hide a mistake."""
    values = {value for label in metric.labels for value in label.values or ()}
    assert set(metric.never or {}) <= values
    assert all((metric.never or {}).values())


def test_only_ages_move_between_polls() -> None:
    """A rule that compares two metrics relies on one moment for both."""
    assert [metric.name for metric in METRICS if isinstance(metric, WorkspaceMetric) and metric.live] == [
        "operation_age_seconds"
    ]
