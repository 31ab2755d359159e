import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from audiossl.errors import UserError
from audiossl.nn.weights import read_weights, write_weights
from audiossl.probing.embeddings import read_embeddings
from audiossl.probing.predictions import read_predictions
from recipes.probe import embed, fit, report
from recipes.probe.encoders import folders_of, with_baselines
from tests.experiment import TASKS, stage


def scores(experiment):
    return json.loads((experiment.fitted / "scores.json").read_text())


def test_every_table_has_its_baselines(experiment):
    for task in scores(experiment)["tasks"]:
        for probe in ("linear", "neighbors"):
            rows = [row for row in task["rows"] if row["probe"] in (probe, "none")]
            shown = {row["encoder"] for row in rows if row["role"] != "seed"}
            assert shown == {"cola", "source", "random", "log-mel", "majority", "chance"}


def test_seeds_are_averaged_and_kept(experiment):
    for task in scores(experiment)["tasks"]:
        rows = {(row["encoder"], row["probe"]): row for row in task["rows"]}
        mean = rows["cola", "linear"]["scores"][task["metric"]]["score"]
        each = [rows[f"cola#{n}", "linear"]["scores"][task["metric"]]["score"] for n in range(2)]
        assert mean == pytest.approx(np.mean(each))
        assert rows["cola", "linear"]["seeds"] == 2


def test_differences_are_those_of_the_scores(experiment):
    for task in scores(experiment)["tasks"]:
        score = {
            (row["encoder"], row["probe"]): row["scores"][task["metric"]]["score"]
            for row in task["rows"]
        }
        pairs = {(row["encoder"], row["reference"]) for row in task["differences"]}
        assert pairs == {
            ("cola", "random"), ("cola", "log-mel"), ("source", "cola"), ("source", "random"),
            ("source", "log-mel"),
        }  # fmt: skip
        for row in task["differences"]:
            found = row["difference"]
            expected = score[row["encoder"], row["probe"]] - score[row["reference"], row["probe"]]
            assert found["score"] == pytest.approx(expected)
            assert found["low"] <= found["score"] + 1e-9 <= found["high"] + 2e-9


def test_predictions_are_of_the_test_items_alone(experiment):
    found = read_predictions(experiment.fitted / "predictions" / "kind" / "source.linear.npz")
    expected = {f"sounds/{index:02d}" for index in range(18, 24)} | {"songs/006", "songs/007"}
    assert {name.removesuffix(".wav") for name in found.ids} == expected


def again(experiment, output, **words):
    settings = {
        "cuts": experiment.cuts,
        "encoders": f"{{source: {experiment.source_0}}}",
        "resources.cache": experiment.cache,
        "output": output,
    } | words
    return stage(embed, embed.embed, *(f"--{k}={v}" for k, v in settings.items()))


