"""Residual quantization: each codebook approximates what the ones before it have left over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from audiossl.configs import Count
from audiossl.quantization.frame_batches import FrameBatches
from audiossl.quantization.kmeans import KMeansConfig, KMeansTraining, train_kmeans
from audiossl.quantization.nearest import nearest_entries
from audiossl.quantization.quantizer import CodebookQuantizer


class ResidualQuantizer(CodebookQuantizer):
    """Codebooks applied one after another to the remainder.

    Example:
        >>> entries = torch.tensor([[[0.0], [10.0]], [[-1.0], [1.0]]])
        >>> quantizer = ResidualQuantizer.from_entries(entries)
        >>> quantizer.encode(torch.tensor([[9.2]])).tolist()  # 10, then -1
        [[1, 0]]
    """

    kind: ClassVar[str] = "residual"
    entries: Float[Tensor, "codebooks size dim"]

    def __init__(self, dim: int, num_codebooks: int, codebook_size: int = 256) -> None:
        super().__init__()
        self.dim, self.num_codebooks, self.codebook_size = dim, num_codebooks, codebook_size
        self.register_buffer("entries", torch.zeros(num_codebooks, codebook_size, dim))

    @classmethod
    def from_entries(cls, entries: Float[Tensor, "codebooks size dim"]) -> "ResidualQuantizer":
        """Make a quantizer of given codebooks."""
        num_codebooks, codebook_size, dim = entries.shape
        quantizer = cls(dim, num_codebooks, codebook_size).to(entries.device)
        quantizer.entries.copy_(entries)
        return quantizer

    def settings(self) -> dict[str, Any]:
        """Arguments that build an untrained quantizer of the same shapes."""
        return {
            "dim": self.dim,
            "num_codebooks": self.num_codebooks,
            "codebook_size": self.codebook_size,
        }

    def encode_chunk(self, frames: Float[Tensor, "frames dim"]) -> Int64[Tensor, "frames books"]:
        """Choose greedily, first codebook first."""
        codes = []
        for book in self.entries:
            codes.append(nearest_entries(frames, book))
            frames = frames - book[codes[-1]]
        return torch.stack(codes, dim=1)

    def decode_chunk(self, codes: Int64[Tensor, "frames books"]) -> Float[Tensor, "frames dim"]:
        """Add up the entries of each frame."""
        books = torch.arange(self.num_codebooks, device=codes.device)
        return self.entries[books, codes].sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class ResidualConfig:
    """A residual quantizer, and the k-means that trains each codebook."""

    kind: Literal["residual"] = "residual"
    num_codebooks: Count = 8
    """Number of codebooks, trained one after another."""
    codebook: KMeansConfig = field(default_factory=lambda: KMeansConfig(codebook_size=256))
    """Training of each codebook."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.num_codebooks * self.codebook.num_steps


@dataclass
class ResidualTraining:
    """What must survive a crash."""

    step: int
    """Steps done, of all codebooks."""
    finished: list[Float[Tensor, "size dim"]]
    """Codebooks that are done, first to last."""
    current: KMeansTraining | None = None
    """The codebook that is being trained."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which `restore` goes on."""
        current = None if self.current is None else self.current.state_dict()
        return {"step": self.step, "finished": list(self.finished), "current": current}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "ResidualTraining":
        """Go on from a `state_dict` of an earlier training with the same settings."""
        current = state["current"]
        training = None if current is None else KMeansTraining(**current)
        return cls(state["step"], list(state["finished"]), training)

    @property
    def quantizer(self) -> ResidualQuantizer:
        """The codebooks that are done."""
        return ResidualQuantizer.from_entries(torch.stack(self.finished))


def train_residual(
    batches: FrameBatches,
    config: ResidualConfig,
    training: ResidualTraining | None = None,
    *,
    num_steps: int | None = None,
) -> ResidualTraining:
    """Train until all codebooks are done, or for `num_steps` of k-means.

    Args:
        batches: The frames, the same on every rank.
        config: What is trained.
        training: Where an earlier call stopped; None starts.
        num_steps: Steps to do now; None does all that are left.
    """
    training = training or ResidualTraining(0, [])
    end = config.total_steps
    if num_steps is not None:
        end = min(end, training.step + num_steps)
    while training.step < end:
        before = training.current.step if training.current else 0
        remainders = batches.then(partial(_remainder, training.finished))
        training.current = train_kmeans(
            remainders, config.codebook, training.current, num_steps=end - training.step
        )
        training.step += training.current.step - before
        if training.current.step == config.codebook.num_steps:
            training.finished.append(training.current.entries)
            training.current = None
    return training


def _remainder(finished: list[Tensor], frames: Tensor) -> Tensor:
    for book in finished:
        frames = frames - book[nearest_entries(frames, book)]
    return frames
