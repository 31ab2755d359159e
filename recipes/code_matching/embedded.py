"""Every pair under a trained method: embeddings, code distributions and codes of each side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from audiossl.batches import to_device
from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
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


@dataclass(frozen=True)
class Embedded:
    """All sides of all pairs."""

    sides: dict[str, Side]
    codebook_size: int


def embed_pairs(
    folder: Path, corpus: PairCorpus, rows: Int[np.ndarray, " chosen"], device: torch.device
) -> Embedded:
    """Embed pairs.

    Args:
        folder: A finished run of `recipes.code_matching.pretrain`.
        corpus: The pairs.
        rows: Which of them.
        device: Where to compute.

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
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {side: [] for side in corpus.sides}
    codes: dict[str, list[np.ndarray]] = {side: [] for side in corpus.sides}
    rates = {}
    with torch.inference_mode():
        for first in range(0, len(rows), BATCH):
            batch = to_device(corpus.batch(rows[first : first + BATCH].tolist()), device)
            for side in corpus.sides:
                found = method.embed(side, batch.sides[side], batch.lengths[side])
                rates[side] = found.frames.frame_rate
                columns = [found.clip.float().cpu().numpy()]
                if found.assigned is not None:
                    columns.append(found.log_distribution.cpu().numpy())
                    lengths = found.frames.lengths.tolist()
                    chosen = found.assigned.codes.cpu().numpy()
                    codes[side] += [c[:n] for c, n in zip(chosen, lengths, strict=True)]
                parts[side].append(tuple(columns))
    sides = {}
    for side, pieces in parts.items():
        joined = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        distributions = joined[1] if len(joined) > 1 else None
        sides[side] = Side(joined[0], distributions, codes[side], rates[side])
    return Embedded(sides, method.config.codebook.codebook_size)


def _said(sides: object) -> str:
    assert isinstance(sides, dict)
    return ", ".join(f"{name} ({facts.front}, {facts.size})" for name, facts in sides.items())
