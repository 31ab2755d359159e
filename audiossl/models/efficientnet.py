"""EfficientNet over log-mel images, as the encoder of COLA and of musical source association.

The structure is Keras' `EfficientNetB0(include_top=False, input_shape=(None, 64, 1))`, which both
papers' code uses: tables of Tan & Le (2019), convolutions of stride 2 padded by k//2 - 1 before and
k//2 after, stochastic depth per sample, global max pooling over time and frequency.

Beyond it: padding never changes a valid frame. After each block whatever lies behind a sequence's
end is set to the zero that a convolution would find there, and squeeze-excite averages over valid
positions.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.configs import Positive, Share
from audiossl.errors import UserError
from audiossl.features.log_mel import LogMel, LogMelConfig
from audiossl.features.normalization import Normalization, normalized
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.attentive_statistics import AttentiveStatistics
from audiossl.nn.batch_norm import BatchNorm2d
from audiossl.nn.frames import Frames
from audiossl.nn.graphs import for_any_length
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pooling import POOLS

#             kernel, repeats, channels, expansion, stride
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
STEM_CHANNELS, TOP_CHANNELS = 32, 1280
STRIDE = 32
"""Features frames to one output frame: five halvings."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """EfficientNet-B0 at width 1 and depth 1; narrower and shallower for small machines."""

    kind: Literal["efficientnet"] = "efficientnet"
    front_end: LogMelConfig = LogMelConfig()
    """Log-mel spectrogram."""
    level: Literal["l2", "rms", "none"] = "l2"
    """Normalization of waveforms: to unit L2 norm (COLA), to the RMS that unit norm gives one
    second (independent of duration), or none."""
    width: Positive = 1.0
    """Multiplier of the numbers of channels, which are rounded to multiples of 8."""
    depth: Positive = 1.0
    """Multiplier of the repeats of blocks, rounded up."""
    input_scale: Positive = 1.0 / 255.0
    """Factor of the log-mel image. 1/255 is what Keras does to pictures, and COLA inherited it: the
    first batch norm then starts with a standard deviation of about 0.06."""
    normalization: Normalization = "none"
    """Normalization of the log-mel image, a band of a clip at a time: subtract the mean over time
    (mean), divide by the deviation, too (mean_std), or per-channel energy normalization (pcen,
    whose values are of size 1: set `input_scale` to 1)."""
    pooling: Literal["max", "mean", "mean_std", "attentive"] = "max"
    """Clip vector: the maximum over frames (COLA), their mean, mean and standard deviation, or both
    weighted by learned attention; the latter two have twice the values."""
    stochastic_depth: Share = 0.2
    """Probability of leaving out the last residual block for a sample; earlier ones less."""


class EfficientNet(FeatureEncoder):
    """Waveforms to 1280-dimensional frames (at width 1), pooled by their maximum to clip vectors.

    `Frames.vectors` is the last activation, its maximum over frequency, at 3.125 Hz; `layers` are
    the seven stages and the top, likewise pooled over frequency, and over time to the same rate.

    Example:
        >>> encoder = EfficientNet(EfficientNetConfig(width=0.25, depth=0.25)).eval()
        >>> frames = encoder(torch.randn(2, 16000), torch.tensor([16000, 8000]))
        >>> frames.vectors.shape, frames.lengths, frames.clip.shape
        (torch.Size([2, 3, 320]), tensor([3, 1]), torch.Size([2, 320]))
    """

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        if config.front_end.num_bands < STRIDE:
            raise UserError(
                f"efficientnet: front_end.num_bands is {config.front_end.num_bands}: bands are "
                f"halved five times, give at least {STRIDE}"
            )
        self.config = config
        self.front_end = LogMel(config.front_end)
        self.sample_rate = config.front_end.sample_rate
        self.num_bins, self.feature_rate = config.front_end.num_bands, self.front_end.frame_rate
        self.frame_rate = self.feature_rate / STRIDE
        channels = round_channels(STEM_CHANNELS, config.width)
        self.stem = _ConvNorm(1, channels, kernel=3, stride=2, activation=True)
        self.stages = nn.ModuleList()
        repeats = [math.ceil(config.depth * stage[1]) for stage in STAGES]
        block = 0
        for (kernel, _, wanted, expansion, stride), repeat in zip(STAGES, repeats, strict=True):
            stage = nn.ModuleList()
            output = round_channels(wanted, config.width)
            for index in range(repeat):
                drop = config.stochastic_depth * block / sum(repeats)
                first = stride if index == 0 else 1
                shape = {"kernel": kernel, "expansion": expansion, "stride": first}
                stage.append(_Block(channels, output, **shape, drop=drop))
                channels, block = output, block + 1
            self.stages.append(stage)
        self.dim = round_channels(TOP_CHANNELS, config.width)
        self.top = _ConvNorm(channels, self.dim, kernel=1, stride=1, activation=True)
        self.pool = AttentiveStatistics(self.dim) if config.pooling == "attentive" else None
        self.apply(_initialize)
        # Filters laid out as the images are: half the time of a training step on a CPU.
        for filters in self.parameters():
            if filters.dim() == 4:
                filters.data = filters.data.to(memory_format=torch.channels_last)

    @property
    def clip_dim(self) -> int:
        """Dimension of the vector of a clip."""
        return self.dim * (1 if self.config.pooling in ("max", "mean") else 2)

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """The blocks."""
        return tuple(block for stage in self.stages for block in stage.children())

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bands"], Int[Tensor, " batch"]]:
        """Level the waveforms and compute log-mel images, of at least one output frame each.

        Waveforms that are too short are padded with zeros at the end.
        """
        waveforms = waveforms * valid_mask(lengths, waveforms.shape[1])
        waveforms = leveled(waveforms, lengths, self.config.level, self.sample_rate)
        return self.features_of_leveled(waveforms, lengths)

    def features_of_leveled(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bands"], Int[Tensor, " batch"]]:
        """Compute log-mel images of waveforms as they are, zero beyond their lengths."""
        front_end = self.config.front_end
        needed = (STRIDE - 1) * front_end.hop_length + front_end.window_length
        waveforms = F.pad(waveforms, (0, max(0, needed - waveforms.shape[1])))
        frames = self.front_end.lengths(lengths.clamp(min=needed))
        return normalized(self.front_end(waveforms), frames, self.config.normalization), frames

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bands"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,  # noqa: ARG002
    ) -> Frames:
        """Encode log-mel images; one of fewer than `STRIDE` frames has no valid frame."""
        features = F.pad(features, (0, 0, 0, max(0, STRIDE - features.shape[1])))
        # Sequences of one length, as in training, need no mask; lengths are compared on the device
        # that holds them, once a batch. An exported graph holds for any lengths.
        whole = not for_any_length() and bool((feature_lengths == features.shape[1]).all())
        lengths = None if whole else feature_lengths
        image = (features * self.config.input_scale)[:, None]
        image = image.contiguous(memory_format=torch.channels_last)
        image = self.stem(_without_padding(image, lengths))
        lengths = _halved(lengths)
        layers, stride = [], 2
        for stage, (*_, first_stride) in zip(self.stages, STAGES, strict=True):
            for block in stage.children():
                image, lengths = block(_without_padding(image, lengths), lengths)
            stride *= first_stride
            layers.append(_pooled(image, STRIDE // stride))
        layers.append(_pooled(self.top(image), 1))
        valid = feature_lengths.div(STRIDE, rounding_mode="floor")
        return Frames(
            vectors=layers[-1],
            lengths=valid,
            frame_rate=self.frame_rate,
            layers=tuple(layers),
            pooled=(self.pool or POOLS[self.config.pooling])(layers[-1], valid),
        )


def leveled(
    waveforms: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    level: str,
    sample_rate: int,
) -> Float[Tensor, "batch samples"]:
    """Bring waveforms, zero beyond their lengths, to a common level."""
    if level == "none":
        return waveforms
    energy = waveforms.square().sum(dim=1, keepdim=True)
    if level == "rms":
        energy = energy * sample_rate / lengths[:, None].clamp(min=1)
    return waveforms * energy.clamp(min=1e-9).rsqrt()


def round_channels(channels: int, width: float) -> int:
    """Scale a number of channels to a multiple of 8, never more than 10 % below (Tan & Le)."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


