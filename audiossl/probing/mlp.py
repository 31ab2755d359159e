"""MLP probe: one hidden layer on standardized embeddings, stopped early on validation items.

All seeds and learning rates are trained at once: they are independent networks whose weights are
stacked, and one batched product serves all of them. Each keeps the weights of its own best epoch.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.probing.probe import Examples, Fitted, Problem, Standardizer


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """One hidden layer with ReLU and dropout, trained by Adam."""

    kind: Literal["mlp"] = "mlp"
    hidden: int = 512
    """Width of the hidden layer."""
    rates: tuple[float, ...] = (1e-3, 5e-3)
    """Learning rates to choose from, by the mean over seeds."""
    seeds: int = 3
    """Networks that are trained from different beginnings; scores are averaged over them."""
    dropout: float = 0.2
    """Share of hidden values that is left out in training."""
    batch_size: int = 64
    """Rows a step."""
    max_epochs: int = 100
    """Passes over the training rows at most."""
    patience: int = 10
    """Epochs without a better validation score after which a network is done."""


def fit_mlp(config: MlpConfig, problem: Problem, device: torch.device | None = None) -> Fitted:
    """Train `seeds` networks for each rate, and keep the rate that validates best."""
    device = device or torch.device("cpu")
    scaled = Standardizer(problem.train.vectors)
    train, valid = _on(device, scaled, problem.train), _on(device, scaled, problem.valid)
    networks = _Networks(config, train.shape[1], problem.train.targets.shape[1], device)
    targets = torch.from_numpy(problem.train.row_targets).float().to(device)
    best = torch.full((networks.count,), -1.0, dtype=torch.float64)
    kept, waited = networks.state(), torch.zeros(networks.count)
    for epoch in range(config.max_epochs):
        networks.learn(train, targets, problem.kind, epoch)
        said = networks.probabilities(valid, problem.kind)
        scores = torch.tensor([problem.validation(run) for run in said], dtype=torch.float64)
        better = scores > best
        best = torch.where(better, scores, best)
        kept = [_chosen(better, new, old) for new, old in zip(networks.state(), kept, strict=True)]
        waited = torch.where(better, 0, waited + 1)
        if bool((waited >= config.patience).all()):
            break
    by_rate = best.view(len(config.rates), config.seeds)
    rate = int(by_rate.mean(dim=1).argmax())
    chosen = slice(rate * config.seeds, (rate + 1) * config.seeds)
    networks.load(kept)

    def predict(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "runs rows classes"]:
        rows = torch.from_numpy(scaled(vectors)).to(device)
        return networks.probabilities(rows, problem.kind)[chosen]

    return Fitted({"rate": config.rates[rate]}, float(by_rate[rate].mean()), predict)


class _Networks:
    """Stacked networks: a row of every tensor for each (rate, seed)."""

    def __init__(self, config: MlpConfig, dim: int, classes: int, device: torch.device) -> None:
        self.config = config
        self.count = len(config.rates) * config.seeds
        self.parameters = [
            tensor.to(device).requires_grad_()
            for tensor in _beginnings(config, [(dim, config.hidden), (config.hidden, classes)])
        ]
        rates = torch.tensor(config.rates, device=device).repeat_interleave(config.seeds)
        self.rates = rates[:, None, None]
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self.steps = 0

    def learn(self, rows: Tensor, targets: Tensor, kind: str, epoch: int) -> None:
        """Pass over the training rows once, in the same order for all networks."""
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        for chosen in order.split(self.config.batch_size):
            logits = self._logits(rows[chosen], generator)
            wanted = targets[chosen].expand(self.count, -1, -1)
            loss = _losses(logits, wanted, kind).sum()
            self._update(torch.autograd.grad(loss, self.parameters))

    def probabilities(self, rows: Tensor, kind: str) -> Float[np.ndarray, "networks rows classes"]:
        """Say what each network gives every class."""
        with torch.no_grad():
            logits = self._logits(rows, None)
            said = logits.sigmoid() if kind == "multi" else logits.softmax(dim=2)
        return said.cpu().numpy()

    def state(self) -> list[Tensor]:
        """Copy the weights."""
        return [parameter.detach().clone() for parameter in self.parameters]

    def load(self, state: list[Tensor]) -> None:
        """Take weights back."""
        self.parameters = state

    def _logits(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        first, first_bias, second, second_bias = self.parameters
        hidden = F.relu(torch.baddbmm(first_bias, rows.expand(self.count, -1, -1), first))
        if generator is not None and self.config.dropout:
            draws = torch.rand(hidden.shape, generator=generator).to(hidden.device)
            hidden = hidden * (draws >= self.config.dropout) / (1 - self.config.dropout)
        return torch.baddbmm(second_bias, hidden, second)

    def _update(self, gradients: tuple[Tensor, ...]) -> None:
        """Step as Adam does; written out because each network has its own rate."""
        self.steps += 1
        for parameter, gradient, (mean, square) in zip(
            self.parameters, gradients, self.moments, strict=True
        ):
            mean.lerp_(gradient, 1 - 0.9)
            square.lerp_(gradient.square(), 1 - 0.999)
            unbiased = mean / (1 - 0.9**self.steps)
            scale = (square / (1 - 0.999**self.steps)).sqrt() + 1e-8
            with torch.no_grad():
                parameter -= self.rates * unbiased / scale


def _beginnings(config: MlpConfig, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Draw weights as `nn.Linear` does; a seed draws the same for every rate."""
    tensors: list[Tensor] = []
    for inputs, outputs in shapes:
        bound = inputs**-0.5
        for size in ((inputs, outputs), (1, outputs)):
            draws = [
                torch.empty(size).uniform_(
                    -bound,
                    bound,
                    generator=torch.Generator().manual_seed(1000 * seed + len(tensors)),
                )
                for seed in range(config.seeds)
            ]
            tensors.append(torch.stack(draws).repeat(len(config.rates), 1, 1))
    return tensors


def _losses(logits: Tensor, targets: Tensor, kind: str) -> Float[Tensor, " networks"]:
    """Average over rows, and over classes where each is a question of its own."""
    if kind == "multi":
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return losses.mean(dim=(1, 2))
    return -(targets * logits.log_softmax(dim=2)).sum(dim=2).mean(dim=1)


def _chosen(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.to(new.device)[:, None, None], new, old)


def _on(device: torch.device, scaled: Standardizer, examples: Examples) -> Tensor:
    return torch.from_numpy(scaled(examples.vectors)).to(device)
