"""The T x T matrices of attention, which are what long sequences cost, made as seldom as possible.

* Rows of weights are computed in blocks that stay in a processor's cache, each with the differences
  in time that it needs.
* Padding is masked by one more channel of queries and keys.
* The gradient of the weights is never written down. It is a sum of products of two thin factors,
  one for each use: the gradient of what was gathered, and the values. A use hands its factors back,
  and the products are formed block by block where they are needed. For this, weights go out with a
  placeholder for each use, which has the shape of its factors and no storage.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.models.zipformer.kernels.blocks import BLOCK, runs_on_caches, slices
from audiossl.nn.graphs import for_any_length

MASKED = -1000.0
"""Added to the scores of padding."""
PENALIZED = 25.0
"""Absolute score from which on the penalty acts."""


class Application(NamedTuple):
    """One application of the weights: to the values of which heads, of which dimension."""

    heads: int
    """All heads, or 1 for the first alone."""
    dim: int
    """Dimension of the values of a head."""


class Layout(NamedTuple):
    """Channels of the projection: queries of all heads, then keys, then position queries."""

    heads: int
    query_dim: int
    position_dim: int
    applications: tuple[Application, ...]


class SharedWeights(NamedTuple):
    """Attention weights, handed out for one application."""

    weights: Float[Tensor, "batch heads frames frames"]
    gradient_factors: Float[Tensor, "batch heads frames two_dims"]
    """Placeholder without storage; its gradient is the two factors of that of the weights."""

    def gather(
        self, values: Float[Tensor, "batch heads frames dim"]
    ) -> Float[Tensor, "batch heads frames dim"]:
        """Average `values` over frames with the weights."""
        return _Gather.apply(self.weights, self.gradient_factors, values)


def attention_weights(
    projected: Float[Tensor, "batch frames channels"],
    relative: Float[Tensor, "heads position_dim differences"],
    padding: Bool[Tensor, "batch frames"],
    keep_positions: Float[Tensor, "#batch 1 1 1"] | None,
    *,
    layout: Layout,
    penalty: float,
) -> tuple[SharedWeights, ...]:
    """Compute softmax over s of query(t) · key(s) + position_query(t) · relative(s - t).

    Args:
        projected: Queries, keys and position queries, as `layout` has them.
        relative: Keys of the differences s - t, from -(frames - 1) to frames - 1.
        padding: Frames that get no weight.
        keep_positions: Multiplies the positional term.
        layout: Heads, their dimensions, and each use that will be made of the weights.
        penalty: Added to the gradient of scores beyond ±25, with their sign, of padding's too: as
            in the public network, it acts before padding is masked.
    """
    weights, *factors = _AttentionWeights.apply(
        projected, relative, padding, keep_positions, (layout, penalty)
    )
    return tuple(
        SharedWeights(weights[:, : application.heads], factor)
        for application, factor in zip(layout.applications, factors, strict=True)
    )


class _AttentionWeights(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        relative: Tensor,
        padding: Tensor,
        keep: Tensor | None,
        settings: tuple[Layout, float],
    ) -> tuple[Tensor, ...]:
        layout, _ = settings
        query, key, position = _split(projected, padding, keep, layout)
        batch, _, length, _ = query.shape
        weights = projected.new_empty(batch, layout.heads, length, length)
        for pairs, rows in _blocks(weights):
            scores = _scores(query[pairs], key[pairs], position[pairs], relative[pairs[1]], rows)
            torch.softmax(scores, dim=-1, out=weights[pairs][:, :, rows])
        ctx.save_for_backward(projected, relative, padding, keep, weights)
        ctx.layout, ctx.penalty = settings
        ctx.mark_non_differentiable(weights)
        ctx.set_materialize_grads(False)
        storage = projected.new_zeros(())
        return weights, *(
            storage.expand(batch, each.heads, length, 2 * each.dim) for each in layout.applications
        )

    @staticmethod
    def backward(ctx: Any, _: None, *factors: Tensor | None) -> tuple[Tensor | None, ...]:
        projected, relative, padding, keep, weights = ctx.saved_tensors
        query, key, position = _split(projected, padding, keep, ctx.layout)
        to_query, to_key = torch.zeros_like(query), torch.zeros_like(key)
        to_position, to_relative = torch.empty_like(position), torch.zeros_like(relative)
        for pairs, rows in _blocks(weights):
            block = weights[pairs][:, :, rows]
            to_weights = _products(factors, pairs, rows, block)
            to_scores = torch._softmax_backward_data(to_weights, block, -1, block.dtype)
            if ctx.penalty:
                # Of scores before padding is masked, which would be the farthest out of all.
                unmasked = query[pairs][..., :-1], key[pairs][..., :-1]
                scores = _scores(*unmasked, position[pairs], relative[pairs[1]], rows)
                beyond = (scores.abs() > PENALIZED) * scores.sign()
                to_scores.add_(beyond, alpha=ctx.penalty)
            to_query[pairs][:, :, rows] = to_scores @ key[pairs]
            to_key[pairs] += to_scores.mT @ query[pairs][:, :, rows]
            skewed, window = _unshifted(to_scores), _window(rows, weights.shape[-1])
            to_position[pairs][:, :, rows] = skewed @ relative[pairs[1], :, window].mT
            to_relative[pairs[1], :, window] += (position[pairs][:, :, rows].mT @ skewed).sum(0)
        to_projected = _joined(to_query, to_key, to_position, keep, ctx.layout)
        return to_projected, to_relative, None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, _: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(weights, values)
        # A thin matrix is a faster left factor than right factor: of 12 rows, twice as fast.
        return (values.mT @ weights.mT).mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        weights, values = ctx.saved_tensors
        return None, torch.cat([gradient, values], dim=-1), (gradient.mT @ weights).mT


def _blocks(weights: Tensor) -> Iterator[tuple[tuple[slice, slice], slice]]:
    """Cut (batch, heads, rows, frames) into contiguous blocks: slices of all but the last axis."""
    batch, heads, length, _ = weights.shape
    everything = slice(None)
    if not runs_on_caches(weights):
        yield (everything, everything), slice(0, length)
    elif heads * length**2 <= BLOCK:
        for items in slices(batch, BLOCK // (heads * length**2)):
            yield (items, everything), slice(0, length)
    else:
        size = max(1, BLOCK // length**2)
        most = max(16, BLOCK // length) if size == 1 else length
        for item, group in itertools.product(slices(batch, 1), slices(heads, size)):
            for rows in slices(length, most):
                yield (item, group), rows


def _window(rows: slice, length: int) -> slice:
    """Differences that occur between `rows` and all frames."""
    return slice(length - rows.stop, 2 * length - 1 - rows.start)


def _scores(query: Tensor, key: Tensor, position: Tensor, relative: Tensor, rows: slice) -> Tensor:
    length = key.shape[2]
    by_difference = position[:, :, rows] @ relative[:, :, _window(rows, length)]
    if for_any_length():
        return _gathered(by_difference, length) + query[:, :, rows] @ key.mT
    shifted = _shifted(by_difference, length).flatten(0, 1)
    scores = torch.baddbmm(shifted, query[:, :, rows].flatten(0, 1), key.mT.flatten(0, 1))
    return scores.view(*query.shape[:2], -1, length)


def _shifted(by_difference: Tensor, length: int) -> Tensor:
    """View rows of differences as rows of frames: each row starts one difference earlier."""
    batch, heads, rows, width = by_difference.shape
    strides = (heads * rows * width, rows * width, width - 1, 1)
    return by_difference.as_strided((batch, heads, rows, length), strides, rows - 1)


def _gathered(by_difference: Tensor, length: int) -> Tensor:
    """Do the same to all rows by their indices: strides hold for one length alone."""
    frames = torch.arange(length, device=by_difference.device)
    differences = frames - frames[:, None] + length - 1
    return by_difference.gather(-1, differences.expand(*by_difference.shape[:2], -1, -1))


def _unshifted(scores: Tensor) -> Tensor:
    """Lay rows of frames out as rows of differences, with zeros where none occurs."""
    *pairs, rows, length = scores.shape
    by_difference = scores.new_zeros(*pairs, rows, length + rows - 1)
    _shifted(by_difference, length).copy_(scores)
    return by_difference


def _products(
    factors: tuple[Tensor | None, ...], pairs: tuple[slice, slice], rows: slice, like: Tensor
) -> Tensor:
    """Form the gradient of a block of weights, which has the shape of `like`."""
    total: Tensor | None = None
    given = [factor for factor in factors if factor is not None]
    for factor in (factor for factor in given if factor.shape[1] > 1):
        gradient, values = factor[pairs].chunk(2, dim=-1)
        if total is None:
            total = gradient[:, :, rows] @ values.mT
        else:
            left, right = gradient[:, :, rows].flatten(0, 1), values.mT.flatten(0, 1)
            total.view(-1, *total.shape[2:]).baddbmm_(left, right)
    if total is None:
        total = torch.zeros_like(like)
    holds_first = not pairs[1].start
    for factor in (factor for factor in given if factor.shape[1] == 1 and holds_first):
        gradient, values = factor[pairs[0], 0].chunk(2, dim=-1)
        total[:, 0].baddbmm_(gradient[:, rows], values.mT)
    return total


def _split(
    projected: Tensor, padding: Tensor, keep: Tensor | None, layout: Layout
) -> tuple[Tensor, Tensor, Tensor]:
    widths = [layout.heads * layout.query_dim] * 2 + [layout.heads * layout.position_dim]
    query, key, position = (
        part.unflatten(-1, (layout.heads, -1)).transpose(1, 2)
        for part in projected.split(widths, dim=-1)
    )
    mask = (padding * MASKED).to(key.dtype)[:, None, :, None].expand(-1, layout.heads, -1, -1)
    key = torch.cat([key, mask], dim=-1)
    query = F.pad(query, (0, 1), value=1.0)
    position = position.contiguous() if keep is None else position * keep.to(position.dtype)
    return query, key, position


def _joined(
    query: Tensor, key: Tensor, position: Tensor, keep: Tensor | None, layout: Layout
) -> Tensor:
    position = position if keep is None else position * keep.to(position.dtype)
    parts = (query[..., : layout.query_dim], key[..., : layout.query_dim], position)
    return torch.cat([part.transpose(1, 2).flatten(2) for part in parts], dim=-1)
