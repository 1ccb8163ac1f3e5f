"""Makes a base image from the Python that runs the tests, so that building the exporter's image pulls nothing.

It is laid out like python:slim: python and pip in /usr/local, a shell, CA certificates.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pip

TOOLS: Final = ("sh", "mkdir")
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
LEFT_OUT: Final = (
    "__pycache__",
    "config-*",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
)
LOADED_LATER: Final = ("libdl.", "libgcc_s.", "libnss_", "libpthread.", "librt.", "libstdc++.", "libutil.")
"""Libraries that wheels and the name resolver load at run time, so that `ldd` does not list them."""


def lay_out(root: Path) -> None:
    """Fill a folder with the files of the base image."""
    for folder in (
        "bin",
        "etc/ssl/certs",
        "lib",
        "proc",
        "sys",
        "dev",
        "usr/bin",
        "usr/local/bin",
        "usr/local/lib",
        "tmp",
    ):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    programs = [_put_python(root), *_put_tools(root)]
    _put_libraries(root, [*programs, *root.rglob("*.so")])


def _put_python(root: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = root / "usr/local/lib" / version
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    shutil.copytree(
        Path(pip.__file__).parent, library / "site-packages" / "pip", ignore=shutil.ignore_patterns(*LEFT_OUT[:1])
    )
    program = root / "usr/local/bin" / version
    shutil.copy(Path(sys.executable).resolve(), program)
    for name in ("python", "python3"):
        (program.parent / name).symlink_to(version)
    return program


def _put_tools(root: Path) -> Iterable[Path]:
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        yield Path(shutil.copy(Path(found).resolve(), root / "bin" / name))


def _put_libraries(root: Path, programs: Iterable[Path]) -> None:
    """Copy the libraries of these programs to /lib, where the loader looks whatever the search path of a program is."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    words = [word for word in listed.split() if word.startswith("/") and not word.endswith(":")]
    cached = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    words += [line.split()[-1] for line in cached.splitlines() if line.split()[0].startswith(LOADED_LATER)]
    for library in {Path(word) for word in words}:
        if library.is_relative_to(root):
            continue
        kept = root / library.relative_to("/") if library.name.startswith("ld-") else root / "lib" / library.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library.resolve(), kept)
