"""Every pair under a trained method: embeddings, code distributions and codes of each modality."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from audiossl.batches import to_device
from audiossl.data.pair_corpus import PairCorpus
from audiossl.methods.code_matching import CodeMatching, Embedded

BATCH = 64


@dataclass(frozen=True)
class ModalityEmbeddings:
    """One modality of all pairs."""

    clips: Float[np.ndarray, "pairs dim"]
    """Embeddings."""
    log_distributions: Float[np.ndarray, "pairs codes"] | None
    """Logarithms of the clips' distributions over codes, if there is a codebook."""
    codes: list[Int[np.ndarray, " _"]]
    """Codes of each pair; empty without a codebook."""
    frame_rate: float
    """Frames a second, or frames a token."""
    frames: list[Float[np.ndarray, "_ _"]] = field(default_factory=list)
    """Quantizer input of each pair, if it was asked for."""


@dataclass(frozen=True)
class PairEmbeddings:
    """All modalities of all pairs."""

    modalities: dict[str, ModalityEmbeddings]
    codebook_size: int


def embed_pairs(
    method: CodeMatching,
    corpus: PairCorpus,
    rows: Int[np.ndarray, " chosen"],
    device: torch.device,
    *,
    frames: bool = False,
) -> PairEmbeddings:
    """Embed pairs.

    Args:
        method: Trained on the modalities of the corpus; moved to `device`.
        corpus: The pairs.
        rows: Which of them.
        device: Where to compute.
        frames: Whether quantized frames are kept.
    """
    method = method.to(device)
    pieces: dict[str, list[ModalityEmbeddings]] = {name: [] for name in corpus.modalities}
    with torch.inference_mode():
        for first in range(0, len(rows), BATCH):
            batch = to_device(corpus.batch(rows[first : first + BATCH].tolist()), device)
            for name in corpus.modalities:
                embedded = method.embed(name, batch.modalities[name], batch.lengths[name])
                pieces[name].append(_on_host(embedded, frames))
    modalities = {name: _joined(own) for name, own in pieces.items()}
    return PairEmbeddings(modalities, method.config.codebook.codebook_size)


def _on_host(embedded: Embedded, with_frames: bool) -> ModalityEmbeddings:
    clips, rate = embedded.clip.float().cpu().numpy(), embedded.frames.frame_rate
    if embedded.assigned is None:
        return ModalityEmbeddings(clips, None, [], rate)
    lengths = embedded.frames.lengths.tolist()
    codes = _trimmed(embedded.assigned.codes.cpu().numpy(), lengths)
    frames = _trimmed(embedded.assigned.frames.float().cpu().numpy(), lengths)
    log_distributions = embedded.log_distribution.cpu().numpy()
    return ModalityEmbeddings(clips, log_distributions, codes, rate, frames if with_frames else [])


def _trimmed(padded: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    return [row[:length] for row, length in zip(padded, lengths, strict=True)]


def _joined(pieces: Sequence[ModalityEmbeddings]) -> ModalityEmbeddings:
    distributions = [p.log_distributions for p in pieces if p.log_distributions is not None]
    return ModalityEmbeddings(
        np.concatenate([piece.clips for piece in pieces]),
        np.concatenate(distributions) if distributions else None,
        [codes for piece in pieces for codes in piece.codes],
        pieces[0].frame_rate,
        [frames for piece in pieces for frames in piece.frames],
    )
