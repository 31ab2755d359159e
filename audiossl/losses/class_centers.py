"""Few labels: vectors draw near to others of their class, and to the center of the class.

Source: You et al., "ACTION++: Improving Semi-supervised Medical Image Segmentation with Adaptive
Anatomical Contrast" (MICCAI 2023), carried over from voxels to clips; the contrast of classes is
that of Khosla et al., "Supervised Contrastive Learning" (2020), equation 2.
"""

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F


def center_losses(
    vectors: Float[Tensor, "batch dim"],
    classes: Int[Tensor, " batch"],
    centers: Float[Tensor, "classes dim"],
    *,
    temperature: float = 0.1,
) -> Float[Tensor, " batch"]:
    """Compute the cross-entropy of finding the center of each vector's class among all centers.

    Args:
        vectors: Unit vectors.
        classes: The class of each.
        centers: Unit vectors, that of class 0 first.
        temperature: Divides the cosines.

    Example:
        >>> centers = torch.tensor([[1.0], [-1.0]])
        >>> center_losses(centers, torch.tensor([0, 1]), centers, temperature=1.0)  # ln(1 + e^-2)
        tensor([0.1269, 0.1269])
    """
    return F.cross_entropy(vectors @ centers.T / temperature, classes, reduction="none")


def supervised_contrast(
    vectors: Float[Tensor, "batch dim"],
    classes: Int[Tensor, " batch"],
    queue: Float[Tensor, "entries dim"],
    queue_classes: Int[Tensor, " entries"],
    *,
    temperature: float = 0.1,
) -> Float[Tensor, " batch"]:
    """Compute the mean cross-entropy of finding the entries of a vector's class among all entries.

    Args:
        vectors: Unit vectors, with gradient.
        classes: The class of each.
        queue: Unit vectors of earlier items, which get no gradient.
        queue_classes: The class of each.
        temperature: Divides the cosines.

    Returns:
        One loss a vector, 0 where no entry is of its class.

    Example:
        >>> queue, classes = torch.tensor([[1.0], [-1.0], [-1.0]]), torch.tensor([0, 1, 1])
        >>> supervised_contrast(torch.tensor([[-1.0]]), torch.tensor([1]), queue, classes)  # ln 2
        tensor([0.6931])
    """
    shares = F.log_softmax(vectors @ queue.detach().T / temperature, dim=1)
    same = classes[:, None] == queue_classes
    return -(shares * same).sum(dim=1) / same.sum(dim=1).clamp(min=1)


def assigned_centers(
    means: Float[Tensor, "classes dim"], centers: Float[Tensor, "classes dim"]
) -> Int[Tensor, " classes"]:
    """Give every class a center of its own, so that the sum of products with its mean is largest.

    Source: the adaptive assignment of ACTION++, by the Hungarian method.

    Example:
        >>> assigned_centers(torch.tensor([[-0.9], [-0.2]]), torch.tensor([[1.0], [-1.0]]))
        tensor([1, 0])
    """
    rows, columns = linear_sum_assignment(-(means @ centers.T).cpu().numpy())
    return torch.from_numpy(columns[rows.argsort()]).to(means.device)
