"""The main job, small: from the embedded audio to a report, twice."""

import csv
import json
import os
import shlex
import shutil
import subprocess
from importlib import import_module

import pytest

from recipes.settings import read_settings
from tests.egs.layouts import ROOT, environment
from tests.forked_python import forking_environment

LABELS = {"speech": "speaker", "sounds": "category", "music": "stems"}


def few_of_each(corpus, folder):
    """Make a corpus of one row a split and label, and of every third of known phones."""
    shutil.copytree(corpus, folder, copy_function=os.symlink)
    phones = (corpus / "phones.csv").read_text("utf-8").splitlines()[1::3]
    known = {row.partition(",")[0] for row in phones}
    for domain, label in LABELS.items():
        (folder / f"{domain}.csv").unlink()
        with (corpus / f"{domain}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        first = {(row[label], row["split"]): row for row in reversed(rows)}.values()
        with (folder / f"{domain}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(r for r in rows if r in first or r.get("path") in known)
    return folder


def mini(folder, corpus, environment) -> str:
    command = ["bash", ROOT / "egs/mini/cola/run.sh", "--effort", "smoke", "--exp-dir", str(folder)]
    options = ["--corpus-dir", str(corpus)]
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


@pytest.mark.timeout(1200)
def test_from_audio_to_a_report_and_then_nothing_is_left_to_do(tmp_path):
    # Of all audio, six networks' embeddings take minutes: make mini is the command for that.
    corpus = few_of_each(ROOT / "egs/mini/data", tmp_path / "corpus")
    tmp_path = tmp_path / "exp"
    mini(tmp_path, corpus, environment())
    scores = json.loads((tmp_path / "fit" / "scores.json").read_text())
    assert {"cola#0", "source#0", "continued#0", "small", "random", "log-mel"} <= set(
        scores["encoders"]
    )
    tasks = {task["name"] for task in scores["tasks"]}
    assert {"sound-category", "instruments", "speaker"} <= tasks
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    again = mini(tmp_path, corpus, forking_environment())
    assert again.count("up to date") == 8


def planned(script: str, *options: str) -> list[list[str]]:
    """Give the commands that a dry run prints."""
    done = subprocess.run(
        ["bash", ROOT / "egs/mini" / script, "--dry-run", *options],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [shlex.split(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("effort", ["smoke", "minutes", "hour"])
def test_code_matching_runs_stages_whose_settings_exist(tmp_path, monkeypatch, effort):
    commands = planned(
        "code_matching/run.sh", "--effort", effort, "--exp-dir", str(tmp_path), "--stage", "1"
    )
    monkeypatch.chdir(ROOT / "egs/mini/code_matching")
    found = []
    for _, _, module, *words in commands:
        config = read_settings(import_module(module).Config, module, words)
        found.append((module.rpartition(".")[2], config))
    seeds = 3 if effort == "hour" else 1
    of_a_kind = ["pairs", *["pretrain"] * 4 * seeds, "evaluate"]
    assert [name for name, _ in found] == 2 * of_a_kind
    for name, config in found:
        assert config.output.is_relative_to(tmp_path)
        if name == "evaluate":
            assert len(config.runs) == 3 * seeds
            assert config.fuse_on == {"split": ["valid"]} != config.where


def test_on_the_validation_split_nothing_is_chosen_on_it():
    commands = planned("code_matching/run.sh", "--split", "valid", "--stage", "4")
    assert all("--fuse_on" not in command for command in commands)


def seconds_a_step(config) -> float:
    """Count the seconds of audio in a batch of a stage that pretrains."""
    if hasattr(config, "views"):
        return 2 * config.batch_size * config.views.crop_samples / 16000
    return config.crops.batch_duration if hasattr(config, "crops") else config.plan.batch_duration


@pytest.mark.parametrize("effort", ["smoke", "minutes", "hour"])
def test_objectives_have_settings_that_exist_and_all_train_on_as_much_audio(
    tmp_path, monkeypatch, effort
):
    commands = planned("objectives/run.sh", "--effort", effort, "--exp-dir", str(tmp_path))
    commands += planned("objectives/forgetting.sh", "--effort", effort, "--exp-dir", str(tmp_path))
    monkeypatch.chdir(ROOT / "egs/mini/objectives")
    found = {}
    for _, *rest in commands:
        if rest[0] == "-m" and rest[1].startswith("recipes."):
            config = read_settings(import_module(rest[1]).Config, rest[1], rest[2:])
            assert config.output.is_relative_to(tmp_path)
            found[config.output.name] = config
    trained = {n: c for n, c in found.items() if hasattr(c, "loop") and hasattr(c, "method")}
    seeds = 3 if effort == "hour" else 1
    objectives = list((ROOT / "egs/mini/objectives/conf").glob("*/*.yaml"))
    assert len(trained) == len(objectives) * seeds + 2
    assert {seconds_a_step(config) for config in trained.values()} == {64.0}
    assert len({config.loop.steps for config in trained.values()}) == 1
