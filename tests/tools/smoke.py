"""Runs the demo of an installed exporter and reads its pages: `smoke.py PROGRAM [ARGUMENT...]`.

`make release-check` runs it. The pages need files that a wheel could lack.
"""

import re
import signal
import subprocess
import sys
from typing import Final
from urllib.request import ProxyHandler, build_opener

PAGES: Final = {"": "<html", "runbook": "RocketChatImportCutOff", "metrics": "rocketchat_import_up"}


def main(command: list[str]) -> None:
    """Ends with an error if a page lacks its text, or the program does not end well on a signal."""
    read = build_opener(ProxyHandler({}))
    with subprocess.Popen(
        [*command, "demo", "--web.listen-address=127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        address = next(filter(None, (re.search(r"http://\S+/", line) for line in demo.stdout)))[0]
        for path, text in PAGES.items():
            with read.open(address + path) as answer:
                if text not in answer.read().decode():
                    sys.exit(f"{address}{path} lacks {text}")
        demo.send_signal(signal.SIGTERM)
        if demo.wait():
            sys.exit(f"the exporter ended with {demo.returncode}")
    print(f"The demo of {command[0]} answers on /, /{', /'.join(filter(None, PAGES))} and ends well.")


if __name__ == "__main__":
    main(sys.argv[1:])
