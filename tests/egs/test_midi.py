"""Scores: written and read again, and taken apart by instruments without losing a note."""

import struct

import pytest

from egs.debian_packages.local.midi import (
    GROUPS,
    Score,
    group_of,
    groups_of,
    only_group,
    read_score,
    write_score,
)

BASS, CHOIR = 33, 52


def score() -> Score:
    """Channel 0 plays bass, then choir; channel 9 drums; one tempo change."""
    events = [
        (0, bytes([0xFF, 0x51, 3, 7, 161, 32])),
        (0, bytes([0xC0, BASS])),
        (0, bytes([0x90, 40, 100])),
        (10, bytes([0x99, 36, 90])),
        (200, bytes([0x80, 40, 0])),
        (200, bytes([0xC0, CHOIR])),
        (200, bytes([0xB0, 7, 100])),
        (300, bytes([0x90, 60, 80])),
        (20000, bytes([0x90, 60, 0])),
    ]
    return Score(480, tuple(events), 20480)


def notes(of: Score) -> list[tuple[int, bytes]]:
    return [event for event in of.events if event[1][0] >> 4 == 9 and event[1][2] > 0]


def test_a_score_is_read_as_it_was_written():
    assert read_score(write_score(score())) == score()


def test_groups_are_the_programs_at_the_time_and_channel_ten():
    assert groups_of(score()) == ("bass", "drums", "voice")


def test_groups_share_out_the_notes_and_keep_time_and_controls():
    parts = [only_group(score(), group) for group in groups_of(score())]
    assert sorted(note for part in parts for note in notes(part)) == sorted(notes(score()))
    for part in parts:
        assert part.end == score().end
        assert len(part.events) - len(notes(part)) == len(score().events) - len(notes(score()))


def test_every_program_is_in_one_group():
    for program in range(128):
        assert sum(any(program in r for r in ranges) for ranges in GROUPS.values()) == 1
        assert group_of(program) in GROUPS


def test_tracks_are_merged_and_running_status_and_strange_events_are_understood():
    first = bytes([0, 0x90, 60, 9, 5, 62, 9, 5, 64, 0, 0, 0xFF, 0x2F, 0])
    second = bytes([3, 0xF0, 2, 1, 0xF7, 0, 0xFF, 1, 2, 65, 66, 0x81, 0, 0xC1, 5, 0, 0xFF, 0x2F, 0])
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(t)) + t for t in (first, b"", second))
    read = read_score(b"MThd" + struct.pack(">IHHh", 6, 1, 3, 96) + chunks + b"trailing")
    notes_on = [(0, bytes([0x90, 60, 9])), (5, bytes([0x90, 62, 9])), (10, bytes([0x90, 64, 0]))]
    assert read == Score(96, (*notes_on, (131, bytes([0xC1, 5]))), 131)


def test_other_bytes_are_refused():
    with pytest.raises(ValueError, match="MThd"):
        read_score(b"MUS\x1a" + bytes(30))
