import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from audiossl import distributed
from audiossl.batches import DataFacts, StemBatch
from audiossl.errors import UserError
from audiossl.features.kaldi_fbank import KaldiFbankConfig
from audiossl.methods.privileged import Privileged, PrivilegedConfig
from audiossl.models.log_mel_statistics import LogMelStatistics
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig

TINY = PatchTransformerConfig(
    front_end=KaldiFbankConfig(num_bins=32), patch_frames=8, dim=16, heads=2, layers=1
)


def made(**settings):
    torch.manual_seed(1)
    data = DataFacts(teachers={"teacher": LogMelStatistics()}, stems=("bass", "drums", "voice"))
    return Privileged(PatchTransformer(TINY), PrivilegedConfig(projection_dim=8, **settings), data)


def batch():
    torch.manual_seed(2)
    stems = 0.1 * torch.randn(4, 3, 8000)
    stems[1, 2] = 0.0
    lengths = torch.tensor([8000, 8000, 6000, 8000])
    stems = stems * (torch.arange(8000) < lengths[:, None, None])
    return StemBatch(stems.sum(dim=1), lengths, stems, torch.tensor([0, 1, 2, 0]))


def test_the_teacher_has_the_vectors_of_stems_side_by_side_and_zeros_for_silence():
    method, crops = made(), batch()
    teacher = LogMelStatistics()
    found = method.teacher_vectors(crops).view(4, 3, -1)
    for stem in range(3):
        expected = teacher(crops.stems[:, stem], crops.lengths).clip
        for row in range(4):
            if (row, stem) == (1, 2):
                assert (found[row, stem] == 0).all()
            else:
                assert_close(found[row, stem], expected[row], rtol=1e-4, atol=1e-4)
    of_mixture = made(sees="mixture").teacher_vectors(crops)
    assert_close(of_mixture, teacher(crops.waveforms, crops.lengths).clip, rtol=1e-4, atol=1e-4)


def test_the_loss_is_info_nce_both_ways_without_negatives_of_the_same_recording():
    method, crops = made(), batch()
    losses = method(crops, 0, torch.Generator())
    student = method.student_head(method.encoder(crops.waveforms, crops.lengths).clip)
    teacher = method.teacher_head(method.teacher_vectors(crops))
    scores = F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T / 0.1
    same = crops.recordings[:, None] == crops.recordings
    scores = scores.masked_fill(same & ~torch.eye(4, dtype=torch.bool), float("-inf"))
    own = torch.arange(4)
    expected = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    assert_close(losses.total, expected)


def test_the_teacher_is_frozen_and_no_part_of_a_checkpoint():
    method = made()
    method(batch(), 0, torch.Generator()).total.backward()
    assert all(p.grad is not None for p in method.parameters())
    assert not [name for name in method.state_dict() if "teacher." in name]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UserError, match="needs one teacher"):
        Privileged(PatchTransformer(TINY), PrivilegedConfig(), DataFacts())
    other = LogMelStatistics()
    other.sample_rate = 8000
    with pytest.raises(UserError, match="is of 8000 Hz, and the student of 16000 Hz"):
        Privileged(PatchTransformer(TINY), PrivilegedConfig(), DataFacts(teachers={"t": other}))


def _gradients():
    method, whole = made(), batch()
    fields = (whole.waveforms, whole.lengths, whole.stems, whole.recordings)
    own = StemBatch(*(distributed.own_rows(values) for values in fields))
    losses = method(own, 0, torch.Generator())
    losses.total.backward()
    return [distributed.total(p.grad) / distributed.world_size() for p in method.parameters()]


def test_one_process_and_two_agree(two_processes):
    alone = _gradients()
    for other in two_processes.run(_gradients):
        for mine, theirs in zip(alone, other, strict=True):
            assert_close(theirs, mine, rtol=1e-3, atol=1e-6)
