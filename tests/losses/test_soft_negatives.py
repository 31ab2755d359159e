"""Closed forms of soft negatives."""

import torch
from torch.nn import functional as F

from audiossl.losses.soft_negatives import soft_negatives


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


def test_excluded_entries_are_as_good_as_absent():
    students, teachers, queue = unit(3, 4), unit(3, 4), unit(7, 4)
    excluded = torch.zeros(3, 7, dtype=torch.bool)
    excluded[:, 5:] = True
    value = soft_negatives(students, teachers, queue, excluded=excluded)
    torch.testing.assert_close(value, soft_negatives(students, teachers, queue[:5]))
    nothing = soft_negatives(students, teachers, queue, excluded=torch.ones_like(excluded))
    torch.testing.assert_close(nothing, torch.zeros(3, dtype=torch.float64))
