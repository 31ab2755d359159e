"""Properties of masks that are made of blocks."""

import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.block_masks import BlockMaskConfig, block_masks


def masks(lengths, config, seed=0, num_frames=100, num_channels=64):
    generator = torch.Generator().manual_seed(seed)
    return block_masks(torch.tensor(lengths), num_frames, num_channels, config, generator)


@pytest.mark.parametrize("seed", range(5))
def test_the_share_is_in_its_range_up_to_one_block(seed):
    config = BlockMaskConfig(least=0.4, most=0.5, all_channels=0.0, all_time=0.0)
    result = masks([100, 60], config, seed)
    for mask, length in zip(result, (100, 60), strict=True):
        share = mask[:length].float().mean().item()
        assert 0.4 <= share < 0.5 + 0.3 * 0.3
        assert not mask[length:].any()


def test_hidden_cells_stand_in_groups():
    """Hidden cells have more hidden neighbors than in a mask of single cells of the same share."""
    mask = masks([100], BlockMaskConfig())[0]
    neighbors = (mask[1:] & mask[:-1]).float().mean() / mask.float().mean()
    assert neighbors > 0.9


def test_blocks_of_all_channels_and_of_all_time():
    channels = masks([100], BlockMaskConfig(all_channels=1.0, all_time=0.0))[0]
    assert torch.equal(channels.any(dim=1), channels.all(dim=1))
    time = masks([100], BlockMaskConfig(all_channels=0.0, all_time=1.0))[0]
    assert torch.equal(time.any(dim=0), time.all(dim=0))


def test_masks_depend_on_the_generator_alone_and_short_clips_end():
    config = BlockMaskConfig()
    assert torch.equal(masks([100, 3, 0, 1], config, 1), masks([100, 3, 0, 1], config, 1))
    assert not torch.equal(masks([100], config, 1), masks([100], config, 2))


@pytest.mark.parametrize(
    "wrong",
    [{"least": 0.0}, {"least": 0.8, "most": 0.7}, {"most": 1.0}, {"largest_side": 0.0},
     {"smallest_side": 0}, {"all_channels": 0.9, "all_time": 0.2}, {"all_time": -0.1}],
)  # fmt: skip
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match="masks: "):
        BlockMaskConfig(**wrong)
