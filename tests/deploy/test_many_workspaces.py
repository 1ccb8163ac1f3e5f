"""The chart for many workspaces: shards, workspaces from ConfigMaps and Secrets by label, and scrapes by `/sd`."""

import base64
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy import generate
from rc_import_exporter.config import settings
from rc_import_exporter.config.settings import Settings
from rc_import_exporter.core.shard import Shard
from tests.support import deployment
from tests.support.deployment import KUBERNETES, ROOT, Object, at, container, items, of_kind, only, pod, table, text

pytestmark = pytest.mark.program()
"""`deployment` lists the programs. These tests do not need to run with every Python."""

CI: Final = generate.CHART / "ci"
PROVIDER: Final[Object] = yaml.safe_load((CI / "provider-values.yaml").read_text())
DISCOVERY: Final[Object] = yaml.safe_load((CI / "discovery-values.yaml").read_text())
ACME: Final[Object] = {"workspaces": {"acme": {"url": "https://chat.acme.example"}}}
SHARDS: Final[Object] = {"autosharding": {"enabled": True}, "replicas": 3}
SIDECAR: Final[Object] = {"sidecar": {"enabled": True}}
LABEL: Final = {"rocketchat_import_workspace": "1"}
TENANT: Final = deployment.objects((KUBERNETES / "examples" / "tenant.yaml").read_text())
API: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


def tenant(name: str, content: str = "url: https://chat.example", labels: Mapping[str, str] = LABEL) -> list[Object]:
    """A ConfigMap and a Secret as in the example."""
    metadata = {"name": name, "labels": dict(labels)}
    credentials = {f"{name}.user-id": "id", f"{name}.auth-token": f"token of {name}".replace(" ", "-")}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in credentials.items()}
    return [
        {"kind": "ConfigMap", "metadata": metadata, "data": {f"{name}.yml": f"{name}: {{{content}}}\n"}},
        {"kind": "Secret", "metadata": metadata, "data": encoded},
    ]


class Sidecar:
    """Writes files as k8s-sidecar does: each key of an object with the label is a file in its folder.

    See `list_resources` in src/resources.py of github.com/kiwigrid/k8s-sidecar.
    """

    def __init__(self, one: object, root: Path) -> None:
        variables = {text(each, "name"): text(each, "value") for each in items(one, "env")}
        self._label, self._value = variables["LABEL"], variables.get("LABEL_VALUE")
        both = ("configmap", "secret")
        self._kinds = {"both": both}.get(variables["RESOURCE"], (variables["RESOURCE"],))
        self._folder = root / variables["FOLDER"].lstrip("/")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._mode = int(variables["DEFAULT_FILE_MODE"], base=8)

    def collect(self, found: Iterable[Object]) -> None:
        """Writes the files of these objects, and removes those of others."""
        wanted = {name: content for one in found if self._selects(one) for name, content in self._files(one)}
        for path in self._folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        for name, content in wanted.items():
            (self._folder / name).write_bytes(content)
            (self._folder / name).chmod(self._mode)

    def _selects(self, one: Object) -> bool:
        value = at(one, "metadata", "labels", self._label)
        return str(one["kind"]).lower() in self._kinds and value is not None and self._value in {None, value}

    @staticmethod
    def _files(one: Object) -> Iterable[tuple[str, bytes]]:
        encoded = one["kind"] == "Secret"
        for name, content in table(one, "data").items():
            yield name, base64.b64decode(str(content)) if encoded else str(content).encode()
        for name, content in table(one, "stringData").items():
            yield name, str(content).encode()


def sidecar(found: list[Object], root: Path) -> Sidecar:
    """The sidecar of a pod."""
    (one,) = [one for one in items(pod(found), "spec", "containers") if at(one, "name") == "workspaces"]
    return Sidecar(one, root)


def load(found: list[Object], root: Path, last: Settings | None = None, ordinal: int = 0) -> Settings:
    """The settings of the exporter in this pod of the StatefulSet."""
    written = text(
        only([one for one in found if "config.yml" in table(one, "data")], "ConfigMap"), "data", "config.yml"
    )
    root.mkdir(exist_ok=True)
    (root / "config.yml").write_text(written.replace("/run/", f"{root}/run/"))
    flags = dict(str(one).removeprefix("--").split("=", 1) for one in items(container(found), "args"))
    flags["config.file"] = str(root / "config.yml")
    chosen = {key.replace("-", "_"): value for key, value in flags.items() if not key.startswith("web.")}
    return settings.load(chosen, {"HOSTNAME": f"{generate.NAME}-{ordinal}"}, last)


