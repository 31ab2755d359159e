"""MARBLE (Yuan et al., NeurIPS 2023), music: one hidden layer of 512 behind the mean over time.

Source: github.com/a43992899/MARBLE, version 2, configs of MTT and GTZANGenre: Adam at 0.001, halved
after 3 epochs without a better validation score, stopped after 10. The shipped configs keep the
last checkpoint rather than the best one: variant "official". Variant "clean" keeps the best.
Version 1 chooses among rates: `rates: [0.01, 0.005, 0.001, 0.0005, 0.0001]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from audiossl.configs import Count, Positive, Share, Whole
from audiossl.probing.heads import HeadPlan, fit_heads
from audiossl.probing.probe import Fitted, Problem


@dataclass(frozen=True, kw_only=True)
class MarbleConfig:
    """One hidden layer with ReLU and dropout, on embeddings as they are."""

    kind: Literal["marble"] = "marble"
    variant: Literal["official", "clean"] = "official"
    """Epoch whose weights are kept: the last (official), or the best on validation (clean)."""
    hidden: Count = 512
    """Width of the hidden layer."""
    dropout: Share = 0.2
    """Dropout probability of hidden values."""
    rates: tuple[Positive, ...] = (1e-3,)
    """Learning rates to choose from."""
    epochs: Count = 50
    """Maximum number of epochs: 50 for MTT, 100 for GTZAN."""
    plateau: Whole = 3
    """Number of epochs without a better validation score after which the rate is halved."""
    patience: Count = 10
    """Number of epochs without a better validation score after which training stops: 10 for MTT, 20
    for GTZAN."""
    batch_size: Count = 32
    """Number of clips in a batch."""
    seeds: tuple[Whole, ...] = (1234,)
    """Random seeds; scores are averaged over several."""


def fit_marble(
    config: MarbleConfig, problems: Mapping[str, Problem], device: torch.device | None = None
) -> dict[str, Fitted]:
    """Train the head.

    Example:
        >>> import numpy as np
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> fit_marble(MarbleConfig(epochs=2), {"clip": problem})["clip"].predict(rows).shape
        (1, 4, 2)
    """
    plan = HeadPlan(
        norm="none",
        hidden=config.hidden,
        dropout=config.dropout,
        rates=config.rates,
        seeds=config.seeds,
        batch_size=config.batch_size,
        epochs=config.epochs,
        plateau=config.plateau,
        patience=config.patience,
        keep="last" if config.variant == "official" else "best",
    )
    return fit_heads(plan, problems, device)
