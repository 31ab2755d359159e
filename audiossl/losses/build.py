"""Contrastive losses by config: of scores, or of pairs among the candidates of all ranks."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard

from jaxtyping import Float
from torch import Tensor
from typing_extensions import assert_never

from audiossl.configs import Positive
from audiossl.errors import UserError
from audiossl.losses.contrast import cross_entropy
from audiossl.losses.info_nce import ContrastiveLoss, info_nce
from audiossl.losses.pairs import Pairs, both_ways, decoupled_loss, one_way, uniformity
from audiossl.python_objects import UserDefined, python_object


@dataclass(frozen=True, kw_only=True)
class InfoNceConfig:
    """Each anchor finds its positive among all positives: COLA's loss."""

    kind: Literal["info_nce"] = "info_nce"


@dataclass(frozen=True, kw_only=True)
class NtXentConfig:
    """Each crop, anchor or positive, finds the other of its pair among all crops: SimCLR's loss."""

    kind: Literal["nt_xent"] = "nt_xent"


@dataclass(frozen=True, kw_only=True)
class DclConfig:
    """InfoNCE, or NT-Xent, without the positive in the denominator: for small batches."""

    kind: Literal["dcl"] = "dcl"
    both_ways: bool = False
    """Whether both sides of a pair are anchors, and candidates, as in NT-Xent and the paper."""


@dataclass(frozen=True, kw_only=True)
class DclwConfig:
    """DCL whose dissimilar pairs weigh more."""

    kind: Literal["dclw"] = "dclw"
    both_ways: bool = True
    """Whether both sides of a pair are anchors, and candidates, as in NT-Xent and the paper."""
    sigma: Positive = 0.5
    """Scale in which cosines of pairs are compared."""


@dataclass(frozen=True, kw_only=True)
class UniformityConfig:
    """Centroids of pairs are spread: decoupled uniformity, which has no term of alignment."""

    kind: Literal["uniformity"] = "uniformity"
    scale: Positive = 2.0
    """Multiplies squared distances."""


PairLossConfig: TypeAlias = NtXentConfig | DclConfig | DclwConfig | UniformityConfig
"""Losses of gathered pairs."""
LossConfig: TypeAlias = InfoNceConfig | PairLossConfig | UserDefined
"""Every contrastive loss."""


def needs_cosine(config: Any) -> bool:
    """Whether a loss is one of unit vectors."""
    return isinstance(config, NtXentConfig | DclwConfig | UniformityConfig) or (
        isinstance(config, DclConfig) and config.both_ways
    )


def is_pair_loss(config: Any) -> TypeGuard[PairLossConfig]:
    """Whether a loss is one of gathered pairs, not of a matrix of scores."""
    return isinstance(config, PairLossConfig)


def pair_loss(config: PairLossConfig, pairs: Pairs) -> Float[Tensor, ""]:
    """Compute a loss of gathered pairs.

    Raises:
        UserError: There are no negatives, and the loss has no positive in its denominator.
    """
    if not isinstance(config, NtXentConfig):
        pairs.check_groups(config.kind)
    match config:
        case NtXentConfig():
            return both_ways(pairs, cross_entropy)
        case DclConfig() | DclwConfig():
            loss = decoupled_loss(pairs, getattr(config, "sigma", None))
            return both_ways(pairs, loss) if config.both_ways else one_way(pairs, loss)
        case UniformityConfig():
            return uniformity(pairs, config.scale)
        case _:
            assert_never(config)


def score_loss(config: InfoNceConfig | UserDefined) -> ContrastiveLoss:
    """Find a loss that is a function of scores, targets and excluded pairs.

    Raises:
        UserError: A user's function is not found, or is none.

    Example:
        >>> import torch
        >>> score_loss(InfoNceConfig())(torch.zeros(4, 4))  # ln 4: guessing among four
        tensor(1.3863)
    """
    if isinstance(config, InfoNceConfig):
        return info_nce
    loss = python_object(config.kind)
    if not callable(loss):
        raise UserError(f"loss {config.kind}: is no function of (scores, targets, excluded)")
    found: ContrastiveLoss = loss
    return found
