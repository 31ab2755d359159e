"""What a separator is: mixtures in, one waveform for each of its sources out."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Separator(Protocol):
    """Takes windows of mixtures apart.

    One window is one item of a batch, independent of all others: the stems of a mixture do not
    depend on what it is batched with, beyond rounding. `audiossl.separation.recordings` cuts
    recordings of any length into windows and joins the stems again.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """What the stems are called, in the order of the separator."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of mixtures and stems in Hz."""

    @property
    def num_channels(self) -> int:
        """Channels of the mixtures."""

    @property
    def window(self) -> int:
        """Samples of one item; what is shorter is padded, what is longer has to be cut."""

    @property
    def overlap(self) -> float:
        """Share of a window that the next one repeats, at least, and into which it is faded."""

    @property
    def standardizes(self) -> bool:
        """Whether it was trained on recordings of mean 0 and standard deviation 1."""

    @property
    def device(self) -> torch.device:
        """Device on which it computes."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what the stems are: digest of the weights, settings, versions."""

    def separate(
        self,
        mixtures: Float[Tensor, "batch channels samples"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> dict[str, Float[Tensor, "batch samples"]]:
        """Separate one batch of windows.

        Args:
            mixtures: At most `window` samples each, at `sample_rate`.
            lengths: Samples that are not padding; all, if None.

        Returns:
            For each name the mono stem (the mean of its channels), at the level that it has in the
            mixture.
        """
