"""Every pair under a trained method: embeddings, code distributions and codes of each side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from audiossl.batches import to_device
from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.methods.code_matching import Embedded as EmbeddedBatch
from audiossl.pretrained.code_matching import load_matching

BATCH = 64


@dataclass(frozen=True)
class Side:
    """One side of all pairs."""

    clips: Float[np.ndarray, "pairs dim"]
    """Embeddings."""
    distributions: Float[np.ndarray, "pairs codes"] | None
    """Logarithms of the clips' distributions over codes, if there is a codebook."""
    codes: list[Int[np.ndarray, " frames"]]
    """Of each pair; empty without a codebook."""
    frame_rate: float
    """Frames a second, or frames a token."""
    frames: list[Float[np.ndarray, "frames dim"]] = field(default_factory=list)
    """What was quantized, of each pair, if it was asked for."""


@dataclass(frozen=True)
class Embedded:
    """All sides of all pairs."""

    sides: dict[str, Side]
    codebook_size: int


def embed_pairs(
    folder: Path,
    corpus: PairCorpus,
    rows: Int[np.ndarray, " chosen"],
    device: torch.device,
    *,
    frames: bool = False,
) -> Embedded:
    """Embed pairs.

    Args:
        folder: A finished run of `recipes.code_matching.pretrain`.
        corpus: The pairs.
        rows: Which of them.
        device: Where to compute.
        frames: Whether quantized frames are kept.

    Raises:
        UserError: The run was trained on sides of other names or sizes.
    """
    matching = load_matching(folder)
    if dict(matching.sides) != corpus.sides:
        raise UserError(
            f"{folder} was trained on sides {_said(matching.sides)}, but {corpus.folder} has "
            f"{_said(corpus.sides)}: make both from the same pairs, or with the same settings"
        )
    method = matching.method.to(device)
    parts: dict[str, list[_Part]] = {side: [] for side in corpus.sides}
    with torch.inference_mode():
        for first in range(0, len(rows), BATCH):
            batch = to_device(corpus.batch(rows[first : first + BATCH].tolist()), device)
            for side in corpus.sides:
                found = method.embed(side, batch.sides[side], batch.lengths[side])
                parts[side].append(_part(found, frames))
    sides = {side: _joined(pieces) for side, pieces in parts.items()}
    return Embedded(sides, method.config.codebook.codebook_size)


@dataclass(frozen=True)
class _Part:
    """One side of a batch."""

    clips: np.ndarray
    distributions: np.ndarray | None
    codes: list[np.ndarray]
    frames: list[np.ndarray]
    frame_rate: float


def _part(found: EmbeddedBatch, frames: bool) -> _Part:
    clips, rate = found.clip.float().cpu().numpy(), found.frames.frame_rate
    if found.assigned is None:
        return _Part(clips, None, [], [], rate)
    lengths = found.frames.lengths.tolist()
    codes = _trimmed(found.assigned.codes.cpu().numpy(), lengths)
    vectors = _trimmed(found.assigned.frames.float().cpu().numpy(), lengths) if frames else []
    return _Part(clips, found.log_distribution.cpu().numpy(), codes, vectors, rate)


def _trimmed(padded: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    return [row[:length] for row, length in zip(padded, lengths, strict=True)]


def _joined(parts: Sequence[_Part]) -> Side:
    distributions = [part.distributions for part in parts if part.distributions is not None]
    return Side(
        np.concatenate([part.clips for part in parts]),
        np.concatenate(distributions) if distributions else None,
        [codes for part in parts for codes in part.codes],
        parts[0].frame_rate,
        [frames for part in parts for frames in part.frames],
    )


def _said(sides: object) -> str:
    assert isinstance(sides, dict)
    return ", ".join(f"{name} ({facts.front}, {facts.size})" for name, facts in sides.items())
