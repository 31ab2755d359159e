import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.quantization.frame_batches import FrameBatches

FRAMES = np.arange(20, dtype=np.float16).reshape(10, 2)


def test_an_epoch_holds_every_frame_once_and_then_begins_again():
    batches = FrameBatches(FRAMES, 5, seed=3)
    epoch = torch.cat([batches.batch(0), batches.batch(1)])
    assert sorted(epoch[:, 0].tolist()) == FRAMES[:, 0].tolist()
    assert not torch.equal(epoch, torch.from_numpy(FRAMES).float())
    assert torch.equal(batches.batch(2), batches.batch(0))
    assert epoch.dtype == torch.float32


def test_a_batch_depends_on_seed_and_step_alone():
    assert torch.equal(
        FrameBatches(FRAMES, 4, seed=3).batch(7), FrameBatches(FRAMES, 4, seed=3).batch(7)
    )
    assert not torch.equal(
        FrameBatches(FRAMES, 4, seed=3).batch(0), FrameBatches(FRAMES, 4, seed=4).batch(0)
    )


def test_a_memory_map_is_read_like_an_array(tmp_path):
    np.save(tmp_path / "frames.npy", FRAMES)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    assert torch.equal(
        FrameBatches(mapped, 4, seed=0).batch(1), FrameBatches(FRAMES, 4, seed=0).batch(1)
    )


def test_functions_are_applied_in_order():
    batches = FrameBatches(FRAMES, 10, seed=0, prepare=lambda x: x + 1)
    doubled = batches.then(lambda x: 2 * x)
    assert torch.equal(doubled.batch(0), 2 * batches.batch(0))


def test_bad_frames_are_named():
    bad = FRAMES.copy()
    bad[4] = np.nan
    with pytest.raises(UserError, match="training frame 4 is NaN"):
        FrameBatches(bad, 10, seed=0).batch(0)
    for shape in ((0, 3), (3,)):
        with pytest.raises(UserError, match=r"array of \(frames, dim\)"):
            FrameBatches(np.zeros(shape), 2, seed=0)
