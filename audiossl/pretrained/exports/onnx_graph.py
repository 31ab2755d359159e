"""ONNX from waveforms, front end included, for any batch and duration; and with weights in int8."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import onnxscript  # noqa: F401  # torch's exporter needs it; whoever lacks it is told so here
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from audiossl.configs import plain
from audiossl.models.encoder import presentation_of
from audiossl.pretrained.certificate import Difference, Outputs, compare_outputs, outputs_of
from audiossl.pretrained.exports.forms import Export
from audiossl.pretrained.exports.graph import INPUTS, OUTPUTS, program_of, quiet

FILE, INT8 = "model.onnx", "model.int8.onnx"
FRONT_ENDS = ("audiossl.features", "audiossl.teachers.mel")
"""Packages of modules that are not quantized."""
USE = """
    import onnxruntime

    session = onnxruntime.InferenceSession("model.onnx")
    frames, frame_lengths, clip = session.run(None, {"waveforms": waveforms, "lengths": lengths})

`waveforms` are float32 (batch, samples), `lengths` int64 (batch,). Batches are of a second at
least; shorter clips are padded, and `lengths` says how long they are. In `model.int8.onnx`, where
there is one, the weights of linear maps are integers; activations are quantized as they come. Rates
and presentation stand in the graph's metadata. `audiossl.load_encoder("model.onnx")` reads it back.
"""


def write(place: Path, export: Export) -> list[Difference]:
    """Write both graphs, run them with onnxruntime and compare."""
    place.mkdir(parents=True)
    program = program_of(export)
    with quiet():
        graph = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=INPUTS, output_names=OUTPUTS
        )
    assert graph is not None
    nodes = list(graph.model.graph)
    linear = [str(node.name) for node in nodes if _is_linear_map(node)]
    for node in nodes:
        node.metadata_props.clear()  # where on this machine the code lies
    graph.model.metadata_props.update(_facts(export.encoder))
    graph.save(place / FILE)
    differences = compare_outputs(export.encoder, _session(place / FILE))
    if linear:
        with quiet():
            quantize_dynamic(
                place / FILE, place / INT8, weight_type=QuantType.QInt8, nodes_to_quantize=linear
            )
        differences += [
            replace(one, name=f"int8 {one.name}", rough=True)
            for one in compare_outputs(export.encoder, _session(place / INT8))
        ]
    return differences


def _facts(encoder: Any) -> dict[str, str]:
    """Say what a graph does not: `teachers.onnx_graph` reads it."""
    return {
        "sample_rate": str(encoder.sample_rate),
        "frame_rate": str(float(encoder.frame_rate)),
        "layer_convention": encoder.layer_convention,
        "presentation": json.dumps(plain(presentation_of(encoder))),
    }


def _session(path: Path) -> Callable[[Tensor, Tensor], Outputs]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(waveforms: Tensor, lengths: Tensor) -> Outputs:
        values = dict(zip(INPUTS, (waveforms.numpy(), lengths.numpy()), strict=True))
        return outputs_of(*map(torch.from_numpy, session.run(None, values)))

    return encode


def _is_linear_map(node: Any) -> bool:
    """Whether it is a product, and not one of a front end, whose filters are not learned."""
    classes = node.metadata_props.get("pkg.torch.onnx.class_hierarchy", "")
    return node.op_type in ("MatMul", "Gemm") and not any(one in classes for one in FRONT_ENDS)
