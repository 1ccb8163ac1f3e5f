"""The program's start: `python -m rc_import_exporter` is `rc-import-exporter`."""

import os
import signal
import sys

from rc_import_exporter import signals
from rc_import_exporter.commands.exits import SIGNALLED, Exit


def main() -> int:
    """Runs the command line and returns its exit code."""
    signals.hold()
    if wrong := _wrong_key_log(os.environ.get("SSLKEYLOGFILE", "")):
        print(f"rc-import-exporter: SSLKEYLOGFILE: {wrong}", file=sys.stderr)
        return Exit.MISCONFIGURED
    try:
        # Takes tenths of a second: signals wait, and do not get lost.
        from rc_import_exporter import cli  # noqa: PLC0415

        return cli.main()
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    finally:
        signals.ignore()


def _wrong_key_log(path: str) -> str:
    """Why Python's TLS cannot append its session keys to this file; it reads the variable itself. Empty if it can."""
    try:
        if path:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600))
    except (OSError, ValueError) as error:
        return f"cannot write this file: {getattr(error, 'strerror', error)}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
