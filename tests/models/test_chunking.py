import resource
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from audiossl.errors import UserError
from audiossl.models.chunking import chunk_spans, encode_in_chunks
from audiossl.models.properties import moving_sound
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.frames import Frames
from tests.models.zipformer.golden import fill


class Local(nn.Module):
    """Frames that depend on 100 ms around them."""

    sample_rate, frame_rate, dim = 16000, 50.0, 3

    def __init__(self, pools=False):
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 1600, 320, padding=640)
        self.pools = pools

    def forward(self, waveforms, lengths):
        mask = torch.arange(waveforms.shape[1]) < lengths[:, None]
        vectors = self.conv((waveforms * mask)[:, None]).mT
        pooled = vectors[:, :1, 0] * 0 + lengths[:, None] if self.pools else None
        return Frames(vectors, lengths // 320, 50.0, (2 * vectors,), pooled)


@given(st.integers(0, 5000), st.integers(2, 40), st.integers(1, 20), st.sampled_from([1, 3, 10]))
def test_spans_cover_everything_and_overlap(total, chunk, overlap, unit):
    chunk, overlap = chunk * unit, overlap * unit
    if overlap >= chunk:
        with pytest.raises(UserError, match="cannot overlap"):
            chunk_spans(total, chunk, overlap, unit)
        return
    spans = chunk_spans(total, chunk, overlap, unit)
    assert spans[0][0] == 0
    assert spans[-1][1] == total
    for (start, end), (after, _) in pairwise(spans):
        assert start < after <= end - overlap
    for start, end in spans:
        assert start % unit == 0
        assert end - start <= chunk


@torch.inference_mode()
@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.99, 2.0, 5.3])
def test_an_encoder_that_hears_less_than_the_overlap_notices_nothing(seconds):
    encoder = Local()
    samples = int(16000 * seconds) // 320 * 320
    waveforms, lengths = torch.randn(2, samples), torch.tensor([samples, samples * 2 // 3])
    whole = encoder(waveforms, lengths)
    joined = encode_in_chunks(encoder, waveforms, lengths, chunk=1.0, overlap=0.3)
    assert torch.equal(joined.lengths, whole.lengths)
    torch.testing.assert_close(joined.vectors, whole.vectors, atol=1e-5, rtol=0)
    torch.testing.assert_close(joined.layers[0], whole.layers[0], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_clip_vector_of_its_own_is_averaged_over_chunks():
    waveforms, lengths = torch.randn(2, 32000), torch.tensor([32000, 8000])
    joined = encode_in_chunks(Local(pools=True), waveforms, lengths, chunk=1.0, overlap=0.2)
    assert joined.pooled.flatten().tolist() == [16000.0, 8000.0]


@torch.inference_mode()
@pytest.mark.parametrize("output_stride", [1, 2])
def test_frames_of_a_zipformer_are_alike_with_and_without_chunks(output_stride):
    network = fill(Zipformer(replace(TINY, output_stride=output_stride)))
    sound = moving_sound(9.3, 16000)
    waveforms = torch.stack([sound, F.pad(sound[: 16000 * 5], (0, len(sound) - 16000 * 5))])
    lengths = torch.tensor([len(sound), 16000 * 5])
    features, feature_lengths = network.features(waveforms, lengths)
    whole = network.encode_features(features, feature_lengths, padding="hidden")
    joined = encode_in_chunks(network, waveforms, lengths, chunk=4.0, overlap=2.0)
    assert torch.equal(joined.lengths, whole.lengths)
    assert torch.equal(joined.layer_lengths, whole.layer_lengths)
    assert joined.vectors.shape == whole.vectors.shape
    for row, count in enumerate(whole.lengths.tolist()):
        one, other = joined.vectors[row, :count], whole.vectors[row, :count]
        # Weights by formula listen everywhere alike, which is the worst case.
        assert float(F.cosine_similarity(one, other, dim=1).min()) > 0.97


@torch.inference_mode()
def test_long_waveforms_are_cut_without_being_asked(monkeypatch):
    network = Zipformer(TINY).eval()
    calls = []

    def counted(features, lengths, **_):
        calls.append(features.shape[1])
        frames = (features.shape[1] - 7) // 2
        return Frames(torch.zeros(1, frames, 64), (lengths - 7) // 2, 50.0)

    monkeypatch.setattr(network, "encode_features", counted)
    frames = network(torch.randn(1, 16000 * 61), torch.tensor([16000 * 61]))
    assert len(calls) == 3
    assert max(calls) <= 3010
    assert frames.vectors.shape[1] == (6100 - 7) // 2


@pytest.mark.long
@torch.inference_mode()
def test_twenty_minutes_need_the_memory_of_a_chunk():
    network = Zipformer(TINY).eval()
    waveforms = 0.1 * torch.randn(1, 16000 * 1200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    frames = network(waveforms, torch.tensor([waveforms.shape[1]]))
    assert frames.vectors.shape == (1, (120000 - 7) // 2, 64)
    # In kilobytes; the frames of all layers are 123 MB, and exist twice while they are joined.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000
