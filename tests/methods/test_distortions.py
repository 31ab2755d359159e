import torch

from audiossl import distributed
from audiossl.methods.distortions import (
    DistortionsConfig,
    distort_features,
    distort_waveforms,
    neighbors,
)

NOTHING = {
    "gain": 0.0, "mixing_probability": 0.0, "noise_probability": 0.0,
    "equalizer": 0.0, "time_probability": 0.0, "channel_probability": 0.0,
}  # fmt: skip


def _config(**settings) -> DistortionsConfig:
    return DistortionsConfig(**{"probability": 1.0, **NOTHING, **settings})


def _waveforms() -> tuple[torch.Tensor, torch.Tensor]:
    waveforms = torch.randn(64, 800, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([800, 400] * 32)
    return waveforms * (torch.arange(800) < lengths[:, None]), lengths


def _distorted(config: DistortionsConfig) -> torch.Tensor:
    return distort_waveforms(*_waveforms(), config, torch.Generator().manual_seed(1))


def test_without_distortions_nothing_changes():
    assert torch.equal(_distorted(_config()), _waveforms()[0])
    config = DistortionsConfig(probability=0.0)
    assert torch.equal(_distorted(config), _waveforms()[0])
    features, lengths = torch.randn(4, 30, 20), torch.tensor([30, 20, 9, 0])
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(distort_features(features, lengths, _config(), generator), features)


def test_levels_are_uniform_in_decibels():
    waveforms, _ = _waveforms()
    gains = (_distorted(_config(gain=10.0))[:, :400] / waveforms[:, :400]).mean(dim=1)
    decibels = 20 * gains.log10()
    assert decibels.abs().max() <= 10
    assert abs(decibels.mean()) < 2.5
    assert abs(decibels.std() - 20 / 12**0.5) < 1.5


def test_what_is_added_is_as_loud_as_asked_and_ends_with_the_crop():
    waveforms, lengths = _waveforms()
    for kind in ("mixing_probability", "noise_probability"):
        heard = _distorted(_config(**{kind: 1.0}, ratio=(6.0, 6.0)))
        whole = lengths == 800
        added = (heard - waveforms)[whole]
        ratio = waveforms[whole].square().mean(dim=1) / added.square().mean(dim=1)
        # A neighbor of half the length is scaled by its power over the whole crop.
        torch.testing.assert_close(10 * ratio.log10(), torch.full((32,), 6.0), atol=0.5, rtol=0)
        assert (heard[~whole, 400:] == 0).all()


def test_a_channel_changes_all_frames_alike():
    features, lengths = torch.randn(500, 6, 20), torch.full((500,), 6)
    config = _config(equalizer=6.0, equalizer_terms=4)
    changed = distort_features(features, lengths, config, torch.Generator().manual_seed(0))
    curves = changed - features
    torch.testing.assert_close(curves, curves[:, :1].expand_as(curves), atol=1e-5, rtol=0)
    # Four cosines of deviation 6 dB: half of the power of each, but for the first, which is flat.
    decibels = 10 / torch.tensor(10.0).log() * curves[:, 0]
    assert abs(decibels.square().mean().sqrt() - 6 * 2.5**0.5) < 0.5


def test_hidden_spans_have_the_mean_of_their_bin():
    features, lengths = torch.randn(50, 100, 20), torch.tensor([100, 60] * 25)
    config = _config(time_probability=0.3, time_span=10)
    changed = distort_features(features, lengths, config, torch.Generator().manual_seed(0))
    hidden = (changed != features).any(dim=2)
    assert 0.1 < hidden.float().mean() < 0.35
    assert not hidden[1::2, 60:].any()
    means = torch.stack([row[:n].mean(dim=0) for row, n in zip(features, lengths, strict=True)])
    for row in range(50):
        expected = means[row].expand(int(hidden[row].sum()), -1)
        torch.testing.assert_close(changed[row, hidden[row]], expected)


def test_parts_of_a_batch_are_distorted_like_the_whole():
    waveforms, lengths = _waveforms()
    config = DistortionsConfig()
    whole = distort_waveforms(waveforms, lengths, config, torch.Generator().manual_seed(0))
    for index in range(4):
        rows = slice(16 * index, 16 * index + 16)
        with distributed.micro_batch(index, 4):
            part = distort_waveforms(
                waveforms[rows], lengths[rows], config, torch.Generator().manual_seed(0)
            )
        torch.testing.assert_close(part, whole[rows])


def test_rows_are_paired():
    rows = torch.arange(5.0)[:, None]
    assert neighbors(rows)[:, 0].tolist() == [1, 0, 3, 2, 4]
