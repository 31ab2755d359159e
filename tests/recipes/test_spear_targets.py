"""From a corpus to a sample of frames to a quantizer: fair, bounded, resumed, refused."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.quantization.direct_sum_training import DirectSumConfig
from audiossl.quantization.kmeans import KMeansConfig
from audiossl.quantization.residual import ResidualConfig
from audiossl.quantization.storage import load_quantizer
from recipes.spear import embed_sample, encode, teacher_frames, train_quantizer
from recipes.spear.train_quantizer import QUANTIZER
from recipes.stage import Resources, run
from tests.data.corpora import RATE, prepare


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    (folder / "audio").mkdir()
    generator = np.random.default_rng(0)
    for index in range(11):
        noise = generator.standard_normal(8000 + 4800 * (index % 5)) * 0.3 / 2**index
        soundfile.write(folder / "audio" / f"{index:03d}.wav", noise, RATE)
    prepare(folder / "audio", folder / "cuts", shard_size=3)
    return folder / "cuts"


def _embed(cuts, output, **settings):
    config = embed_sample.Config(
        cuts=cuts, output=output, **{"teacher": "log_mel:8", "num_frames": 300, **settings}
    )
    return run(config, embed_sample.embed_sample, "recipes.spear.embed_sample")


@pytest.fixture(scope="module")
def sample(cuts):
    _embed(cuts, cuts.parent / "sample")
    return cuts.parent / "sample"


def _all_frames(cuts):
    config = teacher_frames.TeacherConfig(cuts=cuts, output=cuts, teacher="log_mel:8")
    batches = teacher_frames.TeacherFrames(Corpus(cuts), config, "cpu").batches(range(11))
    return torch.cat([frames for batch in batches for frames in batch.frames])


def test_a_sample_is_of_the_corpus_frames_and_of_the_size_asked_for(cuts, sample):
    frames = np.load(sample / "frames.npy")
    assert (frames.shape, frames.dtype) == ((300, 8), np.float16)
    known = {row.tobytes() for row in _all_frames(cuts).numpy().astype(np.float16)}
    assert all(row.tobytes() in known for row in frames)


def test_workers_do_not_change_the_sample(cuts, sample, tmp_path):
    _embed(cuts, tmp_path, resources=Resources(workers=2, device="cpu"))
    assert (tmp_path / "frames.npy").read_bytes() == (sample / "frames.npy").read_bytes()


def test_all_frames_are_kept_if_they_are_few_in_random_order(cuts, tmp_path):
    _embed(cuts, tmp_path, num_frames=10**6, number_type="float32")
    frames, known = np.load(tmp_path / "frames.npy"), _all_frames(cuts).numpy()
    assert sorted(row.tobytes() for row in frames) == sorted(row.tobytes() for row in known)
    # Frames of one recording are alike: neighbors in the sample must not be.
    steps = [np.abs(np.diff(rows, axis=0)).mean() for rows in (known, frames)]
    assert steps[1] > 3 * steps[0]


def test_no_more_than_max_hours_are_heard(cuts, tmp_path):
    record = _embed(cuts, tmp_path, max_hours=3 / 3600)
    assert 0 < record["results"]["hours"] <= 3 / 3600
    assert record["results"]["items"] < 11
    other = _embed(cuts, tmp_path / "seed", max_hours=3 / 3600, seed=1)
    assert record["results"]["content"] != other["results"]["content"]


class _Loud(torch.nn.Module):
    sample_rate, frame_rate, dim = 16000, 50.0, 8

    def __init__(self) -> None:
        super().__init__()
        self.real = teacher_frames.load_encoder("log_mel:8")

    def forward(self, waveforms, lengths):
        frames = self.real(waveforms, lengths)
        frames.vectors.mul_(1e6)
        return frames


def test_frames_beyond_float16_are_refused(cuts, tmp_path, monkeypatch):
    loud = _Loud()
    monkeypatch.setattr(teacher_frames, "load_encoder", lambda source: loud)
    with pytest.raises(UserError, match=r"beyond what float16 can hold: set number_type"):
        _embed(cuts, tmp_path / "half")
    _embed(cuts, tmp_path / "single", number_type="float32")


SMALL = {
    "direct_sum": DirectSumConfig(num_codebooks=2, phase_steps=(6, 6), batch_size=64),
    "kmeans": KMeansConfig(codebook_size=12, num_steps=10, batch_size=64),
    "residual": ResidualConfig(
        num_codebooks=2, codebook=KMeansConfig(codebook_size=12, num_steps=6, batch_size=64)
    ),
}


def _train(sample, output, kind, **settings):
    save_every = settings.pop("save_every", 1000)
    resources = train_quantizer.SavingResources(device="cpu", save_every=save_every)
    config = train_quantizer.Config(
        frames=sample, output=output, quantizer=SMALL[kind], resources=resources, **settings
    )
    return run(config, train_quantizer.train, "recipes.spear.train_quantizer")


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_resumed_training_gives_the_very_quantizer(sample, tmp_path, kind, monkeypatch):
    whole = _train(sample, tmp_path / "whole", kind)
    real, calls = train_quantizer.train_quantizer, []

    def interrupted(*arguments, **settings):
        calls.append(settings)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(train_quantizer, "train_quantizer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _train(sample, tmp_path / "pieces", kind, save_every=4)
    assert (tmp_path / "pieces" / "state.pt").exists()
    monkeypatch.undo()
    resumed = _train(sample, tmp_path / "pieces", kind, save_every=4)
    assert resumed["results"] == whole["results"]
    quantizer = load_quantizer(tmp_path / "pieces" / "quantizer.safetensors")
    assert quantizer.id == whole["results"]["quantizer"]
    assert not (tmp_path / "pieces" / "state.pt").exists()


def test_what_is_lost_is_measured_on_frames_that_were_held_out(sample, tmp_path):
    error = _train(sample, tmp_path / "some", "kmeans")["results"]["relative_error"]
    assert 0 < error < 1
    plain = _train(sample, tmp_path / "plain", "kmeans", standardize=False)["results"]
    assert 0 < plain["relative_error"] < 1
    assert plain["relative_error"] != error


def test_codes_of_the_chain_and_a_quantizer_of_another_sample(cuts, sample, tmp_path):
    made = _train(sample, tmp_path / "quantizer", "residual")["results"]
    config = encode.Config(
        cuts=cuts, output=tmp_path / "codes", teacher="log_mel:8", field="speech",
        quantizer=tmp_path / "quantizer",
    )  # fmt: skip
    run(config, encode.encode, "recipes.spear.encode")
    corpus = Corpus(cuts, tmp_path / "codes")
    facts = corpus.code_fields["speech"].facts
    assert (facts.quantizer_id, facts.num_codebooks, facts.codebook_size) == (
        made["quantizer"], 2, 12,
    )  # fmt: skip
    record = json.loads((tmp_path / "quantizer" / "stage.json").read_text())
    assert record["results"]["source"] == "log_mel:8"
    other = encode.Config(
        cuts=cuts, output=tmp_path / "other", teacher="log_mel:4+log_mel:4", field="speech",
        quantizer=tmp_path / "quantizer",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"trained on frames of teacher .*log_mel:4\+log_mel:4 is"):
        run(other, encode.encode, "recipes.spear.encode")


def test_a_sample_that_is_none_is_refused(cuts, tmp_path):
    with pytest.raises(UserError, match=r"is not the output of recipes\.spear.embed_sample"):
        _train(_not_a_sample(tmp_path), tmp_path / "out", "kmeans")


def _not_a_sample(folder):
    (folder / "stage").mkdir()
    np.save(folder / "stage" / "frames.npy", np.random.default_rng(0).random((100, 4)))
    record = {
        "stage": "x", "finished": "then", "identity": {}, "inputs": {}, "results": {},
    }  # fmt: skip
    (folder / "stage" / "stage.json").write_text(json.dumps(record))
    return folder / "stage"


@pytest.mark.long
def test_a_training_that_is_asked_to_stop_exits_with_75_and_goes_on(sample, tmp_path):
    words = [
        sys.executable, "-m", "recipes.spear.train_quantizer", "--frames", str(sample),
        "--quantizer.kind", "direct_sum", "--quantizer.num_codebooks", "2",
        "--quantizer.phase_steps", "[120,120]", "--quantizer.batch_size", "64",
        "--resources.save_every", "5", "--resources.device", "cpu", "--output",
    ]  # fmt: skip
    running = subprocess.Popen([*words, str(tmp_path / "pieces")], stderr=subprocess.DEVNULL)
    while not (tmp_path / "pieces" / "state.pt").exists():
        time.sleep(0.1)
        assert running.poll() is None
    running.terminate()
    assert running.wait(60) == 75
    for name in ("pieces", "whole"):
        done = subprocess.run([*words, str(tmp_path / name)], check=False, timeout=250)
        assert done.returncode == 0
    pieces, whole = (load_quantizer(tmp_path / n / QUANTIZER).id for n in ("pieces", "whole"))
    assert pieces == whole
