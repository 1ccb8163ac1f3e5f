"""The Helm chart: what it renders, what it refuses, and that its generated parts are up to date."""

import base64
import json
import re
import shlex
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy import generate
from deploy.prometheus.generate import RULES, ruleset
from rc_import_exporter import __version__
from rc_import_exporter.config import settings
from rc_import_exporter.config.options import ANY, OPTIONS
from tests.support import deployment
from tests.support.deployment import Object, at, container, items, of_kind, only, pod, table, text

pytestmark = pytest.mark.program()
"""`deployment` lists the programs. These tests do not need to run with every Python."""

CHART: Final = generate.CHART
SECRETS: Final = "/run/secrets/rc-import-exporter"
ACME: Final[Object] = {"workspaces": {"acme": {"url": "https://chat.acme.example"}}}
FULL: Final[Object] = {
    "workspaces": {
        "acme": {
            "url": "https://chat.acme.example:8443/chat",
            "poll_interval": "30s",
            "max_response_bytes": 16777216,
            "labels": {"team": "blue", "floor": 7},
            "expect": {"success_every": "26h", "min_records": 1000000, "failed_ratio": 0.05, "importer": "csv"},
            "apis": ["getLatestImportOperations", "info"],
        },
        "globex.eu-1": {"url": "http://rocketchat.globex.svc", "secret": {"name": "globex", "authTokenKey": "TOKEN"}},
    },
    "secret": {"name": "everybody"},
    "config": {"log": {"level": "debug", "format": "json"}, "timeout": 5, "tls": {"verify": False}},
}
MONITORED: Final[Object] = {
    "serviceMonitor": {
        "enabled": True,
        "labels": {"release": "stack"},
        "interval": "30s",
        "scrapeTimeout": "10s",
        "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "kube_node"}],
        "metricRelabelings": [{"action": "labeldrop", "regex": "pod_template_hash"}],
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "stack"}},
    "dashboards": {
        "configMap": {"enabled": True, "annotations": {"grafana_folder": "Rocket.Chat"}},
        "grafanaDashboard": {"enabled": True, "labels": {"a": "b"}, "folder": "Rocket.Chat"},
    },
}
EXAMPLES: Final = {path.stem: path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
EVERYTHING: Final[Object] = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())
MATRIX: Final[Mapping[str, Object]] = {
    **{name: yaml.safe_load(path.read_text()) for name, path in EXAMPLES.items()},
    "demo, closed off": {"demo": True, "networkPolicy": {"enabled": True}},
    "one workspace": ACME,
    "two workspaces": FULL,
    "monitored": {**ACME, **MONITORED},
    "monitored by pod": {**ACME, "podMonitor": MONITORED["serviceMonitor"], "networkPolicy": {"enabled": True}},
    "annotated": {**ACME, "scrapeAnnotations": True},
    "own ConfigMap": {"existingConfigMap": "mine", "secret": {"name": "mine"}},
    "no ServiceAccount": {**ACME, "serviceAccount": {"create": False}},
    "nothing from the pod's contexts": {**ACME, "podSecurityContext": {"runAsUser": None, "fsGroup": None}},
}
USERS_OWN: Final = frozenset(
    {
        *(f"Secret/{name}" for name in ("everybody", "globex", "mine", "web", "certificate", generate.NAME)),
        "ConfigMap/mine",
        "ServiceAccount/default",
    }
)
matrix: Final = pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)


