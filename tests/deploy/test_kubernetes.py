"""The plain manifests: they equal the chart's, Kubernetes accepts them, and the exporter runs with them."""

import asyncio
import os
import re
import shlex
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import trustme
import yaml

from deploy import generate
from deploy.prometheus.generate import RULES
from rc_import_exporter import __version__
from rc_import_exporter.config import settings
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServers
from tests.support import deployment
from tests.support.deployment import KUBERNETES, ROOT, Object, at, container, items, of_kind, only, pod, table, text
from tests.support.guarded import HASH, PASSWORD, basic

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


def _service_variables(name: str) -> dict[str, str]:
    """All variables that Kubernetes adds for a Service: see "Discovering services" in its documentation."""
    prefix, address = name.upper().replace("-", "_"), "10.96.0.17"
    port = f"{prefix}_PORT_19458_TCP"
    return {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": "19458",
        f"{prefix}_SERVICE_PORT_METRICS": "19458",
        f"{prefix}_PORT": f"tcp://{address}:19458",
        port: f"tcp://{address}:19458",
        f"{port}_PROTO": "tcp",
        f"{port}_PORT": "19458",
        f"{port}_ADDR": address,
    }


class Kubelet:
    """Does what a kubelet does for the exporter's container: mounts its volumes and runs its arguments.

    As in Kubernetes, the files of a volume are symlinks through another symlink, and an update replaces only that one.
    """

    def __init__(self, folder: Path, found: list[Object], secrets: Mapping[str, Mapping[str, str]]) -> None:
        self._found = found
        self._secrets = secrets
        self._folder = folder
        self._generation = 0
        for mount in items(container(found), "volumeMounts"):
            self._at(text(mount, "mountPath")).mkdir(parents=True)
        self.project(secrets)

    def project(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        """Updates the volumes to the content of these Secrets."""
        self._secrets = secrets
        self._generation += 1
        for mount in items(container(self._found), "volumeMounts"):
            (volume,) = [
                one for one in items(pod(self._found), "spec", "volumes") if at(one, "name") == at(mount, "name")
            ]
            self._turn(self._at(text(mount, "mountPath")), self._content(volume))

    def _at(self, path: str) -> Path:
        return self._folder / path.lstrip("/")

    def _content(self, volume: object) -> dict[str, str]:
        content: dict[str, str] = {}
        for source in [volume, *items(volume, "projected", "sources")]:
            if name := at(source, "configMap", "name"):
                (made,) = [one for one in of_kind(self._found, "ConfigMap") if at(one, "metadata", "name") == name]
                content |= {key: str(held) for key, held in table(made, "data").items()}
            if name := at(source, "secret", "name"):
                held = self._secrets[str(name)]
                chosen = items(source, "secret", "items") or [{"key": key, "path": key} for key in held]
                content |= {text(item, "path"): held[text(item, "key")] for item in chosen}
        return content

    def _turn(self, mount: Path, content: Mapping[str, str]) -> None:
        data = mount / f"..{self._generation}"
        data.mkdir()
        for name, held in content.items():
            (data / name).write_text(self._rooted(held))
            if not (mount / name).is_symlink():
                (mount / name).symlink_to(Path("..data") / name)
        (mount / "..tmp").symlink_to(data.name)
        (mount / "..tmp").replace(mount / "..data")

    def _rooted(self, written: str) -> str:
        """The text with the container's paths moved below this folder."""
        return re.sub(r"(?<![\w.])/(etc|run)/", rf"{self._folder}/\1/", written)

    def arguments(self) -> list[str]:
        """The arguments of the container's program."""
        return [self._rooted(str(one)) for one in items(container(self._found), "args")]

    @asynccontextmanager
    async def run(self, environ: Mapping[str, str]) -> AsyncIterator[str]:
        """The address of the running container, which must stop without error at the end."""
        arguments = self.arguments()
        arguments.remove("--web.listen-address=:19458")
        process = await _exporter([*arguments, "--web.listen-address=127.0.0.1:0"], environ)
        try:
            yield await _address(process)
        finally:
            process.terminate()
            rest, _ = await process.communicate()
        assert process.returncode == 0, rest.decode()


async def _exporter(arguments: list[str], environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rc_import_exporter", *arguments),
        env={"PATH": os.environ["PATH"], **environ},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    told = []
    async for line in process.stdout:
        told.append(line.decode())
        if found := re.search(r"127\.0\.0\.1:(\d+)", told[-1]):
            return f"http://127.0.0.1:{found[1]}"
    raise AssertionError("".join(told))


async def _until(session: aiohttp.ClientSession, url: str, expected: str, *, verify: bool = True) -> None:
    """Polls until an answer with status 200 contains a text, until the test's time limit."""
    while True:
        async with session.get(url, ssl=verify) as response:
            if response.status == 200 and expected in await response.text():
                return
        await asyncio.sleep(0.1)


def _pointed_at(found: list[Object], servers: SimulatedServers) -> list[Object]:
    """The same objects for a simulated workspace, polled every second."""
    (config,) = [one for one in of_kind(found, "ConfigMap") if "config.yml" in table(one, "data")]
    url = f"url: {servers.url('acme')}\n    poll_interval: 1s\n    poll_interval_idle: 1s"
    table(config, "data")["config.yml"] = re.sub(r"url: \S+", url, text(config, "data", "config.yml"))
    return found


def _chart() -> list[Object]:
    return deployment.helm_template({"workspaces": {"acme": {"url": "https://chat.acme.example"}}})


def _example() -> list[Object]:
    return deployment.kustomize(FOLDERS["overlay example"])


@pytest.mark.parametrize("deployed", [_chart, _example], ids=["chart", "manifests"])
async def test_the_exporter_runs_as_deployed_and_follows_a_changed_secret(deployed: object, tmp_path: Path) -> None:
    """Variables of Services must not be read as options."""
    assert callable(deployed)
    ids = {"acme.user-id": USER_ID}
    variables = _service_variables("rc-import-exporter") | _service_variables(generate.NAME)
    async with (
        SimulatedServers({"acme": stories.demo()["nightly-sync"]}) as servers,
        aiohttp.ClientSession() as session,
    ):
        found = _pointed_at(deployed(), servers)
        kubelet = Kubelet(tmp_path, found, {generate.NAME: {**ids, "acme.auth-token": "revoked"}})
        async with kubelet.run(variables) as address:
            probes = [container(found)[f"{probe}Probe"] for probe in ("liveness", "readiness")]
            for probe in probes:
                await _until(session, address + text(probe, "httpGet", "path"), "")
            await _until(session, f"{address}/metrics", 'rocketchat_import_up{workspace="acme"} 0')
            kubelet.project({generate.NAME: {**ids, "acme.auth-token": AUTH_TOKEN}})
            await _until(session, f"{address}/metrics", 'rocketchat_import_up{workspace="acme"} 1')
            if tests := of_kind(found, "Pod"):
                assert await _tested(tests, address.rpartition(":")[2]) == (0, "/-/ready 200\n/metrics 200\n")


async def test_the_web_configuration_protects_the_exporter_as_deployed(tmp_path: Path) -> None:
    """Probes need no login, the monitor fits the certificate, and `helm test` passes."""
    values: Object = {
        "workspaces": {"acme": {"url": "https://chat.acme.example"}},
        "web": WEB,
        "serviceMonitor": MONITOR,
    }
    found = deployment.helm_template(values, "--namespace", "monitoring")
    endpoint = table(only(found, "ServiceMonitor"), "spec", "endpoints", 0)
    authority, name = trustme.CA(), text(endpoint, "tlsConfig", "serverName")
    issued = authority.issue_cert(name)
    web = {"tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"}, "basic_auth_users": {"alice": HASH}}
    certificate = {
        "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
        "tls.key": issued.private_key_pem.bytes().decode(),
        "ca.crt": authority.cert_pem.bytes().decode(),
    }
    secrets = {
        generate.NAME: {"acme.user-id": USER_ID, "acme.auth-token": AUTH_TOKEN},
        str(WEB["configSecret"]): {"web-config.yml": yaml.safe_dump(web)},
        str(WEB["certificateSecret"]): certificate,
    }
    trusted = ssl.create_default_context(cadata=certificate[text(endpoint, "tlsConfig", "ca", "secret", "key")])
    async with (
        SimulatedServers({"acme": stories.demo()["nightly-sync"]}) as servers,
        Kubelet(tmp_path, _pointed_at(found, servers), secrets).run({}) as address,
        aiohttp.ClientSession() as session,
    ):
        port = address.rpartition(":")[2]
        for probe in ("liveness", "readiness"):
            asked = table(container(found), f"{probe}Probe", "httpGet")
            await _until(
                session, f"{text(asked, 'scheme').lower()}://127.0.0.1:{port}{asked['path']}", "", verify=False
            )
        url = f"{endpoint['scheme']}://127.0.0.1:{port}{endpoint['path']}"
        async with session.get(url, ssl=trusted, server_hostname=name) as response:
            assert response.status == 401
        login = {"Authorization": basic("alice", PASSWORD)}
        async with session.get(url, ssl=trusted, server_hostname=name, headers=login) as response:
            assert response.status == 200
        assert await _tested(found, port) == (0, "/-/ready 200\n/metrics 401\n")


async def _tested(found: list[Object], port: str) -> tuple[int | None, str]:
    """The exit status and the output of what `helm test` runs, against this port of this machine."""
    script, scheme = items(only(found, "Pod"), "spec", "containers", 0, "command")[2:4]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", str(script), str(scheme), "127.0.0.1", port), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()


@pytest.mark.parametrize(
    ("telling", "code"),
    [(stories.idle(), 0), (stories.csv_migration(waiting=0, running=stories.HOUR), 7)],
    ids=["idle", "importing"],
)
async def test_the_guard_lets_an_idle_rocket_chat_restart_and_no_busy_one(
    telling: stories.Telling, code: int, tmp_path: Path
) -> None:
    """Runs the Job's own command with a short timeout."""
    async with SimulatedServers({"acme": Story(telling)}) as servers:
        manifests = [one for one in _pointed_at(_example(), servers) if one["kind"] != "Deployment"]
        found = [*deployment.objects(EXAMPLE.read_text()), *manifests]
        secret = {"acme.user-id": USER_ID, "acme.auth-token": AUTH_TOKEN}
        kubelet = Kubelet(tmp_path, found, {generate.NAME: secret})
        arguments = ["1s" if one == "30m" else one for one in kubelet.arguments()]
        process = await _exporter(arguments, {})
        told, _ = await process.communicate()
        assert process.returncode == code, told.decode()


async def test_the_demo_runs_as_deployed(tmp_path: Path) -> None:
    found = deployment.kustomize(FOLDERS["overlay demo"])
    async with Kubelet(tmp_path, found, {}).run({}) as address, aiohttp.ClientSession() as session:
        await _until(session, f"{address}/metrics", 'rocketchat_import_up{workspace="nightly-sync"} 1')


@pytest.mark.program("promtool")
def test_a_roll_out_loses_no_alert_and_repeats_none(tmp_path: Path) -> None:
    """A new alert for each pod would notify people again."""
    name = 'rocketchat_import_last_finished_timestamp_seconds{{workspace="acme",importer="csv",outcome="failed",{}}}'
    others = {'up{{job="imports",{}}}': "1", 'rocketchat_import_up{{workspace="acme",{}}}': "1"}
    others['rocketchat_import_exporter_build_info{{job="imports",{}}}'] = "1"
    pods = {
        'pod="old",instance="10.0.0.1:19458"': "{0}x58 stale",
        'pod="new",instance="10.0.0.2:19458"': "_x56 {0}x120",
    }
    series = [
        {"series": metric.format(labels), "values": shape.format(value)}
        for metric, value in {name: "60", **others}.items()
        for labels, shape in pods.items()
    ]
    firing = 'count(ALERTS{alertname="RocketChatImportFailed",alertstate="firing"})'
    begun_anew = 'max(changes(ALERTS_FOR_STATE{alertname="RocketChatImportFailed"}[50m]))'
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {"expr": firing, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": 1}]}
            for minute in (50, 57, 58, 59, 60, 61, 65, 100)
        ]
        + [{"expr": begun_anew, "eval_time": "100m", "exp_samples": [{"labels": "{}", "value": 0}]}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [test]}))
    deployment.run(Path("promtool"), "test", "rules", str(tmp_path / "test.yml"))


