import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from audiossl.losses.self_distillation import (
    Center,
    PrototypeHead,
    PrototypesConfig,
    self_distillation,
    valid_rows,
)


def scores(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_it_is_the_cross_entropy_of_the_paper():
    student, teacher, center = scores(4, 6), scores(4, 6), scores(6)
    targets = torch.softmax((teacher - center) / 0.04, 1)
    expected = [
        -(t * torch.log(torch.softmax(s / 0.1, 0))).sum()
        for s, t in zip(student, targets, strict=True)
    ]
    value = self_distillation(
        student, teacher, center, student_temperature=0.1, teacher_temperature=0.04
    )
    assert_close(value, torch.stack(expected))


def test_a_student_that_says_what_the_teacher_says_has_its_entropy_and_no_gradient():
    teacher, center = scores(3, 5), torch.zeros(5, dtype=torch.float64)
    student = teacher.clone().requires_grad_(True)
    value = self_distillation(
        student, teacher, center, student_temperature=0.2, teacher_temperature=0.2
    )
    shares = torch.softmax(teacher / 0.2, 1)
    assert_close(value.detach(), -(shares * shares.log()).sum(1))
    value.sum().backward()
    assert_close(student.grad, torch.zeros_like(teacher), atol=1e-12, rtol=0)


def test_no_gradient_reaches_the_teacher():
    student, teacher = scores(3, 5).requires_grad_(True), scores(3, 5).requires_grad_(True)
    self_distillation(
        student, teacher, torch.zeros(5), student_temperature=0.1, teacher_temperature=0.1
    ).sum().backward()
    assert teacher.grad is None


def test_prototypes_and_vectors_are_of_unit_length():
    head = PrototypeHead(6, PrototypesConfig(size=9, hidden=8, bottleneck=4))
    before = head(torch.ones(1, 6))
    with torch.no_grad():
        head.prototypes.mul_(7.0)
    assert_close(head(torch.ones(1, 6)), before)
    assert before.abs().max() <= 1 + 1e-6


def test_a_center_is_a_moving_average_over_parts_of_a_batch():
    whole, parts = (Center(PrototypesConfig(size=3, center_momentum=0.75)) for _ in range(2))
    values = torch.randn(6, 3)
    whole.note(values)
    for part in (values[:1], values[1:1], values[1:]):
        parts.note(part)
    whole.update()
    parts.update()
    assert_close(whole.mean, 0.25 * values.mean(0))
    assert_close(parts.mean, whole.mean)


def test_frames_behind_the_end_are_no_rows():
    values = torch.arange(6.0).view(2, 3, 1)
    assert valid_rows(values, torch.tensor([1, 3])).flatten().tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize("part", [0, 1])
def test_softmax_of_centered_scores_spreads_a_prototype_that_all_share(part):
    """Without the center one prototype would take everything; with it none is preferred."""
    teacher = scores(50, 4) * 0.01
    teacher[:, part] += 1.0
    shares = F.softmax((teacher - teacher.mean(0)) / 0.04, dim=1).mean(0)
    assert shares.max() < 0.3
