"""Recipes of benchmarks, on folders with the layout that these publish."""

import importlib
import json
import math
import shlex
import subprocess

import pytest
import soundfile

from audiossl.probing.results import Results, Row, Score, TaskResults, results_content
from egs.utils.benchmark import scores_of, table
from recipes.settings import read_settings
from tests.data.published import KINDS, sound, write_hear_task, write_tars
from tests.egs.layouts import ROOT
from tests.forked_python import forking_environment

XARES = ROOT / "egs/xares/probe/conf"
FOLDS = ("fold00", "fold01", "fold02")
MEL = "mel: 'log_mel_statistics:'"


def recipe(benchmark, *options):
    command = ["bash", ROOT / "egs" / benchmark / "probe" / "run.sh", *options]
    done = subprocess.run(
        command, env=forking_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_two_tasks_of_hear_and_their_mean(tmp_path):
    tasks = tmp_path / "tasks"
    write_hear_task(tasks / "toy-v1-full", splits=("train", "valid", "test"), each=2)
    write_hear_task(
        tasks / "folds-v1-full", splits=FOLDS, split_mode="new_split_kfold", each=2,
        task_name="folds",
    )  # fmt: skip
    quick = "probes:\n  - {kind: hear, epochs: 6, hidden: 8}\n  - {kind: xares_knn}\n"
    (tmp_path / "quick.yaml").write_text(quick)
    options = ("--tasks-dir", f"{tasks}", "--exp-dir", f"{tmp_path / 'exp'}", "--encoders", MEL)
    printed = recipe("hear", *options, "--probes", f"{tmp_path / 'quick.yaml'}")
    assert "| mel | hear-official |" in printed
    assert "Means are over 2 tasks: folds, toy." in printed


def test_a_task_of_x_ares_by_its_tars(tmp_path):
    names = {f"wds-audio-fold-{fold}": 1 for fold in range(1, 6)}
    write_tars(tmp_path / "env" / "esc50", names, each=1)
    options = ("--env-dir", f"{tmp_path / 'env'}", "--exp-dir", f"{tmp_path / 'exp'}")
    printed = recipe("xares", *options, "--encoders", "small: 'audiossl:small'")
    for probe in ("xares_linear-official", "xares_linear-clean", "xares_knn-official"):
        assert f"| small | {probe} |" in printed
    assert "weighted mean" in printed


def test_a_task_of_marble_by_its_table(tmp_path):
    rows = ["path,key,split"]
    keys = dict(zip(KINDS, ("C major", "G major", "A minor"), strict=True))
    (tmp_path / "corpus").mkdir()
    for place, split in enumerate(("train", "train", "valid", "test")):
        for kind, key in keys.items():
            name = f"{kind}{place}.wav"
            soundfile.write(tmp_path / "corpus" / name, sound(kind, place), 16_000)
            rows.append(f"{name},{key},{split}")
    (tmp_path / "corpus" / "labels.csv").write_text("\n".join(rows) + "\n")
    recipe(
        "marble", "--task", "key", "--corpus-dir", f"{tmp_path / 'corpus'}",
        "--exp-dir", f"{tmp_path / 'exp'}", "--stop-stage", "2",
    )  # fmt: skip
    (task,) = json.loads((tmp_path / "exp" / "fit" / "scores.json").read_text())["tasks"]
    assert task["metric"] == "key_score"
    assert {row["probe"] for row in task["rows"]} == {"marble-official", "marble-clean", "none"}


@pytest.mark.parametrize(
    "options",
    [
        ("marble", "--task", "mtt"),
        ("marble", "--task", "gtzan"),
        ("mini",),
        *(("xares", "--tasks", path.parent.name) for path in XARES.glob("*/tasks.yaml")),
    ],
    ids=lambda options: options[-1],
)
def test_settings_of_every_plan_exist(options, monkeypatch):
    lines = recipe(options[0], "--dry-run", *options[1:]).splitlines()
    monkeypatch.chdir(ROOT / "egs" / options[0] / "probe")
    modules = []
    for words in map(shlex.split, lines):
        if words[:2] == ["python", "-m"] and words[2].startswith("recipes."):
            read_settings(importlib.import_module(words[2]).Config, words[2], words[3:])
            modules.append(words[2].rpartition(".")[2])
    assert {"embed", "fit"} <= set(modules)


def test_a_score_that_is_not_defined_is_no_score(tmp_path):
    rows = (
        Row("a", "linear", "encoder", {"roc_auc": Score(0.5)}),
        Row("a#0", "linear", "seed", {"roc_auc": Score(0.9)}),
        Row("b", "linear", "encoder", {"roc_auc": Score(math.nan)}),
        Row("chance", "none", "chance", {"roc_auc": Score(0.5)}),
    )
    content = results_content(Results(tasks=(TaskResults("t", "roc_auc", rows),)))
    (tmp_path / "scores.json").write_text(json.dumps(content))
    assert scores_of([tmp_path / "scores.json"]) == {("a", "linear"): {"t": 0.5}}


def test_means_are_over_the_same_tasks_only():
    found = {("a", "p"): {"x": 0.5, "y": 1.0}, ("b", "p"): {"x": 0.7}}
    lines = table(found, {"x": 3.0, "y": 1.0})
    assert "| a | p | 0.500 | 1.000 | 0.750 | 0.625 |" in lines
    assert "| b | p | 0.700 |  |  |  |" in lines
    with pytest.raises(SystemExit, match="none for y"):
        table(found, {"x": 3.0})
