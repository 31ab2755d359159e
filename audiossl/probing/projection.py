"""Maps of embeddings in two dimensions, to look at; nothing is measured on them."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from audiossl.probing.probe import Standardizer

MapKind = Literal["tsne", "pca"]


def project(
    vectors: Float[np.ndarray, "items dim"], kind: MapKind, seed: int = 0
) -> Float[np.ndarray, "items two"]:
    """Lay standardized embeddings out in the plane.

    Args:
        vectors: Embeddings.
        kind: "pca" (the two directions of most variance, distances mean something) or "tsne"
            (van der Maaten & Hinton 2008: neighbors stay neighbors, distances mean little), after a
            PCA to 50 dimensions.
        seed: Of t-SNE.

    Returns:
        Coordinates in [0, 1].

    Example:
        >>> project(np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32), "pca").shape
        (10, 2)
    """
    scaled = Standardizer(vectors)(vectors) if len(vectors) > 1 else np.zeros((1, 1))
    # Of one point, or of points that are all the same, there is no map; t-SNE would crash on them.
    if not scaled.std(axis=0).any():
        return np.zeros((len(vectors), 2), np.float32)
    with threadpool_limits(1):
        dims = min(50 if kind == "tsne" else 2, *scaled.shape)
        reduced = PCA(dims, random_state=seed).fit_transform(scaled)
        if kind == "tsne" and len(vectors) > 4:
            perplexity = min(30.0, (len(vectors) - 1) / 3)
            model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
            reduced = model.fit_transform(reduced)
    if reduced.shape[1] < 2:
        reduced = np.pad(reduced, ((0, 0), (0, 2 - reduced.shape[1])))
    low, high = reduced.min(axis=0), reduced.max(axis=0)
    return (reduced - low) / np.maximum(high - low, 1e-12)
