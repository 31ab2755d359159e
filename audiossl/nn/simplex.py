"""Class centers as far from one another as they can be: corners of a simplex."""

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.errors import UserError


def simplex_centers(classes: int, dim: int) -> Float[Tensor, "classes dim"]:
    """Place unit vectors whose pairwise cosines are all -1 / (classes - 1).

    Source: You et al., "ACTION++" (MICCAI 2023): with classes <= dim + 1 this is the optimum of
    spreading centers over the sphere, in closed form.

    Args:
        classes: Two or more.
        dim: Dimension of the centers.

    Raises:
        UserError: There is one class, or too many for the dimension.

    Example:
        >>> centers = simplex_centers(3, 2)
        >>> [round(float(centers[0] @ other), 3) for other in centers]
        [1.0, -0.5, -0.5]
    """
    if not 2 <= classes <= dim + 1:
        raise UserError(f"{classes} classes in {dim} dimensions: give 2 to {dim + 1} classes")
    corners = torch.eye(classes, dtype=torch.float64) - 1.0 / classes
    # Corners lie in a plane of classes - 1 dimensions: coordinates in a basis of it.
    basis = torch.linalg.svd(corners).Vh[: classes - 1]
    centers = torch.zeros(classes, dim, dtype=torch.float64)
    centers[:, : classes - 1] = corners @ basis.T
    return torch.nn.functional.normalize(centers, dim=1).float()
