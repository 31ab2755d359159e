"""Run folders of commit a5a11bc, from before configs of methods had a kind: they still load."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from audiossl.configs import from_plain
from audiossl.data.pair_corpus import PairCorpus
from audiossl.data.pairs import read_pairs
from audiossl.pretrained.code_matching import load_matching
from audiossl.pretrained.load import load_encoder
from audiossl.reports.pairs import inspect_pairs
from audiossl.training.runs import open_run
from audiossl.training.writers import read_metrics
from recipes.code_matching import pairs
from recipes.cola import pretrain as cola
from recipes.settings import read_settings
from recipes.source_association import separate
from recipes.spear import pretrain as spear
from recipes.stage import run

ARCHIVE = Path(__file__).parent / "golden/old_runs.tar.xz"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stopped_run_goes_on_as_if_nothing_had_changed(runs):
    config = read_settings(cola.Config, "cola", ["--config", "cola/config.yaml"])
    run(config, cola.cola, "recipes.cola.pretrain")
    losses = [row["loss"] for row in read_metrics(runs / "cola")]
    assert losses == pytest.approx(json.loads((runs / "losses.json").read_text()), rel=1e-5)


@pytest.mark.parametrize(("folder", "step"), [("cola", 2), ("source_association", 0)])
def test_a_run_is_opened_with_its_pairs(runs, folder, step):
    opened = open_run(Path(folder))
    assert (type(opened.method).__name__.lower(), opened.step) == (folder.replace("_", ""), step)
    assert len(inspect_pairs(opened.views, opened.method, batches=1)) == 4


@pytest.mark.parametrize("source", ["source_association", "code_matching:code_matching#mixture"])
def test_an_encoder_is_loaded(runs, source):
    encoder = load_encoder(source)
    frames = encoder(torch.randn(2, 16000), torch.tensor([16000, 12000]))
    assert frames.clip.isfinite().all()


def test_code_matching_is_loaded(runs):
    assert load_matching(runs / "code_matching").method.config.embedding_dim == 8


def test_sides_of_pairs_are_modalities(runs):
    config = read_settings(pairs.Config, "pairs", ["--config", "pairs/config.yaml"])
    assert list(config.modalities) == ["mixture", "stem"]
    finished = json.loads((runs / "pairs/stage.json").read_text())["results"]
    record = run(config, pairs.make_pairs, "recipes.code_matching.pairs")
    assert record["results"] == finished
    corpus = PairCorpus("pairs")
    assert corpus.modalities == load_matching(runs / "code_matching").modalities
    separated = read_settings(separate.Config, "stems", ["--config", "stems/config.yaml"])
    assert separated.originals == Path("audio")
    first = next(iter(read_pairs("pairs/pairs.jsonl", ("mixture", "stem"))))
    assert first.modalities["stem"].kind == "sound"


def test_a_spear_run_has_the_same_settings_and_tensors(runs):
    config = read_settings(spear.Config, "spear", ["--config", "spear/config.yaml"])
    method = spear.build(config, spear.coded_cuts(config))
    shapes = {name: list(tensor.shape) for name, tensor in method.state_dict().items()}
    assert shapes == json.loads((runs / "spear/shapes.json").read_text())


def test_settings_are_read_back(runs):
    content = json.loads((runs / "spear/config.json").read_text())
    from audiossl.models.build import EncoderConfig

    assert from_plain(EncoderConfig, content["encoder"], "spear").dim == 16
