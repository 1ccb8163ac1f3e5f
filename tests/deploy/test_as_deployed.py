"""The exporter runs as the chart and the manifests deploy it: with their arguments, variables, files and probes."""

import asyncio
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
import yaml

from deploy import generate
from deploy.prometheus.generate import RULES
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServers
from tests.deploy.test_kubernetes import EXAMPLE, FOLDERS, MONITOR, WEB
from tests.support import deployment
from tests.support.deployment import ROOT, Object, at, container, items, of_kind, only, pod, table, text
from tests.support.guarded import HASH, PASSWORD, basic

pytestmark = pytest.mark.program()
"""`deployment` lists the programs. These tests do not need to run with every Python."""


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
