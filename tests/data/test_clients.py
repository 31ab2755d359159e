import numpy as np
import pytest

from audiossl.data.clients import ByLabelConfig, DirichletConfig, deal
from audiossl.errors import UserError


def labels(count=60):
    return [
        {"id": str(i), "recording": str(i), "speaker": "abc"[i % 3], "kind": "xy"[i % 2]}
        for i in range(count)
    ]


def test_every_value_of_a_label_is_a_client():
    clients = deal(ByLabelConfig(), labels(9), np.arange(1, 9), seed=0)
    assert {name: cuts.tolist() for name, cuts in clients.items()} == {
        "a": [3, 6], "b": [1, 4, 7], "c": [2, 5, 8],
    }  # fmt: skip


@pytest.mark.parametrize("concentration", [1.0, 1000.0])
def test_dealt_cuts_are_each_of_one_client(concentration):
    config = DirichletConfig(label="kind", count=3, concentration=concentration)
    clients = deal(config, labels(), np.arange(60), seed=1)
    assert sorted(np.concatenate(list(clients.values())).tolist()) == list(range(60))
    again = deal(config, labels(), np.arange(60), seed=1)
    assert all(np.array_equal(again[name], cuts) for name, cuts in clients.items())


def test_a_low_concentration_parts_classes_and_a_high_one_does_not():
    def imbalance(concentration):
        config = DirichletConfig(label="kind", count=4, concentration=concentration)
        clients = deal(config, labels(400), np.arange(400), seed=3)
        shares = [np.mean([cut % 2 for cut in cuts]) for cuts in clients.values()]
        return np.abs(np.array(shares) - 0.5).max()

    assert imbalance(0.5) > 0.2
    assert imbalance(1e6) < 0.05


@pytest.mark.parametrize(
    ("config", "rows", "message"),
    [
        (ByLabelConfig(label="speakr"), labels(), "has a label 'speakr'"),
        (ByLabelConfig(), labels(4), "client 'b' has 1 recordings, and contrast needs two"),
        (DirichletConfig(label="kind", count=1), labels(), "there is only 'client-0'"),
        (DirichletConfig(label="kind", count=30, concentration=0.1), labels(), "has . recordings"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(config, rows, message):
    with pytest.raises(UserError, match=message):
        deal(config, rows, np.arange(len(rows)), seed=0)