def test_an_encoder_in_the_cache_is_not_run_again(experiment, tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("embedded again")

    monkeypatch.setattr(embed, "embed_cuts", never)
    again(experiment, tmp_path / "embeddings")
    name = embed.shard_file("source", 0)
    first, second = (
        read_weights(f / name) for f in (experiment.embeddings, tmp_path / "embeddings")
    )
    np.testing.assert_array_equal(first["clip"], second["clip"])
    with pytest.raises(AssertionError, match="embedded again"):
        again(experiment, tmp_path / "other", **{"embedding.window": "0.5"})


def test_cuts_that_are_not_asked_for_are_neither_embedded_nor_items(experiment, tmp_path):
    again(experiment, tmp_path / "some", where="{kind: [tone, noise]}")
    known = json.loads((tmp_path / "some" / "embeddings.json").read_text())
    assert known["where"] == {"kind": ["tone", "noise"]}
    some, everything = (
        read_embeddings([f / embed.shard_file("source", 0)])
        for f in (tmp_path / "some", experiment.embeddings)
    )
    vectors, expected = some.of_cuts("clip"), everything.of_cuts("clip")
    there = np.isfinite(vectors).all(axis=1)
    assert there.sum() == 24
    np.testing.assert_allclose(vectors[there], expected[there], rtol=1e-5, atol=1e-7)
    fit_again(experiment, tmp_path, embeddings=tmp_path / "some")
    written = json.loads((tmp_path / "fitted" / "scores.json").read_text())
    assert written["tasks"][0]["classes"] == ["noise", "tone"]
    with pytest.raises(UserError, match="no cut has kind in"):
        again(experiment, tmp_path / "none", where="{kind: [tones]}")


def test_segments_of_a_label_that_no_cut_has_are_refused_before_anything_runs(experiment, tmp_path):
    with pytest.raises(UserError, match=r"no cut has a label 'kinds'; did you mean 'kind'"):
        again(experiment, tmp_path / "out", **{"embedding.segments": "kinds"})


def test_an_interrupted_embedding_goes_on_and_ends_the_same(experiment, tmp_path, monkeypatch):
    made = []
    original = embed.embed_cuts

    def once(*args, **kwargs):
        if made:
            raise KeyboardInterrupt
        made.append(args)
        return original(*args, **kwargs)

    settings = {"resources.cache": tmp_path / "cache"}
    monkeypatch.setattr(embed, "embed_cuts", once)
    with pytest.raises(KeyboardInterrupt):
        again(experiment, tmp_path / "out", **settings)
    monkeypatch.setattr(embed, "embed_cuts", original)
    again(experiment, tmp_path / "out", **settings)
    for encoder in ("source", "random", "log-mel"):
        name = embed.shard_file(encoder, 0)
        first, second = (read_weights(f / name) for f in (experiment.embeddings, tmp_path / "out"))
        np.testing.assert_array_equal(first["clip"], second["clip"])


def test_embeddings_of_other_cuts_are_refused(experiment, tmp_path):
    shutil.copytree(experiment.cuts, tmp_path / "cuts")
    content = json.loads((tmp_path / "cuts" / "corpus.json").read_text())
    (tmp_path / "cuts" / "corpus.json").write_text(json.dumps(content | {"cuts": "other"}))
    with pytest.raises(UserError, match="was made from other cuts than"):
        fit_again(experiment, tmp_path, cuts=tmp_path / "cuts")


def fit_again(experiment, tmp_path, **words):
    settings = {
        "cuts": experiment.cuts,
        "embeddings": experiment.embeddings,
        "tasks": TASKS,
        "bootstrap.replicates": 20,
        "output": tmp_path / "fitted",
    } | words
    return stage(fit, fit.fit, *(f"--{k}={v}" for k, v in settings.items()))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("[{name: a, label: knd}]", "no cut has a label 'knd'; did you mean 'kind'"),
        ("[{name: a, label: kind}, {name: a, label: kind}]", "the name 'a' is there twice"),
        ("[{name: a, label: kind, where: {kind: [song]}}]", "1 classes .song.: nothing to tell"),
        ("[{name: a, label: kind, tset: [x]}]", r"unknown setting 'tasks\[0\].tset'"),
        ("[]", "tasks: there are none; name at least one"),
    ],
)
def test_tasks_that_cannot_be_are_refused_before_any_work(experiment, tmp_path, tasks, message):
    with pytest.raises(UserError, match=message):
        fit_again(experiment, tmp_path, tasks=tasks)
    assert not (tmp_path / "fitted" / "rows").exists()


def test_a_map_is_colored_by_labels_that_there_are(experiment, tmp_path):
    with pytest.raises(UserError, match="no cut has a label 'knd'; did you mean 'kind"):
        fit_again(experiment, tmp_path, **{"map.labels": "[knd]"})


def with_embeddings(experiment, tmp_path, change):
    """Embeddings of which one file is changed."""
    shutil.copytree(experiment.embeddings, tmp_path / "embeddings")
    path = tmp_path / "embeddings" / embed.shard_file("source", 0)
    tensors = read_weights(path)
    change(path, tensors)
    return tmp_path / "embeddings"


def test_embeddings_that_are_no_numbers_or_cut_off_are_refused_by_name(experiment, tmp_path):
    def spoil(path, tensors):
        tensors["clip"][3, 1] = float("nan")
        write_weights(path, tensors)

    bad = with_embeddings(experiment, tmp_path / "nan", spoil)
    with pytest.raises(UserError, match=r"source.000000.safetensors: NaN or infinite .* in clip"):
        fit_again(experiment, tmp_path / "nan", embeddings=bad)
    half = with_embeddings(
        experiment, tmp_path / "cut", lambda path, _: path.write_bytes(path.read_bytes()[:3000])
    )
    with pytest.raises(UserError, match=r"source.000000.safetensors: damaged"):
        fit_again(experiment, tmp_path / "cut", embeddings=half)


def test_what_is_cut_off_in_the_cache_is_made_again(experiment, tmp_path):
    shutil.copytree(experiment.cache, tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:2000])
    again(experiment, tmp_path / "embeddings", **{"resources.cache": tmp_path / "cache"})
    name = embed.shard_file("source", 0)
    first, second = (
        read_weights(f / name) for f in (experiment.embeddings, tmp_path / "embeddings")
    )
    np.testing.assert_array_equal(first["clip"], second["clip"])


def test_a_stage_that_is_no_fit_is_refused_as_one(experiment, tmp_path):
    with pytest.raises(UserError, match=r"not the output of a finished .* \(it is that of"):
        stage(
            report, report.report, "--fitted", f"{experiment.embeddings}",
            "--output", f"{tmp_path / 'report'}",
        )  # fmt: skip


