# ruff: noqa: INP001 - a program beside the package, not a part of it
"""Generates files from the rules: the PrometheusRule resource, Grafana's own alerts, and the demo's routes.

Run `python -m deploy.prometheus.generate` in the repository's root directory. Tests compare the committed files with
what `files` returns. With options it prints rules or Grafana's alerts for one installation instead: see `--help`.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from deploy.prometheus.memory import BY, IN_ALERTS, KNOWN, WITHOUT_MEMORY

ROOT: Final = Path(__file__).parent.parent.parent
RULES: Final = ROOT / "deploy" / "prometheus" / "rocketchat-import.rules.yml"
RESOURCE: Final = ROOT / "deploy" / "prometheus" / "prometheusrule.yml"
GRAFANA: Final = ROOT / "grafana" / "provisioning" / "alerting" / "rocketchat-import.yml"
PREFIX: Final = "RocketChatImport"
RECORD_PREFIX: Final = "rocketchat_import:"
ROUTES: Final = ROOT / "deploy" / "prometheus" / "alertmanager.yml"
DEMO_ROUTES: Final = ROOT / "deploy" / "compose" / "alertmanager.yml"
EXPORTER_URL: Final = "${RC_IMPORT_EXPORTER_WEB__EXTERNAL_URL}"
"""Where Grafana's alerts link to. Grafana replaces it by the variable of its own environment when it reads the file."""
DATA_SOURCE: Final = "DS_PROMETHEUS"
"""The uid of the Prometheus data source in Rocket.Chat's own monitoring stack."""

Rule = dict[str, str | dict[str, str]]

_SUBQUERY_STEP: Final = "1m"
_REFERENCE: Final = re.compile(r"rocketchat_import:\w+(\{[^}]*\})?(\[\w+\])?")
_LIMIT: Final = re.compile(r"^#   ([\d.]+) +([A-Z_]+) ", re.MULTILINE)
_MATCHER: Final = re.compile(r'\{(\w+)(=~|!~|!=|=)"([^"]*)"\}')
_ACTION: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_LINK: Final = re.compile(
    r"(?<=_url: ')\{\{ with printf .*?\| query \}\}\{\{.*?\}\}(?:/runbook(#\w+)|(/d/.*))\{\{ end \}\}(?=')"
)
_EXPR: Final = re.compile(r"(?m)(- alert: \w+\n        expr: \|\n)((?:          .*\n)+)")
_LABELS_OF_LINKS: Final = "url, external_url, grafana_url)"
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. `lasts` is its `for`, and `keeps` its `keep_firing_for`, empty for none."""

    name: str
    group: str
    expr: str
    lasts: str
    keeps: str
    severity: str
    summary: str
    description: str
    runbook_url: str
    dashboard_url: str

    @property
    def anchor(self) -> str:
        """The anchor of its section in the runbook."""
        return f"#{self.name.lower()}"

    @property
    def dashboard(self) -> str:
        """The path of its dashboard in Grafana, a template."""
        return self.dashboard_url[self.dashboard_url.index("/d/") :].removesuffix("{{ end }}")


def files() -> dict[Path, str]:
    """The path and content of each generated file."""
    return {RESOURCE: resource(), GRAFANA: grafana(), DEMO_ROUTES: demo_routes()}


def ruleset(*, runbook_url: str = "", grafana_url: str = "", labels: Collection[str] = ()) -> str:
    """The rules with fixed links, and with these labels of `workspace_info` on the alerts about workspaces.

    `runbook_url` is the address of the runbook, to which an anchor is appended, and `grafana_url` that of Grafana.
    Raises `ValueError` for what is no label's name.
    """
    added = _listed(labels)
    text = _LINK.sub(lambda link: _fixed(link, runbook_url, grafana_url), RULES.read_text(encoding="utf-8"))
    if not added:
        return text
    text = text.replace(_LABELS_OF_LINKS, f"{_LABELS_OF_LINKS[:-1]}, {added})")
    return _EXPR.sub(lambda alert: alert[1] + _joined(alert[2], added), text)


def _fixed(link: re.Match[str], runbook_url: str, grafana_url: str) -> str:
    anchor, dashboard = link.groups()
    base, path = (runbook_url, anchor) if anchor else (grafana_url, dashboard)
    return f"{base}{path}" if base else link[0]


def _listed(labels: Collection[str]) -> str:
    if wrong := [label for label in labels if not _LABEL.fullmatch(label)]:
        raise ValueError(f"not the name of a label: {', '.join(wrong)}")
    return ", ".join(labels)


def _joined(expr: str, added: str, known: str = "rocketchat_import:links") -> str:
    """The expression of an alert with labels of its workspace. It fires also if nothing is known of the workspace.

    `known` has these labels. Its value is when they were last seen.
    """
    at = " " * 10
    join = f"{at}* on ({BY}) group_left ({added})\n{at}topk by ({BY}) (1, max by ({BY}, {added}) ({known})) ^ 0\n"
    return f"{at}(\n{expr}{at})\n{join}{at}or on ({BY}) (\n{expr}{at})\n"


def demo_routes() -> str:
    """The example of Alertmanager's configuration for the demo, where nobody listens: its receivers do nothing."""
    routes, _, receivers = ROUTES.read_text(encoding="utf-8").partition("\nreceivers:\n")
    names = re.findall(r"(?m)^  - name: (\w+)$", receivers)
    head = "# Generated from ../prometheus/alertmanager.yml for the demo. Alertmanager's page shows what fires.\n"
    body = routes.partition("\nroute:\n")[2]
    return f"{head}route:\n{body}\nreceivers:\n" + "".join(f"  - name: {name}\n" for name in names)


