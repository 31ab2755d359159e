"""Decoupled uniformity: centroids of views are spread, and priors hold some of them together.

The centroid of a clip is the mean of its views' unit vectors, not normalized again, so that it can
be far from those of other clips only if its views agree: there is no term of alignment. With prior
vectors (tags, attributes, vectors of another model) centroids are first smoothed among clips of
like prior, which then cease to be negatives of each other.

Source: Dufumier et al., "Integrating Prior Knowledge in Contrastive Learning with Kernel" (ICML
2023, arXiv 2206.01646). Two choices are ours: the width of the kernel is by default the median
distance of priors, and the system is solved by Cholesky factors instead of an inverse.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.errors import UserError


def decoupled_uniformity(
    centroids: Float[Tensor, "batch dim"],
    scale: float = 2.0,
    groups: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Compute log of the mean, over pairs of clips, of exp(-scale x squared distance).

    Args:
        centroids: Of all ranks' clips, at least two.
        scale: t of the paper.
        groups: Clips of one group, such as crops of a recording, are not spread; there are two
            groups at least.

    Example:
        >>> float(decoupled_uniformity(torch.ones(4, 3)))
        0.0
    """
    squares = torch.pdist(centroids).square()
    if groups is not None:
        first, second = torch.triu_indices(len(groups), len(groups), offset=1, device=groups.device)
        squares = squares[groups[first] != groups[second]]
    return torch.logsumexp(-scale * squares, dim=0) - math.log(len(squares))


def smoothed(
    centroids: Float[Tensor, "batch dim"],
    kernel: Float[Tensor, "batch batch"],
    ridge: float = 0.01,
) -> Float[Tensor, "batch dim"]:
    """Replace each centroid by its kernel ridge regression: (K + ridge I)^-1 K centroids.

    Args:
        centroids: Of all ranks' clips.
        kernel: Positive semi-definite similarities of the clips' priors; carries no gradient.
        ridge: Lambda of the paper; 0.01 in its code.
    """
    kernel = kernel.detach().to(centroids)
    regular = kernel + ridge * torch.eye(len(kernel)).to(kernel)
    weights = torch.cholesky_solve(kernel, torch.linalg.cholesky(regular))
    return weights @ centroids


def gaussian_kernel(
    priors: Float[Tensor, "batch dim"], width: float | None = None
) -> Float[Tensor, "batch batch"]:
    """Compare priors by exp(-squared distance / (2 width^2)).

    Args:
        priors: One vector a clip; they get no gradient.
        width: Distance at which similarity has fallen to exp(-1/2); None takes the median distance.

    Raises:
        UserError: A prior is no finite number, or all priors are the same and no width is given.
    """
    priors = priors.detach()
    if not torch.isfinite(priors).all():
        raise UserError("priors of a batch hold values that are no finite numbers")
    distances = torch.cdist(priors, priors)
    if width is None:
        width = float(torch.pdist(priors).median())
    if width <= 0.0:
        raise UserError(
            "half of the priors of a batch are the same: give the width of the kernel, or a "
            "column that tells clips apart"
        )
    return torch.exp(-distances.square() / (2 * width**2))
