"""Divides the workspaces among several exporters with the same configuration.

Jump consistent hash (Lamping and Veach, 2014), as kube-state-metrics uses it: with one more exporter, the new one takes
its share from all others, and nothing else moves.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_BITS: Final = 64
_MULTIPLIER: Final = 2_862_933_555_777_941_757


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of `count` exporters. `index` begins with 0."""

    index: int
    count: int

    def holds(self, name: str) -> bool:
        """Whether this exporter polls the workspace with this name."""
        return self.holder(name) == self.index

    def holder(self, name: str) -> int:
        """The index of the exporter that polls the workspace with this name."""
        key = int.from_bytes(sha256(name.encode()).digest()[: _BITS // 8])
        index, following = 0, 0
        while following < self.count:
            index = following
            key = (key * _MULTIPLIER + 1) % (1 << _BITS)
            following = ((index + 1) << 31) // ((key >> 33) + 1)
        return index