@matrix
def test_helm_finds_nothing_to_say(values: Object, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    deployment.run(deployment.helm(), "lint", "--strict", str(CHART), "--values", str(tmp_path / "values.yaml"))


@matrix
def test_kubernetes_takes_every_object(values: Object) -> None:
    """The oldest and the newest Kubernetes, and the operators, refuse unknown keys."""
    found = deployment.helm_template(values)
    assert found != []
    assert [
        wrong for one in found for version in deployment.VERSIONS for wrong in deployment.mistakes(one, version)
    ] == []


@matrix
def test_the_objects_fit_each_other(values: Object) -> None:
    """Kubernetes accepts a selector or port name that matches nothing."""
    assert deployment.contradictions(deployment.helm_template(values), USERS_OWN) == []


@matrix
def test_pod_security_restricted_admits_the_pod(values: Object) -> None:
    """Many clusters enforce the strictest standard."""
    found = deployment.helm_template(values)
    assert [wrong for one in (pod(found), *of_kind(found, "Pod")) for wrong in deployment.unrestricted(one)] == []


@matrix
def test_no_token_of_kubernetes_and_no_service_variable_is_in_the_pod(values: Object) -> None:
    """The exporter does not use the API of Kubernetes, so it must have no rights there."""
    spec = table(pod(deployment.helm_template(values)), "spec")
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)


@matrix
def test_the_container_writes_nowhere_and_has_bounds(values: Object) -> None:
    one = container(deployment.helm_template(values))
    assert at(one, "securityContext", "readOnlyRootFilesystem") is True
    assert all(at(mount, "readOnly") is True for mount in items(one, "volumeMounts"))
    assert {"cpu", "memory"} == set(table(one, "resources", "requests")) == set(table(one, "resources", "limits"))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"workspace": {}}, "workspace"),
        ({"workspaces": {"acme": {}}}, "url"),
        ({"workspaces": {"acme": {"url": "chat.example.com"}}}, "url"),
        ({"workspaces": {"acme": {"url": "https://user:password@chat.example.com"}}}, "url"),
        ({"workspaces": {"acme": {"url": "https://a.example", "proxy_url": "http://u:p@proxy"}}}, "proxy_url"),
        ({"workspaces": {"acme": {"url": "https://a.example", "auth_token": "secret"}}}, "auth_token"),
        ({"workspaces": {"acme": {"url": "https://a.example", "user_id": "id"}}}, "user_id"),
        ({"workspaces": {"acme": {"url": "https://a.example", "poll_intervall": "15s"}}}, "poll_intervall"),
        ({"workspaces": {"acme": {"url": "https://a.example", "poll_interval": "soon"}}}, "poll_interval"),
        ({"workspaces": {"acme": {"url": "https://a.example", "expect": {"sucess_every": "1d"}}}}, "sucess_every"),
        ({"workspaces": {"acme": {"url": "https://a.example", "apis": ["import.state"]}}}, "apis"),
        ({"workspaces": {"Acme": {"url": "https://a.example"}}}, "Acme"),
        ({"workspaces": {"acme": {"url": "https://a.example", "secret": "acme"}}}, "secret"),
        ({"config": {"web": {"listen_address": ":1"}}}, "web"),
        ({"config": {"auth_token": "secret"}}, "auth_token"),
        ({"config": {"log": {"level": "loud"}}}, "level"),
        ({"port": 80}, "port"),
        ({"replicas": 2}, "replicas"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"serviceMonitor": {"enabled": "yes"}}, "enabled"),
        ({"serviceMonitor": {"labels": {"release": "a b"}}}, "release"),
        ({"networkPolicy": {"from": []}}, "from"),
    ],
    ids=lambda given: json.dumps(given) if isinstance(given, dict) else "",
)
def test_a_wrong_value_is_refused_by_its_name(values: Object, named: str) -> None:
    """Helm by default ignores misspelt keys."""
    with pytest.raises(ValueError, match=named):
        deployment.helm_template({**ACME, **values} if "workspaces" not in values else values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "No workspace is set"),
        ({**ACME, "existingConfigMap": "mine"}, "set one or the other"),
        ({**ACME, "serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "scrape everything twice"),
        ({"existingConfigMap": "mine", "networkPolicy": {"enabled": True}}, "set networkPolicy.to"),
    ],
    ids=["nothing", "two configurations", "two monitors", "unknown ports"],
)
def test_a_contradiction_is_refused_in_words(values: Object, said: str) -> None:
    """The schema cannot find these, so the message has to say what to do."""
    with pytest.raises(ValueError, match=said):
        deployment.helm_template(values)


