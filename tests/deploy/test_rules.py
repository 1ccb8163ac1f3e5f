"""The rules for Prometheus: promtool's checks and tests, the names they use, and the files generated from them."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.prometheus import generate
from deploy.prometheus.generate import PREFIX, RECORD_PREFIX, RULES, Alert
from rc_import_exporter.core import alerts, thresholds
from rc_import_exporter.core.domain import FINISHED, KNOWN_IMPORTERS, OTHER_IMPORTER, Reason
from rc_import_exporter.metrics.catalogue import METRICS, WORKSPACE_METRICS
from rc_import_exporter.metrics.metric import WORKSPACE, Metric
from tests.support.bridge import RARELY

CASES: Final = sorted((Path(__file__).parents[1] / "alerts").glob("*.yml"))
GROUPS: Final = [
    "rocketchat-import-records",
    "rocketchat-import-verdicts",
    "rocketchat-import",
    "rocketchat-import-exporter",
]
NAMES: Final = {
    "Failed",
    "CutOff",
    "Stalled",
    "LostSight",
    "CompletedWithErrors",
    "NothingImported",
    "Unconfirmed",
    "HighErrorRatio",
    "RunningTooLong",
    "WaitingForStart",
    "Canceled",
    "UnknownState",
    "Overdue",
    "WorkspaceUnreachable",
    "CredentialsRefused",
    "PermissionMissing",
    "RateLimited",
    "DataStale",
    "WorkspaceGone",
    "ExporterDown",
    "MetricsMissing",
    "ConfigReloadFailed",
}
CRITICAL: Final = {"Failed", "CutOff", "Stalled", "LostSight", "Overdue"}
ABOUT_THE_EXPORTER: Final = {"ExporterDown", "MetricsMissing", "ConfigReloadFailed"}
WITH_FIRST_STEPS: Final = ABOUT_THE_EXPORTER | {"DataStale", "WorkspaceGone"}
"""The runbook may be gone with the exporter."""
MOST_RULES: Final = 20
"""The most rules in a group by the default limit of Mimir."""

ALERTS: Final = generate.alerts()
BY_METRIC: Final[Mapping[str, Metric]] = {metric.full_name: metric for metric in METRICS}
SELECTOR: Final = re.compile(r"\b(rocketchat_import[_:]\w+)(?:\{([^}]*)\})?")
MATCHER: Final = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


def short(alert: Alert) -> str:
    """An alert's name without its prefix."""
    return alert.name.removeprefix(PREFIX)


def promtool(*arguments: str | Path) -> None:
    """Runs promtool and shows its output if it fails."""
    environ = {**os.environ, "GOGC": RARELY}
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, env=environ)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def selectors() -> Iterator[tuple[str, str]]:
    """Every series in rules and annotations, with its matchers."""
    for _, rule in generate.rules():
        annotations = rule.get("annotations", {})
        assert isinstance(annotations, dict)
        texts = [str(rule["expr"]), *(text.replace("\\", "") for text in annotations.values())]
        for text in texts:
            yield from ((found[1], found[2] or "") for found in SELECTOR.finditer(text))


@pytest.mark.program("promtool")
def test_prometheus_loads_the_rules() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.program("promtool")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_rules_do_what_the_cases_say(case: Path) -> None:
    promtool("test", "rules", case)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_alert_has_a_case_in_which_it_waits_and_one_in_which_it_fires(name: str) -> None:
    """Each case lists everything that fires, so each also shows that the other alerts do not."""
    text = "".join(case.read_text() for case in CASES)
    states = set(re.findall(rf'alertname="{PREFIX}{name}",\s*alertstate="(\w+)"', text))
    assert states == {"firing", "pending"}


def test_the_alerts_are_those_that_people_route_by() -> None:
    """Users' silences and routes contain these names."""
    assert Counter(short(alert) for alert in ALERTS) == Counter(NAMES)


def test_only_what_someone_should_get_up_for_is_critical() -> None:
    """Critical alerts wake people up."""
    assert {short(alert) for alert in ALERTS if alert.severity == "critical"} == CRITICAL
    assert {alert.severity for alert in ALERTS} == {"critical", "warning", "info"}


