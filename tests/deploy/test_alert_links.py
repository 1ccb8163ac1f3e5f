"""Links and labels of alerts: rendered by promtool, routed by amtool, with the rules as shipped and as generated."""

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import pytest
import yaml

from deploy.prometheus import generate
from deploy.prometheus.generate import PREFIX, ROUTES, RULES
from tests.deploy.test_rules import ALERTS, CASES, GROUPS, NAMES, short
from tests.support.bridge import RARELY

EXTERNAL: Final = "https://imports.example.org"
GRAFANA: Final = "https://grafana.example.org"
SERVER: Final = "https://chat.example.org"
README: Final = (RULES.parent / "README.md").read_text(encoding="utf-8")
YAML_BLOCKS: Final = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
ADDRESS: Final = re.compile(r"\w+://[^\s\"']+")
FIRING: Final = re.compile(rf'alertname="({PREFIX}\w+)",\s*alertstate="firing"')
RENDERED: Final = re.compile(rf'alertname="{PREFIX}(\w+)".*\n\s+Annotations:\{{(.*)\}}')
TARGET: Final = ("cluster", "namespace", "job", "instance")

Test = dict[str, object]


def matchers(series: str) -> dict[str, str]:
    """The labels of a series as promtool writes it."""
    return dict(re.findall(r'(\w+)="([^"]*)"', series))


def written(name: str, labels: Mapping[str, str]) -> str:
    """A series as promtool reads it."""
    pairs = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}"


def series_of(test: Test) -> list[dict[str, str]]:
    """The input series of a case."""
    return cast("list[dict[str, str]]", test["input_series"])


def with_addresses(test: Test, external_url: str, grafana_url: str) -> set[str]:
    """Add to each exporter of a case where people find it, and return the scraped addresses."""
    defaults = {"workspace": "acme", "instance": "a", "job": "x"}
    watched = [defaults | matchers(each["series"]) for each in series_of(test)]
    links = {"external_url": external_url, "grafana_url": grafana_url}
    infos = {
        series
        for each in watched
        for target in [{name: text for name, text in each.items() if name in TARGET}]
        for series in (
            written("rocketchat_import_workspace_info", {"workspace": each["workspace"], **target, "url": SERVER}),
            written("rocketchat_import_exporter_info", {**target, **links}),
        )
    }
    test["input_series"] = [
        *(each for each in series_of(test) if "url=" not in each["series"]),
        *({"series": each, "values": "1+0x5000"} for each in sorted(infos)),
    ]
    return {f"http://{each['instance']}" for each in watched}


def rendered(external_url: str, grafana_url: str, folder: Path) -> tuple[dict[str, set[str]], set[str]]:
    """The addresses in each alert, by its name, and the scraped addresses. Plays one case in which it fires.

    promtool prints annotations only where they are not the expected ones. So none are expected here.
    """
    tests: list[Test] = []
    told: set[str] = set()
    scraped: set[str] = set()
    for test in (test for case in CASES for test in yaml.safe_load(case.read_text())["tests"]):
        fires = {
            name: each["eval_time"]
            for each in test.pop("promql_expr_test")
            for sample in each.get("exp_samples", ())
            for name in FIRING.findall(sample["labels"])
            if name not in told
        }
        if fires:
            told |= set(fires)
            scraped |= with_addresses(test, external_url, grafana_url)
            test["alert_rule_test"] = [{"alertname": name, "eval_time": at} for name, at in fires.items()]
            tests.append(test)
    ran = play(RULES.read_text(), tests, folder)
    found: dict[str, set[str]] = defaultdict(set)
    for name, annotations in RENDERED.findall(ran.stdout + ran.stderr):
        found[name] |= set(ADDRESS.findall(annotations))
    return found, scraped


@pytest.mark.program("promtool")
@pytest.mark.parametrize(("external", "grafana"), [(EXTERNAL, GRAFANA), ("", "")], ids=["configured", "unset"])
def test_every_address_in_an_alert_is_configured_or_scraped(external: str, grafana: str, tmp_path: Path) -> None:
    """Other addresses would be dead for some users. Without Grafana's address no alert links to Grafana."""
    found, scraped = rendered(external, grafana, tmp_path)
    allowed = (external, grafana, SERVER) if external else (*scraped, SERVER)
    assert set(found) == NAMES
    for alert in ALERTS:
        links = found[short(alert)]
        assert [one for one in links if not one.startswith(allowed)] == [], alert.name
        assert any(f"/runbook{alert.anchor}" in one for one in links), alert.name
        assert any("/d/rocketchat-import" in one for one in links) == bool(grafana), alert.name
        assert "$labels.workspace" not in alert.description or SERVER in links, alert.name


