"""How a Zipformer is built, and the sizes that SPEAR trains."""

from dataclasses import dataclass, fields
from typing import Literal

from audiossl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ZipformerConfig:
    """A Zipformer over Kaldi-like filter banks, all stacks of one width, as in SPEAR.

    Tuples have one element for each stack.
    """

    kind: Literal["zipformer"] = "zipformer"
    dim: int = 512
    """Width of all stacks."""
    feed_forward_dim: int = 1536
    """Nominal width of feed-forward modules; the three of a layer have 3/4, 4/4 and 5/4 of it."""
    num_layers: tuple[int, ...] = (1, 2, 3, 3, 1, 1, 1)
    """Number of layers of each stack."""
    strides: tuple[int, ...] = (1, 2, 4, 8, 4, 2, 1)
    """Stride of each stack: frames at 50 Hz that are one frame inside it."""
    kernel_sizes: tuple[int, ...] = (31, 31, 15, 15, 15, 31, 31)
    """Kernel size of the depthwise convolutions of each stack in frames; odd."""
    num_heads: int = 8
    """Number of attention heads."""
    query_dim: int = 32
    """Dimension of queries and keys of a head."""
    position_query_dim: int = 4
    """Dimension of position queries of a head."""
    value_dim: int = 12
    """Dimension of values of a head."""
    position_dim: int = 48
    """Dimension of the encodings of relative positions."""
    num_bins: int = 128
    """Number of mel bins of the filter bank."""
    output_stride: int = 1
    """Stride of the output: frames at 50 Hz that are one frame of it: 1, or 2 for 25 Hz."""
    unmasked_dim: int = 256
    """Number of channels that the feature mask of training never silences."""
    machinery: bool = True
    """Whether training drops, skips, masks, limits and regularizes; a plain network otherwise."""
    checkpoint_stacks: bool = False
    """Whether training keeps the input of each stack only and computes the rest twice."""

    def __post_init__(self) -> None:
        stacks = len(self.num_layers)
        for name in ("strides", "kernel_sizes"):
            values = getattr(self, name)
            if len(values) != stacks:
                raise UserError(
                    f"zipformer: {name} has {len(values)} elements, num_layers has {stacks}"
                )
        even = [size for size in self.kernel_sizes if size % 2 == 0]
        if even:
            raise UserError(f"zipformer: kernel_sizes must be odd, found {even[0]}")
        if self.output_stride not in (1, 2):
            raise UserError(f"zipformer: output_stride is {self.output_stride}, expected 1 or 2")
        if self.unmasked_dim > self.dim:
            raise UserError(
                f"zipformer: unmasked_dim {self.unmasked_dim} is more than dim {self.dim}"
            )
        self._check_counts()

    @property
    def feed_forward_dims(self) -> tuple[int, int, int]:
        """Widths of the three feed-forward modules of a layer."""
        nominal = self.feed_forward_dim
        return nominal * 3 // 4, nominal, nominal * 5 // 4

    def _check_counts(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            wrong = [n for n in numbers if isinstance(n, int) and n < 1 and not isinstance(n, bool)]
            if wrong:
                raise UserError(f"zipformer: {field.name} must be at least 1, found {wrong[0]}")


TINY = ZipformerConfig(
    dim=64, feed_forward_dim=96, num_heads=4, num_layers=(1, 2, 1, 1, 1, 1, 1), unmasked_dim=32
)
"""For tests and first steps: 0.9 M parameters."""
BASE = ZipformerConfig()
"""93 M parameters."""
LARGE = ZipformerConfig(
    dim=1024, feed_forward_dim=3072, num_layers=(1, 2, 2, 3, 1, 1, 1), unmasked_dim=512
)
"""327 M parameters."""
XLARGE = ZipformerConfig(
    dim=1280, feed_forward_dim=3840, num_layers=(1, 2, 3, 4, 1, 1, 1), unmasked_dim=768
)
"""597 M parameters."""
PRESETS: dict[str, ZipformerConfig] = {"tiny": TINY, "base": BASE, "large": LARGE, "xlarge": XLARGE}
"""Sizes by name."""
