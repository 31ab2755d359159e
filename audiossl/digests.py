"""Identities by content: the first 16 hexadecimal digits of SHA-256."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


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
