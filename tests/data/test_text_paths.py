"""Paths may be text wherever data and quantizers are opened, read or written."""

import pytest

from audiossl.data.corpus import Corpus
from audiossl.data.description import describe
from audiossl.data.folder import folder_items
from audiossl.data.kaldi import kaldi_items
from audiossl.data.tables import read_labels
from audiossl.errors import UserError
from audiossl.quantization.kmeans import KMeansQuantizer
from audiossl.quantization.storage import load_quantizer, write_quantizer
from tests.data.corpora import prepare, write_folder


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 0.7])
    (tmp_path / "audio" / "labels.csv").write_text("path,kind\n000.wav,low\n")
    (tmp_path / "kaldi").mkdir()
    (tmp_path / "kaldi" / "wav.scp").write_text(f"a {tmp_path}/audio/000.wav\n")
    prepare(tmp_path / "audio", tmp_path / "cuts")
    return tmp_path


def test_data_is_opened_by_text(folder):
    audio, labels = f"{folder}/audio", f"{folder}/audio/labels.csv"
    assert len(Corpus(f"{folder}/cuts")) == 2
    assert read_labels(labels) == {"000.wav": {"kind": "low"}}
    assert len(folder_items(audio, labels)) == 2
    assert len(folder_items(audio, [labels], only_labeled=True)) == 1
    assert len(kaldi_items(f"{folder}/kaldi")) == 1


def test_anything_is_described_by_text(folder):
    assert describe(f"{folder}/audio", f"{folder}/audio/labels.csv").kind == "folder of audio"
    assert describe(f"{folder}/cuts").kind == "prepared corpus"
    assert describe(f"{folder}/kaldi").kind == "Kaldi data directory"
    for files in (f"{folder}/audio/*.wav", [f"{folder}/audio"], [folder / "audio" / "001.wav"]):
        described = describe(files)
        assert described.kind == "audio files"
        assert described.rates["16000"] == described.num_cuts > 0


def test_quantizers_are_written_and_read_by_text(folder):
    path = f"{folder}/quantizer.safetensors"
    write_quantizer(path, KMeansQuantizer(4, 3))
    assert load_quantizer(path).dim == 4


def test_what_is_no_corpus_names_the_stage_that_makes_one(folder):
    with pytest.raises(UserError, match=r"python -m recipes\.prepare\.folder .*nowhere"):
        Corpus(f"{folder}/nowhere")
    (folder / "begun").mkdir()
    (folder / "begun" / "stage.json").write_text('{"command": "python -m recipes.prepare.kaldi"}')
    with pytest.raises(UserError, match=r"run python -m recipes\.prepare\.kaldi again"):
        Corpus(folder / "begun")
