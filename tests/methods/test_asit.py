import math

import pytest
import torch
from torch.testing import assert_close

from audiossl import distributed
from audiossl.batches import DataFacts, WaveformBatch
from audiossl.errors import UserError
from audiossl.features.kaldi_fbank import KaldiFbankConfig
from audiossl.losses.self_distillation import PrototypesConfig
from audiossl.methods.asit import Asit, AsitConfig
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from tests.methods.accumulation import accumulate

FEW = PrototypesConfig(size=6, hidden=8, bottleneck=4, warmup_steps=0)
TINY = PatchTransformerConfig(
    front_end=KaldiFbankConfig(num_bins=32), patch_frames=8, dim=16, heads=2, layers=1
)


def made(**settings):
    torch.manual_seed(1)
    config = AsitConfig(clips=FEW, frames=FEW, **settings)
    return Asit(PatchTransformer(TINY), config, DataFacts()).double()


def clips():
    torch.manual_seed(2)
    waveforms = torch.randn(4, 16000).double()
    lengths = torch.tensor([16000, 6000, 16000, 12000])
    return WaveformBatch(waveforms * (torch.arange(16000) < lengths[:, None]), lengths)


def generator():
    return torch.Generator().manual_seed(3)


def test_crops_are_runs_of_frames_of_their_clip():
    method, batch = made(), clips()
    features, lengths = method.encoder.features(batch.waveforms, batch.lengths)
    crops, cropped = method.crops(batch, generator())
    assert crops.shape[:2] == (8, 60)
    assert cropped.tolist() == [60, 60, 38, 38, 60, 60, 60, 60]
    for row, (crop, length) in enumerate(zip(crops, cropped.tolist(), strict=True)):
        windows = features[row // 2].unfold(0, length, 1).mT
        assert (
            (windows == crop[:length]).all(dim=(1, 2))[: int(lengths[row // 2]) - length + 1].any()
        )
    assert not torch.equal(crops[0], crops[1])


def test_aliens_are_never_of_the_same_clip():
    others, alone = made().partners(6, torch.device("cpu"))
    assert others.tolist() == [2, 3, 0, 1, 4, 5]
    assert alone.tolist() == [False] * 4 + [True] * 2


def test_clips_are_told_from_the_other_crop_and_frames_from_the_same():
    method, batch = made(), clips()
    with torch.no_grad():
        method.clip_center.mean.copy_(torch.randn(6))
    losses = method(batch, 0, generator())
    draws = generator()
    crops, lengths = method.crops(batch, draws)
    changed = method.corrupted(crops, lengths, draws)
    _, said, of_frames = method._student[0](changed.features, lengths, None)
    _, found, found_frames = method.teacher(crops, lengths, None)
    swapped = found[[1, 0, 3, 2, 5, 4, 7, 6]]
    targets = torch.softmax((swapped - method.clip_center.mean) / 0.07, 1)
    clip_loss = -(targets * torch.log_softmax(said / 0.1, 1)).sum(1).mean()
    assert_close(losses.metrics["clip_loss"], clip_loss.detach())
    targets = torch.softmax(found_frames / 0.07, 2)
    each = -(targets * torch.log_softmax(of_frames / 0.1, 2)).sum(2)
    counts = ((lengths + 7) // 8).tolist()
    frame_loss = torch.stack([row[:count].mean() for row, count in zip(each, counts, strict=True)])
    assert_close(losses.metrics["frame_loss"], frame_loss.mean().detach())
    total = clip_loss + frame_loss.mean() + 2 * losses.metrics["error"]
    assert_close(losses.total.detach(), total.detach())


def test_the_teacher_follows_and_gets_no_gradient():
    method, batch = made(momentum=0.5), clips()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    before = method.teacher.network.encoder.norm.weight.clone()
    method(batch, 0, generator()).total.backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    optimizer.step()
    method.after_update()
    after = method.encoder.norm.weight.detach()
    assert_close(method.teacher.network.encoder.norm.weight, (before + after) / 2)
    assert not torch.equal(before, after)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UserError, match="crop is 0"):
        AsitConfig(crop=0.0)
    short = WaveformBatch(torch.zeros(2, 1600).double(), torch.tensor([1600, 1600]))
    with pytest.raises(UserError, match=r"method asit: crops of 6 feature frames are shorter"):
        made()(short, 0, generator())


def test_a_batch_without_a_frame_counts_nothing():
    batch = WaveformBatch(torch.zeros(2, 3200), torch.tensor([0, 0]))
    method = made().float()
    losses = method(batch, 0, generator())
    assert (losses.weight, float(losses.total.detach())) == (0.0, 0.0)
    losses.total.backward()
    method.after_update()


def _trained(parts=1):
    method = made()
    batch = clips()
    own = WaveformBatch(
        *(distributed.own_rows(values) for values in (batch.waveforms, batch.lengths))
    )
    loss, weight = accumulate(lambda part: method(part, 0, generator()), own, parts)
    method.after_update()
    gradients = [distributed.total(p.grad) for p in method.parameters() if p.grad is not None]
    centers = [method.clip_center.mean, method.frame_center.mean]
    return loss, [gradient / weight for gradient in gradients] + centers


def test_one_process_two_and_a_batch_in_parts_agree(two_processes):
    loss, tensors = _trained()
    assert math.isfinite(loss)
    for other in (*two_processes.run(_trained), _trained(2)):
        assert other[0] == pytest.approx(loss, rel=1e-6)
        for mine, theirs in zip(tensors, other[1], strict=True):
            assert_close(theirs, mine, rtol=1e-5, atol=1e-9)
