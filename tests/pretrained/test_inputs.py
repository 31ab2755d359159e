import copy

import numpy as np
import pytest
import soundfile
import torch

import audiossl
from audiossl.errors import UserError

RATE = 16_000
SOURCES = ["log_mel_statistics:", "mfcc:", "python:tests.models.encoders:Windows", "own"]


@pytest.fixture(params=SOURCES)
def encoder(request, experiment):
    source = f"{experiment.cola_0}" if request.param == "own" else request.param
    return audiossl.load_encoder(source)


@pytest.fixture
def batch():
    return 0.1 * torch.randn(2, RATE, generator=torch.Generator().manual_seed(0))


def same(one, other):
    torch.testing.assert_close(one.vectors, other.vectors)
    assert torch.equal(one.lengths, other.lengths)


def test_encoders_take_arrays_single_waveforms_and_no_lengths(encoder, batch):
    expected = encoder(batch, torch.tensor([RATE, RATE]))
    same(encoder(batch), expected)
    same(encoder(batch.numpy()), expected)
    same(encoder(batch.double().numpy(), lengths=[RATE, RATE]), expected)
    same(encoder(batch[0]), encoder(batch[:1], torch.tensor([RATE])))
    same(encoder(batch, np.array([RATE, 9000])), encoder(batch, torch.tensor([RATE, 9000])))
    same(copy.deepcopy(encoder)(batch[0].numpy()), encoder(batch[0]))


def buzz(rate):
    """Make a second of all harmonics of 100 Hz up to 7.5 kHz, at any rate."""
    phase = 2 * torch.pi * 100 * torch.arange(rate, dtype=torch.float64) / rate
    return 0.02 * sum(torch.cos(k * phase + k * k) for k in range(1, 76))


def test_another_sample_rate_is_resampled(encoder):
    frames, expected = encoder(buzz(44_100), sample_rate=44_100), encoder(buzz(RATE))
    assert torch.equal(frames.lengths, expected.lengths)
    assert torch.nn.functional.cosine_similarity(frames.clip, expected.clip).item() > 0.999


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 3, 4)),), "give \\(samples,\\) or \\(batch, samples\\)"),
        ((np.zeros(100, np.int16),), "16-bit integers divided by 32768"),
        ((np.zeros((2, 100)), [100]), "lengths have shape"),
        ((np.zeros((2, 100)), [100, 101]), "length 101"),
    ],
)
def test_what_is_no_waveform_is_refused_in_a_line(arguments, message):
    with pytest.raises(UserError, match=message):
        audiossl.load_encoder("mfcc:")(*arguments)


def test_embed_takes_what_encoders_take(encoder, batch, tmp_path):
    expected = audiossl.embed(batch, encoder)
    assert expected.shape[0] == 2
    for given in (batch.numpy(), list(batch), [row.numpy() for row in batch]):
        assert torch.equal(audiossl.embed(given, encoder), expected)
    assert torch.equal(audiossl.embed(batch[0], encoder), expected[:1])
    padded = torch.nn.functional.pad(batch, (0, 500))
    assert torch.equal(audiossl.embed(padded, encoder, lengths=[RATE, RATE]), expected)
    samples = (batch[0].numpy() * 32768).round().clip(-32768, 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    exact = samples.astype(np.float32) / 32768
    assert torch.equal(audiossl.embed(tmp_path, encoder), audiossl.embed(exact, encoder))


def test_embed_resamples_waveforms_as_it_does_files(tmp_path):
    samples = (3000 * np.random.default_rng(0).normal(size=100_000)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 44_100)
    waveform = samples.astype(np.float32) / 32768
    vector = audiossl.embed(waveform, "mfcc:", sample_rate=44_100)
    assert torch.equal(vector, audiossl.embed(str(tmp_path / "a.wav"), "mfcc:"))


@pytest.mark.parametrize(
    ("clips", "options", "message"),
    [
        ("x.wav", {"sample_rate": 8000}, "files have their own"),
        (["x.wav"], {"lengths": [3]}, "lengths belong to a padded batch"),
        ([np.zeros((2, 9))], {}, "list of waveforms"),
        ([np.zeros(0)], {}, "no samples"),
        (np.full(RATE, np.nan), {}, "NaN"),
        (np.zeros(10), {}, "waveform 0: shorter than one frame"),
    ],
)
def test_embed_says_what_is_wrong_with_waveforms(clips, options, message):
    with pytest.raises(UserError, match=message):
        audiossl.embed(clips, "mfcc:", **options)
