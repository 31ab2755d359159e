"""One codebook that follows the frames it quantizes: each entry is a moving average of its frames.

As in van den Oord et al., "Neural discrete representation learning" (2017), appendix A.1, with the
counts smoothed as the public `vector-quantize-pytorch` does, and with entries that nobody chooses
started again at a frame, all their state with them: an entry that is replaced alone is undone by
the sums of the old one at the next step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, Integer
from torch import Tensor

from audiossl import distributed
from audiossl.quantization.nearest import nearest_entries
from audiossl.quantization.quantizer import CodebookQuantizer


@dataclass(frozen=True)
class Quantized:
    """What a codebook makes of a batch of frames while it learns."""

    codes: Integer[Tensor, "*batch"]
    """Index of the nearest entry."""
    approximation: Float[Tensor, "*batch dim"]
    """The nearest entry; the gradient goes straight through to the frame."""
    commitment: Float[Tensor, ""]
    """Mean squared distance of the valid frames from their entry; pulls the frames only."""


class EmaCodebook(CodebookQuantizer):
    """A codebook learnt by moving averages; dead entries start again.

    It learns in training mode and where gradients are recorded; evaluation of a frozen encoder in
    training mode, under `no_grad`, leaves it alone.

    Example:
        >>> codebook = EmaCodebook(dim=4, codebook_size=8)
        >>> quantized = codebook(torch.randn(2, 5, 4))
        >>> quantized.codes.shape, quantized.approximation.shape
        (torch.Size([2, 5]), torch.Size([2, 5, 4]))
    """

    kind: ClassVar[str] = "ema_codebook"
    num_codebooks = 1
    entries: Float[Tensor, "size dim"]
    counts: Float[Tensor, " size"]
    sums: Float[Tensor, "size dim"]
    idle: Int[Tensor, " size"]
    step: Int[Tensor, ""]

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        decay: float = 0.99,
        smoothing: float = 1e-5,
        idle_steps: int = 100,
        seed: int = 0,
    ) -> None:
        """Start from random entries.

        Args:
            dim: Dimension of a frame.
            codebook_size: Number of entries.
            decay: Weight of the past; it reaches back 1 / (1 - decay) steps.
            smoothing: Added to the counts; 0 leaves unused entries exactly where they are.
            idle_steps: An entry that was not chosen for so many steps starts again.
            seed: Seeds the first entries and where entries start again.
        """
        super().__init__()
        self.dim, self.codebook_size = dim, codebook_size
        self.decay, self.smoothing, self.idle_steps = decay, smoothing, idle_steps
        self.seed = seed
        first = np.random.default_rng(seed).standard_normal((codebook_size, dim), np.float32)
        self.register_buffer("entries", torch.empty(codebook_size, dim))
        self.register_buffer("counts", torch.empty(codebook_size))
        self.register_buffer("sums", torch.empty(codebook_size, dim))
        self.register_buffer("idle", torch.empty(codebook_size, dtype=torch.long))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.set_entries(torch.from_numpy(first))

    def settings(self) -> dict[str, Any]:
        """Arguments that build an untrained codebook that learns likewise."""
        return {
            "dim": self.dim,
            "codebook_size": self.codebook_size,
            "decay": self.decay,
            "smoothing": self.smoothing,
            "idle_steps": self.idle_steps,
            "seed": self.seed,
        }

    def deciding_state(self) -> Mapping[str, Tensor]:
        """The entries alone decide the codes."""
        return {"entries": self.entries}

    def set_entries(
        self, values: Float[Tensor, "some dim"], chosen: Bool[Tensor, " size"] | slice = slice(None)
    ) -> None:
        """Put entries, and everything that would pull them back, to new values."""
        self.entries[chosen] = values.to(self.entries)
        self.counts[chosen] = 1.0
        self.sums[chosen] = values.to(self.sums)
        self.idle[chosen] = 0

    def forward(
        self, frames: Float[Tensor, "*batch dim"], valid: Bool[Tensor, "*batch"] | None = None
    ) -> Quantized:
        """Quantize with the entries as they are, then let them follow.

        Args:
            frames: What to quantize.
            valid: False marks padding, which is quantized but never learnt from.
        """
        flat = frames.reshape(-1, self.dim)
        valid = torch.ones_like(frames[..., 0], dtype=torch.bool) if valid is None else valid
        flat_valid = valid.reshape(-1)
        with torch.autocast(frames.device.type, enabled=False):
            codes = nearest_entries(flat.detach().to(self.entries), self.entries)
        chosen = self.entries[codes].to(flat)
        distances = (flat - chosen).square().mean(dim=1).masked_fill(~flat_valid, 0.0)
        commitment = distances.sum() / flat_valid.sum().clamp(min=1)
        approximation = flat + (chosen - flat).detach()
        if self.training and torch.is_grad_enabled():
            self.update(flat.detach().to(self.entries)[flat_valid], codes[flat_valid])
        return Quantized(codes.view(valid.shape), approximation.view_as(frames), commitment)

    @torch.no_grad()
    def update(self, frames: Float[Tensor, "frames dim"], codes: Int64[Tensor, " frames"]) -> None:
        """Let entries follow the frames that chose them, on all ranks; restart the dead."""
        counts = distributed.total(torch.bincount(codes, minlength=len(self.counts)).to(frames))
        sums = distributed.total(torch.zeros_like(self.sums).index_add_(0, codes, frames))
        self.move(counts, sums)
        self._restart_dead(frames)
        self.step += 1

    @torch.no_grad()
    def move(self, counts: Float[Tensor, " size"], sums: Float[Tensor, "size dim"]) -> None:
        """Move entries towards the frames that chose them.

        Args:
            counts: How many frames of all ranks chose each entry.
            sums: Sum of those frames.
        """
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + self.smoothing) * total
        smoothed = smoothed / (total + len(self.counts) * self.smoothing)
        self.entries.copy_(self.sums / smoothed[:, None])
        self.idle.add_(1).masked_fill_(counts > 0, 0)

    def encode_chunk(self, frames: Float[Tensor, "frames dim"]) -> Int64[Tensor, "frames 1"]:
        """Find the nearest entry of each frame."""
        return nearest_entries(frames, self.entries)[:, None]

    def decode_chunk(self, codes: Int64[Tensor, "frames 1"]) -> Float[Tensor, "frames dim"]:
        """Look up the entries."""
        return self.entries[codes[:, 0]]

    def _restart_dead(self, frames: Float[Tensor, "frames dim"]) -> None:
        # Counts are totals and idle steps therefore equal on all ranks: all of them get here.
        dead = self.idle >= self.idle_steps
        if not dead.any():
            return
        generator = np.random.default_rng((self.seed, int(self.step)))
        # A rank without frames offers entries, so that all ranks bring the same number of rows.
        offered = frames if len(frames) else self.entries
        rows = torch.from_numpy(generator.integers(len(offered), size=len(dead)))
        candidates = distributed.gather(offered[rows.to(offered.device)])
        rows = torch.from_numpy(generator.permutation(len(candidates))[: int(dead.sum())])
        self.set_entries(candidates[rows.to(candidates.device)], dead)
