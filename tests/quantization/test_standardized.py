import numpy as np
import torch

from audiossl.quantization.kmeans import KMeansQuantizer
from audiossl.quantization.standardized import Standardized, frame_statistics


def test_statistics_of_parts_are_those_of_the_whole(tmp_path):
    frames = np.random.default_rng(0).standard_normal((1000, 3)) * [1, 100, 0] + [5, -3000, 2]
    np.save(tmp_path / "frames.npy", frames.astype(np.float32))
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    for rows in (17, 1000, 5000):
        mean, deviation = frame_statistics(mapped, rows)
        np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-4)
        np.testing.assert_allclose(deviation[:2], frames.std(0)[:2], rtol=1e-4)
        np.testing.assert_allclose(deviation[2], 1e-5, rtol=1e-4)


def test_codes_do_not_hang_on_scale_and_offset_of_dimensions():
    inner = KMeansQuantizer.from_entries(torch.randn(20, 4))
    frames = torch.randn(100, 4)
    mean, deviation = torch.randn(4) * 10, torch.rand(4) * 5 + 0.1
    outer = Standardized(inner, mean, deviation)
    assert torch.equal(outer.encode(frames * deviation + mean), inner.encode(frames))
    expected = inner.decode(inner.encode(frames)) * deviation + mean
    torch.testing.assert_close(outer.decode(inner.encode(frames)), expected)
