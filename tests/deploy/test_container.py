"""The container image: really built on a base made here, and really run, without network and without rights."""

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
    """Podman with a storage of its own."""

    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes podman and buildah use that storage and ask the system for little."""
        return os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_LAYERS": "false",
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TMPDIR": str(self.folder),
        }

    def podman(self, *arguments: str) -> str:
        """What podman prints; raises `CalledProcessError` when it fails."""
        return self.tried(*arguments, check=True).stdout.strip()

    def tried(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """How podman ends."""
        return subprocess.run(["podman", *arguments], env=self.environment, capture_output=True, text=True, check=check)

    def inside(self, container: str, source: str) -> subprocess.CompletedProcess[str]:
        """How this Python program ends in the container."""
        return self.tried("exec", container, "python", "-c", source)

    def get(self, container: str, path: str) -> str | None:
        """The page that the container answers on its own loopback, or `None`."""
        address = f"http://127.0.0.1:19458{path}"
        source = f"from urllib.request import urlopen; print(urlopen({address!r}).read().decode())"
        ended = self.inside(container, source)
        return ended.stdout if ended.returncode == 0 else None

    def start(self, *options: str, command: tuple[str, ...] = ()) -> str:
        """A container of the image, without network but its own loopback."""
        return self.podman("run", "--detach", "--network=none", *HARDENED, *options, IMAGE, *command)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A storage that holds the base image, and is gone afterwards."""
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
    """The image, built as `make image` builds it; its base given by digest."""
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
    """The demo in a container, under an id that nobody has."""
    return engine.start("--user=31337:31337", command=("demo",))


def default_base() -> str:
    """The base image that the file asks for where none is given."""
    found = re.search(r"^ARG BASE=(\S+)$", CONTAINERFILE, flags=re.MULTILINE)
    assert found is not None
    return found.group(1)


def pip_configuration() -> str:
    """How this machine's pip reaches an index, with something that nobody may see."""
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
    """The container's page, once it answers."""
    while (page := engine.get(container, path)) is None:
        running = engine.podman("inspect", "--format={{.State.Running}}", container)
        assert running == "true", engine.tried("logs", container).stderr
        time.sleep(0.2)
    return page


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What the image adds to its base: each file's content, and the image's own description."""

    files: Mapping[PurePosixPath, bytes]
    size: int
    description: str

    def of_dependencies(self) -> set[PurePosixPath]:
        """The files that an installed package, other than the exporter, brought, with what was compiled of them."""
        owned = set[PurePosixPath]()
        for path, content in self.files.items():
            if path.name == "RECORD" and not path.parent.name.startswith("rc_import_exporter"):
                names = [line.split(",")[0] for line in content.decode().splitlines()]
                owned |= {PurePosixPath(os.path.normpath(path.parent.parent / name)) for name in names}
        return owned | {path for path in self.files if source_of(path) in owned}


@pytest.fixture(scope="module")
def layers(engine: Engine, image: str) -> Layers:
    """The layers above the base image's."""
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
    """The module of which this is the compiled file."""
    return path.parent.parent / f"{path.name.split('.')[0]}.py"


def content_of(archive: tarfile.TarFile, member: tarfile.TarInfo | str) -> bytes:
    """The bytes of a file in an archive."""
    opened = archive.extractfile(member)
    assert opened is not None
    return opened.read()


@needs_engine
def test_without_any_privilege_and_as_a_stranger_it_answers(engine: Engine, demo: str) -> None:
    """Read-only, no capability, no new privileges, an id without a name: pages come, and data in them."""
    assert answer(engine, demo, "/-/ready").strip() == "ready"
    page = answer(engine, demo, "/metrics")
    assert re.search(r'^rocketchat_import_up\{workspace="nightly-sync"\} 1\b', page, flags=re.MULTILINE)


@needs_engine
def test_the_running_program_tells_version_and_revision_of_the_image(engine: Engine, demo: str) -> None:
    """What the labels say is what the build info metric and `--version` say."""
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
    """The first process is the exporter itself, so signals reach it."""
    answer(engine, demo, "/-/healthy")
    source = "import pathlib; print(*[p for p in pathlib.Path('/proc').glob('[0-9]*')]); "
    source += "print(pathlib.Path('/proc/1/cmdline').read_text().split(chr(0)))"
    processes, first = engine.inside(demo, source).stdout.splitlines()
    assert len(processes.split()) == 2, "the exporter and the program that looks"
    assert [part.rpartition("/")[2] for part in ast.literal_eval(first)[1:]] == ["rc-import-exporter", "demo", ""]


@needs_engine
@built
def test_sigterm_ends_it_orderly(engine: Engine) -> None:
    """It ends by itself with 0; killed, it would end with 137, and not minding the signal with 143."""
    container = engine.start(command=("demo",))
    answer(engine, container, "/-/ready")
    engine.podman("kill", "--signal=TERM", container)
    assert engine.podman("wait", container) == "0"


