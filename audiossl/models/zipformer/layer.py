"""One Zipformer layer, as in figure 2 of the paper: attention weights once, used three times."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiossl.models.zipformer.attention import (
    AttentionWeights,
    NonlinearAttention,
    SelfAttention,
)
from audiossl.models.zipformer.bias_norm import BiasNorm
from audiossl.models.zipformer.bypass import Bypass
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.convolution import ConvolutionModule
from audiossl.models.zipformer.feed_forward import FeedForward
from audiossl.models.zipformer.plan import Keep, LayerPlan
from audiossl.models.zipformer.regularizer import Balance, Whitening
from audiossl.models.zipformer.shared_weights import Layout, Use


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
                uses=(Use(1, hidden), Use(heads, config.value_dim), Use(heads, config.value_dim)),
            ),
        )
        self.self_attn1 = SelfAttention(dim, heads, config.value_dim)
        self.self_attn2 = SelfAttention(dim, heads, config.value_dim)
        self.feed_forward1 = FeedForward(dim, narrow)
        self.feed_forward2 = FeedForward(dim, middle)
        self.feed_forward3 = FeedForward(dim, wide)
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
        plan: LayerPlan,
    ) -> Float[Tensor, "batch frames dim"]:
        """Let frames listen to each other, mix with their neighbors, and be mapped.

        Args:
            frames: Of one rate.
            positions: Encodings of the differences between frames.
            padding: Frames that are padding.
            plan: What happens in this step of training.
        """
        push, keeps, limits = plan.regularizer, plan.keeps, plan.limits
        nonlinear, first, second = self.self_attn_weights(
            frames, positions, padding, push, keeps.positions
        )
        x = frames + self.feed_forward1(frames, push, plan.dropout[0])
        change = push.balance(self.nonlin_attention(x, nonlinear, push), Balance.NONLINEAR_OUTPUT)
        x = _add(x, change, keeps.attention)
        x = _add(x, self.self_attn1(x, first, push), keeps.attention)
        x = _add(x, self.conv_module1(x, padding, push), keeps.convolution1)
        change = push.balance(self.feed_forward2(x, push, plan.dropout[1]), Balance.FEED_FORWARD_2)
        x = _add(x, change, keeps.feed_forward2)
        x = self.bypass_mid(frames, x, limits.bypass_mid)
        x = _add(x, self.self_attn2(x, second, push), keeps.attention)
        x = _add(x, self.conv_module2(x, padding, push), keeps.convolution2)
        change = push.balance(self.feed_forward3(x, push, plan.dropout[2]), Balance.FEED_FORWARD_3)
        x = _add(x, change, keeps.feed_forward3)
        x = self.norm(push.balance(x, Balance.BEFORE_NORM), limits.norm)
        x = self.bypass(frames, x, limits.bypass, keeps.layer)
        return push.whiten(push.balance(x, Balance.LAYER_OUTPUT), Whitening.LAYER_OUTPUT)


def _add(x: Tensor, change: Tensor, keep: Keep | None) -> Tensor:
    return x + change if keep is None else x.addcmul(change, keep)
