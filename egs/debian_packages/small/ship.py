"""Write an encoder as it ships: `python -m egs.debian_packages.small.ship <run> <folder> [base]`.

Matrices and kernels are in half precision; biases, scales and statistics stay as they are. Of an
encoder that goes on from a shipped one, <base>, only the tensors that changed are written.
"""

import sys
from pathlib import Path

import torch

from audiossl.atomic_files import read_json, write_json
from audiossl.digests import sha256_of
from audiossl.nn.weights import read_weights, write_weights
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import CONFIG, DIGEST, WEIGHTS


def ship(pretrained: Path, folder: Path, base: str | None = None) -> float:
    """Write weights and config; return the cosine of clip vectors before and after, of noise."""
    state = read_weights(pretrained / WEIGHTS)
    if base is not None:
        known = load_encoder(f"audiossl:{base}").state_dict()
        state = {n: value for n, value in state.items() if not torch.equal(value, known[n])}
    halves = {name: value.half() if value.dim() > 1 else value for name, value in state.items()}
    write_weights(folder / WEIGHTS, halves, {"format": "pt"})
    content = read_json(pretrained / CONFIG)
    provenance = {name: value for name, value in content["provenance"].items() if name != "last"}
    shared = {} if base is None else {"base": base}
    shared[DIGEST] = sha256_of(folder / WEIGHTS)
    write_json(folder / CONFIG, {**content, **shared, "provenance": provenance})
    noise = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0)) * 0.1
    before, after = (load_encoder(place)(noise).clip for place in (pretrained, folder))
    return float(torch.cosine_similarity(before, after).min())


if __name__ == "__main__":
    cosine = ship(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
    sys.stdout.write(f"cosine of clip vectors before and after rounding: {cosine:.6f}\n")
