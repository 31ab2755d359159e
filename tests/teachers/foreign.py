"""Networks of others, small: weights that hang on names and shapes alone, and what they gave.

`tests/golden/foreign.safetensors` holds the outputs, and in its metadata settings and shapes. They
were written with the authors' own code: s3prl 0.4.18 for fairseq's networks and WavLM, openbeats
0.1.1, muq 0.1.0, the blocks of EAT at commit 06c1c34, M2D's portable runtime at commit f0c4128.
"""

import json
import zlib
from pathlib import Path

import torch
from safetensors import safe_open

GOLDEN = Path(__file__).parents[1] / "golden" / "foreign.safetensors"
SECONDS = torch.arange(9000) / 16000
WAVEFORM = (torch.sin(2000 * SECONDS**2) * 0.3 + 0.1)[None]
LONGER = torch.cat([WAVEFORM, 0.5 * WAVEFORM], dim=1)


def dump(name: str) -> dict:
    """What the file of a checkpoint holds."""
    with safe_open(GOLDEN, "pt") as file:
        content = json.loads(file.metadata()[name])
    shapes = content["shapes"].items()
    return {"cfg": content["cfg"], "model": {name: _value(name, shape) for name, shape in shapes}}


def output(name: str) -> torch.Tensor:
    """What the authors' code gave: "hubert.final", "hubert.layer.1", ..."""
    with safe_open(GOLDEN, "pt") as file:
        return file.get_tensor(name)


def _value(name: str, shape: list[int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.randn(tuple(shape), generator=generator)
    if name.endswith("running_var"):
        return 0.5 + (0.1 * noise).abs()
    if len(shape) < 2 or name.endswith("grep_a"):
        return 0.1 * noise + (1.0 if name.endswith(("weight", "grep_a")) else 0.0)
    if name.endswith("weight_g"):
        return 2.0 + 0.1 * noise
    if name.endswith("relative_attention_bias.weight"):
        return _value("relative_attention_bias", [shape[0] * shape[1]]).view(*shape) * 10
    return noise / (noise.numel() / len(noise)) ** 0.5
