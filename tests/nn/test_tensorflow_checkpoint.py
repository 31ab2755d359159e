import struct

import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.tensorflow_checkpoint import MAGIC, read_checkpoint


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _block(entries: list[tuple[bytes, bytes, int]]) -> bytes:
    """Write entries of a key, a value, and how many bytes of the key before stand in its place."""
    body = b"".join(
        _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        for key, value, shared in entries
    )
    return body + struct.pack("<II", 0, 1)


def _entry(shape: tuple[int, ...], offset: int) -> bytes:
    sizes = [b"\x08" + _varint(size) for size in shape]
    dims = b"".join(b"\x12" + _varint(len(size)) + size for size in sizes)
    size = 4 * torch.Size(shape).numel()
    entry = b"\x08\x01\x12" + _varint(len(dims)) + dims
    return entry + b"\x20" + _varint(offset) + b"\x28" + _varint(size) + b"\x35abcd"


def _write(folder, tensors: dict[str, torch.Tensor]):
    """Write a checkpoint as LevelDB's table format says, names sorted and shortened."""
    entries, data, last = [(b"", b"\x08\x01", 0)], b"", b""
    for name in sorted(tensors):
        key = name.encode()
        shared = next((n for n in range(len(key)) if key[: n + 1] != last[: n + 1]), 0)
        entries.append((key, _entry(tuple(tensors[name].shape), len(data)), shared))
        data, last = data + tensors[name].numpy().tobytes(), key
    block = _block(entries)
    index = _block([(b"z", b"\x00" + _varint(len(block)), 0)])
    handle = b"\x00\x00" + _varint(len(block) + 5) + _varint(len(index))
    footer = handle.ljust(40, b"\x00") + struct.pack("<Q", MAGIC)
    (folder / ".index").write_bytes(block + b"\x00crc_" + index + b"\x00crc_" + footer)
    (folder / ".data-00000-of-00001").write_bytes(data)
    return folder / ".index"


def test_tensors_come_back(tmp_path):
    tensors = {
        "conv2d/bias": torch.randn(300),
        "conv2d/kernel": torch.randn(7, 3, 1, 5),
        "conv2d_1/bias": torch.randn(2),
        "step": torch.tensor(3.0),
    }
    found = read_checkpoint(_write(tmp_path, tensors))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("damage", ["cut", "data", "other", "missing"])
def test_damaged_checkpoints_are_named(tmp_path, damage):
    index = _write(tmp_path, {"a": torch.randn(50), "b": torch.randn(50)})
    data = tmp_path / ".data-00000-of-00001"
    match damage:
        case "cut":
            index.write_bytes(index.read_bytes()[:-60])
        case "data":
            data.write_bytes(data.read_bytes()[:-1])
        case "other":
            index.write_bytes(b"x" * 100)
        case "missing":
            data.unlink()
    with pytest.raises(UserError, match=str(tmp_path)):
        read_checkpoint(index)


def test_an_index_with_a_flipped_bit_is_read_or_refused_in_a_line(tmp_path):
    path = _write(tmp_path, {"bias": torch.randn(3), "kernel": torch.randn(2, 3)})
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for bit in (1, 2, 128):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            try:
                read_checkpoint(path)
            except UserError:
                refused += 1
    assert refused > len(whole)
