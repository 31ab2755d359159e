import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiossl.separation.windows import CrossFade, window_starts


@settings(deadline=None)
@given(
    num_steps=st.integers(1, 5000),
    window=st.integers(1, 800),
    overlap=st.floats(0, 0.9),
)
def test_windows_cover_the_recording_and_overlap_enough(num_steps, window, overlap):
    starts = window_starts(num_steps, window, overlap)
    assert starts[0] == 0
    assert starts[-1] + window == max(num_steps, window)
    hops = np.diff(starts)
    assert (hops >= 1).all()
    assert (hops <= max(1, np.floor(window * (1 - overlap)))).all()
    assert len(starts) == 1 + np.ceil(
        max(0, num_steps - window) / max(1, np.floor(window * (1 - overlap)))
    )


def test_a_recording_as_long_as_a_window_is_one_window():
    # Demucs' apply_model takes two.
    assert window_starts(780, 780, 0.25) == [0]
    assert window_starts(300, 780, 0.25) == [0]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("num_samples", [50, 100, 101, 999])
def test_windows_of_one_signal_join_to_that_signal(overlap, num_samples):
    signal = torch.randn(2, num_samples)
    padded = torch.cat([signal, torch.zeros(2, 100)], dim=1)
    fade, pieces = CrossFade(2, 100), []
    for start in window_starts(num_samples, 100, overlap):
        pieces.append(fade.add(padded[:, start : start + 100], start))
    pieces.append(fade.flush(num_samples))
    torch.testing.assert_close(torch.cat(pieces, dim=1), signal)


def test_a_jump_between_windows_becomes_a_line():
    fade = CrossFade(1, 100)
    fade.add(torch.zeros(1, 100), 0)
    before = fade.add(torch.ones(1, 100), 75)
    after = fade.flush(175)
    joined = torch.cat([before, after], dim=1)[0]
    assert torch.all(joined[:75] == 0)
    assert torch.all(joined[100:] == 1)
    steps = joined[74:101].diff()
    assert steps.max() < 0.04
    assert steps[1:-1].std() < 1e-6
