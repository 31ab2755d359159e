from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiossl.audio.presentation import (
    Presentation,
    level_scale,
    piece_spans,
    present,
    window_spans,
)


def shown(waveform, presentation, **kwargs):
    pieces = present(lambda a, b: waveform[a:b], len(waveform), presentation, 1.0, **kwargs)
    return list(pieces)


@given(st.integers(1, 500), st.integers(1, 90), st.integers(1, 120))
def test_centered_windows_cover_a_clip_and_have_one_length(num_samples, window, hop):
    hop = min(hop, window)
    spans = window_spans(num_samples, Presentation(window_samples=window, hop_samples=hop))
    assert {stop - start for start, stop in spans} == {window}
    covered = {place for start, stop in spans for place in range(start, stop)}
    assert set(range(num_samples)) <= covered


@given(st.integers(1, 10**6), st.sampled_from([3.125, 50.0, 62.5, 0.0]), st.floats(0.5, 60.0))
def test_pieces_are_disjoint_cover_a_clip_and_begin_where_frames_do(count, frame_rate, chunk):
    spans = piece_spans(count, 16_000, frame_rate, chunk)
    assert (spans[0][0], spans[-1][1]) == (0, count)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    if frame_rate:
        hop = 16_000 / frame_rate
        assert all(start == round(round(start / hop) * hop) for start, _ in spans)
    assert len(spans) == 1 or count / 16_000 >= 1.5 * chunk - 1


def test_a_clip_has_the_level_of_the_whole_wherever_it_is_cut():
    waveform = np.random.default_rng(0).normal(size=400).astype(np.float32)
    l2 = Presentation(sample_rate=100, window_samples=100, level="l2")
    joined = np.concatenate(shown(waveform, l2))
    assert np.square(joined).sum() == pytest.approx(1.0, rel=1e-5)
    rms = Presentation(sample_rate=100, window_samples=100, level="rms")
    assert np.square(np.concatenate(shown(waveform, rms))).sum() == pytest.approx(4.0, rel=1e-5)
    # A clip that is shorter than a window is not made louder by its padding.
    short = shown(waveform[:20], rms)[0]
    assert np.square(short).mean() == pytest.approx(0.01 * 0.2, rel=1e-5)
    assert level_scale(0.0, 10, rms) > 0


def test_without_a_level_samples_are_passed_on_as_they_are():
    waveform = np.ones(30, np.float32)
    (whole,) = shown(waveform, Presentation(sample_rate=1, level="none"), chunk=40.0)
    assert np.array_equal(whole, waveform)
