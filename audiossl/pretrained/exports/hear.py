"""A module for HEAR 2021: `load_model`, `get_scene_embeddings`, `get_timestamp_embeddings`.

Interface: the benchmark's common API, as its validator checks it. Times are in milliseconds, each
computed from the number of its frame, so that nothing adds up.
"""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.pretrained.certificate import Difference
from audiossl.pretrained.exports.carried import write_beside
from audiossl.pretrained.exports.embedding import Embedder, compare_with_embed
from audiossl.pretrained.exports.forms import Export, check_frames, check_rate
from audiossl.pretrained.load import load_encoder

RATES = (16000, 22050, 32000, 44100, 48000)
FILE = "hear_module.py"
USE = """
    python -m heareval.embeddings.runner hear_module --tasks-dir tasks

from this folder; it needs this package.
"""
MODULE = '''"""Module for HEAR 2021."""

from pathlib import Path

from audiossl import load_encoder
from audiossl.pretrained.exports.hear import (  # noqa: F401
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
)


def load_model(model_file_path="", **options):
    return HearModel(load_encoder(model_file_path or SOURCE))
'''


class HearModel(Embedder):
    """An encoder with the attributes that HEAR asks for."""

    def __init__(self, encoder: Any) -> None:
        super().__init__(encoder)
        self.sample_rate = encoder.sample_rate
        self.scene_embedding_size, self.timestamp_embedding_size = self.clip_dim, self.dim


def get_scene_embeddings(
    audio: Float[Tensor, "sounds samples"], model: HearModel
) -> Float[Tensor, "sounds clip_dim"]:
    """Embed each sound."""
    return model.clips(audio)


def get_timestamp_embeddings(
    audio: Float[Tensor, "sounds samples"], model: HearModel
) -> tuple[Float[Tensor, "sounds frames dim"], Float[Tensor, "sounds frames"]]:
    """Embed each sound in time; the second result is milliseconds at the centers of frames.

    Frames cover the sound from its beginning to its end, which the benchmark's validator demands:
    where the encoder's begin later or end before, its first and last one stand for what lacks.
    """
    frames, rate = model.frames(audio), model.encoder.frame_rate
    left = audio.shape[1] / model.sample_rate - model.first_time
    first, last = -math.floor(model.first_time * rate), max(0, math.floor(left * rate))
    numbers = torch.arange(first, last + 1, device=audio.device)
    times = 1000.0 * (model.first_time + numbers.double() / rate)
    held = frames[:, numbers.clamp(0, frames.shape[1] - 1)]
    return held, times.float().expand(len(audio), -1)


def write(place: Path, export: Export) -> list[Difference]:
    """Write the module and the encoder, load it and compare with `embed`.

    Raises:
        UserError: The encoder has no frames, or takes a sample rate that HEAR does not know.
    """
    check_frames(export, "HEAR")
    check_rate(export, "HEAR", RATES)
    model = HearModel(load_encoder(write_beside(place, {FILE: MODULE}, export)))

    def encode(waveforms: Tensor) -> dict[str, Tensor]:
        frames, _ = get_timestamp_embeddings(waveforms, model)
        begin = math.floor(model.first_time * export.encoder.frame_rate)
        all_frames = model.frames(waveforms)
        kept = frames[:, begin : begin + all_frames.shape[1]]
        # A last frame whose center is behind the end is no frame of HEAR.
        own = torch.cat([kept, all_frames[:, kept.shape[1] :]], dim=1)
        return {"frames": own.flatten(0, 1), "clip": get_scene_embeddings(waveforms, model)}

    with torch.inference_mode():
        return compare_with_embed(export, encode)
