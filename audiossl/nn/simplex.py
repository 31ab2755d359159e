"""Class centers as far from one another as they can be: the corners of a regular simplex."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.errors import UserError


def simplex_centers(num_classes: int, dim: int) -> Float[Tensor, "classes dim"]:
    """Place unit vectors whose pairwise cosines are all -1 / (num_classes - 1).

    No unit vectors have a smaller largest cosine: they are the optimum that the centers of ACTION++
    (You et al., MICCAI 2023) are spread to, in closed form.

    Raises:
        UserError: There are fewer than two classes, or more than fit into the dimension.

    Example:
        >>> centers = simplex_centers(3, 2)
        >>> [round(float(centers[0] @ other), 3) for other in centers]
        [1.0, -0.5, -0.5]
    """
    if num_classes < 2:
        raise UserError(f"centers of {num_classes} class: there is nothing to tell apart; give 2")
    if num_classes > dim + 1:
        raise UserError(
            f"{num_classes} classes have no simplex of centers in {dim} dimensions: give "
            f"{num_classes - 1} dimensions or more (method.centers.projection_dim)"
        )
    corners = torch.eye(num_classes, dtype=torch.float64) - 1.0 / num_classes
    # They span a space of num_classes - 1 dimensions: these are coordinates in a basis of it.
    basis = torch.linalg.svd(corners).Vh[: num_classes - 1]
    centers = F.pad(corners @ basis.T, (0, dim - num_classes + 1))
    return F.normalize(centers, dim=1).float()