@cache
def rules() -> Sequence[tuple[str, Rule]]:
    """The name of the group and the rule, for each rule."""
    written: dict[str, list[dict[str, list[Rule]]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [(str(group["name"]), rule) for group in written["groups"] for rule in group["rules"]]


@cache
def records() -> Mapping[str, str]:
    """The expressions of the recording rules by name."""
    return {str(rule["record"]): str(rule["expr"]) for _, rule in rules() if "record" in rule}


def alerts() -> list[Alert]:
    """The alerts in the file's order."""
    return [_alert(group, rule) for group, rule in rules() if "alert" in rule]


def limits() -> dict[str, str]:
    """The limits in the table at the top of the rules, by their names in `core.thresholds`."""
    return {name: number for number, name in _LIMIT.findall(RULES.read_text(encoding="utf-8"))}


def resource() -> str:
    """The rules as a resource of the Prometheus Operator."""
    body = RULES.read_text(encoding="utf-8")
    comment, _, written = body.partition("\ngroups:\n")
    head = (
        "# Generated from rocketchat-import.rules.yml.\n"
        "apiVersion: monitoring.coreos.com/v1\n"
        "kind: PrometheusRule\n"
        "metadata:\n"
        "  name: rocketchat-import\n"
        "  labels:\n"
        "    app.kubernetes.io/name: rocketchat-import-exporter\n"
        "spec:\n"
        "  groups:\n"
    )
    return f"{comment}\n#\n{head}{textwrap.indent(written, '  ')}"


def grafana(data_source: str = DATA_SOURCE, runbook_url: str = "", labels: Collection[str] = ()) -> str:
    """The alerts as Grafana-managed alerts, for a Prometheus that loads no rules. Recording rules are inlined.

    `data_source` is the uid of that Prometheus in Grafana. `runbook_url` and `labels` are as in `ruleset`.
    """
    added = _listed(labels)
    document = {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": name,
                "folder": "Rocket.Chat imports",
                "interval": "1m",
                "rules": [
                    _grafana_rule(alert, data_source, runbook_url, added) for alert in alerts() if alert.group == name
                ],
            }
            for name in dict.fromkeys(alert.group for alert in alerts())
        ],
    }
    head = "# Generated from deploy/prometheus/rocketchat-import.rules.yml, for a Prometheus that loads no rules.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def table() -> str:
    """The alerts as a Markdown table."""
    lines = ["| alert | severity | after | fires when |", "|---|---|---|---|"]
    for alert in alerts():
        summary = _ACTION.sub(lambda action: _placeholder(action.group()), alert.summary)
        lines.append(f"| `{alert.name}` | {alert.severity} | {alert.lasts} | {summary} |")
    return "\n".join(lines) + "\n"


def inline(expr: str) -> str:
    """The expression on one line, with recording rules inlined."""
    return " ".join(_REFERENCE.sub(_written_out, expr).split())


def _alert(group: str, rule: Rule) -> Alert:
    labels, annotations = rule.get("labels"), rule.get("annotations")
    if not isinstance(labels, dict) or not isinstance(annotations, dict):
        raise TypeError(f"{rule['alert']} needs labels and annotations")
    return Alert(
        name=str(rule["alert"]),
        group=group,
        expr=str(rule["expr"]),
        lasts=str(rule["for"]),
        keeps=str(rule.get("keep_firing_for", "")),
        severity=labels["severity"],
        summary=annotations["summary"],
        description=annotations["description"],
        runbook_url=annotations["runbook_url"],
        dashboard_url=annotations["dashboard_url"],
    )


def _written_out(reference: re.Match[str]) -> str:
    matchers, window = reference[1] or "", reference[2] or ""
    name = reference[0].removesuffix(window).removesuffix(matchers)
    expr = inline(WITHOUT_MEMORY.get(name, records()[name]))
    if "{}" in expr:
        expr = expr.replace("{}", matchers)
    elif matchers:
        expr = f"({expr}) {_restriction(matchers)}"
    return f"({expr})[{window.strip('[]')}:{_SUBQUERY_STEP}]" if window else f"({expr})"


