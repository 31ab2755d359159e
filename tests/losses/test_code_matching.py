import math

import pytest
import torch

from audiossl.losses.code_matching import (
    clip_log_distribution,
    code_matching,
    code_similarity,
    covering_similarity,
    near_windows,
    run_length_weights,
    windows,
)
from tests.oracles import code_matching as naive


def _logs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).log_softmax(dim=-1)


def test_loss_is_the_papers_formula():
    frames = [[_logs(length, 7) for length in lengths] for lengths in ((5, 2, 4), (3, 6, 1))]
    clips = []
    for modality in frames:
        padded = torch.nn.utils.rnn.pad_sequence(modality, batch_first=True)
        valid = torch.nn.utils.rnn.pad_sequence([torch.ones(len(f)) for f in modality], True)
        clips.append(clip_log_distribution(padded, valid))
    expected = naive.code_matching([[f.exp() for f in modality] for modality in frames])
    torch.testing.assert_close(code_matching(code_similarity(*clips)), expected)


def test_similarity_of_uniform_distributions_and_its_parts():
    uniform = torch.full((2, 1024), -math.log(1024))
    torch.testing.assert_close(
        code_similarity(uniform, uniform), torch.full((2, 2), -2 * math.log(1024))
    )
    p, q = _logs(4, 9), _logs(5, 9)

    def entropy(logs: torch.Tensor) -> torch.Tensor:
        return -(logs.exp() * logs).sum(dim=-1)

    def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return (first.exp() * (first - second)).sum(dim=-1)

    a, b = p[:, None], q[None]
    expected = -(entropy(a) + entropy(b) + divergence(a, b) + divergence(b, a))
    torch.testing.assert_close(code_similarity(p, q), expected)


def test_stop_gradient_changes_gradients_and_not_values():
    p = _logs(3, 6).requires_grad_()
    q = _logs(3, 6)
    plain, stopped = code_similarity(p, q), code_similarity(p, q, stop_gradient=True)
    torch.testing.assert_close(plain, stopped)
    (gradient,) = torch.autograd.grad(stopped.sum(), p)
    torch.testing.assert_close(gradient, q.exp().sum(dim=0).expand(3, 6))
    assert not torch.allclose(torch.autograd.grad(plain.sum(), p)[0], gradient)


def test_a_mixture_that_holds_a_stem_covers_it_however_much_else_it_holds():
    stems = torch.full((2, 8), -60.0)
    stems[0, 0], stems[1, 4] = 0.0, 0.0
    wholes = torch.full((2, 8), -60.0)
    wholes[0, :4], wholes[1, 4:] = -math.log(4), -math.log(4)
    scores = covering_similarity(wholes, stems)
    torch.testing.assert_close(scores.diagonal(), torch.full((2,), -math.log(4)))
    assert (scores.fill_diagonal_(-99) < -50).all()


def test_padding_weighs_nothing_and_clips_without_frames_stay_finite():
    frames, weights = _logs(3, 5, 4), torch.ones(3, 5)
    weights[0, 3:], weights[2] = 0.0, 0.0
    found = clip_log_distribution(frames, weights)
    torch.testing.assert_close(found[0].exp(), frames[0, :3].exp().mean(dim=0))
    leaf = frames.clone().requires_grad_()
    clip_log_distribution(leaf, weights)[2].sum().backward()
    assert found.isfinite().all()
    assert leaf.grad.isfinite().all()


def test_impossible_entries_do_not_make_the_similarity_nan():
    sharp = torch.full((2, 3), float("-inf"))
    sharp[0, 0], sharp[1, 1] = 0.0, 0.0
    clips = clip_log_distribution(sharp[:, None], torch.ones(2, 1))
    assert code_similarity(clips, clips).isfinite().all()


def test_a_run_counts_as_one_frame():
    codes = torch.tensor([[3, 3, 3, 5, 3, 3, 3], [1, 1, 2, 2, 2, 2, 2]])
    valid = torch.ones(2, 7).bool()
    valid[1, 4:] = False
    weights = run_length_weights(codes, valid)
    third, half = 1 / 3, 1 / 2
    expected = torch.tensor([[third] * 3 + [1] + [third] * 3, [half] * 4 + [0] * 3])
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("frames_per_window", [2.0, 2.5])
def test_windows_share_out_every_frame_once(frames_per_window):
    values = torch.arange(20.0).view(2, 10, 1)
    weights = torch.ones(2, 10)
    weights[1, 7:] = 0
    cut, cut_weights = windows(values, weights, 5, frames_per_window)
    kept = cut[cut_weights > 0][:, 0]
    torch.testing.assert_close(kept, torch.cat([values[0, :, 0], values[1, :7, 0]]))
    assert (cut_weights.view(2, -1).sum(dim=1) == torch.tensor([10, 7])).all()


def test_windows_of_one_clip_are_near_and_of_another_never():
    clips = torch.tensor([0, 0, 0, 1, 1, 1])
    near = near_windows(clips, torch.tensor([0, 1, 2, 0, 1, 2]), gap=2)
    block = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1]]).bool()
    assert torch.equal(near, torch.block_diag(block, block).bool())


def test_anchors_that_do_not_exist_are_left_out_of_the_mean():
    scores, kept = torch.randn(4, 4), torch.tensor([True, False, True, True])
    absent = ~kept.expand(4, 4)
    found = code_matching(scores, valid=kept, excluded=absent)
    torch.testing.assert_close(found, code_matching(scores[kept][:, kept]))
