"""The unit as it is, installed by its own instructions, runs under a real systemd, with tokens that only root can read.

systemd is the first process of namespaces of its own: its mounts, processes, network and files in /etc end with it.
"""

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.test_systemd import CREDENTIALS, PROGRAM, ROOT, SIX, UNIT

pytestmark = [
    pytest.mark.program("systemd", "systemctl", "systemd-sysusers", "unshare", "mount", "curl"),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces with a second user need root"),
    pytest.mark.timeout(120),
]

ENTER: Final = """
groups=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
mkdir "$groups/trial-$$"
echo $$ >"$groups/trial-$$/cgroup.procs"
code=0
unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash -ec "$PREPARE" || code=$?
echo $$ >"$groups/cgroup.procs"
find "$groups/trial-$$" -depth -type d -exec rmdir {} +
exit $code
"""
"""Gives systemd a part of the tree of control groups, and removes it at the end."""
PREPARE: Final = r"""
mount --make-rprivate /
mount -t proc proc /proc
# A first process sets limits of the whole machine.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
# It mounts its part of the control groups itself.
umount --recursive /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/etc/new /run/etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/new,workdir=/run/etc/work /etc
mount -t tmpfs tmpfs /opt
mkdir -p /opt/python /opt/packages /opt/source "$(dirname "$PROGRAM")"
# The unit hides /home and /root, where Python may be.
mount --bind "$PYTHON" /opt/python
mount --bind "$PACKAGES" /opt/packages
mount --bind "$ROOT" /opt/source
# LoadCredential= mounts in another namespace, and the mount arrives only in a shared tree.
mount --make-rshared /
ip link set lo up
touch "$TRIAL/entered"
install --mode 755 "$TRIAL/program" "$PROGRAM"
cd "$ROOT"
sh -e "$TRIAL/instructions"
umask 077
echo aobEdbYhXfu5hkeqG >/etc/rc-import-exporter/acme.user-id
echo token-of-root >/etc/rc-import-exporter/acme.auth-token
umask 022
cp "$TRIAL/trial.service" /etc/systemd/system/
cp "$TRIAL/output.conf" /etc/systemd/system/rc-import-exporter.service.d/
export container=trial SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=1
exec /lib/systemd/systemd --system --unit=trial.service --log-target=console --show-status=no
"""
SERVICE: Final = """
[Unit]
DefaultDependencies=no
Wants=rc-import-exporter.service
After=rc-import-exporter.service
[Service]
Type=oneshot
ExecStart=-/bin/sh -xc '{commands}'
ExecStopPost=systemctl exit
StandardOutput=append:{folder}/trial
StandardError=append:{folder}/trial
"""
COMMANDS: Final = """
stat --format="%%A %%U %%n" /etc/rc-import-exporter/acme.* >{folder}/files;
curl --silent --max-time 10 http://127.0.0.1:19458/metrics >{folder}/metrics;
systemctl show rc-import-exporter --property=User,SubState,NRestarts >{folder}/running;
systemctl reload rc-import-exporter;
systemctl stop rc-import-exporter;
systemctl show rc-import-exporter --property=SubState,Result >{folder}/stopped
"""
OUTPUT: Final = """
[Unit]
DefaultDependencies=no
[Service]
StandardOutput=append:{folder}/log
StandardError=append:{folder}/log
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What was seen of one start, reload and stop: texts by name, and what systemd said."""

    seen: dict[str, str]
    systemd: str


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Installs the unit and the credentials, and starts, reloads and stops the exporter."""
    folder = tmp_path_factory.mktemp("systemd")
    pattern = r"^#   ((?:install|systemd-sysusers).*)$"
    texts = [path.read_text() for path in (UNIT, CREDENTIALS)]
    instructions = [line for text in texts for line in re.findall(pattern, text, flags=re.MULTILINE)]
    python = f"/opt/python/{Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())}"
    where = "LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/source:/opt/packages"
    files = {
        "instructions": "\n".join(instructions),
        "program": f'#!/bin/sh\n{where} exec {python} -m rc_import_exporter "$@"\n',
        "trial.service": SERVICE.format(folder=folder, commands=COMMANDS.format(folder=folder).replace("\n", " ")),
        "output.conf": OUTPUT.format(folder=folder),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    environ = {
        "PATH": os.environ["PATH"],
        "PREPARE": PREPARE,
        "TRIAL": str(folder),
        "ROOT": str(ROOT),
        "PROGRAM": PROGRAM,
        "PYTHON": str(Path(sys.base_prefix).resolve()),
        "PACKAGES": sysconfig.get_path("purelib"),
    }
    ran = subprocess.run(
        ["bash", "-ec", ENTER],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    seen = {path.name: path.read_text() for path in folder.iterdir()}
    if "entered" not in seen:
        # Also in continuous integration, where a skip fails: no package gives a machine these rights.
        pytest.xfail(f"this machine allows no namespaces with control groups: {ran.stderr.strip()}")
    return Life(seen=seen, systemd=ran.stdout + ran.stderr)


def test_the_exporter_reads_tokens_that_only_root_can_read(life: Life) -> None:
    """Without them it would not start. Its own user cannot read the files."""
    assert "msg=listening" in life.seen.get("log", life.systemd)
    assert life.seen["files"].splitlines() == [
        f"-rw------- root /etc/rc-import-exporter/acme.{secret}" for secret in ("auth-token", "user-id")
    ]
    assert set(life.seen["running"].split()) == {"NRestarts=0", "SubState=running", "User=rc-import-exporter"}


def test_the_exporter_measures_itself_under_the_unit_s_restrictions(life: Life) -> None:
    """All of them, not only those of /proc."""
    assert set(re.findall(r"^process_\w+", life.seen["metrics"], flags=re.MULTILINE)) >= SIX


def test_systemd_reloads_and_stops_it(life: Life) -> None:
    """`systemctl reload` returns once the exporter says that the reload is over."""
    events = re.findall(r'msg=(?:"([^"]+)"|(\S+))', life.seen["log"])
    told = [quoted or word for quoted, word in events]
    assert told.index("listening") < told.index("configuration reloaded") < told.index("stopped")
    assert set(life.seen["stopped"].split()) == {"Result=success", "SubState=dead"}