def test_the_exporter_reads_the_configuration_as_it_was_meant(tmp_path: Path) -> None:
    """Helm turns large numbers into floats, for example."""
    found = deployment.helm_template(FULL)
    for name in _files(found):
        (tmp_path / name).write_text("secret\n")
    written = text(only(found, "ConfigMap"), "data", "config.yml").replace(SECRETS, str(tmp_path))
    (tmp_path / "config.yml").write_text(written)
    read = settings.load({"config.file": str(tmp_path / "config.yml")}, {})
    acme = read.workspaces["acme"]
    assert (acme.target.url, acme.target.poll_interval, acme.max_response_bytes, acme.timeout) == (
        "https://chat.acme.example:8443/chat",
        30,
        16777216,
        5,
    )
    assert acme.target.labels == {"team": "blue", "floor": "7"}
    assert (acme.target.expect.success_every, acme.target.expect.min_records) == (26 * 3600, 1_000_000)
    assert sorted(acme.target.apis) == ["getLatestImportOperations", "info"]
    assert (read.log.format, read.workspaces["globex.eu-1"].tls.verify) == ("json", False)
    assert {one.credentials.load().auth_token for one in read.workspaces.values()} == {"secret"}


def _files(found: list[Object]) -> dict[str, tuple[str, str]]:
    """The name of the Secret and the key for each file in the folder of secrets."""
    (volume,) = [one for one in items(pod(found), "spec", "volumes") if at(one, "name") == "secrets"]
    return {
        text(item, "path"): (text(source, "secret", "name"), text(item, "key"))
        for source in items(volume, "projected", "sources")
        for item in items(source, "secret", "items")
    }


def test_a_pod_gets_the_keys_of_its_workspaces_and_no_others() -> None:
    """The shared Secret can contain other keys, which the exporter must not see."""
    assert _files(deployment.helm_template(FULL)) == {
        "acme.user-id": ("everybody", "acme.user-id"),
        "acme.auth-token": ("everybody", "acme.auth-token"),
        "globex.eu-1.user-id": ("globex", "user-id"),
        "globex.eu-1.auth-token": ("globex", "TOKEN"),
    }


def test_no_secret_is_made_and_no_file_is_mounted_by_itself() -> None:
    """A single mounted file is not updated when its Secret changes."""
    found = deployment.helm_template(FULL)
    assert of_kind(found, "Secret") == []
    assert [mount for mount in items(container(found), "volumeMounts") if at(mount, "subPath")] == []


LATER: Final[Object] = {"workspaces": {**table(ACME, "workspaces"), "new": {"url": "https://new.example"}}}


@pytest.mark.parametrize("values", [ACME, {"existingConfigMap": "mine"}], ids=["workspaces", "own ConfigMap"])
def test_a_changed_configuration_is_reloaded_in_place(values: Object) -> None:
    """A roll-out would begin each history anew. A single mounted file would never change."""
    found = deployment.helm_template(values)
    assert "--config.auto-reload=true" in items(container(found), "args")
    (mount,) = [one for one in items(container(found), "volumeMounts") if at(one, "name") == "config"]
    assert mount == {"name": "config", "mountPath": "/etc/rc-import-exporter", "readOnly": True}
    if "workspaces" in values:
        changed = deployment.helm_template({**LATER, "config": {"timeout": "7s"}})
        assert only(changed, "ConfigMap")["data"] != only(found, "ConfigMap")["data"]
        assert pod(found) == pod(changed)


def test_a_roll_out_starts_with_a_change_that_the_exporter_reads_only_at_its_start() -> None:
    found = [
        pod(deployment.helm_template({**ACME, "config": {"log": {"level": level}}})) for level in ("info", "debug")
    ]
    assert found[0] != found[1]


def test_the_next_pod_is_ready_before_the_last_one_goes() -> None:
    """A scrape between old and new pod would find no data."""
    spec = table(only(deployment.helm_template(ACME), "Deployment"), "spec")
    assert (spec["replicas"], spec["strategy"]) == (
        1,
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    )


