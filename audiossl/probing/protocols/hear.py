"""HEAR 2021 (Turian et al., NeurIPS 2021): an MLP of one or two layers, chosen from eight settings.

Source: github.com/hearbenchmark/hear-eval-kit 2021.1.3, `predictions/task_predictions.py`. Of a
grid of 16, shuffled with seed 42, the first eight are tried, on the first fold; the best one is
trained on the other folds. heareval means to shuffle training rows in every epoch and never does,
as it compares the list of splits with a string: variant "official". "clean" shuffles them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Count, Positive, Share, Whole
from audiossl.preemption import safe_point
from audiossl.probing.probe import Fitted, Problem


@dataclass(frozen=True, kw_only=True)
class HearPoint:
    """A point of the grid."""

    layers: Count
    """Number of hidden layers."""
    rate: Positive
    """Learning rate of Adam."""
    init: Literal["uniform", "normal"]
    """Distribution of the first weights, after Glorot and Bengio."""


GRID = (
    HearPoint(layers=1, rate=1e-4, init="normal"),
    HearPoint(layers=2, rate=1e-3, init="uniform"),
    HearPoint(layers=1, rate=1e-3, init="normal"),
    HearPoint(layers=1, rate=3.2e-4, init="normal"),
    HearPoint(layers=2, rate=3.2e-4, init="normal"),
    HearPoint(layers=2, rate=3.2e-4, init="uniform"),
    HearPoint(layers=2, rate=3.2e-3, init="normal"),
    HearPoint(layers=2, rate=3.2e-3, init="uniform"),
)
"""The settings that HEAR tries, in its order."""


@dataclass(frozen=True, kw_only=True)
class HearConfig:
    """The MLP of HEAR, on embeddings as they are."""

    kind: Literal["hear"] = "hear"
    variant: Literal["official", "clean"] = "official"
    """Order of training rows: the same in every epoch (official), or a new one (clean)."""
    grid: tuple[HearPoint, ...] = GRID
    """Settings to choose from, on the first fold."""
    hidden: Count = 1024
    """Width of hidden layers."""
    dropout: Share = 0.1
    """Dropout probability of hidden values."""
    batch_size: Count = 1024
    """Number of rows in a batch."""
    epochs: Count = 500
    """Maximum number of epochs."""
    check_every: Count = 3
    """Number of epochs from one validation to the next: 10 for DCASE 2016, 1 for MAESTRO."""
    patience: Count = 20
    """Number of validations without a better score after which training stops."""
    seed: Whole = 42
    """Random seed of weights, dropout and order."""

    def settled(self, choice: dict[str, Any]) -> "HearConfig":
        """Keep what the first fold has chosen."""
        wanted = (choice["layers"], choice["rate"], choice["init"])
        kept = [p for p in self.grid if (p.layers, p.rate, p.init) == wanted]
        return replace(self, grid=tuple(kept))


def fit_hear(config: HearConfig, problem: Problem, device: torch.device | None = None) -> Fitted:
    """Train every setting of the grid and keep the first with the best validation score.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> fit_hear(HearConfig(epochs=3, grid=GRID[:2], hidden=8), problem).choice["rate"]
        0.0001
    """
    device = device or torch.device("cpu")
    trained = [trained_mlp(config, point, problem, device) for point in config.grid]
    best = int(np.argmax([score for score, _ in trained]))
    point, (score, network) = config.grid[best], trained[best]

    def predict(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "runs rows classes"]:
        return _predicted(network, torch.from_numpy(vectors).to(device), problem.kind)[None]

    choice = {"layers": point.layers, "rate": point.rate, "init": point.init}
    return Fitted(choice, score, predict)


def trained_mlp(
    config: HearConfig, point: HearPoint, problem: Problem, device: torch.device
) -> tuple[float, nn.Module]:
    """Train one setting; give its best validation score, and the network of that epoch."""
    train = torch.from_numpy(problem.train.vectors).to(device)
    valid = torch.from_numpy(problem.valid.vectors).to(device)
    targets = torch.from_numpy(problem.train.row_targets).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = mlp(config, point, train.shape[1], targets.shape[1]).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=point.rate)
        # heareval reads rows in the order of a shuffle that was made once, with seed 0.
        order = np.random.default_rng(0).permutation(len(train))
        best, waited, kept = -np.inf, 0, network.state_dict()
        for epoch in range(1, config.epochs + 1):
            safe_point()
            if config.variant == "clean":
                order = torch.randperm(len(train)).numpy()
            batches = zip(
                train[order].split(config.batch_size),
                targets[order].split(config.batch_size),
                strict=True,
            )
            _learn(network, optimizer, batches, problem.kind)
            if epoch % config.check_every and epoch != config.epochs:
                continue
            score = problem.validation(_predicted(network, valid, problem.kind))
            waited = waited + 1 if score <= best else 0
            if score > best:
                best = score
                kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            if waited >= config.patience:
                break
    network.load_state_dict(kept)
    return float(best), network


def mlp(config: HearConfig, point: HearPoint, dim: int, classes: int) -> nn.Sequential:
    """Build Linear, BatchNorm, Dropout, ReLU for each hidden layer, and a linear map to logits."""
    modules: list[nn.Module] = []
    gain = "linear"
    for width in [config.hidden] * point.layers:
        linear = nn.Linear(dim, width)
        _xavier(point.init, linear.weight, gain)
        modules += [linear, nn.BatchNorm1d(width), nn.Dropout(config.dropout), nn.ReLU()]
        dim, gain = width, "relu"
    last = nn.Linear(dim, classes)
    _xavier(point.init, last.weight, gain)
    return nn.Sequential(*modules, last)


def _xavier(init: str, weight: Tensor, gain: Any) -> None:
    draw = nn.init.xavier_uniform_ if init == "uniform" else nn.init.xavier_normal_
    draw(weight, gain=nn.init.calculate_gain(gain))


def _learn(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    kind: str,
) -> None:
    network.train()
    for batch, wanted in batches:
        if len(batch) == 1:  # a batch norm has nothing to compare it with
            continue
        logits = network(batch)
        if kind == "multi":
            loss = F.binary_cross_entropy_with_logits(logits, wanted.float())
        else:
            loss = F.cross_entropy(logits, wanted.long().argmax(dim=1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _predicted(network: nn.Module, rows: Tensor, kind: str) -> Float[np.ndarray, "rows classes"]:
    network.eval()
    with torch.no_grad():
        logits = network(rows)
        return (logits.sigmoid() if kind == "multi" else logits.softmax(dim=1)).cpu().numpy()
