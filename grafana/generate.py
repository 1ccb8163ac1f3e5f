"""Writes the dashboards' JSON: run as `python -m grafana.generate` from the top of the checkout.

A test compares what is committed with what `files` returns.
"""

import json
from pathlib import Path
from typing import Final

from grafana import all_imports, exporter_itself, one_import

FOLDER: Final = Path(__file__).parent / "dashboards"
BOARDS: Final = (one_import.BOARD, all_imports.BOARD, exporter_itself.BOARD)


def files() -> dict[Path, str]:
    """Every dashboard's file with its content."""
    return {
        FOLDER / f"{board.uid}.json": json.dumps(board.json(), indent=2, ensure_ascii=False) + "\n" for board in BOARDS
    }


def main() -> None:
    """Write them all."""
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