@pytest.mark.parametrize("alert", ALERTS, ids=short)
def test_each_alert_says_what_where_and_what_next(alert: Alert) -> None:
    """Someone who was woken up needs the workspace and working links."""
    assert re.fullmatch(r"[^.]*(\{\{.*?\}\}[^.]*)*\.", alert.summary)
    about_a_workspace = short(alert) not in ABOUT_THE_EXPORTER
    assert ("$labels.workspace" in alert.summary) == about_a_workspace
    assert ("$labels.workspace" in alert.description) == about_a_workspace
    assert alert.runbook_url.endswith(f"/runbook#{alert.name.lower()}{{{{ end }}}}")
    assert re.fullmatch(r"/d/rocketchat-import(-exporter)?(\?var-workspace=.*)?", alert.dashboard)
    assert ("/workspaces/{{ $labels.workspace }}" in alert.description) == about_a_workspace
    assert ("First " in alert.description) == (short(alert) in WITH_FIRST_STEPS)
    assert len(str(alert.lasts)) > 1


def test_every_series_that_the_rules_read_is_published_or_recorded() -> None:
    """An alert on a renamed metric never fires."""
    recorded = set(generate.records())
    unknown = {name for name, _ in selectors() if name not in BY_METRIC and name not in recorded}
    assert not unknown


def test_every_matcher_names_a_label_and_values_that_there_are() -> None:
    """A misspelt value matches nothing, and nobody notices."""
    for name, matchers in selectors():
        for label, operator, value in MATCHER.findall(matchers):
            if name in BY_METRIC and label != WORKSPACE:
                known = _values(BY_METRIC[name], label)
                for each in value.split("|") if operator in {"=~", "!~"} else [value]:
                    assert known is None or any(re.fullmatch(each, one) for one in known), f'{name}{{{label}="{each}"}}'


def _values(metric: Metric, label: str) -> tuple[str, ...] | None:
    """The possible values of a label, `None` for any; raises `StopIteration` if the metric lacks the label."""
    return next(each.values for each in metric.labels if each.name == label)


def test_rules_join_on_labels_that_there_are() -> None:
    """A misspelt label in `by` or `on` silently merges series."""
    known = {WORKSPACE, "cluster", "namespace", "job", "instance", "why"} | {
        label.name for metric in METRICS for label in metric.labels
    }
    for _, rule in generate.rules():
        for listed in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", str(rule["expr"])):
            assert set(filter(None, re.split(r",\s*", listed))) <= known


def test_nothing_about_a_workspace_is_merged_over_clusters_and_namespaces() -> None:
    """Production and staging have workspaces of the same name. What one does must not end an alert of the other."""
    where = {"cluster", "namespace"}
    for _, rule in generate.rules():
        for listed in re.findall(r"\b(?:by|on) \(([^)]*)\)", str(rule["expr"])):
            labels = set(filter(None, re.split(r",\s*", listed)))
            assert where <= labels or not labels
            assert labels <= where or labels & {WORKSPACE, "job"}


def test_queries_in_texts_name_every_label_of_the_alert() -> None:
    """Each series is then found by its labels. Otherwise each alert reads all workspaces, 80 ms with a thousand.

    It would also show the number of another cluster's workspace.
    """
    for alert in ALERTS:
        labels = re.findall(r"\bby \(([^)]*)\)", alert.expr)[0].split(", ")
        queries = re.findall(r'\{\{ with printf "(.*?[^\\])" (\S.*?) \| query \}\}', alert.description)
        assert len(queries) == alert.description.count("query")
        for query, given in queries:
            wanted = [label for name, _ in SELECTOR.findall(query) for label in labels if label in _labels(name)]
            assert re.findall(r"(\w+)=%q", query) == wanted
            assert given.split() == [f"$labels.{label}" for label in wanted]


def _labels(series: str) -> set[str]:
    """The labels of a metric or record that alerts may have too."""
    if series not in BY_METRIC:
        return set(re.findall(r"\bby \(([^)]*)\)", generate.records()[series])[0].split(", "))
    metric = BY_METRIC[series]
    of_workspace = {WORKSPACE} if metric in WORKSPACE_METRICS else set()
    return {"cluster", "namespace"} | of_workspace | {label.name for label in metric.labels}


