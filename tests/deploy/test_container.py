"""The container image: built on a base image made here, and run without network and without rights."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import pytest

from rc_import_exporter import __version__
from tests.support.base_image import CERTIFICATES, lay_out
from tests.support.guarded import Folder
from tests.support.lone_machine import LoneMachine

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "container"
CONTAINERFILE: Final = (FOLDER / "Containerfile").read_text()
IMAGE: Final = f"rocketchat-import-exporter:{__version__}"
MARK: Final = "a-password-of-the-index"
MANY: Final = 50_000_000

STORAGE: Final = """
[storage]
driver = "vfs"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""
# Debian's crun does not start in a container of a CI machine, nor may that raise limits.
ENGINE: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = "{folder}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
HARDENED: Final = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges")

pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.timeout(900)]
built = pytest.mark.usefixtures("image")
needs_engine = pytest.mark.program("buildah", "podman", "runc", "git")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Podman with its own storage."""

    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment with which podman and buildah use this storage and need few rights."""
        return os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_LAYERS": "false",
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TMPDIR": str(self.folder),
        }

    def podman(self, *arguments: str) -> str:
        """The output of podman; raises `CalledProcessError` if it fails."""
        return self.tried(*arguments, check=True).stdout.strip()

    def tried(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs podman."""
        return subprocess.run(["podman", *arguments], env=self.environment, capture_output=True, text=True, check=check)

    def inside(self, container: str, source: str) -> subprocess.CompletedProcess[str]:
        """Runs a Python program in the container."""
        return self.tried("exec", container, "python", "-c", source)

    def get(self, container: str, path: str) -> str | None:
        """A page from the container's loopback address, or `None`."""
        address = f"http://127.0.0.1:19458{path}"
        source = f"from urllib.request import urlopen; print(urlopen({address!r}).read().decode())"
        ended = self.inside(container, source)
        return ended.stdout if ended.returncode == 0 else None

    def start(self, *options: str, command: tuple[str, ...] = ()) -> str:
        """A container of the image that has only a loopback network."""
        return self.podman("run", "--detach", "--network=none", *HARDENED, *options, IMAGE, *command)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A storage with the base image, deleted afterwards."""
    if os.geteuid() != 0:
        pytest.skip("building in a chroot needs root")
    folder = tmp_path_factory.mktemp("containers")
    (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
    (folder / "containers.conf").write_text(ENGINE.format(folder=folder))
    engine = Engine(folder=folder)
    root = folder / "base"
    lay_out(root)
    with tarfile.open(folder / "base.tar", "w") as archive:
        archive.add(root, arcname=".")
    engine.podman("import", str(folder / "base.tar"), default_base())
    yield engine
    engine.podman("rm", "--all", "--force", "--time=0")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """The image, built as by `make image`, with the base given by digest."""
    secret = engine.folder / "pip.conf"
    secret.write_text(pip_configuration())
    digest = engine.podman("image", "inspect", "--format={{.Digest}}", default_base())
    given = {"BUILDER": "buildah", "IMAGE": IMAGE, "BASE": f"{default_base().rpartition(':')[0]}@{digest}"}
    command = [str(FOLDER / "build"), "--pull-never", "--secret", f"id=pip,src={secret}"]
    ended = subprocess.run(command, env={**engine.environment, **given}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return IMAGE


@pytest.fixture(scope="module")
def demo(engine: Engine, image: str) -> str:
    """The demo in a container, with a user id that does not exist."""
    return engine.start("--user=31337:31337", command=("demo",))


def default_base() -> str:
    """The default base image of the file."""
    found = re.search(r"^ARG BASE=(\S+)$", CONTAINERFILE, flags=re.MULTILINE)
    assert found is not None
    return found.group(1)


def pip_configuration() -> str:
    """A pip.conf for this machine's package index, with a secret in it."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = dict(line.split("=", maxsplit=1) for line in listed.stdout.splitlines())
    reach = ("extra-index-url", "index-url", "proxy", "timeout", "trusted-host")
    lines = [
        f"{name.split('.')[-1]} = {ast.literal_eval(value)}"
        for name, value in settings.items()
        if name.split(".")[-1] in reach
    ]
    return "\n".join([f"# {MARK}", "[global]", f"cert = {CERTIFICATES}", *lines, ""])


def answer(engine: Engine, container: str, path: str) -> str:
    """The container's page, as soon as it answers."""
    while (page := engine.get(container, path)) is None:
        running = engine.podman("inspect", "--format={{.State.Running}}", container)
        assert running == "true", engine.tried("logs", container).stderr
        time.sleep(0.2)
    return page


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What the image adds to its base: the content of each file, and the image's configuration."""

    files: Mapping[PurePosixPath, bytes]
    size: int
    description: str

    def of_dependencies(self) -> set[PurePosixPath]:
        """The files of installed packages other than the exporter, with their compiled files."""
        owned = set[PurePosixPath]()
        for path, content in self.files.items():
            if path.name == "RECORD" and not path.parent.name.startswith("rc_import_exporter"):
                names = [line.split(",")[0] for line in content.decode().splitlines()]
                owned |= {PurePosixPath(os.path.normpath(path.parent.parent / name)) for name in names}
        return owned | {path for path in self.files if source_of(path) in owned}


@pytest.fixture(scope="module")
def layers(engine: Engine, image: str) -> Layers:
    """The layers above the base image."""
    saved = engine.folder / "image.tar"
    engine.podman("save", "--format=docker-archive", f"--output={saved}", image)
    beneath = len(json.loads(engine.podman("image", "inspect", default_base()))[0]["RootFS"]["Layers"])
    files: dict[PurePosixPath, bytes] = {}
    size = 0
    with tarfile.open(saved) as archive:
        manifest = json.loads(content_of(archive, "manifest.json"))[0]
        for name in manifest["Layers"][beneath:]:
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                for member in layer.getmembers():
                    size += member.size
                    if member.isfile():
                        files[PurePosixPath(member.name)] = content_of(layer, member)
        description = content_of(archive, manifest["Config"]).decode()
    return Layers(files=files, size=size, description=description)


def source_of(path: PurePosixPath) -> PurePosixPath:
    """The module of a compiled file."""
    return path.parent.parent / f"{path.name.split('.')[0]}.py"


def content_of(archive: tarfile.TarFile, member: tarfile.TarInfo | str) -> bytes:
    opened = archive.extractfile(member)
    assert opened is not None
    return opened.read()


@needs_engine
def test_without_any_privilege_and_as_a_stranger_it_answers(engine: Engine, demo: str) -> None:
    """Clusters with strict rules run containers read-only, without capabilities and with any user id."""
    assert answer(engine, demo, "/-/ready").strip() == "ready"
    page = answer(engine, demo, "/metrics")
    assert re.search(r'^rocketchat_import_up\{workspace="nightly-sync"\} 1\b', page, flags=re.MULTILINE)


@needs_engine
def test_the_running_program_tells_version_and_revision_of_the_image(engine: Engine, demo: str) -> None:
    """Users compare them to find out which build runs."""
    labels = json.loads(engine.podman("image", "inspect", "--format={{json .Labels}}", IMAGE))
    version, revision = (labels[f"org.opencontainers.image.{name}"] for name in ("version", "revision"))
    assert version == __version__
    assert re.fullmatch(r"[0-9a-f]{40}(-modified)?|unknown", revision)
    (info,) = re.findall(r"^rocketchat_import_exporter_build_info.*", answer(engine, demo, "/metrics"), re.MULTILINE)
    assert f'version="{version}"' in info
    assert f'revision="{revision}"' in info
    printed = engine.podman("run", "--rm", "--network=none", *HARDENED, IMAGE, "--version")
    assert f"{version} (revision {revision}," in printed


@needs_engine
def test_one_process_runs_and_no_shell(engine: Engine, demo: str) -> None:
    """A shell as first process would not forward signals."""
    answer(engine, demo, "/-/healthy")
    source = "import pathlib; print(*[p for p in pathlib.Path('/proc').glob('[0-9]*')]); "
    source += "print(pathlib.Path('/proc/1/cmdline').read_text().split(chr(0)))"
    processes, first = engine.inside(demo, source).stdout.splitlines()
    assert len(processes.split()) == 2, "the exporter and the program that looks"
    assert [part.rpartition("/")[2] for part in ast.literal_eval(first)[1:]] == ["rc-import-exporter", "demo", ""]


@needs_engine
@built
def test_sigterm_ends_it_orderly(engine: Engine) -> None:
    """A killed process ends with 137, and a process without a handler for the signal with 143."""
    container = engine.start(command=("demo",))
    answer(engine, container, "/-/ready")
    engine.podman("kill", "--signal=TERM", container)
    assert engine.podman("wait", container) == "0"


@needs_engine
def test_its_own_health_check_passes_while_it_answers(engine: Engine, demo: str) -> None:
    """A slim image has no curl, and a proxy in the environment must not answer the check."""
    answer(engine, demo, "/-/healthy")
    assert engine.tried("healthcheck", "run", demo).returncode == 0


@needs_engine
@built
def test_a_mounted_file_may_set_another_port_and_tls(engine: Engine, tmp_path: Path) -> None:
    """A variable of the image would win over the file, and its port would be dead."""
    (tmp_path / "config.yml").write_text(
        "{url: 'http://127.0.0.1:1', user_id: u, auth_token: t, "
        "web: {listen_address: '127.0.0.1:9999', config: {file: web.yml}}}"
    )
    Folder(path=tmp_path).encrypt()
    tmp_path.chmod(0o755)
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    variable = "--env=RC_IMPORT_EXPORTER_CONFIG__FILE=/etc/exporter/config.yml"
    container = engine.start(variable, f"--volume={tmp_path}:/etc/exporter:ro", "--env=https_proxy=http://192.0.2.1:1")
    while engine.tried("healthcheck", "run", container).returncode != 0:
        time.sleep(0.2)
        running = engine.podman("inspect", "--format={{.State.Running}}", container)
        assert running == "true", engine.tried("logs", container).stderr
    assert "127.0.0.1:9999" in engine.tried("exec", container, "rc-import-exporter", "check", "--config-only").stdout
    assert engine.get(container, "/-/healthy") is None


@needs_engine
@built
def test_its_own_health_check_fails_when_nothing_answers(engine: Engine) -> None:
    container = engine.start("--entrypoint=python", command=("-c", "import time; time.sleep(600)"))
    assert engine.tried("healthcheck", "run", container).returncode == 1


@needs_engine
@built
def test_a_missing_setting_ends_it_with_a_word(engine: Engine) -> None:
    ended = engine.tried("run", "--rm", "--network=none", *HARDENED, IMAGE)
    assert ended.returncode == 2
    assert "RC_IMPORT_EXPORTER_URL" in ended.stderr


@needs_engine
@built
@pytest.mark.program("curl", "ip", "nsenter", "unshare")
def test_started_by_compose_its_page_is_for_this_machine_alone(engine: Engine, tmp_path: Path) -> None:
    """The page has no password, so other machines must not reach it."""
    values = {"URL": "http://127.0.0.1:1", "USER_ID": "aobEdbYhXfu5hkeqG", "AUTH_TOKEN": "a-token"}
    given = {**engine.environment, **{f"RC_IMPORT_EXPORTER_{name}": value for name, value in values.items()}}
    compose = [sys.executable, "-m", "podman_compose", "--file", str(ROOT / "deploy" / "compose" / "tonight.yaml")]
    with LoneMachine(tmp_path) as machine:
        started = machine.run(*compose, "up", "--detach", "--no-build", environment=given)
        assert started.returncode == 0, started.stdout + started.stderr
        while (page := machine.get("http://127.0.0.1:19458/")) is None:
            assert machine.run("podman", "ps", "--quiet", environment=given).stdout != ""
            time.sleep(0.2)
        assert "<html" in page
        listed = json.loads(machine.run("ip", "-json", "-4", "address").stdout)
        addresses = [one["local"] for link in listed if link["ifname"] != "lo" for one in link["addr_info"]]
        assert addresses != []
        assert [address for address in addresses if machine.get(f"http://{address}:19458/") is not None] == []
        stopped = machine.run(*compose, "down", environment=given)
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr


@needs_engine
@built
def test_the_image_describes_itself(engine: Engine) -> None:
    """Platforms read user, port, signal, entry point, health check and labels."""
    (described,) = json.loads(engine.podman("image", "inspect", IMAGE))
    config = described["Config"]
    assert config["User"] == "65532:65532"
    assert config["ExposedPorts"] == {"19458/tcp": {}}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["rc-import-exporter"]
    assert described["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", config["Labels"]["org.opencontainers.image.base.name"])


@needs_engine
def test_our_layers_stay_small(layers: Layers) -> None:
    assert 1_000_000 < layers.size < MANY


@needs_engine
def test_our_layers_hold_the_programs_and_nothing_of_their_making(layers: Layers) -> None:
    """Caches make the image larger, and pip's configuration can contain secrets."""
    below = {path.parts[:3] for path in layers.files}
    assert below == {("usr", "local", "bin"), ("usr", "local", "lib")}
    assert {path.name for path in layers.files} & {"pip.conf", "gcc", "cc"} == set()
    assert {path for path in layers.files if {".cache", "build", "dist"} & set(path.parts[:4])} == set()
    (revision,) = [path for path in layers.files if path.name == "REVISION"]
    assert revision.parent.name == "rc_import_exporter"


@needs_engine
def test_every_module_is_compiled_for_its_place(layers: Layers) -> None:
    """With a read-only root Python cannot save compiled files and would compile at each start."""
    package = [path for path in layers.files if path.parent.name == "rc_import_exporter" and path.suffix == ".py"]
    tag = sys.implementation.cache_tag
    compiled = [layers.files[path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc"] for path in package]
    assert compiled != []
    assert all(f"/{path}".encode() in content for path, content in zip(package, compiled, strict=True))


@needs_engine
def test_neither_secret_nor_index_is_left_in_the_image(layers: Layers) -> None:
    """Links in the texts of dependencies are allowed."""
    theirs = layers.of_dependencies()
    ours = {path: content for path, content in layers.files.items() if path not in theirs}
    index = re.compile(rb"pyp[i]\.org|pythonhoste[d]\.org|index-url")
    assert len(ours) > 30
    assert [str(path) for path, content in ours.items() if index.search(content)] == []
    assert index.search(layers.description.encode()) is None
    everything = [layers.description.encode(), *layers.files.values()]
    assert not any(MARK.encode() in content for content in everything)


@pytest.mark.program("git")
def test_the_build_sees_only_what_the_wheel_is_made_of() -> None:
    """A `.env` beside the compose files contains credentials."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert (ROOT / ".dockerignore").read_text().split("\n")[1] == "*"
    copied = set(re.findall(r"^COPY (?!--from)(?:--chmod=\d+ )?(.+) \S+$", CONTAINERFILE, flags=re.MULTILINE))
    assert allowed == {name for names in copied for name in names.split()}


def test_what_builds_the_wheel_is_locked_like_the_tests() -> None:
    lock = (FOLDER / "requirements.txt").read_text()
    pinned = re.findall(r"^(\S+==\S+) \\$", lock, flags=re.MULTILINE)
    assert any(pin.startswith("hatchling==") for pin in pinned)
    assert lock.count("--hash=sha256:") >= len(pinned)
    tested = (ROOT / "requirements-test.txt").read_text()
    assert [pin for pin in pinned if f"{pin} \\" not in tested] == []
    hashes = re.findall(r"--hash=sha256:\w+", lock)
    assert [one for one in hashes if one not in tested] == []


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    ended = subprocess.run([hadolint, FOLDER / "Containerfile"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.program("make")
def test_make_image_runs_the_build() -> None:
    command = ["make", "--dry-run", "image"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "deploy/container/build\n"


@pytest.mark.parametrize(
    ("working", "expected"),
    [
        ({"docker", "podman", "buildah"}, "docker build"),
        ({"podman", "buildah"}, "podman build --format docker"),
        ({"buildah"}, "buildah build --format docker"),
    ],
    ids=["docker first", "a docker client without its server", "buildah alone"],
)
def test_the_builder_is_one_that_works(tmp_path: Path, working: set[str], expected: str) -> None:
    """A docker client can be installed without its server."""
    for name in ("docker", "podman", "buildah"):
        works = "exit 0" if name in working else "exit 1"
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$1" = info ] && {works}\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    ran = build(tmp_path)
    assert ran.stdout.startswith(f"{expected} --file deploy/container/Containerfile --tag ")
    assert f"--tag rocketchat-import-exporter:{__version__} " in ran.stdout


@pytest.mark.program("git")
@pytest.mark.parametrize(
    ("builder", "option"), [("docker", "--build-arg SOURCE_DATE_EPOCH="), ("podman", "--timestamp ")]
)
def test_files_get_the_date_of_the_commit(tmp_path: Path, builder: str, option: str) -> None:
    """Two builds of one commit then have the same layers."""
    (tmp_path / builder).write_text('#!/bin/sh\n[ "$1" = info ] || echo "$@"\n')
    (tmp_path / builder).chmod(0o755)
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "git").symlink_to(git)
    date = subprocess.run([git, "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{option}{date.stdout.strip()} " in build(tmp_path).stdout


def test_a_build_without_a_base_image_says_what_to_do(tmp_path: Path) -> None:
    """Many networks reach only a mirror of the registry."""
    (tmp_path / "podman").write_text('#!/bin/sh\n[ "$1" = info ]\n')
    (tmp_path / "podman").chmod(0o755)
    ended = build(tmp_path)
    assert ended.returncode == 1
    assert re.search(r"^  BASE=\S+ make image$", ended.stderr, flags=re.MULTILINE)
    assert default_base().rpartition("/")[2] in ended.stderr


def test_without_a_builder_the_build_says_what_is_needed(tmp_path: Path) -> None:
    ended = build(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Building the image needs docker, podman or buildah;")


def build(programs: Path) -> subprocess.CompletedProcess[str]:
    """Runs the build script with these programs and the system's basic tools."""
    for name in ("dirname", "env", "bash", "sed"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    command = [FOLDER / "build"]
    return subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, check=False)
