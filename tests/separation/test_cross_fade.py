import pytest
import torch

from audiossl.audio.windows import even_starts
from audiossl.separation.cross_fade import CrossFade


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("num_samples", [50, 100, 101, 999])
def test_windows_of_one_signal_join_to_that_signal(overlap, num_samples):
    signal = torch.randn(2, num_samples)
    padded = torch.cat([signal, torch.zeros(2, 100)], dim=1)
    fade, pieces = CrossFade(2, 100), []
    for start in even_starts(num_samples, 100, overlap):
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