@pytest.mark.parametrize(
    "name", ["expected_success_interval_seconds", "expected_run_seconds", "expected_failed_ratio", "expected_records"]
)
def test_the_rules_know_every_importer_by_name(name: str) -> None:
    """Metrics of finished imports call the others "other", and expectations have to match them."""
    expr = generate.records()[f"{RECORD_PREFIX}{name}"]
    assert re.findall(r'importer[=!]~"\|([^"]*)"', expr) == ["|".join(KNOWN_IMPORTERS)] * 2
    assert f'"importer", "{OTHER_IMPORTER}"' in expr


def test_the_rules_know_the_importer_that_runs_by_the_same_name() -> None:
    expr = generate.records()[f"{RECORD_PREFIX}importer"]
    assert re.findall(r'importer[=!]~"([^"]*)"', expr) == ["|".join(KNOWN_IMPORTERS)] * 2


def test_each_finished_outcome_is_told_or_ignored_on_purpose() -> None:
    """A new outcome must not be without an alert by mistake."""
    told = set(re.findall(r'outcome=~?"([a-z_|]+)"', "".join(generate.records().values())))
    assert set(FINISHED) - set("|".join(told).split("|")) == {"discarded"}


def test_the_head_of_the_rules_says_how_long_each_condition_must_hold() -> None:
    """Users read this table before they change a rule."""
    head = RULES.read_text().partition("\ngroups:")[0]
    stated: dict[str, str] = {}
    lasts = ""
    for word in re.findall(r"\w+", head.partition("`for`:\n")[2].partition("\n#\n# Windows")[0]):
        if word[0].isdigit():
            lasts = word
        else:
            stated[word] = lasts
    assert stated == {short(alert): alert.lasts for alert in ALERTS}


def test_the_head_of_the_rules_names_every_window() -> None:
    """PromQL cannot take windows from one place, so a comment explains them in one place."""
    head, _, body = RULES.read_text().partition("\ngroups:")
    windows = head.partition("# Windows:")[2].partition("\n#\n")[0]
    assert set(re.findall(r"\[(\w+)\]", body)) == set(re.findall(r"\b\d+[mhd]\b", windows))


def test_the_limits_are_those_of_the_pages() -> None:
    """The page must not name an alert that does not fire, nor the other way around."""
    assert {name: float(number) for name, number in generate.limits().items()} == {
        name: float(getattr(thresholds, name)) for name in generate.limits()
    }
    unused = {name for name in vars(alerts) if name in vars(thresholds) and name.isupper()} - set(generate.limits())
    assert not unused


def test_every_number_is_in_the_tables_at_the_top() -> None:
    """Users look for a limit there, with the reason for it."""
    head = RULES.read_text().partition("\ngroups:")[0]
    listed = set(re.findall(r"^#   ([\d.]+) +\S", head, re.MULTILINE))
    used = set()
    for _, rule in generate.rules():
        bare = re.sub(r'"[^"]*"|\[\w+\]', "", str(rule["expr"]))
        used |= set(re.findall(r"(?<![\w.])\d[\d.]*", bare))
    assert used - {"0", "1"} == listed


def test_no_group_is_larger_than_a_hosted_prometheus_allows() -> None:
    sizes = Counter(group for group, _ in generate.rules())
    assert list(sizes) == GROUPS
    assert max(sizes.values()) <= MOST_RULES


def test_alerts_carry_neither_job_nor_instance_nor_pod() -> None:
    """With such labels a rollout would start a new alert. Only ExporterDown is about a target."""
    for alert in ALERTS:
        final = re.search(r"by \([^)]*\bjob, instance\)", alert.expr)
        assert bool(final) == (short(alert) == "ExporterDown")


