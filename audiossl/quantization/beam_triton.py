"""One merge of the beam search as one kernel, for CUDA: what `beam.py` does in dozens of launches.

A program takes one pair of neighboring groups of one frame: it adds up the products between their
moves in registers, sorts the candidates, and writes the best. The plain path of `beam.py` is its
oracle; sums are taken in another order here, so that float32 may decide near ties otherwise.
"""

# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917 - a kernel's arguments are pointers without types
# mypy: allow-untyped-defs, allow-incomplete-defs

from inspect import unwrap

import triton
import triton.language as tl
from jaxtyping import Float, Int32
from torch import Tensor


def merged(
    change: Float[Tensor, "frames groups width"],
    entries: Int32[Tensor, "frames groups width leaves"],
    old: Int32[Tensor, "frames codebooks"],
    between: Float[Tensor, "entries entries"],
    num_best: int,
) -> tuple[Float[Tensor, "frames fewer best"], Int32[Tensor, "frames fewer best more_leaves"]]:
    """Join neighboring groups and keep the best candidates of each.

    Args:
        change: By how much a candidate alone would change the squared error, float32.
        entries: The entries it consists of; width and leaves are powers of two.
        old: The current choice.
        between: Inner products between all entries, float32.
        num_best: Candidates to keep, at most width².
    """
    num_frames, num_groups, width, leaves = entries.shape
    fewer = num_groups // 2
    best = change.new_empty(num_frames, fewer, num_best)
    chosen = entries.new_empty(num_frames, fewer, num_best, 2 * leaves)
    merge_kernel[(num_frames * fewer,)](
        change.contiguous(),
        entries.contiguous(),
        old.contiguous(),
        between.contiguous(),
        best,
        chosen,
        len(between),
        num_groups=num_groups,
        width=width,
        leaves=leaves,
        num_best=num_best,
        num_warps=4 if width <= 16 else 8,
    )
    return best, chosen


def _kernel(function):
    # A type checker around the function, as tests put it there, would hide its globals.
    return triton.jit(unwrap(function))


@_kernel
def _products_of_moves(
    left,
    right,
    left_old,
    right_old,
    between,
    num_entries,
    width: tl.constexpr,
    leaves: tl.constexpr,
):
    """Multiply sums of entries, each less the sum of the current choices."""
    cross = tl.zeros((width, width), tl.float32)
    for a in range(leaves):
        row = between + tl.load(left + a).to(tl.int64) * num_entries
        old_row = between + tl.load(left_old + a).to(tl.int64) * num_entries
        for b in tl.static_range(leaves):
            column = tl.load(right + b)
            old_column = tl.load(right_old + b)
            cross += tl.load(row[:, None] + column[None, :])
            cross -= tl.load(row + old_column)[:, None]
            cross -= tl.load(old_row + column)[None, :]
            cross += tl.load(old_row + old_column)
    return cross


@_kernel
def _flipped(bits):
    """Make integers of the bits of floats that sort like them, and bits of such integers."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@_kernel
def merge_kernel(
    change,
    entries,
    old,
    between,
    best,
    chosen,
    num_entries,
    num_groups: tl.constexpr,
    width: tl.constexpr,
    leaves: tl.constexpr,
    num_best: tl.constexpr,
):
    """Merge one pair of groups of one frame."""
    pair = tl.program_id(0).to(tl.int64)
    left = (pair // (num_groups // 2)) * num_groups + 2 * (pair % (num_groups // 2))
    candidate = tl.arange(0, width)
    left_entries = entries + left * width * leaves
    right_entries = left_entries + width * leaves
    cross = _products_of_moves(
        left_entries + candidate * leaves,
        right_entries + candidate * leaves,
        old + left * leaves,
        old + (left + 1) * leaves,
        between,
        num_entries,
        width,
        leaves,
    )
    left_change = tl.load(change + left * width + candidate)
    right_change = tl.load(change + (left + 1) * width + candidate)
    total = left_change[:, None] + right_change[None, :] + 2 * cross

    # The upper half of a key sorts like the float; the lower says which candidate it is.
    upper = _flipped(total.to(tl.int32, bitcast=True)).to(tl.int64) << 32
    keys = tl.reshape(upper | (candidate[:, None] * width + candidate[None, :]), (width * width,))
    if num_best == 1:
        place = tl.arange(0, 1)
        keys = tl.min(keys, axis=0) + tl.zeros((1,), tl.int64)
    else:
        place = tl.arange(0, width * width)
        keys = tl.sort(keys)
    wanted = place < num_best
    out = pair * num_best + place
    value = _flipped((keys >> 32).to(tl.int32)).to(tl.float32, bitcast=True)
    tl.store(best + out, value, mask=wanted)
    pick = (keys & 0xFFFFFFFF).to(tl.int32)
    from_left = left_entries + pick // width * leaves
    from_right = right_entries + pick % width * leaves
    for a in tl.static_range(leaves):
        entry = tl.load(from_left + a, mask=wanted, other=0)
        tl.store(chosen + out * (2 * leaves) + a, entry, mask=wanted)
        entry = tl.load(from_right + a, mask=wanted, other=0)
        tl.store(chosen + out * (2 * leaves) + leaves + a, entry, mask=wanted)
