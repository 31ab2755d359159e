"""Contrastive losses by config: of scores, or of pairs among the candidates of all ranks."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard

from jaxtyping import Float
from torch import Tensor
from typing_extensions import assert_never

from audiossl.configs import Positive
from audiossl.errors import UserError
from audiossl.losses.contrast import cross_entropy
from audiossl.losses.info_nce import ContrastiveLoss
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
class KernelConfig:
    """Similarity of priors (`views.priors`): exp(-squared distance / (2 width^2))."""

    width: Positive | None = None
    """Distance of priors at which similarity has fallen to 0.61; null: the median of a batch."""
    ridge: Positive = 0.01
    """Ridge of the regression of centroids on similar ones."""


@dataclass(frozen=True, kw_only=True)
class UniformityConfig:
    """Centroids of pairs are spread: decoupled uniformity, which has no term of alignment."""

    kind: Literal["uniformity"] = "uniformity"
    scale: Positive = 2.0
    """Multiplies squared distances."""
    kernel: KernelConfig | None = None
    """Kernel of priors by which centroids are smoothed, so that clips of like priors are no
    negatives of each other; null: none."""


PairLossConfig: TypeAlias = InfoNceConfig | NtXentConfig | DclConfig | DclwConfig | UniformityConfig
"""Losses of gathered pairs."""
LossConfig: TypeAlias = PairLossConfig | UserDefined
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
    if not isinstance(config, InfoNceConfig | NtXentConfig):
        pairs.check_groups(config.kind)
    match config:
        case InfoNceConfig():
            return one_way(pairs, cross_entropy)
        case NtXentConfig():
            return both_ways(pairs, cross_entropy)
        case DclConfig() | DclwConfig():
            loss = decoupled_loss(pairs, getattr(config, "sigma", None))
            return both_ways(pairs, loss) if config.both_ways else one_way(pairs, loss)
        case UniformityConfig():
            kernel = (config.kernel.width, config.kernel.ridge) if config.kernel else None
            return uniformity(pairs, config.scale, kernel)
        case _:
            assert_never(config)


def score_loss(config: UserDefined) -> ContrastiveLoss:
    """Find a user's loss, a function of scores, targets and excluded pairs.

    Raises:
        UserError: It is not found, or is no function.

    Example:
        >>> import torch
        >>> from audiossl.python_objects import NameOnly
        >>> loss = score_loss(NameOnly(kind="python:audiossl.losses.info_nce:info_nce"))
        >>> loss(torch.zeros(4, 4))  # ln 4: guessing among four
        tensor(1.3863)
    """
    loss = python_object(config.kind)
    if not callable(loss):
        raise UserError(f"loss {config.kind}: is no function of (scores, targets, excluded)")
    found: ContrastiveLoss = loss
    return found