class _ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm and, if asked for, swish.

    In evaluation batch norm is a scale and a shift of each channel: both go into the convolution,
    and a pass over the image is saved. `constant_weights` keeps the filters that hold them.
    """

    kept: tuple[Tensor, Tensor] | None = None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int,
        activation: bool,
        groups: int = 1,
    ) -> None:
        # Stride 2 pads as TensorFlow does where the size is unknown: less before than after.
        before = kernel // 2 - (stride - 1)
        padding = (before, kernel // 2)
        parts: list[nn.Module] = [] if stride == 1 else [nn.ZeroPad2d(padding + padding)]
        same = kernel // 2 if stride == 1 else 0
        parts.append(nn.Conv2d(inputs, outputs, kernel, stride, same, groups=groups, bias=False))
        parts.append(BatchNorm2d(outputs, eps=1e-3, momentum=0.01))
        if activation:
            parts.append(nn.SiLU(inplace=True))
        super().__init__(*parts)
        self.place = 0 if stride == 1 else 1

    def forward(
        self, image: Float[Tensor, "batch channels time bands"]
    ) -> Float[Tensor, "batch more time_out bands_out"]:
        """Convolve, normalize, activate."""
        if self.training:
            return super().forward(image)
        filters, shifts = self.kept or self._folded()
        for part in self:
            if isinstance(part, nn.Conv2d):
                image = F.conv2d(
                    image, filters, shifts, part.stride, part.padding, groups=part.groups
                )
            elif not isinstance(part, BatchNorm2d):
                image = part(image)
        return image

    def fold(self) -> None:
        """Keep the filters of evaluation."""
        with torch.no_grad():
            self.kept = self._folded()

    def unfold(self) -> None:
        """Compute them anew each time."""
        self.kept = None

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Put the scales of the running averages into the filters; return these, and the shifts."""
        convolution, norm = self[self.place], self[self.place + 1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        filters = convolution.weight * scale[:, None, None, None]
        return filters, norm.bias - norm.running_mean * scale


class _Block(nn.Module):
    """Mobile inverted bottleneck: expand, filter each channel, excite, project, add."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, expansion: int, stride: int, drop: float
    ) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = (
            _ConvNorm(inputs, middle, kernel=1, stride=1, activation=True)
            if expansion > 1
            else nn.Identity()
        )
        self.filter = _ConvNorm(
            middle, middle, kernel=kernel, stride=stride, activation=True, groups=middle
        )
        self.excite = _SqueezeExcite(middle, max(1, inputs // 4))
        self.project = _ConvNorm(middle, outputs, kernel=1, stride=1, activation=False)
        self.stride = stride
        self.residual = stride == 1 and inputs == outputs
        self.drop = drop if self.residual else 0.0

    def forward(
        self, image: Float[Tensor, "batch channels time bands"], lengths: Tensor | None
    ) -> tuple[Float[Tensor, "batch more time_out bands_out"], Tensor | None]:
        inner = _without_padding(self.expand(image), lengths)
        inner = self.filter(inner)
        if self.stride == 2:
            lengths = _halved(lengths)
        inner = self.project(self.excite(inner, lengths))
        if not self.residual:
            return inner, lengths
        return image + self._drop_path(inner), lengths

    def _drop_path(self, inner: Tensor) -> Tensor:
        """Leave the block out for some samples in training, and scale up the rest."""
        if not self.training or self.drop == 0.0:
            return inner
        whole = len(inner) * distributed.world_size()
        draws = torch.rand(whole, 1, 1, 1, device=inner.device)
        survives = distributed.own_rows(draws) >= self.drop
        return inner * survives / (1.0 - self.drop)


class _SqueezeExcite(nn.Module):
    """Scale channels by a gate that sees their mean over the valid image."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(
        self, image: Float[Tensor, "batch channels time bands"], lengths: Tensor | None
    ) -> Float[Tensor, "batch channels time bands"]:
        if lengths is None:
            mean = image.mean(dim=(2, 3), keepdim=True)
        else:
            masked = _without_padding(image, lengths)
            count = lengths.clamp(min=1)[:, None, None, None] * image.shape[3]
            mean = masked.sum(dim=(2, 3), keepdim=True) / count
        gate = self.excite(F.silu(self.squeeze(mean)))
        return image * gate.sigmoid()


