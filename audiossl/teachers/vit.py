"""Blocks of a Vision Transformer, by the names that timm gave their tensors."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Block(nn.Module):
    """Attention, then a network of two maps, each with a norm before it or behind its sum."""

    def __init__(self, dim: int, num_heads: int, *, pre_norm: bool = True) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(dim, 4 * dim))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * dim, dim))

    def forward(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch 1 1 frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Let frames attend to those of the mask."""
        if self.pre_norm:
            hidden = hidden + self.attn(self.norm1(hidden), mask)
            return hidden + self.mlp(self.norm2(hidden))
        hidden = self.norm1(hidden + self.attn(hidden, mask))
        return self.norm2(hidden + self.mlp(hidden))


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch 1 1 frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        batch, frames, dim = hidden.shape
        qkv = self.qkv(hidden).view(batch, frames, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(attended.transpose(1, 2).reshape(batch, frames, dim))
