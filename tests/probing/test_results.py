"""scores.json as types: what is written is read again, and what is damaged is named."""

import json
import math

import pytest

from audiossl.errors import UserError
from audiossl.probing.results import (
    Difference,
    EncoderFacts,
    Results,
    Row,
    Score,
    StandingRow,
    TaskResults,
    read_results,
    results_content,
)

ROWS = (
    Row("cola", "linear", "encoder", {"accuracy": Score(0.6, 0.5, 0.7, 0.01)}, seeds=2),
    Row("cola#0", "linear", "seed", {"accuracy": Score(0.61, 0.5, 0.7)}, choice={"c": 1.0}),
    Row("cola#0", "knn", "seed", {"accuracy": Score(0.61)}),
    Row("colander#0", "linear", "seed", {"accuracy": Score(0.5)}, validation={"output": 0.5}),
    Row("chance", "none", "chance", {"accuracy": Score(0.5)}),
)
TASK = TaskResults(
    "kind", "accuracy", ROWS, classes=("a", "b"),
    items={"train": 2}, positives={"train": (1.0, 1.0)},
    differences=(Difference("linear", "cola", "random", Score(0.1, 0.05, 0.2), 0.99, 0.01),),
)  # fmt: skip
RESULTS = Results(
    encoders={"cola#0": EncoderFacts("encoder", parameters=7)},
    tasks=(TASK,),
    standings={"linear": (StandingRow("cola", "encoder", Score(0.5), {"kind": None}, 1.0),)},
)


def written(tmp_path, change=lambda content: None):
    content = results_content(RESULTS)
    change(content)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_read_again(tmp_path):
    assert read_results(written(tmp_path)) == RESULTS


def test_a_score_that_is_not_defined_is_null_and_old_files_have_nan(tmp_path):
    undefined = Results(tasks=(TaskResults("t", "roc_auc", (
        Row("a", "linear", "encoder", {"roc_auc": Score(math.nan, math.nan, math.nan)}),
    )),))  # fmt: skip
    assert "NaN" not in json.dumps(results_content(undefined))

    def as_earlier(content):
        content["tasks"][0]["rows"][0]["scores"]["accuracy"] = {"score": 0.5, "low": math.nan}

    path = written(tmp_path, as_earlier)
    assert "NaN" in path.read_text()
    assert read_results(path).tasks[0].rows[0].scores["accuracy"] == Score(0.5)


def test_a_fold_without_a_score_and_a_perfect_d_prime_are_null_and_read_again(tmp_path):
    row = Row(
        "a", "linear", "encoder", {"d_prime": Score(1.0)}, validation={"clip": math.inf},
        folds=(0.5, math.nan),
    )  # fmt: skip
    path = tmp_path / "scores.json"
    path.write_text(
        json.dumps(results_content(Results(tasks=(TaskResults("t", "d_prime", (row,)),))))
    )
    known = read_results(path).tasks[0].rows[0]
    assert (known.folds, known.validation) == ((0.5, None), {"clip": None})


def test_rows_are_found_by_encoder_and_probe():
    mean, seed, *_, chance = ROWS
    assert TASK.probes == ["linear", "knn"]
    assert TASK.row("cola", "linear") is mean
    assert TASK.row("cola", "knn") is None
    assert TASK.row("chance", "knn") is chance
    # Neither another probe nor another encoder whose name begins alike.
    assert TASK.seeds_of(mean) == [seed]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["tasks"][0]["rows"][0].pop("role"), r"tasks\[0\].rows\[0\].role.* missing"),
        (lambda c: c["tasks"][0].update(items=3), r"tasks\[0\].items: expected names and values"),
        (lambda c: c["tasks"][0]["rows"][0]["scores"].update(accuracy={"score": "much"}),
         r"scores.accuracy.score: expected a number"),
        (lambda c: c.update(format=2), "written by a newer version .format 2"),
        (lambda c: c.pop("bootstrap"), "bootstrap: expected dict, found none"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_results(written(tmp_path, change))
