"""Additive-margin softmax over cosines: a class is right only if it wins by a margin.

Source: Wang, Cheng, Liu, Liu, "Additive Margin Softmax for Face Verification" (2018), equation 6.
Its scale and margin for speakers are those of SUPERB (Yang et al., 2021): 30 and 0.4.
"""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def additive_margin(
    cosines: Float[Tensor, "batch classes"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float = 30.0,
    margin: float = 0.4,
) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy of scaled cosines, that of the right class less a margin.

    Args:
        cosines: Cosine of each vector with the vector of every class.
        classes: The right class of each.
        scale: Factor of the cosines.
        margin: Cosine by which the right class must win.

    Example:
        >>> import torch
        >>> cosines = torch.tensor([[0.5, 0.0]])
        >>> additive_margin(cosines, torch.tensor([0]), margin=0.5)  # by the margin alone: ln 2
        tensor(0.6931)
    """
    own = F.one_hot(classes, cosines.shape[1]).to(cosines)
    return F.cross_entropy(scale * (cosines - margin * own), classes)
