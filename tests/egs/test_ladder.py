"""The ladder: one respect a rung, equal audio, no test items, and a table of what held."""

import json
from importlib import import_module

import numpy as np
import pytest

from audiossl.configs import flat, plain
from audiossl.probing.bootstrap import Interval
from audiossl.probing.predictions import Predictions, TaskFacts, write_predictions
from egs.mini.ladder.table import read_rung, table, verdict
from egs.mini.local.cross_validate import joined, settings_of
from recipes.probe.tables import predictions_file
from recipes.settings import read_settings
from tests.egs.layouts import ROOT
from tests.egs.test_mini import planned, seconds_a_step

LADDER = ROOT / "egs/mini/ladder"
FILES = sorted((LADDER / "conf").glob("*/*.yaml"))
UNEQUAL = "cola-steps"
"""Rung that declares that it has more audio."""
FOLLOWS = {"batch_size", "loop.steps"}
"""What a rung changes beside its respect, so that its audio is equal."""
SCALES = {"cola-pcen": {"encoder.input_scale"}}
"""What a rung changes because the values of its front end are of another size."""


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """What every effort runs: (module, config) in order."""
    folder = tmp_path_factory.mktemp("ladder")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for effort in ("minutes", "smoke"):
            lines = planned("ladder/run.sh", "--effort", effort, "--exp-dir", str(folder))
            patch.chdir(LADDER)
            found[effort] = [
                (words[2], read_settings(import_module(words[2]).Config, words[2], words[3:]))
                for words in lines
                if words[1] == "-m" and words[2].startswith("recipes.")
            ]
    return found


def trained(plan):
    return {config.output.name: config for name, config in plan if name.endswith("pretrain")}


@pytest.mark.parametrize("effort", ["minutes", "smoke"])
def test_every_file_is_a_rung_whose_settings_exist(plans, effort):
    modules = [name.rpartition(".")[2] for name, _ in plans[effort]]
    assert modules.count("embed") == len(FILES)
    assert modules.count("encode") == 3
    own = [path for path in FILES if path.parent.name != "embed"]
    assert len(trained(plans[effort])) == 3 * len(own)


def test_rungs_of_a_family_are_trained_on_as_much_audio(plans):
    seconds_of = {}
    for name, config in trained(plans["minutes"]).items():
        if not name.startswith(UNEQUAL):
            recipe = type(config).__module__
            seconds_of.setdefault(recipe, set()).add(seconds_a_step(config) * config.loop.steps)
    assert {len(seconds) for seconds in seconds_of.values()} == {1}
    # Features of a teacher are compared with its codes.
    codes, features = (seconds_of.pop(f"recipes.{n}.pretrain") for n in ("spear", "distillation"))
    assert codes == features
    assert list(seconds_of) == ["recipes.cola.pretrain"]


def test_features_and_codes_of_a_teacher_differ_in_what_is_predicted_alone(plans):
    configs = trained(plans["minutes"])
    features, codes = configs["features-aisfx_0"], configs["teacher-aisfx_0"]
    assert features.encoder == codes.encoder
    assert features.loop == codes.loop
    stored = {
        name.rpartition(".")[2]: config
        for name, config in plans["minutes"]
        if config.output.parent.name == "targets" or "teacher-aisfx" in str(config.output)
    }
    assert stored["targets"].teacher == stored["encode"].teacher
    assert features.method.teachers["aisfx"].source == stored["encode"].teacher
    assert stored["targets"].output == features.targets["aisfx"]


def test_no_item_of_the_test_split_is_trained_on_or_embedded(plans):
    for _, config in plans["minutes"]:
        corpora = getattr(config, "corpora", ()) or (config,)
        for one in corpora:
            if hasattr(one, "where"):
                assert one.where == {"split": ["train", "valid"]}


