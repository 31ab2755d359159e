import numpy as np
import pretty_midi
import pytest

from audiossl.data.piano_rolls import KEYS, piano_roll
from audiossl.errors import Skip


@pytest.fixture
def score(tmp_path):
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0)
    piano.notes = [pretty_midi.Note(64, 60, 0.5, 1.0), pretty_midi.Note(127, 21, 0.95, 2.0)]
    drums = pretty_midi.Instrument(program=0, is_drum=True)
    drums.notes = [pretty_midi.Note(100, 40, 0.0, 3.0)]
    midi.instruments = [piano, drums]
    path = tmp_path / "score.mid"
    midi.write(str(path))
    return path


def test_notes_start_sound_and_have_a_velocity_and_drums_have_none(score):
    onset, sounding, velocity = (
        piano_roll(score, frame_rate=10.0, duration=2.0).reshape(20, 3, KEYS).transpose(1, 0, 2)
    )
    assert np.argwhere(onset).tolist() == [[5, 39], [9, 0]]
    assert np.argwhere(sounding[:, 39]).flatten().tolist() == [5, 6, 7, 8, 9]
    assert np.argwhere(sounding[:, 0]).flatten().tolist() == list(range(9, 20))
    assert velocity[6, 39] == pytest.approx(64 / 127)
    assert (velocity > 0).sum() == sounding.sum()


def test_a_piece_of_a_score_is_that_piece_of_the_whole(score):
    whole = piano_roll(score, frame_rate=10.0, duration=2.0)
    piece = piano_roll(score, frame_rate=10.0, start=0.7, duration=0.8)
    np.testing.assert_array_equal(piece[:, KEYS:], whole[7:15, KEYS:])


def test_silence_and_what_is_no_midi_are_left_out(score, tmp_path):
    with pytest.raises(Skip, match=r"has no notes between 2\.5 and 3"):
        piano_roll(score, frame_rate=10.0, start=2.5, duration=0.5)
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    with pytest.raises(Skip, match="cannot be read as MIDI"):
        piano_roll(tmp_path / "bad.mid", frame_rate=10.0)
