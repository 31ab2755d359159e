import pytest
import torch

from audiossl.audio.frame_rates import (
    at_frame_rate,
    nearest_frames,
    num_whole_frames,
    repeat_frames,
    stack_frames,
)
from audiossl.errors import UserError

CODES = torch.arange(14, dtype=torch.uint8).reshape(7, 2)


def test_a_slow_teachers_row_stands_for_all_its_time():
    twice = at_frame_rate(CODES, 25.0, 50.0)
    assert twice.dtype == torch.uint8
    assert torch.equal(twice[0::2], CODES)
    assert torch.equal(twice[1::2], CODES)


def test_a_fast_teachers_rows_become_codebooks():
    half = at_frame_rate(CODES, 50.0, 25.0)
    assert half.shape == (3, 4)
    assert half[1].tolist() == [*CODES[2].tolist(), *CODES[3].tolist()]
    assert torch.equal(half.reshape(-1, 2), CODES[:6])


def test_the_same_rate_changes_nothing():
    assert torch.equal(at_frame_rate(CODES, 50.0, 50.0), CODES)


def test_batches_are_treated_row_by_row():
    batch = torch.stack([CODES, CODES + 50])
    assert torch.equal(repeat_frames(batch, 3)[1], repeat_frames(batch[1], 3))
    assert torch.equal(stack_frames(batch, 2)[1], stack_frames(batch[1], 2))


def test_rates_without_a_common_grid_are_refused():
    with pytest.raises(UserError, match="codes at 43 Hz cannot be brought to 50 Hz"):
        at_frame_rate(CODES, 43.0, 50.0)


def test_a_truncated_cut_keeps_the_frames_that_fit():
    assert num_whole_frames(0.5, 50.0) == 25
    assert num_whole_frames(0.519, 50.0) == 25
    # 0.58 · 50 is 28.999999999999996 in floats.
    assert num_whole_frames(0.58, 50.0) == 29
    assert num_whole_frames(0.29, 100.0) == 29


def test_the_nearest_row_is_the_one_that_sounds_then():
    assert torch.equal(nearest_frames(CODES, 25.0, 50.0, 14), repeat_frames(CODES, 2))
    assert torch.equal(nearest_frames(CODES, 50.0, 50.0, 7), CODES)
    # Centers at 25, 75, 125 ms of rows that last 40 ms each.
    assert nearest_frames(CODES, 25.0, 20.0, 3)[:, 0].tolist() == [0, 2, 6]
    assert torch.equal(nearest_frames(CODES, 25.0, 25.0, 9)[7:], CODES[-1:].expand(2, 2))
