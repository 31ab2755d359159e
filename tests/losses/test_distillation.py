"""Closed forms of losses towards other networks."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl.errors import UserError
from audiossl.losses.distillation import model_contrast, soft_negatives


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_a_cold_teacher_gives_info_nce_with_the_nearest_entry():
    students, teachers, queue = unit(4, 6), unit(4, 6), unit(20, 6)
    value = soft_negatives(students, teachers, queue, teacher_temperature=1e-4)
    nearest = (teachers @ queue.T).argmax(dim=1)
    expected = F.cross_entropy(students @ queue.T / 0.1, nearest, reduction="none")
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)


def test_a_duplicate_in_the_queue_shares_the_target():
    """The student that is best with one entry twice weighs both copies alike."""
    teachers, queue = unit(1, 6), unit(5, 6)
    doubled = torch.cat([queue, queue[:1]])
    students = teachers.clone().requires_grad_(True)
    soft_negatives(students, teachers, doubled, student_temperature=0.04).sum().backward()
    torch.testing.assert_close(students.grad, torch.zeros_like(students), atol=1e-9, rtol=0)


def test_no_gradient_reaches_teacher_or_queue():
    students, teachers, queue = (unit(3, 4).requires_grad_(True) for _ in range(3))
    soft_negatives(students, teachers, queue).sum().backward()
    assert students.grad is not None
    assert teachers.grad is None
    assert queue.grad is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan])
def test_temperatures_are_above_zero(wrong):
    with pytest.raises(UserError, match="teacher_temperature"):
        soft_negatives(unit(2, 3), unit(2, 3), unit(2, 3), teacher_temperature=wrong)


def test_networks_that_are_the_same_pull_nowhere():
    vectors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    value = model_contrast(vectors, vectors.detach(), vectors.detach())
    assert value.tolist() == pytest.approx([math.log(2)] * 4)
    value.sum().backward()
    torch.testing.assert_close(vectors.grad, torch.zeros_like(vectors), atol=1e-12, rtol=0)


def test_model_contrast_is_the_formula():
    vectors, released, previous = (torch.randn(5, 3, dtype=torch.float64) for _ in range(3))
    near = torch.exp(F.cosine_similarity(vectors, released) / 0.5)
    far = torch.exp(F.cosine_similarity(vectors, previous) / 0.5)
    expected = -torch.log(near / (near + far))
    torch.testing.assert_close(model_contrast(vectors, released, previous), expected)
