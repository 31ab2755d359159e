from dataclasses import replace

import jaxtyping
import pytest
import torch

from audiossl.errors import UserError
from audiossl.models.encoder import Context
from audiossl.models.zipformer.config import BASE, LARGE, TINY, XLARGE
from audiossl.models.zipformer.model import Zipformer
from tests.models.zipformer.golden import features, fill


def close(found, expected, atol=1e-4):
    torch.testing.assert_close(found, torch.tensor(expected), atol=atol, rtol=0)


def rms(tensor):
    return float(tensor.detach().square().mean().sqrt())


@pytest.fixture(scope="module")
def tiny():
    return fill(Zipformer(TINY))


@torch.inference_mode()
def test_a_tiny_network_computes_what_the_authors_network_computes(tiny):
    inputs, lengths = features()
    embedded = tiny.encoder_embed(inputs, tiny.evaluation_step.front)
    close(embedded[0, 0, :4], [-0.24768, 0.42921, 1.33947, 1.67642])
    assert rms(embedded) == pytest.approx(1.072833, abs=1e-4)
    frames = tiny.encode_features(inputs, lengths)
    assert frames.lengths.tolist() == [56, 41]
    assert frames.vectors.shape == (2, 56, 64)
    close(frames.vectors[0, 0, :6], [0.00317, -1.18818, 0.18342, 1.18555, 1.38106, -0.06721])
    close(frames.vectors[0, 20, -3:], [2.01933, -0.78626, 0.54623])
    close(frames.vectors[1, 5, :3], [-0.12261, -0.60189, -0.20884])
    assert rms(frames.vectors) == pytest.approx(0.789111, abs=1e-4)
    assert float(frames.vectors.double().sum()) == pytest.approx(951.502, abs=0.02)
    expected = [0.95338, 0.84144, 0.94482, 0.92571, 0.72928, 0.87262, 0.73861, 0.78911]
    close(torch.tensor([rms(layer) for layer in frames.layers]), expected)
    assert torch.equal(frames.layers[-1], frames.vectors)


@torch.inference_mode()
def test_a_network_at_25_hz_computes_what_the_authors_network_computes():
    network = fill(Zipformer(replace(TINY, output_stride=2)))
    frames = network.encode_features(*features())
    assert frames.vectors.shape == (2, 28, 64)
    assert frames.lengths.tolist() == [28, 21]
    close(frames.vectors[0, 0, :6], [-0.68787, -0.16028, 0.04594, -0.07490, 0.46765, -1.15415])
    assert rms(frames.vectors) == pytest.approx(0.922634, abs=1e-4)
    assert (frames.frame_rate, frames.layer_rate) == (25.0, 50.0)
    assert frames.layer_lengths.tolist() == [56, 41]
    assert {layer.shape[1] for layer in frames.layers} == {56}


@torch.inference_mode()
def test_the_base_network_computes_what_the_authors_network_computes():
    network = fill(Zipformer(BASE))
    inputs, lengths = features()
    embedded = network.encoder_embed(inputs, network.evaluation_step.front)
    close(embedded[0, 0, :4], [-0.97650, -0.89639, 0.24050, 0.96997])
    frames = network.encode_features(inputs, lengths)
    close(frames.vectors[0, 0, :6], [-0.78483, -0.41740, 0.34991, 0.20971, 0.68171, 0.66926])
    close(frames.vectors[0, 20, -3:], [-2.02356, 0.05681, -1.22876])
    close(frames.vectors[1, 5, :3], [-0.99050, -0.50097, 0.19412])
    expected = [
        0.93127, 0.88113, 1.00049, 0.91514, 0.84741, 0.83310,
        0.82789, 0.75530, 0.90073, 0.75397, 0.71012, 0.68264,
    ]  # fmt: skip
    close(torch.tensor([rms(layer) for layer in frames.layers]), expected)


