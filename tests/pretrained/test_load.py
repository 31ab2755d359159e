import json
import sys

import pytest
import torch

import audiossl
from audiossl.errors import UserError
from audiossl.models.build import build_encoder
from audiossl.models.efficientnet import EfficientNetConfig
from audiossl.models.encoder import Encoder
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import write_encoder
from audiossl.pretrained.sources import SCHEMES, parse_source, paths_of, split_sources
from audiossl.teachers.dasheng import DashengTeacher
from tests.teachers import tiny


def test_an_encoder_is_named_by_kind_and_place(tmp_path):
    assert load_encoder("log_mel:40").dim == 40
    assert load_encoder("mfcc:").dim == 39
    assert load_encoder("log_mel_statistics:").dim == 64
    folder = tiny.save(tiny.networks()["hubert-base"], tmp_path)
    encoder = load_encoder(f"hf:{folder}")
    assert isinstance(encoder, Encoder)
    assert "output behind the final norm of 3 layers" in encoder.layer_convention
    assert "hubert layer 2," in load_encoder(f"hf:{folder}#2").layer_convention


def test_weights_of_which_a_bit_has_flipped_are_refused(tmp_path):
    encoder = build_encoder(EfficientNetConfig(width=0.25, depth=0.25))
    write_encoder(tmp_path, encoder, {})
    load_encoder(tmp_path)
    weights, config = tmp_path / "encoder.safetensors", tmp_path / "config.json"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"encoder.safetensors: not the weights that were written"):
        load_encoder(tmp_path)
    # As earlier versions wrote it.
    known = json.loads(config.read_text())
    config.write_text(json.dumps({n: value for n, value in known.items() if n != "weights_sha256"}))
    load_encoder(tmp_path)


def test_several_are_an_ensemble(experiment):
    waveforms, lengths = torch.randn(1, 8000), torch.tensor([8000])
    assert load_encoder("log_mel:40+mfcc:")(waveforms, lengths).vectors.shape[2] == 79
    own = load_encoder(experiment.cola_0)
    assert load_encoder(f"{experiment.cola_0}+mfcc:").dim == own.dim + 39


def test_a_layer_of_any_encoder_that_has_layers(experiment, tmp_path):
    waveforms, lengths = torch.randn(2, 16000), torch.tensor([16000, 9000])
    network = tiny.save(tiny.networks()["wavlm-large"], tmp_path)
    for source in (str(experiment.cola_0), f"hf:{network}"):
        whole, layer = load_encoder(source), load_encoder(f"{source}#2")
        frames, expected = layer(waveforms, lengths), whole(waveforms, lengths)
        torch.testing.assert_close(frames.vectors, expected.layers[1])
        assert layer.dim == frames.vectors.shape[2]
        assert torch.equal(frames.lengths, expected.lengths_of_layers)
        assert "layer 2" in frames.layer_convention
        assert "layer 2" in layer.layer_convention
        with pytest.raises(UserError, match=r"layers 1 to \d+"):
            load_encoder(f"{source}#99")
    with pytest.raises(UserError, match="mfcc:#3: this encoder has no layers; leave #3 out"):
        load_encoder("mfcc:#3")
    with pytest.raises(UserError, match="'x' is no layer"):
        load_encoder("ge2e:#x")


def test_an_old_spelling_is_the_encoder_that_it_was(tmp_path):
    assert parse_source("log-mel:") == parse_source("log_mel_statistics:")
    assert parse_source(tmp_path).kind == "audiossl"


def test_says_which_kinds_there_are():
    with pytest.raises(UserError, match=r"unknown kind of encoder 'hff'; did you mean 'hf'"):
        load_encoder("hff:x")
    assert all(scheme.extra in ("", "teachers", "onnx") for scheme in SCHEMES.values())


@pytest.mark.parametrize("source", ["log_mel:40+aisfx:", "shuffled:log_mel:40+aisfx:#1", "x#3"])
def test_names_are_taken_apart_where_members_begin(source):
    assert len(split_sources(source)) == (2 if source.startswith("log_mel") else 1)


def test_inputs_are_the_paths_that_a_name_mentions(tmp_path):
    file = tmp_path / "a.pt"
    file.touch()
    assert paths_of(f"torchaudio:WAVLM_LARGE={file}#3+hf:{tmp_path}#2") == [file, tmp_path]
    assert paths_of(f"shuffled:spear:{file}#1") == [file]
    assert paths_of("log_mel:80") == []
    assert [str(path) for path in paths_of("exp/nowhere#2")] == ["exp/nowhere"]


def test_a_missing_package_is_named_with_what_to_run_in_this_checkout(monkeypatch):
    monkeypatch.delitem(sys.modules, "audiossl.teachers.huggingface", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        UserError, match=r"needs transformers.*: in /.*pip install -e '\.\[teachers"
    ) as hit:
        audiossl.load_encoder("hf:x")
    assert "audiossl[" not in str(hit.value)
    assert "\n" not in str(hit.value)


def test_no_encoder_needs_anothers_packages(monkeypatch):
    # Dasheng and the wheels' networks are written here: torch and torchaudio suffice.
    for name in ("transformers", "dasheng", "resemblyzer", "aisfx", "librosa"):
        monkeypatch.setitem(sys.modules, name, None)
    assert DashengTeacher is not None
    with pytest.raises(UserError, match="no such file"):
        load_encoder("dasheng:none.pt")
