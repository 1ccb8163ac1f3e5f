"""The compose files: valid, pinned and limited to this machine. The real servers load what they mount."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from rc_import_exporter import __version__
from rc_import_exporter.cli import COMMANDS
from rc_import_exporter.commands import flags, watch
from rc_import_exporter.commands.exits import SIGNALLED, Exit
from rc_import_exporter.config import settings
from rc_import_exporter.core.domain import Links
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.server import AUTH_TOKEN, USER_ID, SimulatedServers
from tests.support.lone_machine import LoneMachine

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "compose"
DEMO: Final = FOLDER / "compose.yaml"
TONIGHT: Final = FOLDER / "tonight.yaml"
ADDED: Final = FOLDER / "rocketchat-compose" / "compose.import.yml"
FILES: Final = (DEMO, TONIGHT, ADDED)
DROP_IN: Final = FOLDER / "rocketchat-compose" / "rocketchat-import.yml"

VALUES: Final = {
    "RC_IMPORT_EXPORTER_URL": "http://127.0.0.1:1",
    "RC_IMPORT_EXPORTER_USER_ID": USER_ID,
    "RC_IMPORT_EXPORTER_AUTH_TOKEN": AUTH_TOKEN,
}

# The services that ours is added to, with the volumes that they have in the vendor's files.
VENDOR: Final = {
    "services": {
        "prometheus": {"image": "prometheus", "volumes": ["./files/prometheus:/etc/prometheus:Z"]},
        "grafana": {
            "image": "grafana",
            "volumes": [
                "./files/grafana/dashboards:/dashboards:Z",
                "./files/grafana/provisioning/:/etc/grafana/provisioning:Z",
            ],
        },
    }
}

# What the vendor's Prometheus does with targets; it asks every 60 s, here so often that a test need not wait.
VENDOR_PROMETHEUS: Final = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: files
    file_sd_configs:
      - files: [file_sd_configs/*.yml, file_sd_configs.d/*.yml]
"""

# The programs are Debian's; they take the same flags as the pinned images.
PROGRAMS: Final = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}

composes = pytest.mark.program("podman")
servers = pytest.mark.program(
    "amtool", "curl", "ip", "nsenter", "prometheus", "prometheus-alertmanager", "promtool", "unshare"
)


def tree(path: Path) -> dict[str, object]:
    """A YAML file that holds a mapping."""
    loaded: object = yaml.safe_load(path.read_text())
    return mapping(loaded)


def mapping(value: object) -> dict[str, object]:
    """The value, which is a mapping."""
    assert isinstance(value, dict)
    return {str(key): item for key, item in value.items()}


def texts(value: object) -> list[str]:
    """The items of a list as texts; empty if there is no list."""
    assert value is None or isinstance(value, list)
    return [str(item) for item in value or []]


def list_of(value: object) -> list[object]:
    """The value, which is a list."""
    assert isinstance(value, list)
    return value


def only(value: object) -> dict[str, object]:
    """The only mapping in a list."""
    assert isinstance(value, list)
    (item,) = value
    return mapping(item)


def services(path: Path) -> dict[str, dict[str, object]]:
    """The services of a compose file by name."""
    return {name: mapping(service) for name, service in mapping(tree(path)["services"]).items()}


def ours(path: Path) -> dict[str, dict[str, object]]:
    """The services of the file itself, without those of Rocket.Chat's stack that it extends."""
    return {name: service for name, service in services(path).items() if "image" in service}


def mounts(service: Mapping[str, object], folder: Path = FOLDER) -> dict[Path, str]:
    """The host's files by their path in the container, without named volumes."""
    split = [text.replace("${IMPORT_EXPORTER}", str(ROOT)).split(":") for text in texts(service.get("volumes"))]
    return {(folder / parts[0]).resolve(): parts[1] for parts in split if "/" in parts[0]}