DOCUMENTS: Final = (ROOT / "README.md", KUBERNETES / "README.md", generate.CHART / "README.md")


def _typed(program: str) -> list[list[str]]:
    """The words of each command in code blocks and in comments of the manifests."""
    written = [re.sub(r" \\\n#?\s*", " ", path.read_text()) for path in KUBERNETES.rglob("*.yaml")]
    lines = [line for one in written for line in re.findall(rf"^#\s*({program} .*)$", one, flags=re.MULTILINE)]
    for document in (path for path in DOCUMENTS if path.exists()):
        blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        lines += [line for block in blocks for line in re.sub(r" \\\n\s*", " ", block).splitlines()]
    return [shlex.split(line) for line in dict.fromkeys(lines) if line.startswith(f"{program} ")]


def _chart_of(words: list[str], folder: Path) -> list[Object]:
    """Renders what a line `helm install RELEASE CHART …` installs, with the values of the chart's README."""
    shown = re.findall(r"```yaml\n(.*?)```", (generate.CHART / "README.md").read_text(), flags=re.DOTALL)[0]
    (folder / "values.yaml").write_text(shown)
    flags = [word for word in words[4:] if word not in {"--reset-then-reuse-values", "--install"}]
    given = [str(folder / word) if word == "values.yaml" else word for word in flags]
    if not {"--values", "demo=true"} & set(given) and "workspaces." not in " ".join(given):
        given += ["--values", str(folder / "values.yaml")]
    return deployment.objects(deployment.run(deployment.helm(), "template", words[2], str(ROOT / words[3]), *given))


