"""Heads on frames: a sum of layers with learned weights, a projection, recurrent layers, an output.

Source: the downstream heads of SUPERB (Yang et al., 2021): a linear projection, and for recognition
and diarization LSTMs behind it; what says something of whole clips averages over time.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from audiossl.configs import Count, Share, Whole
from audiossl.nn.dropout import dropout
from audiossl.nn.pooling import masked_mean


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What stands between frames and scores."""

    projection: Whole = 256
    """Dimension of a linear layer on the frames; 0: none."""
    recurrent_layers: Whole = 0
    """Number of LSTM layers behind it."""
    width: Count = 1024
    """Dimension of an LSTM layer, in each direction."""
    bidirectional: bool = True
    """Whether LSTM layers read in both directions."""
    dropout: Share = 0.0
    """Dropout probability between LSTM layers."""


class LayerSum(nn.Module):
    """Sum of layers, weighted by a softmax of learned numbers, equal at first.

    Example:
        >>> LayerSum(3)(torch.tensor([1.0, 2.0, 6.0])[None, :, None, None])
        tensor([[[3.]]], grad_fn=<SumBackward1>)
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Float[Tensor, " layers"]:
        """Share of each layer."""
        return self.logits.softmax(dim=0)

    def forward(
        self, layers: Float[Tensor, "batch layers frames dim"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Sum layers."""
        return (self.weights[:, None, None] * layers).sum(dim=1)


class SequenceHead(nn.Module):
    """Frames to scores, of each frame or of the whole sequence.

    Example:
        >>> head = SequenceHead(8, HeadConfig(projection=4, recurrent_layers=1, width=3), 5)
        >>> generator = torch.Generator().manual_seed(0)
        >>> head(torch.randn(2, 7, 8), torch.tensor([7, 3]), generator).shape
        torch.Size([2, 7, 5])
    """

    def __init__(self, dim: int, config: HeadConfig, num_outputs: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.projection: nn.Module = nn.Identity()
        if config.projection:
            self.projection = nn.Linear(dim, config.projection)
            dim = config.projection
        self.recurrent = nn.ModuleList()
        for _ in range(config.recurrent_layers):
            self.recurrent.append(
                nn.LSTM(dim, config.width, batch_first=True, bidirectional=config.bidirectional)
            )
            dim = config.width * (1 + config.bidirectional)
        self.output = nn.Linear(dim, num_outputs)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        lengths: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
        *,
        pool: bool = False,
    ) -> Float[Tensor, "batch *scores"]:
        """Score frames (batch, frames, outputs), or with `pool` sequences (batch, outputs).

        Args:
            frames: Padded sequences.
            lengths: Valid frames.
            generator: Source of dropout; None: there is none.
            pool: Whether frames are averaged before the last layer.
        """
        return self.output(self.hidden(frames, lengths, generator, pool=pool))

    def hidden(
        self,
        frames: Float[Tensor, "batch frames dim"],
        lengths: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
        *,
        pool: bool = False,
    ) -> Float[Tensor, "batch *vectors"]:
        """Compute what the last layer scores, from what `forward` takes."""
        frames = self.projection(frames)
        for number, layer in enumerate(self.recurrent):
            if number and generator is not None:
                frames = dropout(frames, self.dropout, generator)
            frames = _recurrent(cast(nn.LSTM, layer), frames, lengths)
        return masked_mean(frames, lengths) if pool else frames


def _recurrent(
    layer: nn.LSTM, frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames width"]:
    """Run an LSTM over the valid frames of each sequence, from its own end backwards."""
    size = frames.shape[1]
    if size == 0:
        return frames.new_zeros(len(frames), 0, layer.hidden_size * (1 + layer.bidirectional))
    packed = pack_padded_sequence(
        frames, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=size)[0]
