"""Contrastive losses by name."""

from audiossl.errors import UserError, did_you_mean
from audiossl.losses.info_nce import ContrastiveLoss, info_nce
from audiossl.python_objects import is_python, python_object

CONTRASTIVE: dict[str, ContrastiveLoss] = {"info_nce": info_nce}
"""Every loss is a function of scores, targets and excluded pairs."""


def contrastive_loss(name: str) -> ContrastiveLoss:
    """Find a loss: one of `CONTRASTIVE`, or `python:module:function`.

    Raises:
        UserError: There is none of that name.
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
