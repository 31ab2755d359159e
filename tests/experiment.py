"""A whole experiment, small: corpus, stems, two pretraining runs, probes, report."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.settings import read_settings
from recipes.stage import run
from tests.data.corpora import RATE, tone, write_folder

TINY = ["--encoder.width", "0.1", "--encoder.depth", "0.1", "--method.projection_dim", "8"]
SHORT = ["--loop.steps", "2", "--batch_size", "4", "--where", "{split: [train]}"]
SHORT += ["--resources.log_every", "1", "--resources.device", "cpu", "--views.crop_samples", "8000"]
TASKS = (
    "[{name: kind, label: kind, metric: balanced_accuracy, stratify: true},"
    " {name: parts, label: parts, kind: multi, metric: pr_auc}]"
)


@dataclass(frozen=True)
class Experiment:
    """Where everything is."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / name


def stage(module: Any, work: Any, *words: str) -> dict[str, Any]:
    """Run a stage as its command line would."""
    config = read_settings(module.Config, module.__name__, words)
    return run(config, work, module.__name__)


def write_audio(folder: Path) -> None:
    """Write 24 noises and tones of about a second, 8 songs with stems, and the table of labels."""
    rows = ["path,kind,parts,split"]
    splits = ("train", "train", "valid", "test")
    generator = np.random.default_rng(0)
    (folder / "sounds").mkdir(parents=True)
    for index in range(24):
        seconds, kind = 0.7 + 0.03 * index, ("tone", "noise")[index % 2]
        wave = tone(seconds, 300 + 20 * index)
        if kind == "noise":
            wave = 0.1 * generator.normal(size=len(wave)).astype(np.float32)
        soundfile.write(folder / "sounds" / f"{index:02d}.wav", wave, RATE)
        parts = ("low", "high", "low|high")[index // 2 % 3]
        rows.append(f"sounds/{index:02d}.wav,{kind},{parts},{splits[index // 6]}")
    write_folder(folder / "songs", [1.5] * 8, stems=True)
    rows += [f"songs/{index:03d},song,,{splits[index // 2]}" for index in range(8)]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def conduct(folder: Path) -> Experiment:
    """Run all stages."""
    from recipes.cola import pretrain as cola
    from recipes.prepare import folder as prepare
    from recipes.probe import embed, fit, report
    from recipes.source_association import pretrain as source
    from recipes.source_association import separate

    here = Experiment(folder)
    write_audio(here.audio)
    stage(
        prepare, prepare.prepare, "--folder", f"{here.audio}", "--only_labeled", "true",
        "--labels", f"[{here.audio / 'labels.csv'}]", "--output", f"{here.cuts}",
    )  # fmt: skip
    stage(
        separate, separate.separate, "--cuts", f"{here.cuts}", "--originals", f"{here.audio}",
        "--separator", "{kind: given, sources: {low: low, high: high}, absent: silent}",
        "--where", "{kind: [song]}", "--output", f"{here.stems}",
    )  # fmt: skip
    for seed in range(2):
        stage(
            cola, cola.cola, *TINY, *SHORT, "--loop.seed", f"{seed}",
            "--cuts", f"{here.cuts}", "--output", f"{here.folder / f'cola_{seed}'}",
        )  # fmt: skip
    stage(
        source, source.associate, *TINY, *SHORT,
        "--views.sources", "{mixture: 1, low: 1, high: 1}", "--views.silent", "true",
        "--cuts", f"{here.cuts}", "--stems", f"{here.stems}", "--output", f"{here.source_0}",
    )  # fmt: skip
    encoders = f"{{cola#0: {here.cola_0}, cola#1: {here.cola_1}, source: {here.source_0}}}"
    stage(
        embed, embed.embed, "--cuts", f"{here.cuts}", "--encoders", encoders,
        "--resources.cache", f"{here.cache}", "--output", f"{here.embeddings}",
    )  # fmt: skip
    stage(
        fit, fit.fit, "--cuts", f"{here.cuts}", "--embeddings", f"{here.embeddings}",
        "--tasks", TASKS, "--bootstrap.replicates", "50", "--output", f"{here.fitted}",
    )  # fmt: skip
    stage(
        report, report.report, "--fitted", f"{here.fitted}",
        "--runs", f"{{cola: {here.cola_0}, source: {here.source_0}}}",
        "--batches", "2", "--output", f"{here.report}",
    )  # fmt: skip
    return here


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Everything, made once, by the first of the processes of pytest-xdist that wants it."""
    parent = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        parent = parent.parent
    folder = parent / "experiment"
    with (parent / "experiment.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "report" / "report.html").exists():
            conduct(folder)
    return Experiment(folder)