def settings(config):
    """Name every setting but the output."""
    named = flat(plain(config))
    return {key: value for key, value in named.items() if key != "output"}


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.stem != "base" and path.parent.name in ("cola", "spear")],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_rung_differs_from_its_base_in_one_respect(plans, path):
    configs, rung = trained(plans["minutes"]), read_rung(path)
    own, base = settings(configs[f"{rung.folder}_0"]), settings(configs[f"{rung.base}_0"])
    changed = {key for key in own.keys() | base.keys() if own.get(key) != base.get(key)}
    respects = {".".join(key.split(".")[:2]) for key in changed}
    assert respects
    assert len(respects - FOLLOWS - SCALES.get(rung.folder, set())) <= 1


def test_rungs_are_scored_by_the_tasks_of_the_corpus_and_one_probe(tmp_path):
    options = ("--stage", "3", "--rungs", "embed/mean", "--exp-dir", str(tmp_path))
    _, line, _ = planned("ladder/run.sh", *options)
    files = [word for word in line if word.endswith(".yaml")]
    tasks, probes = settings_of([LADDER / name for name in files])
    assert {task.name for task in tasks} >= {"sound-category", "instruments", "speaker"}
    assert [probe.kind for probe in probes] == ["linear"]


def predictions(encoder: str, task: str, right: int) -> Predictions:
    """Predictions of forty items of two classes, the first `right` of them good."""
    targets = np.eye(2, dtype=bool)[np.arange(40) % 2]
    scores = np.where(np.arange(40)[:, None] < right, targets, ~targets).astype(np.float32)
    ids = tuple(f"{number:02d}" for number in range(40))
    facts = TaskFacts(task, "single", "accuracy", False)
    return Predictions(
        facts, encoder, "linear", ("a", "b"), ids, np.arange(40), targets, scores[None]
    )


def test_the_table_says_what_held(tmp_path):
    rights = {
        "cola-base": {"cola-base#0": 30, "cola-base#1": 30, "random": 20, "log-mel": 25},
        "cola-dcl": {"cola-dcl#0": 40, "cola-dcl#1": 40},
        "cola-depth": {"cola-depth#0": 31, "cola-depth#1": 29},
    }
    for folder, systems in rights.items():
        for name, right in systems.items():
            for task in ("one", "two"):
                one = predictions(name, task, right)
                write_predictions(predictions_file(tmp_path / "scores" / folder, one), one)
    (tmp_path / "cola-dcl_0").mkdir()
    (tmp_path / "cola-dcl_0" / "stage.json").write_text(json.dumps({"seconds": 41.6}))
    rungs = [read_rung(LADDER / f"conf/cola/{name}.yaml") for name in ("base", "dcl", "depth")]
    rows = [line.strip("| ").split(" | ") for line in table(rungs, tmp_path)]
    by_name = {row[0]: row for row in rows}
    assert list(by_name)[2:] == [
        "log-mel, cola", "random, cola", "cola/base", "cola/dcl", "cola/depth",
    ]  # fmt: skip
    assert by_name["cola/dcl"][3:7] == ["42", "**1.000**", "**1.000**", "1.000"]
    assert by_name["cola/dcl"][7].startswith("**+0.250 [")
    assert [by_name[f"cola/{name}"][-1] for name in ("base", "dcl", "depth")] == [
        "held", "held", "not shown",
    ]  # fmt: skip
    assert verdict("above", Interval(-0.2, -0.3, -0.1)) == "the opposite"


def test_a_file_without_a_prediction_is_no_rung(tmp_path):
    (tmp_path / "dcl.yaml").write_text("# Hypothesis: it helps.\nmethod: {loss: dcl}\n")
    with pytest.raises(ValueError, match="say"):
        read_rung(tmp_path / "dcl.yaml")


def test_items_of_all_folds_are_scored_together():
    whole = predictions("a", "one", 30)
    folds = [
        Predictions(
            whole.task, "a", "linear", whole.classes, whole.ids[part], whole.groups[part],
            whole.targets[part], whole.runs[:, part],
        )
        for part in (slice(0, 10), slice(10, 40))
    ]  # fmt: skip
    assert joined(folds).ids == whole.ids
    assert joined(folds).score("accuracy") == whole.score("accuracy") == 0.75
