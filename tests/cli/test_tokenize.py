"""Units of a folder that holds encoder, layer and quantizer together."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

import audiossl
from audiossl.cli import main
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.units import describe_frames, load_tokenizer, without_repeats
from audiossl.quantization.kmeans import KMeansConfig, KMeansQuantizer
from audiossl.quantization.storage import load_quantizer, write_quantizer
from recipes.spear import embed_sample, encode, train_quantizer
from recipes.stage import run


@pytest.fixture(scope="module")
def chain(experiment, tmp_path_factory):
    """A sample of layer 2 of an own encoder, and a quantizer of it."""
    folder = tmp_path_factory.mktemp("chain")
    sample = embed_sample.Config(
        cuts=experiment.cuts, output=folder / "sample", teacher=f"{experiment.cola_0}#2"
    )
    run(sample, embed_sample.embed_sample, "recipes.spear.embed_sample")
    training = train_quantizer.Config(
        frames=folder / "sample",
        output=folder / "quantizer",
        quantizer=KMeansConfig(codebook_size=6, num_steps=4, batch_size=32),
    )
    run(training, train_quantizer.train, "recipes.spear.train_quantizer")
    return folder


@pytest.fixture
def clips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(3)
    for name, size in {"a": 16000, "b": 24000}.items():
        soundfile.write(f"{name}.wav", 0.1 * generator.standard_normal(size), 16000)
    return tmp_path


def test_the_folder_travels_with_its_encoder(chain, clips, experiment):
    expected = audiossl.tokenize("*.wav", chain / "quantizer")
    moved = shutil.copytree(chain / "quantizer", clips / "moved")
    units = audiossl.tokenize("*.wav", moved)
    assert units.encoder == f"{moved}/encoder#2"
    assert "layer 2" in units.layer_convention
    frames = load_encoder(f"{experiment.cola_0}#2")(*_wave("a.wav"))
    quantizer = load_quantizer(chain / "quantizer/quantizer.safetensors")
    codes = quantizer.encode(frames.vectors[0, : int(frames.lengths[0])])
    assert torch.equal(units.codes[0], codes)
    assert all(
        torch.equal(one, other) for one, other in zip(units.codes, expected.codes, strict=True)
    )


def _wave(path):
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    return waveform[None], torch.tensor([len(waveform)])


def test_another_encoder_or_layer_or_presentation_is_refused(chain, clips, experiment):
    for other in (f"{experiment.cola_0}#1", f"{experiment.cola_1}#2"):
        with pytest.raises(UserError, match=r"was trained on frames of .*#2 .*another layer"):
            load_tokenizer(chain / "quantizer", other)
    moved = shutil.copytree(chain / "quantizer", clips / "moved")
    facts = json.loads((moved / "frames_of.json").read_text())
    facts["presentation"]["level"] = "rms"
    (moved / "frames_of.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="clips were presented to"):
        load_tokenizer(moved)


def test_a_quantizer_alone_asks_for_its_encoder(clips):
    write_quantizer("alone.safetensors", KMeansQuantizer.from_entries(torch.randn(4, 8)))
    with pytest.raises(UserError, match=r"does not say on whose frames.*--encoder"):
        load_tokenizer("alone.safetensors")
    assert audiossl.tokenize("a.wav", load_tokenizer("alone.safetensors", "log_mel:8")).codes
    with pytest.raises(UserError, match="takes frames of 8 dimensions, got 9"):
        load_tokenizer("alone.safetensors", "log_mel:9")


def test_units_are_those_of_the_stage_that_encodes_a_corpus(experiment, tmp_path):
    """A foreign encoder is looked for by its name, which the folder holds."""
    folder = tmp_path / "units"
    folder.mkdir()
    describe_frames(folder, "log_mel:8", load_encoder("log_mel:8"))
    quantizer = KMeansQuantizer.from_entries(10 * torch.randn(16, 8))
    write_quantizer(folder / "quantizer.safetensors", quantizer)
    config = encode.Config(
        cuts=experiment.cuts, output=tmp_path / "codes", teacher="log_mel:8", field="codes",
        quantizer=folder,
    )  # fmt: skip
    run(config, encode.encode, "recipes.spear.encode")
    corpus = Corpus(experiment.cuts, tmp_path / "codes")
    waveforms = [corpus.waveform(cut) for cut in range(3)]
    units = audiossl.tokenize(waveforms, folder)
    for cut, codes in enumerate(units.codes):
        stored = corpus.codes(cut, "codes").values
        assert torch.equal(torch.as_tensor(stored[: len(codes)]), codes)


def test_repeats_are_merged_and_counted():
    codes = torch.tensor([[1, 2], [1, 2], [1, 3], [1, 2]], dtype=torch.uint8)
    units, counts = without_repeats(codes)
    assert torch.equal(units.repeat_interleave(counts, dim=0), codes)


def test_every_format_says_the_same(chain, clips, capsys):
    words = ["tokenize", "a.wav", "b.wav", "--quantizer", str(chain / "quantizer")]
    for name in ("x.txt", "x.jsonl", "x.npz"):
        assert main([*words, "--output", name]) == 0
    assert "bits a second" in capsys.readouterr().out
    arrays = np.load("x.npz")
    records = [json.loads(line) for line in (clips / "x.jsonl").read_text().splitlines()]
    lines = [line.split("\t") for line in (clips / "x.txt").read_text().splitlines()]
    rows = np.split(arrays["units"][:, 0], np.cumsum(arrays["num_units"])[:-1])
    for row, record, (path, text), name in zip(
        rows, records, lines, ("a.wav", "b.wav"), strict=True
    ):
        assert record["path"] == path == name
        assert row.tolist() == record["units"] == [int(unit) for unit in text.split()]
    assert main([*words, "--output", "y.jsonl", "--distinct"]) == 0
    lines = (clips / "y.jsonl").read_text().splitlines()
    for record, line in zip(records, lines, strict=True):
        merged, rate = json.loads(line), float(arrays["frame_rate"])
        counts = [round(seconds * rate) for seconds in merged["durations"]]
        assert np.repeat(merged["units"], counts).tolist() == record["units"]
        ends = np.cumsum(merged["durations"])
        assert merged["starts"] == pytest.approx([0.0, *ends[:-1]], abs=1e-3)


def test_quality_is_printed_against_phones(clips, capsys):
    spans = "".join(
        f"{name} 1 {start / 10} 0.1 {'aeiou'[start % 5]}\n" for name in "ab" for start in range(10)
    )
    (clips / "phones.ctm").write_text(spans)
    (clips / "utt2spk").write_text("a one\nb two\n")
    write_quantizer("alone.safetensors", KMeansQuantizer.from_entries(torch.randn(4, 8)))
    words = ["tokenize", ".", "--quantizer", "alone.safetensors", "--encoder", "log_mel:8"]
    words += ["--alignments", "phones.ctm"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "against 5 phones" in text
    assert "PNMI" in text
    assert "ABX error " in text
    assert main([*words, "--speakers", "utt2spk"]) == 0
    assert "ABX error, X of another speaker" in capsys.readouterr().out
    (clips / "phones.ctm").write_text("elsewhere 1 0 1 a\n")
    assert main(words) == 2
    assert "recordings such as 'elsewhere', and files are called 'a'" in capsys.readouterr().err


def test_a_file_without_a_frame_is_left_out_by_name(clips, capsys):
    soundfile.write("c.wav", np.ones(1), 16000)
    words = ["tokenize", "c.wav", "a.wav", "--quantizer", "alone.safetensors"]
    write_quantizer("alone.safetensors", KMeansQuantizer.from_entries(torch.randn(4, 8)))
    assert main([*words, "--encoder", "log_mel:8"]) == 3
    assert "c.wav: shorter than one frame of its encoder" in capsys.readouterr().err
