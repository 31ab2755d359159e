"""A program of torch.export: it runs where torch is, without this package, and can be compiled."""

from pathlib import Path

import torch

from audiossl.pretrained.certificate import Difference, compare_outputs, outputs_of
from audiossl.pretrained.exports.forms import Export
from audiossl.pretrained.exports.graph import program_of, quiet

FILE = "model.pt2"
USE = """
    import torch

    model = torch.export.load("model.pt2").module()
    frames, frame_lengths, clip = model(waveforms, lengths)   # (batch, samples), (batch,)

Batches are of 1 to 600 seconds; shorter clips are padded, and `lengths` says how long they are.
`torch._inductor.aoti_compile_and_package(torch.export.load("model.pt2"))` compiles it ahead of
time.
"""


def write(place: Path, export: Export) -> list[Difference]:
    """Write the program, read it back and compare."""
    place.mkdir(parents=True)
    program = program_of(export)
    with quiet():
        torch.export.save(program, place / FILE)
        module = torch.export.load(place / FILE).module()
    return compare_outputs(
        export.encoder, lambda waveforms, lengths: outputs_of(*module(waveforms, lengths))
    )
