"""The spectrogram transformer keeps what every encoder promises."""

import pytest
import torch

from audiossl.errors import UserError
from audiossl.features.kaldi_fbank import KaldiFbankConfig
from audiossl.models.patch_transformer import (
    PatchTransformer,
    PatchTransformerConfig,
    rotated,
    rotations,
)
from audiossl.models.properties import check_encoder

TINY = PatchTransformerConfig(
    front_end=KaldiFbankConfig(num_bins=32), patch_frames=8, patch_bins=8, dim=24, heads=2, layers=2
)


def test_it_keeps_what_every_encoder_promises():
    findings = list(check_encoder(PatchTransformer(TINY).eval()))
    assert [finding for finding in findings if finding.holds is False] == []


def test_tokens_are_those_of_a_loop_over_patches():
    encoder = PatchTransformer(TINY).eval()
    features = torch.randn(1, 20, 32)
    embedded = []
    encoder.layers[0].register_forward_pre_hook(lambda _, inputs: embedded.append(inputs[0]))
    encoder.encode_features(features, torch.tensor([20]))
    padded = torch.cat([features[0], torch.zeros(4, 32)])
    for time in range(3):
        for band in range(4):
            patch = padded[8 * time : 8 * time + 8, 8 * band : 8 * band + 8]
            expected = encoder.patch_embedding(patch.flatten()) + encoder.band_embedding[band]
            torch.testing.assert_close(embedded[0][0, 4 * time + band], expected)


def test_products_of_rotated_vectors_depend_on_the_difference_of_positions():
    query, key = torch.randn(2, 12, dtype=torch.float64)

    def product(first, second):
        turns = rotations(torch.tensor([first, second]), 12)
        one, other = rotated(torch.stack([query, key]), turns)
        return one @ other

    torch.testing.assert_close(product(3, 7), product(10, 14), rtol=1e-5, atol=1e-5)
    assert abs(product(3, 7) - product(3, 8)) > 1e-3


def test_bands_and_the_order_of_times_are_told_apart():
    """Without positions, exchanging patches would only exchange their tokens."""
    encoder = PatchTransformer(TINY).eval()
    with torch.no_grad():
        for layer in encoder.layers:
            layer.projections.weight.mul_(20.0)  # attention that is not nearly uniform
    features, length = torch.randn(1, 24, 32), torch.tensor([24])
    clip = encoder.encode_features(features, length).clip
    swapped = torch.cat([features[:, 8:16], features[:, :8], features[:, 16:]], dim=1)
    assert not torch.allclose(clip, encoder.encode_features(swapped, length).clip, atol=1e-6)
    assert not torch.allclose(clip, encoder.encode_features(features.roll(8, 2), length).clip)


def test_features_are_normalized_with_zeros_in_the_padding():
    encoder = PatchTransformer(PatchTransformerConfig(layers=1))
    features, lengths = encoder.features(torch.randn(2, 16000), torch.tensor([16000, 8000]))
    assert lengths.tolist() == [100, 50]
    assert features[1, 50:].abs().max() == 0.0
    raw = encoder.front_end(torch.zeros(1, 400), torch.tensor([400]))
    silence, _ = encoder.features(torch.zeros(1, 400), torch.tensor([400]))
    torch.testing.assert_close(silence[:, :2], (raw[:, :2] + 4.27) / (2 * 4.57))


@pytest.mark.parametrize("wrong", [{"patch_bins": 24}, {"dim": 190}, {"heads": 5}])
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(UserError, match=r"patch_bins|heads"):
        PatchTransformerConfig(**wrong)
