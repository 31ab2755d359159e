"""An encoder as one graph of tensors, for any batch and duration."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from audiossl.errors import UserError
from audiossl.nn.graphs import recorded_for_any_length
from audiossl.pretrained.exports.forms import Export

INPUTS, OUTPUTS = ("waveforms", "lengths"), ("frames", "frame_lengths", "clip")
"""Names of what goes in and comes out."""
EXAMPLE = 2.0
"""Seconds of the waveforms that the graph is traced with."""
LEAST, MOST = 1.0, 600.0
"""Seconds of a batch; shorter clips are padded to the least, and `lengths` says how long they
are."""


class Graph(nn.Module):
    """Waveforms and lengths to frames, how many of them are valid, and clip vectors."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[
        Float[Tensor, "batch frames dim"], Int[Tensor, " batch"], Float[Tensor, "batch clip_dim"]
    ]:
        """Encode waveforms; padding changes no valid frame."""
        frames: Any = self.encoder(waveforms, lengths)
        return frames.vectors, frames.lengths, frames.clip


def program_of(export: Export) -> ExportedProgram:
    """Trace an encoder.

    Beyond a minute, where Zipformers are encoded in chunks, the graph takes the whole.

    Raises:
        UserError: It branches on its input, as encoders of other packages may.
    """
    rate = export.encoder.sample_rate
    example = 0.1 * torch.randn(2, int(EXAMPLE * rate), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([example.shape[1], example.shape[1] * 2 // 3])
    batch, samples = Dim.DYNAMIC, Dim("samples", min=int(LEAST * rate), max=int(MOST * rate))
    shapes = ({0: batch, 1: samples}, {0: batch})
    try:
        with quiet(), recorded_for_any_length():
            program = torch.export.export(
                Graph(export.encoder).eval(),
                (example, lengths),
                dynamic_shapes=shapes,
                # Torch takes branches by sizes, for speed, and cannot prove that they are right for
                # all; its assertions are taken out, and the certificate tries several sizes.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{export.source}: a {type(export.encoder).__name__} cannot be traced for any batch "
            f"and duration ({type(error).__name__}: {reason})"
        ) from error
    for node in list(program.graph.nodes):
        node.meta.pop("stack_trace", None)  # where on this machine the code lies
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what exporters and quantizers say about themselves, and graphs that are printed."""
    logging.disable(logging.ERROR)
    try:
        said = StringIO()
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
