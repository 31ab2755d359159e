import pytest
import torch

from audiossl.errors import Skip, UserError
from audiossl.quantization.quantizer import CodebookQuantizer, Quantizer, code_dtype, content_id
from tests.quantization.quantizers import DIM, frames, one_of_each

QUANTIZERS = one_of_each()
each = pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda quantizer: quantizer.kind)


@each
def test_keeps_the_protocol(quantizer):
    assert isinstance(quantizer, Quantizer)
    codes = quantizer.encode(frames(2, 5))
    assert codes.shape == (2, 5, quantizer.num_codebooks)
    assert codes.dtype == code_dtype(quantizer.codebook_size)
    assert quantizer.decode(codes).shape == (2, 5, DIM)
    assert len(set(map(tuple, codes.reshape(-1, quantizer.num_codebooks).tolist()))) > 3


@each
def test_no_frames_have_no_codes(quantizer):
    assert quantizer.encode(frames(2, 0)).shape == (2, 0, quantizer.num_codebooks)
    assert quantizer.decode(quantizer.encode(frames(0))).shape == (0, DIM)


@each
def test_frames_are_encoded_a_few_at_a_time_with_the_same_codes(quantizer, monkeypatch):
    whole = quantizer.encode(frames(50))
    inner, sizes = getattr(quantizer, "inner", quantizer), []
    for kind in {type(quantizer), type(inner)}:
        monkeypatch.setattr(kind, "frames_per_chunk", {"cpu": 7})
    encode_chunk = type(inner).encode_chunk

    def spy(self, chunk, *arguments, **options):
        sizes.append(len(chunk))
        return encode_chunk(self, chunk, *arguments, **options)

    monkeypatch.setattr(type(inner), "encode_chunk", spy)
    assert torch.equal(quantizer.encode(frames(50)), whole)
    assert sizes == [7] * 7 + [1]  # memory is bounded whatever the number of frames


@each
def test_half_precision_frames_under_autocast_get_the_codes_of_their_values(quantizer):
    halves = frames(40).half()
    with torch.autocast("cpu", torch.bfloat16):
        codes = quantizer.encode(halves)
    assert torch.equal(codes, quantizer.encode(halves.float()))


@each
def test_the_id_hangs_on_the_content_alone(quantizer):
    first = quantizer.id
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert quantizer.double().id == first
    quantizer.float()
    name, value = next(
        (n, v) for n, v in quantizer.deciding_state().items() if v.is_floating_point() and v.ndim
    )
    saved = value.clone()
    with torch.no_grad():
        value.view(-1)[0] += 1e-3
    assert quantizer.id != first, name
    with torch.no_grad():
        value.copy_(saved)
    assert quantizer.id == first


def test_every_kind_has_another_id():
    assert len({quantizer.id for quantizer in QUANTIZERS}) == len(QUANTIZERS)
    state = {"entries": torch.zeros(3)}
    assert content_id("a", {"x": 1}, state) != content_id("b", {"x": 1}, state)
    assert content_id("a", {"x": 1}, state) != content_id("a", {"x": 2}, state)
    assert content_id("a", {}, state) != content_id("a", {}, {"entries": torch.zeros(3, 1)})


@each
def test_refuses_frames_of_another_dimension(quantizer):
    with pytest.raises(UserError, match=rf"{DIM} dimensions, got 5.*another teacher"):
        quantizer.encode(torch.zeros(4, 5))


@each
def test_refuses_codes_that_cannot_be_its_own(quantizer):
    books = quantizer.num_codebooks
    with pytest.raises(UserError, match=f"has {books} codebooks.*{books + 1} codes a frame"):
        quantizer.decode(torch.zeros(4, books + 1, dtype=torch.uint8))
    wrong = torch.full((1, books), quantizer.codebook_size, dtype=torch.int32)
    with pytest.raises(UserError, match=f"hold {quantizer.codebook_size} entries"):
        quantizer.decode(wrong)
    with pytest.raises(UserError, match="codes from -1"):
        quantizer.decode(-torch.ones(1, books, dtype=torch.int32))


@each
def test_a_frame_that_is_not_a_number_is_named(quantizer, monkeypatch):
    monkeypatch.setattr(CodebookQuantizer, "frames_per_chunk", {"cpu": 4})
    bad = frames(10)
    bad[6, 3] = float("nan")
    with pytest.raises(Skip, match="frame 6 is NaN or infinite"):
        quantizer.encode(bad)


def test_large_codebooks_get_larger_codes():
    assert [code_dtype(n) for n in (256, 257, 32768, 32769)] == [
        torch.uint8,
        torch.int16,
        torch.int16,
        torch.int32,
    ]