@pytest.mark.program("promtool")
@pytest.mark.parametrize("api", ["import.status", "getLatestImportOperations", "getImportProgress"])
def test_every_reason_of_a_failure_is_exactly_one_alert(api: str, tmp_path: Path) -> None:
    """Two alerts for one cause are noise, and no alert is worse."""
    series = [
        {
            "series": f'rocketchat_import_{name}{{workspace="{reason}",{extra}instance="a",job="x"}}',
            "values": f"{value}+0x30",
        }
        for reason in Reason
        for name, extra, value in (("up", "", 0), ("failing", f'api="{api}",reason="{reason}",', 1))
    ]
    expected = [{"labels": f'{{workspace="{reason}"}}', "value": 1} for reason in Reason]
    expr = 'count by (workspace) (ALERTS{alertstate="firing",workspace!=""})'
    check = {"expr": expr, "eval_time": "20m", "exp_samples": expected}
    written = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "group_eval_order": GROUPS,
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [check]}],
    }
    case = tmp_path / "case.yml"
    case.write_text(yaml.safe_dump(written))
    promtool("test", "rules", case)


def local_records(folder: Path) -> Path:
    """A file with the recording rules, as a local Prometheus loads them that has an external label."""
    local = yaml.safe_load(RULES.read_text())
    local["groups"] = [
        {
            "name": f"local-{group['name']}",
            "rules": [rule | {"labels": {"prometheus": "local"}} for rule in group["rules"] if "record" in rule],
        }
        for group in local["groups"]
        if any("record" in rule for rule in group["rules"])
    ]
    (folder / "local.yml").write_text(yaml.safe_dump(local))
    return folder / "local.yml"


@pytest.mark.program("promtool")
def test_a_global_ruler_that_also_has_local_records_raises_the_same(tmp_path: Path) -> None:
    """Each record then has two series, and a join that takes one of them as its only one fails.

    The cases of two clusters are played in test_field_scenarios.py.
    """
    (case,) = [each for each in CASES if each.stem == "field"]
    written = yaml.safe_load(case.read_text())
    local = local_records(tmp_path)
    written["rule_files"] = [str(local), str(RULES)]
    written["group_eval_order"] = [*(group["name"] for group in yaml.safe_load(local.read_text())["groups"]), *GROUPS]
    (tmp_path / "case.yml").write_text(yaml.safe_dump(written))
    promtool("test", "rules", tmp_path / "case.yml")


@pytest.mark.parametrize("path", sorted(generate.files()), ids=lambda path: str(path.name))
def test_what_follows_from_the_rules_is_generated(path: Path) -> None:
    assert path.read_text() == generate.files()[path]


def test_the_resource_holds_the_rules() -> None:
    resource = yaml.safe_load(generate.resource())
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load(RULES.read_text())


GRAFANA: Final = {
    rule["title"]: rule
    for group in yaml.safe_load(generate.grafana())["groups"]
    for rule in group["rules"]
    if isinstance(rule, dict)
}
"""What Grafana manages, by the alert's name."""
AT_ONE_TIME: Final = re.compile(r'ALERTS(?:\{((?:,?(?:alertname|workspace)[=!]~?"[^"]*")+)\})?')
"""What a case asks of all alerts at one time."""
STATE: Final = {"alertname", "alertstate", "severity"}
FORGOTTEN: Final = {("RocketChatImportExporterDown", "171h45m")}
"""What Grafana does not know after so long: it remembers an exporter for a week."""

Check = dict[str, object]


def grafana_expression(name: str) -> str:
    """The expression of an alert that Grafana manages."""
    expr = GRAFANA[name]["data"][0]["model"]["expr"]
    assert isinstance(expr, str)
    assert RECORD_PREFIX not in expr
    return expr


@pytest.mark.program("promtool")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_what_grafana_manages_is_true_when_the_rules_fire(case: Path, tmp_path: Path) -> None:
    """Grafana has no recording rules, so its expressions are long and easy to get wrong.

    An evaluation takes so long that each expression is only asked at the times of the checks.
    """
    written = yaml.safe_load(case.read_text())
    for test in written["tests"]:
        test.pop("alert_rule_test", None)
        test["promql_expr_test"] = [each for asked in test["promql_expr_test"] for each in expected_of_grafana(asked)]
    (tmp_path / "case.yml").write_text(yaml.safe_dump(written | {"rule_files": [], "group_eval_order": []}))
    promtool("test", "rules", tmp_path / "case.yml")


