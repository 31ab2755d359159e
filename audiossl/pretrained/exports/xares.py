"""Encoder files for X-ARES, and for XARES-LLM, whose encoders take and return masks.

X-ARES keeps what it computed by the name of the class, so that two encoders of one name would share
their scores: the name ends in a digest of the weights.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from audiossl.nn.lengths import valid_mask
from audiossl.pretrained.certificate import Difference
from audiossl.pretrained.exports.carried import write_beside
from audiossl.pretrained.exports.embedding import Embedder, compare_with_embed
from audiossl.pretrained.exports.forms import Export, check_frames
from audiossl.pretrained.load import load_encoder

FILE, LLM_FILE = "xares_encoder.py", "xares_llm_encoder.py"
USE = """
    python -m xares.run xares_encoder.py src/tasks/*.py
    python -m xares_llm.run xares_llm_encoder.py

from this folder; they need this package.
"""
TEMPLATE = '''"""Encoder for {name}."""

from pathlib import Path

from audiossl import load_encoder
from audiossl.pretrained.exports import xares as _xares


class {class_name}(_xares.{base}):
    def __init__(self, **options):
        super().__init__(load_encoder(SOURCE))
'''


class Framewise(Embedder):
    """Waveforms to frames, with the attributes that X-ARES asks for."""

    def __init__(self, encoder: Any) -> None:
        super().__init__(encoder)
        self.sampling_rate, self.output_dim = encoder.sample_rate, self.dim
        self.hop_size_in_ms = 1000.0 / encoder.frame_rate

    def forward(self, audio: Float[Tensor, "*batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Embed waveforms frame by frame."""
        return self.frames(audio if audio.ndim == 2 else audio[None])


class Masked(nn.Module):
    """Waveforms and their mask to frames and theirs, as XARES-LLM asks for them."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder, self.output_dim = encoder, encoder.dim

    def forward(
        self,
        audio: Float[Tensor, "batch samples"],
        audio_attention_mask: Num[Tensor, "batch samples"] | None = None,
    ) -> tuple[Float[Tensor, "batch frames dim"], Int[Tensor, "batch frames"]]:
        """Encode waveforms; 1 is valid in both masks."""
        whole = torch.full((len(audio),), audio.shape[1], device=audio.device)
        lengths = whole if audio_attention_mask is None else audio_attention_mask.long().sum(dim=1)
        frames = self.encoder(audio, lengths)
        return frames.vectors, valid_mask(frames.lengths, frames.vectors.shape[1]).long()


def write(place: Path, export: Export) -> list[Difference]:
    """Write both files and the encoder, load it and compare with `embed`.

    Raises:
        UserError: The encoder has no frames.
    """
    check_frames(export, "X-ARES")
    names = {"class_name": f"AudioSSL{export.digest}Encoder"}
    files = {
        FILE: TEMPLATE.format(name="X-ARES", base="Framewise", **names),
        LLM_FILE: TEMPLATE.format(name="XARES-LLM", base="Masked", **names),
    }
    model = Framewise(load_encoder(write_beside(place, files, export)))
    return compare_with_embed(export, lambda waveforms: {"frames": model(waveforms).flatten(0, 1)})