def play(rules: str, tests: list[Test], folder: Path, interval: str = "1m") -> subprocess.CompletedProcess[str]:
    """Runs promtool's tests on rules."""
    (folder / "rules.yml").write_text(rules)
    document = {
        "rule_files": [str(folder / "rules.yml")],
        "evaluation_interval": interval,
        "group_eval_order": GROUPS,
        "tests": tests,
    }
    (folder / "case.yml").write_text(yaml.safe_dump(document))
    command = ["promtool", "test", "rules", str(folder / "case.yml")]
    environ = {**os.environ, "GOGC": RARELY}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


@pytest.mark.program("promtool")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_labels_of_workspaces_change_no_alert_where_none_is_configured(case: Path, tmp_path: Path) -> None:
    """An alert without known labels must not get lost."""
    document = yaml.safe_load(case.read_text())
    for test in document["tests"]:
        test.pop("alert_rule_test", None)
    rules = generate.ruleset(labels=["team", "tenant"])
    ran = play(rules, document["tests"], tmp_path, document["evaluation_interval"])
    assert ran.returncode == 0, ran.stdout + ran.stderr


def lost_by_two_teams() -> list[dict[str, str]]:
    """A failed import and one that runs, and an exporter that is then gone. For a moment it had another team."""
    target = {"namespace": "chat", "instance": "a", "job": "x"}
    other = {**target, "instance": "b"}
    acme = {"workspace": "acme", **target}
    return [
        {"series": written("rocketchat_import_exporter_build_info", target), "values": "1+0x20 stale"},
        {"series": written("rocketchat_import_up", acme), "values": "1+0x20 stale"},
        {"series": written("rocketchat_import_outcome", {**acme, "outcome": "running"}), "values": "1+0x20 stale"},
        {
            "series": written(
                "rocketchat_import_last_finished_timestamp_seconds", {**acme, "importer": "csv", "outcome": "failed"}
            ),
            "values": "60+0x20 stale",
        },
        *(
            {
                "series": written(
                    "rocketchat_import_workspace_info",
                    {"workspace": "acme", **each, "url": SERVER, "team": team, "floor": "7"},
                ),
                "values": values,
            }
            for each, team, values in ((target, "people", "1+0x20 stale"), (other, "people-old", "1+0x5 stale"))
        ),
        *(
            {
                "series": written(
                    "rocketchat_import_exporter_info", {**each, "external_url": EXTERNAL, "grafana_url": ""}
                ),
                "values": "1+0x20 stale",
            }
            for each in (target, other)
        ),
    ]


