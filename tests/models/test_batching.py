import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiossl.models.batching import Batching, batches_of, encode_all
from audiossl.nn.padding import padded
from tests.models.encoders import Windows


def _waveforms(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(200, 30_000, count)
    return [generator.normal(size=length).astype(np.float32) for length in lengths]


def _keep(frames):
    rows = zip(frames.vectors, frames.lengths.tolist(), strict=True)
    return {"clip": list(frames.clip), "frames": [row[:count] for row, count in rows]}


@pytest.mark.parametrize("ahead", [0.5, 1000.0])
def test_batches_give_what_each_waveform_gives_alone_and_in_its_place(ahead):
    encoder, waveforms = Windows().eval(), _waveforms(23)
    batching = Batching(batch_seconds=4.0, ahead_seconds=ahead)
    together = list(encode_all(encoder, iter(waveforms), _keep, batching=batching))
    assert len(together) == 23
    for waveform, kept in zip(waveforms, together, strict=True):
        alone = encoder(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
        torch.testing.assert_close(kept["clip"], alone.clip[0])
        torch.testing.assert_close(kept["frames"], alone.vectors[0])


@given(
    lengths=st.lists(st.integers(1, 100_000), min_size=1, max_size=60),
    seconds=st.floats(0.5, 20.0),
    share=st.floats(0.0, 0.9),
)
def test_batches_hold_each_waveform_once_and_keep_the_bounds(lengths, seconds, share):
    batching = Batching(batch_seconds=seconds, most_padding=share)
    batches = batches_of(np.array(lengths), batching, 16_000)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest, shortest = (f(lengths[row] for row in batch) for f in (max, min))
        assert len(batch) == 1 or len(batch) * longest <= seconds * 16_000
        assert shortest >= (1 - share) * longest


def test_nothing_gives_nothing():
    assert list(encode_all(Windows().eval(), iter(()), _keep)) == []


def test_padding_is_zero():
    batch, lengths = padded([np.ones(3, np.float32), np.ones(1, np.float32)])
    assert batch.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert lengths.tolist() == [3, 1]
