"""A table of what an accelerator makes of each stage: `recipes/benchmark/gpu.sh`.

The fused kernel of the quantizer's search is compared with the plain path first. Then each case is
measured, the most important first; a line is printed, and the JSON file written anew, as soon as
one is done, so that whatever cuts the run off loses what has not been measured, and nothing else.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from audiossl.atomic_files import write_json
from audiossl.quantization import beam
from audiossl.quantization.direct_sum import DirectSumQuantizer
from recipes.benchmark import cases
from recipes.benchmark.cases import REHEARSED, Build, Sizes
from recipes.benchmark.measures import HEADING, Figures, Mode, copy_peak, matrix_peak, measured

CASES: list[tuple[str, Mode, Build, float]] = [
    ("SPEAR base, 600 s a step", "eager", cases.spear_base, 10),
    ("COLA, EfficientNet-B0, 512 pairs", "eager", cases.cola, 8),
    ("codes of 65 536 frames, 16 x 256", "eager", cases.encoding, 8),
    ("embedding 200 files, base", "eager", cases.embedding, 8),
    ("SPEAR large, 300 s a step", "eager", cases.spear_large, 12),
    ("code matching, 256 clips of 10 s", "eager", cases.code_matching, 8),
    ("21 MLP probes, 4 epochs of 16 384 rows", "eager", cases.probes, 10),
    ("a linear head, an epoch of 16 384 rows", "eager", cases.linear_head, 5),
    ("252 linear heads, 12 layers, the same", "eager", cases.linear_sweep, 8),
    ("filter bank of 600 s", "eager", cases.features, 5),
    ("COLA, EfficientNet-B0, 512 pairs", "compiled", cases.cola, 45),
    ("COLA, EfficientNet-B0, 512 pairs", "graphs", cases.cola, 50),
    ("SPEAR base, 600 s a step", "compiled", cases.spear_base, 120),
    ("SPEAR large, 300 s a step", "compiled", cases.spear_large, 120),
]
"""Name, mode, what builds it, and the seconds that must be left for it."""
SECONDS = 2.0
"""For which each case is repeated."""


def main(arguments: list[str]) -> int:
    """Measure what fits into the time."""
    options = _options(arguments)
    end = time.monotonic() + 60 * options.minutes
    if not options.rehearse and not torch.cuda.is_available():
        print("gpu.sh: no CUDA device here; --rehearse runs on a CPU with tiny sizes")
        return 2
    device = torch.device("cpu" if options.rehearse else "cuda")
    record = _facts(device, options.rehearse)
    print(f"{record['device']}: torch {record['torch']}, commit {record['commit']}")
    print(
        f"product of matrices {record['matrix_teraflops']:.1f} TFLOP/s, copy "
        f"{record['copy_terabytes']:.2f} TB/s, fused search {record['fused_search']}\n{HEADING}"
    )
    for name, mode, build, least in CASES:
        left = end - time.monotonic()
        if left < least and not options.rehearse:
            print(f"{name:<38} {mode:<9} left out: {left:.0f} s are left")
            continue
        row = _row(build, mode, device, options.rehearse)
        record["rows"].append({"case": name, "mode": mode, **row})
        write_json(options.output, record)
        line = row.get("error") or Figures(**row).line(record["matrix_teraflops"])
        print(f"{name:<38} {mode:<9} {line}")
    print(f"written to {options.output}")
    return int(any("error" in row for row in record["rows"]))


def _row(build: Build, mode: Mode, device: torch.device, rehearse: bool) -> dict[str, Any]:
    """Measure one case; the others are worth as much without it, should it fail."""
    sizes, seconds = (REHEARSED, 0.0) if rehearse else (Sizes(), SECONDS)
    try:
        return asdict(measured(build(sizes, device, mode), device, seconds))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return {"error": f"failed: {type(error).__name__}: {lines[0][:200]}"}


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("recipes/benchmark/gpu.sh", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all of it")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="the JSON file")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny sizes")
    return parser.parse_args(arguments)


def _facts(device: torch.device, rehearsed: bool) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    name = "CPU, rehearsal" if rehearsed else torch.cuda.get_device_name(device)
    return {
        "command": "recipes/benchmark/gpu.sh",
        "commit": commit.stdout.strip() or "unknown",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "device": name,
        "torch": torch.__version__,
        "matrix_teraflops": matrix_peak(device, 256 if rehearsed else 8192),
        "copy_terabytes": copy_peak(device, 2**20 if rehearsed else 2**32),
        "fused_search": _check_search(device),
        "rows": [],
    }


def _check_search(device: torch.device) -> str:
    """Compare the codes of the fused search with those of the plain one, and their times."""
    if device.type != "cuda":
        return "needs CUDA"
    torch.manual_seed(0)
    quantizer = DirectSumQuantizer(256, 16).to(device).eval()
    for weights in quantizer.parameters():
        torch.nn.init.normal_(weights, std=0.25)
    frames = 4 * torch.randn(4096, 256, device=device)
    codes, seconds = [], []
    for fused in (True, False):
        with patch.object(beam, "_is_fusible", lambda *_, fused=fused: fused):
            quantizer.encode(frames)
            torch.cuda.synchronize()
            started = time.perf_counter()
            codes.append(quantizer.encode(frames))
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    agree = float((codes[0] == codes[1]).float().mean())
    verdict = "equal" if agree >= 0.999 else "NOT EQUAL"
    return f"{verdict} ({agree:.3%} of codes), {seconds[1] / seconds[0]:.1f} times as fast as plain"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
