"""Many heads trained together: every layer, learning rate and seed in one pass over the rows.

The weights of all heads are stacked. Heads of one embedding and seed read the same rows, whatever
their rates: one product serves them, and an optimizer all. Which are trained together changes
nothing: each seed has its own draws, and every head keeps the weights of its own best epoch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.probing.probe import Fitted, Problem, Standardizer
from audiossl.probing.rated_adam import RatedAdam


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """What the heads of a protocol have in common, and how they are trained by Adam."""

    norm: Literal["standard", "layer", "none"]
    """Normalization of embeddings: standardized on the training rows, a layer norm that learns, or
    nothing."""
    rates: tuple[float, ...]
    """Learning rates, each of which has a head."""
    seeds: tuple[int, ...]
    """Random seeds, each of which has a head at every rate."""
    batch_size: int
    epochs: int
    hidden: int = 0
    """Width of a hidden layer with ReLU; 0: the head is linear."""
    dropout: float = 0.0
    """Dropout probability of what the last map sees."""
    weight_decay: float = 0.0
    """Share of the weights that Adam adds to gradients."""
    final_rate: float = 1.0
    """Share of the learning rate that a cosine over epochs ends at."""
    plateau: int = 0
    """Epochs without a better validation score after which a rate is halved; 0: never."""
    patience: int = 0
    """Epochs without a better validation score after which a head stops; 0: never."""
    keep: Literal["best", "last"] = "best"
    """Epoch whose weights are kept: the one that validates best, or the last."""


@dataclass(frozen=True)
class Heads:
    """Trained heads of one embedding: rate after rate, and seed after seed within it."""

    plan: HeadPlan
    weights: list[Tensor]
    """Each (heads, ...)."""
    scores: Float[np.ndarray, "rates seeds"]
    """Validation score of each."""
    norm: Standardizer | None

    def logits(self, vectors: Float[np.ndarray, "rows dim"], chosen: Sequence[int]) -> Tensor:
        """Compute the logits of some of the heads: (chosen, rows, classes)."""
        device = self.weights[0].device
        rows = torch.from_numpy(self.norm(vectors) if self.norm else vectors).to(device)
        weights = [weight[list(chosen)] for weight in self.weights]
        with torch.no_grad():
            return _logits(weights, rows[None], self.plan.norm == "layer").mT


def train_heads(
    plan: HeadPlan, problems: Sequence[Problem], device: torch.device | None = None
) -> list[Heads]:
    """Train a head for each embedding, rate and seed, all in one pass over the rows.

    Args:
        plan: What is trained, and how.
        problems: Of the same items: embeddings of equal dimension, as those of layers are.
        device: Where it is done; the CPU by default.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> plan = HeadPlan(norm="standard", rates=(0.1, 0.01), seeds=(0,), batch_size=2, epochs=5)
        >>> (heads,) = train_heads(plan, [problem])
        >>> heads.scores
        array([[1.],
               [1.]])
    """
    return _Training(plan, problems, device or torch.device("cpu")).run()


def fit_heads(
    plan: HeadPlan, problems: Mapping[str, Problem], device: torch.device | None = None
) -> dict[str, Fitted]:
    """Train the heads of all embeddings, and keep the rate that validates best over seeds.

    Args:
        plan: What is trained, and how.
        problems: By the name of the embedding; those of one dimension are trained together.
        device: Where it is done; the CPU by default.
    """
    fits: dict[str, Fitted] = {}
    for dim in sorted({problem.train.vectors.shape[1] for problem in problems.values()}):
        names = [name for name, p in problems.items() if p.train.vectors.shape[1] == dim]
        trained = train_heads(plan, [problems[name] for name in names], device)
        fits |= {
            name: _fitted(heads, problems[name].kind)
            for name, heads in zip(names, trained, strict=True)
        }
    return {name: fits[name] for name in problems}


def _fitted(heads: Heads, kind: str) -> Fitted:
    plan, by_rate = heads.plan, heads.scores.mean(axis=1)
    best = int(by_rate.argmax())
    chosen = range(best * len(plan.seeds), (best + 1) * len(plan.seeds))
    return Fitted(
        {"rate": plan.rates[best]},
        float(by_rate[best]),
        lambda vectors: probabilities(heads.logits(vectors, chosen), kind),
    )


class _Training:
    """Heads in the order (embedding, seed, rate): a batch is drawn once a seed."""

    def __init__(self, plan: HeadPlan, problems: Sequence[Problem], device: torch.device) -> None:
        self.plan, self.problems, self.device = plan, problems, device
        self.norms = [
            Standardizer(problem.train.vectors) if plan.norm == "standard" else None
            for problem in problems
        ]
        self.train = self._stacked([problem.train.vectors for problem in problems])
        self.valid = self._stacked([problem.valid.vectors for problem in problems])
        targets = torch.from_numpy(problems[0].train.row_targets).to(device)
        self.num_classes = targets.shape[1]
        # Of one class an item, its number; otherwise 0 or 1 for each.
        single = problems[0].kind == "single"
        self.targets = targets.int().argmax(dim=1) if single else targets.float()
        rates = torch.tensor(plan.rates, device=device).repeat(len(problems), len(plan.seeds))
        beginnings = [weight.to(device) for weight in self._beginnings()]
        self.adam = RatedAdam(beginnings, rates.flatten(), plan.weight_decay)

    def run(self) -> list[Heads]:
        plan, count = self.plan, len(self.adam.rates)
        orders = [torch.Generator().manual_seed(seed) for seed in plan.seeds]
        noises = [torch.Generator(self.device).manual_seed(seed) for seed in plan.seeds]
        best: np.ndarray = np.full(count, -np.inf)
        waited: np.ndarray = np.zeros(count)
        kept = self.adam.weights()
        kept_scores = best
        for epoch in range(plan.epochs):
            cosine = (1 + math.cos(math.pi * epoch / plan.epochs)) / 2
            share = plan.final_rate + (1 - plan.final_rate) * cosine
            for rows in self._batches(orders):
                self._learn(rows, share, noises)
            scores = self._validation()
            at_work = (waited < plan.patience) | (plan.patience == 0)
            better = (scores > best) & at_work
            best, waited = np.where(better, scores, best), np.where(better, 0, waited + 1)
            if plan.plateau:
                slow = (waited > 0) & (waited % plan.plateau == 0)
                self.adam.scale(torch.tensor(np.where(slow, 0.5, 1.0)).to(self.adam.rates))
            kept_now = at_work if plan.keep == "last" else better
            kept_scores = np.where(kept_now, scores, kept_scores)
            chosen = torch.from_numpy(kept_now).to(self.device)
            with torch.no_grad():
                for old, new in zip(kept, self.adam.weights(), strict=True):
                    old[chosen] = new[chosen]
            if plan.patience and (waited >= plan.patience).all():
                break
        return self._by_embedding([weight.detach() for weight in kept], kept_scores)

    def _by_embedding(self, weights: list[Tensor], scores: np.ndarray) -> list[Heads]:
        shape = (len(self.problems), len(self.plan.seeds), len(self.plan.rates))
        split = [w.view(*shape, *w.shape[1:]).transpose(1, 2).flatten(1, 2) for w in weights]
        by_rate = scores.reshape(shape).transpose(0, 2, 1)
        return [
            Heads(self.plan, [part[number] for part in split], by_rate[number], self.norms[number])
            for number in range(len(self.problems))
        ]

    def _stacked(self, vectors: Sequence[np.ndarray]) -> Float[Tensor, "embeddings rows dim"]:
        rows = [norm(v) if norm else v for norm, v in zip(self.norms, vectors, strict=True)]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def _beginnings(self) -> list[Tensor]:
        """Draw what `torch.manual_seed` and `nn.Linear` do, alike for every rate and embedding."""
        plan, dim, classes = self.plan, self.train.shape[2], self.num_classes
        sizes = [(dim, plan.hidden), (plan.hidden, classes)] if plan.hidden else [(dim, classes)]
        heads = len(self.problems) * len(plan.seeds) * len(plan.rates)
        tensors = [torch.ones(heads, 1, dim), torch.zeros(heads, 1, dim)]
        if plan.norm != "layer":
            tensors = []
        generators = [torch.Generator().manual_seed(seed) for seed in plan.seeds]
        for inputs, outputs in sizes:
            for shape in ((outputs, inputs), (outputs,)):
                draws = [
                    torch.empty(shape).uniform_(-(inputs**-0.5), inputs**-0.5, generator=one)
                    for one in generators
                ]
                copies = (len(self.problems), 1, len(plan.rates), *[1] * len(shape))
                tensors.append(torch.stack(draws)[None, :, None].repeat(copies).flatten(0, 2))
        return tensors

    def _batches(self, orders: Sequence[torch.Generator]) -> Iterator[Tensor]:
        """Yield the rows of each seed's batch: (seeds, rows)."""
        size = self.plan.batch_size
        count = self.train.shape[1]
        order = torch.stack([torch.randperm(count, generator=one) for one in orders])
        for first in range(0, count, size):
            yield order[:, first : first + size].to(self.device)

    def _learn(self, rows: Tensor, share: float, noises: Sequence[torch.Generator]) -> None:
        per_seed = len(self.plan.rates)
        inputs = self.train[:, rows].flatten(0, 1)  # embeddings and seeds, rows, dim
        wanted = self.targets[rows].repeat_interleave(per_seed, dim=0)
        weights, dropped = self.adam.weights(), self._dropped(rows.shape[1], noises)
        logits = _logits(weights, inputs, self.plan.norm == "layer", dropped)
        wanted = torch.cat([wanted] * len(self.problems))
        loss = _losses(logits, wanted, self.problems[0].kind).sum()
        self.adam.step(torch.autograd.grad(loss, weights), share)

    def _dropped(self, size: int, noises: Sequence[torch.Generator]) -> Tensor | None:
        """Draw the factors of what the last map sees, alike for the heads of a seed."""
        share = self.plan.dropout
        if not share:
            return None
        width = self.plan.hidden or self.train.shape[2]
        draws = torch.stack(
            [torch.rand(size, width, generator=one, device=self.device) for one in noises]
        )
        return ((draws >= share) / (1 - share)).repeat(len(self.problems), 1, 1)

    @torch.no_grad()
    def _validation(self) -> Float[np.ndarray, " heads"]:
        each = len(self.adam.rates) // len(self.problems)
        everything, scores = self.adam.weights(), []
        for number, problem in enumerate(self.problems):
            weights = [weight[number * each : (number + 1) * each] for weight in everything]
            logits = _logits(weights, self.valid[number][None], self.plan.norm == "layer")
            scores.append(_validated(logits, problem))
        return np.concatenate(scores)


