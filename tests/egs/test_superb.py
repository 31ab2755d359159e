"""SUPERB: tiny folders with the layout of its corpora become tables, and heads are trained."""

import csv
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiossl.atomic_files import read_json
from egs.superb.local.labels import TASKS, split_of, unsearched, with_slots
from recipes.probe import verification
from recipes.probe.sequence import Config
from recipes.settings import read_settings
from tests.forked_python import forking_environment

ROOT = Path(__file__).parents[2]
PROBE = ROOT / "egs/superb/probe"
CORPORA = {
    "pr": "LibriSpeech", "asr": "LibriSpeech", "ks": "speech_commands",
    "ic": "fluent_speech_commands", "sid": "VoxCeleb1", "er": "IEMOCAP_full_release",
    "sf": "SNIPS", "sd": "Libri2Mix", "asv": "VoxCeleb1", "qbe": "quesst14Database",
}  # fmt: skip


def _sound(path: Path, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hertz = 200 + 40 * (sum(map(ord, path.name)) % 40)
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(16000 * seconds)) / 16000)
    soundfile.write(path, wave, 16000)


def _librispeech(folder: Path) -> None:
    for part, speaker in (("train-clean-100", 1), ("dev-clean", 2), ("test-clean", 3),
                          ("train-other-500", 4)):  # fmt: skip
        chapter = folder / part / str(speaker) / "7"
        for number in range(2):
            _sound(chapter / f"{speaker}-7-{number:04d}.flac")
        (chapter / f"{speaker}-7.trans.txt").write_text(
            f"{speaker}-7-0000 A CAT\n{speaker}-7-0001 CAT A\n"
        )
    (folder / "librispeech-lexicon-200k-g2p.txt").write_text("A AH0\nCAT K AE1 T\n")


def _speech_commands(folder: Path) -> None:
    train = folder / "speech_commands_v0.01"
    for speaker in range(40):
        for word in ("yes", "bed"):
            _sound(train / word / f"{speaker:08x}_nohash_0.wav")
    _sound(train / "_background_noise_" / "pink.wav", 12.5)
    for word in ("yes", "_unknown_", "_silence_"):
        _sound(folder / "speech_commands_test_set_v0.01" / word / "ff_nohash_0.wav")


