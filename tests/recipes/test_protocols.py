"""Published folders through prepare, embed and fit, under every protocol."""

import json

import numpy as np
import pytest
import soundfile

from recipes.prepare import hear, tars
from recipes.probe import embed, fit
from tests.data.published import sound, write_hear_task, write_tars
from tests.experiment import stage

PROBES = (
    "[{kind: hear, epochs: 6, hidden: 16}, {kind: hear, variant: clean, epochs: 6, hidden: 16},"
    " {kind: xares_linear}, {kind: xares_linear, variant: clean}, {kind: xares_knn},"
    " {kind: xares_knn, variant: clean},"
    " {kind: few_shot, shots: 2, draws: 3}, {kind: evar, epochs: 5}, {kind: marble, epochs: 3}]"
)
NAMES = {
    "hear-official", "hear-clean", "xares_linear-official", "xares_linear-clean",
    "xares_knn-official", "xares_knn-clean",
    "few_shot", "evar", "marble-official",
}  # fmt: skip


def fitted(cuts, folder, *words, probes=PROBES):
    stage(
        embed, embed.embed, "--cuts", f"{cuts}", "--encoders", "{mel: 'log_mel_statistics:'}",
        "--random_of", "[]", "--output", f"{folder / 'embeddings'}",
    )  # fmt: skip
    stage(
        fit, fit.fit, "--cuts", f"{cuts}", "--embeddings", f"{folder / 'embeddings'}", *words,
        "--probes", probes, "--bootstrap.replicates", "20", "--output", f"{folder / 'fit'}",
    )  # fmt: skip
    (task,) = json.loads((folder / "fit" / "scores.json").read_text())["tasks"]
    return task


def test_folds_of_hear_under_every_protocol(tmp_path):
    folds = ("fold00", "fold01", "fold02")
    write_hear_task(tmp_path / "toy", splits=folds, split_mode="new_split_kfold", each=3)
    cuts = tmp_path / "cuts"
    stage(hear, hear.prepare, "--folder", f"{tmp_path / 'toy'}", "--output", f"{cuts}")
    task = fitted(cuts, tmp_path, "--config", f"{cuts / 'tasks.yaml'}")
    rows = {row["probe"]: row for row in task["rows"] if row["encoder"] == "mel"}
    assert set(rows) == NAMES
    assert task["items"] == {"train": 27, "valid": 27, "test": 27}
    for row in rows.values():
        assert len(row["folds"]) == 3
        mean = sum(row["folds"]) / 3
        assert row["scores"]["accuracy"]["score"] == pytest.approx(mean)
        assert {"pr_auc", "roc_auc", "mean_d_prime"} < set(row["scores"])
    assert rows["xares_knn-clean"]["scores"]["accuracy"]["score"] > 0.9


def test_tars_without_validation_items(tmp_path):
    write_tars(tmp_path / "tars", {"train": 2, "test": 1}, each=5)
    stage(
        tars, tars.prepare, "--folder", f"{tmp_path / 'tars'}", "--output", f"{tmp_path / 'cuts'}",
        "--splits", "{train: 'train*.tar', test: 'test*.tar'}",
    )  # fmt: skip
    tasks = "[{name: toy, label: name, valid: [], group: id}]"
    probes = "[{kind: xares_linear, epochs: 3}, {kind: xares_linear, variant: clean, epochs: 3}]"
    task = fitted(tmp_path / "cuts", tmp_path, "--tasks", tasks, probes=probes)
    assert task["items"] == {"train": 27, "valid": 3, "test": 15}
    official = next(r for r in task["rows"] if r["probe"] == "xares_linear-official")
    # The best epoch on the test items is the one that is reported: that is the protocol.
    assert official["validation"]["clip"] == official["scores"]["accuracy"]["score"]


def test_events_of_hear_are_found_in_frames(tmp_path):
    toy = tmp_path / "toy"
    splits = ("train", "valid", "test")
    write_hear_task(
        toy, splits=splits, embedding_type="event", prediction_type="multilabel", each=1,
        evaluation=["event_onset_200ms_fms", "segment_1s_er"],
        evaluation_params={"event_postprocessing_grid": {"median_filter_ms": [100]}},
    )  # fmt: skip
    for place, split in enumerate(splits):
        events = {}
        for number in range(4):
            pieces, known = [], []
            for index, kind in enumerate(("bell", "rain")):
                begin = 700.0 * index + 50 * number
                known.append({"label": kind, "start": begin, "end": begin + 600})
                quiet = np.zeros(int((begin / 1000 - sum(map(len, pieces)) / 16000) * 16000))
                pieces += [quiet.astype(np.float32), sound(kind, 10 * place + number)]
            name = f"mix{number}.wav"
            soundfile.write(toy / "16000" / split / name, np.concatenate(pieces), 16000)
            events[name] = known
        (toy / f"{split}.json").write_text(json.dumps(events))
    cuts = tmp_path / "cuts"
    stage(hear, hear.prepare, "--folder", f"{toy}", "--output", f"{cuts}")
    stage(
        embed, embed.embed, "--cuts", f"{cuts}", "--random_of", "[]", "--embedding.frames", "true",
        "--embedding.layers", "[output]", "--embedding.storage", "float16",
        "--encoders", "{toy: 'python:tests.probing.protocols.toy_encoder:Toy'}",
        "--output", f"{tmp_path / 'embeddings'}",
    )  # fmt: skip
    stage(
        fit, fit.fit, "--cuts", f"{cuts}", "--embeddings", f"{tmp_path / 'embeddings'}",
        "--config", f"{cuts / 'tasks.yaml'}", "--bootstrap.replicates", "20",
        "--probes", "[{kind: hear, epochs: 60, hidden: 32, batch_size: 64}, {kind: linear}]",
        "--output", f"{tmp_path / 'fit'}",
    )  # fmt: skip
    (task,) = json.loads((tmp_path / "fit" / "scores.json").read_text())["tasks"]
    rows = {row["probe"]: row for row in task["rows"] if row["encoder"] == "toy"}
    for row in rows.values():
        figure = row["scores"]["event_onset_200ms"]
        assert figure["low"] <= figure["score"] <= figure["high"]
        assert figure["score"] > 0.8
        assert row["scores"]["neg_segment_error"]["score"] > -0.5
        assert row["choice"]["median_ms"] == 100
    nothing = next(row for row in task["rows"] if row["encoder"] == "majority")
    assert nothing["scores"]["event_onset_200ms"]["score"] == 0.0
