"""Frames of a frozen encoder for heads: from its cache, or computed in every step."""

from typing import Any

import torch

from audiossl.batches import LabelBatch, LayerBatch
from audiossl.data.layout import SAMPLE_RATE
from audiossl.nn.frames import Frames


def frozen_frames(batch: LabelBatch | LayerBatch, encoder: Any = None) -> Frames:
    """Take the frames of a batch, or encode its waveforms without gradient.

    Args:
        batch: Cached layers, or waveforms at 16 kHz.
        encoder: What encodes waveforms; not needed for layers.

    Example:
        >>> ones = torch.ones(1, dtype=torch.int64)
        >>> batch = LayerBatch(torch.zeros(1, 12, 5, 8), 5 * ones, 0.01, 50.0, ones, ones)
        >>> len(frozen_frames(batch).layers)
        12
    """
    if isinstance(batch, LayerBatch):
        layers = batch.layers.unbind(dim=1)
        rate, first = batch.frame_rate, batch.first_time
        return Frames(layers[-1], batch.lengths, rate, layers=layers, first_time=first)
    # What `load_encoder` gives resamples.
    resampled = {} if encoder.sample_rate == SAMPLE_RATE else {"sample_rate": SAMPLE_RATE}
    with torch.no_grad():
        frames: Frames = encoder(batch.waveforms, batch.lengths, **resampled)
    return frames
