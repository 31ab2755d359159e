import importlib.util
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from audiossl.teachers import crepe
from tests.teachers.padding import check_padding_does_not_matter

needs_wheel = pytest.mark.skipif(find_spec("torchcrepe") is None, reason="wheel not installed")


def test_padding_does_not_matter():
    torch.manual_seed(0)
    check_padding_does_not_matter(crepe.CrepeTeacher())


@needs_wheel
def test_the_network_is_the_wheels(monkeypatch):
    # The one file of its code that needs of its package nothing but a number.
    package = types.ModuleType("torchcrepe")
    package.PITCH_BINS = 360
    monkeypatch.setitem(sys.modules, "torchcrepe", package)
    path = Path(find_spec("torchaudio").origin).parents[1] / "torchcrepe" / "model.py"
    spec = importlib.util.spec_from_file_location("model_of_the_wheel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    teacher = crepe.load()
    theirs = module.Crepe("tiny").eval()
    theirs.load_state_dict(teacher.state_dict())
    waveform = 0.1 * torch.randn(1, 8000)
    padded = torch.nn.functional.pad(waveform, (512, 512)).unfold(1, 1024, 640)[0]
    centered = padded - padded.mean(dim=1, keepdim=True)
    with torch.no_grad():
        expected = theirs(centered / centered.std(dim=1, keepdim=True))
    frames = teacher(waveform, torch.tensor([8000]))
    torch.testing.assert_close(frames.vectors[0], expected, atol=1e-5, rtol=1e-4)


@needs_wheel
@pytest.mark.parametrize("hertz", [110.0, 440.0, 880.0])
def test_it_names_the_pitch_of_a_tone(hertz):
    waveform = 0.5 * (2 * torch.pi * hertz * torch.arange(16000) / 16000).sin()
    answers = crepe.load()(waveform[None], torch.tensor([16000])).vectors[0, 3:-3]
    # Its lowest pitch, and the step between pitches, are those of the released code.
    found = 31.70 * 2 ** (20 * answers.argmax(dim=1).double() / 1200)
    assert ((1200 * (found / hertz).log2()).abs() < 40).all()
