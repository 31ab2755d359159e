import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiossl.atomic_files import read_json
from audiossl.data.labeled_cuts import LabeledConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.overlapping_crops import ConsistencyConfig
from audiossl.methods.supervised import SupervisedConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.sequence_heads import HeadConfig
from audiossl.nn.weights import read_weights
from audiossl.optim.build import AdamWConfig
from audiossl.pretrained.own import write_encoder
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.training.loop import LoopConfig
from recipes.pretraining import TrainingResources
from recipes.probe import sequence
from recipes.probe.sequence_task import SequenceTaskConfig
from recipes.stage import run
from tests.data.corpora import RATE, prepare, tone
from tests.methods.codes import SMALL

NOTES = {"a": 300.0, "b": 900.0, "c": 2700.0}
PLAN = PlanConfig(batch_size=8, num_buckets=1)
LOOP = LoopConfig(steps=30, optimizer=AdamWConfig(rate=1e-2))
SPLITS = {"valid": {"split": ["valid"]}, "test": {"split": ["test"]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Melodies of two notes, which are text, events and turns of speakers, too."""
    folder = tmp_path_factory.mktemp("sequence")
    (folder / "audio").mkdir()
    generator = np.random.default_rng(0)
    rows = ["path,text,turns,first,last,singer,split"]
    for index in range(32):
        one, other = generator.choice(list(NOTES), 2, replace=False)
        lengths = 0.3 + 0.3 * generator.random(2)
        parts = [tone(s, NOTES[n]) for s, n in zip(lengths, (one, other), strict=True)]
        soundfile.write(folder / "audio" / f"{index:02d}.wav", np.concatenate(parts), RATE)
        middle, end = lengths[0], lengths.sum()
        turns = f"0.0-{middle:.3f} {one}|{middle:.3f}-{end:.3f} {other}"
        split = ("train", "train", "valid", "test")[index // 8]
        rows.append(f"{index:02d}.wav,{one} {other},{turns},{one},{other},s{index},{split}")
    (folder / "labels.csv").write_text("\n".join(rows))
    prepare(folder / "audio", folder / "cuts", labels=[folder / "labels.csv"])
    torch.manual_seed(0)
    write_encoder(folder / "zipformer", Zipformer(SMALL), {})
    return folder


def _task(name, target, label, head=None, **changes):
    method = SupervisedConfig(head=head or HeadConfig(projection=16))
    return SequenceTaskConfig(
        name=name, target=target, train=LabeledConfig(label=label, where={"split": ["train"]}),
        method=method, plan=PLAN, loop=LOOP, group="singer", **{**SPLITS, **changes},
    )  # fmt: skip


LSTM = HeadConfig(projection=0, recurrent_layers=1, width=16)
LEARNED = (
    _task("clips", "classes", "first+last", HeadConfig(projection=16)),
    _task("notes", "phones", "text", LSTM),
    _task("frames", "frames", "turns"),
    _task("events", "events", "turns"),
    _task("turns", "speakers", "turns", replace(LSTM, bidirectional=False)),
)
TASKS = tuple(replace(task, loop=replace(LOOP, steps=4)) for task in LEARNED)


def _config(folder, output, **changes):
    settings = {
        "cuts": folder / "cuts", "output": output,
        "encoders": {"net": str(folder / "zipformer"), "mel": "log_mel:40"}, "tasks": TASKS,
        "baselines": False, "bootstrap": BootstrapConfig(replicates=50),
        "resources": TrainingResources(device="cpu", log_every=2, save_every=2),
    }  # fmt: skip
    return sequence.Config(**{**settings, **changes})


def _run(config):
    return run(config, sequence.probe_sequences, "recipes.probe.sequence")


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("fitted")
    _run(_config(folder, output))
    return output


def test_every_kind_of_task_is_learnt_from_log_mel_frames(folder, tmp_path):
    mel = {"encoders": {"mel": "log_mel:40"}, "resources": TrainingResources(device="cpu")}
    _run(_config(folder, tmp_path, tasks=LEARNED, **mel))
    tables = read_json(tmp_path / "scores.json")["tasks"]
    found = {task["name"]: task["rows"][0]["scores"] for task in tables}
    assert found["clips"]["accuracy"] > 1 / 6  # chance; which note is first is not in a mean
    assert found["notes"]["per"] < 0.75
    assert found["frames"]["frame_accuracy"] > 0.8
    assert found["events"]["segment_f1"] > 0.8
    assert found["turns"]["der"] < 0.4


def test_rates_and_ways_of_decoding_are_chosen_on_validation_cuts(folder, fitted, tmp_path):
    encoders = {"net": str(folder / "zipformer")}
    config = _config(
        folder, tmp_path, encoders=encoders, tasks=(TASKS[0],), rates=(1e-4, 1e-2), baselines=True,
        steps=3,
    )  # fmt: skip
    _run(config)
    (clips,) = read_json(tmp_path / "scores.json")["tasks"]
    assert {row["role"] for row in clips["rows"]} == {"encoder", "random", "log-mel"}
    for row in clips["rows"]:
        best = max(row["rates"], key=lambda rate: (row["rates"][rate], -float(rate)))
        assert float(best) == row["choice"]["rate"]
        assert row["validation"] == row["rates"][best]
        assert sum(row["layer_weights"]) == pytest.approx(1.0, abs=1e-3)
    events = read_json(fitted / "scores.json")["tasks"][3]
    assert set(events["rows"][0]["choice"]) == {"rate", "threshold", "median"}


def test_scores_have_intervals_differences_and_pages(fitted):
    task = read_json(fitted / "scores.json")["tasks"][1]
    for row in task["rows"]:
        low, high = row["intervals"]["per"]
        assert low <= row["scores"]["per"] <= high
        sums = np.array(read_json(fitted / "runs" / row["encoder"] / "notes" / "sums_per.json"))
        assert sums[0].sum(axis=0)[0] / sums[0].sum(axis=0)[1] == row["scores"]["per"]
    assert {row["encoder"] for row in task["differences"]} == {"net"}
    assert "| net |" in (fitted / "results.md").read_text()
    assert "Heads on frozen encoders" in (fitted / "report.html").read_text()
    lines = (fitted / "runs/net/notes/predictions.jsonl").read_text().splitlines()
    assert len(lines) == task["cuts"]["test"] == 8


def test_an_interrupted_run_ends_like_one_that_was_not(folder, fitted, tmp_path):
    output = tmp_path / "again"
    shutil.copytree(fitted, output)
    # As if it had been killed in the last task of an encoder, in the middle of training.
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").write_text(json.dumps({**record, "finished": None, "results": None}))
    for path in ("scores.json", "runs/net/turns/row.json"):
        (output / path).unlink()
    left = output / "runs/net/turns/rate-0.01_seed-0"
    for name in ("valid.json", "head.safetensors", "checkpoints/step-00000004.pt"):
        (left / name).unlink()
    _run(_config(folder, output))
    same = left / "head.safetensors"
    expected = read_weights(fitted / same.relative_to(output))
    torch.testing.assert_close(read_weights(same), expected, rtol=0, atol=0)
    assert (output / "scores.json").read_text() == (fitted / "scores.json").read_text()


def test_streamed_frames_give_what_cached_ones_give(folder, tmp_path):
    short = replace(TASKS[2], loop=replace(LOOP, steps=5))
    config = _config(
        folder, tmp_path / "cached", tasks=(short,), encoders={"net": str(folder / "zipformer")}
    )
    _run(config)
    _run(replace(config, output=tmp_path / "streamed", most_cached=0.0))
    assert (tmp_path / "cached/frames").exists()
    assert not (tmp_path / "streamed/frames").exists()
    one, other = (
        read_weights(next((tmp_path / name).rglob("head.safetensors")))
        for name in ("cached", "streamed")
    )
    # float16 has three digits.
    torch.testing.assert_close(one, other, rtol=0.1, atol=0.05)


def test_what_cannot_be_is_refused(folder, tmp_path):
    config = _config(folder, tmp_path)
    shared = _task("clips", "classes", "first", valid={"split": ["train"]})
    clip = replace(TASKS[0], method=SupervisedConfig(input="clip"))
    crops = replace(TASKS[3], method=SupervisedConfig(consistency=ConsistencyConfig()))
    unlabeled = replace(TASKS[3], train=replace(TASKS[3].train, unlabeled=True))
    for changes, words in (
        ({"tasks": ()}, "name at least one of each"),
        ({"tasks": (TASKS[0], TASKS[0])}, "the name 'clips' is there twice"),
        ({"tasks": (shared,)}, "16 cuts are in train and in valid"),
        ({"tasks": (clip,)}, "read a sum of layers"),
        ({"tasks": (crops,)}, "are of fine-tuning"),
        ({"tasks": (unlabeled,)}, "train.unlabeled and method.consistency"),
        ({"tasks": (replace(TASKS[0], group="speaker"),)}, "has no label 'speaker' to group by"),
        ({"tasks": (replace(TASKS[2], test={"split": ["tests"]}),)}, "no cut has split"),
    ):
        with pytest.raises(UserError, match=words):
            _run(replace(config, output=Path(tmp_path / words[:8].replace(" ", "_")), **changes))
