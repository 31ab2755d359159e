"""Attentive probe: one learned query attends to the frames of a clip, a linear map classifies.

The mean over frames washes out what only a few of them carry; attention can weigh those.

Source: github.com/apple/ml-aim, `AttentionPoolingClassifier` (El-Nouby et al., ICML 2024): keys and
values by linear maps without bias of normalized frames, one query, no map behind the heads. The
probe of V-JEPA is larger, with an MLP; of its configs (github.com/facebookresearch/jepa,
`configs/evals/vitl16_k400_16x8x3.yaml`) are 20 epochs, weight decay 0.01, the rate 0.001 and its
cosine schedule. Ours: heads of a width of their own, as dimensions of audio encoders often cannot
be divided by 12; a bias in the linear map; frames are standardized by their statistics over
training, which is a batch norm without weights at the end of training; the rate and epoch that
validate best are kept.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Count, Nonnegative, Positive
from audiossl.nn.lengths import valid_mask
from audiossl.nn.padding import padded
from audiossl.probing.frame_tracks import Track
from audiossl.probing.heads import probabilities
from audiossl.probing.probe import Examples, Problem, Standardizer
from audiossl.probing.tasks import Split, Task


@dataclass(frozen=True, kw_only=True)
class AttentiveConfig:
    """Attention of one learned query over the frames of a clip, then a linear map."""

    kind: Literal["attentive"] = "attentive"
    heads: Count = 8
    """Number of attention heads."""
    head_dim: Count = 64
    """Dimension of the keys and values of a head."""
    rates: tuple[Positive, ...] = (1e-3, 3e-4)
    """Learning rates to choose from, by the mean over seeds."""
    seeds: Count = 3
    """Number of random seeds; scores are averaged over the heads trained from them."""
    weight_decay: Nonnegative = 0.01
    """Weight decay of AdamW."""
    batch_size: Count = 32
    """Number of clips in a batch."""
    epochs: Count = 20
    """Number of epochs, over which the rate falls as a cosine."""


class AttentiveHead(nn.Module):
    """Frames of clips to logits.

    >>> head = AttentiveHead(dim=6, classes=3, config=AttentiveConfig(heads=2, head_dim=4))
    >>> head(torch.randn(2, 5, 6), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])).shape
    torch.Size([2, 3])
    """

    def __init__(self, dim: int, classes: int, config: AttentiveConfig) -> None:
        super().__init__()
        width = config.heads * config.head_dim
        self.query = nn.Parameter(0.02 * torch.randn(config.heads, config.head_dim))
        self.keys, self.values = (nn.Linear(dim, width, bias=False) for _ in range(2))
        self.output = nn.Linear(width, classes)

    def forward(
        self, frames: Float[Tensor, "clips frames dim"], valid: Bool[Tensor, "clips frames"]
    ) -> Float[Tensor, "clips classes"]:
        """Compute logits; frames that are not valid have no weight."""
        heads, width = self.query.shape
        keys = self.keys(frames).unflatten(2, (heads, width))
        scores = torch.einsum("cfhw,hw->cfh", keys, self.query) / math.sqrt(width)
        shares = scores.masked_fill(~valid[..., None], float("-inf")).softmax(dim=1)
        values = self.values(frames).unflatten(2, (heads, width))
        return self.output(torch.einsum("cfh,cfhw->chw", shares, values).flatten(1))


@dataclass(frozen=True)
class FittedHeads:
    """Heads of one rate, one of each seed."""

    choice: dict[str, float]
    """Rate that validates best."""
    validation: float
    """Validation score at that rate, averaged over seeds."""
    predict: Callable[[Examples], Float[np.ndarray, "runs items classes"]]
    """Probabilities of the classes of clips, by each seed."""


def fit_attentive(
    config: AttentiveConfig, problem: Problem, device: torch.device | None = None
) -> FittedHeads:
    """Train a head for each rate and seed, and keep the rate that validates best.

    Args:
        config: What is trained, and how.
        problem: Examples whose rows are frames, clip after clip.
        device: Where it is done; the CPU by default.

    Example:
        >>> frames, clips = np.random.default_rng(0).normal(size=(2, 12, 4)).astype(np.float32)
        >>> clip_of = np.repeat(np.arange(4), 3)
        >>> examples = Examples(frames, clip_of, np.eye(2, dtype=bool)[[0, 1, 0, 1]])
        >>> config = AttentiveConfig(heads=2, head_dim=4, seeds=2, epochs=2)
        >>> fitted = fit_attentive(config, Problem(examples, examples, "single", "accuracy"))
        >>> fitted.predict(examples).shape  # seeds, clips, classes
        (2, 4, 2)
    """
    training = _Training(
        config, problem, Standardizer(problem.train.vectors), device or torch.device("cpu")
    )
    by_rate = [[training.run(rate, seed) for seed in range(config.seeds)] for rate in config.rates]
    means = [float(np.mean([score for score, _ in runs])) for runs in by_rate]
    best = int(np.argmax(means))
    heads = [head for _, head in by_rate[best]]
    return FittedHeads(
        {"rate": config.rates[best]},
        means[best],
        lambda examples: np.stack([training.predicted(head, examples) for head in heads]),
    )


def frames_of_items(task: Task, track: Track, split: Split) -> Examples:
    """Find the frames of the items of a split; their rows are frames, item after item."""
    rows = task.rows(split)
    parts = track.rows(task.cuts[rows])
    counts = [part.stop - part.start for part in parts]
    vectors = np.concatenate([track.vectors[part] for part in parts])
    return Examples(vectors, np.repeat(np.arange(len(rows)), counts), task.targets[rows])


@dataclass(frozen=True)
class _Training:
    config: AttentiveConfig
    problem: Problem
    scaled: Standardizer
    device: torch.device

    def run(self, rate: float, seed: int) -> tuple[float, AttentiveHead]:
        """Train one head; give its best validation score, and the head as it was then."""
        head, valid, order = self._beginning(seed), self.problem.valid, np.random.default_rng(seed)
        decay = self.config.weight_decay
        optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.config.epochs)
        best, kept = -np.inf, head
        for _ in range(self.config.epochs):
            for frames, in_clip, clips in self._batches(self.problem.train, order):
                optimizer.zero_grad()
                self._loss(head(frames, in_clip), clips).backward()
                optimizer.step()
            schedule.step()
            score = self.problem.validation(self.predicted(head, valid)[valid.items])
            if score > best:
                best, kept = score, copy.deepcopy(head)
        return best, kept

    @torch.no_grad()
    def predicted(
        self, head: AttentiveHead, examples: Examples
    ) -> Float[np.ndarray, "items classes"]:
        """Compute the probability of every class of clips."""
        parts = [head(frames, valid) for frames, valid, _ in self._batches(examples)]
        return probabilities(torch.cat(parts)[None], self.problem.kind)[0]

    def _beginning(self, seed: int) -> AttentiveHead:
        train = self.problem.train
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = AttentiveHead(train.vectors.shape[1], train.targets.shape[1], self.config)
        return head.to(self.device)

    def _loss(self, logits: Tensor, clips: Int[np.ndarray, " clips"]) -> Tensor:
        targets = torch.from_numpy(self.problem.train.targets[clips]).float().to(self.device)
        if self.problem.kind == "multi":
            return F.binary_cross_entropy_with_logits(logits, targets)
        return F.cross_entropy(logits, targets)

    def _batches(
        self, examples: Examples, order: np.random.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Int[np.ndarray, " clips"]]]:
        """Yield frames of some clips, which of them are valid, and the clips; by chance or not."""
        count = len(examples.targets)
        starts = np.searchsorted(examples.items, np.arange(count + 1))
        clips = np.arange(count) if order is None else order.permutation(count)
        for begin in range(0, count, self.config.batch_size):
            chosen = clips[begin : begin + self.config.batch_size]
            frames, lengths = padded(
                self.scaled(examples.vectors[starts[clip] : starts[clip + 1]]) for clip in chosen
            )
            lengths = lengths.to(self.device)
            yield frames.to(self.device), valid_mask(lengths, frames.shape[1]), chosen
