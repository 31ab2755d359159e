import torch
from torch import nn

from audiossl.errors import Skip
from audiossl.models.encoder import Encoder
from audiossl.nn.frames import Frames
from audiossl.teachers.spectral import LogMelTeacher
from audiossl.teachers.teacher import faults


def test_every_teacher_is_an_encoder_whose_frames_say_what_they_are():
    teacher = LogMelTeacher()
    assert isinstance(teacher, Encoder)
    frames = teacher(torch.zeros(1, 8000), torch.tensor([8000]))
    assert frames.layer_convention == teacher.layer_convention == teacher.convention


def test_faulty_rows_are_named_and_the_others_are_not():
    vectors = torch.randn(4, 5, 2)
    vectors[1, 2, 0] = float("nan")
    vectors[1, 3, 1] = float("inf")
    vectors[2, 4] = float("nan")  # behind its end
    frames = Frames(vectors, torch.tensor([5, 4, 4, 0]), 50.0)
    found = faults(frames, ["a", "b", "c", "d"])
    assert sorted(found) == [1, 3]
    assert all(isinstance(fault, Skip) for fault in found.values())
    assert "b: its teacher gave NaN or infinity in 2 of 4 frames, first in frame 2" in str(found[1])
    assert "d: shorter than one frame" in str(found[3])


def test_whole_batches_pass():
    frames = Frames(torch.randn(2, 5, 2), torch.tensor([5, 1]), 50.0)
    assert faults(frames, ["a", "b"]) == {}


def test_a_teacher_that_gets_nan_is_found_out():
    waveforms = torch.randn(2, 8000)
    waveforms[1, 4000] = float("nan")
    found = faults(LogMelTeacher()(waveforms, torch.tensor([8000, 8000])), ["good", "bad"])
    assert list(found) == [1]


def test_a_frozen_teacher_stays_frozen_in_a_student():
    student = nn.Sequential(LogMelTeacher(), nn.Dropout())
    student.train()
    assert student[1].training
    assert not student[0].training
