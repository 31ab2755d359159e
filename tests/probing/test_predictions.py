from dataclasses import replace

import numpy as np
import pytest

from audiossl.errors import UserError
from audiossl.probing.predictions import (
    merge_seeds,
    predictions_of,
    read_predictions,
    write_predictions,
)
from tests.probing.made import predictions, task


def test_predictions_survive_the_disk(tmp_path):
    one = predictions(np.random.default_rng(0).random((2, 10)) < 0.5, encoder="cola#0")
    write_predictions(tmp_path / "one.npz", one)
    other = read_predictions(tmp_path / "one.npz")
    assert (other.task, other.encoder, other.ids) == (one.task, one.encoder, one.ids)
    np.testing.assert_array_equal(other.runs, one.runs)
    np.testing.assert_array_equal(other.groups, one.groups)


def test_half_a_file_is_refused(tmp_path):
    path = tmp_path / "one.npz"
    write_predictions(path, predictions(np.ones(10, bool)))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read as predictions"):
        read_predictions(path)


def test_seeds_of_a_system_become_its_runs():
    right = np.random.default_rng(0).random((3, 40)) < 0.6
    seeds = [predictions(row, encoder=f"cola#{index}") for index, row in enumerate(right)]
    cola, other = merge_seeds([*seeds, predictions(right[0], encoder="random")])
    assert (cola.encoder, len(cola.runs), other.encoder) == ("cola", 3, "random")
    assert cola.score("accuracy") == pytest.approx(right.mean())


def test_seeds_of_other_items_are_refused():
    one = predictions(np.ones(10, bool), encoder="cola#0")
    other = replace(one, encoder="cola#1", ids=tuple(f"x{i}" for i in range(10)))
    with pytest.raises(UserError, match="fit both on the same corpus"):
        merge_seeds([one, other])


def test_only_test_items_are_kept():
    found = task(24)
    kept = predictions_of(found, "one", "linear", np.zeros((1, 6, 3)))
    assert kept.ids == tuple(found.ids[row] for row in found.rows("test"))
