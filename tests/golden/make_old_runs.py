"""Makes old_runs.tar.xz: run folders as commit a5a11bc wrote them. It was run at that commit.

A corpus with stems; COLA, stopped after 2 of 4 steps; source association, finished; code matching
of mixtures and stems, finished; of SPEAR its settings and the shapes of its tensors. `losses.json`
has the four losses of COLA, had it not been stopped. Weights are rounded to bfloat16, to be small.
"""

import io
import json
import os
import shutil
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from recipes.settings import read_settings
from recipes.stage import run
from tests.data.corpora import encode, write_folder

TARGET = Path(__file__).parent.resolve() / "old_runs.tar.xz"
ENCODER = ["--encoder.width", "0.05", "--encoder.depth", "0.1", "--method.projection_dim", "8"]
CPU = ["--resources.device", "cpu"]
SHORT = ["--batch_size", "4", "--resources.log_every", "1", *CPU]
SHORT += ["--resources.save_every", "2", "--views.crop_samples", "8000"]
SPEAR = (
    "{dim: 16, feed_forward_dim: 32, num_layers: [1, 1], strides: [1, 2], kernel_sizes: [7, 7], "
    "num_heads: 2, query_dim: 4, position_dim: 8, value_dim: 4, unmasked_dim: 8, num_bins: 16}"
)
SMALL = "{kind: frames, convolutions: {dim: 8, strides: [4], blocks: 1}}"


def stage(module, work, *words):
    found = import_module(f"recipes.{module}")
    return run(
        read_settings(found.Config, found.__name__, words), getattr(found, work), found.__name__
    )


def make_corpus() -> None:
    write_folder(Path("audio"), [0.6] * 6, stems=True)
    stage(
        "prepare.folder", "prepare", "--folder", "audio", "--output", "cuts", "--encoding", "flac"
    )
    stage(
        "source_association.separate", "separate", "--cuts", "cuts", "--originals", "[audio]",
        "--separator", "{kind: given, sources: {low: low, high: high}, absent: silent}",
        "--output", "stems",
    )  # fmt: skip
    encode(Path("cuts"), Path("codes_speech"), "speech")


def train_cola() -> None:
    """Train from a rounded second step, so that the losses are those of who goes on from it."""
    words = [*ENCODER, *SHORT, "--loop.steps", "4", "--cuts", "cuts", "--output", "cola"]
    stage("cola.pretrain", "cola", *words)
    stop_after_two(Path("cola"))
    checkpoint = Path("cola/checkpoints/step-00000002.pt")
    torch.save(rounded(torch.load(checkpoint, weights_only=True)), checkpoint)
    shutil.copytree("cola", "stopped")
    stage("cola.pretrain", "cola", *words)
    rows = Path("cola/metrics.jsonl").read_text().splitlines()
    Path("losses.json").write_text(json.dumps([json.loads(row)["loss"] for row in rows]))
    shutil.rmtree("cola")
    Path("stopped").rename("cola")


def stop_after_two(folder: Path) -> None:
    """Bring a finished run back to its second step."""
    (folder / "checkpoints/step-00000004.pt").unlink(missing_ok=True)
    for name in ("encoder.safetensors", "config.json"):
        (folder / name).unlink(missing_ok=True)
    record = json.loads((folder / "stage.json").read_text())
    record.update(finished=None)
    for name in ("results", "seconds"):
        record.pop(name, None)
    (folder / "stage.json").write_text(json.dumps(record))


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.bfloat16().to(value.dtype)
    return value


def train_source_association() -> None:
    stage(
        "source_association.pretrain", "associate", *ENCODER, *SHORT, "--loop.steps", "2",
        "--cuts", "cuts", "--stems", "stems", "--output", "source_association",
        "--views.sources", "{low: 1, high: 1}", "--views.silent", "true",
    )  # fmt: skip
    shutil.rmtree("source_association/checkpoints")
    weights = Path("source_association/encoder.safetensors")
    save_file(rounded(load_file(weights)), weights, {"format": "pt"})


def train_code_matching() -> None:
    stage(
        "code_matching.pairs", "make_pairs", "--pairs", "{kind: stems, window: 0.5, hop: 0.5}",
        "--sides", "{mixture: {kind: sound, encoder: 'log_mel:8'}, "
        "stem: {kind: sound, encoder: 'log_mel:8'}}",
        "--cuts", "[cuts,stems]", "--output", "pairs",
    )  # fmt: skip
    stage(
        "code_matching.pretrain", "code_matching", "--pairs", "pairs", "--batch_size", "4",
        "--encoders", f"{{mixture: {SMALL}, stem: {SMALL}}}", "--loop.steps", "2",
        "--method", "{embedding_dim: 8, codebook: {codebook_size: 8, dim: 4}}", *CPU,
        "--output", "code_matching",
    )  # fmt: skip
    shutil.rmtree("code_matching/checkpoints")


def train_spear() -> None:
    stage(
        "spear.pretrain", "spear", "--encoder", SPEAR, "--loop.steps", "2", "--output", "spear",
        "--corpora", "[{cuts: cuts, codes: [codes_speech], domain: speech}]",
        "--data.targets", "{speech: [speech]}", "--plan", "{batch_size: 2, num_buckets: 1}", *CPU,
    )  # fmt: skip
    state = torch.load("spear/checkpoints/step-00000002.pt", weights_only=True)["method"]
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    Path("spear/shapes.json").write_text(json.dumps(shapes))
    shutil.rmtree("spear/checkpoints")
    Path("spear/encoder.safetensors").unlink()


def pack() -> None:
    """Put everything but logs and audio into the archive."""
    for path in [*Path().glob("*/tensorboard"), Path("audio")]:
        shutil.rmtree(path)
    for path in [*Path().glob("*/log.txt"), *Path().glob("*/.lock")]:
        path.unlink()
    with tarfile.open(TARGET, "w:xz") as archive:
        for path in sorted(Path().rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(str(path))
                info.size = path.stat().st_size
                archive.addfile(info, io.BytesIO(path.read_bytes()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_corpus()
        train_cola()
        train_source_association()
        train_code_matching()
        train_spear()
        pack()
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
