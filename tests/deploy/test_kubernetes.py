"""The plain manifests: they equal the chart's, and Kubernetes accepts them."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy import generate
from rc_import_exporter import __version__
from rc_import_exporter.config import settings
from tests.support import deployment
from tests.support.deployment import KUBERNETES, Object, at, container, items, of_kind, only, pod, table, text

pytestmark = pytest.mark.program()
"""`deployment` lists the programs. These tests do not need to run with every Python."""

FOLDERS: Final = {
    "base": KUBERNETES / "base",
    **{f"overlay {name}": KUBERNETES / "overlays" / name for name in ("demo", "example", "provider")},
}
LOGIN: Final = f"{generate.NAME}-login"
WEB: Final[Object] = {
    "configSecret": f"{generate.NAME}-web",
    "certificateSecret": f"{generate.NAME}-tls",
    "serverName": f"{generate.NAME}.monitoring.svc",
}
WEB_SECRETS: Final = {f"Secret/{WEB['configSecret']}", f"Secret/{WEB['certificateSecret']}"}
MONITOR: Final[Object] = {
    "enabled": True,
    "basicAuth": {key: {"name": LOGIN, "key": key} for key in ("username", "password")},
}
COMPONENTS: Final[Mapping[str, Object]] = {
    "service-monitor web-config": {"web": WEB, "serviceMonitor": MONITOR},
    "pod-monitor web-config": {"web": WEB, "podMonitor": MONITOR},
    **{folder: dict(values) for folder, (_, values) in generate.COMPONENTS.items()},
    "scrape-annotations": {"scrapeAnnotations": True},
    "dashboards": {"dashboards": {"configMap": {"enabled": True}}},
    "grafana-dashboards": {"dashboards": {"grafanaDashboard": {"enabled": True}}},
}
USERS_OWN: Final = frozenset({f"Secret/{generate.NAME}"})
EXAMPLES: Final = KUBERNETES / "examples"
EXAMPLE: Final = EXAMPLES / "wait-for-imports.yaml"

# What the scanner asks for and this does not do.
EXCEPTIONS: Final = {
    "CKV_K8S_15": "a release's tag never moves, so a node that has the image may start it while the registry is away",
    "CKV_K8S_43": "there is no public image, so no digest is known; users can set image.digest",
}
# The same for the overlay for a provider, whose pod has a sidecar.
OF_SIDECAR: Final = {
    "CKV_K8S_8 StatefulSet": "it ends by itself if it cannot go on",
    "CKV_K8S_9 StatefulSet": "the exporter goes on with the workspaces that it has while Kubernetes does not answer",
    "CKV2_K8S_5 RoleBinding": "it reads Secrets by label, and Kubernetes has no rights by label",
}


@contextmanager
def with_components(folder: Path, *names: str) -> Iterator[list[Object]]:
    """The base with components, in the chart's namespace."""
    overlay = {
        "resources": [os.path.relpath(KUBERNETES / "base", folder)],
        "components": [os.path.relpath(KUBERNETES / "components" / name, folder) for name in names],
        "namespace": "default",
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    yield deployment.kustomize(folder)


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_kubernetes_takes_every_object(folder: Path) -> None:
    """The oldest and the newest Kubernetes, and the operators, refuse unknown keys."""
    found = deployment.kustomize(folder)
    assert [
        wrong for one in found for version in deployment.VERSIONS for wrong in deployment.mistakes(one, version)
    ] == []


def test_a_mistake_in_any_custom_resource_is_noticed() -> None:
    """The operators' types are converted to a schema, which could lose what they forbid."""
    examples = [
        one for name in ("argocd", "flux") for one in deployment.objects((EXAMPLES / f"{name}.yaml").read_text())
    ]
    chart = yaml.safe_load((generate.CHART / "ci" / "everything-values.yaml").read_text())
    made = [*examples, *deployment.helm_template(chart)]
    kinds = ("Application", "OCIRepository", "HelmRelease", "ExternalSecret", "HTTPRoute", "ServiceMonitor")
    for one in (of_kind(made, kind)[0] for kind in kinds):
        assert deployment.mistakes(one, deployment.VERSIONS[-1]) == []
        table(one, "spec")["unknown"] = 1
        assert "'unknown' was unexpected" in "\n".join(deployment.mistakes(one, deployment.VERSIONS[-1]))


def test_a_mistake_in_a_monitor_is_noticed() -> None:
    made = only(deployment.kustomize(KUBERNETES / "overlays" / "example"), "ServiceMonitor")
    (endpoint,) = items(made, "spec", "endpoints")
    table(endpoint).update(interval="15 s", scheme="ftp", scrape_timeout="3s")
    table(made, "metadata")["label"] = {}
    found = "\n".join(deployment.mistakes(made, deployment.VERSIONS[-1]))
    assert [word for word in ("'15 s'", "'ftp'", "'scrape_timeout'", "'label'") if word not in found] == []


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_the_objects_fit_each_other_and_pod_security_restricted_admits_them(folder: Path) -> None:
    """Users have to create only the Secret, and for the base also the ConfigMap."""
    found = deployment.kustomize(folder)
    own = USERS_OWN | ({f"ConfigMap/{generate.NAME}"} if folder.name == "base" else set())
    assert deployment.contradictions(found, own) == []
    assert deployment.unrestricted(pod(found)) == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_is_what_the_chart_would_do(name: str, tmp_path: Path) -> None:
    with with_components(tmp_path, *name.split()) as found:
        chart = deployment.helm_template({**generate.BASE, **COMPONENTS[name]}, "--skip-tests")
        assert _comparable(found) == _comparable(chart)
        assert [wrong for one in found for wrong in deployment.mistakes(one, deployment.VERSIONS[-1])] == []
        assert deployment.contradictions(found, USERS_OWN | {f"ConfigMap/{generate.NAME}"} | WEB_SECRETS) == []


def _comparable(found: list[Object]) -> dict[str, object]:
    """Objects by kind and name without Helm's labels, and dashboards by their content."""
    maps = {text(one, "metadata", "name"): one for one in of_kind(found, "ConfigMap")}
    compared: dict[str, object] = {}
    for one in found:
        name = f"{one['kind']} {at(one, 'metadata', 'name')}"
        match one["kind"]:
            case "ConfigMap" if at(one, "metadata", "labels", "grafana_dashboard"):
                compared[name] = {key: str(held).strip() for key, held in table(one, "data").items()}
            case "ConfigMap":
                continue
            case "GrafanaDashboard":
                compared[name] = _given_to_grafana(one, maps)
            case _:
                compared[name] = _without_helm(one)
    return compared


def _given_to_grafana(one: Object, maps: Mapping[str, Object]) -> Object:
    """The JSON of a GrafanaDashboard, also if it is in a ConfigMap."""
    spec = table(one, "spec")
    reference = spec.pop("configMapRef", None)
    held = at(maps[text(reference, "name")], "data", text(reference, "key")) if reference else spec["json"]
    return {**spec, "json": str(held).strip()}


def _without_helm(tree: object) -> object:
    match tree:
        case dict():
            return {key: _without_helm(below) for key, below in tree.items() if key not in _HELMS}
        case list():
            return [_without_helm(below) for below in tree]
        case _:
            return tree


_HELMS: Final = frozenset({"helm.sh/chart", "app.kubernetes.io/managed-by"})


def test_the_demo_is_the_charts_demo() -> None:
    found = deployment.kustomize(FOLDERS["overlay demo"])
    namespace = only(found, "Namespace")
    name = text(namespace, "metadata", "name")
    assert at(namespace, "metadata", "labels", "pod-security.kubernetes.io/enforce") == "restricted"
    chart = deployment.helm_template({"demo": True}, "--namespace", name, "--skip-tests")
    assert _comparable([one for one in found if one is not namespace]) == _comparable(chart)


def test_the_overlay_for_a_provider_is_the_chart_with_its_example() -> None:
    found = deployment.kustomize(FOLDERS["overlay provider"])
    namespace = only(found, "Namespace")
    assert at(namespace, "metadata", "labels", "pod-security.kubernetes.io/enforce") == "restricted"
    values = yaml.safe_load((generate.CHART / "ci" / "provider-values.yaml").read_text())
    values["image"] = {"registry": "registry.example.com"}
    # In the overlay all objects have the label by which a Prometheus selects monitors, and the rules know no values.
    values["commonLabels"] = {"release": "kube-prometheus-stack"}
    values["prometheusRule"]["workspaceLabels"] = []
    chart = deployment.helm_template(values, "--namespace", text(namespace, "metadata", "name"), "--skip-tests")
    table(pod(chart), "metadata", "labels").pop("release")
    assert _comparable([one for one in found if one is not namespace]) == _comparable(chart)


def test_a_changed_configuration_is_reloaded_in_place(tmp_path: Path) -> None:
    """A hash in the ConfigMap's name would start a roll-out, which begins each history anew."""
    example = KUBERNETES / "overlays" / "example"
    before = deployment.kustomize(example)
    kustomization = (example / "kustomization.yaml").read_text()
    (tmp_path / "kustomization.yaml").write_text(kustomization.replace("../..", os.path.relpath(KUBERNETES, tmp_path)))
    (tmp_path / "config.yml").write_text((example / "config.yml").read_text() + "    timeout: 5s\n")
    after = deployment.kustomize(tmp_path)
    assert before != after
    assert pod(before) == pod(after)
    assert "--config.auto-reload=true" in items(container(after), "args")


def test_the_examples_configuration_is_one(tmp_path: Path) -> None:
    """Users copy this configuration."""
    written = (KUBERNETES / "overlays" / "example" / "config.yml").read_text()
    comment = (KUBERNETES / "overlays" / "example" / "kustomization.yaml").read_text()
    for key in re.findall(r"--from-literal=([^=\s]+)=", comment):
        (tmp_path / key).write_text("secret")
    (tmp_path / "config.yml").write_text(written.replace("/run/secrets/rc-import-exporter", str(tmp_path)))
    read = settings.load({"config.file": str(tmp_path / "config.yml")}, {})
    assert [one.credentials.load().auth_token for one in read.workspaces.values()] == ["secret"]


def test_the_examples_network_policy_admits_what_is_needed_and_nothing_more() -> None:
    policy = only(deployment.kustomize(FOLDERS["overlay example"]), "NetworkPolicy")
    into, out = items(policy, "spec", "ingress"), items(policy, "spec", "egress")
    rocketchat = {"app.kubernetes.io/name": "rocketchat"}
    assert deployment.admits(into, "monitoring", {"any": "pod"}, "metrics", "TCP")
    assert deployment.admits(out, "kube-system", {"k8s-app": "kube-dns"}, 53, "UDP")
    assert deployment.admits(out, "kube-system", {"k8s-app": "kube-dns"}, 53, "TCP")
    assert deployment.admits(out, "", {}, 443, "TCP")
    assert deployment.admits(out, "chat", rocketchat, 3000, "TCP")
    assert not deployment.admits(into, "default", {"any": "pod"}, "metrics", "TCP")
    assert not deployment.admits(into, "", {}, "metrics", "TCP")
    assert not deployment.admits(into, "monitoring", {"any": "pod"}, 22, "TCP")
    assert not deployment.admits(out, "chat", {"app.kubernetes.io/name": "mongodb"}, 3000, "TCP")
    assert not deployment.admits(out, "chat", rocketchat, 27017, "TCP")
    assert not deployment.admits(out, "", {}, 53, "UDP")
    assert not deployment.admits(out, "", {}, 80, "TCP")


def test_the_guard_before_an_upgrade_is_a_valid_job_with_the_exporters_own_mounts() -> None:
    found = deployment.objects(EXAMPLE.read_text())
    job = only(found, "Job")
    assert [wrong for version in deployment.VERSIONS for wrong in deployment.mistakes(job, version)] == []
    assert deployment.unrestricted(pod(found)) == []
    base = deployment.kustomize(FOLDERS["base"])
    for key in ("securityContext", "volumeMounts", "resources"):
        assert container(found)[key] == container(base)[key]
    assert table(pod(found), "spec")["volumes"] == table(pod(base), "spec")["volumes"]
    assert (at(job, "metadata", "annotations", "helm.sh/hook"), at(job, "spec", "backoffLimit")) == ("pre-upgrade", 0)


@pytest.mark.parametrize("name", ["argocd", "flux"])
def test_an_example_of_gitops_installs_what_its_own_secret_completes(name: str) -> None:
    """A Secret with another name or other keys leaves the pod waiting."""
    path = KUBERNETES / "examples" / f"{name}.yaml"
    found = deployment.objects(path.read_text())
    values = at(found[0], "spec", "source", "helm", "valuesObject") or table(found[1], "spec", "values")
    assert isinstance(values, dict)
    installed = deployment.helm_template(values, "--namespace", "monitoring")
    (secret,) = [one for one in (*found, *installed) if one["kind"] == "ExternalSecret"]
    kept = text(secret, "metadata", "name")
    assert deployment.contradictions(installed, frozenset({f"Secret/{kept}"})) == []
    assert {text(one, "secretKey") for one in items(secret, "spec", "data")} == {"acme.user-id", "acme.auth-token"}
    assert deployment.unrestricted(pod(installed)) == []
    assert [wrong for one in found for wrong in deployment.mistakes(one, deployment.VERSIONS[-1])] == []
    versions = re.findall(r"(?:targetRevision: v|tag: )(\S+)", path.read_text())
    assert versions == [__version__]
    assert len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize("given", ["chart", "manifests"])
def test_the_scanner_finds_nothing_but_what_is_excepted(given: str, tmp_path: Path) -> None:
    """An exception that is no longer needed could hide a new problem."""
    written = (
        generate.render(deployment.helm(), _SCANNED, "--namespace", "chat", "--skip-tests")
        if given == "chart"
        else deployment.run(deployment.kubectl(), "kustomize", str(FOLDERS["overlay example"]))
        + "\n---\n"
        + deployment.run(deployment.kubectl(), "kustomize", str(FOLDERS["overlay provider"]))
        + "\n---\n"
        + EXAMPLE.read_text()
    )
    (tmp_path / "objects.yaml").write_text(written)
    flags = ["--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "--soft-fail", "--output", "json"]
    report = yaml.safe_load(deployment.run(deployment.checkov(), "--directory", str(tmp_path), *flags))
    assert at(report, "summary", "passed") != 0
    failed = items(report, "results", "failed_checks")
    named = {f"{at(one, 'check_id')} {text(one, 'resource').partition('.')[0]}" for one in failed}
    excepted = OF_SIDECAR if given == "manifests" else {}
    assert named >= set(excepted)
    assert {one.partition(" ")[0] for one in named - set(excepted)} == set(EXCEPTIONS)


_SCANNED: Final[Object] = {
    "workspaces": {"acme": {"url": "https://chat.acme.example"}},
    "networkPolicy": {"enabled": True},
    "serviceMonitor": {"enabled": True},
}
