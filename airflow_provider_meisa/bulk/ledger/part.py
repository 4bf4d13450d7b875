"""The bytes of a part: a checksum, a JSON header, and sorted columns with hashes of records and entries.

::

    offset  bytes  what
    0       8      MEISALDG
    8       4      length of the header (u32)
    12      8      number of entries n (u64)
    20      16     blake2b of all other bytes
    36      …      header: JSON in UTF-8
    …       8 n    hashes of the record ids (u64), ascending
    …       8 n    entries (u64), see `entry.py`

Numbers are little-endian. This frame is the same in every version; the header has the version.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

VERSION = 1
MAGIC = b"MEISALDG"

BLOCK = 1 << 22
"""The most bytes that are read at once."""
FIRST_BLOCK = 1 << 18
"""The bytes that are read first, which is all of most parts."""

_LENGTHS = struct.Struct("<IQ")
_CHECKSUM = 16
_FRAME = len(MAGIC) + _LENGTHS.size + _CHECKSUM
_MOST_HEADER = 1 << 24

Piece: TypeAlias = "bytes | array[int]"


class DamagedPartError(Exception):
    """The bytes are not those of a written part. The message has the reason, but no file."""


@dataclass(frozen=True, slots=True)
class Part:
    """A header and some entries.

    :param header: plain JSON, see `header.py`.
    :param hashes: unique hashes of record ids, in ascending order.
    :param entries: a packed entry for each hash.
    """

    header: Mapping[str, Any]
    hashes: array[int]
    entries: array[int]


def encode(part: Part) -> list[Piece]:
    """Return the bytes of a part in pieces, without a copy of its columns."""
    header = json.dumps(part.header, sort_keys=True, separators=(",", ":")).encode()
    begin = MAGIC + _LENGTHS.pack(len(header), len(part.hashes))
    columns = [_little_endian(column) for column in (part.hashes, part.entries)]
    return [begin, _checksum(begin, header, *columns), header, *columns]


def decode(read: Callable[[int, int], bytes]) -> Part:
    """Read a part in blocks, so that its bytes and its columns are never both in memory.

    :param read: returns bytes, by offset and length; fewer only at the end of the part.
    :raises DamagedPartError: if it is cut short, is too long, or any byte differs.
    """
    block = read(0, FIRST_BLOCK)
    if len(block) < _FRAME or not block.startswith(MAGIC):
        raise DamagedPartError(
            "it is cut short" if MAGIC.startswith(block[: len(MAGIC)]) else "it is not a part"
        )
    begin = block[: _FRAME - _CHECKSUM]
    header_length, count = _LENGTHS.unpack_from(block, len(MAGIC))
    if header_length > _MOST_HEADER:
        raise DamagedPartError("its checksum is wrong")
    reader = _Reader(read, block, end=_FRAME + header_length + 16 * count)
    checksum = reader.take(_FRAME)[-_CHECKSUM:]
    header = reader.take(header_length)
    columns = [reader.take_column(count) for _ in range(2)]
    reader.check_end()
    if _checksum(begin, header, *columns) != checksum:
        raise DamagedPartError("its checksum is wrong")
    return Part(json.loads(header), *map(_little_endian, columns))


class _Reader:
    """Reads from a first block to the end that the frame gives."""

    def __init__(self, read: Callable[[int, int], bytes], block: bytes, *, end: int) -> None:
        self._read, self._end = read, end
        self._block, self._offset = memoryview(block), len(block)

    def take(self, length: int) -> bytes:
        taken = bytearray(length)
        self._fill(memoryview(taken))
        return bytes(taken)

    def take_column(self, count: int) -> array[int]:
        if 8 * count > self._end:
            raise DamagedPartError("it is cut short")
        column = array("Q")
        while len(column) < count:
            # It grows with the bytes that exist: a damaged count must not use up the memory.
            more = array("Q", (0,)) * min(count - len(column), BLOCK // 8)
            self._fill(memoryview(more).cast("B"))
            column.extend(more)
        return column

    def check_end(self) -> None:
        if self._block or self._offset > self._end:
            raise DamagedPartError("it is too long")

    def _fill(self, target: memoryview) -> None:
        filled = 0
        while filled < len(target):
            if not self._block:
                self._read_block()
            piece = self._block[: len(target) - filled]
            target[filled : filled + len(piece)] = piece
            self._block = self._block[len(piece) :]  # a view, without a copy
            filled += len(piece)

    def _read_block(self) -> None:
        # One byte more than expected, to detect a part that is too long.
        wanted = min(BLOCK, self._end + 1 - self._offset)
        self._block = memoryview(self._read(self._offset, wanted) if self._offset < self._end else b"")
        if not self._block:
            raise DamagedPartError("it is cut short")
        self._offset += len(self._block)


def _checksum(*pieces: Piece) -> bytes:
    checksum = blake2b(digest_size=_CHECKSUM)
    for piece in pieces:
        checksum.update(piece)
    return checksum.digest()


def _little_endian(column: array[int]) -> array[int]:
    """Swap the bytes of a column on a big-endian machine."""
    if sys.byteorder == "little":
        return column
    column = column[:]
    column.byteswap()
    return column
