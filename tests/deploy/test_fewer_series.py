"""The example that drops series by relabelling is valid, drops what its comments say, and breaks no rule."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rc_import_exporter.metrics.exposition import Exposition
from rc_import_exporter.metrics.metric import WORKSPACE
from tests.support.pictures import NOW, picture, running

EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus-fewer-series.yml"
RULES: Final = EXAMPLE.with_name("rocketchat-import.rules.yml")


def dropped() -> list[tuple[str, str]]:
    """The series of a workspace whose import runs that the example drops: the name, and the label `step`."""
    (job,) = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["scrape_configs"]
    found = []
    for family in text_string_to_metric_families(
        Exposition(process=False).page(picture([running("acme")]), NOW).decode()
    ):
        for sample in family.samples:
            labels = {"__name__": sample.name, **sample.labels}
            for rule in job["metric_relabel_configs"]:
                assert rule["action"] == "drop"
                joined = ";".join(labels.get(label, "") for label in rule["source_labels"])
                if WORKSPACE in labels and re.fullmatch(rule["regex"], joined):
                    found.append((sample.name, labels.get("step", "")))
    return found


@pytest.mark.program("promtool")
def test_the_example_is_a_configuration_of_prometheus() -> None:
    subprocess.run(["promtool", "check", "config", str(EXAMPLE)], check=True, capture_output=True)


def test_as_many_series_are_dropped_as_the_comments_say() -> None:
    steps = [step for name, step in dropped() if name == "rocketchat_import_step"]
    told = re.findall(r"# (\d+) series", EXAMPLE.read_text(encoding="utf-8"))
    assert [str(len(dropped()) - len(steps)), str(len(steps))] == told


def test_no_rule_needs_what_is_dropped() -> None:
    rules = RULES.read_text(encoding="utf-8")
    gone = dropped()
    for name in {name for name, step in gone if not step}:
        assert name not in rules
    needed = set(re.findall(r'rocketchat_import_step\{step="(\w+)"\}', rules))
    assert len(needed) == len(set(re.findall(r"rocketchat_import_step\b[^ )]*", rules)))
    assert needed.isdisjoint(step for _, step in gone)
