import argparse
import os
import pickle
import sys
import types

import pytest
import torch

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.teachers import fairseq
from tests.teachers import foreign
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

NETWORKS = ("wav2vec2", "hubert", "data2vec", "wavlm")


@pytest.fixture
def file(tmp_path):
    def write(name, **changes):
        torch.save({**foreign.dump(name), **changes}, tmp_path / f"{name}.pt")
        return str(tmp_path / f"{name}.pt")

    return write


@pytest.mark.parametrize("name", NETWORKS)
def test_gives_what_the_authors_code_gives(name, file):
    path = file(name)
    frames = load_encoder(f"fairseq:{path}")(foreign.WAVEFORM, torch.tensor([9000]))
    close = {"atol": 2e-4, "rtol": 1e-3}
    torch.testing.assert_close(frames.vectors, foreign.output(f"{name}.final"), **close)
    first = load_encoder(f"fairseq:{path}#1")
    vectors = first(foreign.WAVEFORM, torch.tensor([9000])).vectors
    torch.testing.assert_close(vectors, foreign.output(f"{name}.layer.1"), **close)
    assert "layer 1, as it leaves the block" in first.layer_convention


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_does_not_matter(name, file):
    teacher = fairseq.load(file(name))
    check_padding_does_not_matter(teacher)
    check_short_rows_have_no_frames(teacher, too_short=319)


def _omegaconf(monkeypatch):
    """What fairseq's settings are made of, by the names of a library that is not installed."""
    kinds = {"omegaconf.dictconfig": "DictConfig", "omegaconf.nodes": "AnyNode"}
    for module in ("omegaconf", *kinds):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    for module, name in kinds.items():
        setattr(sys.modules[module], name, type(name, (), {"__module__": module}))

    def node(value):
        module, attribute = "omegaconf.nodes", "_val"
        if isinstance(value, dict):
            value = {name: node(one) for name, one in value.items()}
            module, attribute = "omegaconf.dictconfig", "_content"
        made = getattr(sys.modules[module], kinds[module])()
        setattr(made, attribute, value)
        return made

    return node


@pytest.mark.parametrize("old", [True, False])
def test_settings_of_other_libraries_are_read_without_them(old, tmp_path, monkeypatch):
    model = {"layer_norm_first": True, "encoder_attention_heads": 2}
    with monkeypatch.context() as patched:
        if old:  # before 2020: argparse
            settings = {"args": argparse.Namespace(normalize=True, **model), "cfg": None}
        else:
            node = _omegaconf(patched)
            settings = {"cfg": node({"model": model, "task": {"normalize": True}})}
        dump = {**settings, "model": foreign.dump("wav2vec2")["model"]}
        torch.save(dump, tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
    frames = fairseq.load(str(tmp_path / "x.pt"))(foreign.WAVEFORM, torch.tensor([9000]))
    expected = foreign.output("wav2vec2.final")
    torch.testing.assert_close(frames.vectors, expected, atol=2e-4, rtol=1e-3)


class _Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


class _Evaluates:
    def __reduce__(self):
        return eval, ("open('ran', 'w')",)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(("bomb", "named"), [(_Runs(), "system"), (_Evaluates(), "eval")])
def test_a_file_that_brings_code_is_refused_by_its_name_and_not_run(
    bomb, named, new, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    content = {"cfg": bomb, "model": foreign.dump("hubert")["model"]}
    torch.save(content, "hostile.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match=rf"hostile.pt: refused.*would run code.*{named}"):
        fairseq.load("hostile.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(content["cfg"]))
    with pytest.raises(UserError, match=r"plain.pt: (refused|damaged)"):
        fairseq.load("plain.pt")
    assert not (tmp_path / "ran").exists()


def test_says_what_is_wrong_with_a_file(file, tmp_path):
    silent = file("hubert", cfg={"model": {"encoder_attention_heads": 2}})
    with pytest.raises(UserError, match=r"does not say whether waveforms are standardized"):
        fairseq.load(silent)
    assert load_encoder(f"fairseq:{silent}?normalize=true").normalize
    with pytest.raises(UserError, match=r"no wav2vec 2.0, HuBERT, .* it has no"):
        fairseq.load(file("hubert", model={"weight": torch.zeros(3)}))
    state = foreign.dump("hubert")["model"]
    odd = {**state, "encoder.layers.0.adapter.weight": torch.zeros(3)}
    with pytest.raises(UserError, match=r"1 unknown \(encoder.layers.0.adapter.weight"):
        fairseq.load(file("hubert", model=odd))
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(UserError, match="no checkpoint of fairseq"):
        fairseq.load(str(tmp_path / "list.pt"))
    with pytest.raises(UserError, match=r"none.pt: no such file"):
        fairseq.load("none.pt")


def test_a_network_with_a_head_that_was_fine_tuned_is_the_network(file):
    state = {f"w2v_encoder.w2v_model.{n}": v for n, v in foreign.dump("hubert")["model"].items()}
    path = file("hubert", model={**state, "w2v_encoder.proj.weight": torch.zeros(5, 16)})
    frames = fairseq.load(path)(foreign.WAVEFORM, torch.tensor([9000]))
    expected = foreign.output("hubert.final")
    torch.testing.assert_close(frames.vectors, expected, atol=2e-4, rtol=1e-3)
