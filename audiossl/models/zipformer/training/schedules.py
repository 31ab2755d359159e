"""What changes while a Zipformer trains: values that are piecewise linear in the audio seen.

Source: the public implementation of SPEAR's training. Audio is counted there in batches of 600 s.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from audiossl.models.encoder import Context

REFERENCE_SECONDS = 600.0
"""Seconds of audio that count as one batch."""


@dataclass(frozen=True)
class Progress:
    """How far training has come."""

    step: int
    """Optimizer steps so far; decides in which ones regularizers act."""
    batch_count: float
    """Batches of 600 s of audio so far, over all ranks; decides every schedule."""

    @classmethod
    def of(cls, context: Context) -> "Progress":
        """Count the audio before a step in batches."""
        return cls(context.step, context.seconds / REFERENCE_SECONDS)


FINISHED = Progress(step=1, batch_count=math.inf)
"""The end of every schedule, in a step without regularizers."""


class Schedule:
    """A value that is linear between given points of `batch_count`, and constant beyond them.

    Example:
        >>> skips = Schedule((0, 0.5), (4000, 0.05), (16000, 0.0))
        >>> [skips.at(Progress(0, count)) for count in (0.0, 2000.0, 20000.0)]
        [0.5, 0.275, 0.0]
    """

    def __init__(self, *points: tuple[int | float, float]) -> None:
        self.points = points

    def at(self, progress: Progress) -> float:
        """The value now."""
        now = progress.batch_count
        if now <= self.points[0][0]:
            return self.points[0][1]
        for (start, first), (end, second) in pairwise(self.points):
            if now < end:
                return first + (second - first) * (now - start) / (end - start)
        return self.points[-1][1]


def constant(value: float) -> Schedule:
    """A schedule that does not change."""
    return Schedule((0.0, value))


DROPOUT = Schedule((0, 0.3), (20000, 0.1))
"""Dropout of the front end and of the feed-forward modules, one mask for all frames."""
POSITION_DROPOUT = 0.15
"""Dropout of the encodings of relative positions."""
POSITION_SKIP = Schedule((0, 0.5), (4000, 0.0))
"""Leaves out the positional term of attention scores, in a layer, of a whole batch."""
ATTENTION_SKIP = Schedule((0, 0.2), (4000, 0.05), (16000, 0.0))
"""Leaves out all that attention weights gather in a layer."""
CONVOLUTION_SKIP = ATTENTION_SKIP
"""Leaves out a convolution module."""
FEED_FORWARD_SKIP = Schedule((0, 0.1), (4000, 0.01), (50000, 0.0))
"""Leaves out the second or the third feed-forward module."""
CONVNEXT_SKIP = Schedule((0, 0.2), (20000, 0.015))
"""Leaves out the ConvNeXt block of the front end."""
LEAST_BYPASS = Schedule((0, 0.9), (20000, 0.2))
"""Lower limit of bypass scales."""
WARM_UP = 4000.0
"""Batches in which the layers come to be used, one after another."""
LAYER_SKIP = 0.035
"""Goes past a layer in the end, times the root of its stack's stride; 0.5 in the beginning."""
FEATURE_SKIP = constant(0.125)
"""Silences the upper quarters of the channels, one after the other."""


def layer_skips(strides: tuple[int, ...], num_layers: tuple[int, ...]) -> list[Schedule]:
    """How often each layer is gone past: from bottom to top they come to be used."""
    part = WARM_UP / (len(strides) + 1)
    return [
        Schedule(
            (part * (stack + layer / count), 0.5),
            (part * (stack + (layer + 1) / count), LAYER_SKIP * math.sqrt(stride)),
        )
        for stack, (stride, count) in enumerate(zip(strides, num_layers, strict=True), start=1)
        for layer in range(count)
    ]
