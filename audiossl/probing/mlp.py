"""MLP probe: one hidden layer on standardized embeddings, stopped early on validation items.

Seeds and learning rates are independent networks. On an accelerator the weights of all are stacked
and one batched product serves them; on a CPU as many are trained at once as its cache holds. Which
are trained together changes nothing: each has its own draws, and keeps the weights of its own best
epoch.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.probing.probe import Examples, Fitted, Problem, Standardizer

_CACHE = 2**23
"""Bytes of a CPU's cache that training may count on."""


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """One hidden layer with ReLU and dropout, trained by Adam."""

    kind: Literal["mlp"] = "mlp"
    hidden: int = 512
    """Width of the hidden layer."""
    rates: tuple[float, ...] = (1e-3, 5e-3)
    """Learning rates to choose from, by the mean over seeds."""
    seeds: int = 3
    """Number of random seeds; scores are averaged over the networks trained from them."""
    dropout: float = 0.2
    """Dropout probability of hidden values."""
    batch_size: int = 64
    """Number of rows in a batch."""
    max_epochs: int = 100
    """Maximum number of epochs."""
    patience: int = 10
    """Number of epochs without a better validation score after which training stops."""


@dataclass(frozen=True)
class _Run:
    """One network of a sweep."""

    rate: float
    seed: int


@dataclass(frozen=True)
class _Rows:
    """Standardized embeddings and their targets, on the device that trains."""

    problem: Problem
    train: Float[Tensor, "rows dim"]
    targets: Float[Tensor, "rows classes"]
    valid: Float[Tensor, "valid dim"]


def fit_mlp(config: MlpConfig, problem: Problem, device: torch.device | None = None) -> Fitted:
    """Train `seeds` networks for each rate, and keep the rate that validates best.

    Example:
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> config = MlpConfig(hidden=8, rates=(0.01,), seeds=2, max_epochs=3)
        >>> fitted = fit_mlp(config, Problem(examples, examples, "single", "accuracy"))
        >>> fitted.predict(rows).shape  # seeds, rows, classes
        (2, 4, 2)
    """
    device = device or torch.device("cpu")
    scaled = Standardizer(problem.train.vectors)
    train, valid = _on(device, scaled, problem.train), _on(device, scaled, problem.valid)
    targets = torch.from_numpy(problem.train.row_targets).float().to(device)
    rows = _Rows(problem, train, targets, valid)
    runs = [_Run(rate, seed) for rate in config.rates for seed in range(config.seeds)]
    size = _runs_at_once(config, rows)
    trained = [
        _trained(config, runs[first : first + size], rows) for first in range(0, len(runs), size)
    ]
    by_rate = torch.cat([scores for scores, _ in trained]).view(len(config.rates), config.seeds)
    rate = int(by_rate.mean(dim=1).argmax())
    chosen = slice(rate * config.seeds, (rate + 1) * config.seeds)
    weights = [
        torch.cat(parts)[chosen]
        for parts in zip(*(best_weights for _, best_weights in trained), strict=True)
    ]

    def predict(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "runs rows classes"]:
        return _probabilities(weights, torch.from_numpy(scaled(vectors)).to(device), problem.kind)

    return Fitted({"rate": config.rates[rate]}, float(by_rate[rate].mean()), predict)


