from pathlib import Path

import multi_quantization
import pytest
import torch
from safetensors.torch import load_file

from audiossl.errors import UserError
from audiossl.quantization.direct_sum import DirectSumQuantizer

GOLDEN = Path(__file__).parents[1] / "golden" / "mvq.safetensors"


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def quantizer(golden):
    state = {name[6:]: value for name, value in golden.items() if name.startswith("state.")}
    return DirectSumQuantizer.from_reference(state)


@pytest.mark.parametrize("refinements", [0, 1, 5])
def test_golden_codes(golden, quantizer, refinements):
    codes = quantizer.encode(golden["x"], refinements=refinements)
    assert codes.dtype == torch.uint8
    assert torch.equal(codes.long(), golden[f"codes.{refinements}"])


def test_golden_approximation_and_losses(golden, quantizer):
    approximation = quantizer.decode(quantizer.encode(golden["x"]))
    torch.testing.assert_close(approximation, golden["decoded.5"])
    losses = quantizer.losses(golden["x"], refinements=5)
    found = [
        losses.reconstruction,
        losses.log_prob,
        losses.logits_entropy,
        losses.index_entropy,
    ]
    torch.testing.assert_close(torch.stack(found).detach(), golden["losses"])


def library_quantizer(dim, num_codebooks, codebook_size, dtype=torch.float32):
    """A quantizer whose entries are far apart and whose first guess is poor: much to refine."""
    library = multi_quantization.Quantizer(dim, codebook_size, num_codebooks)
    with torch.no_grad():
        library.centers.copy_(torch.randn_like(library.centers) / num_codebooks**0.5)
        weight = library.centers.view(-1, dim) + 0.3 * torch.randn_like(library.to_logits.weight)
        library.to_logits.weight.copy_(weight)
        library.centers_scale.fill_(0.02)
        library.logits_scale.fill_(-0.01)
    return library.to(dtype)


@pytest.mark.parametrize(
    ("num_codebooks", "codebook_size"),
    [(1, 256), (2, 256), (4, 256), (8, 256), (16, 256), (32, 16), (8, 16), (2, 64)],
)
@pytest.mark.parametrize("refinements", [0, 1, 3])
def test_same_codes_as_the_library_in_float64(num_codebooks, codebook_size, refinements):
    library = library_quantizer(24, num_codebooks, codebook_size, torch.float64)
    ours = DirectSumQuantizer.from_reference(library.state_dict())
    frames = 1.2 * torch.randn(48, 24, dtype=torch.float64)
    with torch.no_grad():
        expected = library.encode(frames, refinements, as_bytes=False)
    assert torch.equal(ours.encode(frames, refinements).long(), expected)


def test_nearly_the_same_codes_as_the_library_in_float32_even_far_from_zero():
    library = library_quantizer(64, 16, 256)
    ours = DirectSumQuantizer.from_reference(library.state_dict())
    with torch.no_grad():
        # A mean of 30 standard deviations, as single dimensions of real teachers have it.
        library.centers[:, :, :4] += 30 / 16
        ours.centers.copy_(library.centers)
        frames = library.decode(torch.randint(256, (200, 16))) + 0.5 * torch.randn(200, 64)
        expected = library.encode(frames, 5)
    agree = (ours.encode(frames) == expected).float().mean()
    assert agree >= 0.999, agree


def test_the_loss_never_grows_with_refinements(quantizer, golden):
    # Of all frames together: a beam may lose the best candidate of a single one.
    with torch.no_grad():
        losses = [
            float(quantizer.losses(golden["x"], refinements=passes).reconstruction)
            for passes in range(6)
        ]
    assert losses == sorted(losses, reverse=True)
    assert losses[1] < 0.8 * losses[0]


def test_losses_and_gradients_are_those_of_the_library():
    library = library_quantizer(12, 4, 16, torch.float64)
    ours = DirectSumQuantizer.from_reference(library.state_dict()).train()
    frames = torch.randn(64, 12, dtype=torch.float64, requires_grad=True)
    expected = library.compute_loss(frames.detach(), 2)
    (expected[0] + expected[1] + 0.01 * expected[2]).backward()
    losses = ours.losses(frames, refinements=2)
    losses.total().backward()
    torch.testing.assert_close(losses.total(), expected[0] + expected[1] + 0.01 * expected[2])
    torch.testing.assert_close(losses.index_entropy.float(), expected[3].float())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, library.get_parameter(name).grad, msg=name)


def test_each_loss_trains_its_own_parameters():
    quantizer = DirectSumQuantizer(8, 2, 16)
    guess = {"to_logits.weight", "to_logits.bias", "logits_scale"}
    entries = {"centers", "centers_scale"}
    for name, expected in {
        "reconstruction": entries,
        "log_prob": guess,
        "logits_entropy": guess,
    }.items():
        quantizer.zero_grad()
        getattr(quantizer.losses(torch.randn(32, 8), refinements=1), name).backward()
        reached = {n for n, p in quantizer.named_parameters() if p.grad is not None}
        assert reached == expected, name
    assert not quantizer.losses(torch.randn(32, 8), refinements=1).index_entropy.requires_grad


def test_pairs_of_codebooks_approximate_alike():
    library = library_quantizer(6, 4, 4)
    single = DirectSumQuantizer.from_reference(library.state_dict())
    pairs = single.with_paired_codebooks()
    product = library.get_product_quantizer()
    for name, value in pairs.named_parameters():
        torch.testing.assert_close(value, product.get_parameter(name), msg=name)
    codes = single.encode(torch.randn(20, 6)).long()
    joined = 4 * codes[:, 0::2] + codes[:, 1::2]
    torch.testing.assert_close(pairs.decode(joined), single.decode(codes))


def test_changed_entries_change_the_codes_at_once():
    quantizer = DirectSumQuantizer(8, 2, 16)
    frames = torch.randn(64, 8)
    before = quantizer.encode(frames)
    with torch.no_grad():
        quantizer.centers.copy_(torch.randn_like(quantizer.centers))
    after = quantizer.encode(frames)
    assert not torch.equal(before, after)
    fresh = DirectSumQuantizer.from_reference(quantizer.state_dict())
    assert torch.equal(fresh.encode(frames), after)


def test_refuses_what_is_no_state_of_the_library(quantizer):
    with pytest.raises(UserError, match="tensor 'centers' of three axes; found weight"):
        DirectSumQuantizer.from_reference({"weight": torch.zeros(3)})
    state = dict(quantizer.state_dict())
    del state["to_logits.bias"]
    with pytest.raises(UserError, match=r"1 of 5 tensors missing \(to_logits.bias\)"):
        DirectSumQuantizer.from_reference(state)
    with pytest.raises(UserError, match=r"num_codebooks is 3.*power of two"):
        DirectSumQuantizer(8, 3, 16)