def expected_of_grafana(asked: Check) -> Iterator[Check]:
    """What each expression of Grafana's alerts is at the time of a check, if the check is about one time.

    An alert that is kept after its condition has ended is only asked within that time.
    """
    found = AT_ONE_TIME.fullmatch(str(asked["expr"]))
    if found is None:
        return
    at, samples = asked["eval_time"], asked.get("exp_samples", [])
    assert isinstance(samples, list)
    listed = [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in samples]
    matchers = MATCHER.findall(found[1] or "")
    for name, rule in GRAFANA.items():
        if all(_matches(name, operator, value) for label, operator, value in matchers if label == "alertname"):
            labels = [{k: v for k, v in each.items() if k not in STATE} for each in listed if each["alertname"] == name]
            expr = f"count by (cluster, namespace, workspace, importer, job, instance) ({grafana_expression(name)})"
            if labels and "keepFiringFor" in rule:
                expr = f"last_over_time(({expr})[{rule['keepFiringFor']}:1m])"
            for operator, value in ((operator, value) for label, operator, value in matchers if label == WORKSPACE):
                joined = "unless" if operator == "!=" else "and"
                expr += f' {joined} on (workspace) label_replace(vector(1), "workspace", "{value}", "", "")'
            if (name, at) in FORGOTTEN:
                labels = []
            yield {
                "expr": expr,
                "eval_time": at,
                "exp_samples": [
                    {"labels": "{" + ",".join(f'{k}="{v}"' for k, v in each.items()) + "}", "value": 1}
                    for each in labels
                ],
            }


def _matches(name: str, operator: str, value: str) -> bool:
    same = re.fullmatch(value, name) is not None if operator.endswith("~") else name == value
    return same != operator.startswith("!")


@pytest.mark.program("promtool")
def test_what_grafana_manages_waits_and_fires_like_the_rules(tmp_path: Path) -> None:
    """The same with `for`, minute by minute, in the shortest cases, and in those about a whole hour."""
    rules = [
        {"alert": name, "expr": grafana_expression(name), "for": rule["for"], "labels": rule["labels"]}
        | ({"keep_firing_for": rule["keepFiringFor"]} if "keepFiringFor" in rule else {})
        for name, rule in GRAFANA.items()
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "grafana", "rules": rules}]}))
    tests = []
    for case in CASES:
        for test in yaml.safe_load(case.read_text())["tests"]:
            asked = [each for each in test["promql_expr_test"] if RECORD_PREFIX not in each["expr"]]
            about_an_hour = any("_over_time(ALERTS" in each["expr"] for each in asked)
            if case.stem == "exporter" or (about_an_hour and case.stem not in {"long", "slow"}):
                test.pop("alert_rule_test", None)
                tests.append(test | {"promql_expr_test": asked})
    written = {
        "rule_files": [str(tmp_path / "rules.yml")],
        "evaluation_interval": "1m",
        "group_eval_order": ["grafana"],
        "tests": tests,
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(written))
    promtool("test", "rules", tmp_path / "case.yml")


def test_grafana_waits_and_keeps_as_long_as_the_rules() -> None:
    assert {name: (rule["for"], rule.get("keepFiringFor", "")) for name, rule in GRAFANA.items()} == {
        alert.name: (alert.lasts, alert.keeps) for alert in ALERTS
    }


def test_grafana_gets_what_its_provisioning_can_read() -> None:
    """Grafana takes `$` for an environment variable and refuses longer names."""
    document = yaml.safe_load(generate.grafana())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["uid"] for rule in rules}) == len({rule["title"] for rule in rules}) == len(ALERTS)
    assert max(len(rule["uid"]) for rule in rules) <= 40
    for rule in rules:
        texts = " ".join(rule["annotations"].values()) + rule["data"][0]["model"]["expr"]
        assert "$" not in re.sub(r'"/\+\$"', "", texts.replace(generate.EXPORTER_URL, ""))
        unset = rule["annotations"]["runbook_url"].replace(generate.EXPORTER_URL, "")
        assert re.fullmatch(r'\{\{ if "" \}\}.*\{\{ end \}\}', unset)
        assert "| query }}" not in texts
        assert texts.count("{{") == texts.count("}}")
