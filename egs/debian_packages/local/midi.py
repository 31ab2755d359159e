"""A MIDI score, and the score of one group of its instruments.

Standard MIDI files 1.0 (MIDI Manufacturers Association, RP-001): chunks, variable-length numbers,
running status. Kept are the events of channels and the tempo: what a synthesizer needs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

DRUMS = 9
"""The channel that General MIDI gives to percussion, counted from 0."""
GROUPS = {
    "keys": (range(8), range(16, 24)),
    "mallets": (range(8, 16),),
    "guitar": (range(24, 32),),
    "bass": (range(32, 40),),
    "strings": (range(40, 52),),
    "voice": (range(52, 55),),
    "winds": (range(56, 80),),
    "synth": (range(80, 104),),
    "other": (range(55, 56), range(104, 128)),
}
"""Families of General MIDI's programs, counted from 0."""
SPLIT_OF_PROGRAM = ("train", "train", "test", "train", "valid", "train", "test", "train")
"""Split of each of the eight programs of a family, where instruments are held out."""
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_TEMPO, _END = 0x51, 0x2F


@dataclass(frozen=True)
class Score:
    """A score as one stream of events."""

    division: int
    """Ticks of a quarter note (or, if negative, frames of a second and ticks of a frame)."""
    events: tuple[tuple[int, bytes], ...]
    """Tick and bytes of each event, in order."""
    end: int
    """Tick at which the last track ends."""


def read_score(data: bytes) -> Score:
    """Read a MIDI file of any format as one stream of events.

    Raises:
        ValueError: These are not the bytes of a MIDI file.
    """
    if data[:4] != b"MThd":
        raise ValueError("no MIDI file: it does not begin with MThd")
    size, _, _, division = struct.unpack(">IHHh", data[4:14])
    position, events, end = 8 + size, [], 0
    while position + 8 <= len(data):
        kind, size = struct.unpack(">4sI", data[position : position + 8])
        if kind == b"MTrk":
            for tick, event in _track(data[position + 8 : position + 8 + size]):
                end = max(end, tick)
                if event:
                    events.append((tick, event))
        position += 8 + size
    # Sorting is stable: events of one tick stay in the order of their tracks.
    return Score(division, tuple(sorted(events, key=lambda event: event[0])), end)


def write_score(score: Score) -> bytes:
    """Write a score as a MIDI file of one track."""
    body, now = bytearray(), 0
    for tick, event in score.events:
        body += _number(tick - now) + event
        now = tick
    body += _number(score.end - now) + bytes([0xFF, _END, 0])
    header = b"MThd" + struct.pack(">IHHh", 6, 0, 1, score.division)
    return header + b"MTrk" + struct.pack(">I", len(body)) + bytes(body)


def groups_of(score: Score) -> tuple[str, ...]:
    """Name the groups that have notes, `drums` among them, in the order of their names."""
    groups = {group for _, event, group in _grouped(score) if _starts_note(event)}
    return tuple(sorted(groups - {""}))


def only_group(score: Score, group: str) -> Score:
    """Keep the notes of one group, and everything that is no note."""
    events = tuple(
        (tick, event)
        for tick, event, of in _grouped(score)
        if not _starts_note(event) or of == group
    )
    return Score(score.division, events, score.end)


def _grouped(score: Score) -> Iterator[tuple[int, bytes, str]]:
    """Add to each event the group of its channel's program at that time."""
    programs = [0] * 16
    for tick, event in score.events:
        kind, channel = event[0] >> 4, event[0] & 15
        if kind == 0xC:
            programs[channel] = event[1]
        group = ""
        if kind in _DATA_BYTES:
            group = "drums" if channel == DRUMS else group_of(programs[channel])
        yield tick, event, group


def group_of(program: int) -> str:
    """Name the group of a program, counted from 0."""
    return next(name for name, ranges in GROUPS.items() if any(program in r for r in ranges))


def _starts_note(event: bytes) -> bool:
    return event[0] >> 4 == 0x9 and event[2] > 0


def _track(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tick and event; other events, the end among them, as empty bytes."""
    tick, at, status = 0, 0, 0
    while at < len(data):
        delta, at = _read_number(data, at)
        tick += delta
        if data[at] >= 0x80:
            status, at = data[at], at + 1
        if status == 0xFF:
            kind, (size, begin) = data[at], _read_number(data, at + 1)
            at = begin + size
            tempo = bytes([0xFF, _TEMPO]) + _number(size) + data[begin:at]
            yield tick, tempo if kind == _TEMPO else b""
            if kind == _END:
                return
        elif status >= 0xF0:
            size, at = _read_number(data, at)
            at += size
            yield tick, b""
        else:
            size = _DATA_BYTES[status >> 4]
            yield tick, bytes([status]) + data[at : at + size]
            at += size


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _number(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))