@needs_engine
def test_its_own_health_check_passes_while_it_answers(engine: Engine, demo: str) -> None:
    """The check needs no other program, and no proxy that the environment names leads it astray."""
    answer(engine, demo, "/-/healthy")
    assert engine.tried("healthcheck", "run", demo).returncode == 0


@needs_engine
@built
def test_its_own_health_check_fails_when_nothing_answers(engine: Engine) -> None:
    """A program that does not listen is not healthy."""
    container = engine.start("--entrypoint=python", command=("-c", "import time; time.sleep(600)"))
    assert engine.tried("healthcheck", "run", container).returncode == 1


@needs_engine
@built
def test_a_missing_setting_ends_it_with_a_word(engine: Engine) -> None:
    """Started without a workspace, it says what is missing and does not linger."""
    ended = engine.tried("run", "--rm", "--network=none", *HARDENED, IMAGE)
    assert ended.returncode == 2
    assert "RC_IMPORT_EXPORTER_URL" in ended.stderr


@needs_engine
@built
@pytest.mark.program("curl", "ip", "nsenter", "unshare")
def test_started_by_compose_its_page_is_for_this_machine_alone(engine: Engine, tmp_path: Path) -> None:
    """With the file for one real server and its three values, loopback has the page, and no other address."""
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
    """User, port, signal, entry point, health check and labels are what a platform reads."""
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
    """What is added to the base is under 50 MB unpacked, compiled files included."""
    assert 1_000_000 < layers.size < MANY


@needs_engine
def test_our_layers_hold_the_programs_and_nothing_of_their_making(layers: Layers) -> None:
    """Packages and their commands below /usr/local: no cache, no build folder, no configuration of pip."""
    below = {path.parts[:3] for path in layers.files}
    assert below == {("usr", "local", "bin"), ("usr", "local", "lib")}
    assert {path.name for path in layers.files} & {"pip.conf", "gcc", "cc"} == set()
    assert {path for path in layers.files if {".cache", "build", "dist"} & set(path.parts[:4])} == set()
    (revision,) = [path for path in layers.files if path.name == "REVISION"]
    assert revision.parent.name == "rc_import_exporter"


@needs_engine
def test_every_module_is_compiled_for_its_place(layers: Layers) -> None:
    """A read-only root cannot keep what Python compiles, so all of it is there, and traces name the real paths."""
    package = [path for path in layers.files if path.parent.name == "rc_import_exporter" and path.suffix == ".py"]
    tag = sys.implementation.cache_tag
    compiled = [layers.files[path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc"] for path in package]
    assert compiled != []
    assert all(f"/{path}".encode() in content for path, content in zip(package, compiled, strict=True))


@needs_engine
def test_neither_secret_nor_index_is_left_in_the_image(layers: Layers) -> None:
    """Not in a layer, not in the history; links in the prose of dependencies are theirs."""
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
    """Neither the history nor a file with credentials beside the compose files reaches the builder."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert (ROOT / ".dockerignore").read_text().split("\n")[1] == "*"
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, flags=re.MULTILINE))
    assert allowed == {name for names in copied for name in names.split()}


def test_what_builds_the_wheel_is_locked_like_the_tests() -> None:
    """The image's build backend is the one that the tests use, byte for byte."""
    lock = (FOLDER / "requirements.txt").read_text()
    pinned = re.findall(r"^(\S+==\S+) \\$", lock, flags=re.MULTILINE)
    assert any(pin.startswith("hatchling==") for pin in pinned)
    assert lock.count("--hash=sha256:") >= len(pinned)
    tested = (ROOT / "requirements-test.txt").read_text()
    assert [pin for pin in pinned if f"{pin} \\" not in tested] == []
    hashes = re.findall(r"--hash=sha256:\w+", lock)
    assert [one for one in hashes if one not in tested] == []


def test_hadolint_finds_nothing() -> None:
    """The file follows the habits of its kind."""
    hadolint = Path(sys.executable).parent / "hadolint"
    ended = subprocess.run([hadolint, FOLDER / "Containerfile"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.program("make")
def test_make_image_runs_the_build() -> None:
    """The command of the README is the one tested here."""
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
    """Of the programs that are here, the first whose `info` succeeds; the health check needs Docker's format."""
    for name in ("docker", "podman", "buildah"):
        works = "exit 0" if name in working else "exit 1"
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$1" = info ] && {works}\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    ran = build(tmp_path)
    assert ran.stdout.startswith(f"{expected} --file deploy/container/Containerfile --tag ")
    assert f"--tag rocketchat-import-exporter:{__version__} " in ran.stdout


def test_without_a_builder_the_build_says_what_is_needed(tmp_path: Path) -> None:
    """Nothing of a stack trace, and a failure."""
    ended = build(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Building the image needs docker, podman or buildah;")


def build(programs: Path) -> subprocess.CompletedProcess[str]:
    """The build script, with these programs and the system's small ones."""
    for name in ("dirname", "env", "bash", "sed"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    command = [FOLDER / "build"]
    return subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, check=False)
