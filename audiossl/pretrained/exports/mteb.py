"""A model for MTEB's audio tasks (MAEB): a class of `AbsEncoder` and its `ModelMeta`.

mteb 2.x gives batches of {"audio": [{"array", "sampling_rate"}, ...]} and takes one vector a clip.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.pretrained.certificate import Difference
from audiossl.pretrained.embed import embed
from audiossl.pretrained.exports.carried import write_beside
from audiossl.pretrained.exports.embedding import at_least, compare_with_embed
from audiossl.pretrained.exports.forms import Export
from audiossl.pretrained.load import load_encoder

FILE = "mteb_model.py"
USE = """
    import mteb
    from mteb_model import load_model

    mteb.evaluate(load_model(), mteb.get_tasks(tasks=["BeijingOpera"]))

with this folder on Python's path; it needs this package.
"""
MODULE = '''"""Model for MTEB's audio tasks: `mteb.evaluate(load_model(), tasks)`."""

from pathlib import Path

from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.modality_collators import AudioCollator

from audiossl import load_encoder
from audiossl.pretrained.exports.mteb import embed_batches


class Model(AbsEncoder):
    def __init__(self, model_name="NAME", revision=None, device=None, **options):
        self.encoder, self.device = load_encoder(SOURCE), device or "auto"

    def encode(self, inputs, *, task_metadata=None, hf_split=None, hf_subset=None,
               prompt_type=None, **options):
        inputs.collate_fn = AudioCollator(target_sampling_rate=self.encoder.sample_rate)
        return embed_batches(inputs, self.encoder, self.device)


META = ModelMeta.create_empty(
    {
        "loader": Model,
        "name": "NAME",
        "revision": "DIGEST",
        "embed_dim": DIM,
        "n_parameters": PARAMETERS,
        "modalities": ["audio"],
        "framework": ["PyTorch"],
        "similarity_fn_name": "cosine",
    }
)


def load_model(device=None):
    model = Model(device=device)
    model.mteb_model_meta = META
    return model
'''


def embed_batches(
    batches: Iterable[dict[str, Any]], encoder: Any, device: str = "auto"
) -> Float[np.ndarray, "clips dim"]:
    """Embed the clips of batches at the encoder's sample rate."""
    vectors = []
    for batch in batches:
        arrays = [np.asarray(clip["array"], np.float32).reshape(-1) for clip in batch["audio"]]
        clips = [at_least(torch.from_numpy(array), encoder.sample_rate) for array in arrays]
        vectors.append(embed(clips, encoder, device=device))
    return torch.cat(vectors).cpu().numpy()


def write(place: Path, export: Export) -> list[Difference]:
    """Write the module and the encoder, load it and compare with `embed`."""
    encoder = export.encoder
    with torch.inference_mode():
        second = torch.zeros(1, encoder.sample_rate)
        dim = encoder(second, torch.tensor([second.shape[1]])).clip.shape[1]
    facts = {
        "NAME": f"audiossl/{export.output.name}",
        "DIM": str(dim),
        "PARAMETERS": str(sum(tensor.numel() for tensor in encoder.parameters())),
        "DIGEST": export.digest,
    }
    module = re.sub(rf"\b(?:{'|'.join(facts)})\b", lambda match: facts[match[0]], MODULE)
    again = load_encoder(write_beside(place, {FILE: module}, export))

    def encode(waveforms: Tensor) -> dict[str, Tensor]:
        clips = [{"array": row.numpy(), "sampling_rate": encoder.sample_rate} for row in waveforms]
        return {"clip": torch.from_numpy(embed_batches([{"audio": clips}], again, "cpu"))}

    return compare_with_embed(export, encode)
