from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from audiossl.features.log_mel import LogMelConfig
from audiossl.models.efficientnet import STRIDE, EfficientNet, EfficientNetConfig, round_channels
from audiossl.models.properties import check_encoder
from audiossl.nn.constant_weights import constant_weights
from audiossl.pretrained.embed import embed

NARROW = EfficientNetConfig(width=0.25, depth=0.5)


def test_b0_has_the_parameters_of_the_paper():
    network = EfficientNet(EfficientNetConfig())
    assert sum(p.numel() for p in network.parameters()) == 4_006_972
    # Keras counts 4 048 991 with batch norm statistics and its normalizer of 2 numbers and a count.
    statistics = [
        b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    ]
    assert 4_006_972 + sum(b.numel() for b in statistics) + 3 == 4_048_991


@pytest.mark.parametrize(
    ("frames", "sizes"),
    [(98, (3, 2)), (32, (1, 2)), (96, (3, 2)), (196, (6, 2)), (392, (12, 2)), (398, (12, 2))],
)
def test_maps_have_the_sizes_of_keras(frames, sizes):
    network = EfficientNet(EfficientNetConfig()).eval()
    last = []
    network.top.register_forward_hook(lambda _module, _inputs, output: last.append(output))
    encoded = network.encode_features(torch.randn(1, frames, 64), torch.tensor([frames]))
    assert last[0].shape == (1, 1280, *sizes)
    assert encoded.vectors.shape == (1, sizes[0], 1280)
    torch.testing.assert_close(encoded.clip, last[0].amax(dim=(2, 3)))
    assert [layer.shape[1] for layer in encoded.layers] == [sizes[0]] * 8


def test_rates_of_stochastic_depth_are_those_of_keras():
    network = EfficientNet(EfficientNetConfig())
    drops = [block.drop for stage in network.stages for block in stage]
    expected = [0.025, 0.05, 0.075, 0.0875, 0.1125, 0.125, 0.15, 0.1625, 0.175]
    assert [drop for drop in drops if drop] == pytest.approx(expected)
    assert len(drops) == 16


def test_channels_are_rounded_as_in_the_paper():
    assert [round_channels(c, 1.0) for c in (32, 16, 24, 1280)] == [32, 16, 24, 1280]
    # Widths of B2 (1.1) and B3 (1.2).
    assert [round_channels(c, 1.1) for c in (16, 24, 40, 80, 112, 192, 320)] == [
        16, 24, 48, 88, 120, 208, 352,
    ]  # fmt: skip
    assert round_channels(1280, 1.2) == 1536


def _trained_a_little(config: EfficientNetConfig) -> EfficientNet:
    """Give batch norms statistics that differ from their initial ones."""
    network = EfficientNet(config).train()
    for _ in range(3):
        network(torch.randn(4, 16000), torch.full((4,), 16000))
    return network.eval()


