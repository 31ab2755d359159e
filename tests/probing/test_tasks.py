import numpy as np
import pytest

from audiossl.errors import UserError
from audiossl.probing.tasks import TaskConfig, build_task
from tests.probing.made import labels, task


def tagged(*rows):
    """Cuts with (tags, split)."""
    return [
        {"id": f"cut{index}", "split": split, "recording": f"r{index}"}
        | ({"tags": tags} if tags is not None else {})
        for index, (tags, split) in enumerate(rows)
    ]


TAGS = TaskConfig(name="tags", label="tags", kind="multi", metric="pr_auc")


def test_items_are_what_their_labels_say():
    found = task(24)
    assert found.classes == ("animal0", "animal1", "animal2")
    assert (found.targets.argmax(axis=1) == np.arange(24) % 3).all()
    assert [len(found.rows(split)) for split in ("train", "valid", "test")] == [12, 6, 6]


def test_splits_share_no_item():
    found = task(60)
    rows = [set(found.rows(split)) for split in ("train", "valid", "test")]
    assert len(set().union(*rows)) == sum(map(len, rows)) == len(found.ids)


def test_a_group_in_two_splits_is_refused():
    leaking = labels(24)
    leaking[0]["recording"] = leaking[23]["recording"]
    with pytest.raises(UserError, match=r"1 of 23 groups \(recording\) are in two splits.*rec"):
        build_task(TaskConfig(name="animals", label="animal"), leaking)


def test_where_merge_and_drop_choose_items():
    found = task(24, classes=4, merge={"animal3": "animal0"}, drop=("animal1",))
    assert found.classes == ("animal0", "animal2")
    assert found.targets.sum(axis=0).tolist() == [12, 6]
    only = build_task(
        TaskConfig(name="few", label="animal", where={"animal": ["animal0", "animal1"]}), labels(24)
    )
    assert only.classes == ("animal0", "animal1")


def test_tags_that_cannot_be_scored_are_left_out_and_named():
    found = build_task(
        TAGS,
        tagged(
            ("a|b|all", "train"), ("c|all", "train"), ("a|all", "valid"), ("b|all", "valid"),
            ("a|all", "test"), ("b|c|all", "test"),
        ),
    )  # fmt: skip
    assert found.classes == ("a", "b")
    assert found.left_out == ("all", "c")


def test_clips_without_tags_count_only_if_asked_for():
    rows = tagged(
        ("a", "train"), ("b", "train"), (None, "train"), ("a", "valid"), ("b", "valid"),
        ("a", "test"), ("b", "test"),
    )  # fmt: skip
    assert len(build_task(TAGS, rows).ids) == 6
    negative = TaskConfig(
        name="tags", label="tags", kind="multi", metric="pr_auc", unlabeled="negative"
    )
    assert len(build_task(negative, rows).ids) == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "anmal"}, "no cut has a label 'anmal'; did you mean 'animal'"),
        ({"valid": ("validation",)}, r"no items to valid \(split=validation\)"),
        ({"group": "song"}, "cut cut0 has no label 'song' to group by"),
        ({"drop": ("animal1", "animal2")}, r"1 classes \(animal0\): nothing to tell apart"),
        ({"train": ("valid",), "valid": ("train",), "where": {"id": ["cut0", "cut6", "cut10"]}},
         "nothing to learn animal1 from"),
    ],
)  # fmt: skip
def test_bad_tasks_are_refused_in_a_line(settings, message):
    with pytest.raises(UserError, match=message):
        build_task(TaskConfig(**{"name": "animals", "label": "animal"} | settings), labels(24))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a b"},
        {"kind": "multi", "metric": "accuracy"},
        {"kind": "multi", "metric": "pr_auc", "stratify": True},
        {"unlabeled": "negative"},
    ],
)
def test_values_that_make_no_sense_are_refused(settings):
    with pytest.raises(UserError, match="task "):
        TaskConfig(**{"name": "animals", "label": "animal"} | settings)
