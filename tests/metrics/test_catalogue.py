"""The catalogue is sound in itself: names, kinds, labels and reasons."""

import re
from typing import Final

import pytest

from rc_import_exporter.metrics.catalogue import METRICS, PREFIX, WORKSPACE, Metric, MetricKind, WorkspaceMetric

ATTACHED: Final = {"job", "instance", "endpoint", "namespace", "pod", "container", "service", "node"}
"""Labels that scrape configurations attach."""
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_names_are_unique() -> None:
    """One entry a family."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@each_metric
def test_a_name_is_one_that_prometheus_likes(metric: Metric) -> None:
    """Snake case below the prefix; counters and nothing else end with `_total`; help is a sentence on one line."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
    assert metric.full_name == PREFIX + metric.name
    assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER)
    assert re.fullmatch(r"[A-Z1].*\.", metric.help)


@each_metric
def test_no_label_is_one_that_scrape_configurations_attach(metric: Metric) -> None:
    """`exported_` would break every rule."""
    names = [label.name for label in metric.labels]
    assert not ATTACHED & set(names)
    assert len(set(names)) == len(names)
    if isinstance(metric, WorkspaceMetric):
        assert WORKSPACE not in names


@each_metric
def test_what_never_comes_is_a_value_that_could(metric: Metric) -> None:
    """Of a closed label of that very metric, with a reason."""
    values = {value for label in metric.labels for value in label.values or ()}
    assert set(metric.never or {}) <= values
    assert all((metric.never or {}).values())


def test_only_ages_move_between_polls() -> None:
    """Everything else is as of the last one."""
    assert [metric.name for metric in METRICS if isinstance(metric, WorkspaceMetric) and metric.live] == [
        "operation_age_seconds"
    ]