def test_rocket_chat_restarts_no_pod() -> None:
    """A problem of Rocket.Chat must not restart the exporter."""
    one = container(deployment.helm_template(ACME))
    assert at(one, "livenessProbe", "httpGet", "path") == "/-/healthy"
    assert at(one, "readinessProbe", "httpGet", "path") == "/-/ready"


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        (ACME, {443}),
        (FULL, {8443, 80}),
        ({"workspaces": {"a": {"url": "https://a.example", "proxy_url": "http://proxy:3128"}}}, {3128}),
        ({**ACME, "config": {"proxy_url": "http://proxy"}}, {80}),
        ({"demo": True}, set()),
    ],
    ids=["https", "ports of two", "own proxy", "common proxy", "demo"],
)
def test_the_network_policy_opens_the_ports_of_the_workspaces(values: Object, ports: set[int]) -> None:
    policy = only(deployment.helm_template({**values, "networkPolicy": {"enabled": True}}), "NetworkPolicy")
    out = items(policy, "spec", "egress")
    tried = {53, 80, 443, 3000, 3128, 6443, 8443, 19458, 27017}
    assert {port for port in tried if deployment.admits(out, "", {}, port, "TCP")} == ports
    dns = deployment.admits(out, "kube-system", {"k8s-app": "kube-dns"}, 53, "UDP")
    assert dns is (values != {"demo": True})
    assert at(policy, "spec", "policyTypes") == ["Ingress", "Egress"]


def test_a_release_that_is_called_like_the_chart_does_not_stammer() -> None:
    """Kubernetes allows at most 63 characters."""
    named = deployment.objects(_template("imports"))
    assert at(only(named, "Service"), "metadata", "name") == "imports-rocketchat-import-exporter"
    assert at(only(deployment.helm_template(ACME), "Service"), "metadata", "name") == generate.NAME
    long = deployment.objects(_template("a" * 53, "--set", "dashboards.configMap.enabled=true"))
    assert [one for one in long if len(text(one, "metadata", "name")) > 63 and one["kind"] != "ConfigMap"] == []


def _template(release: str, *arguments: str) -> str:
    workspace = ("--set", "workspaces.acme.url=https://chat.acme.example")
    return deployment.run(deployment.helm(), "template", release, str(CHART), *workspace, *arguments)


def test_everything_lies_in_the_namespace_of_the_release() -> None:
    found = deployment.helm_template({**FULL, **MONITORED, "networkPolicy": {"enabled": True}}, "--namespace", "chat")
    assert {at(one, "metadata", "namespace") for one in found} == {"chat"}


def test_rules_and_dashboards_arrive_as_they_are() -> None:
    """The alerts contain templates of their own, which Helm must not evaluate."""
    found = deployment.helm_template({**ACME, **MONITORED})
    assert only(found, "PrometheusRule")["spec"] == yaml.safe_load(RULES.read_text())
    dashboards = {path.name: json.loads(path.read_text()) for path in generate.DASHBOARDS.glob("*.json")}
    maps = [table(one, "data") for one in of_kind(found, "ConfigMap") if "config.yml" not in table(one, "data")]
    assert {name: json.loads(str(content)) for data in maps for name, content in data.items()} == dashboards
    resources = [json.loads(text(one, "spec", "json")) for one in of_kind(found, "GrafanaDashboard")]
    assert sorted(map(json.dumps, resources)) == sorted(map(json.dumps, dashboards.values()))


def test_links_and_labels_of_alerts_are_as_the_generator_writes_them() -> None:
    """The chart and the generator each write them. They must agree."""
    values: Object = {
        "enabled": True,
        "workspaceLabels": ["team", "tenant"],
        "runbookUrl": "https://wiki.example.org/runbook",
        "grafanaUrl": "https://grafana.example.org",
    }
    rules = ruleset(
        labels=["team", "tenant"],
        runbook_url="https://wiki.example.org/runbook",
        grafana_url="https://grafana.example.org",
    )
    found = deployment.helm_template({**ACME, "prometheusRule": values, "externalUrl": "https://imports.example.org"})
    assert only(found, "PrometheusRule")["spec"] == yaml.safe_load(rules)
    assert "--web.external-url=https://imports.example.org" in json.dumps(only(found, "Deployment"))


