"""Contrastive losses by name."""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from audiossl.errors import UserError, did_you_mean
from audiossl.losses.contrast import decoupled
from audiossl.losses.info_nce import ContrastiveLoss, info_nce
from audiossl.python_objects import is_python, python_object


def dcl(
    scores: Float[Tensor, "batch candidates"],
    targets: Int[Tensor, " batch"],
    excluded: Bool[Tensor, "batch candidates"] | None = None,
) -> Float[Tensor, ""]:
    """Average the decoupled contrastive loss over anchors; see `info_nce` for the arguments."""
    own = F.one_hot(targets, scores.shape[1]).bool()
    left_out = own if excluded is None else own | excluded
    negatives = scores.masked_fill(left_out, float("-inf")).logsumexp(dim=1)
    return decoupled(scores[own], negatives).mean()


CONTRASTIVE: dict[str, ContrastiveLoss] = {"info_nce": info_nce, "dcl": dcl}
"""Every loss is a function of scores, targets and excluded pairs."""


def contrastive_loss(name: str) -> ContrastiveLoss:
    """Find a loss: one of `CONTRASTIVE`, or `python:module:function`.

    Raises:
        UserError: There is none of that name.

    Example:
        >>> import torch
        >>> contrastive_loss("info_nce")(torch.zeros(4, 4))  # ln 4: guessing among four
        tensor(1.3863)
    """
    if name in CONTRASTIVE:
        return CONTRASTIVE[name]
    if not is_python(name):
        hint = did_you_mean(name, CONTRASTIVE)
        known = ", ".join([*CONTRASTIVE, "python:module:function"])
        raise UserError(f"loss {name!r} is unknown{hint} (known: {known})")
    loss = python_object(name)
    if not callable(loss):
        raise UserError(f"loss {name}: is no function of (scores, targets, excluded)")
    return loss
