"""Divides a page into cells, which are compressed one by one and kept until their lines change.

Most lines of a page are the same at the next scrape, so most cells are. A page in gzip is still a single member,
because curl and browsers read no second one: each cell is a piece of one deflate stream that refers to no earlier
piece, and the checksum of the whole follows from those of the cells.
"""

import struct
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Union

COMPRESSION_LEVEL: Final = 1
"""On a page of four workspaces, level 6 saves a seventh of the bytes and takes five times as long."""

BLOCKS_IN_PART: Final = 16
"""Blocks of a cell that are joined to be sent: some 20 kB of the longest ones."""

_RAW: Final = -15
"""zlib's word for deflate alone, with the largest window."""
_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""gzip's head (RFC 1952): deflate, no time, the fastest level, an unknown system."""

Piece = Union[bytes, "Cell"]
Pieces = tuple[Piece, ...]
"""A page in pieces. Two pages with the same first piece, not only an equal one, differ in the last few at most."""
Steps = Generator[None, None, Pieces]
"""Makes a page in short steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """Text as a piece of a deflate stream, with what the checksum of the whole needs."""

    data: bytes
    size: int
    checksum: int
    of_zeros: int
    """The checksum of as many zeros."""

    def checksum_after(self, before: int) -> int:
        """The checksum of this text after a text with this checksum.

        CRC-32 is linear: the bits of what was before move on as they would over zeros, and those of this text are
        added.
        """
        return zlib.crc32(bytes(self.size), before) ^ self.of_zeros ^ self.checksum


class Cell:
    """Some lines of a page, in groups of blocks: a piece of a page that is not compressed.

    Its bytes are joined when they are wanted, and its compressed form is kept.
    """

    __slots__ = ("_packed", "_size", "groups")

    def __init__(self, groups: Sequence[Sequence[bytes]]) -> None:
        self.groups = groups
        self._size = sum([len(block) for blocks in groups for block in blocks])
        self._packed: _Packed | None = None

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(chain.from_iterable(self.groups))

    def parts(self) -> Iterator[bytes]:
        """Its bytes in small parts. Who sends them need not hold all at once."""
        for blocks in self.groups:
            for start in range(0, len(blocks), BLOCKS_IN_PART):
                yield b"".join(blocks[start : start + BLOCKS_IN_PART])

    def packed(self, compressor: "zlib._Compress") -> _Packed:
        """Its compressed form. The compressor must have nothing left of an earlier piece."""
        if self._packed is None:
            text = bytes(self)
            self._packed = _Packed(
                data=compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH),
                size=len(text),
                checksum=zlib.crc32(text),
                of_zeros=zlib.crc32(bytes(len(text))),
            )
        return self._packed


class Cells:
    """The part of a page that is kept from scrape to scrape."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self._plain: Pieces | None = None
        self._packed: tuple[Pieces, int, int] | None = None

    def plain(self) -> Pieces:
        """The lines. Nothing is copied until they are sent."""
        if self._plain is None:
            first, *others = [each for each in self.cells if len(each)] or [Cell(())]
            # The first piece is a new one, as `Pieces` wants it.
            self._plain = (Cell(first.groups), *others)
        return self._plain

    def packed_with(self, tail: Sequence[bytes]) -> Steps:
        """These lines and a tail as gzip."""
        if self._packed is None:
            self._packed = yield from self._pack()
        start, checksum, size = self._packed
        compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _RAW)
        end = []
        for part in tail:
            end.append(compressor.compress(part))
            checksum = zlib.crc32(part, checksum)
            size += len(part)
            yield
        end.append(compressor.flush())
        end.append(struct.pack("<LL", checksum, size % 2**32))
        return (*start, b"".join(end))

    def _pack(self) -> Generator[None, None, tuple[Pieces, int, int]]:
        compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _RAW)
        pieces, checksum, size = [], 0, 0
        for cell in self.cells:
            if len(cell):
                packed = cell.packed(compressor)
                pieces.append(packed.data)
                checksum = packed.checksum_after(checksum)
                size += packed.size
                yield
        # The head makes the first piece a new one.
        return (_GZIP_HEAD + b"".join(pieces[:1]), *pieces[1:]), checksum, size

    def renewed(self, cells: Iterable[Sequence[Sequence[bytes]]]) -> "Generator[None, None, Cells]":
        """Cells of these groups of blocks. Those that are the same as here are taken over."""
        made: list[Cell] = []
        for groups in cells:
            kept = self.cells[len(made)] if len(made) < len(self.cells) else None
            made.append(kept if kept is not None and kept.groups == groups else Cell(groups))
            yield
        return Cells(made)
