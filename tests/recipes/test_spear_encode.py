"""Encoding a part of the mini corpus: the same files whatever launches it, and whatever dies."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audiossl.audio.frame_rates import num_whole_frames
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.nn.frames import Frames
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import write_encoder
from audiossl.quantization.random_projection import RandomProjectionQuantizer
from audiossl.quantization.storage import load_quantizer, write_quantizer
from recipes.spear import teacher_frames
from recipes.spear.encode import Config, encode
from recipes.spear.teacher_frames import TeacherConfig, TeacherFrames, spans_of
from recipes.stage import run
from tests.data.corpora import RATE, prepare, write_folder

ROOT = Path(__file__).parents[2]
MINI = ROOT / "egs/mini/data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Every 45th sound and prompt of the mini corpus, in shards of four, and a quantizer."""
    folder = tmp_path_factory.mktemp("encode")
    rows = []
    for table in ("speech.csv", "sounds.csv"):
        with (MINI / table).open(encoding="utf-8", newline="") as file:
            rows += [row["path"] for row in csv.DictReader(file)][::45]
    (folder / "labels.csv").write_text("path\n" + "\n".join(rows) + "\n")
    prepare(MINI, folder / "cuts", labels=[folder / "labels.csv"], only_labeled=True)
    torch.manual_seed(0)
    quantizer = RandomProjectionQuantizer(dim=20, num_codebooks=4, codebook_size=256)
    write_quantizer(folder / "quantizer.safetensors", quantizer)
    return folder


def _run(folder, output, **settings):
    settings = {"teacher": "log_mel:20", "field": "speech", **settings}
    settings.setdefault("quantizer", folder / "quantizer.safetensors")
    config = Config(cuts=folder / "cuts", output=output, **settings)
    return run(config, encode, "recipes.spear.encode")


@pytest.fixture(scope="module")
def expected(folder) -> dict[str, str]:
    _run(folder, folder / "codes")
    return _content(folder / "codes")


def _content(output: Path) -> dict[str, str]:
    """Digests of everything but records of when and how."""
    files = [p for name in ("shar", "columns", "parts") for p in (output / name).rglob("*.*")]
    files.append(output / "corpus.json")
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _words(folder, output):
    return [
        "--cuts", str(folder / "cuts"), "--output", str(output), "--field", "speech",
        "--quantizer", str(folder / "quantizer.safetensors"), "--teacher", "log_mel:20",
        "--resources.device", "cpu",
    ]  # fmt: skip


def _command(*words: str, timeout: float = 570) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=timeout, check=False,
        env=environment, cwd=ROOT,
    )  # fmt: skip


def test_codes_are_those_of_the_teacher_and_the_quantizer(folder, expected):
    corpus = Corpus(folder / "cuts", folder / "codes")
    teacher = load_encoder("log_mel:20")
    quantizer = load_quantizer(folder / "quantizer.safetensors")
    for cut in range(len(corpus)):
        waveform = torch.from_numpy(corpus.waveform(cut))[None]
        frames = teacher(waveform, torch.tensor([waveform.shape[1]]))
        alone = quantizer.encode(frames.vectors[0, : int(frames.lengths[0])])
        found = corpus.codes(cut, "speech").values
        assert abs(len(found) - num_whole_frames(waveform.shape[1] / RATE, 50.0)) <= 1
        # Cuts are encoded in batches, where sums are rounded otherwise.
        assert (found == alone[: len(found)]).float().mean() > 0.999


