"""Writes the dashboards' JSON. Run `python -m grafana.generate` in the repository's root directory.

A test compares the committed files with what `files` returns.
"""

import json
from pathlib import Path
from typing import Final

from grafana import all_imports, exporter_itself, one_import

FOLDER: Final = Path(__file__).parent / "dashboards"
BOARDS: Final = (one_import.BOARD, all_imports.BOARD, exporter_itself.BOARD)


def files() -> dict[Path, str]:
    """The path and content of each dashboard."""
    return {
        FOLDER / f"{board.uid}.json": json.dumps(board.json(), indent=2, ensure_ascii=False) + "\n" for board in BOARDS
    }


def main() -> None:
    """Write all dashboards."""
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