def _fluent(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        rows = [",path,speakerId,transcription,action,object,location"]
        for number in range(4):
            path = f"wavs/speakers/{split}/{number}.wav"
            _sound(folder / path)
            action, thing = ("on", "off")[number % 2], ("lamp", "heat")[number // 2]
            place = ("none", "kitchen")[number % 2]
            rows.append(f"{number},{path},{split}{number},Go,{action},{thing},{place}")
        (folder / "data" / f"{split}_data.csv").write_text("\n".join(rows) + "\n")


def _voxceleb(folder: Path) -> None:
    lines, trials = [], []
    for speaker in ("id10001", "id10002", "id10003", "id10004", "id10005", "id10006"):
        part = "test" if speaker > "id10004" else "dev"
        for number in range(1, 4):
            name = f"{speaker}/video{number}/0000{number}.wav"
            _sound(folder / part / "wav" / name, 2.1)
            if speaker < "id10003":
                lines.append(f"{number} {name}")
            elif part == "test" and number < 3:
                trials += [f"1 {speaker}/video1/00001.wav {name}", f"0 {TESTED} {name}"]
    (folder / "veri_test2.txt").write_text("\n".join(trials[:-1]) + "\n")
    (folder / "veri_test_class.txt").write_text("\n".join([*lines, "1 id9/x/1.wav"]) + "\n")


TESTED = "id10006/video1/00001.wav"


def _quesst(folder: Path) -> None:
    names = {
        "utterances": [("Audio/quesst14_00001", "nnenglish"), ("Audio/quesst14_00002", "nnenglish"),
                       ("Audio/quesst14_00003", "basque")],
        "dev": [("dev_queries/quesst14_dev_0001", "nnenglish"),
                ("dev_queries/quesst14_dev_0002", "basque")],
        "eval": [("eval_queries/quesst14_eval_0001", "nnenglish")],
    }  # fmt: skip
    for part, rows in names.items():
        for name, _ in rows:
            _sound(folder / f"{name}.wav")
        (folder / "scoring").mkdir(exist_ok=True)
        lines = [f"quesst14Database/{name}.wav {language}" for name, language in rows]
        (folder / f"scoring/language_key_{part}.lst").write_text("\n".join(lines) + "\n")
    for part in ("dev", "eval"):
        truth = folder / f"scoring/groundtruth_quesst14_{part}"
        truth.mkdir()
        (truth / f"quesst14_{part}.rttm").write_text(
            "SPEAKER quesst14_00001 1 0.000 4.000 <NA> <NA> <NA> <NA>\n"
            f"LEXEME quesst14_00001 1 0.000 4.000 quesst14_{part}_0001 lex <NA> 0.5\n"
            f"LEXEME quesst14_00003 1 0.000 4.000 quesst14_{part}_0002 lex <NA> 0.5\n"
        )


def _iemocap(folder: Path) -> None:
    for session in range(1, 6):
        dialog = f"Ses0{session}F_impro01"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"]
        for number, emotion in enumerate(("neu", "exc", "ang", "sad", "xxx", "hap")):
            name = f"{dialog}_{'FM'[number % 2]}{number:03d}"
            lines.append(f"[1.0 - 2.0]\t{name}\t{emotion}\t[2.5, 2.5, 2.5]")
            _sound(folder / f"Session{session}/sentences/wav/{dialog}/{name}.wav")
        evaluation = folder / f"Session{session}/dialog/EmoEvaluation"
        evaluation.mkdir(parents=True)
        (evaluation / f"{dialog}.txt").write_text("\n".join(lines))


def _snips(folder: Path) -> None:
    lines = []
    for voice, split in (("Ivy", "train"), ("Amy", "valid"), ("Emma", "test"), ("Emma", "train")):
        for number in range(2):
            name = f"{voice}-snips-{split}-{number}"
            _sound(folder / split / f"{name}.wav", 1.0)
            lines.append(f"{name} BOS play yes EOS\tO O B-song PlayMusic")
    (folder / "all.iob.snips.txt").write_text("\n".join(lines))


def _librimix(folder: Path) -> None:
    for part in ("train", "dev", "test"):
        (folder / part).mkdir(parents=True)
        for number in range(2):
            _sound(folder / "wav" / part / f"{number}.wav", 1.0)
        (folder / part / "wav.scp").write_text(
            "".join(f"mix{n} {folder / 'wav' / part / f'{n}.wav'}\n" for n in range(2))
        )
        utterances = [(f"{s}-mix{n}", s, f"mix{n}") for n in range(2) for s in ("s1", "s2")]
        (folder / part / "utt2spk").write_text("".join(f"{u} {s}\n" for u, s, _ in utterances))
        (folder / part / "segments").write_text(
            "".join(f"{u} {m} {0.1 if s == 's1' else 0.3:.2f} 0.90\n" for u, s, m in utterances)
        )


LAYOUTS = {
    "LibriSpeech": _librispeech, "speech_commands": _speech_commands, "SNIPS": _snips,
    "fluent_speech_commands": _fluent, "VoxCeleb1": _voxceleb, "IEMOCAP_full_release": _iemocap,
    "Libri2Mix": _librimix, "quesst14Database": _quesst,
}  # fmt: skip


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("superb")
    for name, make in LAYOUTS.items():
        make(folder / name)
    return folder


@pytest.fixture(scope="module")
def rows(corpora):
    return {task: list(TASKS[task](corpora / CORPORA[task])) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_every_recording_of_a_table_is_there_and_splits_are(corpora, rows, task):
    folder = corpora / CORPORA[task]
    assert all((folder / row["path"]).is_file() for row in rows[task])
    if task != "er":
        first = "document" if task == "qbe" else "train"
        assert {first, "valid", "test"} <= {row["split"] for row in rows[task]}


def test_labels_are_those_of_superb(rows):
    assert {row["phones"] for row in rows["pr"]} == {"AH0 K AE1 T", "K AE1 T AH0"}
    assert len(rows["asr"]) == 6  # nothing of train-other-500
    assert {row["keyword"] for row in rows["ks"]} == {"yes", "_unknown_", "_silence_"}
    assert sum(row["path"].startswith("_silence_/") for row in rows["ks"]) == 12
    assert {row["split"] for row in rows["sid"] if row["speaker"] == "id10001"} == {
        "train", "valid", "test",
    }  # fmt: skip
    assert [row["emotion"] for row in rows["er"][:5]] == ["neu", "hap", "ang", "sad", "hap"]
    assert {row["speaker"] for row in rows["er"][:5]} == {"Session1F", "Session1M"}
    assert {row["text"] for row in rows["sf"]} == {"play B-song yes E-song"}
    assert len(rows["sf"]) == 6  # a voice of the test is not learnt from
    assert rows["sd"][0]["turns"] == "0.1-0.9 s1|0.3-0.9 s2"


def test_speakers_of_trials_are_tested_and_others_are_in_one_split(rows):
    splits = {}
    for row in rows["asv"]:
        splits.setdefault(row["split"], set()).add(row["speaker"])
    assert splits["test"] == {"id10005", "id10006"}
    assert len(splits["valid"]) == len(splits["train"]) == 2
    assert len(rows["asv"]) == 4 * 3 + 2 * 2  # what no trial names is not tested


def test_english_queries_are_searched_in_english_documents(corpora, rows):
    assert [(row["name"], row["split"], row.get("documents")) for row in rows["qbe"]] == [
        ("quesst14_00001", "document", None),
        ("quesst14_00002", "document", None),
        ("quesst14_dev_0001", "valid", "quesst14_00001"),
        ("quesst14_eval_0001", "test", "quesst14_00001"),
    ]
    assert unsearched(corpora / "quesst14Database") == {"documents": 1, "valid": 1, "test": 1}


def test_slots_are_written_around_their_values():
    words, marks = (
        ["go", "to", "new", "york", "now", "or", "rome"],
        ["O", "O", "B-city", "I-city", "O", "O", "B-city"],
    )
    assert with_slots(words, marks) == "go to B-city new york E-city now or B-city rome E-city"
    assert with_slots(["a", "b"], ["B-x", "B-x"]) == "B-x a E-x B-x b E-x"


def test_a_speaker_of_speech_commands_is_in_one_split():
    names = [f"{speaker:08x}" for speaker in range(500)]
    splits = [split_of(f"{name}_nohash_0.wav") for name in names]
    assert splits == [split_of(f"{name}_nohash_7.wav") for name in names]
    assert 0.05 < splits.count("valid") / 500 < 0.15
    assert 0.05 < splits.count("unused") / 500 < 0.15


def _run(*options: str) -> str:
    done = subprocess.run(
        ["bash", str(PROBE / "run.sh"), *options], capture_output=True, text=True, check=False,
        env=forking_environment(), timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_task_has_settings_that_can_be_read(monkeypatch):
    monkeypatch.chdir(PROBE)
    lines = [shlex.split(line) for line in _run("--dry-run").splitlines()]
    probes = [words[3:] for words in lines if words[2] == "recipes.probe.sequence"]
    configs = [read_settings(Config, "test", words) for words in probes]
    assert [config.tasks[0].name for config in configs] == [
        "pr", "asr", "ks", "ic", "sid", "er-1", "sf", "sd",
    ]  # fmt: skip
    (words,) = [words[3:] for words in lines if words[2] == "recipes.probe.verification"]
    assert read_settings(verification.Config, "test", words).method.margin == 0.4
    (words,) = [words[3:] for words in lines if words[2] == "recipes.probe.query_by_example"]
    assert "exp/qbe/unsearched.yaml" in words  # which `labels.py` writes
    folds = next(config.tasks for config in configs if len(config.tasks) == 5)
    for task in folds:
        sessions = [*task.train.where["session"], *task.valid["session"], *task.test["session"]]
        assert len(sessions) == len(set(sessions)) == 5


@pytest.mark.parametrize("task", ["sd", "qbe"])
def test_tasks_run_on_a_folder_with_the_published_layout(corpora, tmp_path, task):
    _run(
        "--tasks", task, "--corpora", str(corpora), "--exp-dir", str(tmp_path), "--effort", "smoke",
        "--rates", "[1e-3]", "--encoders", "{mel: 'log_mel:40'}",
    )  # fmt: skip
    scores = read_json(tmp_path / task / "probe/scores.json")["tasks"][0]
    assert scores["rows"][0]["scores"][scores["metric"]] >= 0
    with (tmp_path / task / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    if task == "sd":
        assert len(rows) == sum(scores["cuts"].values())
