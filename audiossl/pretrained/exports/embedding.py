"""What benchmarks get of an encoder: what `embed` computes, for batches of tensors."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.pretrained.certificate import Difference, compare_outputs
from audiossl.pretrained.embed import embed, embed_files
from audiossl.pretrained.exports.forms import Export, device_of

SHORTEST = 0.1
"""Seconds to which benchmarks' clips are padded: those of a few samples have no frame."""


class Embedder(nn.Module):
    """An encoder whose clip vectors and frames are those of `embed`."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        second = torch.zeros(1, encoder.sample_rate)
        with torch.inference_mode():
            frames = encoder(second, torch.tensor([second.shape[1]]))
        self.dim, self.clip_dim = frames.vectors.shape[2], frames.clip.shape[1]
        self.first_time = float(frames.times[0]) if frames.vectors.shape[1] else 0.0

    def clips(self, waveforms: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch clip_dim"]:
        """Embed each waveform, in windows as in pretraining, in chunks where it is long."""
        device = str(device_of(self))
        given = at_least(waveforms, self.encoder.sample_rate)
        return embed(given, self.encoder, device=device).to(waveforms.device)

    def frames(
        self, waveforms: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Embed each waveform frame by frame."""
        device = str(device_of(self))
        given = at_least(waveforms, self.encoder.sample_rate)
        found = embed_files(given, self.encoder, frames=True, device=device)
        return torch.stack(found.values).to(waveforms.device)


def at_least(waveforms: Tensor, sample_rate: int) -> Tensor:
    """Put silence behind waveforms (..., samples) that are too short for a frame."""
    missing = round(SHORTEST * sample_rate) - waveforms.shape[-1]
    return nn.functional.pad(waveforms, (0, max(0, missing)))


def compare_with_embed(export: Export, other: Any) -> list[Difference]:
    """Compare what a consumer gets with `embed`, of batches of one duration.

    Args:
        export: The encoder.
        other: From waveforms to outputs, by the names "frames" and "clip".
    """

    def expected(waveforms: Tensor, _: Tensor) -> Mapping[str, Tensor]:
        given = list(waveforms)
        outputs = {"clip": embed(given, export.encoder, device="cpu")}
        if export.encoder.frame_rate > 0:
            found = embed_files(given, export.encoder, frames=True, device="cpu")
            outputs["frames"] = torch.cat(found.values)
        return outputs

    return compare_outputs(
        export.encoder, lambda waveforms, _: cast(Mapping[str, Tensor], other(waveforms)),
        reference=expected,
    )  # fmt: skip