def compose(*arguments: str, environment: Mapping[str, str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs podman-compose, which reads the same files as docker compose."""
    command = [sys.executable, "-m", "podman_compose", *arguments]
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_follows_the_compose_specification(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_images_are_pinned_and_ours_is_this_version(path: Path) -> None:
    """A tag can be moved to another image between two starts, a digest cannot. There is no public image of ours."""
    images = [str(service["image"]) for service in ours(path).values()]
    assert f"rocketchat-import-exporter:{__version__}" in images
    assert [name for name in images if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", name)] == []
    assert all("@" in name for name in images if not name.startswith("rocketchat-import-exporter:"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_this_machine_is_let_in(path: Path) -> None:
    """The demo has no passwords, so other machines must not reach it."""
    ports = [port for service in ours(path).values() for port in texts(service.get("ports"))]
    assert ports != []
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_services_are_confined(path: Path) -> None:
    for service in ours(path).values():
        limits = mapping(mapping(mapping(service["deploy"])["resources"])["limits"])
        assert set(limits) == {"cpus", "memory", "pids"}
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        assert service.get("read_only") is True or "grafana" in str(service["image"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_mounted_exists_and_cannot_be_written(path: Path) -> None:
    """Docker creates an empty folder for a source that does not exist."""
    for service in services(path).values():
        assert [str(source) for source in mounts(service) if not source.exists()] == []
        writable = [text for text in texts(service.get("volumes")) if "/" in text.split(":")[0] and ":ro" not in text]
        assert writable == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_image_can_be_built_where_it_is_missing(path: Path) -> None:
    """There is no public image, so the first start has to build it."""
    for service in ours(path).values():
        if str(service["image"]).startswith("rocketchat-import-exporter"):
            build = mapping(service["build"])
            context = (FOLDER / str(build["context"]).replace("../..", str(ROOT))).resolve()
            assert (ROOT / str(build["dockerfile"])).is_file()
            assert context == ROOT or str(build["context"]).startswith("${IMPORT_EXPORTER:?")


@composes
@pytest.mark.parametrize("missing", VALUES)
def test_tonight_says_which_of_its_three_values_is_missing(missing: str) -> None:
    """An exporter without address or token would only fail later."""
    given = {name: value for name, value in VALUES.items() if name != missing}
    ended = compose("--file", str(TONIGHT), "config", environment=given)
    assert ended.returncode != 0
    assert missing in ended.stderr
    assert compose("--file", str(TONIGHT), "config", environment=VALUES).returncode == 0


@composes
async def test_with_its_three_values_tonight_shows_a_real_server() -> None:
    async with SimulatedServers({"acme": stories.demo()["nightly-sync"]}) as simulated:
        values = {**VALUES, "RC_IMPORT_EXPORTER_URL": simulated.url("acme")}
        told = compose("--file", str(TONIGHT), "config", environment=values)
        service = mapping(mapping(mapping(yaml.safe_load(told.stdout))["services"])["exporter"])
        environment = {name: str(value) for name, value in mapping(service["environment"]).items()}
        command = [sys.executable, "-m", "rc_import_exporter", "once"]
        program = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        page, _ = await program.communicate()
    assert program.returncode == 0
    assert re.search(rb'^rocketchat_import_up\{workspace="127\.0\.0\.1"\} 1', page, flags=re.MULTILINE)


def commands() -> Iterator[str]:
    """Every compose command in the documents and the compose files."""
    for path in (ROOT / "README.md", FOLDER / "README.md", *FILES):
        joined = re.sub(r"\\\n(?:#\s+)?", " ", path.read_text())
        yield from re.findall(r"^(?:#\s+|nohup sh \S+ )?(docker compose [^&\n]*)", joined, flags=re.MULTILINE)


@composes
@pytest.mark.parametrize("command", sorted(set(commands())))
def test_what_people_are_told_to_type_is_understood(command: str, tmp_path: Path) -> None:
    words = command.replace("$IMPORT_EXPORTER", str(ROOT)).split()[2:]
    named = [words[at + 1] for at, word in enumerate(words) if word == "-f"]
    vendor = [name for name in named if not (ROOT / name).exists()]
    for name in vendor:
        (tmp_path / name).write_text(yaml.safe_dump(VENDOR))
    folder = tmp_path if vendor else ROOT
    files = [part for name in named for part in ("--file", name)]
    ended = compose(*files, "config", environment={**VALUES, "IMPORT_EXPORTER": str(ROOT)}, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert {"up", "down", "exec"} & set(words)


def test_tonight_notifies_as_the_readme_does() -> None:
    """The exporter's page wakes nobody, and people copy the command before they go to bed."""
    (command,) = {each.strip() for each in commands() if "notify-send" in each}
    _, _, told = command.partition(" exec -T exporter ")
    assert f"\n{told}\n" in (FOLDER / "README.md").read_text()
    assert all(
        each.startswith("docker compose -f deploy/compose/tonight.yaml ") for each in commands() if " exec " in each
    )
    assert "exporter" in services(TONIGHT)


TOLD: Final = {
    Exit.DONE: "The import succeeded",
    Exit.FAILED: "The import is not known: look at it",
    Exit.MISCONFIGURED: "The import is NOT watched: the configuration is wrong",
    Exit.WITH_ERRORS: "The import is done with errors",
    Exit.BROKEN_OFF: "The import failed, or was cut off, canceled or discarded",
    Exit.NOTHING_STARTED: "The import did not start in time",
    Exit.TIMED_OUT: "The import is not known: look at it",
    Exit.BUSY: "The import is not known: look at it",
    SIGNALLED + signal.SIGINT: None,
    SIGNALLED + signal.SIGTERM: None,
}


@pytest.mark.parametrize(("code", "told"), TOLD.items())
def test_the_script_for_one_night_says_how_the_import_ended(code: int, told: str | None, tmp_path: Path) -> None:
    """It is the only message of the night. A command that someone stopped is no end of the import."""
    for program in ("mail", "curl"):
        (tmp_path / program).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{program}.txt\n')
        (tmp_path / program).chmod(0o755)
    watched = f"echo 'acme: -> slack: loading'; echo 'acme: slack: the last line'; exit {code}"
    ended = subprocess.run(
        ["/bin/sh", str(FOLDER / "tonight.sh"), "/bin/sh", "-c", watched],
        check=False,
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "MAIL_TO": "you@example.org", "WEBHOOK_URL": "http://127.0.0.1:1/"},
    )
    assert ended.returncode == code
    sent = {program: tmp_path / f"{program}.txt" for program in ("mail", "curl")}
    if told is None:
        assert not any(path.exists() for path in sent.values())
    else:
        assert sent["mail"].read_text().splitlines() == ["-s", told, "you@example.org"]
        assert f"text={told}. acme: slack: the last line" in sent["curl"].read_text().splitlines()


def test_the_script_for_one_night_follows_an_import_by_itself() -> None:
    """Its own command must be one that the command line understands."""
    (command,) = re.findall(r"set -- rc-import-exporter (.*)$", (FOLDER / "tonight.sh").read_text(), re.MULTILINE)
    assert flags.parse(command.split(), COMMANDS).command is watch.COMMAND


@composes
def test_added_to_the_vendors_files_nothing_of_theirs_is_lost(tmp_path: Path) -> None:
    """The stack must keep its own volumes, and the exporter must call its server."""
    (tmp_path / "compose.monitoring.yml").write_text(yaml.safe_dump(VENDOR))
    files = ["--file", "compose.monitoring.yml", "--file", str(ADDED)]
    given = {**VALUES, "IMPORT_EXPORTER": str(ROOT)}
    del given["RC_IMPORT_EXPORTER_URL"]
    ended = compose(*files, "config", environment=given, folder=tmp_path)
    merged = {name: mapping(one) for name, one in mapping(mapping(yaml.safe_load(ended.stdout))["services"]).items()}
    for name, service in VENDOR["services"].items():
        kept = [text.split(":")[1] for text in texts(merged[name]["volumes"])]
        assert {text.split(":")[1] for text in service["volumes"]} < set(kept)
        assert len(kept) == len(set(kept))


@composes
def test_two_stacks_are_two_workspaces(tmp_path: Path) -> None:
    """One Prometheus can watch both. With one name, the failure of one would end when the other succeeds."""
    (tmp_path / "compose.monitoring.yml").write_text(yaml.safe_dump(VENDOR))
    given = {name: text for name, text in VALUES.items() if name != "RC_IMPORT_EXPORTER_URL"}
    names = []
    for domain in ({"DOMAIN": "chat.acme.example"}, {"DOMAIN": "chat.globex.example"}, {}):
        files = ["--file", "compose.monitoring.yml", "--file", str(ADDED)]
        ended = compose(
            *files, "config", environment={**given, **domain, "IMPORT_EXPORTER": str(ROOT)}, folder=tmp_path
        )
        exporter = mapping(mapping(mapping(yaml.safe_load(ended.stdout))["services"])["rocketchat-import-exporter"])
        written = exporter["environment"]
        environment = (
            mapping(written) if isinstance(written, dict) else dict(one.split("=", 1) for one in texts(written))
        )
        loaded = settings.load({}, {name: str(value or "") for name, value in environment.items()})
        ((name, workspace),) = loaded.workspaces.items()
        assert workspace.target.url == "http://rocketchat:3000"
        assert loaded.web.links == Links(external_url="http://localhost:19458")
        names.append(name)
    assert names == ["chat.acme.example", "chat.globex.example", "rocketchat"]


@pytest.mark.parametrize("path", [DEMO, ADDED], ids=lambda path: path.name)
def test_grafana_finds_dashboards_where_its_provider_looks(path: Path) -> None:
    """Grafana would otherwise start without dashboards and without an error."""
    mounted = mounts(services(path)["grafana"])
    (provider,) = (ROOT / "grafana" / "provisioning" / "dashboards").glob("*.y*ml")
    described = only(tree(provider)["providers"])
    dashboards = ROOT / "grafana" / "dashboards"
    assert mounted[dashboards] == mapping(described["options"])["path"]
    assert [mapping(json.loads(one.read_text()))["uid"] for one in dashboards.glob("*.json")] != []


def test_the_demo_opens_with_its_first_dashboard() -> None:
    grafana = services(DEMO)["grafana"]
    home = mapping(grafana["environment"])["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    places = {str(Path(place) / one.name) for source, place in mounts(grafana).items() for one in source.glob("*.json")}
    assert home in places


def test_grafana_asks_the_demos_prometheus() -> None:
    """The alerts name the data source by its uid."""
    (source,) = (ROOT / "grafana" / "provisioning" / "datasources").glob("*.y*ml")
    described = only(tree(source)["datasources"])
    assert described["url"] in {f"http://{name}:9090" for name in ("localhost", *shared_names())}
    assert described["uid"] == "DS_PROMETHEUS"
    alerts = (ROOT / "grafana" / "provisioning" / "alerting" / "rocketchat-import.yml").read_text()
    assert set(re.findall(r"datasourceUid: (\S+)", alerts)) == {"DS_PROMETHEUS", "__expr__"}


def test_the_demo_evaluates_the_rules_once_and_notifies_nobody() -> None:
    """Two evaluations are two alerts for each problem, and a receiver without a listener fills the log with errors."""
    mounted = mounts(services(DEMO)["grafana"])
    assert not any(source.name == "alerting" or (source / "alerting").exists() for source in mounted)
    (routes,) = [source for source in mounts(services(DEMO)["alertmanager"]) if source.name == "alertmanager.yml"]
    assert all(set(mapping(receiver)) == {"name"} for receiver in list_of(tree(routes)["receivers"]))


def shared_names() -> list[str]:
    """The names of the demo's services, which share one network address."""
    exporter = services(DEMO)["exporter"]
    others = [service for service in services(DEMO).values() if service != exporter]
    assert {service["network_mode"] for service in others} == {"service:exporter"}
    return ["exporter", *texts(mapping(mapping(exporter["networks"])["default"])["aliases"])]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LoneMachine]:
    """A machine that resolves the names of the services."""
    if os.geteuid() != 0:
        pytest.skip("a network of its own needs root")
    with LoneMachine(tmp_path, [*shared_names(), *ours(ADDED)]) as machine:
        yield machine


def lay_out(service: Mapping[str, object], root: Path) -> list[str]:
    """Copies what the service mounts into a folder, and returns its command for that folder."""
    for source, place in mounts(service).items():
        kept = root / place.lstrip("/")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, kept)
    return [re.sub(r"=/(?=\w)", f"={root}/", word) for word in texts(service["command"])]


