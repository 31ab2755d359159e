"""LoRA: linear layers learn a change of low rank, and their own weights stay as they are.

Source: Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models"; W + (alpha / r) B A,
with B of zeros at first. It is a parametrization of the weight and not a module around the layer:
attentions that hand `projection.weight` to a function (WavLM's in transformers, and
torch's) would leave such a module out, and it would learn nothing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audiossl.errors import UserError, did_you_mean


class LowRank(nn.Module):
    """The change of one weight."""

    def __init__(self, weight: Float[Tensor, "rows columns"], rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        """Add the change to a weight."""
        return weight + self.scale * (self.up @ self.down)


def add_low_rank(
    network: nn.Module, *, rank: int, alpha: float, layers: Sequence[str] = ()
) -> list[str]:
    """Freeze a network but for changes of low rank of its linear layers.

    Args:
        network: Changed in place.
        rank: Of the changes.
        alpha: Their scale, times the rank.
        layers: Names, or last parts of names, of the layers that change; all linear ones if empty.

    Returns:
        Names of the layers that change.

    Raises:
        UserError: A name is of no linear layer.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> add_low_rank(network, rank=1, alpha=1.0, layers=["2"])
        ['2']
        >>> [name for name, p in network.named_parameters() if p.requires_grad]
        ['2.parametrizations.weight.0.down', '2.parametrizations.weight.0.up']
    """
    network.requires_grad_(False)
    linear = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    for wanted in layers:
        if not any(_is_named(name, wanted) for name in linear):
            known = {name.rpartition(".")[2] for name in linear}
            raise UserError(
                f"layers: no linear layer is named {wanted!r}{did_you_mean(wanted, known)} "
                f"(there are {', '.join(sorted(known)[:12])})"
            )
    chosen = [n for n in linear if not layers or any(_is_named(n, wanted) for wanted in layers)]
    for name in chosen:
        change = LowRank(linear[name].weight, rank, alpha)
        parametrize.register_parametrization(linear[name], "weight", change)
    return chosen


@torch.no_grad()
def merge_low_rank(network: nn.Module) -> None:
    """Add changes of low rank to the weights, in place: the network is as it was built."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            changes: Any = module.parametrizations
            if isinstance(changes.weight[0], LowRank):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _is_named(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")
