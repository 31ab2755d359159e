import pytest
import torch

from audiossl.losses.codebook_cross_entropy import codebook_cross_entropy
from tests.oracles.codebook_cross_entropy import naive_codebook_cross_entropy


def _case(frames=50, dim=12, codebooks=4, entries=16):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(frames, dim, generator=generator)
    weight = torch.randn(codebooks, entries, dim, generator=generator)
    bias = torch.randn(codebooks, entries, generator=generator)
    codes = torch.randint(entries, (frames, codebooks), generator=generator)
    codes[7], codes[20, 2] = -100, -100
    weights = torch.rand(frames, generator=generator)
    return [values.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), codes, weights]


@pytest.mark.parametrize("portion", [1, 7, 50, 64])
def test_loss_and_gradients_are_those_of_the_naive_formula(portion):
    case = _case()
    expected = naive_codebook_cross_entropy(*case)
    gradients = torch.autograd.grad(3.0 * expected, case[:3])
    scores = codebook_cross_entropy(*case, portion=portion)
    torch.testing.assert_close(scores.loss, expected)
    ours = torch.autograd.grad(3.0 * scores.loss, case[:3])
    for one, other in zip(ours, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_ignored_codes_have_neither_loss_nor_gradient_and_the_others_of_their_frame_do():
    case = _case()
    scores = codebook_cross_entropy(*case)
    of_frames, of_weight = torch.autograd.grad(scores.loss, case[:2])
    assert not scores.negative_log[7].any()
    assert not scores.correct[7].any()
    assert not of_frames[7].any()
    assert torch.equal(scores.negative_log[20] > 0, torch.tensor([True, True, False, True]))
    assert of_frames[20].any()
    # What the classifier of the missing code is given does not depend on that frame.
    case[0] = case[0].detach().index_fill(0, torch.tensor(20), 9.0).requires_grad_()
    (changed,) = torch.autograd.grad(codebook_cross_entropy(*case).loss, case[1:2])
    assert torch.equal(changed[2], of_weight[2])
    assert not torch.equal(changed[1], of_weight[1])


def test_frames_without_weight_are_scored_and_change_no_gradient():
    case = _case()
    case[4][::2] = 0.0
    expected = torch.autograd.grad(naive_codebook_cross_entropy(*case), case[:3])
    scores = codebook_cross_entropy(*case, portion=7)
    for one, other in zip(torch.autograd.grad(scores.loss, case[:3]), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    everywhere = codebook_cross_entropy(*case[:4], torch.ones(50))
    torch.testing.assert_close(scores.negative_log, everywhere.negative_log)
    assert torch.equal(scores.correct, everywhere.correct)


def test_accuracy_is_that_of_the_highest_score():
    values, weight, bias, codes, weights = _case()
    logits = torch.einsum("fd,ned->fne", values, weight) + bias
    expected = logits.argmax(-1) == codes
    scores = codebook_cross_entropy(values, weight, bias, codes, weights)
    assert torch.equal(scores.correct, expected & (codes != -100))


def test_logits_are_never_stored_whole():
    """Of 4096 frames, none of the tensors made is as large as all logits would be."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    case = _case(frames=4096, dim=8, codebooks=8, entries=64)
    with Sizes():
        codebook_cross_entropy(*case, portion=256).loss.backward()
    assert largest <= 256 * 8 * 64


def test_autocast_does_not_reach_the_heads():
    case = _case()
    expected = codebook_cross_entropy(*case).loss
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(codebook_cross_entropy(*case).loss, expected)