def _runs_at_once(config: MlpConfig, rows: _Rows) -> int:
    """Count the networks whose weights, gradients and moments stay in a CPU's cache."""
    if rows.train.device.type != "cpu":
        return len(config.rates) * config.seeds
    weights = (rows.train.shape[1] + rows.targets.shape[1] + 1) * config.hidden
    return max(1, _CACHE // (4 * 4 * weights))


def _trained(
    config: MlpConfig, runs: list[_Run], rows: _Rows
) -> tuple[Float[Tensor, " runs"], list[Tensor]]:
    """Train networks together; give the best validation score of each, and its weights there."""
    networks = _Networks(config, runs, rows)
    best = torch.full((len(runs),), -1.0, dtype=torch.float64)
    best_weights, waited = (
        [weights.detach().clone() for weights in networks.weights],
        torch.zeros(len(runs)),
    )
    for epoch in range(config.max_epochs):
        networks.learn(epoch)
        probabilities = _probabilities(networks.weights, rows.valid, rows.problem.kind)
        scores = torch.tensor(
            [rows.problem.validation(run) for run in probabilities], dtype=torch.float64
        )
        better = (scores > best) & (waited < config.patience)
        best, waited = torch.where(better, scores, best), torch.where(better, 0, waited + 1)
        for run in better.nonzero().flatten().tolist():
            for old, new in zip(best_weights, networks.weights, strict=True):
                old[run] = new.detach()[run]
        if bool((waited >= config.patience).all()):
            break
    return best, best_weights


class _Networks:
    """Stacked networks: a row of every tensor for each run."""

    def __init__(self, config: MlpConfig, runs: list[_Run], rows: _Rows) -> None:
        self.config, self.runs, self.rows = config, runs, rows
        dim, classes = rows.train.shape[1], rows.targets.shape[1]
        shapes = [(dim, config.hidden), (config.hidden, classes)]
        self.weights = [
            tensor.to(rows.train.device).requires_grad_() for tensor in _beginnings(runs, shapes)
        ]
        self._views = [
            [weights.detach()[run : run + 1] for weights in self.weights]
            for run in range(len(runs))
        ]
        self.optimizer = torch.optim.Adam(
            [
                {"params": views, "lr": run.rate}
                for views, run in zip(self._views, runs, strict=True)
            ],
            fused=True,
        )

    def learn(self, epoch: int) -> None:
        """Pass over the training rows once, in the same order for all networks."""
        rows, device = self.rows, self.rows.train.device
        generators = {
            run.seed: torch.Generator(device).manual_seed(1000 * run.seed + epoch)
            for run in self.runs
        }
        order = torch.randperm(len(rows.train), generator=torch.Generator().manual_seed(epoch))
        for chosen in order.to(device).split(self.config.batch_size):
            logits = _logits(
                self.weights, rows.train[chosen], self._dropped(len(chosen), generators)
            )
            wanted = rows.targets[chosen].expand(len(self.runs), -1, -1)
            loss = _losses(logits, wanted, rows.problem.kind).sum()
            self._update(torch.autograd.grad(loss, self.weights))

    def _dropped(self, size: int, generators: dict[int, torch.Generator]) -> Tensor | None:
        """Draw the factors of hidden values: 0, or what makes up for the others."""
        share, hidden = self.config.dropout, self.config.hidden
        if not share:
            return None
        draws = {
            seed: torch.rand(size, hidden, generator=generator, device=generator.device)
            for seed, generator in generators.items()
        }
        dropout = {seed: (draw >= share) * (1 / (1 - share)) for seed, draw in draws.items()}
        return torch.stack([dropout[run.seed] for run in self.runs])

    def _update(self, gradients: tuple[Tensor, ...]) -> None:
        """Step as Adam does, each network with its own rate."""
        for run, views in enumerate(self._views):
            for view, gradient in zip(views, gradients, strict=True):
                view.grad = gradient[run : run + 1]
        self.optimizer.step()


def _logits(weights: list[Tensor], rows: Tensor, dropped: Tensor | None = None) -> Tensor:
    first, first_bias, second, second_bias = weights
    hidden = F.relu(torch.baddbmm(first_bias, rows.expand(len(first), -1, -1), first))
    if dropped is not None:
        hidden = hidden * dropped
    return torch.baddbmm(second_bias, hidden, second)


def _probabilities(
    weights: list[Tensor], rows: Tensor, kind: str
) -> Float[np.ndarray, "networks rows classes"]:
    """Compute the probability of every class by every network."""
    with torch.no_grad():
        logits = _logits(weights, rows)
        probabilities = logits.sigmoid() if kind == "multi" else logits.softmax(dim=2)
    return probabilities.cpu().numpy()


def _beginnings(runs: list[_Run], shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Draw weights as `nn.Linear` does; a seed draws the same for every rate."""
    tensors: list[Tensor] = []
    for inputs, outputs in shapes:
        bound = inputs**-0.5
        for size in ((inputs, outputs), (1, outputs)):
            draws = [
                torch.empty(size).uniform_(
                    -bound,
                    bound,
                    generator=torch.Generator().manual_seed(1000 * run.seed + len(tensors)),
                )
                for run in runs
            ]
            tensors.append(torch.stack(draws))
    return tensors


def _losses(logits: Tensor, targets: Tensor, kind: str) -> Float[Tensor, " networks"]:
    """Average over rows, and over classes where each is a question of its own."""
    if kind == "multi":
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return losses.mean(dim=(1, 2))
    return -(targets * logits.log_softmax(dim=2)).sum(dim=2).mean(dim=1)


def _on(device: torch.device, scaled: Standardizer, examples: Examples) -> Tensor:
    return torch.from_numpy(scaled(examples.vectors)).to(device)
