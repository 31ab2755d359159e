"""Compilation of the units of encoders that are trained, and CUDA graphs of their kernels.

Shapes are few and static (one a bucket of lengths), so each unit is compiled once for each: a graph
of a fixed shape, whose kernels are fused. With `graphs` its kernels are also recorded on an
accelerator, and all of them are started at once. What they compute then lies in memory that is
written again after `begin_forward`: losses, queues and sums are made outside of units, so that they
stay; gradients that are added up over micro-batches are copied there.

Sources: Ansel et al., "PyTorch 2" (ASPLOS 2024); "CUDAGraph Trees" in torch's documentation.
"""

from collections.abc import Sequence

import torch
from torch import nn

from audiossl.errors import UserError
from audiossl.models.encoder import units_of

SHAPES = 64
"""Number of shapes for which a function is compiled; units of one kind share theirs."""


def compile_units(
    method: nn.Module, backend: str = "inductor", *, graphs: bool = False
) -> list[nn.Module]:
    """Compile the units of all encoders of a method, in place; parameters keep their names.

    Example:
        >>> from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
        >>> small = EfficientNet(EfficientNetConfig(width=0.25, depth=0.25))
        >>> len(compile_units(small, "eager")) == len(small.units)  # compiled when first called
        True

    Args:
        method: What is trained.
        backend: What makes kernels of a graph, as `torch.compile` takes it.
        graphs: Whether kernels are recorded as CUDA graphs, one for each shape.

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
    # What mode="reduce-overhead" stands for.
    options = {"triton.cudagraphs": True} if graphs else None
    for unit in units:
        unit.compile(dynamic=False, backend=backend, options=options)
    return units


def check_graphs(method: nn.Module, device: torch.device) -> None:
    """Refuse what CUDA graphs cannot be right for.

    Args:
        method: What is trained.
        device: Where.

    Raises:
        UserError: It is no CUDA device, or an encoder computes stacks again in the backward pass.
    """
    if device.type != "cuda":
        raise UserError(
            f"loop.graphs: CUDA graphs need a CUDA device, and this is {device.type}: set it to "
            "false"
        )
    configs = (getattr(module, "config", None) for module in method.modules())
    if any(getattr(config, "checkpoint_stacks", False) for config in configs):
        # Other tensors are alive in a replay than were: github.com/pytorch/pytorch/issues/154306.
        raise UserError(
            "loop.graphs: what encoder.checkpoint_stacks computes again cannot be recorded: set "
            "one of them to false"
        )


def begin_forward(method: nn.Module) -> None:
    """Let CUDA graphs write again what they wrote in the forward and backward pass before.

    Gradients that are there already, of an earlier micro-batch, are copied first: autograd may keep
    a graph's own output as the gradient (github.com/pytorch/pytorch/issues/169545).
    """
    for parameter in method.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()
    torch.compiler.cudagraph_mark_step_begin()


def release_units(units: Sequence[nn.Module]) -> None:
    """Undo `compile_units`: without `begin_forward` each call would record another graph."""
    for unit in units:
        unit._compiled_call_impl = None