@pytest.mark.parametrize(
    ("normalization", "pooling"),
    [("none", "max"), ("mean", "mean"), ("mean_std", "mean_std"), ("pcen", "attentive")],
)
def test_padding_never_changes_a_valid_frame(normalization, pooling):
    network = _trained_a_little(replace(NARROW, normalization=normalization, pooling=pooling))
    lengths = torch.tensor([20000, 5360, 300, 12345, 7001])
    waveforms = torch.randn(5, 20000)
    batch = network(waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = network(waveforms[row : row + 1, :length], lengths[row : row + 1])
        count = int(alone.lengths[0])
        assert count == int(batch.lengths[row]) >= 1
        for one, many in zip(alone.layers, batch.layers, strict=True):
            torch.testing.assert_close(many[row, :count], one[0, :count], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(batch.clip[row], alone.clip[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("normalization", "pooling"),
    [("none", "max"), ("mean", "mean"), ("mean_std", "mean_std"), ("pcen", "attentive")],
)
def test_it_keeps_what_every_encoder_promises(normalization, pooling):
    config = EfficientNetConfig(
        width=0.05, depth=0.1, normalization=normalization, pooling=pooling, input_scale=0.1
    )
    findings = list(check_encoder(_trained_a_little(config)))
    assert [f"{f.name}: {f.details}" for f in findings if f.holds is False] == []


@pytest.mark.parametrize("level", ["l2", "rms"])
def test_level_does_not_change_the_encoding(level):
    network = _trained_a_little(EfficientNetConfig(width=0.25, depth=0.5, level=level))
    waveform, length = torch.randn(1, 9000), torch.tensor([9000])
    louder = network(waveform * 10, length)
    torch.testing.assert_close(louder.clip, network(waveform, length).clip, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["silence", "constant", "full scale", "empty"])
def test_nothing_becomes_nan(kind):
    waveform = {
        "silence": torch.zeros(1, 800),
        "constant": torch.full((1, 800), 0.5),
        "full scale": torch.randn(1, 800).sign(),
        "empty": torch.zeros(1, 0),
    }[kind]
    encoded = _trained_a_little(NARROW)(waveform, torch.tensor([waveform.shape[1]]))
    assert torch.isfinite(encoded.clip).all()
    assert encoded.lengths.tolist() == [1]


def test_the_frame_rate_is_that_of_the_log_mel_front_end_over_the_stride():
    network = EfficientNet(EfficientNetConfig(front_end=LogMelConfig(hop_length=320)))
    assert network.frame_rate == 16000 / 320 / STRIDE


def test_the_network_is_timms_with_keras_padding():
    """timm's tf_efficientnet_b0 pads likewise where 64 bands and a multiple of 32 frames meet."""
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_b0", in_chans=1, pretrained=False).eval()
    ours = EfficientNet(EfficientNetConfig(input_scale=1.0)).eval()
    weights = [v for k, v in theirs.state_dict().items() if not k.startswith("classifier")]
    own = ours.state_dict()
    names = [name for name in own if not name.startswith("front_end")]
    # Both list their tensors in the order of the forward pass; timm's squeeze-excite too.
    assert [tuple(own[n].shape) for n in names] == [tuple(w.shape) for w in weights]
    ours.load_state_dict(dict(zip(names, weights, strict=True)))
    image = torch.randn(2, 96, 64)
    expected = theirs.forward_features(image[:, None])
    encoded = ours.encode_features(image, torch.tensor([96, 96]))
    torch.testing.assert_close(encoded.vectors, expected.amax(dim=3).mT, rtol=1e-4, atol=1e-4)


def test_padding_is_the_same_whether_gradients_are_asked_or_not():
    """It is masked on a copy where autograd watches, and in place where it does not."""
    network = _trained_a_little(NARROW)
    waveforms, lengths = torch.randn(3, 16000), torch.tensor([16000, 9000, 5200])
    expected = network(waveforms, lengths).clip
    with torch.inference_mode():
        found = network(waveforms, lengths).clip
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_filters_that_are_kept_are_those_of_the_weights_and_kept_no_longer_than_asked():
    network = _trained_a_little(NARROW)
    waveforms, lengths = torch.randn(2, 16000), torch.tensor([16000, 12000])
    with torch.no_grad():
        before = network(waveforms, lengths).clip
        with constant_weights(network):
            assert torch.equal(network(waveforms, lengths).clip, before)
        for parameter in network.parameters():
            parameter.mul_(0.9)
        after = network(waveforms, lengths).clip
        assert not torch.allclose(after, before)
        with constant_weights(network.train()):
            network.eval()
            assert torch.equal(network(waveforms, lengths).clip, after)


def test_embedding_again_after_a_step_of_training_hears_the_new_weights():
    network, clip = _trained_a_little(NARROW), [torch.randn(16000).numpy()]
    before = embed(clip, network)
    with torch.no_grad():
        network.stem[1].weight.mul_(0.5)
    changed = embed(clip, network)
    assert not torch.allclose(changed, before)
    assert torch.equal(changed, embed(clip, deepcopy(network)))
