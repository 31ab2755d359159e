"""Attention weights that are computed once and used three times.

score(t, s) = query(t) · key(s) + position_query(t) · position_key(s - t), without a scale; weights
are its softmax over s. Source: Zipformer (Yao et al., 2024), section 3.1.

The function under these modules, and why it is shaped as it is, is in `shared_weights.py`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiossl.models.zipformer.regularizer import IDLE, Balance, Regularizer, Whitening
from audiossl.models.zipformer.shared_weights import Layout, Weights, attention_weights


class AttentionWeights(nn.Module):
    """Who listens to whom: queries, keys and relative positions to weights for every head."""

    def __init__(self, dim: int, encoding_dim: int, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        per_head = 2 * layout.query_dim + layout.position_dim
        self.in_proj = nn.Linear(dim, layout.heads * per_head)
        self.linear_pos = nn.Linear(encoding_dim, layout.heads * layout.position_dim, bias=False)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        positions: Float[Tensor, "differences encoding_dim"],
        padding: Bool[Tensor, "batch frames"],
        regularizer: Regularizer = IDLE,
        keep_positions: Float[Tensor, "1 1 1"] | None = None,
    ) -> tuple[Weights, ...]:
        """Compute the weights, one handle for each use.

        Args:
            frames: What listens and is listened to.
            positions: Encodings of the differences between frames.
            padding: Frames that nobody listens to.
            regularizer: What pushes activations back in this step.
            keep_positions: 0 for a batch that goes without the positional term.
        """
        heads, queries = self.layout.heads, self.layout.heads * self.layout.query_dim
        keys = slice(queries, 2 * queries)
        projected = regularizer.balance(self.in_proj(frames), Balance.KEYS, keys)
        projected = regularizer.whiten(projected, Whitening.KEYS, keys, groups=heads)
        relative = self.linear_pos(positions).unflatten(1, (heads, -1)).permute(1, 2, 0)
        keep = None if keep_positions is None else keep_positions[..., None]
        return attention_weights(
            projected, relative, padding, keep,
            layout=self.layout, penalty=regularizer.score_penalty,
        )  # fmt: skip


class SelfAttention(nn.Module):
    """Values gathered by the weights of all heads."""

    def __init__(self, dim: int, heads: int, value_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(dim, heads * value_dim)
        self.out_proj = nn.Linear(heads * value_dim, dim)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        weights: Weights,
        regularizer: Regularizer = IDLE,
    ) -> Float[Tensor, "batch frames dim"]:
        """Gather values of other frames."""
        values = self.in_proj(frames).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        gathered = weights.gather(values).transpose(1, 2).flatten(2)
        return regularizer.whiten(self.out_proj(gathered), Whitening.SELF_ATTENTION)


class NonlinearAttention(nn.Module):
    """Gated values gathered by the weights of the first head: out((A · (x tanh(s))) y)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, 3 * hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, dim)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        weights: Weights,
        regularizer: Regularizer = IDLE,
    ) -> Float[Tensor, "batch frames dim"]:
        """Gather gated values of other frames, and gate what comes."""
        gate, x, y = self.in_proj(frames).chunk(3, dim=-1)
        gate = regularizer.balance(gate, Balance.NONLINEAR_GATE)
        x = regularizer.whiten(x, Whitening.NONLINEAR_INPUT)
        gathered = weights.gather((x * torch.tanh(gate)).unsqueeze(1)).squeeze(1)
        return regularizer.whiten(self.out_proj(gathered * y), Whitening.NONLINEAR_OUTPUT)