def awaited(answer: Callable[[], str | None], found: Callable[[str], bool], explain: Callable[[], str]) -> str:
    """The first answer that meets the condition, until the test's time limit."""
    last = ""
    for _ in range(600):
        last = answer() or ""
        if last and found(last):
            return last
        time.sleep(0.25)
    raise AssertionError(f"{last}\n{explain()}")


def demo_exporter(machine: LoneMachine) -> None:
    """Starts the exporter with simulated servers, like the image."""
    environment = {"RC_IMPORT_EXPORTER_WEB__LISTEN_ADDRESS": ":19458", "PYTHONPATH": str(ROOT)}
    machine.start("exporter", sys.executable, "-m", "rc_import_exporter", "demo", environment=environment)


def query(machine: LoneMachine, expression: str) -> str | None:
    """Prometheus' answer to an instant query, or `None` if it has none yet."""
    answered = machine.get(f"http://127.0.0.1:9090/api/v1/query?query={expression}")
    return None if answered is None or '"result":[]' in answered else answered


@servers
def test_the_mounted_configuration_passes_the_servers_own_checks(tmp_path: Path) -> None:
    """Relative paths are right only if the files have the same places as in the containers."""
    checks = {
        "prometheus": ["promtool", "check", "config", str(tmp_path / "etc/prometheus/prometheus.yml")],
        "alertmanager": ["amtool", "check-config", str(tmp_path / "etc/alertmanager/alertmanager.yml")],
    }
    for name, check in checks.items():
        lay_out(services(DEMO)[name], tmp_path)
        ended = subprocess.run(check, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@servers
def test_the_demo_reaches_prometheus_and_alertmanager(machine: LoneMachine, tmp_path: Path) -> None:
    """Each file can be valid while the parts do not find each other."""
    demo_exporter(machine)
    for name, program in PROGRAMS.items():
        machine.start(name, program, *lay_out(services(DEMO)[name], tmp_path / name))

    def logs() -> str:
        return "\n".join(machine.log(name)[-3000:] for name in ("exporter", *PROGRAMS))

    shown = awaited(lambda: query(machine, "rocketchat_import_up"), lambda text: '"1"]' in text, logs)
    assert sorted(re.findall(r'"workspace":"([\w-]+)"', shown)) == sorted(stories.demo())
    awaited(lambda: machine.get("http://127.0.0.1:9090/api/v1/alertmanagers"), lambda text: '"url"' in text, logs)
    rules = awaited(
        lambda: machine.get("http://127.0.0.1:9090/api/v1/rules"), lambda text: '"health":"unknown"' not in text, logs
    )
    assert '"name":"RocketChatImportCutOff"' in rules
    assert '"health":"err"' not in rules
    logged = "\n".join(machine.log(name) for name in PROGRAMS)
    assert [line for line in logged.splitlines() if re.search(r"level=(warn|error)", line)] == []


@servers
def test_the_vendors_prometheus_takes_the_drop_in(machine: LoneMachine, tmp_path: Path) -> None:
    """The panels of the stack select targets by labels."""
    folder = tmp_path / "vendor"
    (folder / "file_sd_configs.d").mkdir(parents=True)
    shutil.copy(DROP_IN, folder / "file_sd_configs.d")
    (folder / "prometheus.yml").write_text(VENDOR_PROMETHEUS)
    demo_exporter(machine)
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    machine.start("prometheus", "prometheus", *options)
    shown = awaited(
        lambda: query(machine, "up"), lambda text: '"1"]' in text, lambda: machine.log("prometheus")[-3000:]
    )
    (target,) = yaml.safe_load(DROP_IN.read_text())
    assert target["targets"][0].split(":")[0] in services(ADDED)
    for label, value in target["labels"].items():
        assert f'"{label}":"{value}"' in shown
    assert set(target["labels"]) == {"job", "service"}
