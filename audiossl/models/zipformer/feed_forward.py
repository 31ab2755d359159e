"""The feed-forward module: a wider layer between two linear maps."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.models.zipformer.regularizer import IDLE, Balance, Regularizer, Whitening
from audiossl.models.zipformer.swoosh import SWOOSH_L, activated_linear


class FeedForward(nn.Module):
    """out(SwooshL(in(x))), each frame for itself."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, dim)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        regularizer: Regularizer = IDLE,
        dropout: Float[Tensor, "batch 1 hidden"] | None = None,
    ) -> Float[Tensor, "batch frames dim"]:
        """Map each frame; `dropout` multiplies the wider layer, alike for all frames."""
        shift = SWOOSH_L.shift
        shifted = F.linear(frames, self.in_proj.weight, self.in_proj.bias - shift)
        shifted = regularizer.balance(shifted, Balance.FEED_FORWARD_HIDDEN, plus=shift)
        output = activated_linear(
            shifted, self.out_proj.weight, self.out_proj.bias, SWOOSH_L, dropout
        )
        return regularizer.whiten(output, Whitening.FEED_FORWARD)
