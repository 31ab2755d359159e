"""Class centers in training: they are learnt, shared by ranks, and refused where there are none."""

import pytest
import torch
from torch.nn import functional as F

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.losses.labels import Outputs
from audiossl.methods.class_centers import CentersConfig, ClassCenters


def _centers(**settings) -> ClassCenters:
    torch.manual_seed(0)
    config = CentersConfig(**{"projection_dim": 4, "queue": 16, **settings})
    return ClassCenters(4, Outputs("classes", (3,)), config)


def _batch(rows=12):
    """Vectors of three classes, each about one axis."""
    torch.manual_seed(1)
    classes = torch.arange(rows) % 3
    return torch.eye(4)[classes] + 0.1 * torch.randn(rows, 4), classes


def test_classes_come_to_lie_at_the_corners_of_the_simplex():
    centers = _centers(weight=1.0, center_weight=1.0, temperature=1.0)
    optimizer = torch.optim.Adam(centers.parameters(), lr=0.1)
    vectors, classes = _batch()
    for _ in range(100):
        optimizer.zero_grad()
        centers(vectors, classes).total.backward()
        optimizer.step()
        centers.after_update()
    means = F.normalize(centers.means, dim=1)
    expected = torch.full((3, 3), -0.5).fill_diagonal_(1.0)
    torch.testing.assert_close(means @ means.T, expected, atol=0.1, rtol=0)
    assert (means * centers.centers).sum(dim=1).min() > 0.95


def test_means_are_moving_averages_and_those_of_absent_classes_stay():
    centers = _centers(momentum=0.75)
    vectors, classes = _batch()
    first, second = classes < 2, classes < 1
    projected = F.normalize(centers.projection(vectors), dim=1).detach()
    of_zero = projected[classes == 0].mean(dim=0)
    centers(vectors[first], classes[first])
    centers.after_update()
    torch.testing.assert_close(centers.means[0], of_zero)
    before = centers.means.clone()
    centers(-vectors[second], classes[second])
    centers.after_update()
    bias = F.normalize(centers.projection(-vectors[second]), dim=1).detach().mean(dim=0)
    torch.testing.assert_close(centers.means[0], 0.75 * of_zero + 0.25 * bias)
    assert torch.equal(centers.means[1:], before[1:])


def _two_steps() -> tuple[torch.Tensor, ...]:
    """Two steps, of which each rank has its share."""
    centers = _centers()
    vectors, classes = _batch()
    rank, ranks = distributed.rank(), distributed.world_size()
    for _ in range(2):
        own = centers(vectors.chunk(ranks)[rank], classes.chunk(ranks)[rank]).total.detach()
        centers.after_update()
    whole = distributed.total(own) / ranks
    return whole, centers.means, centers.assigned, centers.queue.entries


def test_ranks_share_losses_means_and_centers(two_processes):
    whole = _two_steps()
    for found in two_processes.run(_two_steps):
        for one, other in zip(found, whole, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (Outputs("classes", (1,)), "nothing to tell apart"),
        (Outputs("classes", (9,)), "give 8 dimensions"),
        (Outputs("classes", (3, 2)), "not 3 x 2 classes"),
        (Outputs("tags", (5,)), "not 5 tags"),
    ],
)
def test_targets_that_have_no_centers_are_refused(outputs, words):
    with pytest.raises(UserError, match=words):
        ClassCenters(4, outputs, CentersConfig(projection_dim=4))
