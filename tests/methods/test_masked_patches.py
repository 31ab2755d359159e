import math

import pytest
import torch
from torch.testing import assert_close

from audiossl import distributed
from audiossl.batches import DataFacts, WaveformBatch
from audiossl.configs import from_plain
from audiossl.errors import UserError
from audiossl.features.kaldi_fbank import KaldiFbankConfig
from audiossl.methods.masked_patches import MaskedPatches, MaskedPatchesConfig, statistics
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from tests.methods.accumulation import accumulate

TINY = PatchTransformerConfig(
    front_end=KaldiFbankConfig(num_bins=32), patch_frames=8, dim=16, heads=2, layers=1
)


def made(**settings):
    torch.manual_seed(1)
    config = MaskedPatchesConfig(**settings)
    return MaskedPatches(PatchTransformer(TINY), config, DataFacts()).double()


def clips():
    torch.manual_seed(2)
    waveforms = torch.randn(4, 16000).double() * torch.logspace(-3, -1, 4)[:, None]
    lengths = torch.tensor([16000, 9000, 16000, 12000])
    return WaveformBatch(waveforms * (torch.arange(16000) < lengths[:, None]), lengths)


def generator():
    return torch.Generator().manual_seed(3)


def standardized(method, batch):
    features, lengths = method.encoder.features(batch.waveforms, batch.lengths)
    mean, deviation = statistics(features, lengths)
    return (features - mean) / deviation, lengths


def test_statistics_are_of_valid_cells():
    method, batch = made(), clips()
    features, lengths = method.encoder.features(batch.waveforms, batch.lengths)
    mean, deviation = statistics(features, lengths)
    for row, length in enumerate(lengths.tolist()):
        own = features[row, :length]
        assert_close(mean[row].squeeze(), own.mean())
        assert_close(deviation[row].squeeze(), own.std(correction=0))


def test_visible_cells_have_no_part_in_the_loss():
    """With a head that says 0 the loss is the mean magnitude of hidden cells."""
    method, batch = made(), clips()
    for parameter in method.head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    targets, lengths = standardized(method, batch)
    hidden = method.hidden(lengths, targets, generator())
    losses = method(batch, 0, generator())
    assert_close(losses.total.detach(), targets[hidden].abs().mean())
    assert_close(losses.metrics["error_of_the_mean"], targets[hidden].abs().mean())
    assert losses.weight == float(hidden.sum())


def test_aliens_are_the_standardized_cells_of_the_other_clip_of_a_pair():
    method, batch = made(noise=0.0, aliens=1.0), clips()
    targets, lengths = standardized(method, batch)
    fills = method.fills(targets, lengths, generator())
    for row, other in enumerate([1, 0, 3, 2]):
        size = int(lengths[other])
        assert torch.equal(fills[row, :size], targets[other, :size])
        repeated = targets[other, : fills.shape[1] - size]
        assert torch.equal(fills[row, size:], repeated)
    alone = method.fills(targets[:1], lengths[:1], generator())
    assert (alone == 0).all(), "one clip is no alien to itself"


def test_noise_and_zeros():
    batch = clips()
    method = made(noise=1.0, aliens=0.0)
    targets, lengths = standardized(method, batch)
    noise = method.fills(targets, lengths, generator())
    assert noise.std().item() == pytest.approx(1.0, abs=0.05)
    method = made(noise=0.0, aliens=0.0)
    assert (method.fills(targets, lengths, generator()) == 0).all()


def test_scale_and_offset_of_features_change_no_target():
    features, lengths = torch.randn(2, 9, 4).double(), torch.tensor([9, 5])

    def targets(values):
        mean, deviation = statistics(values, lengths)
        return (values - mean) / deviation

    assert_close(targets(3 * features - 7), targets(features))


def test_one_batch_can_be_learnt_by_heart():
    method, batch = made(noise=0.0, aliens=0.0), clips()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for step in range(60):
        losses = method(batch, step, generator())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert losses.total < 0.8 * losses.metrics["error_of_the_mean"]


def test_a_clip_without_a_frame_counts_nothing():
    batch = WaveformBatch(torch.zeros(2, 1600), torch.tensor([0, 0]))
    losses = made().float()(batch, 0, generator())
    assert (losses.weight, float(losses.total.detach())) == (0.0, 0.0)
    losses.total.backward()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UserError, match=r"noise 0.8 and aliens 0.3: give probabilities"):
        MaskedPatchesConfig(noise=0.8)
    with pytest.raises(UserError, match=r"masks: shares from 0.9 to 0.7"):
        from_plain(MaskedPatchesConfig, {"masks": {"least": 0.9}}, "test")


def test_crops_shorter_than_a_patch_are_refused():
    batch = WaveformBatch(torch.zeros(2, 800), torch.tensor([800, 700]))
    with pytest.raises(UserError, match=r"crops of 5 feature frames are shorter than a patch of 8"):
        made().float()(batch, 0, generator())


def _loss_and_gradients(parts=1):
    method = made()
    batch = clips()
    own = WaveformBatch(
        *(distributed.own_rows(values) for values in (batch.waveforms, batch.lengths))
    )
    loss, weight = accumulate(lambda part: method(part, 0, generator()), own, parts)
    return loss, [distributed.total(p.grad) / weight for p in method.parameters()]


def test_one_process_two_and_a_batch_in_parts_agree(two_processes):
    loss, gradients = _loss_and_gradients()
    assert math.isfinite(loss)
    for other in (*two_processes.run(_loss_and_gradients), _loss_and_gradients(2)):
        assert other[0] == pytest.approx(loss, rel=1e-6)
        for mine, theirs in zip(gradients, other[1], strict=True):
            assert_close(theirs, mine, rtol=1e-5, atol=1e-9)
