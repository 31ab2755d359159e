from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F

from audiossl.errors import UserError
from audiossl.nn.tensorflow_checkpoint import read_checkpoint
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers import musicnn
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("musicnn") is None, reason="wheel not installed")


def test_padding_does_not_matter():
    torch.manual_seed(0)
    teacher = musicnn.MusicnnTeacher()
    check_padding_does_not_matter(teacher)
    check_short_rows_have_no_frames(teacher, too_short=256)


@needs_wheel
def test_it_computes_what_the_checkpoint_says():
    """Its layers written out again, over images of height, width, channels as TensorFlow has."""
    weights = read_checkpoint(file_of_wheel(musicnn.WHEEL, musicnn.FILE))

    def norm(values, number):
        name = f"batch_normalization_{number}".removesuffix("_0")
        scale = weights[f"{name}/gamma"] / (weights[f"{name}/moving_variance"] + 1e-3).sqrt()
        return (values - weights[f"{name}/moving_mean"]) * scale + weights[f"{name}/beta"]

    def conv(image, number, pads):
        name = f"conv2d_{number}".removesuffix("_0")
        kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        padded = F.pad(image.permute(2, 0, 1)[None], (0, 0, *pads))
        out = F.conv2d(padded, kernel, weights[f"{name}/bias"])[0].permute(1, 2, 0)
        return norm(out.relu(), number + 1)

    features = torch.rand(90, 96)
    image = norm(features[..., None], 0)
    pads = [(3, 3), (3, 3), (63, 64), (31, 32), (15, 16)]
    front = torch.cat([conv(image, n, pads[n]).amax(dim=1) for n in range(5)], dim=1)
    first = conv(front[..., None], 5, (3, 3)).transpose(1, 2)
    second = conv(first, 6, (3, 3)).transpose(1, 2) + first
    third = conv(second, 7, (3, 3)).transpose(1, 2) + second
    whole = torch.cat([front[..., None], first, second, third], dim=1)
    pooled = torch.cat([whole.amax(dim=0), whole.mean(dim=0)], dim=1).flatten()
    hidden = norm(pooled, 9) @ weights["dense/kernel"] + weights["dense/bias"]
    teacher = musicnn.load()
    frames = teacher.encode_features(features[None], torch.tensor([90]))
    expected = torch.cat([first, second, third], dim=1)[..., 0]
    torch.testing.assert_close(frames.vectors[0], expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(frames.pooled[0], norm(hidden.relu(), 10), atol=1e-4, rtol=1e-3)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.index").write_bytes(b"no checkpoint")
    (tmp_path / "x.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint"):
        musicnn.load(str(tmp_path / "x.index"))
