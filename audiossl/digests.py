"""Identities by content: the first 16 hexadecimal digits of SHA-256, and all 64 of a file."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
"""Bytes of a file that are read at once."""


def sha256_of(path: Path) -> str:
    """Hash a file, in 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_of_bytes(parts: Iterable[bytes | memoryview]) -> str:
    """Hash bytes, piece by piece.

    >>> digest_of_bytes([b"a", b"b"]) == digest_of_bytes([b"ab"])
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def digest_of_json(content: Any) -> str:
    """Hash what JSON can hold; keys in any order, and other objects by their text.

    >>> digest_of_json({"a": 1, "b": 2}) == digest_of_json({"b": 2, "a": 1})
    True
    """
    return digest_of_bytes([json.dumps(content, sort_keys=True, default=str).encode()])
