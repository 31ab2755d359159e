"""Compilation of the units of encoders that are trained.

Shapes are few and static (one a bucket of lengths), so each unit is compiled once for each: a graph
of a fixed shape, whose kernels are fused.

Source: Ansel et al., "PyTorch 2" (ASPLOS 2024).
"""

import torch
from torch import nn

from audiossl.errors import UserError
from audiossl.models.encoder import units_of

SHAPES = 64
"""Number of shapes for which a function is compiled; units of one kind share theirs."""


def compile_units(method: nn.Module, backend: str = "inductor") -> list[nn.Module]:
    """Compile the units of all encoders of a method, in place; parameters keep their names.

    Example:
        >>> from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
        >>> small = EfficientNet(EfficientNetConfig(width=0.25, depth=0.25))
        >>> len(compile_units(small, "eager")) == len(small.units)  # compiled when first called
        True

    Args:
        method: What is trained.
        backend: What makes kernels of a graph, as `torch.compile` takes it.

    Returns:
        The units.

    Raises:
        UserError: An encoder has no units.
    """
    units = units_of(method)
    if not units:
        raise UserError(
            f"loop.compile: {type(method).__name__} has no encoder with units to compile: set it "
            "to false"
        )
    torch._dynamo.config.recompile_limit = SHAPES
    for unit in units:
        unit.compile(dynamic=False, backend=backend)
    return units
