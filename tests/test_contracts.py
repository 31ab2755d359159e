"""Every method on every encoder: it trains, resumes, reloads, exports, embeds and is reported."""

import tarfile
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from audiossl.cli import main
from audiossl.configs import configs_of
from audiossl.errors import UserError
from audiossl.methods.build import MethodConfig
from audiossl.models.build import EncoderConfig
from audiossl.nn.weights import read_weights
from audiossl.pretrained.load import load_encoder
from audiossl.reports.curves import shown_figures
from audiossl.reports.pair_pages import pairs_page
from audiossl.reports.pairs import inspect_pairs
from audiossl.training.checkpoints import read_last_checkpoint
from audiossl.training.runs import has_pairs, open_run
from audiossl.training.writers import read_metrics
from tests.contracts import (
    ARCHIVE,
    CLIPS,
    CONTRIBUTING,
    ENCODERS,
    METHODS,
    files_of,
    make_pairs,
    stop_after_two,
    write_files,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contracts")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    write_files(folder, {**files_of(CONTRIBUTING), "clips.py": CLIPS})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_pairs()
        yield folder


def test_every_kind_is_in_the_matrix():
    assert set(configs_of(EncoderConfig)) <= set(ENCODERS), "add a tiny one to tests/contracts.py"
    assert set(configs_of(MethodConfig)) <= set(METHODS), "add its recipe to tests/contracts.py"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_method_on_an_encoder(folder, method, encoder, capsys):
    name = f"{method}_{encoder}".replace(":", "_")
    recipe, run = METHODS[method], folder / "exp" / name
    if encoder == "python:clips:Clips" and method in (
        "masked_codes",
        "masked_patches",
        "asit",
        "code_matching",
        "distillation",
        "time_contrast",
    ):
        with pytest.raises(UserError, match=f"{method} needs an encoder with frames, and Clips"):
            recipe.run(encoder, f"exp/{name}")
        return
    if encoder == "wav2vec2" and method in ("masked_patches", "asit"):
        with pytest.raises(UserError, match="those of Wav2Vec2 are learned"):
            recipe.run(encoder, f"exp/{name}")
        return
    recipe.run(encoder, f"exp/{name}")
    stop_after_two(run, folder / "exp" / f"{name}_resumed")
    recipe.run(encoder, f"exp/{name}_resumed")
    source = name if method != "code_matching" else f"{name}#mixture"
    kind = "code_matching:" if method == "code_matching" else ""
    loaded, resumed = (load_encoder(f"{kind}exp/{s}") for s in (source, _resumed(source)))
    assert_close(resumed.state_dict(), loaded.state_dict(), rtol=0, atol=0)
    _is_what_was_trained(run, loaded)
    _embeds(loaded)
    _exports(f"{kind}exp/{source}", folder / f"{name}.pt", capsys)
    _is_reported(run, recipe.has_pairs)


def _resumed(source: str) -> str:
    name, hash_, side = source.partition("#")
    return f"{name}_resumed{hash_}{side}"


def _is_what_was_trained(run: Path, loaded: torch.nn.Module) -> None:
    """Weights on disk are those of the last checkpoint."""
    state = read_last_checkpoint(run)["method"]
    weights = read_weights(next(run.glob("*.safetensors")))
    prefix = "" if (run / "code_matching.safetensors").exists() else "encoder."
    assert weights
    for key, value in weights.items():
        assert torch.equal(state[prefix + key], value), key


def _embeds(encoder: torch.nn.Module) -> None:
    waveforms, lengths = 0.1 * torch.randn(2, 16000), torch.tensor([16000, 12000])
    frames = encoder(waveforms, lengths)
    assert frames.clip.isfinite().all()
    assert frames.clip.shape[0] == 2


def _exports(source: str, output: Path, capsys: pytest.CaptureFixture) -> None:
    """An exporter writes it, or says in a line which encoder it is not for."""
    capsys.readouterr()
    code = main(["export", source, str(output)])
    printed = capsys.readouterr()
    assert code in (0, 2), printed.err
    if code == 2:
        assert source in printed.err
        assert printed.err.count("\n") == 1


def _is_reported(run: Path, pairs: bool) -> None:
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert "loss" in shown_figures({"run": rows})
    assert has_pairs(run) == pairs
    if not pairs:
        with pytest.raises(UserError, match="not of a stage that pretrains on pairs"):
            open_run(run)
        return
    opened = open_run(run)
    assert opened.step == 3
    found = inspect_pairs(opened.views, opened.method, batches=1)
    assert len(found) == 4
    assert "surprise" in pairs_page(found, "Pairs", str(run))
