"""Corpora of images and spoken captions: their layout as it is published, and the recipes dry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiossl.data.pair_corpus import PairCorpus
from recipes.code_matching import pairs
from recipes.code_matching.front_ends import ArrayFront, SoundFront
from recipes.prepare import folder as prepare_folder
from recipes.stage import run
from tests.data.corpora import RATE, tone

EGS = Path(__file__).parents[2] / "egs"
CORPORA = ("places_audio", "spoken_coco")


def write_layout(kind: str, folder: Path) -> None:
    """Write three images, of which the last has no features, with two captions each."""
    places = [f"{'wavs/' if kind == 'places_audio' else ''}{i // 2}/{i}.wav" for i in range(6)]
    for index, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / place, tone(0.5, 200 + 50 * index), RATE)
    for number, split in enumerate(("train", "val")):
        chosen = range(4) if number == 0 else range(4, 6)
        captions = [
            {"uttid": f"u{i}", "speaker": f"s{i % 2}", "wav": places[i].removeprefix("wavs/")}
            for i in chosen
        ]
        if kind == "places_audio":
            rows = [
                {**c, "asr_text": "a place", "image": f"{i // 2}.jpg"}
                for i, c in zip(chosen, captions, strict=True)
            ]
            content = {"image_base_path": "", "audio_base_path": "/data/sls/audio", "data": rows}
            path = folder / "metadata" / f"{split}.json"
        else:
            of = {f"{i // 2}.jpg": [] for i in chosen}
            for i, caption in zip(chosen, captions, strict=True):
                of[f"{i // 2}.jpg"].append({**caption, "text": "a place"})
            content = {"data": [{"image": k, "captions": v} for k, v in of.items()]}
            path = folder / f"SpokenCOCO_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", CORPORA)
def test_the_published_layout_becomes_pairs(tmp_path, kind):
    write_layout(kind, tmp_path / "corpus")
    features = tmp_path / "features"
    features.mkdir()
    values = np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32)
    np.save(features / "features.npy", values)
    (features / "images.txt").write_text("0.jpg\n1.jpg\n")
    script = EGS / kind / "code_matching" / "local" / "manifest.py"
    subprocess.run(
        [sys.executable, script, tmp_path / "corpus", features, tmp_path / "manifest"],
        env={**os.environ, "PYTHONPATH": str(EGS.parent)},
        check=True,
    )
    cuts = prepare_folder.Config(
        folder=tmp_path / "corpus",
        labels=(tmp_path / "manifest" / "labels.csv",),
        only_labeled=True,
        output=tmp_path / "cuts",
    )
    run(cuts, prepare_folder.prepare, "recipes.prepare.folder")
    config = pairs.Config(
        pairs=pairs.Manifest(),
        modalities={"image": ArrayFront(), "caption": SoundFront(encoder="log_mel:40")},
        source=tmp_path / "manifest" / "pairs.jsonl",
        cuts=(tmp_path / "cuts",),
        output=tmp_path / "pairs",
        max_skipped=0.4,
    )
    record = run(config, pairs.make_pairs, "recipes.code_matching.pairs")
    assert record["results"]["skipped"] == 2, "the captions of the image without features"
    corpus = PairCorpus(tmp_path / "pairs")
    assert corpus.concepts.tolist() == [0, 0, 1, 1], "captions of one image are partners"
    np.testing.assert_allclose(corpus.values("image", 3), values[1], atol=1e-3)
    assert corpus.select({"split": ["train"]}).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", CORPORA)
def test_a_dry_run_names_every_stage_and_settings_that_exist(tmp_path, kind):
    write_layout(kind, tmp_path / "corpus")
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "images.txt").write_text("0.jpg\n1.jpg\n")
    script = EGS / kind / "code_matching" / "run.sh"
    done = subprocess.run(
        [
            script, "--launch", "echo python -m", "--corpus-dir", tmp_path / "corpus",
            "--features-dir", tmp_path / "features", "--exp-dir", tmp_path / "exp",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    commands = [line.split()[2:] for line in done.stdout.splitlines()]
    stages = [command[0] for command in commands]
    assert stages == [
        "recipes.prepare.folder",
        "recipes.code_matching.pairs",
        *["recipes.code_matching.pretrain"] * 4,
        "recipes.code_matching.evaluate",
    ]
    for command in commands:
        check_settings(command, script.parent)


def check_settings(command: list[str], folder: Path) -> None:
    """Read the settings of a command as its stage would."""
    from importlib import import_module

    from recipes.settings import read_settings

    words = [
        str(folder / word) if before == "--config" else word
        for before, word in zip(["", *command[1:]], command[1:], strict=False)
    ]
    read_settings(import_module(command[0]).Config, command[0], words)
