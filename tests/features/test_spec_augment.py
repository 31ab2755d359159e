import random

import numpy as np
import pytest
import torch

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.features.spec_augment import SpecAugmentConfig, spec_augment

ALWAYS = SpecAugmentConfig(probability=1.0, num_spans=3, most_time=0.3)


def _augmented(features, lengths, config=ALWAYS, seed=0):
    return spec_augment(features, lengths, config, torch.Generator().manual_seed(seed))


def test_bands_and_spans_become_the_mean_and_nothing_else_changes():
    features, lengths = torch.randn(20, 300, 80), torch.full((20,), 300)
    changed = _augmented(features, lengths)
    for row, before in zip(changed, features, strict=True):
        hidden = row == before.mean()
        frames, bins = hidden.all(1), hidden.all(0)
        assert torch.equal(hidden, frames[:, None] | bins)
        assert int(bins.sum()) <= 2 * 27
        assert float(frames.float().mean()) <= 0.3
        assert torch.equal(row[~hidden], before[~hidden])
    assert (changed != features).any(2).any(1).all()


def test_padding_stays_and_does_not_count_in_the_mean():
    features, lengths = torch.randn(8, 300, 80), torch.full((8,), 200)
    short = _augmented(features[:, :200], lengths)
    features[:, 200:] = -23.0
    changed = _augmented(features, lengths)
    torch.testing.assert_close(changed[:, :200], short)
    assert (changed[:, 200:] == -23.0).all()


def test_parts_of_a_batch_are_changed_like_the_whole():
    features, lengths = torch.randn(6, 100, 40), torch.full((6,), 100)
    whole, parts = _augmented(features, lengths), []
    for index, part in enumerate(features.chunk(3)):
        with distributed.micro_batch(index, 3):
            parts.append(_augmented(part, lengths[:2]))
    assert torch.equal(torch.cat(parts), whole)


def test_with_no_probability_nothing_changes():
    features, lengths = torch.randn(3, 100, 40), torch.full((3,), 100)
    assert torch.equal(_augmented(features, lengths, SpecAugmentConfig(probability=0.0)), features)
    with pytest.raises(UserError, match="shares"):
        SpecAugmentConfig(most_time=1.0)


def _runs(masked):
    """Mean over rows of the longest run of hidden frames, and of the share that is hidden."""
    longest = []
    for row in masked.numpy():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        longest.append(max(edges[1::2] - edges[::2], default=0))
    return np.mean(longest), float(masked.float().mean())


@pytest.mark.parametrize("frames", [100, 1000, 3000])
def test_spans_are_as_many_and_as_long_as_those_of_lhotse(frames):
    from lhotse.dataset.signal_transforms import SpecAugment

    features = torch.randn(400, frames, 8)
    config = SpecAugmentConfig(probability=1.0, num_bands=0)
    ours = _augmented(features, torch.full((400,), frames), config)
    torch.manual_seed(0)
    random.seed(0)
    peer = SpecAugment(time_warp_factor=0, num_feature_masks=0, p=1.0).train()
    theirs = peer(features)
    (run, share), (their_run, their_share) = (
        _runs((changed != features).all(dim=2)) for changed in (ours, theirs)
    )
    assert run == pytest.approx(their_run, rel=0.1)
    assert share == pytest.approx(their_share, rel=0.1)


def test_the_longest_span_has_an_effect():
    features, lengths = torch.randn(200, 1000, 8), torch.full((200,), 1000)
    runs = [
        _runs((_augmented(features, lengths, config) != features).all(dim=2))[0]
        for config in (
            SpecAugmentConfig(probability=1.0, num_bands=0, longest_span=longest)
            for longest in (25, 100)
        )
    ]
    assert runs[1] > 2 * runs[0]
