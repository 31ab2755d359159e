"""What the networks of wheels have in common: other files, silence, half precision."""

import pytest
import torch

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.teachers.basic_pitch import BasicPitchTeacher
from audiossl.teachers.silero import SileroTeacher
from audiossl.teachers.spleeter import SpleeterTeacher

LATER = (BasicPitchTeacher, SileroTeacher, SpleeterTeacher)


@pytest.mark.parametrize("kind", ["ge2e", "aisfx", "crepe", "silero"])
@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(2), 3, {1: torch.zeros(2)}, {"conv1.weight": [1, 2]}]
)
def test_a_torch_file_of_something_else_is_refused_in_a_line(tmp_path, kind, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt.*expected") as caught:
        load_encoder(f"{kind}:{tmp_path / 'other.pt'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"down1_conv.0.weight": None}])
def test_so_are_spleeters_two(tmp_path, content):
    for number in range(2):
        torch.save(content, tmp_path / f"testcheckpoint{number}.ckpt")
    with pytest.raises(UserError, match=r"testcheckpoint0\.ckpt.*expected"):
        load_encoder(f"spleeter:{tmp_path}")


@pytest.mark.parametrize("make", LATER)
def test_gradients_are_finite_where_a_clip_is_silent(make):
    torch.manual_seed(0)
    teacher = make()
    waveform = 0.1 * torch.randn(1, 2 * teacher.sample_rate)
    waveform[:, : teacher.sample_rate] = 0.0
    waveform.requires_grad_(True)
    frames = teacher(waveform, torch.tensor([waveform.shape[1]]))
    frames.vectors.square().sum().backward()
    assert waveform.grad.isfinite().all()
    assert waveform.grad.abs().max() > 0


@pytest.mark.parametrize("make", LATER)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_waveforms_of_any_precision_are_taken(make, dtype):
    torch.manual_seed(0)
    teacher = make()
    waveform = (0.1 * torch.randn(1, teacher.sample_rate)).to(dtype)
    lengths = torch.tensor([teacher.sample_rate])
    torch.testing.assert_close(
        teacher(waveform, lengths).vectors, teacher(waveform.float(), lengths).vectors
    )
