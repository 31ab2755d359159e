"""Speaker vectors on a frozen encoder: a sum of layers, an x-vector network, softmax with a margin.

The network is trained to classify speakers; the cosine of two of its vectors verifies others.

Source: speaker verification of SUPERB (Yang et al., 2021; s3prl, sv_voxceleb1): the class is scored
behind one more layer, and the vectors are those before it.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.batches import LabelBatch, LayerBatch
from audiossl.configs import Nonnegative, Positive
from audiossl.data.layout import SAMPLE_RATE
from audiossl.errors import UserError
from audiossl.losses.additive_margin import additive_margin
from audiossl.methods.frozen_frames import frozen_frames
from audiossl.methods.method import Losses
from audiossl.methods.supervised import InputFacts
from audiossl.nn.frames import Frames
from audiossl.nn.sequence_heads import LayerSum
from audiossl.nn.x_vector import XVector, XVectorConfig


@dataclass(frozen=True, kw_only=True)
class SpeakerConfig:
    """Network of speaker vectors, and how it is trained."""

    network: XVectorConfig = field(default_factory=XVectorConfig)
    """Layers from frames to vectors."""
    scale: Positive = 30.0
    """Factor of the cosines in the softmax."""
    margin: Nonnegative = 0.4
    """Cosine by which the right speaker must win."""
    crop: Positive = 8.0
    """Seconds of the random crop of each cut that a training step sees; shorter cuts are whole."""


class SpeakerVectors(nn.Module):
    """A learned sum of layers, an x-vector network, and a vector of each training speaker.

    Example:
        >>> config = SpeakerConfig(network=XVectorConfig(width=4, pooled=6))
        >>> method = SpeakerVectors(None, config, 3, InputFacts(2, 8, 8, 8))
        >>> ones = torch.ones(2, dtype=torch.int64)
        >>> batch = LayerBatch(torch.randn(2, 2, 20, 8), 20 * ones, 0.0, 50.0, ones[:, None], ones)
        >>> method.vectors(batch).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        config: SpeakerConfig,
        num_speakers: int,
        facts: InputFacts,
    ) -> None:
        """Make an untrained network.

        Args:
            encoder: Frozen encoder; None where batches have its frames.
            config: Sizes, scale and margin.
            num_speakers: Number of speakers to train on.
            facts: Shape of the encoder's frames.

        Raises:
            UserError: The encoder's layers have no sum.
        """
        super().__init__()
        if not facts.num_layers:
            raise UserError("speaker vectors: the encoder's layers are of unlike dimensions")
        self.config = config
        # A frozen encoder is no part of checkpoints.
        self._frozen: tuple[nn.Module, ...] = ()
        if encoder is not None:
            self._frozen = (encoder.requires_grad_(False).eval(),)
        self.layer_sum = LayerSum(facts.num_layers)
        self.network = XVector(facts.layer_dim, config.network)
        self.hidden = nn.Linear(config.network.width, config.network.width)
        self.speakers = nn.Parameter(torch.empty(num_speakers, config.network.width))
        nn.init.xavier_normal_(self.speakers)

    def forward(
        self,
        batch: LabelBatch | LayerBatch,
        step: int,  # noqa: ARG002 - of methods that change while they train
        generator: torch.Generator,
    ) -> Losses:
        """Compute the loss of crops of a batch, in nats a cut."""
        hidden = F.relu(self.hidden(self._embedded(cropped(batch, self.config.crop, generator))))
        cosines = F.normalize(hidden, dim=1) @ F.normalize(self.speakers, dim=1).T
        classes = batch.targets[:, 0]
        config = self.config
        loss = additive_margin(cosines.float(), classes, scale=config.scale, margin=config.margin)
        right = (cosines.detach().argmax(dim=1) == classes).float().mean()
        rows = float(len(classes))
        return Losses(loss, rows, {"accuracy": right}, {"accuracy": torch.tensor(rows)})

    @torch.no_grad()
    def vectors(self, batch: LabelBatch | LayerBatch) -> Float[Tensor, "batch width"]:
        """Compute the unit vector of each whole cut."""
        return F.normalize(self._embedded(batch), dim=1)

    def _embedded(self, batch: LabelBatch | LayerBatch) -> Float[Tensor, "batch width"]:
        encoder = None
        if isinstance(batch, LabelBatch):
            encoder = self._frozen[0].to(batch.waveforms.device)
        frames: Frames = frozen_frames(batch, encoder)
        layers = torch.stack(frames.layers or (frames.vectors,), dim=1)
        return self.network(self.layer_sum(layers.float()), frames.lengths_of_layers)


def cropped(
    batch: LabelBatch | LayerBatch, seconds: float, generator: torch.Generator
) -> LabelBatch | LayerBatch:
    """Crop each cut to a length, at a random place; what is shorter stays whole.

    Args:
        batch: Waveforms, or frames, which are cropped behind the encoder.
        seconds: Duration of the crops.
        generator: Source of the places.

    Example:
        >>> ones = torch.ones(2, dtype=torch.int64)
        >>> batch = LayerBatch(torch.zeros(2, 3, 9, 4), ones * 9, 0.0, 2.0, ones[:, None], ones)
        >>> cropped(batch, 2.5, torch.Generator().manual_seed(0)).lengths
        tensor([5, 5])
    """
    if isinstance(batch, LayerBatch):
        size = round(seconds * batch.frame_rate)
        layers, lengths = _crops(batch.layers, batch.lengths, size, generator)
        return replace(batch, layers=layers, lengths=lengths)
    size, rows = round(seconds * SAMPLE_RATE), batch.waveforms[:, None, :, None]
    waveforms, lengths = _crops(rows, batch.lengths, size, generator)
    return replace(batch, waveforms=waveforms[:, 0, :, 0], lengths=lengths)


def _crops(
    values: Float[Tensor, "batch layers long dim"],
    lengths: Int[Tensor, " batch"],
    size: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch layers short dim"], Int[Tensor, " batch"]]:
    size = max(1, size)
    if values.shape[2] <= size:
        return values, lengths
    draws = distributed.draw_rows(
        len(values), lambda rows: torch.rand(rows, generator=generator, device=generator.device)
    )
    starts = (draws.to(values.device) * ((lengths - size).clamp(min=0) + 1)).long()
    rows = zip(values, starts.tolist(), strict=True)
    crops = torch.stack([row[:, start : start + size] for row, start in rows])
    return crops, lengths.clamp(max=size)