@pytest.mark.parametrize(
    ("config", "tensors", "parameters"),
    [(BASE, 554, 93_289_361), (LARGE, 510, 326_951_344), (XLARGE, 598, 596_973_234)],
)
def test_sizes_are_those_of_the_public_networks(config, tensors, parameters):
    with torch.device("meta"):
        state = Zipformer(config).state_dict()
        at_25_hz = Zipformer(replace(config, output_stride=2)).state_dict()
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) == parameters
    assert at_25_hz.keys() - state.keys() == {"encoder.downsample_output.bias"}


@torch.inference_mode()
@pytest.mark.parametrize("output_stride", [1, 2])
def test_a_waveform_is_encoded_as_if_it_were_alone(output_stride):
    network = fill(Zipformer(replace(TINY, output_stride=output_stride)))
    lengths = torch.tensor([24000, 17003, 9111])
    waveforms = 0.1 * torch.randn(3, 24000)
    waveforms[1, 17003:] = 7.0
    waveforms[2, 9111:] = float("nan")
    together = network(waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = network(waveforms[row : row + 1, :length], torch.tensor([length]))
        assert int(alone.lengths) == int(together.lengths[row])
        pairs = [(alone.vectors, together.vectors, int(alone.lengths))]
        count = int(alone.layer_lengths)
        pairs += [(a, b, count) for a, b in zip(alone.layers, together.layers, strict=True)]
        for one, other, valid in pairs:
            torch.testing.assert_close(one[0, :valid], other[row, :valid], atol=2e-5, rtol=0)


@torch.inference_mode()
def test_what_stands_in_the_padding_of_features_changes_only_frames_that_the_authors_change(tiny):
    inputs, lengths = features()
    other = inputs.clone()
    other[1, 90:] += 1.0
    one, two = (tiny.encode_features(x, lengths, padding="hidden") for x in (inputs, other))
    assert torch.equal(one.vectors[1, :41], two.vectors[1, :41])
    one, two = (tiny.encode_features(x, lengths) for x in (inputs, other))
    assert not torch.equal(one.vectors[1, :41], two.vectors[1, :41])


@torch.inference_mode()
def test_sequences_that_are_too_short_have_no_frame_and_harm_nobody(tiny):
    for shortest in (0, 1, 5, 8):
        inputs, _ = features()
        frames = tiny.encode_features(inputs, torch.tensor([120, shortest]), padding="hidden")
        assert frames.lengths.tolist() == [56, 0]
        alone = tiny.encode_features(inputs[:1], torch.tensor([120]), padding="hidden")
        torch.testing.assert_close(frames.vectors[0], alone.vectors[0], atol=2e-5, rtol=0)
        assert frames.vectors.isfinite().all()
        assert torch.equal(frames.clip[1], torch.zeros(64))
    waveforms = torch.randn(3, 16000)
    frames = tiny(waveforms, torch.tensor([16000, 0, 1000]))
    assert frames.lengths.tolist() == [46, 0, 0]
    assert frames.vectors.isfinite().all()
    for samples in (0, 1, 79, 1000):
        frames = tiny(torch.zeros(2, samples), torch.tensor([samples, 0]))
        assert frames.lengths.tolist() == [0, 0]
        assert frames.vectors.shape == (2, 0, 64)
        assert all(layer.shape == (2, 0, 64) for layer in frames.layers)
        assert frames.clip.isfinite().all()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([120, 121], "sequence 1 has length 121, but the batch is 120 long"),
        ([-1, 3], "sequence 0 has length -1"),
        ([120, 90, 3], r"lengths have shape \(3,\), but 2 sequences came"),
    ],
)
def test_lengths_that_do_not_fit_the_batch_are_refused(tiny, monkeypatch, lengths, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=message):
        tiny.encode_features(torch.zeros(2, 120, 128), torch.tensor(lengths))
    with pytest.raises(UserError, match=message):
        tiny(torch.zeros(2, 120), torch.tensor(lengths))