def test_a_fit_goes_on_where_it_was(experiment, tmp_path):
    shutil.copytree(experiment.fitted, tmp_path / "fitted")
    record = json.loads((tmp_path / "fitted" / "stage.json").read_text())
    (tmp_path / "fitted" / "stage.json").write_text(json.dumps(record | {"finished": None}))
    (tmp_path / "fitted" / "scores.json").unlink()
    (tmp_path / "fitted" / "rows" / "source.json").unlink()
    fit_again(experiment, tmp_path, **{"bootstrap.replicates": 50})
    assert json.loads((tmp_path / "fitted" / "scores.json").read_text()) == scores(experiment)


def test_rows_of_an_earlier_version_are_read_and_damaged_ones_are_named(tmp_path):
    config, path = SimpleNamespace(output=tmp_path), tmp_path / "rows" / "cola.json"
    path.parent.mkdir()
    entry = {
        "task": "kind",
        "encoder": "cola",
        "probe": "linear",
        "scores": {"accuracy": {"score": 1}},
    }
    path.write_text(json.dumps([entry | {"validation": {"clip": math.nan}}]))
    ((task, row),) = fit._rows(config, "cola", "encoder")
    assert (task, row.role, row.validation) == ("kind", "encoder", {"clip": None})
    for damaged in ([3], 3, [{}], [entry | {"scores": 3}]):
        path.write_text(json.dumps(damaged))
        with pytest.raises(UserError, match=r"cola\.json: damaged"):
            fit._rows(config, "cola", "encoder")


def test_names_of_encoders_are_file_names_and_not_those_of_baselines(tmp_path):
    with pytest.raises(UserError, match="use letters, digits"):
        with_baselines({"a/b": "log-mel:"}, (0,))
    with pytest.raises(UserError, match="'random' is that of a baseline"):
        with_baselines({"random": f"hf:{tmp_path}"}, (0,))


def test_one_random_twin_for_each_architecture(experiment):
    names = ("cola_0", "cola_1", "source_0")
    rows = with_baselines({name: str(experiment.folder / name) for name in names}, (0, 1))
    assert [row.name for row in rows if row.role == "random"] == ["random#0", "random#1"]
    foreign = with_baselines({"one": str(experiment.cola_0), "two": "hf:somewhere"}, (0,))
    assert [row.source for row in foreign if row.role == "random"] == [
        f"random:{experiment.cola_0}#0", "shuffled:hf:somewhere#0",
    ]  # fmt: skip


def test_twins_of_a_layer_and_of_an_ensemble_are_shuffled_as_a_whole(experiment):
    sources = {"layer": f"{experiment.cola_0}#2", "both": "aisfx:+log_mel:40"}
    twins = [row.source for row in with_baselines(sources, (0,)) if row.role == "random"]
    assert twins == [f"shuffled:{source}#0" for source in sources.values()]
    assert folders_of({"a": sources["layer"], "b": "ge2e:"}) == {"encoders.a": experiment.cola_0}


def test_a_page_of_probes_that_are_not_done_is_refused(experiment, tmp_path):
    with pytest.raises(UserError, match=r"input .* does not exist"):
        stage(
            report, report.report, "--fitted", f"{tmp_path / 'none'}",
            "--output", f"{tmp_path / 'report'}",
        )  # fmt: skip


def test_labels_may_come_after_prepare(experiment, tmp_path):
    ids = [f"sounds/{index:02d}" for index in range(24)]
    rows = [f"{name}.wav,{('odd', 'even')[index % 2]}" for index, name in enumerate(ids)]
    (tmp_path / "later.csv").write_text("\n".join(["path,parity", *rows]) + "\n")
    words = (
        "--cuts", f"{experiment.cuts}", "--embeddings", f"{experiment.embeddings}",
        "--labels", f"[{tmp_path / 'later.csv'}]", "--bootstrap.replicates", "10",
        "--probes", "[{kind: xares_knn}]",
    )  # fmt: skip
    task = "[{name: parity, label: parity}]"
    stage(fit, fit.fit, *words, "--tasks", task, "--output", f"{tmp_path / 'fit'}")
    (found,) = json.loads((tmp_path / "fit" / "scores.json").read_text())["tasks"]
    assert found["classes"] == ["even", "odd"]
    (tmp_path / "later.csv").write_text("path,parity\nsounds/99.wav,odd\n")
    with pytest.raises(UserError, match="neither the path nor the id of a cut"):
        stage(fit, fit.fit, *words, "--tasks", task, "--output", f"{tmp_path / 'other'}")
