import itertools
import os
import subprocess
import sys

import pytest
import torch

from audiossl.quantization.beam import _width, beam_search, entry_products, refine


def problem(num_codebooks, codebook_size, dim, num_frames, dtype=torch.float64):
    generator = torch.Generator().manual_seed(num_codebooks)
    entries = torch.randn(num_codebooks, codebook_size, dim, generator=generator, dtype=dtype)
    frames = torch.randn(num_frames, dim, generator=generator, dtype=dtype) * num_codebooks**0.5
    codes = torch.randint(codebook_size, (num_frames, num_codebooks), generator=generator)
    return entries, frames, codes


def errors(entries, frames, codes):
    books = torch.arange(len(entries), device=codes.device)
    return (entries[books, codes].sum(dim=1) - frames).square().sum(dim=1)


@pytest.mark.parametrize(("num_codebooks", "codebook_size"), [(1, 30), (2, 12), (2, 16)])
def test_a_beam_that_holds_everything_finds_the_best_of_all_combinations(
    num_codebooks, codebook_size
):
    entries, frames, codes = problem(num_codebooks, codebook_size, 5, 40)
    if num_codebooks == 2:  # 8 candidates of each codebook stay; among 8 they are all there is
        entries, codes = entries[:, :8], codes % 8
    products = entry_products(entries)
    found = refine(codes, frames @ entries.flatten(0, 1).T, products)
    all_codes = itertools.product(range(entries.shape[1]), repeat=num_codebooks)
    every = torch.stack([errors(entries, frames, torch.tensor([c] * 40)) for c in all_codes])
    torch.testing.assert_close(errors(entries, frames, found), every.amin(dim=0))


def test_passes_stop_where_nothing_moves_any_more():
    entries, frames, codes = problem(8, 16, 6, 60)
    products, with_frames = entry_products(entries), frames @ entries.flatten(0, 1).T
    step_by_step = codes
    for passes in range(1, 7):
        step_by_step = refine(step_by_step, with_frames, products)
        assert torch.equal(
            beam_search(codes, with_frames, products, refinements=passes), step_by_step
        )
    assert torch.equal(codes, problem(8, 16, 6, 60)[2])  # they are not changed in place


def test_widths_are_those_of_the_source():
    assert [_width(256, leaves) for leaves in (1, 2, 4, 8, 16, 32, 64)] == [
        16,
        16,
        32,
        32,
        64,
        64,
        128,
    ]
    assert [_width(16, leaves) for leaves in (1, 2, 4, 8, 16, 1024)] == [8, 8, 16, 16, 32, 128]


INTERPRETED = """
import torch
from audiossl.quantization import beam, beam_triton
from tests.quantization.test_beam import problem

for num_codebooks, size in ((4, 16), (4, 256), (8, 16)):
    entries, frames, codes = problem(num_codebooks, size, 12, 6, torch.float32)
    old = (codes + torch.arange(num_codebooks) * size).int()
    products = beam.entry_products(entries)
    state = beam._leaves(old, frames @ entries.flatten(0, 1).T, products)
    while state.entries.shape[1] > 1:
        plain = beam._merged(state, old, products)
        kept = plain.change.shape[2]
        change, chosen = beam_triton.merged(
            state.change, state.entries, old, products.between, kept
        )
        order, other = plain.change.argsort(2)[..., None], change.argsort(2)[..., None]
        torch.testing.assert_close(change.sort(2).values, plain.change.sort(2).values)
        wanted = plain.entries.gather(2, order.expand_as(plain.entries))
        assert torch.equal(chosen.gather(2, other.expand_as(chosen)), wanted)
        state = plain
print("equal")
"""


@pytest.mark.long
def test_the_kernel_merges_like_the_plain_path_when_it_is_interpreted():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "equal", done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("compute_capability", [80, 90])
def test_the_kernel_compiles_for_devices_that_are_not_here(compute_capability):
    compiler = pytest.importorskip("triton.compiler")
    from triton.backends.compiler import GPUTarget

    from audiossl.quantization.beam_triton import merge_kernel

    names = ("change", "entries", "old", "between", "best", "chosen")
    types = ("*fp32", "*i32", "*i32", "*fp32", "*fp32", "*i32")
    for shape in ((16, 16, 1, 16), (4, 32, 4, 32), (2, 32, 8, 1)):
        constants = dict(zip(("num_groups", "width", "leaves", "kept"), shape, strict=True))
        signature = dict(zip(names, types, strict=True)) | {"num_entries": "i32"}
        signature |= dict.fromkeys(constants, "constexpr")
        source = compiler.ASTSource(fn=merge_kernel, signature=signature, constexprs=constants)
        made = compiler.compile(source, target=GPUTarget("cuda", compute_capability, 32))
        assert "cubin" in made.asm


@pytest.mark.gpu
@pytest.mark.parametrize(("num_codebooks", "codebook_size"), [(16, 256), (8, 256), (32, 16)])
def test_the_kernel_finds_the_codes_of_the_plain_path(num_codebooks, codebook_size, monkeypatch):
    entries, frames, codes = (
        each.cuda() for each in problem(num_codebooks, codebook_size, 256, 3000, torch.float32)
    )
    products, with_frames = entry_products(entries), frames @ entries.flatten(0, 1).T
    fused = beam_search(codes, with_frames, products, refinements=5)
    monkeypatch.setattr("audiossl.quantization.beam._is_fusible", lambda *_: False)
    plain = beam_search(codes, with_frames, products, refinements=5)
    assert (fused == plain).float().mean() >= 0.999
    torch.testing.assert_close(
        errors(entries, frames, fused).mean(),
        errors(entries, frames, plain).mean(),
        rtol=1e-4,
        atol=0,
    )
