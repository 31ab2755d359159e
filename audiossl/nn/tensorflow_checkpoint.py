"""Tensors of a TensorFlow checkpoint, read without TensorFlow: an index of names, and raw values.

A checkpoint is two files: `<prefix>.index`, a sorted table in LevelDB's format whose values say
where each tensor lies, and `<prefix>.data-00000-of-00001`, the tensors' bytes. Nothing in them is
code. Sources: LevelDB's `doc/table_format.md`, TensorFlow's `tensor_bundle.proto`.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiossl.errors import UserError

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
"""Bytes at the end of a table: where its indices are, and the magic number."""
_FLOAT = 1
"""TensorFlow's number of float32."""


def read_checkpoint(index: Path) -> dict[str, Tensor]:
    """Read every float32 tensor of a checkpoint of one shard.

    Args:
        index: Its file `<prefix>.index`; the other one lies beside it.

    Raises:
        UserError: A file is missing, damaged, or not what its name says.
    """
    data = index.with_name(index.name.removesuffix(".index") + ".data-00000-of-00001")
    try:
        table, values = index.read_bytes(), data.read_bytes()
        entries = dict(_entries(table))
        return {
            name.decode(): _tensor(_fields(entry), values)
            for name, entry in entries.items()
            if name and _fields(entry).get(1, 0) == _FLOAT
        }
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; a checkpoint has it") from error
    except (IndexError, ValueError, RuntimeError, struct.error) as error:
        raise UserError(f"{index}: damaged, or no checkpoint of TensorFlow ({error})") from error


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table, whose index block says where blocks of them are."""
    if len(table) < FOOTER or struct.unpack("<Q", table[-8:])[0] != MAGIC:
        raise ValueError("its end is not that of a table")
    _, _, place = _handle(table, len(table) - FOOTER)  # of another index, which has nothing here
    offset, size, _ = _handle(table, place)
    for _, handle in _block(table, offset, size):
        yield from _block(table, *_handle(handle, 0)[:2])


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a block; a key has as many bytes of the last one as it says."""
    if table[offset + size] != 0:
        raise ValueError("a block is compressed")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    place, end, key = 0, len(block) - 4 - 4 * restarts, b""
    while place < end:
        shared, place = _varint(block, place)
        rest, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + rest]
        place += rest
        yield key, block[place : place + length]
        place += length


def _handle(content: bytes, place: int) -> tuple[int, int, int]:
    """Read where a block is: offset, size, and the place behind."""
    offset, place = _varint(content, place)
    size, place = _varint(content, place)
    return offset, size, place


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, least first, and the place behind it."""
    value, shift = 0, 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Read the fields of a protocol buffer by number; of those that repeat, the last."""
    fields: dict[int, int | bytes] = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            fields[number], place = _varint(message, place)
        elif kind == 2:
            length, place = _varint(message, place)
            fields[number], place = message[place : place + length], place + length
        elif kind == 5:
            place += 4
        else:
            raise ValueError(f"a field of kind {kind}")
    return fields


def _tensor(entry: dict[int, int | bytes], values: bytes) -> Tensor:
    """Cut a tensor out: field 2 is its shape, 4 its offset, 5 its size in bytes."""
    offset, size, shape = entry.get(4, 0), entry.get(5, 0), entry.get(2, b"")
    if not isinstance(offset, int) or not isinstance(size, int) or not isinstance(shape, bytes):
        raise ValueError("a tensor's place is no number, or its shape is one")
    content = values[offset : offset + size]
    if len(content) != size:
        raise ValueError("a tensor lies beyond the end of the data")
    return torch.from_numpy(np.frombuffer(content, "<f4").copy()).view(_shape(shape))


def _shape(message: bytes) -> list[int]:
    """Read a shape: each field 2 is a dimension, whose field 1 is its size."""
    sizes, place = [], 0
    while place < len(message):
        _, place = _varint(message, place)
        length, place = _varint(message, place)
        size = _fields(message[place : place + length]).get(1, 0)
        if not isinstance(size, int):
            raise ValueError("the size of a dimension is no number")
        sizes.append(size)
        place += length
    return sizes
