"""Model contrast: a network is drawn to another one, and away from what it was itself.

Source: Li, He, Song, "Model-Contrastive Federated Learning" (MOON, CVPR 2021).
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def model_contrast(
    vectors: Float[Tensor, "batch dim"],
    reference: Float[Tensor, "batch dim"],
    previous: Float[Tensor, "batch dim"],
    temperature: float = 0.5,
) -> Float[Tensor, " batch"]:
    """Draw a network's vectors to those of a reference, and away from its own earlier ones.

    -log of the share of exp(cos(vectors, reference) / t) beside exp(cos(vectors, previous) / t):
    where both are the same network it is log 2 and pulls nowhere.

    Args:
        vectors: Of the network that is trained.
        reference: Of the released network (in federation: of the global one), for the same input.
        previous: Of the network as it was before, for the same input.
        temperature: t, above 0.

    Example:
        >>> import torch
        >>> vectors = torch.tensor([[1.0, 0.0]])
        >>> round(float(model_contrast(vectors, vectors, -vectors, 1.0)), 4)  # ln(1 + exp(-2))
        0.1269
    """
    near = F.cosine_similarity(vectors, reference.detach(), dim=1) / temperature
    far = F.cosine_similarity(vectors, previous.detach(), dim=1) / temperature
    return F.softplus(far - near)
