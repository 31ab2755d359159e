"""One codebook for the frames of several modalities, learnt by moving averages of all.

Each modality has a linear map and a batch norm of its own in front of it, because the codebook
starts from a normal distribution and distances to it are read as probabilities: frames must have
its scale. What modalities have in common is the codebook alone.

Source: Liu et al., "Cross-Modal Discrete Representation Learning" (ACL 2022), section 3 and
appendix A. Where we leave it: an entry that starts again gets a little noise, because an exact
duplicate is never chosen, and loses its old counts and sums, which would undo the restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.configs import Count, Share, Whole, plain
from audiossl.errors import UserError, did_you_mean
from audiossl.nn.batch_norm import FrameNorm
from audiossl.quantization.ema_codebook import EmaCodebook
from audiossl.quantization.nearest import around_mean, nearest_entries

_LEAST_COUNT = 1e-6
"""Moving counts stay at it, so that an entry nobody chooses for ages keeps its place."""
_NOISE = 0.01
"""Standard deviation of the noise of a restart, relative to the entries' root mean square."""


@dataclass(frozen=True, kw_only=True)
class SharedCodebookConfig:
    """What the modalities share."""

    codebook_size: Count = 1024
    """Number of entries."""
    dim: Count = 256
    """Dimension of an entry."""
    decay: Share = 0.99
    """Decay of the moving averages: the weight of the past."""
    idle_steps: Count = 100
    """Number of steps without being chosen after which an entry starts again."""
    wanted_by: Literal["any", "all"] = "any"
    """Modalities that must use an entry for it not to start again: any of them (the paper), or all
    (Uni-Code)."""
    batch_norm: bool = True
    """Whether the frames of each modality are normalized; the ablation without it shares fewer
    codes."""
    seed: Whole = 0
    """Random seed of the first entries, and of where entries start again."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if self.codebook_size < 2 or self.dim < 1:
            raise UserError(
                f"a codebook of {self.codebook_size} entries of {self.dim} dimensions cannot tell "
                "frames apart: give at least 2 entries of 1 dimension"
            )
        if not 0.0 <= self.decay < 1.0:
            raise UserError(f"decay {self.decay}: give 0 (no past) up to, but not including, 1")


@dataclass(frozen=True)
class Assigned:
    """What the codebook makes of a modality's frames."""

    frames: Float[Tensor, "batch frames dim"]
    """Mapped and normalized; zeros in the padding."""
    codes: Int64[Tensor, "batch frames"]
    """The nearest entry; undefined in the padding."""
    valid: Bool[Tensor, "batch frames"]
    quantized: Float[Tensor, "batch frames dim"]
    """The nearest entry; its gradient goes straight through to `frames`."""
    log_probabilities: Float[Tensor, "batch frames size"]
    """Log-softmax of minus the Euclidean distance, not squared: with normal frames and entries its
    spread does not depend on the dimension, and there is no temperature to tune."""
    commitment: Float[Tensor, ""]
    """Mean squared distance of valid frames from their entry; pulls the frames only."""


class SharedEntries(EmaCodebook):
    """The entries: moving averages, without smoothing, of the frames of all modalities and ranks.

    `collect` is called for every modality and micro-batch; `update_ema` once a step.
    """

    kind: ClassVar[str] = "shared_entries"
    modality_counts: Float[Tensor, "modalities size"]
    """Moving average of how often each modality chose each entry."""
    modality_idle: Int[Tensor, "modalities size"]
    """Steps since each modality last chose each entry."""

    def __init__(self, modalities: Sequence[str], config: SharedCodebookConfig) -> None:
        super().__init__(
            config.dim, config.codebook_size, decay=config.decay, smoothing=0.0,
            idle_steps=config.idle_steps, seed=config.seed,
        )  # fmt: skip
        self.modalities, self.config = tuple(modalities), config
        shape = (len(self.modalities), config.codebook_size)
        self.register_buffer("modality_counts", torch.zeros(shape))
        self.register_buffer("modality_idle", torch.zeros(shape, dtype=torch.long))
        self._new_counts: Tensor | None = None
        self._new_sums: Tensor | None = None

    def settings(self) -> dict[str, Any]:
        """What decides how they learn."""
        return {"modalities": list(self.modalities), "config": plain(self.config)}

    def collect(
        self, modality: str, frames: Float[Tensor, "frames dim"], codes: Int64[Tensor, " frames"]
    ) -> None:
        """Note which frames chose what; nothing in evaluation, or without gradients."""
        if not (self.training and torch.is_grad_enabled()):
            return
        if self._new_counts is None or self._new_sums is None:
            self._new_counts = torch.zeros_like(self.modality_counts)
            self._new_sums = torch.zeros_like(self.sums)
        counts = torch.bincount(codes, minlength=self.codebook_size)
        self._new_counts[self.modalities.index(modality)] += counts.to(self._new_counts)
        self._new_sums.index_add_(0, codes, frames.detach().to(self._new_sums))

    @torch.no_grad()
    def update_ema(self) -> None:
        """Update moving averages with what was collected since the last time, on all ranks."""
        if self._new_counts is None or self._new_sums is None:
            return
        counts, sums = distributed.total(self._new_counts), distributed.total(self._new_sums)
        self._new_counts = self._new_sums = None
        before = self.entries.clone()
        self.move(counts.sum(dim=0), sums)
        self._hold(self.counts < _LEAST_COUNT, before)
        self.modality_counts.lerp_(counts, 1 - self.decay)
        self.modality_idle.add_(1).masked_fill_(counts > 0, 0)
        self._restart(chosen=counts.sum(dim=0) > 0)
        self.step += 1

    def _hold(self, forgotten: Bool[Tensor, " size"], entries: Float[Tensor, "size dim"]) -> None:
        """Keep entries in place whose counts and sums would underflow."""
        self.entries[forgotten] = entries[forgotten]
        self.counts[forgotten] = _LEAST_COUNT
        self.sums[forgotten] = _LEAST_COUNT * entries[forgotten]

    def _restart(self, chosen: Bool[Tensor, " size"]) -> None:
        """Start unwanted entries again at random chosen ones, the same on all ranks."""
        by_modality = self.modality_idle >= self.idle_steps
        dead = by_modality.any(dim=0) if self.config.wanted_by == "all" else by_modality.all(dim=0)
        sources = (chosen & ~dead).nonzero()[:, 0]
        if not len(sources) or not dead.any():
            return
        generator = np.random.default_rng((self.seed, int(self.step)))
        rows = generator.integers(len(sources), size=int(dead.sum()))
        noise = generator.standard_normal((len(rows), self.dim), np.float32)
        values = self.entries[sources[torch.from_numpy(rows).to(sources.device)]]
        scale = _NOISE * self.entries.square().mean().sqrt()
        self.set_entries(values + scale * torch.from_numpy(noise).to(values), dead)
        self.modality_counts[:, dead] = 0.0
        self.modality_idle[:, dead] = 0