def _without_padding(
    image: Float[Tensor, "batch channels time bands"], lengths: Tensor | None
) -> Float[Tensor, "batch channels time bands"]:
    """Set what lies behind each length to zero; where no gradient is asked, in place."""
    if lengths is None:
        return image
    if image.requires_grad or image.device.type != "cpu" or for_any_length():
        valid = valid_mask(lengths, image.shape[2])
        return image.masked_fill(~valid[:, None, :, None], 0.0)
    # Padding is little where batches are of like lengths: a mask would copy the rest, too.
    for row, length in zip(image, lengths.tolist(), strict=True):
        row[:, length:] = 0.0
    return image


def _halved(lengths: Tensor | None) -> Tensor | None:
    return None if lengths is None else lengths.div(2, rounding_mode="floor")


def _pooled(
    image: Float[Tensor, "batch channels time bands"], window: int
) -> Float[Tensor, "batch frames channels"]:
    """Take the maximum over frequency and over windows of time.

    A valid output frame covers valid input frames only, so that no mask is needed.
    """
    highest = image.amax(dim=3)
    if for_any_length():  # max_pool1d would have one number of frames in the graph
        count = highest.shape[2] // window
        whole = highest[..., torch.arange(count * window, device=highest.device)]
        return whole.unflatten(2, (count, window)).amax(dim=3).mT
    return F.max_pool1d(highest, window).mT


def _initialize(module: nn.Module) -> None:
    """Variance scaling by 2 / fan-out with a truncated normal, as the authors' code does."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        deviation = math.sqrt(2.0 / (fan_out / module.groups))
        # 0.8796 is the deviation of a unit normal that is cut at two deviations.
        nn.init.trunc_normal_(
            module.weight, std=deviation / 0.8796, a=-2 * deviation / 0.8796,
            b=2 * deviation / 0.8796,
        )  # fmt: skip
        if module.bias is not None:
            nn.init.zeros_(module.bias)
