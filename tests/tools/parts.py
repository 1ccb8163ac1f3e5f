"""Compares a list of parts with a lock: `parts.py SBOM LOCK`. `make release-check` runs it.

If an SBOM lacks a package, scanners do not find that package's vulnerabilities.
"""

import json
import re
import sys
from pathlib import Path


def main(sbom: Path, lock: Path) -> None:
    """Ends with an error if a package of the lock is missing. Packages for other systems do not count."""
    parts = {(normal(part["name"]), part.get("version")) for part in json.loads(sbom.read_text())["components"]}
    locked = re.findall(r"^([\w.-]+)(?:\[\S+\])?==(\S+) \\$", lock.read_text(), flags=re.MULTILINE)
    missing = sorted(f"{name} {version}" for name, version in locked if (normal(name), version) not in parts)
    if missing or not locked:
        sys.exit(f"{sbom} lacks {', '.join(missing) or 'everything'}")
    print(f"{sbom} names {len(parts)} packages, among them all {len(locked)} of {lock}.")


def normal(name: str) -> str:
    """The name as the index compares it. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
