import numpy as np
import pytest

from audiossl.probing.projection import project
from tests.probing.made import embeddings_of


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_clouds_stay_clouds(kind):
    owner = np.arange(60) % 3
    places = project(embeddings_of(np.eye(3, dtype=bool)[owner], noise=0.1), kind)
    assert places.shape == (60, 2)
    assert 0 <= places.min() <= places.max() <= 1
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    assert (owner[gaps.argmin(axis=1)] == owner).mean() > 0.95


@pytest.mark.parametrize("items", [1, 3, 6])
def test_few_items_have_places_too(items):
    assert np.isfinite(project(np.eye(items, 4, dtype=np.float32), "tsne")).all()


@pytest.mark.parametrize("kind", ["tsne", "pca"])
@pytest.mark.parametrize("items", [0, 1, 12])
def test_points_that_are_all_the_same_lie_at_one_place(kind, items):
    places = project(np.full((items, 5), 0.3, np.float32), kind)
    assert places.shape == (items, 2)
    assert not places.any()
