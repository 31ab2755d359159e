"""EVAR's linear evaluation (Niizumi et al.), as BYOL-A, M2D and MSM-MAE report it.

Source: github.com/nttcslab/eval-audio-repr, `lineareval.py` and `TorchMLPClassifier2`: standardized
embeddings, a linear map, Adam, 20 epochs of patience. `2pass_lineareval.py` repeats it three times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from audiossl.configs import Count, Positive, Whole
from audiossl.probing.heads import HeadPlan, fit_heads
from audiossl.probing.probe import Fitted, Problem


@dataclass(frozen=True, kw_only=True)
class EvarConfig:
    """A linear map of standardized embeddings, stopped early on validation items."""

    kind: Literal["evar"] = "evar"
    rates: tuple[Positive, ...] = (3e-4,)
    """Learning rates to choose from; EVAR's configs name one for each encoder, mostly 0.0003."""
    epochs: Count = 200
    """Maximum number of epochs."""
    patience: Count = 20
    """Number of epochs without a better validation score after which training stops."""
    batch_size: Count = 200
    """Number of clips in a batch."""
    seeds: tuple[Whole, ...] = (42, 43, 44)
    """Random seeds of the repetitions, whose scores are averaged."""


def fit_evar(
    config: EvarConfig, problems: Mapping[str, Problem], device: torch.device | None = None
) -> dict[str, Fitted]:
    """Train the map, and keep its best epoch.

    Example:
        >>> import numpy as np
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> fit_evar(EvarConfig(epochs=2), {"clip": problem})["clip"].predict(rows).shape
        (3, 4, 2)
    """
    plan = HeadPlan(
        norm="standard",
        rates=config.rates,
        seeds=config.seeds,
        batch_size=config.batch_size,
        epochs=config.epochs,
        patience=config.patience,
        weight_decay=1e-8,
    )
    return fit_heads(plan, problems, device)