@pytest.mark.program("promtool")
def test_labels_in_the_list_reach_alerts_and_stay_when_the_exporter_is_gone(tmp_path: Path) -> None:
    """Otherwise the alert about the lost exporter goes to nobody. During a roll-out two teams may be configured."""
    common = {"severity": "critical", "workspace": "acme", "namespace": "chat", "team": "people"}
    expected = [{"alertname": "RocketChatImportFailed", "alertstate": "firing", **common, "importer": "csv"}]
    gone = [{"alertname": "RocketChatImportLostSight", "alertstate": "firing", **common}]
    checks = [
        {
            "expr": f'ALERTS{{alertname=~"{PREFIX}(Failed|LostSight)",alertstate="firing"}}',
            "eval_time": at,
            "exp_samples": [{"labels": written("ALERTS", labels), "value": 1} for labels in samples],
        }
        for at, samples in (("15m", expected), ("60m", expected + gone))
    ]
    count = {
        "expr": f'count(ALERTS{{alertname="{PREFIX}Failed",alertstate="firing"}})',
        "eval_time": "4m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    test: Test = {"interval": "1m", "input_series": lost_by_two_teams(), "promql_expr_test": [*checks, count]}
    ran = play(generate.ruleset(labels=["team"]), [test], tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.program("promtool")
def test_labels_in_the_list_reach_alerts_that_grafana_manages(tmp_path: Path) -> None:
    document = yaml.safe_load(generate.grafana(labels=["team"]))
    rules = {rule["title"]: rule for group in document["groups"] for rule in group["rules"]}
    checks = [
        {
            "expr": f"({rules[f'{PREFIX}{name}']['data'][0]['model']['expr']}) ^ 0",
            "eval_time": at,
            "exp_samples": [{"labels": written("", labels), "value": 1}],
        }
        for name, at, labels in (
            ("Failed", "15m", {"workspace": "acme", "namespace": "chat", "importer": "csv", "team": "people"}),
            ("LostSight", "60m", {"workspace": "acme", "namespace": "chat", "team": "people"}),
        )
    ]
    test: Test = {"interval": "1m", "input_series": lost_by_two_teams(), "promql_expr_test": checks}
    ran = play("groups: []", [test], tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_is_no_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^not the name of a label: a b$"):
        generate.ruleset(labels=["team", "a b"])
    with pytest.raises(ValueError, match=r"^not the name of a label: a b$"):
        generate.grafana(labels=["team", "a b"])


def test_a_fixed_runbook_and_grafana_need_no_series() -> None:
    """Their links work even if nothing is known of the exporter."""
    document = yaml.safe_load(generate.ruleset(runbook_url="https://wiki.example.org/runbook", grafana_url=GRAFANA))
    annotations = [rule["annotations"] for group in document["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(annotations) == len(NAMES)
    for alert, each in zip(ALERTS, annotations, strict=True):
        assert each["runbook_url"] == f"https://wiki.example.org/runbook{alert.anchor}"
        assert each["dashboard_url"] == f"{GRAFANA}{alert.dashboard}"


def test_the_generator_prints_rules_for_one_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--labels", "team,tenant", "--grafana-url", f"{GRAFANA}/"]) == 0
    assert capsys.readouterr().out == generate.ruleset(labels=["team", "tenant"], grafana_url=GRAFANA)
    given = ["--grafana", "--data-source", "abc", "--runbook-url", "https://wiki.example.org/rb", "--labels", "team"]
    assert generate.main(given) == 0
    printed = capsys.readouterr().out
    assert printed == generate.grafana("abc", "https://wiki.example.org/rb", ["team"])
    assert "DS_PROMETHEUS" not in printed
    assert "RC_IMPORT_EXPORTER_WEB__EXTERNAL_URL}/runbook" not in printed


def receivers(configuration: Path, labels: Mapping[str, str]) -> list[str]:
    """The receivers of an alert with these labels."""
    pairs = [f"{name}={value}" for name, value in labels.items()]
    command = ["amtool", "config", "routes", "test", f"--config.file={configuration}", *pairs]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return ran.stdout.strip().split(",")


def labels_of(name: str, severity: str, **more: str) -> dict[str, str]:
    """The labels of an alert about a workspace."""
    return {"alertname": f"{PREFIX}{name}", "severity": severity, "workspace": "acme", **more}


def merged(shown: str, folder: Path) -> Path:
    """The shipped example with the routes of a document before its own."""
    configuration = yaml.safe_load(ROUTES.read_text())
    added = yaml.safe_load(shown)
    configuration["route"]["routes"] = added.pop("route")["routes"] + configuration["route"]["routes"]
    configuration["receivers"] += added.pop("receivers", [])
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(configuration | added))
    subprocess.run(["amtool", "check-config", path], check=True, capture_output=True)
    return path


@pytest.mark.program("amtool")
def test_a_team_gets_its_alerts_by_the_route_in_the_readme(tmp_path: Path) -> None:
    (shown,) = [block for block in YAML_BLOCKS if "team=" in block]
    configuration = merged(shown, tmp_path)
    assert receivers(configuration, labels_of("Failed", "critical", team="people")) == ["people"]
    assert receivers(configuration, labels_of("Failed", "critical", team="sales")) == ["pager"]
    assert receivers(configuration, labels_of("Canceled", "info")) == ["chat"]


@pytest.mark.program("amtool")
def test_a_weekday_job_tells_nobody_at_the_weekend(tmp_path: Path) -> None:
    """Only Overdue of that workspace waits for a working day."""
    (shown,) = [block for block in YAML_BLOCKS if "active_time_intervals" in block]
    configuration = merged(shown, tmp_path)
    loaded = yaml.safe_load(configuration.read_text())
    first = loaded["route"]["routes"][0]
    assert set(first["active_time_intervals"]) == {each["name"] for each in loaded["time_intervals"]}
    assert receivers(configuration, labels_of("Overdue", "critical")) == ["pager"]
    shown_routes = subprocess.run(
        ["amtool", "config", "routes", "show", f"--config.file={configuration}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{PREFIX}Overdue" in shown_routes.stdout


@pytest.mark.program("amtool")
@pytest.mark.parametrize("alert", ALERTS, ids=short)
def test_an_alertmanager_config_gets_the_alerts_of_its_namespace(alert: generate.Alert, tmp_path: Path) -> None:
    """The Prometheus Operator adds a matcher for the namespace to the routes of an AlertmanagerConfig."""
    shown = """
    route: {routes: [{receiver: chat/imports/team, matchers: ['namespace="chat"'], continue: true}]}
    receivers: [{name: chat/imports/team}]
    """
    labels = {"alertname": alert.name, "severity": alert.severity}
    grouped = {name for listed in re.findall(r"\bby \(([^)]*)\)", alert.expr)[:1] for name in listed.split(", ")}
    assert {"cluster", "namespace"} <= grouped
    configuration = merged(shown, tmp_path)
    assert "chat/imports/team" in receivers(configuration, {**labels, "namespace": "chat"})
    assert "chat/imports/team" not in receivers(configuration, {**labels, "namespace": "other"})
