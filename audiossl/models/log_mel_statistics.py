"""The encoder that has learnt nothing: log-mel frames, and their mean and deviation over time.

It is the row of a table that shows what the sound itself gives away before any learning.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from audiossl.features.log_mel import LogMel, LogMelConfig
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pooling import masked_mean_std


class LogMelStatistics(FeatureEncoder):
    """Log-mel frames at 100 Hz; clip vectors are their mean and standard deviation (128 values).

    Waveforms are not leveled: how loud a recording is belongs to what it gives away.

    Example:
        >>> frames = LogMelStatistics()(torch.randn(2, 16000), torch.tensor([16000, 8000]))
        >>> frames.vectors.shape, frames.lengths, frames.clip.shape
        (torch.Size([2, 98, 64]), tensor([98, 48]), torch.Size([2, 128]))
    """

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__()
        self.config = config or LogMelConfig()
        self.front_end = LogMel(self.config)
        self.sample_rate = self.config.sample_rate
        self.frame_rate = self.feature_rate = self.front_end.frame_rate
        self.dim = self.num_bins = self.config.num_bands

    @property
    def clip_dim(self) -> int:
        """Dimension of mean and standard deviation."""
        return 2 * self.dim

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bands"], Int[Tensor, " batch"]]:
        """Compute log-mel frames, of at least one window; shorter waveforms are zero-padded."""
        window = self.config.window_length
        waveforms = torch.where(valid_mask(lengths, waveforms.shape[1]), waveforms, 0.0)
        waveforms = F.pad(waveforms, (0, max(0, window - waveforms.shape[1])))
        return self.front_end(waveforms), self.front_end.lengths(lengths.clamp(min=window))

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bands"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,  # noqa: ARG002
    ) -> Frames:
        """Return the frames as they are, with their statistics as clip vectors."""
        pooled = masked_mean_std(features, feature_lengths)
        center = self.config.window_length / 2 / self.sample_rate
        return Frames(features, feature_lengths, self.frame_rate, pooled=pooled, first_time=center)
