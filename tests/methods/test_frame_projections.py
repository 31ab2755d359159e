import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from audiossl import distributed
from audiossl.batches import DataFacts, WaveformBatch
from audiossl.methods.frame_projections import FrameProjections, FrameProjectionsConfig
from audiossl.models.encoder import Context
from audiossl.models.projected import Projected, ProjectedConfig


def made(**settings):
    torch.manual_seed(1)
    views = {
        name: ProjectedConfig(view=view, dim=8, hop=320, blocks=2)
        for name, view in (("basis", "mdct"), ("frame", "stft"))
    }
    config = FrameProjectionsConfig(**views, hidden=16, projection_dim=8, **settings)
    encoder = Projected(ProjectedConfig(dim=8, hop=320, blocks=2))
    return FrameProjections(encoder, config, DataFacts()).double()


def batch():
    torch.manual_seed(2)
    waveforms, lengths = torch.randn(4, 8000).double(), torch.tensor([8000, 5000, 8000, 7000])
    return WaveformBatch(waveforms * (torch.arange(8000) < lengths[:, None]), lengths)


def nt_xent(first, second, temperature):
    """Every crop among all, those of its own view, too; written as the formula is."""
    both = F.normalize(torch.cat([first, second]), dim=1)
    scores = both @ both.T / temperature
    scores.fill_diagonal_(float("-inf"))
    count = len(first)
    targets = torch.cat([torch.arange(count) + count, torch.arange(count)])
    return F.cross_entropy(scores, targets)


def test_the_loss_is_nt_xent_of_the_three_pairs_of_views_and_the_error_of_mappers():
    method = made(mappers=0.5)
    losses = method(batch(), 0, torch.Generator())
    clips = method.clips(batch(), Context())
    vectors = [head(clip) for head, clip in zip(method.heads, clips, strict=True)]
    expected = sum(nt_xent(vectors[a], vectors[b], 0.15) for a, b in ((0, 1), (0, 2), (1, 2)))
    errors = [
        (m(clips[0]) - c).abs().mean() for m, c in zip(method.mappers, clips[1:], strict=True)
    ]
    assert_close(losses.total, expected + 0.5 * (errors[0] + errors[1]) / 2)


def test_mappers_change_nothing_but_themselves():
    gradients = []
    for weight in (0.0, 3.0):
        method = made(mappers=weight)
        method(batch(), 0, torch.Generator()).total.backward()
        gradients.append([p.grad for n, p in method.named_parameters() if "mappers" not in n])
    for mine, other in zip(*gradients, strict=True):
        assert_close(other, mine)


def test_the_level_of_a_clip_changes_nothing():
    method, clips = made(), batch()
    scales = torch.tensor([0.01, 1.0, 30.0, 4.0])[:, None].double()
    louder = WaveformBatch(clips.waveforms * scales, clips.lengths)
    expected = method(clips, 0, torch.Generator()).total
    assert_close(method(louder, 0, torch.Generator()).total, expected)


@pytest.mark.parametrize("length", [0, 8000])
def test_a_silent_clip_is_no_number_that_is_not_finite(length):
    waveforms = torch.cat([batch().waveforms[:2], torch.zeros(1, 8000).double()])
    method = made()
    losses = method(
        WaveformBatch(waveforms, torch.tensor([8000, 5000, length])), 0, torch.Generator()
    )
    losses.total.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


def _gradients():
    method, whole = made(mappers=0.0), batch()
    own = WaveformBatch(*(distributed.own_rows(v) for v in (whole.waveforms, whole.lengths)))
    method(own, 0, torch.Generator()).total.backward()
    trained = [p for n, p in method.named_parameters() if "mappers" not in n]
    return [distributed.total(p.grad) / distributed.world_size() for p in trained]


def test_one_process_and_two_agree(two_processes):
    alone = _gradients()
    for other in two_processes.run(_gradients):
        for mine, theirs in zip(alone, other, strict=True):
            assert_close(theirs, mine, rtol=1e-5, atol=1e-9)