class SharedCodebook(nn.Module):
    """Maps and norms of the modalities before one codebook.

    Example:
        >>> config = SharedCodebookConfig(codebook_size=16, dim=4)
        >>> codebook = SharedCodebook({"speech": 8, "text": 6}, config)
        >>> valid = torch.ones(2, 5, dtype=torch.bool)
        >>> assigned = codebook("text", torch.randn(2, 5, 6), valid)
        >>> assigned.codes.shape, assigned.log_probabilities.shape
        (torch.Size([2, 5]), torch.Size([2, 5, 16]))
    """

    def __init__(self, modality_dims: Mapping[str, int], config: SharedCodebookConfig) -> None:
        """Start from normal entries and random maps.

        Args:
            modality_dims: Name of each modality to the dimension of its frames.
            config: What they share.
        """
        super().__init__()
        self.config = config
        self.maps = nn.ModuleDict(
            {s: nn.Linear(dim, config.dim) for s, dim in modality_dims.items()}
        )
        self.norms = nn.ModuleDict({modality: FrameNorm(config.dim) for modality in modality_dims})
        self.entries = SharedEntries(tuple(modality_dims), config)

    def project(
        self,
        modality: str,
        frames: Float[Tensor, "batch frames modality_dim"],
        valid: Bool[Tensor, "batch frames"],
    ) -> Float[Tensor, "batch frames dim"]:
        """Map a modality's frames to the codebook's space.

        Raises:
            UserError: The modality is not one of the codebook's.
        """
        if modality not in self.maps:
            raise UserError(
                f"no modality {modality!r}{did_you_mean(modality, self.maps)}: the codebook is of "
                f"{', '.join(self.maps)}"
            )
        # Outside of autocast: rounding would decide between entries.
        with torch.autocast(frames.device.type, enabled=False):
            mapped: Tensor = self.maps[modality](frames.to(self.entries.entries))
            if not self.config.batch_norm:
                return mapped.masked_fill(~valid[..., None], 0.0)
            return self.norms[modality](mapped, valid)

    def forward(
        self,
        modality: str,
        frames: Float[Tensor, "batch frames modality_dim"],
        valid: Bool[Tensor, "batch frames"],
    ) -> Assigned:
        """Assign a modality's frames to entries as they are; in training, remember the choices.

        Args:
            modality: Whose frames.
            frames: Output of the modality's encoder.
            valid: False marks padding, which reaches neither statistics nor entries.
        """
        projected = self.project(modality, frames, valid)
        flat = projected.flatten(0, 1)
        # A copy: entries change in place after the step, and the backward pass needs these.
        entries = self.entries.entries.clone()
        with torch.autocast(frames.device.type, enabled=False):
            codes = nearest_entries(flat.detach(), entries)
            log_probabilities = frame_log_probabilities(flat, entries)
        chosen = entries[codes]
        flat_valid = valid.flatten()
        distances = (flat - chosen).square().mean(dim=1).masked_fill(~flat_valid, 0.0)
        self.entries.collect(modality, flat[flat_valid], codes[flat_valid])
        return Assigned(
            frames=projected,
            codes=codes.view(valid.shape),
            valid=valid,
            quantized=(flat + (chosen - flat).detach()).view_as(projected),
            log_probabilities=log_probabilities.view(*valid.shape, -1),
            commitment=distances.sum() / flat_valid.sum().clamp(min=1),
        )

    def update_ema(self) -> None:
        """Update the entries: once after each step of the optimizer."""
        self.entries.update_ema()


def frame_log_probabilities(
    frames: Float[Tensor, "frames dim"], entries: Float[Tensor, "size dim"]
) -> Float[Tensor, "frames size"]:
    """Compute the log-softmax over entries of minus the Euclidean distance (eq. for p(v | l))."""
    frames, entries = around_mean(frames, entries)
    squares = torch.addmm(entries.square().sum(dim=1), frames, entries.T, alpha=-2.0)
    squares = squares + frames.square().sum(dim=1, keepdim=True)
    # The square root has no gradient at 0.
    return F.log_softmax(-squares.clamp(min=1e-6).sqrt(), dim=1)