def test_the_monitors_carry_the_labels_that_a_prometheus_selects_by() -> None:
    """kube-prometheus-stack ignores resources without the label of its release."""
    found = deployment.helm_template({**ACME, **MONITORED})
    labelled = [one for kind in ("ServiceMonitor", "PrometheusRule") for one in of_kind(found, kind)]
    assert [at(one, "metadata", "labels", "release") for one in labelled] == ["stack", "stack"]


def test_what_is_generated_is_up_to_date() -> None:
    """Copies that differ from their source would be installed unnoticed."""
    made = generate.files(deployment.helm())
    stale = [str(path) for path, content in made.items() if not path.exists() or path.read_text() != content]
    kept = [path for folder in generate.GENERATED_FOLDERS for path in folder.rglob("*") if path.is_file()]
    assert (stale, [str(path) for path in kept if path not in made]) == ([], [])


def test_every_value_is_documented_and_in_the_schema() -> None:
    values = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    told = {path for path, _, _ in generate.documented(values)}
    leaves = _paths(yaml.safe_load(values))
    assert {path for path in leaves if not any(path == one or path.startswith(f"{one}.") for one in told)} == set()
    for path in told:
        found: object = schema
        for part in path.split("."):
            found = at(found, "properties", part)
            if reference := at(found, "$ref"):
                found = at(schema, *str(reference).removeprefix("#/").split("/"))
        assert found is not None, path


def _paths(tree: object, above: str = "") -> set[str]:
    if not isinstance(tree, dict) or not tree:
        return {above.removesuffix(".")}
    return {path for key, below in tree.items() for path in _paths(below, f"{above}{key}.")}


def test_every_option_of_a_workspace_can_be_given_as_a_value() -> None:
    """Secrets, and options that the chart sets itself, are left out."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    workspace = {option.path for option in OPTIONS if option.each}
    missing = {path for path in workspace if _in_schema(schema, "workspace", path) is None}
    secrets = {("user_id",), ("user_id_file",), ("auth_token",), ("auth_token_file",), ("headers", "*")}
    assert missing == secrets


def _in_schema(schema: object, part: str, path: tuple[str, ...]) -> object:
    keys = [key for one in path for key in (("additionalProperties",) if one == ANY else ("properties", one))]
    return at(schema, "$defs", part, *keys)


def test_the_chart_has_the_exporters_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    annotations = {key.removeprefix("artifacthub.io/"): value for key, value in chart["annotations"].items()}
    images = [one["image"] for one in yaml.safe_load(annotations["images"])]
    assert images[0] == f"{generate.NAME}:{__version__}"
    containers = items(pod(deployment.helm_template({**ACME, "sidecar": {"enabled": True}})), "spec", "containers")
    assert [at(one, "image") for one in containers] == images


def test_artifact_hub_is_told_of_every_custom_resource() -> None:
    """People see there which operators a cluster needs."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {"home", "sources", "icon", "maintainers", "keywords", "kubeVersion"} <= set(chart)
    listed = {(one["kind"], one["version"]) for one in yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])}
    made = [one for values in MATRIX.values() for one in deployment.helm_template(values)]
    custom = [one for one in made if re.search(r"coreos|grafana|gateway", text(one, "apiVersion"))]
    assert listed == {(text(one, "kind"), text(one, "apiVersion").rpartition("/")[2]) for one in custom}
    changes = yaml.safe_load(chart["annotations"]["artifacthub.io/changes"])
    assert {one["kind"] for one in changes} <= {"added", "changed", "deprecated", "removed", "fixed", "security"}


