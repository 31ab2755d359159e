"""X-ARES (Zhang et al., Interspeech 2025): a linear head behind a layer norm, and 10 neighbors.

Source: `xares` 0.1.3, `trainer.py` and `models/simple.py`. Clips are the mean over their frames
(`--embedding.layers '[output]'`). Where a task has folds, or no validation split, X-ARES keeps the
epoch that is best on the test items: variant "official". Variant "clean" keeps the one that is best
on a fold, or a tenth of the training groups, held out of training. The two agree elsewhere. The
neighbors of X-ARES are to be nearest by cosine, but it transposes training vectors before it
normalizes them, so that dimensions have norm 1 over all vectors: "official". "clean" is the cosine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from audiossl.configs import Count, Positive, Whole
from audiossl.probing.heads import HeadPlan, fit_heads
from audiossl.probing.probe import Fitted, Problem


@dataclass(frozen=True, kw_only=True)
class XaresLinearConfig:
    """Layer norm and a linear map, trained by Adam at a rate that falls to a tenth."""

    kind: Literal["xares_linear"] = "xares_linear"
    variant: Literal["official", "clean"] = "official"
    """Epoch that is kept, where a task has folds or no validation split: best on the test items
    (official), or on others (clean)."""
    rate: Positive = 1e-3
    """Learning rate of the first epoch."""
    epochs: Count = 10
    """Number of epochs: 5 for ASV2015, 3 for FMA and FSDKaggle2018, 20 for Vocal Imitation."""
    batch_size: Count = 32
    """Number of clips in a batch."""
    seeds: tuple[Whole, ...] = (42,)
    """Random seeds; scores are averaged over several."""

    @property
    def validates_on_test(self) -> bool:
        """Whether test items are validation items, where nothing says which are."""
        return self.variant == "official"


@dataclass(frozen=True, kw_only=True)
class XaresNeighborsConfig:
    """Ten nearest neighbors; nothing is chosen."""

    kind: Literal["xares_knn"] = "xares_knn"
    variant: Literal["official", "clean"] = "official"
    """Scale of training vectors: each dimension brought to norm 1 over all of them (official), or
    each vector (clean)."""
    neighbors: Count = 10
    """Number of neighbors."""
    temperature: Positive = 0.07
    """Temperature of the softmax over their similarities."""
    validates_on_test = True


def fit_xares_linear(
    config: XaresLinearConfig, problems: Mapping[str, Problem], device: torch.device | None = None
) -> dict[str, Fitted]:
    """Train the head and keep the first epoch with the best validation score."""
    plan = HeadPlan(
        norm="layer",
        rates=(config.rate,),
        seeds=config.seeds,
        batch_size=config.batch_size,
        epochs=config.epochs,
        final_rate=0.1,
    )
    return fit_heads(plan, problems, device)


def fit_xares_neighbors(config: XaresNeighborsConfig, problem: Problem) -> Fitted:
    """Let the ten nearest training clips vote, by the softmax of their similarities.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0, 1], [1, 1], [9, -5], [8, -5]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> config = XaresNeighborsConfig(neighbors=2, variant="clean")
        >>> fit_xares_neighbors(config, problem).validation
        1.0
    """
    each = 1 if config.variant == "clean" else 0
    known = torch.nn.functional.normalize(torch.from_numpy(problem.train.vectors), dim=each)
    targets = torch.from_numpy(problem.train.row_targets).float()
    count = min(config.neighbors, len(known))

    def predict(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "runs rows classes"]:
        rows = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
        cosines, nearest = (rows @ known.T).topk(count)
        shares = (cosines / config.temperature).softmax(dim=1)
        # Sums of shares may round to more than 1.
        return (shares[:, :, None] * targets[nearest]).sum(dim=1).clamp(max=1.0).numpy()[None]

    return Fitted({}, problem.validation(predict(problem.valid.vectors)[0]), predict)
