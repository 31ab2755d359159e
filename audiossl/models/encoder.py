"""What every encoder is: waveforms in, Frames out; and what methods need of one that they train."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.audio.presentation import Presentation
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.python_objects import UserDefined


@runtime_checkable
class Encoder(Protocol):
    """A network from waveforms to frames: all that probes, teachers and exports rely on.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> encoder = LogMelStatistics()
        >>> isinstance(encoder, Encoder), encoder.sample_rate, encoder.frame_rate, encoder.dim
        (True, 16000, 100.0, 64)
        >>> encoder(torch.zeros(2, 16000), torch.tensor([16000, 8000])).lengths
        tensor([98, 48])
    """

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
    """Return how clips are presented to an encoder; by default whole.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> presentation_of(LogMelStatistics()).sample_rate
        16000
    """
    presentation = getattr(encoder, "presentation", None)
    rate: Any = encoder.sample_rate
    return presentation or Presentation(sample_rate=rate)


@dataclass(frozen=True)
class Context:
    """The step of training in which features are encoded, for networks that change with it.

    Without one, a network is at the end of its schedules and draws from torch's global state.
    """

    step: int = 0
    """Optimizer steps before this one."""
    seconds: float = 0.0
    """Seconds of audio in those steps, over all ranks."""
    generator: torch.Generator | None = None
    """Source of what is drawn at random, seeded alike on all ranks."""


class FeatureEncoder(nn.Module):
    """An encoder that is a network behind a front end: what any method can train.

    Training computes features once, changes them (masks, mixes) and calls `encode_features`.
    Subclasses set the attributes and implement `features` and `encode_features`.
    """

    config: Any
    """The frozen dataclass that it was built from."""
    user_config: UserDefined | None = None
    """The same of a user's own class; its base class may have another `config`."""
    sample_rate: int
    """Samples a second of the waveforms, Hz."""
    frame_rate: float
    """Frames a second of the output; 0 for a network that makes clip vectors alone."""
    dim: int
    """Dimension of `Frames.vectors`."""
    num_bins: int
    """Values of a feature frame."""
    feature_rate: float = 100.0
    """Feature frames a second."""
    presentation: Presentation | None = None
    """Presentation of clips in pretraining; None: whole."""
    learns_features: bool = False
    """Whether the front end is trained, too: its features are no targets then."""

    @property
    def clip_dim(self) -> int:
        """Dimension of `Frames.clip`: that of frames, or of the clip vector of the network."""
        return self.dim

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """Modules that are called through their forward, in turn: what sharding gathers at once.

        Without any, all parameters are gathered together.
        """
        return ()

    def unread_parameters(self) -> Iterator[nn.Parameter]:
        """List those on which no output depends: they have no gradient and are never trained."""
        return iter(())

    def requires_grad_(self, requires_grad: bool = True) -> "FeatureEncoder":
        """Train all weights on which an output depends, or none."""
        super().requires_grad_(requires_grad)
        self.freeze_unread()
        return self

    def freeze_unread(self) -> None:
        """Train nothing that has no gradient: several ranks would wait for it."""
        for parameter in self.unread_parameters():
            parameter.requires_grad_(False)

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
        context: Context | None = None,
    ) -> Frames:
        """Run the network behind the front end."""

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms: front end, then network."""
        return self.encode_features(*self.features(waveforms, lengths))


def check_has_frames(encoder: nn.Module, method: str) -> None:
    """Refuse to train an encoder of clip vectors with a method that needs frames.

    Raises:
        UserError: It has none.
    """
    if not getattr(encoder, "frame_rate", 0.0) > 0:
        raise UserError(
            f"method {method} needs an encoder with frames, and {type(encoder).__name__} has clip "
            "vectors alone (its frame_rate is 0): choose another --encoder.kind or --method.kind"
        )


def units_of(module: nn.Module) -> list[nn.Module]:
    """List the units of all encoders in a module; one that holds another has the units of that."""
    encoders = [one for one in module.modules() if isinstance(one, FeatureEncoder)]
    return list(dict.fromkeys(unit for encoder in encoders for unit in encoder.units))
