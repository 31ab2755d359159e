"""How far predicted vectors are from a teacher's: their distance, and the angle between them.

    mean over dimensions of |p - t| or (p - t)² + weight x (1 - cos(p, t))

Distances of standardized vectors say how loudly something is there, angles what it is. Means of
absolute differences are those of DistilHuBERT (Chang et al. 2022) and USAD (Chang et al. 2025);
squares suit teachers whose values are mostly zero, of which the absolute difference would predict
the median.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

Distance = Literal["absolute", "square"]


def feature_matching(
    predictions: Float[Tensor, "*batch dim"],
    targets: Float[Tensor, "*batch dim"],
    valid: Bool[Tensor, "*batch"],
    *,
    distance: Distance = "square",
    angle_weight: float = 1.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Compare predictions with targets, averaged over the valid vectors.

    Args:
        predictions: Of the student.
        targets: Of the teacher, standardized.
        valid: Which vectors count; what stands in the others may be anything.
        distance: What is averaged over dimensions.
        angle_weight: Of one minus the cosine.

    Returns:
        The loss, and the mean cosine; 0 where nothing is valid.

    Example:
        >>> targets, valid = torch.ones(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
        >>> loss, cosine = feature_matching(3 * targets, targets, valid)
        >>> round(float(loss), 4), round(float(cosine), 4)  # squares of 2, and one direction
        (4.0, 1.0)
    """
    predictions = predictions.float().masked_fill(~valid[..., None], 0.0)
    targets = targets.float().masked_fill(~valid[..., None], 0.0)
    difference = predictions - targets
    far = difference.abs() if distance == "absolute" else difference.square()
    cosines = F.cosine_similarity(predictions, targets, dim=-1, eps=1e-6)
    losses = far.mean(dim=-1) + angle_weight * (1.0 - cosines)
    count = valid.sum().clamp(min=1)
    loss = torch.where(valid, losses, 0.0).sum() / count
    return loss, torch.where(valid, cosines, 0.0).sum().detach() / count
