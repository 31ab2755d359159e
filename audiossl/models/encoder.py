"""What every encoder is: waveforms in, Frames out."""

from abc import abstractmethod
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.audio.presentation import Presentation
from audiossl.nn.frames import Frames


@runtime_checkable
class Encoder(Protocol):
    """A network from waveforms to frames; probes, teachers and exports know no more than this."""

    sample_rate: int
    """Samples a second that the waveforms must have."""
    frame_rate: float
    """Frames a second of the output."""
    dim: int
    """Dimension of `Frames.vectors`."""

    def __call__(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode mono waveforms in [-1, 1], padded at the end; `lengths` counts valid samples."""
        ...


def presentation_of(encoder: nn.Module | Encoder) -> Presentation:
    """Return how clips are presented to an encoder; by default whole."""
    presentation = getattr(encoder, "presentation", None)
    rate: Any = encoder.sample_rate
    return presentation or Presentation(sample_rate=rate)


class FeatureEncoder(nn.Module):
    """An encoder that is a network behind a front end, each usable alone.

    Training computes features once, changes them (masks, mixes) and calls `encode_features`.
    """

    config: Any
    """The frozen dataclass that it was built from."""
    sample_rate: int
    frame_rate: float
    dim: int
    presentation: Presentation | None = None
    """How clips were presented in pretraining; None: whole."""

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """Modules that are called through their forward, in turn: what sharding gathers at once.

        Without any, all parameters are gathered together.
        """
        return ()

    @abstractmethod
    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute the front end: features, and how many of their frames are valid."""

    def features_of_leveled(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute features of waveforms whose level is not to be changed, as crops of leveled ones.

        Encoders whose `features` level their input override this.
        """
        return self.features(waveforms, lengths)

    @abstractmethod
    def encode_features(
        self,
        features: Float[Tensor, "batch frames bins"],
        feature_lengths: Int[Tensor, " batch"],
    ) -> Frames:
        """Run the network behind the front end."""

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms: front end, then network."""
        return self.encode_features(*self.features(waveforms, lengths))