# Shards


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
def test_each_workspace_is_polled_by_exactly_one_pod(replicas: int, tmp_path: Path) -> None:
    """All pods have the same configuration, and each knows its part by its host name."""
    found = deployment.helm_template({**PROVIDER, "replicas": replicas})
    names = {f"tenant-{number}" for number in range(60)}
    sidecar(found, tmp_path).collect(one for name in names for one in tenant(name))
    loaded = [load(found, tmp_path, ordinal=ordinal) for ordinal in range(replicas)]
    assert {frozenset(each.workspaces) for each in loaded} == {frozenset(names)}
    shards = [each.shard for each in loaded]
    assert shards == [Shard(index=ordinal, count=replicas) for ordinal in range(replicas)]
    for name in names:
        assert sum(each is not None and each.holds(name) for each in shards) == 1


def test_a_stateful_set_takes_the_place_of_the_deployment() -> None:
    """Its Service has to be headless. Then each pod has a name of its own."""
    found = deployment.helm_template({**ACME, **SHARDS})
    workload = only(found, "StatefulSet")
    assert of_kind(found, "Deployment") == []
    assert (at(workload, "spec", "replicas"), at(workload, "spec", "podManagementPolicy")) == (3, "Parallel")
    service = only(found, "Service")
    assert at(workload, "spec", "serviceName") == at(service, "metadata", "name")
    assert at(service, "spec", "clusterIP") == "None"
    assert at(only(deployment.helm_template(ACME), "Service"), "spec", "clusterIP") is None


def test_a_pod_with_a_shard_differs_from_one_without_only_in_its_number_of_shards() -> None:
    """Whatever a value does to the Deployment, it does to the StatefulSet."""
    for values in (yaml.safe_load((CI / "everything-values.yaml").read_text()), {**ACME, **SIDECAR}):
        service = {key: value for key, value in table(values, "service").items() if key in {"labels", "annotations"}}
        plain = deployment.helm_template({**values, "service": service})
        sharded = deployment.helm_template({**values, **SHARDS, "service": service})
        arguments = items(container(sharded), "args")
        arguments.remove("--shard.count=3")
        assert pod(plain) == pod(sharded)
        assert table(only(plain, "Deployment"), "metadata") == table(only(sharded, "StatefulSet"), "metadata")


