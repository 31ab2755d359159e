"""One Zipformer layer: x₀ to y, in the order of figure 2 of the paper (Yao et al., 2024).

    A = AttentionWeights(x₀)                        of all heads, computed once, used three times
    x = x₀ + FeedForward₁(x₀)
    x = x + NonlinearAttention(x, A of the first head)
    x = x + SelfAttention₁(x, A)
    x = x + Convolution₁(x)
    x = x + FeedForward₂(x)
    x = x₀ + (x - x₀) · s_mid                       a learned scale of each channel
    x = x + SelfAttention₂(x, A)
    x = x + Convolution₂(x)
    x = x + FeedForward₃(x)
    y = x₀ + (BiasNorm(x) - x₀) · s

Training adds what `LayerStep` says (`training/step.py`), none of it in evaluation: sequences skip a
module (stochastic depth), hidden layers have dropout, and gradients are regularized, which leaves
values as they are.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiossl.models.zipformer.attention import AttentionWeights, NonlinearAttention, SelfAttention
from audiossl.models.zipformer.bias_norm import BiasNorm
from audiossl.models.zipformer.bypass import Bypass
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.convolution import ConvolutionModule
from audiossl.models.zipformer.feed_forward import FeedForward
from audiossl.models.zipformer.kernels.shared_attention import Application, Layout
from audiossl.models.zipformer.training.regularizers import Balance, Whitening
from audiossl.models.zipformer.training.step import LayerStep, SequenceMask


class Layer(nn.Module):
    """Frames to frames, at one rate.

    Names of modules are those of the public implementation, so that its checkpoints load as they
    are.
    """

    def __init__(self, config: ZipformerConfig, kernel_size: int) -> None:
        super().__init__()
        dim, heads = config.dim, config.num_heads
        narrow, middle, wide = config.feed_forward_dims
        hidden = 3 * dim // 4
        self.self_attn_weights = AttentionWeights(
            dim,
            config.position_dim,
            Layout(
                heads,
                config.query_dim,
                config.position_query_dim,
                applications=(
                    Application(1, hidden),
                    Application(heads, config.value_dim),
                    Application(heads, config.value_dim),
                ),
            ),
        )
        self.self_attn1 = SelfAttention(dim, heads, config.value_dim)
        self.self_attn2 = SelfAttention(dim, heads, config.value_dim)
        self.feed_forward1 = FeedForward(dim, narrow)
        self.feed_forward2 = FeedForward(dim, middle, Balance.FEED_FORWARD_2)
        self.feed_forward3 = FeedForward(dim, wide, Balance.FEED_FORWARD_3)
        self.nonlin_attention = NonlinearAttention(dim, hidden)
        self.conv_module1 = ConvolutionModule(dim, kernel_size)
        self.conv_module2 = ConvolutionModule(dim, kernel_size)
        self.norm = BiasNorm(dim)
        self.bypass = Bypass(dim)
        self.bypass_mid = Bypass(dim)
        # Public checkpoints have it, and no formula uses it.
        self.bypass_scale = nn.Parameter(self.bypass.bypass_scale.detach().clone(), False)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        positions: Float[Tensor, "differences encoding_dim"],
        padding: Bool[Tensor, "batch frames"],
        step: LayerStep,
    ) -> Float[Tensor, "batch frames dim"]:
        """Compute y.

        Args:
            frames: x₀, of one rate.
            positions: Encodings of the differences between frames.
            padding: Frames that are padding.
            step: What this step of training adds.
        """
        x0, regularizers, skips, limits = frames, step.regularizers, step.skips, step.limits
        of_first_head, weights1, weights2 = self.self_attn_weights(
            x0, positions, padding, regularizers, skips.positions
        )
        x = x0 + self.feed_forward1(x0, regularizers, step.dropout[0])
        x = _add(x, self.nonlin_attention(x, of_first_head, regularizers), skips.attention)
        x = _add(x, self.self_attn1(x, weights1, regularizers), skips.attention)
        x = _add(x, self.conv_module1(x, padding, regularizers), skips.convolution1)
        x = _add(x, self.feed_forward2(x, regularizers, step.dropout[1]), skips.feed_forward2)
        x = self.bypass_mid(x0, x, limits.bypass_mid)
        x = _add(x, self.self_attn2(x, weights2, regularizers), skips.attention)
        x = _add(x, self.conv_module2(x, padding, regularizers), skips.convolution2)
        x = _add(x, self.feed_forward3(x, regularizers, step.dropout[2]), skips.feed_forward3)
        x = self.norm(regularizers.balance(x, Balance.BEFORE_NORM), limits.norm)
        y = self.bypass(x0, x, limits.bypass, skips.layer)
        y = regularizers.balance(y, Balance.LAYER_OUTPUT)
        return regularizers.whiten(y, Whitening.LAYER_OUTPUT)


def _add(x: Tensor, change: Tensor, mask: SequenceMask | None) -> Tensor:
    """Compute x + change, of the sequences that do not skip the module."""
    return x + change if mask is None else x.addcmul(change, mask)