def test_the_plan_comes_before_the_work(folder, tmp_path, caplog):
    caplog.set_level("INFO")
    _run(folder, tmp_path / "codes")
    log = (tmp_path / "codes" / "log.txt").read_text()
    corpus = Corpus(folder / "cuts")
    hours = corpus.num_samples.sum() / RATE / 3600
    assert f"{len(corpus)} cuts, {hours:.2f} h in {corpus.num_shards} shards; 4 codes" in log
    assert "0.69 MiB an hour" in log  # 4 bytes, 50 times a second
    assert "frames of 20, which are not written, would take 7 MiB an hour" in log
    assert log.index("times real time a worker on the first shard") < log.index(" of audio in ")


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_local_workers_give_the_same_files(folder, expected, tmp_path, workers):
    words = [*_words(folder, tmp_path / "codes"), "--resources.workers", workers]
    done = _command("-m", "recipes.spear.encode", *words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert _content(tmp_path / "codes") == expected


def test_two_ranks_give_the_same_files(folder, expected, tmp_path):
    words = _words(folder, tmp_path / "codes")
    done = _command(
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "recipes.spear.encode", *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert _content(tmp_path / "codes") == expected
    record = json.loads((tmp_path / "codes" / "stage.json").read_text())
    assert record["world_size"] == 2


def _fatal(folder, output, *words):
    script = "tests.recipes.encoding"
    return _command(
        "-m", script, str(folder / "cuts"), str(folder / "quantizer.safetensors"), str(output),
        *words,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_killed_worker_and_a_killed_driver_change_nothing(folder, expected, tmp_path):
    done = _fatal(folder, tmp_path / "worker", "--kill-worker", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "worker" / "killed").exists()
    assert _content(tmp_path / "worker") == expected
    killed = _fatal(folder, tmp_path / "driver", "--kill-driver", "2", "--seconds", "0.3")
    assert killed.returncode == -9, killed.stderr[-2000:]
    done_before = set((tmp_path / "driver" / "receipts").glob("*.json"))
    assert 0 < len(done_before) < Corpus(folder / "cuts").num_shards
    stamps = {path: path.stat().st_mtime_ns for path in done_before}
    assert _fatal(folder, tmp_path / "driver").returncode == 0
    assert _content(tmp_path / "driver") == expected
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_ray_on_two_nodes_gives_the_same_files_whatever_is_killed(folder, expected, tmp_path):
    pytest.importorskip("ray")
    engine = ("--engine", "ray")
    whole = _fatal(folder, tmp_path / "whole", *engine)
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert _content(tmp_path / "whole") == expected
    actor = _fatal(folder, tmp_path / "actor", *engine, "--kill-worker", "2")
    assert actor.returncode == 0, actor.stderr[-3000:]
    assert (tmp_path / "actor" / "killed").exists()
    assert _content(tmp_path / "actor") == expected
    killed = _fatal(folder, tmp_path / "driver", *engine, "--kill-driver", "2", "--seconds", "0.5")
    assert killed.returncode == -9, killed.stderr[-3000:]
    receipts = list((tmp_path / "driver" / "receipts").glob("*.json"))
    assert 0 < len(receipts) < Corpus(folder / "cuts").num_shards
    resumed = _fatal(folder, tmp_path / "driver", *engine)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert _content(tmp_path / "driver") == expected


def test_a_second_run_is_up_to_date_and_another_field_is_refused(folder, expected):
    before = (folder / "codes" / "corpus.json").stat().st_mtime_ns
    _run(folder, folder / "codes")
    assert (folder / "codes" / "corpus.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="field speech -> audio"):
        _run(folder, folder / "codes", field="audio")
    with pytest.raises(UserError, match="teacher log_mel:20 -> mfcc:"):
        _run(folder, folder / "codes", teacher="mfcc:")


def test_only_chosen_cuts_are_encoded(folder, tmp_path):
    chosen = [Corpus(folder / "cuts").name(cut) for cut in (1, 6)]
    record = _run(folder, tmp_path, where={"id": chosen})
    assert (record["results"]["items"], record["results"]["skipped"]) == (2, 0)
    present = Corpus(folder / "cuts", tmp_path).code_fields["speech"].present
    assert np.flatnonzero(present).tolist() == [1, 6]


class _Broken(torch.nn.Module):
    """A teacher that gives NaN for one cut and no frame for another."""

    sample_rate, frame_rate, dim = 16000, 50.0, 20

    def __init__(self, nan: int, short: int) -> None:
        super().__init__()
        self.real, self.nan, self.short = load_encoder("log_mel:20"), nan, short

    def forward(self, waveforms, lengths):
        frames = self.real(waveforms, lengths)
        vectors = frames.vectors.clone()
        vectors[lengths == self.nan, 3] = float("nan")
        return Frames(vectors, frames.lengths * (lengths != self.short), 50.0)


def test_faulty_cuts_are_named_left_out_and_bounded(folder, tmp_path, monkeypatch):
    corpus = Corpus(folder / "cuts")
    nan, short = int(corpus.num_samples[0]), int(corpus.num_samples[5])
    monkeypatch.setattr(teacher_frames, "load_encoder", lambda source: _Broken(nan, short))
    record = _run(folder, tmp_path / "some", max_skipped=0.1)
    assert record["results"]["skipped"] == 2
    lines = (tmp_path / "some" / "skipped.jsonl").read_text().splitlines()
    reasons = {row["id"]: row["reason"] for row in map(json.loads, lines)}
    assert "gave NaN or infinity in 1 of" in reasons[corpus.name(0)]
    assert corpus.name(0) in reasons[corpus.name(0)]
    assert "shorter than one frame" in reasons[corpus.name(5)]
    present = Corpus(folder / "cuts", tmp_path / "some").code_fields["speech"].present
    assert np.flatnonzero(~present).tolist() == [0, 5]
    with pytest.raises(UserError, match="2 of 28 items cannot be used, more than the 1%"):
        _run(folder, tmp_path / "none")


def test_a_quantizer_of_other_dims_or_another_teacher_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="takes frames of 20 dimensions, got 80"):
        _run(folder, tmp_path / "dims", teacher="log_mel:80")
    trained = tmp_path / "trained"
    trained.mkdir()
    (folder / "quantizer.safetensors").rename(trained / "quantizer.safetensors")
    record = {
        "stage": "recipes.spear.train_quantizer", "finished": "then", "identity": {}, "inputs": {},
        "results": {"teacher": "0123456789abcdef"},
    }  # fmt: skip
    (trained / "stage.json").write_text(json.dumps(record))
    try:
        with pytest.raises(UserError, match="trained on frames of teacher 0123456789abcdef, but"):
            _run(folder, tmp_path / "codes", quantizer=trained)
    finally:
        (trained / "quantizer.safetensors").rename(folder / "quantizer.safetensors")


@pytest.mark.parametrize("field", ["recording", "cuts", "a b", "../x", ""])
def test_names_of_fields_that_are_taken_or_none_are_refused(folder, tmp_path, field):
    with pytest.raises(UserError, match="choose a word that is not taken"):
        _run(folder, tmp_path / "codes", field=field)


def test_a_full_disk_is_said_and_the_same_command_goes_on(folder, expected, tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 20:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*free some space"):
        _run(folder, tmp_path / "codes")
    assert list((tmp_path / "codes" / "receipts").glob("*.json"))
    monkeypatch.undo()
    _run(folder, tmp_path / "codes")
    assert _content(tmp_path / "codes") == expected


def test_a_folder_without_a_teacher_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: is not the name of any bundle"):
        _run(folder, tmp_path / "codes", teacher=f"torchaudio:{tmp_path}/empty")
    with pytest.raises(UserError, match=r"unknown kind of .* 'wavlm'"):
        _run(folder, tmp_path / "other", teacher="wavlm:large")
    with pytest.raises(UserError, match="nowhere"):
        _run(folder, tmp_path / "third", teacher="exp/nowhere")


def test_files_that_a_teacher_names_are_inputs(tmp_path):
    for name in ("wavlm", "large.pth", "own"):
        (tmp_path / name).mkdir()
    sources = {
        f"hf:{tmp_path}/wavlm#21": ["wavlm"],
        f"torchaudio:WAVLM_LARGE={tmp_path}/large.pth#3": ["large.pth"],
        f"hf:{tmp_path}/wavlm+log_mel:80+dasheng:{tmp_path}/own": ["wavlm", "own"],
        f"{tmp_path}/own": ["own"],
        "log_mel:80": [],
    }
    for source, names in sources.items():
        config = TeacherConfig(cuts=tmp_path, output=tmp_path, teacher=source)
        assert [path.name for path in config.extra_inputs().values()] == names


def test_an_own_encoder_is_a_teacher(folder, tmp_path):
    encoder = EfficientNet(EfficientNetConfig())
    write_encoder(tmp_path / "pretrain", encoder, {})
    quantizer = RandomProjectionQuantizer(encoder.dim, num_codebooks=2, codebook_size=16)
    write_quantizer(tmp_path / "own.safetensors", quantizer)
    chosen = {"id": [Corpus(folder / "cuts").name(0)]}
    record = _run(
        folder, tmp_path / "codes", teacher=str(tmp_path / "pretrain"), where=chosen,
        quantizer=tmp_path / "own.safetensors",
    )  # fmt: skip
    assert record["inputs"]["teacher.0"]["path"] == str(tmp_path / "pretrain")
    assert record["results"]["frames"] > 0


def test_windows_keep_every_frame_once_on_the_grid():
    for rate in (50.0, 25.0, 44100 / 8192):
        for num_samples in (16000 * 7, 16000 * 31 + 77, 16000 * 100):
            spans = list(spans_of(3, num_samples, rate, 10.0))
            assert sum(span.keep for span in spans) == num_whole_frames(num_samples / RATE, rate)
            assert [span.is_last for span in spans] == [False] * (len(spans) - 1) + [True]
            first = 0
            for span in spans:
                begin = span.start * rate / RATE + span.drop
                assert abs(begin - first) * RATE / rate <= 0.5001
                assert span.start + span.num_samples <= num_samples
                first += span.keep


@pytest.mark.parametrize("rate", [25.0, 40.0, 100.0])
def test_codes_at_another_rate_are_those_of_the_frame_that_sounds_then(
    folder, expected, tmp_path, rate
):
    _run(folder, tmp_path, frame_rate=rate)
    corpus = Corpus(folder / "cuts", folder / "codes")
    other = Corpus(folder / "cuts", tmp_path)
    for cut in range(len(corpus)):
        codes, found = corpus.codes(cut, "speech").values, other.codes(cut, "speech")
        assert found.frame_rate == rate
        num_samples = int(corpus.num_samples[cut])
        assert len(found.values) == num_whole_frames(num_samples / RATE, rate)
        times = (torch.arange(len(found.values)).double() + 0.5) / rate
        assert torch.equal(found.values, codes[(times * 50).long().clamp(max=len(codes) - 1)])


def test_a_long_cut_in_windows_is_heard_as_it_is_whole(folder, tmp_path):
    """Log-mel frames have no memory: windows must give the very frames, if they lie right."""
    write_folder(tmp_path / "audio", [7.3])
    prepare(tmp_path / "audio", tmp_path / "cuts")
    frames = []
    for seconds in (2.0, 40.0):
        config = TeacherConfig(
            cuts=tmp_path / "cuts", output=tmp_path, teacher="log_mel:20", window_duration=seconds
        )
        batches = TeacherFrames(Corpus(tmp_path / "cuts"), config, "cpu").batches([0])
        rows = {
            span.start: row
            for batch in batches
            for span, row in zip(batch.spans, batch.frames, strict=True)
        }
        frames.append(torch.cat([rows[start] for start in sorted(rows)]))
    torch.testing.assert_close(frames[0], frames[1], atol=1e-4, rtol=1e-4)


def test_the_plan_is_of_the_first_shard_with_audio_in_it(folder, tmp_path, caplog):
    caplog.set_level("INFO")
    corpus = Corpus(folder / "cuts")
    chosen = [corpus.name(cut) for cut in range(4, len(corpus))]
    _run(folder, tmp_path / "codes", where={"id": chosen})
    (plan,) = [line for line in caplog.messages if line.startswith("plan: ")]
    assert not plan.startswith("plan: 0.0 times")
