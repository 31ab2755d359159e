"""Each run.sh of SPEAR: what it would run can be parsed, and its corpus' layout can be read."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import soundfile

from audiossl.data.corpus import Corpus
from audiossl.models.zipformer.model import Zipformer
from audiossl.pretrained.own import write_encoder
from egs.libriheavy_gigaspeech_voxpopuli.spear.local import gigaspeech
from recipes.settings import read_settings
from tests.data.corpora import prepare, tone, write_folder
from tests.egs.layouts import english
from tests.forked_python import forking_environment
from tests.methods.codes import SMALL

ROOT = Path(__file__).parents[2]
RECIPES = {
    "librispeech": ["train_quantizer", "preflight", "pretrain", "finetune"],
    "audioset": ["train_quantizer", "preflight", "pretrain", "finetune"],
    "libriheavy_gigaspeech_voxpopuli": ["train_quantizer", "encode", "preflight", "pretrain"],
    "mini": ["embed_sample", "train_quantizer", "encode", "pretrain"],
}
"""Stages that each must run, among others."""


def _run(corpus: str, *options: str, name: str = "run.sh") -> str:
    script = ROOT / "egs" / corpus / "spear" / name
    done = subprocess.run(
        ["bash", str(script), *options], capture_output=True, text=True, check=False,
        env=forking_environment(), cwd=script.parent, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("corpus", RECIPES)
def test_every_stage_of_a_dry_run_has_settings_that_parse(corpus, tmp_path, monkeypatch):
    # As JSON, so that nothing depends on how a shell would quote it.
    printer = tmp_path / "print_words"
    printer.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    printer.chmod(0o755)
    output = _run(corpus, "--stage", "1", "--launch", str(printer), "--exp-dir", str(tmp_path))
    monkeypatch.chdir(ROOT / "egs" / corpus / "spear")
    stages = []
    for line in output.splitlines():
        module, *words = json.loads(line)
        config = import_module(module).Config
        assert read_settings(config, module, words).output.is_relative_to(tmp_path)
        stages.append(module.rpartition(".")[2])
    assert set(stages) >= set(RECIPES[corpus])


def _write(path: Path, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, 300), 16000)


def _prepared(corpus: str, folder: Path) -> list[dict[str, str]]:
    exp = folder / "exp"
    _run(corpus, "--stop-stage", "0", "--corpus-dir", str(folder / "corpus"), "--exp-dir", str(exp))
    return list(Corpus(exp / "cuts").labels())


def test_librispeech_is_read_with_speakers_texts_and_splits(tmp_path):
    for part, speaker in (("train-clean-100", 19), ("dev-clean", 84), ("test-clean", 121)):
        chapter = tmp_path / "corpus" / part / str(speaker) / "198"
        for number in range(2):
            _write(chapter / f"{speaker}-198-000{number}.flac")
        lines = [f"{speaker}-198-000{number} SAID {number}" for number in range(2)]
        (chapter / f"{speaker}-198.trans.txt").write_text("\n".join(lines))
    labels = _prepared("librispeech", tmp_path)
    assert [row["split"] for row in labels] == ["valid", "valid", "test", "test", "train", "train"]
    assert {row["speaker"] for row in labels} == {"19", "84", "121"}
    assert labels[0]["text"] == "SAID 0"
    assert labels[-1]["part"] == "train-clean-100"


def test_audioset_is_read_with_tags_and_parts(tmp_path):
    corpus = tmp_path / "corpus"
    for part, name in (("balanced_train", "--4gqARaEJE"), ("eval", "-0_abcdefgh")):
        _write(corpus / part / f"{name}_0.wav")
        _write(corpus / part / "not_in_table_0.wav")
        (corpus / f"{part}_segments.csv").write_text(
            f"# Segments csv\n# YTID, start_seconds, end_seconds, positive_labels\n"
            f'{name}, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
        )
    labels = _prepared("audioset", tmp_path)
    assert [(row["part"], row["split"]) for row in labels] == [
        ("balanced_train", "train"), ("eval", "test"),
    ]  # fmt: skip
    assert labels[0]["tags"] == "/m/068hy|/m/07q6cd_"


ENGLISH = "libriheavy_gigaspeech_voxpopuli"


def _english(folder: Path, *options: str) -> None:
    _run(
        ENGLISH, "--effort", "smoke", "--corpus-dir", str(folder / "corpus"),
        "--exp-dir", str(folder / "exp"), "--libriheavy-parts", "small medium",
        "--launch", "python -m", "--teacher", "log_mel:40", *options,
    )  # fmt: skip


def test_three_corpora_of_english_are_read_as_they_are_published(tmp_path):
    english(tmp_path / "corpus")
    _english(tmp_path, "--stop-stage", "0")
    cuts = tmp_path / "exp" / "cuts"
    for part in ("small", "medium"):
        labels = list(Corpus(cuts / f"libriheavy_{part}").labels())
        assert [row["speaker"] for row in labels] == ["100"] * 8
    spoken = Corpus(cuts / "gigaspeech")
    # The eighth segment is music.
    assert [row["text"] for row in spoken.labels()] == ["HELLO, YOU."] * 7
    waveform = spoken.waveform(1)
    table = json.loads((tmp_path / "corpus" / "gigaspeech" / "GigaSpeech.json").read_text())
    segment = table["audios"][0]["segments"][1]
    assert len(waveform) == round((segment["end_time"] - segment["begin_time"]) * 16000)
    assert float(abs(waveform).max()) > 0.05
    assert len(list(Corpus(cuts / "voxpopuli").labels())) == 6


@pytest.mark.long
def test_the_chain_of_three_corpora_leaves_an_encoder(tmp_path):
    english(tmp_path / "corpus")
    _english(tmp_path)
    forecast = json.loads((tmp_path / "exp" / "preflight" / "forecast.json").read_text())
    assert forecast["hours"] > 0
    assert (tmp_path / "exp" / "pretrain" / "encoder.safetensors").exists()
    # Again: the manifest that is made is the same, to the byte, and everything is up to date.
    _english(tmp_path)


def test_subsets_that_gigaspeech_does_not_have_are_refused(tmp_path):
    english(tmp_path)
    for arguments in ((str(tmp_path), "x.gz"), (str(tmp_path / "gigaspeech"), "x.gz", "XS")):
        with pytest.raises(SystemExit, match=r"GigaSpeech.json(: no segment is of| is missing)"):
            gigaspeech.main(*arguments)


def test_an_encoder_is_fine_tuned_on_cuts_of_mini_and_its_scores_are_printed(tmp_path):
    """On tones with the columns that mini has; all settings are those of the recipe but steps."""
    write_folder(tmp_path / "audio", [0.6] * 24)
    rows = ["path,text,category,domain,split"]
    for index in range(24):
        said = (f"tone {index % 3}", "") if index < 12 else ("", f"kind{index % 2}")
        domain = "speech" if index < 12 else "sounds"
        split = ("train", "train", "valid", "test")[index // 3 % 4]
        rows.append(f"{index:03d}.wav,{','.join(said)},{domain},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    prepare(tmp_path / "audio", tmp_path / "cuts", labels=[tmp_path / "labels.csv"])
    write_encoder(tmp_path / "encoder", Zipformer(replace(SMALL, num_bins=64)), {})
    printed = _run(
        "mini", "--effort", "smoke", "--cuts", str(tmp_path / "cuts"), "--encoder",
        str(tmp_path / "encoder"), "--exp-dir", str(tmp_path / "exp"), name="finetune.sh",
    )  # fmt: skip
    scores = tmp_path / "exp" / "smoke_valid_0"
    for task, figure in (("ctc", "cer"), ("tagging", "map")):
        found = json.loads((scores / task / "scores.json").read_text())
        assert (found["cuts"], found[figure] >= 0) == (3, True)
        assert f'"{figure}": {found[figure]}' in printed


def test_what_fine_tuning_on_mini_would_run_can_be_parsed(tmp_path, monkeypatch):
    lines = _run("mini", "--dry-run", "--split", "test", name="finetune.sh").splitlines()
    monkeypatch.chdir(ROOT / "egs" / "mini" / "spear")
    modules = []
    for line in lines:
        program, *words = shlex.split(line)
        if program == "python":
            config = import_module(words[1]).Config
            modules.append(words[1].rpartition(".")[2])
            settings = read_settings(config, words[1], words[2:])
            assert settings.test["split"] == ["test"]
            assert settings.train.where["split"] == ["train"]
    assert modules == ["finetune", "finetune"]
