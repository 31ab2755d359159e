"""The feed-forward module: a wider layer between two linear maps."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.models.zipformer.swoosh import SWOOSH_L, activated_linear
from audiossl.models.zipformer.training.regularizers import (
    NO_REGULARIZERS,
    Balance,
    GradientRegularizers,
    Whitening,
)


class FeedForward(nn.Module):
    """out(SwooshL(in(x))), each frame for itself.

    Example:
        >>> import torch
        >>> FeedForward(8, 16)(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, dim: int, hidden_dim: int, balanced: Balance | None = None) -> None:
        """Make the linear maps; `balanced` says how the output is, if it is (in training)."""
        super().__init__()
        self.balanced = balanced
        self.in_proj = nn.Linear(dim, hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, dim)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        regularizers: GradientRegularizers = NO_REGULARIZERS,
        dropout: Float[Tensor, "batch 1 hidden"] | None = None,
    ) -> Float[Tensor, "batch frames dim"]:
        """Map each frame; `dropout` multiplies the wider layer, alike for all frames."""
        shift = SWOOSH_L.shift
        shifted = F.linear(frames, self.in_proj.weight, self.in_proj.bias - shift)
        shifted = regularizers.balance(shifted, Balance.FEED_FORWARD_HIDDEN, plus=shift)
        output = activated_linear(
            shifted, self.out_proj.weight, self.out_proj.bias, SWOOSH_L, dropout
        )
        output = regularizers.whiten(output, Whitening.FEED_FORWARD)
        return output if self.balanced is None else regularizers.balance(output, self.balanced)
