"""What it is worth to take one class for another, where classes are notes or keys."""

import numpy as np
from jaxtyping import Float

from audiossl.errors import UserError

Credit = Float[np.ndarray, "right said"]
"""Of each class that is right, what each class that may be said is worth, from 0 to 1."""

_TONICS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


def same_pitch_class(classes: tuple[str, ...]) -> Credit:
    """Give credit for MIDI notes that are octaves apart, as HEAR's chroma accuracy does.

    Raises:
        UserError: A class is no number.

    >>> same_pitch_class(("60", "61", "72"))[0].tolist()
    [1.0, 0.0, 1.0]
    """
    if not all(name.isdigit() for name in classes):
        raise UserError("chroma_accuracy: classes must be MIDI notes, as 60 is: choose accuracy")
    notes = np.array([int(name) % 12 for name in classes])
    return (notes[:, None] == notes).astype(np.float64)


def near_keys(classes: tuple[str, ...]) -> Credit:
    """Weigh keys by how near they are, as MIREX and mir_eval do.

    A perfect fifth above the right key is worth 0.5, its relative key 0.3, its parallel one 0.2.

    Raises:
        UserError: A class is no key.

    >>> near_keys(("C major", "G major", "A minor", "C minor"))[0].tolist()
    [1.0, 0.5, 0.3, 0.2]
    """
    tonics, minor = (np.array(part) for part in zip(*map(_key, classes), strict=True))
    above = (tonics - tonics[:, None]) % 12
    same_mode = minor == minor[:, None]
    relative = ~same_mode & (above == np.where(minor, 3, 9)[:, None])
    parallel = ~same_mode & (above == 0)
    cases = [same_mode & (above == 0), same_mode & (above == 7), relative, parallel]
    return np.select(cases, [1.0, 0.5, 0.3, 0.2], 0.0)


def _key(name: str) -> tuple[int, bool]:
    """Read a key: its tonic in semitones above C, and whether it is minor."""
    tonic, _, mode = name.replace(":", " ").lower().partition(" ")
    if tonic[:1] not in _TONICS or set(tonic[1:]) - set("b#") or mode[:3] not in ("maj", "min"):
        raise UserError(f"key_score: {name!r} is no key: write C major, Eb minor, F# major")
    shift = tonic.count("#") - tonic[1:].count("b")
    return (_TONICS[tonic[0]] + shift) % 12, mode[:3] == "min"