@pytest.mark.parametrize("kind", ["serviceMonitor", "podMonitor"])
def test_a_monitor_selects_every_shard_once(kind: str) -> None:
    found = deployment.helm_template({**ACME, **SHARDS, kind: {"enabled": True}})
    monitor = only(found, kind[0].upper() + kind[1:])
    selector = table(monitor, "spec", "selector", "matchLabels").items()
    selected = [one for one in of_kind(found, "Service") if selector <= table(one, "metadata", "labels").items()]
    assert len(selected) == 1
    assert selector <= table(pod(found), "metadata", "labels").items()
    assert deployment.contradictions(found, frozenset({f"Secret/{generate.NAME}"})) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**ACME, "replicas": 2}, "set autosharding.enabled"),
        ({"demo": True, **SHARDS}, "The demo has its own workspaces"),
        ({"demo": True, **SIDECAR}, "The demo has its own workspaces"),
        ({"existingConfigMap": "mine", **SIDECAR}, "set one or the other"),
        ({**ACME, **SHARDS, "service": {"type": "LoadBalancer"}}, "needs a headless Service"),
        ({**ACME, **SHARDS, "service": {"clusterIP": "10.0.0.7"}}, "needs a headless Service"),
        ({**ACME, **SHARDS, "fullnameOverride": "a" * 53}, "can have 52 characters"),
        ({**ACME, "podMonitor": {"enabled": True}, "scrapeConfig": {"enabled": True}}, "scrape everything twice"),
        ({**SIDECAR, "networkPolicy": {"enabled": True}}, "the API server"),
        ({**ACME, "sidecar": {"resource": "secrets"}}, "resource"),
        ({**ACME, "autosharding": True}, "autosharding"),
        ({**ACME, **SHARDS, "replicas": 0}, "replicas"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_contradiction_is_refused_in_words(values: Object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        deployment.helm_template(values)


# Workspaces by label


def test_the_exporter_reads_what_the_sidecar_writes(tmp_path: Path) -> None:
    """A deleted object takes its workspace away."""
    found = deployment.helm_template(PROVIDER)
    collected = sidecar(found, tmp_path)
    collected.collect([*tenant("acme", "url: https://a.example, labels: {tier: gold}"), *tenant("globex")])
    first = load(found, tmp_path)
    assert set(first.workspaces) == {"acme", "globex"}
    assert first.workspaces["acme"].target.labels == {"tier": "gold"}
    assert first.workspaces["globex"].credentials.load().auth_token == "token-of-globex"
    assert (first.workspaces["acme"].target.poll_interval_idle, first.auto_reload) == (60, True)
    collected.collect([*tenant("globex"), *tenant("other", labels={"rocketchat_import_workspace": "2"})])
    second = load(found, tmp_path, first)
    assert (set(second.workspaces), second.refused) == ({"globex"}, None)


def test_an_object_that_comes_alone_or_with_a_mistake_stops_no_other_workspace(tmp_path: Path) -> None:
    """Objects come one by one, in any order."""
    found = deployment.helm_template(PROVIDER)
    collected = sidecar(found, tmp_path)
    collected.collect(tenant("acme"))
    first = load(found, tmp_path)
    described, secret = tenant("globex")
    collected.collect([*tenant("acme"), described, tenant("broken", "url: nowhere")[0]])
    second = load(found, tmp_path, first)
    assert set(second.workspaces) == {"acme"}
    told = str(second.refused)
    assert [name for name in ("globex.yml", "globex.auth-token", "broken.yml") if name not in told] == []
    collected.collect([*tenant("acme"), described, secret])
    third = load(found, tmp_path, second)
    assert (set(third.workspaces), third.refused) == ({"acme", "globex"}, None)


def test_a_pod_without_a_tenant_starts(tmp_path: Path) -> None:
    """The first tenant comes after the installation."""
    found = deployment.helm_template(PROVIDER)
    sidecar(found, tmp_path).collect([])
    assert load(found, tmp_path).workspaces == {}


def test_collected_workspaces_and_those_of_values_go_together(tmp_path: Path) -> None:
    found = deployment.helm_template({**SIDECAR, "workspaces": {"initech": {"url": "https://initech.example"}}})
    sidecar(found, tmp_path).collect(tenant("acme"))
    (tmp_path / "run" / "secrets" / generate.NAME.replace("rocketchat", "rc")).mkdir(parents=True)
    for key in ("user-id", "auth-token"):
        (tmp_path / "run" / "secrets" / "rc-import-exporter" / f"initech.{key}").write_text("its-own")
    loaded = load(found, tmp_path)
    assert {name: one.credentials.load().auth_token for name, one in loaded.workspaces.items()} == {
        "acme": "token-of-acme",
        "initech": "its-own",
    }


def test_all_is_collected_before_the_exporter_starts() -> None:
    """The first container to start collects once and ends. The second one goes on, and looks instead of watching."""
    found = deployment.helm_template({**PROVIDER, "initContainers": [{"name": "other", "image": "other"}]})
    first = items(pod(found), "spec", "initContainers")[0]
    second = items(pod(found), "spec", "containers")[1]
    variables = [{text(each, "name"): each for each in items(one, "env")} for one in (first, second)]
    assert [text(each.pop("METHOD"), "value") for each in variables] == ["LIST", "SLEEP"]
    for only_in_second in ("SLEEP_TIME", "IGNORE_ALREADY_PROCESSED", "HEALTH_PORT"):
        variables[1].pop(only_in_second)
    assert variables[0] == variables[1]
    for key in ("image", "volumeMounts", "resources", "securityContext"):
        assert at(first, key) == at(second, key) is not None


def test_only_the_sidecar_can_ask_kubernetes_and_only_in_its_namespace() -> None:
    """The exporter itself never does. Without the sidecar nobody has a right or a token."""
    found = deployment.helm_template(PROVIDER, "--namespace", "chat")
    spec = table(pod(found), "spec")
    holders = [
        text(one, "name")
        for key in ("initContainers", "containers")
        for one in items(spec, key)
        if API in {at(mount, "mountPath") for mount in items(one, "volumeMounts")}
    ]
    assert (holders, spec["automountServiceAccountToken"]) == (["workspaces-at-start", "workspaces"], False)
    assert {one["kind"] for one in found if str(one["apiVersion"]).startswith("rbac")} == {"Role", "RoleBinding"}
    (rule,) = items(only(found, "Role"), "rules")
    assert rule == {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list", "watch"]}
    assert items(only(found, "RoleBinding"), "subjects") == [
        {"kind": "ServiceAccount", "name": spec["serviceAccountName"], "namespace": "chat"}
    ]
    for resource in ("configmap", "secret"):
        fewer = deployment.helm_template({**SIDECAR, "sidecar": {"enabled": True, "resource": resource}})
        assert items(only(fewer, "Role"), "rules", 0, "resources") == [f"{resource}s"]
    without = deployment.helm_template(ACME)
    assert of_kind(without, "Role") == of_kind(without, "RoleBinding") == []
    assert API not in str(without)
    assert of_kind(deployment.helm_template({**SIDECAR, "rbac": {"create": False}}), "Role") == []


def test_tokens_are_kept_in_memory() -> None:
    (volume,) = [
        one for one in items(pod(deployment.helm_template(PROVIDER)), "spec", "volumes") if at(one, "emptyDir")
    ]
    assert at(volume, "emptyDir", "medium") == "Memory"


def test_the_example_of_a_tenant_is_one(tmp_path: Path) -> None:
    """People copy it. Its namespace is that of the overlay, and its label is in the values for a provider."""
    found = deployment.helm_template(PROVIDER)
    sidecar(found, tmp_path).collect(TENANT)
    loaded = load(found, tmp_path)
    assert loaded.workspaces["acme"].credentials.load().auth_token == "TOKEN"
    assert [wrong for one in TENANT for wrong in deployment.mistakes(one, deployment.VERSIONS[-1])] == []
    overlay = yaml.safe_load((KUBERNETES / "overlays" / "provider" / "kustomization.yaml").read_text())
    assert {at(one, "metadata", "namespace") for one in TENANT} == {overlay["namespace"]}
    labels = set(items(PROVIDER, "prometheusRule", "workspaceLabels"))
    assert labels == set(loaded.workspaces["acme"].target.labels)


# Scrapes by /sd


@pytest.mark.parametrize("shards", [{}, SHARDS], ids=["one pod", "shards"])
def test_the_scrape_configs_say_what_the_example_for_prometheus_says(shards: Object) -> None:
    """A real Prometheus is tested with that example. The operator only translates the names."""
    found = deployment.helm_template({**ACME, **shards, "scrapeConfig": {"enabled": True}}, "--namespace", "chat")
    example = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus-sd.yml").read_text())["scrape_configs"]
    host = f"{generate.NAME}.chat.svc:19458"
    hosts = [f"{generate.NAME}-{ordinal}.{host}" for ordinal in range(3)] if shards else [host]
    for made, shown in zip(of_kind(found, "ScrapeConfig"), example, strict=True):
        spec = table(made, "spec")
        assert spec.get("metricsPath") == shown.get("metrics_path", "/metrics")
        assert spec.get("honorLabels") == shown.get("honor_labels")
        dropped = [(at(one, "sourceLabels"), at(one, "regex")) for one in items(spec, "metricRelabelings")]
        assert dropped == [(one["source_labels"], one["regex"]) for one in shown.get("metric_relabel_configs", ())]
        jobs = [one for one in items(spec, "relabelings") if at(one, "targetLabel") == "job"]
        assert jobs == [{"targetLabel": "job", "replacement": generate.NAME}]
        targets = [target for one in items(spec, "staticConfigs") for target in items(one, "targets")]
        assert targets == (hosts if "static_configs" in shown else [])
        urls = [text(one, "url") for one in items(spec, "httpSDConfigs")]
        assert urls == ([f"http://{each}/sd" for each in hosts] if "http_sd_configs" in shown else [])


def test_the_scrape_configs_log_in_and_trust_the_certificate() -> None:
    """With a login, `/sd` needs it, too."""
    login = {"basicAuth": {key: {"name": "login", "key": key} for key in ("username", "password")}}
    web = {"configSecret": "web", "certificateSecret": "certificate"}
    found = deployment.helm_template({**ACME, **SHARDS, "web": web, "scrapeConfig": {"enabled": True, **login}})
    for made in of_kind(found, "ScrapeConfig"):
        for one in (table(made, "spec"), *map(table, items(made, "spec", "httpSDConfigs"))):
            assert one["basicAuth"] == login["basicAuth"]
            assert at(one, "tlsConfig", "ca", "secret", "name") == "certificate"
            assert at(one, "tlsConfig", "serverName") == f"{generate.NAME}.default.svc"
        assert at(made, "spec", "scheme") == "HTTPS"
        assert all(text(one, "url").startswith("https://") for one in items(made, "spec", "httpSDConfigs"))