def test_a_batch_with_an_empty_sequence_has_gradients():
    network = Zipformer(TINY).train()
    frames = network.encode_features(
        torch.randn(2, 120, 128), torch.tensor([120, 0]), Context(0, 0.0)
    )
    frames.vectors[0].square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_keeping_the_inputs_of_stacks_only_changes_no_gradient():
    gradients = []
    for saves in (False, True):
        torch.manual_seed(3)
        network = Zipformer(replace(TINY, checkpoint_stacks=saves)).train()
        frames = network.encode_features(
            torch.randn(2, 100, 128), torch.tensor([100, 60]), Context(0, 0.0)
        )
        frames.vectors.square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_every_parameter_has_a_gradient_in_every_step():
    network = Zipformer(TINY).train()
    for step in (0, 1):
        network.zero_grad()
        frames = network.encode_features(
            torch.randn(2, 100, 128), torch.tensor([100, 60]), Context(step, step * 6e7)
        )
        frames.vectors.square().mean().backward()
        trained = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        assert not [name for name, parameter in trained if parameter.grad is None]


def test_a_plain_network_does_the_same_in_training_and_in_evaluation():
    network = Zipformer(replace(TINY, machinery=False))
    inputs, lengths = torch.randn(2, 100, 128), torch.tensor([100, 60])
    with torch.no_grad():
        trained = network.train().encode_features(inputs, lengths, Context(0, 0.0))
        evaluated = network.eval().encode_features(inputs, lengths)
    assert torch.equal(trained.vectors, evaluated.vectors)


def test_bfloat16_is_near_to_float32(tiny):
    inputs, lengths = features()
    exact = tiny.encode_features(inputs, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        near = tiny.encode_features(inputs, lengths)
    assert rms(near.vectors.float() - exact.vectors) < 0.03 * rms(exact.vectors)
    loss = near.vectors.float().square().mean()
    loss.backward()
    gradients = {n: p.grad for n, p in tiny.named_parameters() if p.requires_grad}
    tiny.zero_grad()
    exact.vectors.square().mean().backward()
    for name, parameter in tiny.named_parameters():
        if parameter.requires_grad and parameter.numel() > 100:
            error = rms(gradients[name] - parameter.grad)
            assert error < 0.15 * rms(parameter.grad) + 1e-6, name
    tiny.zero_grad()


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_of_the_whole_is_its_slope(training):
    # In float64, along a random direction of all parameters, with chance held still.
    network = Zipformer(replace(TINY, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(31, 15)))
    network.double().train(training)
    inputs, lengths = torch.randn(2, 60, 128, dtype=torch.float64), torch.tensor([60, 45])

    def loss():
        # A step without regularizers, which change gradients on purpose.
        context = Context(1, 6e8, torch.Generator().manual_seed(1)) if training else None
        frames = network.encode_features(inputs, lengths, context)
        return (frames.vectors * weights).sum()

    weights = torch.randn(2, 26, 64, dtype=torch.float64)
    loss().backward()
    # Scaled on purpose, for the sake of fp16.
    trained = [
        p
        for n, p in network.named_parameters()
        if p.requires_grad and (not training or "embed.conv.0" not in n)
    ]
    directions = [torch.randn_like(p) for p in trained]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(trained, directions, strict=True))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            for parameter, direction in zip(trained, directions, strict=True):
                parameter.add_(direction, alpha=step)
            ends.append(float(loss()))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


@pytest.mark.parametrize(("frames", "batch", "silent"), [(200, 4, True), (18, 1, False)])
def test_silence_and_one_short_cut_have_finite_gradients(frames, batch, silent):
    torch.manual_seed(0)
    network = Zipformer(TINY).train()
    features = torch.full((batch, frames, 128), -15.9424)
    if not silent:
        features += torch.randn(features.shape)
    lengths = torch.full((batch,), frames)
    # In the first step every regularizer acts.
    found = network.encode_features(features, lengths, Context(0, 0.0)).vectors
    found.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