def test_artifact_hub_can_show_the_icon() -> None:
    """It takes an image from a data URL, and accepts as SVG only what matches this: see h2non/go-is-svg."""
    kind, _, encoded = yaml.safe_load((CHART / "Chart.yaml").read_text())["icon"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert re.fullmatch(r"<svg[^>]*>[^*]*</svg>", base64.b64decode(encoded, validate=True).decode())


def test_the_package_has_no_files_of_the_tests(tmp_path: Path) -> None:
    told = deployment.run(deployment.helm(), "package", str(CHART), "--destination", str(tmp_path))
    with tarfile.open(told.rpartition(": ")[2].strip()) as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    assert {"Chart.yaml", "values.schema.json", "README.md", "files/rocketchat-import.rules.yml"} <= names
    assert [name for name in names if name.startswith("ci/") or name.endswith("kustomization.yaml")] == []


def _notes(values: Object, tmp_path: Path) -> str:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    arguments = ("install", generate.NAME, str(CHART), "--values", str(tmp_path / "values.yaml"), "--dry-run=client")
    return deployment.run(deployment.helm(), *arguments, "--namespace", "chat").partition("NOTES:")[2]


def test_the_notes_say_how_to_make_the_secret_that_the_pod_waits_for(tmp_path: Path) -> None:
    """A Secret with other keys leaves the pod waiting."""
    (command,) = re.findall(r"kubectl create secret .*", _notes(FULL, tmp_path))
    words = shlex.split(command)
    keys = {word.removeprefix("--from-literal=").partition("=")[0] for word in words if "literal" in word}
    wanted = {key for name, key in _files(deployment.helm_template(FULL)).values() if name == "everybody"}
    assert (words[4], keys) == ("everybody", wanted)
    assert "globex.eu-1: globex, keys user-id and TOKEN" in _notes(FULL, tmp_path)


PUBLISHED: Final[Mapping[str, Object]] = {
    "ingress": {"ingress": {"enabled": True, "hosts": [{"host": "a.example"}]}},
    "route": {"httpRoute": {"enabled": True}},
    "load balancer": {"service": {"type": "LoadBalancer"}},
}


@pytest.mark.parametrize("values", PUBLISHED.values(), ids=PUBLISHED)
def test_the_notes_warn_of_a_published_page_without_a_login(values: Object, tmp_path: Path) -> None:
    assert "WARNING" in _notes({**ACME, **values}, tmp_path)
    assert "WARNING" not in _notes({**ACME, **values, "web": {"configSecret": "web"}}, tmp_path)


def test_the_notes_tell_of_a_certificate_that_prometheus_does_not_know(tmp_path: Path) -> None:
    values: Object = {**ACME, "serviceMonitor": {"enabled": True}, "web": {"configSecret": "web", "scheme": "https"}}
    assert "set its tlsConfig" in _notes(values, tmp_path)
    values["serviceMonitor"] = {"enabled": True, "tlsConfig": {"serverName": "a"}}
    assert "set its tlsConfig" not in _notes(values, tmp_path)


def test_the_notes_tell_that_nothing_scrapes_the_exporter(tmp_path: Path) -> None:
    assert "Prometheus does not scrape it yet" in _notes(ACME, tmp_path)
    assert "Prometheus does not scrape it yet" not in _notes({**ACME, "serviceMonitor": {"enabled": True}}, tmp_path)
    assert "has no labels" in _notes({**ACME, "serviceMonitor": {"enabled": True}}, tmp_path)
    assert "has no labels" not in _notes({**ACME, **MONITORED}, tmp_path)


def test_the_notes_tell_of_shards_and_of_workspaces_by_label(tmp_path: Path) -> None:
    values: Object = {"autosharding": {"enabled": True}, "replicas": 2, "sidecar": {"enabled": True}}
    notes = _notes(values, tmp_path)
    assert "the label\nrocketchat_import_workspace." in notes
    assert f"statefulset/{generate.NAME}" in notes
    assert f"pod/{generate.NAME}-0" in notes
    assert f"{generate.NAME}-1.{generate.NAME}.chat.svc:19458" in notes
    assert "goes to any of the 2 pods" in _notes({**values, **PUBLISHED["route"]}, tmp_path)
    assert "the label" not in _notes({"demo": True, **MONITORED}, tmp_path)
