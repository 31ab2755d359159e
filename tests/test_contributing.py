"""The files that CONTRIBUTING shows: short, and used from a folder outside of the checkout."""

import json
import re

import pytest
import torch

from audiossl.models.properties import check_encoder
from audiossl.pretrained.load import load_encoder
from recipes.cola import pretrain as cola
from recipes.probe import fit
from tests.contracts import CONTRIBUTING, files_of, write_files
from tests.experiment import SHORT, stage

FILES = files_of(CONTRIBUTING)
MOST_LINES = 30


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path, FILES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["decoupled.py", "patches.py", "top_two.py", "sounds.yaml"])
def test_an_addition_is_one_short_file(name):
    lines = [line for line in FILES[name].splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES


def test_a_loss_an_encoder_and_a_method_train(folder, experiment):
    settings = ["--encoder.kind", "python:patches:Patches", *SHORT, "--cuts", f"{experiment.cuts}"]
    stage(
        cola, cola.cola, *settings, "--method.loss", "python:decoupled:decoupled",
        "--output", "exp/decoupled",
    )  # fmt: skip
    stage(
        cola, cola.cola, *settings, "--method.kind", "python:barlow:BarlowTwins",
        "--method.redundancy", "0.01", "--output", "exp/barlow",
    )  # fmt: skip
    assert (folder / "exp/barlow/encoder.safetensors").exists()
    encoder = load_encoder("exp/decoupled")
    assert encoder(torch.randn(1, 16000), torch.tensor([16000])).vectors.shape == (1, 24, 32)
    checks = {row.name: row.holds for row in check_encoder(encoder)}
    assert checks["padding changes nothing"]
    assert checks["save and load"]


def test_a_metric_and_a_task_are_scored(folder, experiment):
    stage(
        fit, fit.fit, "--config", "sounds.yaml", "--cuts", f"{experiment.cuts}",
        "--embeddings", f"{experiment.embeddings}", "--bootstrap.replicates", "20",
        "--output", "exp/fitted",
    )  # fmt: skip
    scores = json.loads((folder / "exp/fitted/scores.json").read_text())
    assert [task["name"] for task in scores["tasks"]] == ["kind-of-sound"]
    assert re.search(r"top.?2|TOP_TWO", json.dumps(scores))
