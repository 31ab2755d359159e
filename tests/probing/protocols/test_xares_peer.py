"""Our scores beside those of PyPI's `xares` on the same tars.

XARES_PYTHON names an interpreter that has it (0.1.3) beside this package's dependencies.
"""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.prepare import tars
from recipes.probe import embed, fit
from tests.experiment import stage

CLASSES = 8
ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("XARES_PYTHON" not in os.environ, reason="XARES_PYTHON names no python"),
]


def write_tar(path: Path, items: int, seed: int) -> None:
    """Write noises whose color says their class, not too clearly."""
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number in range(items):
            label = int(generator.integers(CLASSES))
            spectrum = np.fft.rfft(generator.normal(size=9600))
            bins = np.arange(len(spectrum)) / len(spectrum)
            center = (label + 0.5) / CLASSES + generator.normal(scale=0.06)
            colored = np.fft.irfft(spectrum * np.exp(-(((bins - center) / 0.2) ** 2)))
            file = io.BytesIO()
            soundfile.write(file, 0.3 * colored / abs(colored).max(), 16_000, format="FLAC")
            facts = json.dumps({"label": label}).encode()
            for suffix, content in (("flac", file.getvalue()), ("json", facts)):
                info = tarfile.TarInfo(f"item{seed}_{number}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def theirs(folder: Path) -> dict[str, float]:
    run = subprocess.run(
        [os.environ["XARES_PYTHON"], "tests/probing/protocols/xares_peer.py", folder, f"{CLASSES}"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("scores: "))
    return json.loads(line.removeprefix("scores: "))


def ours(folder: Path, task: str, *words: str) -> dict[str, float]:
    cuts, vectors = folder / "cuts", folder / "vectors"
    stage(tars, tars.prepare, "--folder", f"{folder / 'toy'}", "--output", f"{cuts}", *words)
    stage(
        embed, embed.embed, "--cuts", f"{cuts}", "--output", f"{vectors}", "--random_of", "[]",
        "--encoders", "{toy: 'python:tests.probing.protocols.toy_encoder:Toy'}",
    )  # fmt: skip
    stage(
        fit, fit.fit, "--cuts", f"{cuts}", "--embeddings", f"{vectors}", "--tasks", task,
        "--probes", "[{kind: xares_linear}, {kind: xares_knn}]", "--bootstrap.replicates", "20",
        "--output", f"{folder / 'fit'}",
    )  # fmt: skip
    (scored,) = json.loads((folder / "fit" / "scores.json").read_text())["tasks"]
    rows = {row["probe"]: row for row in scored["rows"] if row["encoder"] == "toy"}
    return {
        "mlp": rows["xares_linear-official"]["scores"]["accuracy"]["score"],
        "knn": rows["xares_knn-official"]["scores"]["accuracy"]["score"],
    }


def test_splits_score_as_in_xares(tmp_path):
    for number, (split, items) in enumerate((("train", 600), ("valid", 200), ("test", 800))):
        write_tar(tmp_path / "toy" / f"{split}-0000000.tar", items, number)
    task = "[{name: toy, label: label, group: id}]"
    splits = "{train: 'train*.tar', valid: 'valid*.tar', test: 'test*.tar'}"
    expected = theirs(tmp_path)
    found = ours(tmp_path, task, "--splits", splits)
    print(f"splits: xares {expected}, ours {found}")
    assert found == pytest.approx(expected, abs=0.005)


def test_folds_score_as_in_xares(tmp_path):
    for fold in (1, 2, 3):
        write_tar(tmp_path / "toy" / f"wds-audio-fold-{fold}-0000000.tar", 400, 10 + fold)
    task = "[{name: toy, label: label, group: id, folds: [fold-1, fold-2, fold-3]}]"
    expected, found = theirs(tmp_path), ours(tmp_path, task)
    print(f"folds: xares {expected}, ours {found}")
    assert found == pytest.approx(expected, abs=0.005)