def _restriction(matchers: str) -> str:
    """What restricts an expression like one matcher, such as `{outcome=~"failed|canceled"}`, restricts a series."""
    found = _MATCHER.fullmatch(matchers)
    if found is None:
        raise ValueError(f"{matchers} is not one matcher")
    label, operator, values = found.groups()
    each = " or ".join(f'label_replace(vector(1), "{label}", "{one}", "", "")' for one in values.split("|"))
    return f"{'unless' if operator.startswith('!') else 'and'} on ({label}) ({each})"


def _grafana_rule(alert: Alert, data_source: str, runbook_url: str, added: str) -> dict[str, object]:
    rule: dict[str, object] = {
        "uid": _uid(alert),
        "title": alert.name,
        "condition": "B",
        "data": [_query(alert, data_source, added), _above_zero()],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.lasts,
    }
    if alert.keeps:
        rule["keepFiringFor"] = alert.keeps
    rule["annotations"] = {
        "summary": _without_queries(alert.summary),
        "description": _grafana_description(alert),
        "runbook_url": f"{runbook_url}{alert.anchor}"
        if runbook_url
        else _if_known(f"{EXPORTER_URL}/runbook{alert.anchor}"),
        "dashboard_url": _without_queries('{{ reReplaceAll "/+$" "" externalURL }}' + alert.dashboard),
    }
    rule["labels"] = {"severity": alert.severity}
    return rule


def _uid(alert: Alert) -> str:
    """At most 40 characters. It must never change, because Grafana finds a rule's history by it."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "-", alert.name.removeprefix(PREFIX))
    return f"rocketchat-import-{words.lower()}"


def _grafana_description(alert: Alert) -> str:
    text = _without_queries(alert.description)
    if "workspace" not in alert.summary:
        return text
    return f"{text} {_if_known(f'Its page: {EXPORTER_URL}/workspaces/{{{{ .Labels.workspace }}}}')}"


def _if_known(text: str) -> str:
    """The text if the exporter's address is in Grafana's environment: a link without its beginning would be dead."""
    return f'{{{{ if "{EXPORTER_URL}" }}}}{text}{{{{ end }}}}'


def _query(alert: Alert, data_source: str, added: str) -> dict[str, object]:
    expr = alert.expr
    for record, longer in IN_ALERTS.items():
        expr = expr.replace(record, longer)
    expr = _joined(expr, added, KNOWN) if added else expr
    model = {"refId": "A", "expr": inline(expr), "instant": True, "range": False, "intervalMs": 1000}
    return {
        "refId": "A",
        "datasourceUid": data_source,
        "relativeTimeRange": {"from": 600, "to": 0},
        "model": model,
    }


def _above_zero() -> dict[str, object]:
    """A threshold of 0: each series that the expression returns is greater than 0 and fires."""
    model = {
        "refId": "B",
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
    }
    return {"refId": "B", "datasourceUid": "__expr__", "model": model}


def _without_queries(template: str) -> str:
    """The template for Grafana, without sentences that query Prometheus, because Grafana's templates cannot.

    Labels and value are written without `$`, because Grafana's provisioning can take that for an environment variable.
    """
    kept, depth, rest = [], 0, 0
    for action in _ACTION.finditer(template):
        word = action.group().strip("{} ").split()[0]
        if depth == 0:
            kept.append(template[rest : action.start()])
        if depth or action.group().endswith("| query }}"):
            depth += (word in {"with", "range", "if"}) - (word == "end")
        else:
            kept.append(action.group())
        rest = action.end()
    named = "".join([*kept, template[rest:]]).replace("$labels", ".Labels")
    return re.sub(r" {2,}", " ", named.replace("$value", '(index .Values "A").Value')).strip()


def _placeholder(action: str) -> str:
    return "*workspace*" if "workspace" in action else "*instance*"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all generated files or, with options, print rules or Grafana's alerts for one installation."""
    parser = argparse.ArgumentParser(prog="python -m deploy.prometheus.generate", description=main.__doc__)
    parser.add_argument("--labels", default="", help="Labels of workspaces that alerts get, such as team,tenant.")
    parser.add_argument("--runbook-url", default="", help="Where the runbook is. Alerts link to its headings.")
    parser.add_argument("--grafana-url", default="", help="Where people open Grafana.")
    parser.add_argument("--grafana", action="store_true", help="Print Grafana-managed alerts instead of rules.")
    parser.add_argument("--data-source", default=DATA_SOURCE, help="The uid of Prometheus in Grafana.")
    given = parser.parse_args(arguments)
    grafana_url = given.grafana_url.rstrip("/")
    labels = [label for label in given.labels.split(",") if label]
    if given.grafana:
        sys.stdout.write(grafana(given.data_source, given.runbook_url, labels))
    elif labels or given.runbook_url or grafana_url:
        sys.stdout.write(ruleset(runbook_url=given.runbook_url, grafana_url=grafana_url, labels=labels))
    else:
        for path, content in files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