def _validated(logits: Float[Tensor, "heads classes rows"], problem: Problem) -> np.ndarray:
    """Score heads on the validation rows, all at once where that is a matter of counting."""
    valid = problem.valid
    counted = problem.metric == "accuracy" and problem.kind == "single"
    if counted and len(valid.items) == len(valid.targets):
        right = torch.from_numpy(valid.targets.argmax(axis=1)).to(logits.device)
        return (logits.argmax(dim=1) == right).double().mean(dim=1).cpu().numpy()
    rows = probabilities(logits.mT, problem.kind)
    return np.array([problem.validation(one) for one in rows])


def probabilities(logits: Tensor, kind: str) -> Float[np.ndarray, "heads rows classes"]:
    """Turn logits into the probability of every class."""
    return (logits.sigmoid() if kind == "multi" else logits.softmax(dim=2)).cpu().numpy()


def _logits(
    weights: Sequence[Tensor],
    rows: Float[Tensor, "groups rows dim"],
    layer_norm: bool,
    dropped: Float[Tensor, "groups rows width"] | None = None,
) -> Float[Tensor, "heads classes rows"]:
    """Compute what heads say of rows, which all heads of a group have in common."""
    (*norms, weight, bias), hidden = _first_and_last(weights, layer_norm)
    if norms:
        # Gain and shift go into the map behind them: rows stay those of the group.
        gain, shift = norms
        rows = F.layer_norm(rows, rows.shape[-1:])
        shifted = weight * shift
        if dropped is not None and not hidden:
            # A shift is dropped, too.
            logits = _mapped(rows * dropped, weight * gain, bias)
            return logits + _mapped(dropped, shifted, torch.zeros_like(bias))
        weight, bias = weight * gain, bias + shifted.sum(dim=2)
    if not hidden:
        return _mapped(rows if dropped is None else rows * dropped, weight, bias)
    inner = F.relu(_mapped(rows, weight, bias))
    if dropped is not None:
        inner = inner * dropped.mT.repeat_interleave(len(inner) // len(dropped), dim=0)
    last, last_bias = hidden
    return torch.baddbmm(last_bias[..., None], last, inner)


def _first_and_last(
    weights: Sequence[Tensor], layer_norm: bool
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Tell the weights of the first map, with its norm, from those of the map behind it."""
    count = 4 if layer_norm else 2
    return weights[:count], weights[count:]


def _mapped(
    rows: Float[Tensor, "groups rows inputs"],
    weight: Float[Tensor, "heads outputs inputs"],
    bias: Float[Tensor, "heads outputs"],
) -> Float[Tensor, "heads outputs rows"]:
    """Map the rows of each group by all of its heads, in one product a group."""
    groups, inputs = len(rows), weight.shape[2]
    # In this order the gradient of the weights is contiguous.
    outputs = torch.baddbmm(
        bias.reshape(groups, -1, 1), weight.reshape(groups, -1, inputs), rows.mT
    )
    return outputs.reshape(*weight.shape[:2], -1)


def _losses(logits: Tensor, targets: Tensor, kind: str) -> Float[Tensor, " heads"]:
    """Average over rows, and over classes where each is a question of its own."""
    if kind == "multi":
        losses = F.binary_cross_entropy_with_logits(logits, targets.mT, reduction="none")
        return losses.mean(dim=(1, 2))
    return F.cross_entropy(logits, targets, reduction="none").mean(dim=1)
