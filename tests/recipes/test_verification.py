import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiossl.atomic_files import read_json
from audiossl.data.labeled_cuts import LabeledConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.speaker_vectors import SpeakerConfig
from audiossl.nn.weights import read_weights
from audiossl.nn.x_vector import XVectorConfig
from audiossl.optim.build import AdamWConfig
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.verification import equal_error_rate
from audiossl.training.loop import LoopConfig
from recipes.pretraining import TrainingResources
from recipes.probe import verification
from recipes.stage import run
from tests.data.corpora import RATE, prepare

SPLITS = {"train": range(12), "valid": range(12, 16), "test": range(16, 22)}


def _voice(generator, speaker):
    """Half a second of a pitch that varies, under the formants of a speaker."""
    own = np.random.default_rng(speaker)
    formants = own.uniform(300, 5000, 3)
    pitch, times = generator.uniform(90, 250), np.arange(RATE // 2) / RATE
    harmonics = pitch * np.arange(1, int(7000 / pitch))
    levels = sum(np.exp(-(((harmonics - one) / 200) ** 2)) for one in formants)
    phases = generator.uniform(0, 2 * np.pi, len(harmonics))
    sound = np.sin(2 * np.pi * harmonics[:, None] * times + phases[:, None]).T @ levels
    return 0.3 * sound / np.abs(sound).max()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verification")
    generator, rows, trials = np.random.default_rng(0), ["path,speaker,name,split"], []
    for split, speakers in SPLITS.items():
        for speaker in speakers:
            for number in range(5):
                name = f"id{speaker:02d}/v{number}/00001.wav"
                path = folder / "audio" / name
                path.parent.mkdir(parents=True)
                soundfile.write(path, _voice(generator, speaker), RATE)
                rows.append(f"{name},id{speaker:02d},{name},{split}")
    for one in range(16, 22):
        for number in range(1, 5):
            other = 16 + (one - 15) % 6
            trials.append(f"1 id{one}/v0/00001.wav id{one}/v{number}/00001.wav")
            trials.append(f"0 id{one}/v0/00001.wav id{other}/v{number}/00001.wav")
    (folder / "labels.csv").write_text("\n".join(rows))
    (folder / "veri_test.txt").write_text("\n".join(trials) + "\n")
    prepare(folder / "audio", folder / "cuts", labels=[folder / "labels.csv"])
    return folder


def _config(folder, output, **changes):
    settings = {
        "cuts": folder / "cuts", "output": output, "encoders": {"mel": "log_mel:40"},
        "train": LabeledConfig(label="speaker", where={"split": ["train"]}),
        "trials": folder / "veri_test.txt", "trial_names": "name",
        "method": SpeakerConfig(network=XVectorConfig(width=16, pooled=16), crop=0.3),
        "plan": PlanConfig(batch_size=20, num_buckets=1),
        "loop": LoopConfig(steps=90, optimizer=AdamWConfig(rate=1e-2)),
        "baselines": False, "bootstrap": BootstrapConfig(replicates=50),
        "resources": TrainingResources(device="cpu", log_every=50, save_every=60),
    }  # fmt: skip
    return verification.Config(**{**settings, **changes})


def _run(config):
    return run(config, verification.verify_speakers, "recipes.probe.verification")


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("fitted")
    _run(_config(folder, output))
    return output


def test_unknown_speakers_are_told_apart(folder, fitted):
    (task,) = read_json(fitted / "scores.json")["tasks"]
    (row,) = task["rows"]
    assert row["scores"]["eer"] < 0.25
    low, high = row["intervals"]["eer"]
    assert low <= row["scores"]["eer"] <= high
    assert "48 trials of 6 speakers (24 of one speaker) to score" in task["facts"]
    assert "EER" in (fitted / "results.md").read_text()
    # The scores of trials are in the order of the list.
    lines = (folder / "veri_test.txt").read_text().splitlines()
    same = np.array([line[0] == "1" for line in lines])
    (scores,) = read_json(fitted / "runs/mel/trial_scores.json")
    assert equal_error_rate(same, np.array(scores)) == pytest.approx(row["scores"]["eer"], abs=0.02)


def test_an_interrupted_run_ends_like_one_that_was_not(folder, fitted, tmp_path):
    output = tmp_path / "again"
    shutil.copytree(fitted, output)
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").write_text(json.dumps({**record, "finished": None, "results": None}))
    left = output / "runs/mel/rate-0.01_seed-0"
    for path in ("scores.json", "runs/mel/row.json"):
        (output / path).unlink()
    for name in ("valid.json", "head.safetensors", "checkpoints/step-00000090.pt"):
        (left / name).unlink()
    _run(_config(folder, output))
    found, expected = (
        read_weights(place / "runs/mel/rate-0.01_seed-0/head.safetensors")
        for place in (output, fitted)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert (output / "scores.json").read_text() == (fitted / "scores.json").read_text()


def test_rates_are_chosen_on_validation_speakers_and_pairs_are_drawn_without_a_list(
    folder, tmp_path
):
    config = _config(
        folder, tmp_path, trials=None, rates=(1e-4, 1e-2), seeds=(0, 1), steps=4, pairs=30,
        most_cached=0.0,
    )  # fmt: skip
    assert _run(config)["results"]["trials"] == 60
    (row,) = read_json(tmp_path / "scores.json")["tasks"][0]["rows"]
    assert row["validation"] == min(row["rates"].values())
    assert not (tmp_path / "frames").exists()


def test_what_cannot_be_is_refused(folder, tmp_path):
    config = _config(folder, tmp_path)
    for changes, words in (
        ({"valid": {"split": ["train"]}}, "12 speakers are in train and in valid"),
        ({"test": {"split": ["valid"]}}, "no clip 'id16/v0/00001.wav'"),
        ({"trial_names": "title"}, "no clip 'id16/v0"),
        ({"encoders": {}}, "encoders and seeds"),
        ({"train": replace(config.train, where={"name": ["id00/v0/00001.wav"]})}, "1 speaker"),
    ):
        with pytest.raises(UserError, match=words):
            _run(replace(config, output=tmp_path / words[:8].replace(" ", "_"), **changes))
