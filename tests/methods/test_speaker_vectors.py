from dataclasses import replace

import torch

from audiossl.batches import LabelBatch, LayerBatch
from audiossl.methods.speaker_vectors import SpeakerConfig, SpeakerVectors, cropped
from audiossl.methods.supervised import InputFacts
from audiossl.nn.x_vector import XVectorConfig

ONES = torch.ones(3, dtype=torch.int64)


def _layers(frames, lengths):
    classes = torch.tensor([[0], [1], [0]])
    return LayerBatch(frames, torch.tensor(lengths), 0.0, 10.0, classes, ONES)


def _generator():
    return torch.Generator().manual_seed(0)


def test_crops_are_runs_of_valid_frames_at_random_places():
    frames = torch.arange(30.0).expand(3, 2, 30)[..., None]
    starts = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        crops = cropped(_layers(frames, [30, 12, 7]), 1.0, generator)
        assert crops.lengths.tolist() == [10, 10, 7]
        for row, length in zip(crops.layers, (10, 10, 7), strict=True):
            steps = row[0, :length, 0].diff()
            assert (steps == 1).all()
        assert crops.layers[1].max() < 12
        assert crops.layers[2, 0, 0] == 0
        starts.append(int(crops.layers[0, 0, 0]))
    assert len(set(starts)) > 5
    assert max(starts) <= 20


def test_waveforms_are_cropped_like_frames():
    waveforms = torch.arange(32000.0).expand(3, -1)
    batch = LabelBatch(waveforms, torch.tensor([32000, 20000, 9000]), ONES[:, None], ONES)
    crops = cropped(batch, 1.0, _generator())
    assert crops.lengths.tolist() == [16000, 16000, 9000]
    assert (crops.waveforms[0].diff() == 1).all()
    assert crops.waveforms[1].max() < 20000
    assert torch.equal(cropped(batch, 2.0, _generator()).waveforms, waveforms)


def test_the_loss_is_that_of_the_margin_and_falls():
    torch.manual_seed(0)
    config = SpeakerConfig(network=XVectorConfig(width=16, pooled=16), crop=2.0)
    method = SpeakerVectors(None, config, 2, InputFacts(2, 4, 4, 4))
    voices = torch.tensor([1.0, -1.0, 1.0])[:, None, None, None]
    batch = _layers(torch.randn(3, 2, 40, 4) + voices, [40, 40, 40])
    easy = SpeakerVectors(None, replace(config, margin=0.0), 2, InputFacts(2, 4, 4, 4))
    easy.load_state_dict(method.state_dict())
    losses = [one(batch, 0, _generator()).total for one in (method, easy)]
    assert losses[0] > losses[1]
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = method(batch, 0, _generator()).total
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * losses[0]
    assert method.layer_sum.logits.grad.abs().sum() > 0
