"""k-means: one codebook of centroids, learnt from mini-batches on any number of ranks.

Mini-batch k-means as in Sculley, "Web-scale k-means clustering" (2010), with two changes: a
centroid is the mean of what was assigned to it lately, not ever, because early assignments are
poor; and a centroid that lately got nearly nothing starts again at a random frame.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from audiossl import distributed
from audiossl.configs import Count, Share, Whole
from audiossl.errors import UserError
from audiossl.quantization.frame_batches import FrameBatches
from audiossl.quantization.nearest import nearest_entries
from audiossl.quantization.quantizer import CodebookQuantizer

DEAD_SHARE = 0.01
"""A centroid that gets less than this share of an even share starts again."""


class KMeansQuantizer(CodebookQuantizer):
    """A frame is its nearest centroid.

    Example:
        >>> quantizer = KMeansQuantizer.from_entries(torch.tensor([[0.0], [10.0]]))
        >>> codes = quantizer.encode(torch.tensor([[1.0], [8.0], [9.0]]))
        >>> codes.flatten().tolist(), quantizer.decode(codes).flatten().tolist()
        ([0, 1, 1], [0.0, 10.0, 10.0])
    """

    kind: ClassVar[str] = "kmeans"
    num_codebooks = 1
    entries: Float[Tensor, "size dim"]

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__()
        self.dim, self.codebook_size = dim, codebook_size
        self.register_buffer("entries", torch.zeros(codebook_size, dim))

    @classmethod
    def from_entries(cls, entries: Float[Tensor, "size dim"]) -> "KMeansQuantizer":
        """Make a quantizer of given centroids."""
        quantizer = cls(entries.shape[1], entries.shape[0]).to(entries.device)
        quantizer.entries.copy_(entries)
        return quantizer

    def settings(self) -> dict[str, Any]:
        """Arguments that build an untrained quantizer of the same shapes."""
        return {"dim": self.dim, "codebook_size": self.codebook_size}

    def encode_chunk(self, frames: Float[Tensor, "frames dim"]) -> Int64[Tensor, "frames 1"]:
        """Find the nearest centroid of each frame."""
        return nearest_entries(frames, self.entries)[:, None]

    def decode_chunk(self, codes: Int64[Tensor, "frames 1"]) -> Float[Tensor, "frames dim"]:
        """Look up the centroids."""
        return self.entries[codes[:, 0]]


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """k-means centroids, and their training."""

    kind: Literal["kmeans"] = "kmeans"
    codebook_size: Count = 500
    """Number of centroids."""
    num_steps: Count = 500
    """Number of mini-batches."""
    batch_size: Count = 10_000
    """Number of frames in a mini-batch, over all ranks."""
    forget: Share = 0.95
    """Decay of the assignment counts in each step: the share of the earlier counts that remains."""
    seed: Whole = 0
    """Random seed of the first centroids, the order of frames, and where dead centroids start
    again."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.num_steps


@dataclass
class KMeansTraining:
    """What must survive a crash."""

    step: int
    """Steps done."""
    entries: Float[Tensor, "size dim"]
    """The centroids."""
    counts: Float[Tensor, " size"]
    """Frames assigned to each, earlier ones weighing less."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers; `KMeansTraining(**state)` goes on."""
        return {"step": self.step, "entries": self.entries, "counts": self.counts}

    @property
    def quantizer(self) -> KMeansQuantizer:
        """What has been learnt so far."""
        return KMeansQuantizer.from_entries(self.entries)


def train_kmeans(
    batches: FrameBatches,
    config: KMeansConfig,
    training: KMeansTraining | None = None,
    *,
    num_steps: int | None = None,
) -> KMeansTraining:
    """Train until `config.num_steps` are done, or for `num_steps`.

    Every rank reads the whole batch, which is cheap, assigns its share of it, and gets all sums:
    one process and several find the same centroids.

    Args:
        batches: The frames, the same on every rank.
        config: What is trained.
        training: Where an earlier call stopped; None starts with k-means++ on the first batch.
        num_steps: Steps to do now; None does all that are left.
    """
    if training is None:
        first = distributed.share(_spread_out(batches.batch(0), config))
        training = KMeansTraining(0, first, first.new_zeros(len(first)))
    end = config.num_steps
    if num_steps is not None:
        end = min(end, training.step + num_steps)
    while training.step < end:
        _update(training, batches.batch(training.step), config)
        training.step += 1
    return training


def _update(training: KMeansTraining, batch: Tensor, config: KMeansConfig) -> None:
    own = distributed.own_rows(batch)
    codes = nearest_entries(own, training.entries)
    # Sums of differences: far from zero, sums of frames lose in float32 what tells them apart.
    moves = torch.zeros_like(training.entries).index_add_(0, codes, own - training.entries[codes])
    moves = distributed.total(moves)
    counts = distributed.total(torch.bincount(codes, minlength=len(moves)).to(batch))
    training.counts = config.forget * training.counts + counts
    training.entries = training.entries + moves / training.counts.clamp(min=1.0)[:, None]
    dead = training.counts < DEAD_SHARE * training.counts.mean()
    if dead.any():
        # Drawn from the whole batch, which all ranks have: they draw alike.
        generator = np.random.default_rng((config.seed, training.step))
        rows = generator.integers(len(batch), size=int(dead.sum()))
        training.entries[dead] = batch[torch.from_numpy(rows).to(batch.device)]
        training.counts[dead] = training.counts.mean()


def _spread_out(
    frames: Float[Tensor, "frames dim"], config: KMeansConfig
) -> Float[Tensor, "size dim"]:
    """Choose first centroids as k-means++ (Arthur and Vassilvitskii, 2007) does.

    Each next one is drawn with a probability that grows with its squared distance from the others.
    """
    if len(frames) < config.codebook_size:
        raise UserError(
            f"{config.codebook_size} centroids cannot start from a batch of {len(frames)} frames: "
            "raise batch_size, or lower codebook_size"
        )
    generator = np.random.default_rng(config.seed)
    chosen = [int(generator.integers(len(frames)))]
    distances = torch.full((len(frames),), torch.inf, dtype=torch.float64)
    for _ in range(config.codebook_size - 1):
        to_last = (frames - frames[chosen[-1]]).square().sum(dim=1)
        distances = torch.minimum(distances, to_last.cpu().double())
        total = float(distances.sum())
        if total == 0:
            raise UserError(
                f"only {len(chosen)} different frames in the first batch, but "
                f"{config.codebook_size} centroids are wanted"
            )
        chosen.append(int(generator.choice(len(frames), p=distances.numpy() / total)))
    return frames[chosen].clone()
