from dataclasses import replace

import pytest
import torch

from audiossl import load_encoder
from audiossl.cli import main
from audiossl.errors import UserError
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.weights import read_weights
from audiossl.pretrained import own
from tests.models.zipformer.golden import fill

CONFIG = replace(TINY, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(31, 15))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own"
    own.write_encoder(folder, fill(Zipformer(CONFIG)), {})
    return folder


def run(*words, code=0):
    assert main([str(word) for word in words]) == code


def test_out_and_in_again_is_equal_to_the_bit(folder, tmp_path, capsys):
    public, again = tmp_path / "public", tmp_path / "again"
    run("export", folder, public)
    told = capsys.readouterr().out
    assert "bit-equal" in told
    assert "layer 2" in told
    run("import", f"spear:{public}", again)
    assert "bit-equal" in capsys.readouterr().out
    one, other = load_encoder(folder).state_dict(), load_encoder(again).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert load_encoder(again).config == CONFIG


def test_a_checkpoint_comes_back_with_what_lay_beside_the_encoder(tmp_path, capsys):
    state = {**fill(Zipformer(TINY)).state_dict(), "mask_emb": torch.randn(128)}
    torch.save({"model": state}, tmp_path / "public.pt")
    run("import", f"spear:{tmp_path / 'public.pt'}", tmp_path / "own")
    run("export", tmp_path / "own", tmp_path / "again.pt")
    assert "1 beside them" in capsys.readouterr().out
    again = read_weights(tmp_path / "again.pt")["model"]
    assert again.keys() == state.keys()
    assert all(torch.equal(value, again[name]) for name, value in state.items())


def test_half_precision_is_certified_with_its_difference(folder, tmp_path, capsys):
    run("export", folder, tmp_path / "half", "--dtype", "bfloat16")
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith("largest difference") for line in told)
    weights = read_weights(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_nothing_is_overwritten_and_mistakes_are_one_line(folder, tmp_path, capsys):
    run("export", folder, folder, code=2)
    run("import", f"spear:{tmp_path / 'nothing.pt'}", tmp_path / "x", code=2)
    run("export", "log_mel:80", tmp_path / "x", code=2)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert "exists already" in told[0]
    assert "no such file" in told[1]
    assert "SPEAR's form is for a Zipformer" in told[2]


def test_a_run_whose_widths_are_those_of_a_public_size_is_exported(tmp_path, capsys):
    config = replace(TINY, num_layers=(2, 1, 1, 1, 1, 1, 1), num_bins=40, query_dim=16)
    own.write_encoder(tmp_path / "own", fill(Zipformer(config)), {})
    for output in (tmp_path / "x.pt", tmp_path / "x"):
        run("export", tmp_path / "own", output)
        assert "bit-equal" in capsys.readouterr().out
        assert load_encoder(f"spear:{output}").config == config
    # And without what only our own exports have, its shapes tell.
    torch.save({"model": read_weights(tmp_path / "x.pt")["model"]}, tmp_path / "shapes.pt")
    assert load_encoder(f"spear:{tmp_path / 'shapes.pt'}").config == config


def test_an_export_that_fails_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    def fails(*args):
        raise UserError("not the same")

    before = set(tmp_path.iterdir())
    for output in (tmp_path / "x.pt", tmp_path / "x"):
        with monkeypatch.context() as patch:
            patch.setattr("audiossl.pretrained.exports.spear.compare_encoders", fails)
            run("export", folder, output, code=2)
        assert set(tmp_path.iterdir()) == before
    run("export", folder, tmp_path / "x.pt")
