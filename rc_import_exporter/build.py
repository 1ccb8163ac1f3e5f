"""The version, the revision and the Python that run."""

import platform
from importlib import resources

from rc_import_exporter import __version__
from rc_import_exporter.core.snapshot import Build


def current() -> Build:
    """This build. A container image has its revision in the file `REVISION` beside this module."""
    return Build(version=__version__, revision=_revision(), python=platform.python_version())


def _revision() -> str:
    written = resources.files("rc_import_exporter") / "REVISION"
    return written.read_text(encoding="ascii").strip() if written.is_file() else "unknown"
