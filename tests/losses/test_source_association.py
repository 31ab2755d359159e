"""The test vector is that of the released code's behavior, worked out by hand."""

import pytest
import torch
from torch.nn import functional as F

from audiossl.losses.info_nce import info_nce
from audiossl.losses.source_association import association_scores, null_target, source_association

WEIGHT = torch.diag(torch.tensor([2.0, 1.0, 3.0]))
ANCHORS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])
POSITIVES = torch.tensor([[0.9, 0.1, 0], [0, 0, -0.5], [0.1, 0, 0.8], [0, 0, -0.7]])


def _flags(*values: int) -> torch.Tensor:
    return torch.tensor(values).bool()


def test_the_golden_vector():
    active = _flags(1, 0, 1, 0)
    assert float(source_association(ANCHORS, POSITIVES, WEIGHT, active)) == pytest.approx(
        0.772985, abs=1e-6
    )
    candidates = torch.cat([POSITIVES, null_target(POSITIVES, active)[None]])
    scores, targets = association_scores(ANCHORS @ WEIGHT @ candidates.T, active)
    assert targets.tolist() == [0, 4, 2, 4]
    present = scores[[0, 2, 1, 3]][:, [0, 2, 4]]
    expected = torch.tensor([[1.8, 0.2, 0], [0, 2.4, -1.8], [0.1, 0, 0], [0.95, 0.1, 0]])
    torch.testing.assert_close(present, expected)
    assert float((scores.argmax(1) == targets).float().mean()) == 0.5


def test_without_silence_it_is_cola():
    loss = source_association(ANCHORS, POSITIVES, WEIGHT, _flags(1, 1, 1, 1))
    assert float(loss) == pytest.approx(0.923296, abs=1e-6)
    assert float(loss) == pytest.approx(float(info_nce(ANCHORS @ WEIGHT @ POSITIVES.T)), abs=1e-7)


def test_all_silence_gives_zero_and_no_gradient():
    positives = POSITIVES.clone().requires_grad_()
    loss = source_association(ANCHORS, positives, WEIGHT, _flags(0, 0, 0, 0))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(positives.grad, torch.zeros_like(positives))


def test_permuting_the_pairs_changes_nothing():
    order = torch.tensor([2, 3, 0, 1])
    active = _flags(1, 0, 1, 0)
    torch.testing.assert_close(
        source_association(ANCHORS[order], POSITIVES[order], WEIGHT, active[order]),
        source_association(ANCHORS, POSITIVES, WEIGHT, active),
    )


def test_the_gradient_reaches_silent_positives_and_all_of_them_alike():
    positives = POSITIVES.clone().requires_grad_()
    source_association(ANCHORS, positives, WEIGHT, _flags(1, 0, 1, 0)).backward()
    assert positives.grad[1].abs().sum() > 0
    torch.testing.assert_close(positives.grad[1], positives.grad[3])


def test_excluded_candidates_leave_the_softmax_but_never_the_target():
    scores = torch.randn(3, 3)
    same = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).bool()
    by_hand = torch.stack(
        [
            F.cross_entropy(scores[0, :2], torch.tensor(0)),
            F.cross_entropy(scores[1], torch.tensor(1)),
            F.cross_entropy(scores[2, 1:], torch.tensor(1)),
        ]
    ).mean()
    torch.testing.assert_close(info_nce(scores, excluded=same), by_hand)
    with_null = torch.cat([scores, torch.randn(3, 1)], dim=1)
    masked, targets = association_scores(with_null, _flags(1, 1, 1), excluded=same)
    torch.testing.assert_close(F.cross_entropy(masked, targets), by_hand)
