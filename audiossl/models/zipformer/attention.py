"""Attention weights that are computed once and used three times.

score(t, s) = query(t) · key(s) + position_query(t) · position_key(s - t), without a scale; weights
are its softmax over s. Source: Zipformer (Yao et al., 2024), section 3.1.

The function under these modules, and why it is shaped as it is, is in `shared_attention.py`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiossl.models.zipformer.kernels.shared_attention import (
    Layout,
    SharedWeights,
    attention_weights,
)
from audiossl.models.zipformer.training.regularizers import (
    NO_REGULARIZERS,
    Balance,
    GradientRegularizers,
    Whitening,
)


class AttentionWeights(nn.Module):
    """Queries, keys and relative positions to weights for every head."""

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
        regularizers: GradientRegularizers = NO_REGULARIZERS,
        keep_positions: Float[Tensor, "1 1 1"] | None = None,
    ) -> tuple[SharedWeights, ...]:
        """Compute the weights, one handle for each application.

        Args:
            frames: What queries and keys are of.
            positions: Encodings of the differences between frames.
            padding: Frames that get no weight.
            regularizers: What this step of training adds to gradients.
            keep_positions: 0 for a batch that goes without the positional term.
        """
        heads, queries = self.layout.heads, self.layout.heads * self.layout.query_dim
        keys = slice(queries, 2 * queries)
        projected = regularizers.balance(self.in_proj(frames), Balance.KEYS, keys)
        projected = regularizers.whiten(projected, Whitening.KEYS, keys, groups=heads)
        relative = self.linear_pos(positions).unflatten(1, (heads, -1)).permute(1, 2, 0)
        keep = None if keep_positions is None else keep_positions[..., None]
        return attention_weights(
            projected, relative, padding, keep,
            layout=self.layout, penalty=regularizers.score_penalty,
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
        weights: SharedWeights,
        regularizers: GradientRegularizers = NO_REGULARIZERS,
    ) -> Float[Tensor, "batch frames dim"]:
        """Gather values of other frames."""
        values = self.in_proj(frames).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        gathered = weights.gather(values).transpose(1, 2).flatten(2)
        return regularizers.whiten(self.out_proj(gathered), Whitening.SELF_ATTENTION)


class NonlinearAttention(nn.Module):
    """Gated values gathered by the weights of the first head: out((A · (x tanh(s))) y)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, 3 * hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, dim)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        weights: SharedWeights,
        regularizers: GradientRegularizers = NO_REGULARIZERS,
    ) -> Float[Tensor, "batch frames dim"]:
        """Gather gated values of other frames, and gate what comes."""
        gate, x, y = self.in_proj(frames).chunk(3, dim=-1)
        gate = regularizers.balance(gate, Balance.NONLINEAR_GATE)
        x = regularizers.whiten(x, Whitening.NONLINEAR_INPUT)
        gathered = weights.gather((x * torch.tanh(gate)).unsqueeze(1)).squeeze(1)
        output = self.out_proj(gathered * y)
        output = regularizers.whiten(output, Whitening.NONLINEAR_OUTPUT)
        return regularizers.balance(output, Balance.NONLINEAR_OUTPUT)
