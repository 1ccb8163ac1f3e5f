"""The chart's values: each does what it says, alone, beside the others, and through an umbrella chart."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy import generate
from deploy.generate import CHART
from deploy.prometheus.generate import alerts, limits
from rc_import_exporter import __version__
from tests.support import deployment
from tests.support.deployment import Object, at, container, items, of_kind, only, pod, table, text

pytestmark = pytest.mark.program()
"""`deployment` lists the programs. These tests do not need to run with every Python."""

ACME: Final[Object] = {"workspaces": {"acme": {"url": "https://chat.acme.example"}}}
CI: Final[Mapping[str, Object]] = {
    path.stem.removesuffix("-values"): yaml.safe_load(path.read_text()) for path in (CHART / "ci").glob("*.yaml")
}
SPEC: Final = ("spec", "template", "spec")
CONTAINER: Final = (*SPEC, "containers", 0)
ENDPOINT: Final = ("spec", "endpoints", 0)
WEB: Final[Object] = {"web": {"configSecret": "web", "certificateSecret": "certificate"}}
MONITOR: Final[Object] = {"serviceMonitor": {"enabled": True}}

# A value of ci/everything-values.yaml, and where it goes: the kind of the object and the path in it.
UNCHANGED: Final[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {
    **{key: ("Deployment", (*SPEC, key)) for key in ("initContainers", "nodeSelector", "tolerations", "affinity")},
    **{key: ("Deployment", (*SPEC, key)) for key in ("hostAliases", "dnsPolicy", "dnsConfig", "priorityClassName")},
    "topologySpreadConstraints": ("Deployment", (*SPEC, "topologySpreadConstraints")),
    "extraContainers.0": ("Deployment", (*SPEC, "containers", 1)),
    "env": ("Deployment", (*CONTAINER, "env")),
    "envFrom": ("Deployment", (*CONTAINER, "envFrom")),
    "image.pullPolicy": ("Deployment", (*CONTAINER, "imagePullPolicy")),
    "port": ("Deployment", (*CONTAINER, "ports", 0, "containerPort")),
    "volumes.0": ("Deployment", (*SPEC, "volumes", 3)),
    "volumeMounts.0": ("Deployment", (*CONTAINER, "volumeMounts", 3)),
    "resources.limits.cpu": ("Deployment", (*CONTAINER, "resources", "limits", "cpu")),
    "startupProbe.failureThreshold": ("Deployment", (*CONTAINER, "startupProbe", "failureThreshold")),
    "readinessProbe.tcpSocket": ("Deployment", (*CONTAINER, "readinessProbe", "tcpSocket")),
    "livenessProbe.httpGet.httpHeaders": ("Deployment", (*CONTAINER, "livenessProbe", "httpGet", "httpHeaders")),
    "podSecurityContext.runAsUser": ("Deployment", (*SPEC, "securityContext", "runAsUser")),
    "securityContext.runAsGroup": ("Deployment", (*CONTAINER, "securityContext", "runAsGroup")),
    "revisionHistoryLimit": ("Deployment", ("spec", "revisionHistoryLimit")),
    "strategy": ("Deployment", ("spec", "strategy")),
    "namespaceOverride": ("Deployment", ("metadata", "namespace")),
    "fullnameOverride": ("Deployment", ("metadata", "name")),
    "nameOverride": ("Deployment", ("metadata", "labels", "app.kubernetes.io/name")),
    "commonLabels.team": ("Deployment", ("metadata", "labels", "team")),
    "commonAnnotations.of": ("Deployment", ("metadata", "annotations", "of")),
    "deploymentAnnotations.reloader\\.stakater\\.com/auto": (
        "Deployment",
        ("metadata", "annotations", "reloader.stakater.com/auto"),
    ),
    "podAnnotations.of": ("Deployment", ("spec", "template", "metadata", "annotations", "of")),
    "podLabels.mesh": ("Deployment", ("spec", "template", "metadata", "labels", "mesh")),
    "serviceAccount.name": ("ServiceAccount", ("metadata", "name")),
    "serviceAccount.annotations": ("ServiceAccount", ("metadata", "annotations")),
    "service.type": ("Service", ("spec", "type")),
    "service.annotations": ("Service", ("metadata", "annotations")),
    "service.labels.of": ("Service", ("metadata", "labels", "of")),
    "service.nodePort": ("Service", ("spec", "ports", 0, "nodePort")),
    **{
        f"service.{key}": ("Service", ("spec", key))
        for key in ("clusterIP", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges")
    },
    "service.ipFamilies": ("Service", ("spec", "ipFamilies")),
    "service.ipFamilyPolicy": ("Service", ("spec", "ipFamilyPolicy")),
    "ingress.className": ("Ingress", ("spec", "ingressClassName")),
    "ingress.labels.of": ("Ingress", ("metadata", "labels", "of")),
    "ingress.annotations.nginx\\.ingress\\.kubernetes\\.io/backend-protocol": (
        "Ingress",
        ("metadata", "annotations", "nginx.ingress.kubernetes.io/backend-protocol"),
    ),
    "ingress.hosts.1.host": ("Ingress", ("spec", "rules", 1, "host")),
    "ingress.hosts.1.paths.0.path": ("Ingress", ("spec", "rules", 1, "http", "paths", 0, "path")),
    "ingress.hosts.1.paths.0.pathType": ("Ingress", ("spec", "rules", 1, "http", "paths", 0, "pathType")),
    "ingress.tls": ("Ingress", ("spec", "tls")),
    "httpRoute.labels.of": ("HTTPRoute", ("metadata", "labels", "of")),
    "httpRoute.annotations": ("HTTPRoute", ("metadata", "annotations")),
    "httpRoute.parentRefs": ("HTTPRoute", ("spec", "parentRefs")),
    "httpRoute.hostnames": ("HTTPRoute", ("spec", "hostnames")),
    "httpRoute.matches": ("HTTPRoute", ("spec", "rules", 0, "matches")),
    "httpRoute.filters": ("HTTPRoute", ("spec", "rules", 0, "filters")),
    "serviceMonitor.additionalLabels.release": ("ServiceMonitor", ("metadata", "labels", "release")),
    "serviceMonitor.annotations": ("ServiceMonitor", ("metadata", "annotations")),
    "serviceMonitor.namespace": ("ServiceMonitor", ("metadata", "namespace")),
    **{
        f"serviceMonitor.{key}": ("ServiceMonitor", ("spec", key))
        for key in ("jobLabel", "targetLabels", "podTargetLabels", "sampleLimit")
    },
    **{
        f"serviceMonitor.{key}": ("ServiceMonitor", (*ENDPOINT, key))
        for key in ("honorLabels", "scheme", "tlsConfig", "basicAuth", "interval", "scrapeTimeout", "relabelings")
    },
    "serviceMonitor.metricRelabelings": ("ServiceMonitor", (*ENDPOINT, "metricRelabelings")),
    "namespaceOverride ": ("ServiceMonitor", ("spec", "namespaceSelector", "matchNames", 0)),
    "prometheusRule.additionalLabels.release": ("PrometheusRule", ("metadata", "labels", "release")),
    "prometheusRule.annotations": ("PrometheusRule", ("metadata", "annotations")),
    "prometheusRule.namespace": ("PrometheusRule", ("metadata", "namespace")),
    "dashboards.namespace": ("GrafanaDashboard", ("metadata", "namespace")),
    "dashboards.grafanaDashboard.labels.of": ("GrafanaDashboard", ("metadata", "labels", "of")),
    "networkPolicy.from.0": ("NetworkPolicy", ("spec", "ingress", 0, "from", 0)),
    "networkPolicy.to.0": ("NetworkPolicy", ("spec", "egress", 1)),
}
# The same for ci/provider-values.yaml and ci/discovery-values.yaml.
SIDECAR: Final = (*SPEC, "containers", 1)
PROVIDER: Final[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {
    "replicas": ("StatefulSet", ("spec", "replicas")),
    "sidecar.label": ("StatefulSet", (*SIDECAR, "env", 2, "value")),
    "sidecar.labelValue": ("StatefulSet", (*SIDECAR, "env", 3, "value")),
}
DISCOVERY: Final[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {
    "sidecar.resource": ("Deployment", (*SIDECAR, "env", 1, "value")),
    "sidecar.image.pullPolicy": ("Deployment", (*SIDECAR, "imagePullPolicy")),
    "sidecar.resources.limits.memory": ("Deployment", (*SIDECAR, "resources", "limits", "memory")),
    "scrapeConfig.additionalLabels.release": ("ScrapeConfig", ("metadata", "labels", "release")),
    "scrapeConfig.annotations": ("ScrapeConfig", ("metadata", "annotations")),
    "scrapeConfig.namespace": ("ScrapeConfig", ("metadata", "namespace")),
    **{
        f"scrapeConfig.{key}": ("ScrapeConfig", ("spec", key))
        for key in ("sampleLimit", "tlsConfig", "basicAuth", "scrapeTimeout", "metricRelabelings")
    },
    "scrapeConfig.interval": ("ScrapeConfig", ("spec", "scrapeInterval")),
    "scrapeConfig.refreshInterval": ("ScrapeConfig", ("spec", "httpSDConfigs", 0, "refreshInterval")),
    "scrapeConfig.relabelings.0": ("ScrapeConfig", ("spec", "relabelings", 2)),
}
POD_MONITOR: Final[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {
    key.replace("service", "pod"): (
        "PodMonitor",
        tuple("podMetricsEndpoints" if part == "endpoints" else part for part in path),
    )
    for key, (kind, path) in UNCHANGED.items()
    if kind == "ServiceMonitor" and key.startswith("serviceMonitor.") and not key.endswith("targetLabels")
}


def _value(values: object, path: str) -> object:
    keys = [key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path.strip())]
    return at(values, *(int(key) if key.isdigit() else key for key in keys))


@pytest.mark.parametrize(
    ("example", "path"),
    [
        *(("everything", path) for path in UNCHANGED),
        *(("openshift", path) for path in POD_MONITOR),
        *(("provider", path) for path in PROVIDER),
        *(("discovery", path) for path in DISCOVERY),
    ],
)
def test_a_value_arrives_where_it_belongs(example: str, path: str) -> None:
    kind, place = {**UNCHANGED, **POD_MONITOR, **PROVIDER, **DISCOVERY}[path]
    given, rendered = _value(CI[example], path), at(_last(kind, CI[example]), *place)
    assert given is not None
    if isinstance(given, dict) and isinstance(rendered, dict) and "annotations" in place:
        rendered = {key: rendered[key] for key in given}
    assert rendered == given


def _last(kind: str, values: Object) -> Object:
    return of_kind(deployment.helm_template(values), kind)[-1]


def test_the_examples_set_every_value() -> None:
    """The tests render the examples, so a value that is not in them is in no test."""
    paths = {path for path, _, _ in generate.documented((CHART / "values.yaml").read_text())}
    paths = {path for path in paths if not path.startswith("prometheusRule.thresholds.")}
    assert {path for path in paths if all(_value(values, path) is None for values in CI.values())} == set()


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, f"{generate.NAME}:{__version__}"),
        (
            {"image": {"registry": "registry.example.org"}},
            f"registry.example.org/{generate.NAME}:{__version__}",
        ),
        (
            {"image": {"registry": "a.example", "tag": "1"}, "global": {"imageRegistry": "b.example"}},
            f"b.example/{generate.NAME}:1",
        ),
        ({"image": {"tag": "1", "digest": "sha256:" + "0" * 64}}, f"{generate.NAME}@sha256:" + "0" * 64),
    ],
    ids=["default", "registry", "global registry", "digest"],
)
def test_the_image_has_all_its_parts(values: Object, image: str) -> None:
    assert at(container(deployment.helm_template({**ACME, **values})), "image") == image


def test_secrets_of_the_registry_are_given_in_both_forms_and_once() -> None:
    secrets = items(pod(deployment.helm_template(CI["everything"])), "spec", "imagePullSecrets")
    assert secrets == [{"name": "mirror"}, {"name": "registry"}]


def test_an_extra_object_is_taken_as_it_is_and_an_extra_text_is_a_template() -> None:
    """Objects of other operators contain templates of their own."""
    found = deployment.helm_template(CI["everything"])
    (variables,) = [one for one in of_kind(found, "ConfigMap") if at(one, "metadata", "name") == "variables"]
    assert variables["data"] == {"A": "{{ not a template }}"}
    assert "tokens" in [at(one, "metadata", "name") for one in of_kind(found, "Secret")]


# Labels and annotations that overlap


OVERLAP: Final[Mapping[str, str]] = {
    "app.kubernetes.io/name": "mine",
    "app.kubernetes.io/part-of": "mine",
    "app.kubernetes.io/managed-by": "mine",
    "helm.sh/chart": "mine",
}
NOTES: Final = dict.fromkeys(("prometheus.io/port", "kubectl.kubernetes.io/default-container", "a"), "mine")


MONITORS: Final = ("serviceMonitor", "podMonitor", "scrapeConfig")


def _overlapping(monitor: str = "serviceMonitor") -> Object:
    """Each map of labels and each map of annotations has the same keys, which the chart itself sets too."""
    on: Object = {"enabled": True, "labels": {**OVERLAP, "release": "a"}, "annotations": NOTES}
    more: Object = {**on, "additionalLabels": {**OVERLAP, "release": "b"}}
    return {
        **ACME,
        "scrapeAnnotations": True,
        "commonLabels": OVERLAP,
        "podLabels": OVERLAP,
        **dict.fromkeys(("commonAnnotations", "deploymentAnnotations", "podAnnotations"), NOTES),
        "service": {"labels": OVERLAP, "annotations": NOTES},
        "serviceAccount": {"annotations": NOTES},
        "ingress": {**on, "hosts": [{"host": "a.example"}]},
        "httpRoute": on,
        monitor: more,
        "sidecar": {"enabled": True},
        "prometheusRule": {
            **more,
            "additionalRuleLabels": {"severity": "mine"},
            "additionalRuleAnnotations": {"summary": "mine"},
        },
        "dashboards": {
            "configMap": {"enabled": True, "labels": OVERLAP, "annotations": NOTES},
            "grafanaDashboard": {"enabled": True, "labels": OVERLAP},
        },
    }


@pytest.mark.parametrize("monitor", MONITORS)
def test_no_key_is_written_twice_whatever_maps_overlap(monitor: str) -> None:
    """Kustomize and Flux refuse a key that is there twice. The loader of `helm_template` does, too."""
    shards = {"autosharding": {"enabled": True}} if monitor == "podMonitor" else {}
    found = deployment.helm_template({**_overlapping(monitor), **shards})
    assert len(found) > 10
    for one in found:
        labels = table(one, "metadata", "labels")
        assert "mine" not in {labels["app.kubernetes.io/name"], labels["app.kubernetes.io/instance"]}
        if one["kind"] != "Pod":
            assert labels["app.kubernetes.io/part-of"] == "mine"
        if str(one["apiVersion"]).startswith("monitoring"):
            assert labels["release"] == "b"
    assert table(pod(found), "metadata", "annotations")["prometheus.io/port"] == "mine"
    assert deployment.contradictions(found, frozenset({f"Secret/{generate.NAME}"})) == []


@pytest.mark.parametrize("values", [_overlapping(), *CI.values()], ids=["overlapping", *CI])
def test_kustomize_takes_what_the_chart_renders(values: Object, tmp_path: Path) -> None:
    """Its parser is stricter than that of Kubernetes, and people patch charts with it."""
    found = deployment.helm_template(values)
    (tmp_path / "all.yaml").write_text(generate.render(deployment.helm(), values))
    (tmp_path / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    assert len(deployment.kustomize(tmp_path)) == len(found)


# OpenShift


@pytest.mark.parametrize(
    ("values", "arguments", "adapted"),
    [
        ({}, (), False),
        ({}, ("--api-versions", "security.openshift.io/v1"), True),
        ({"openshift": True}, (), True),
        ({"openshift": False}, ("--api-versions", "security.openshift.io/v1"), False),
    ],
    ids=["elsewhere", "on OpenShift", "switched on", "switched off"],
)
def test_openshift_chooses_users_and_groups(values: Object, arguments: tuple[str, ...], *, adapted: bool) -> None:
    """Its constraint restricted-v2 refuses every fixed user and group."""
    found = deployment.helm_template({**ACME, "securityContext": {"runAsUser": 1000}, **values}, *arguments)
    for one in (pod(found), only(found, "Pod")):
        contexts = [table(one, "spec", "securityContext"), table(one, "spec", "containers", 0, "securityContext")]
        fixed = {key for each in contexts for key in each} & {"runAsUser", "runAsGroup", "fsGroup"}
        assert fixed == (set() if adapted else {"runAsUser", "runAsGroup", "fsGroup"})
        assert deployment.unrestricted(one) == []


# Umbrella charts


def _umbrella(folder: Path, values: Object) -> list[Object]:
    """What an umbrella chart renders that depends on this chart."""
    shutil.copytree(CHART, folder / "charts" / CHART.name)
    dependency = {"name": CHART.name, "version": __version__, "condition": f"{CHART.name}.enabled"}
    chart = {"apiVersion": "v2", "name": "chat", "version": "1.0.0", "dependencies": [dependency]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return deployment.objects(deployment.run(deployment.helm(), "template", "chat", str(folder)))


@pytest.mark.parametrize("example", CI)
def test_an_umbrella_chart_can_contain_it(example: str, tmp_path: Path) -> None:
    shared = {"imageRegistry": "mirror.example.org", "imagePullSecrets": ["mirror"], "of another chart": {"a": 1}}
    own = {key: value for key, value in CI[example].items() if key != "global"}
    found = _umbrella(tmp_path, {"global": shared, CHART.name: {"enabled": True, **own}})
    ours = [one for one in items(pod(found), "spec", "containers") if at(one, "name") in {"exporter", "workspaces"}]
    assert [text(one, "image").partition("/")[0] for one in ours] == ["mirror.example.org"] * len(ours)
    assert {"name": "mirror"} in items(pod(found), "spec", "imagePullSecrets")
    assert deployment.unrestricted(pod(found)) == []


def test_an_umbrella_chart_can_leave_it_out(tmp_path: Path) -> None:
    assert _umbrella(tmp_path, {CHART.name: {"enabled": False, **CI["demo"]}}) == []


# The web configuration


def test_the_web_configuration_is_mounted_and_probes_and_monitors_follow_it() -> None:
    found = deployment.helm_template({**ACME, **WEB, **MONITOR, "scrapeAnnotations": True}, "--namespace", "chat")
    one = container(found)
    folder = "/run/secrets/rc-import-exporter-web"
    assert f"--web.config.file={folder}/web-config.yml" in items(one, "args")
    assert {"name": "web", "mountPath": folder, "readOnly": True} in items(one, "volumeMounts")
    (volume,) = [each for each in items(pod(found), "spec", "volumes") if at(each, "name") == "web"]
    assert items(volume, "projected", "sources") == [{"secret": {"name": name}} for name in ("web", "certificate")]
    assert [at(one, f"{probe}Probe", "httpGet", "scheme") for probe in ("liveness", "readiness")] == ["HTTPS", "HTTPS"]
    assert at(pod(found), "metadata", "annotations", "prometheus.io/scheme") == "https"
    assert at(only(found, "ServiceMonitor"), *ENDPOINT) == {
        "port": "metrics",
        "path": "/metrics",
        "scheme": "https",
        "tlsConfig": {
            "ca": {"secret": {"name": "certificate", "key": "ca.crt"}},
            "serverName": f"{generate.NAME}.chat.svc",
        },
    }


def test_a_login_without_tls_changes_no_scheme() -> None:
    found = deployment.helm_template({**ACME, **MONITOR, "web": {"configSecret": "web"}})
    assert "HTTPS" not in json.dumps(container(found))
    assert at(only(found, "ServiceMonitor"), *ENDPOINT) == {"port": "metrics", "path": "/metrics"}


def test_probes_only_connect_where_a_client_certificate_is_demanded() -> None:
    """Kubernetes has no certificate to show, so a request would fail and the pod would be restarted for ever."""
    web = {"configSecret": "web", "certificateSecret": "certificate", "clientCertificate": True}
    found = deployment.helm_template({**ACME, "web": web})
    for probe in ("livenessProbe", "readinessProbe"):
        assert at(container(found), probe, "tcpSocket") == {"port": "metrics"}
        assert at(container(found), probe, "httpGet") is None
    assert of_kind(found, "Pod") == []


@pytest.mark.parametrize("web", [{"scheme": "https"}, {"certificateSecret": "a"}, {"clientCertificate": True}], ids=str)
def test_a_scheme_that_nothing_turns_on_is_refused(web: Object) -> None:
    """Each probe would fail."""
    with pytest.raises(ValueError, match=r"set web\.configSecret"):
        deployment.helm_template({**ACME, "web": web})


def test_own_ways_to_probe_are_kept() -> None:
    command = {"exec": {"command": ["true"]}}
    found = deployment.helm_template({**ACME, "livenessProbe": command, "readinessProbe": None})
    assert at(container(found), "livenessProbe", "httpGet") is None
    assert at(container(found), "livenessProbe", "exec") == command["exec"]
    assert "readinessProbe" not in container(found)


# Other charts


OTHERS: Final[Mapping[str, set[str]]] = {
    name: set(values.split())
    for name, values in {
        "prometheus-blackbox-exporter": """
        affinity automountServiceAccountToken commonLabels config configExistingSecretName configPath configReloader
        containerPort deploymentAnnotations dnsConfig dnsPolicy extraArgs extraConfigmapMounts extraContainers extraEnv
        extraEnvFrom extraInitContainers extraManifests extraSecretMounts extraVolumeMounts extraVolumes
        global.imageRegistry hostAliases hostNetwork hostPort image.digest image.pullPolicy image.pullSecrets
        image.registry image.repository image.tag ingress kind kubeVersionOverride livenessProbe namespaceOverride
        networkPolicy.allowMonitoringNamespace networkPolicy.enabled networkPolicy.monitoringNamespaceName nodeSelector
        pod.labels podAnnotations podDisruptionBudget podMonitoring podSecurityContext priorityClassName
        prometheusRule.additionalLabels prometheusRule.enabled prometheusRule.namespace prometheusRule.rules
        readinessProbe releaseLabel replicas resources restartPolicy revisionHistoryLimit secretAnnotations secretConfig
        securityContext service.annotations service.ipDualStack service.labels service.port service.type
        serviceAccount.annotations serviceAccount.create serviceAccount.name serviceMonitor.bearerTokenFile
        serviceMonitor.defaults serviceMonitor.enabled serviceMonitor.path serviceMonitor.scheme
        serviceMonitor.selfMonitor.additionalMetricsRelabels serviceMonitor.selfMonitor.additionalRelabeling
        serviceMonitor.selfMonitor.enabled serviceMonitor.selfMonitor.interval serviceMonitor.selfMonitor.labels
        serviceMonitor.selfMonitor.path serviceMonitor.selfMonitor.port serviceMonitor.selfMonitor.scheme
        serviceMonitor.selfMonitor.scrapeTimeout serviceMonitor.selfMonitor.tlsConfig serviceMonitor.targets
        serviceMonitor.tlsConfig strategy tolerations topologySpreadConstraints verticalPodAutoscaler
        """,
        "kube-state-metrics": """
        affinity annotations automountServiceAccountToken autosharding collectors containerSecurityContext containers
        customLabels customResourceState dnsConfig dnsPolicy env extraArgs extraManifests global.imagePullSecrets
        global.imageRegistry hostNetwork image.pullPolicy image.registry image.repository image.sha image.tag
        imagePullSecrets initContainers kubeRBACProxy kubeconfig labels livenessProbe metricAllowlist
        metricAnnotationsAllowList metricDenylist metricLabelsAllowlist namespaceOverride namespaces namespacesDenylist
        networkPolicy.egress networkPolicy.enabled networkPolicy.flavor networkPolicy.ingress networkPolicy.podSelector
        nodeSelector podAnnotations podDisruptionBudget podLabels priorityClassName prometheus.monitor.additionalLabels
        prometheus.monitor.annotations prometheus.monitor.enabled prometheus.monitor.http.bearerTokenFile
        prometheus.monitor.http.bearerTokenSecret prometheus.monitor.http.enableHttp2
        prometheus.monitor.http.honorLabels prometheus.monitor.http.interval prometheus.monitor.http.metricRelabelings
        prometheus.monitor.http.proxyUrl prometheus.monitor.http.relabelings prometheus.monitor.http.scheme
        prometheus.monitor.http.scrapeTimeout prometheus.monitor.http.tlsConfig prometheus.monitor.jobLabel
        prometheus.monitor.labelLimit prometheus.monitor.labelNameLengthLimit prometheus.monitor.labelValueLengthLimit
        prometheus.monitor.metrics prometheus.monitor.namespace prometheus.monitor.namespaceSelector
        prometheus.monitor.podTargetLabels prometheus.monitor.sampleLimit prometheus.monitor.selectorOverride
        prometheus.monitor.targetLabels prometheus.monitor.targetLimit prometheus.scrapeconfig prometheusScrape rbac
        readinessProbe releaseLabel releaseNamespace replicas resources revisionHistoryLimit securityContext
        selectorOverride selfMonitor service.annotations service.clusterIP service.ipDualStack service.loadBalancerIP
        service.loadBalancerSourceRanges service.nodePort service.port service.type serviceAccount.annotations
        serviceAccount.automountServiceAccountToken serviceAccount.create serviceAccount.imagePullSecrets
        serviceAccount.name startupProbe tolerations topologySpreadConstraints updateStrategy verticalPodAutoscaler
        volumeMounts volumes
        """,
    }.items()
}
"""The values of two charts in github.com/prometheus-community/helm-charts, at the commits 7604877c and b1e058bc. A name
stands for all keys below it, if they are not named too."""


def test_the_readme_compares_each_value_of_two_other_charts() -> None:
    """People come from these charts. A value that they know must be found, or the reason why it is not here."""
    readme = (CHART / "README.md").read_text()
    found = re.search(r"<!-- others -->\n(.*?)<!-- /others -->", readme, re.DOTALL)
    assert found
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].strip().splitlines()]
    for column, (name, values) in enumerate(OTHERS.items(), start=1):
        assert head[column] == name
        named = [value for row in rows for value in re.findall(r"`(.*?)`", row[column])]
        assert (set(named), len(named)) == (values, len(values))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for here, _, _, remark in rows:
        assert _value(values, here.strip("`")) is not None or (here == "no" and remark), here


# Rules


def _rendered(**values: object) -> dict[str, Object]:
    found = deployment.helm_template({**ACME, "prometheusRule": {"enabled": True, **values}})
    groups = items(only(found, "PrometheusRule"), "spec", "groups")
    assert all(items(group, "rules") for group in groups)
    rules = [table(rule) for group in groups for rule in items(group, "rules")]
    return {str(rule.get("alert") or rule.get("record")): rule for rule in rules}


def test_the_readme_says_that_only_one_release_installs_the_rules() -> None:
    """The rules of two releases in one Prometheus record the same series twice."""
    told = " ".join((CHART / "README.md").read_text().split())
    assert "If one Prometheus scrapes two releases, install the rules with **only one** of them." in told


def test_single_alerts_can_be_left_out() -> None:
    alert = alerts()[0].name
    assert set(_rendered()) - set(_rendered(disabled={alert: True})) == {alert}
    assert alert in _rendered(disabled={alert: False})
    left = set(_rendered(disabled={one.name: True for one in alerts()}))
    assert left == {name for name in _rendered() if name.startswith("rocketchat_import:")}


def test_severities_and_labels_of_alerts_can_be_changed() -> None:
    changed = _rendered(
        severity={"RocketChatImportStalled": "page"},
        additionalRuleLabels={"tier": "chat", "severity": "mine"},
        additionalRuleAnnotations={"wiki": "https://wiki.example.org"},
    )
    for name, rule in _rendered().items():
        if "alert" in rule:
            severity = "page" if name == "RocketChatImportStalled" else at(rule, "labels", "severity")
            assert changed[name]["labels"] == {"severity": severity, "tier": "chat"}
            assert at(changed[name], "annotations", "wiki") == "https://wiki.example.org"
        else:
            assert changed[name] == rule


def test_the_limits_of_the_rules_are_values() -> None:
    """A number that is not replaced everywhere would make rules that contradict each other."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]["thresholds"]
    assert values == {generate.value_name(name): float(number) for name, number in limits().items()}
    changed = {name: 700_001 + index for index, name in enumerate(values)}
    written = json.dumps(_rendered(thresholds=changed))
    assert {name for name, number in changed.items() if str(number) not in written} == set()
    kept = [number for number in limits().values() if re.search(rf"(?<![\w.%]){re.escape(number)}(?![\w.%])", written)]
    assert kept == []
    assert "${" not in written


@pytest.mark.program("promtool")
def test_prometheus_loads_changed_rules(tmp_path: Path) -> None:
    rules = only(deployment.helm_template(CI["everything"]), "PrometheusRule")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    deployment.run(Path("promtool"), "check", "rules", str(tmp_path / "rules.yml"))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"disabled": {"Stalled": True}}, "Stalled"),
        ({"severity": {"RocketChatImportStalled": ""}}, "RocketChatImportStalled"),
        ({"thresholds": {"stalled": 1}}, "stalled"),
        ({"thresholds": {"stalledAfter": "30m"}}, "stalledAfter"),
        ({"thresholds": {"stalledAfter": None}}, "stalledAfter"),
    ],
    ids=str,
)
def test_a_misspelt_alert_or_limit_is_refused(values: Object, named: str) -> None:
    """An alert that someone believes to be off would wake people, and the other way round."""
    with pytest.raises(ValueError, match=named):
        _rendered(**values)
