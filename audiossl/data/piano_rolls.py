"""Scores as piano rolls: which of 88 keys start, sound, and how hard, frame by frame.

Channels lie one after another: onset, sounding, velocity, 88 keys each from A0 up. Drums are left
out. pretty_midi is imported when a score is read (extra `midi`).
"""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32

from audiossl.errors import Skip, UserError
from audiossl.installation import missing_package

LOWEST, KEYS = 21, 88
CHANNELS = 3
_SLIP = 1e-4
"""Frames that rounding may be off."""


def piano_roll(
    path: str | Path, *, frame_rate: float, start: float = 0.0, duration: float | None = None
) -> Float32[np.ndarray, "frames keys"]:
    """Read a piece of a score.

    Args:
        path: A MIDI file.
        frame_rate: Frames a second.
        start: Seconds.
        duration: Seconds; to the end if None.

    Raises:
        Skip: The file cannot be read, or has no notes in that piece.
    """
    path = Path(path)
    midi = _pretty_midi()
    try:
        score = midi.PrettyMIDI(str(path))
    except (OSError, ValueError, EOFError, IndexError, KeyError) as error:
        raise Skip(f"{path}: cannot be read as MIDI ({error})") from error
    end = score.get_end_time() if duration is None else start + duration
    count = max(round((end - start) * frame_rate), 1)
    roll = np.zeros((count, CHANNELS, KEYS), np.float32)
    for note in _notes(score):
        _draw(roll, note, start, frame_rate)
    if not roll.any():
        raise Skip(f"{path}: has no notes between {start:g} and {end:g} s")
    return roll.reshape(count, -1)


def _notes(score: Any) -> list[Any]:
    notes = [note for part in score.instruments if not part.is_drum for note in part.notes]
    return [note for note in notes if LOWEST <= note.pitch < LOWEST + KEYS]


def _draw(roll: np.ndarray, note: Any, start: float, frame_rate: float) -> None:
    # Times are ticks turned into seconds: what is on a frame's edge must not slip over it.
    first = math.floor((note.start - start) * frame_rate + _SLIP)
    last = max(math.ceil((note.end - start) * frame_rate - _SLIP), first + 1)
    key = note.pitch - LOWEST
    if 0 <= first < len(roll):
        roll[first, 0, key] = 1.0
    inside = slice(max(first, 0), max(last, 0))
    roll[inside, 1, key] = 1.0
    roll[inside, 2, key] = np.maximum(roll[inside, 2, key], note.velocity / 127)


def _pretty_midi() -> ModuleType:
    try:
        import pretty_midi
    except ModuleNotFoundError as error:
        raise UserError(missing_package("scores", "pretty_midi", "midi")) from error
    return pretty_midi