def test_every_helm_line_that_people_are_told_to_type_renders(tmp_path: Path) -> None:
    lines = _typed("helm")
    assert {words[1] for words in lines} == {"install", "upgrade", "uninstall"}
    for words in _installing(lines):
        assert deployment.contradictions(_chart_of(words, tmp_path), _secrets_typed()) == []
    known = deployment.run(deployment.helm(), "upgrade", "--help")
    assert all(word.partition("=")[0] in known for words in lines for word in words if word.startswith("--"))
    assert {words[2] for words in lines} == {words[2] for words in _installing(lines)}


def _installing(lines: list[list[str]]) -> list[list[str]]:
    return [words for words in lines if words[1] in {"install", "upgrade"}]


def test_every_image_that_is_named_is_of_this_release() -> None:
    named = [path.read_text() for path in (*DOCUMENTS, *KUBERNETES.rglob("*.yaml")) if path.exists()]
    tags = [tag for one in named for tag in re.findall(rf"{generate.NAME}:([0-9][\w.-]*)", one)]
    assert len(tags) > 2
    assert set(tags) == {__version__}


def _secrets_typed() -> frozenset[str]:
    return frozenset(
        f"Secret/{words[4]}" for words in _typed("kubectl") if words[1:4] == ["create", "secret", "generic"]
    )


def test_every_kubectl_line_that_people_are_told_to_type_is_one(tmp_path: Path) -> None:
    deployed = [_chart_of(words, tmp_path) for words in _installing(_typed("helm"))]
    deployed += [deployment.kustomize(folder) for folder in FOLDERS.values()]
    there = {f"{str(one['kind']).lower()}/{at(one, 'metadata', 'name')}" for found in deployed for one in found}
    lines = _typed("kubectl")
    assert len(lines) > 6
    for words in lines:
        ours = words[: words.index("--")] if "--" in words else words
        flags = {word.partition("=")[0] for word in ours if word.startswith("--")} - {"--namespace"}
        subcommand = words[1:4] if words[1] == "create" else words[1:2]
        known = deployment.run(deployment.kubectl(), *subcommand, "--help")
        assert {flag for flag in flags if f"{flag}=" not in known} == set(), words
        assert {word for word in ours if re.match(r"(deployment|service)/", word)} <= there, words
        if "--kustomize" in ours and (folder := ours[ours.index("--kustomize") + 1]) != "FOLDER":
            deployment.kustomize(ROOT / folder)
