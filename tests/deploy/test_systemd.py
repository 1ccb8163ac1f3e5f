"""The systemd unit: systemd accepts it, it is confined, and the exporter accepts its command line."""

import re
import resource
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from rc_import_exporter import descriptors
from rc_import_exporter.commands import flags
from rc_import_exporter.config import settings
from rc_import_exporter.core.domain import Api

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "systemd"
UNIT: Final = FOLDER / "rc-import-exporter.service"
CREDENTIALS: Final = FOLDER / "credentials.conf"
PROGRAM: Final = "/opt/rc-import-exporter/bin/rc-import-exporter"
EXPOSURE: Final = 15
"""In tenths. systemd calls up to 2.0 "OK". The rest is the access to the network."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists."""
    program = tmp_path / "rc-import-exporter"
    program.write_text("#!/bin/sh\n")
    program.chmod(stat.S_IRWXU)
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(PROGRAM, str(program)))
    return path


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The output of systemd-analyze."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.program("systemd-analyze")
def test_systemd_takes_the_unit(unit: Path) -> None:
    """A misspelt directive only causes a warning in the log."""
    ran = systemd_analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.program("systemd-analyze")
def test_the_unit_leaves_little_to_an_attacker(unit: Path) -> None:
    ran = systemd_analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", str(unit))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.program("systemd-analyze")
def test_systemd_takes_the_credentials(unit: Path) -> None:
    """They are one more file of the unit."""
    more = unit.with_name(f"{unit.name}.d") / CREDENTIALS.name
    more.parent.mkdir()
    more.write_text(CREDENTIALS.read_text())
    ran = systemd_analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_exporter_reads_the_credentials(tmp_path: Path) -> None:
    """They take the place of the files in the example, which the exporter's user may not read then."""
    loaded = dict(re.findall(r"^LoadCredential=(\S+):(\S+)$", CREDENTIALS.read_text(), flags=re.MULTILINE))
    for name in loaded:
        (tmp_path / name).write_text(f"secret-{name}\n")
    variables = re.findall(r"^Environment=(\w+)=(\S+)$", CREDENTIALS.read_text(), flags=re.MULTILINE)
    environ = {name: value.replace("%d", str(tmp_path)) for name, value in variables}
    read = settings.load({"config.file": str(FOLDER / "config.yml")}, environ).workspaces["acme"].credentials.load()
    assert (read.user_id, read.auth_token) == ("secret-acme.user-id", "secret-acme.auth-token")
    assert set(loaded.values()) == {f"/etc/rc-import-exporter/{name}" for name in loaded}


def test_systemd_hears_of_ready_and_reloads_and_ends_what_hangs() -> None:
    """The exporter sends what this needs, see tests/test_systemd.py. A core dump would hold the token."""
    directives = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), flags=re.MULTILINE))
    wanted = {"Type": "notify", "ExecReload": "kill -HUP $MAINPID", "WatchdogSec": "30s", "LimitCORE": "0"}
    assert directives | wanted == directives


MOUNT_OPTIONS: Final = {"ProtectProc": "hidepid", "ProcSubset": "subset"}
SIX: Final = {
    *("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds"),
    *("process_cpu_seconds_total", "process_open_fds", "process_max_fds"),
}


@pytest.mark.program("unshare", "mount")
def test_the_exporter_measures_itself_with_the_units_proc() -> None:
    """prometheus-client collects nothing without /proc/stat, and the unit decides what /proc holds."""
    directives = re.findall(r"^(ProtectProc|ProcSubset)=(\w+)$", UNIT.read_text(), flags=re.MULTILINE)
    options = ",".join(f"{MOUNT_OPTIONS[name]}={value}" for name, value in directives)
    program = "from prometheus_client import exposition as e, REGISTRY; print(e.generate_latest(REGISTRY).decode())"
    isolated = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-ec")
    command = f'mount -t proc -o {options} proc /proc; exec "$@"'
    page = subprocess.run(
        [*isolated, command, "sh", sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"^\w+", page, flags=re.MULTILINE)) >= SIX


def _line() -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), flags=re.MULTILINE)
    return shlex.split(line)


def test_the_exporter_reads_the_line_and_the_example(tmp_path: Path) -> None:
    program, *arguments = _line()
    assert program == PROGRAM
    assert flags.parse(arguments).options == {"config.file": "/etc/rc-import-exporter/config.yml"}
    (tmp_path / "config.yml").write_text((FOLDER / "config.yml").read_text())
    for name in ("acme.user-id", "acme.auth-token"):
        (tmp_path / name).write_text("secret\n")
    read = settings.load({"config.file": str(tmp_path / "config.yml")}, {})
    assert read.workspaces["acme"].credentials.load().auth_token == "secret"


def test_a_thousand_workspaces_may_keep_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter of system calls does not let the exporter raise the limit itself."""
    (granted,) = map(int, re.findall(r"^LimitNOFILE=(\d+)$", UNIT.read_text(), flags=re.MULTILINE))
    monkeypatch.setattr(resource, "getrlimit", lambda what: (granted, granted))
    assert descriptors.share() >= 1000 * len(Api)


@pytest.mark.program("systemd-sysusers", "install")
def test_the_files_are_where_the_unit_looks_for_them_after_its_instructions(tmp_path: Path) -> None:
    """Runs the commands in the unit's comment below a folder, with an existing group."""
    commands = re.findall(r"^#   ((?:install|systemd-sysusers).*)$", UNIT.read_text(), flags=re.MULTILINE)
    for command in commands:
        rooted = re.sub(r" (/etc/)", rf" {tmp_path}\1", command).replace("--group rc-import-exporter ", "")
        words = [*shlex.split(rooted), *(["--root", str(tmp_path)] if command == "systemd-sysusers" else [])]
        subprocess.run(words, cwd=ROOT, check=True)
    users = (tmp_path / "etc" / "passwd").read_text()
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert made >= {
        "etc/systemd/system/rc-import-exporter.service",
        "etc/sysusers.d/rc-import-exporter.conf",
        "etc/rc-import-exporter/config.yml",
    }
    assert re.search(r"^rc-import-exporter:.*:/usr/sbin/nologin$", users, flags=re.MULTILINE)
    assert stat.S_IMODE((tmp_path / "etc" / "rc-import-exporter").stat().st_mode) == 0o750
    assert len(commands) == 5
