from importlib.util import find_spec

import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers import basic_pitch
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("basic_pitch") is None, reason="wheel not installed")
LOWEST_NOTE = 21
"""MIDI number of 27.5 Hz."""


def tone(midi, seconds):
    hertz = 440.0 * 2 ** ((midi - 69) / 12)
    time = torch.arange(int(seconds * 22050)) / 22050
    wave = sum((2 * torch.pi * n * hertz * time).sin() / n for n in (1, 2, 3))
    return 0.2 * wave * (-2.0 * time).exp()


def test_padding_does_not_matter():
    torch.manual_seed(0)
    teacher = basic_pitch.BasicPitchTeacher()
    check_padding_does_not_matter(teacher, seconds=(0.9, 1.71, 3.4))
    check_short_rows_have_no_frames(teacher, too_short=0)


@needs_wheel
def test_answers_are_those_of_the_wheels_own_graph():
    onnxruntime = pytest.importorskip("onnxruntime")
    path = file_of_wheel(basic_pitch.WHEEL, "basic_pitch/saved_models/icassp_2022/nmp.onnx")
    session = onnxruntime.InferenceSession(path)
    generator = torch.Generator().manual_seed(2)
    window = 0.02 * torch.randn(1, basic_pitch.WINDOW, generator=generator)
    window[0, : 2 * 9000] += torch.cat([tone(57, 9000 / 22050), tone(64, 9000 / 22050)])
    given = {session.get_inputs()[0].name: window[..., None].numpy()}
    onsets, notes, contours = (torch.from_numpy(one) for one in session.run(None, given))
    found = basic_pitch.load().answers(window)
    expected = torch.cat([contours, notes, onsets], dim=2)
    assert expected.max() > 0.5
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@needs_wheel
def test_notes_and_their_onsets_are_found_at_their_time_across_windows():
    """Two windows meet at 1.64 s; each note begins in another one."""
    waveform = torch.zeros(5 * 22050)
    played = {60: 0.5, 67: 1.5, 64: 3.2}
    for midi, start in played.items():
        note, place = tone(midi, 1.0), int(start * 22050)
        waveform[place : place + len(note)] += note
    frames = basic_pitch.load()(waveform[None], torch.tensor([len(waveform)]))
    _, notes, onsets = frames.vectors[0].split([264, 88, 88], dim=1)
    for midi, start in played.items():
        sounding = notes[:, midi - LOWEST_NOTE] > 0.4
        middle = int((start + 0.3) * frames.frame_rate)
        assert sounding[middle]
        assert int(onsets[:, midi - LOWEST_NOTE].argmax()) == pytest.approx(
            start * frames.frame_rate, abs=3
        )
        assert not sounding[: int((start - 0.1) * frames.frame_rate)].any()


@needs_wheel
def test_silence_gives_finite_answers():
    frames = basic_pitch.load()(torch.zeros(1, 30000), torch.tensor([30000]))
    assert frames.vectors.isfinite().all()
    assert frames.vectors.shape == (1, 118, 440)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.index").write_bytes(b"no checkpoint")
    (tmp_path / "x.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint"):
        basic_pitch.load(str(tmp_path / "x.index"))


@needs_wheel
def test_half_precision_keeps_the_spectrum():
    """Of a tone over faint noise most bins are far below the largest."""
    waveform = tone(60, 1.0)[None] + 1e-4 * torch.randn(1, 22050)
    lengths, teacher = torch.tensor([22050]), basic_pitch.load()
    whole = teacher(waveform, lengths).vectors
    with torch.autocast("cpu", torch.bfloat16):
        half = teacher(waveform, lengths).vectors
    assert whole.max() > 0.4
    assert (whole - half).abs().max() < 0.02
