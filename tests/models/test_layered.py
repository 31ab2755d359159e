import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.models.build import build_encoder
from audiossl.models.layered import Layered, LayeredConfig
from audiossl.models.zipformer.config import ZipformerConfig

NETWORK = ZipformerConfig(
    dim=16, feed_forward_dim=24, num_layers=(1, 2), strides=(1, 2), kernel_sizes=(7, 7),
    num_heads=2, query_dim=4, value_dim=4, position_dim=8, num_bins=20, unmasked_dim=8,
    machinery=False,
)  # fmt: skip


def _encoder(layers=(0, 1, 3)) -> Layered:
    torch.manual_seed(0)
    encoder = build_encoder(LayeredConfig(network=NETWORK, layers=layers))
    assert isinstance(encoder, Layered)
    return encoder


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    waveforms = 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    return waveforms, torch.tensor([16000, 9000, 1000])


def test_frames_are_the_layers_and_the_filter_bank_at_their_centers():
    encoder = _encoder().eval()
    waveforms, lengths = _batch()
    frames = encoder(waveforms, lengths)
    assert frames.vectors.shape[2] == encoder.dim == 20 + 16 + 16
    # Untrained, the norms change nothing but by their epsilon.
    for row, valid in enumerate(frames.lengths.tolist()):
        found = frames.vectors[row, :valid].split([20, 16, 16], dim=1)
        for part, layer in zip(found[1:], (0, 2), strict=True):
            expected = frames.layers[layer][row, :valid]
            torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-4)
    features, _ = encoder.features(waveforms, lengths)
    expected = (features[0, 4] + features[0, 5]) / 2
    torch.testing.assert_close(frames.vectors[0, 0, :20], expected, rtol=1e-4, atol=1e-4)
    # 5 ms after 40 ms and 50 ms are the centers of these two.
    assert frames.times[0].item() == pytest.approx((0.045 + 0.055) / 2, abs=0.006)


def test_clips_are_means_and_deviations_whatever_the_padding():
    encoder = _encoder().eval()
    waveforms, lengths = _batch()
    batch = encoder(waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(waveforms[row : row + 1, :length], lengths[row : row + 1])
        valid = int(alone.lengths)
        torch.testing.assert_close(batch.vectors[row, :valid], alone.vectors[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(batch.clip[row], alone.clip[0], atol=1e-4, rtol=0)
        if valid:
            means, deviations = alone.clip[0].chunk(2)
            torch.testing.assert_close(means, alone.vectors[0].mean(dim=0), rtol=1e-4, atol=1e-4)
            expected = (alone.vectors[0].var(dim=0, unbiased=False) + 1e-4).sqrt()
            torch.testing.assert_close(deviations, expected, rtol=1e-4, atol=1e-4)


def test_statistics_of_a_clip_are_those_of_numpy_whatever_the_padding():
    names = ("log_change", "mean", "log_deviation")
    encoder = build_encoder(LayeredConfig(network=NETWORK, layers=(0, 3), clip=names)).eval()
    waveforms, lengths = _batch()
    batch = encoder(waveforms, lengths)
    assert batch.clip.shape == (3, encoder.clip_dim) == (3, 3 * (20 + 16))
    for row, valid in enumerate(batch.lengths.tolist()[:2]):
        frames = batch.vectors[row, :valid].detach().numpy().astype(np.float64)
        expected = [
            0.5 * np.log(np.square(np.diff(frames, axis=0)).mean(0) + 1e-4),
            frames.mean(0),
            0.5 * np.log(frames.var(0) + 1e-4),
        ]
        np.testing.assert_allclose(
            batch.clip[row].detach(), np.concatenate(expected), rtol=1e-3, atol=1e-4
        )


def test_training_standardizes_and_evaluation_remembers():
    encoder = _encoder()
    waveforms, lengths = _batch()
    trained = encoder(waveforms[:2], lengths[:2])
    frames = torch.cat([row[:n] for row, n in zip(trained.vectors, trained.lengths, strict=True)])
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(encoder.dim), atol=1e-4, rtol=0)
    encoder.norm.momentum = encoder.clip_norm.momentum = 0.5
    for _ in range(20):
        encoder(waveforms[:2], lengths[:2])
    remembered = encoder.eval()(waveforms[:2], lengths[:2])
    valid = int(trained.lengths[1])
    found, expected = (frames.vectors[:, :valid] for frames in (remembered, trained))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
    # Of two clips the standardized means are 1 and -1, or by unbiased variance the root of half.
    means = remembered.clip[:, : encoder.dim].abs()
    assert (means.median() - 0.5**0.5).abs() < 0.05


@pytest.mark.parametrize("statistic", ["deviation", "log_deviation", "log_change"])
def test_gradients_are_finite_where_a_clip_is_one_frame(statistic):
    encoder = build_encoder(LayeredConfig(network=NETWORK, layers=(0, 1), clip=(statistic,)))
    frames = encoder(0.1 * torch.randn(2, 16000), torch.tensor([16000, 1500]))
    assert frames.lengths[1] == 1
    frames.clip.sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


def test_layers_must_exist():
    with pytest.raises(UserError, match="layers 1 to 3"):
        LayeredConfig(network=NETWORK, layers=(0, 4))


def test_a_clip_shorter_than_a_frame_is_followed_by_silence():
    encoder = _encoder().eval()
    waveforms, _ = _batch()
    short = encoder(waveforms, torch.tensor([300, 16000, 0]))
    assert short.lengths[[0, 2]].tolist() == [1, 0]
    padded = torch.zeros(1, 1360)
    padded[0, :300] = waveforms[0, :300]
    alone = encoder(padded, torch.tensor([1360]))
    torch.testing.assert_close(short.clip[:1], alone.clip)
    torch.testing.assert_close(encoder(waveforms[:1, :300], torch.tensor([300])).clip, alone.clip)
