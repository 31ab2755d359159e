import json

import numpy as np
import pytest

from audiossl.data.hear_tasks import hear_items, read_hear_task, task_settings
from audiossl.data.reading import read_item
from audiossl.data.tars import fold_patterns, tar_items
from audiossl.errors import Skip, UserError
from audiossl.probing.tasks import TaskConfig
from tests.data.published import sound, write_hear_task, write_tars

SPLITS = ("train", "valid", "test")


def test_a_task_of_hear_is_read(tmp_path):
    write_hear_task(tmp_path / "toy", splits=SPLITS, each=2)
    task = read_hear_task(tmp_path / "toy")
    items = hear_items(task)
    assert [item.labels["split"] for item in items] == [s for s in SPLITS for _ in range(6)]
    assert {item.labels["label"] for item in items} == {"bell", "dog", "rain"}
    read = read_item(items[0]).waveform
    np.testing.assert_allclose(read, sound("bell", 0), atol=1e-4)
    found = task_settings(task)
    settings = TaskConfig(**found | {"also": tuple(found["also"])})
    assert settings.metric == "accuracy"
    assert settings.also == ("pr_auc", "mean_d_prime", "roc_auc")


def test_folds_of_hear_are_folds_of_the_task(tmp_path):
    folds = ("fold00", "fold01", "fold02")
    write_hear_task(tmp_path / "toy", splits=folds, split_mode="new_split_kfold")
    assert task_settings(read_hear_task(tmp_path / "toy"))["folds"] == list(folds)


def test_timed_labels_are_read_in_seconds(tmp_path):
    write_hear_task(tmp_path / "toy", splits=SPLITS, embedding_type="event", each=1)
    events = [{"label": "bell", "start": 120.0, "end": 500.0}]
    for split in SPLITS:
        table = json.loads((tmp_path / "toy" / f"{split}.json").read_text())
        (tmp_path / "toy" / f"{split}.json").write_text(json.dumps(dict.fromkeys(table, events)))
    assert hear_items(read_hear_task(tmp_path / "toy"))[0].labels["events"] == "0.12-0.5 bell"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda toy: (toy / "valid.json").unlink(), "split 'valid' is missing"),
        (lambda toy: (toy / "task_metadata.json").unlink(), "no task folder of HEAR"),
        (lambda toy: (toy / "16000").rename(toy / "8000"), "no folder of audio at 16000 Hz"),
        (lambda toy: (toy / "train.json").write_text('{"a.wav": 3}'), "a table of labels of HEAR"),
    ],
)
def test_what_is_missing_is_said(tmp_path, spoil, message):
    write_hear_task(tmp_path / "toy", splits=SPLITS, each=1)
    spoil(tmp_path / "toy")
    with pytest.raises(UserError, match=message):
        hear_items(read_hear_task(tmp_path / "toy"))


def test_samples_of_tars_are_read_where_they_lie(tmp_path):
    write_tars(tmp_path, {"train": 2, "test": 1}, each=1)
    items = tar_items(tmp_path, {"train": "train*.tar", "test": "test*.tar"})
    assert [item.labels["split"] for item in items] == ["train"] * 6 + ["test"] * 3
    assert items[1].labels == {"label": "1", "name": "dog", "tags": "dog|any", "split": "train"}
    np.testing.assert_allclose(read_item(items[4]).waveform, sound("dog", 10), atol=1e-4)


def test_folds_of_x_ares_are_found(tmp_path):
    write_tars(tmp_path, {"wds-audio-fold-1": 1, "wds-audio-fold-10": 1, "wds-audio-fold-2": 2})
    assert list(fold_patterns(tmp_path)) == ["fold-1", "fold-2", "fold-10"]
    with pytest.raises(UserError, match="no folds in it"):
        fold_patterns(tmp_path / "nowhere")


def test_a_split_without_tars_and_a_damaged_tar_are_refused(tmp_path):
    write_tars(tmp_path, {"train": 1}, each=1)
    with pytest.raises(UserError, match="split 'valid' is missing"):
        tar_items(tmp_path, {"valid": "valid*.tar"})
    (path,) = tmp_path.glob("*.tar")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match="cannot be read as a tar"):
        tar_items(tmp_path, {"train": "train*.tar"})


def test_a_damaged_sample_is_left_out_by_name(tmp_path):
    write_tars(tmp_path, {"train": 1}, each=1)
    (path,) = tmp_path.glob("*.tar")
    content = bytearray(path.read_bytes())
    content[512:700] = bytes(188)
    path.write_bytes(content)
    (first, *_) = tar_items(tmp_path, {"train": "train*.tar"})
    with pytest.raises(Skip, match="bell_0_0_0"):
        read_item(first)
