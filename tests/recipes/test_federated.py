"""Federated pretraining: the mean of clients, whoever works on them, however often it stops."""

import json
import shutil

import pytest
import torch
from torch.testing import assert_close

from audiossl.errors import UserError
from audiossl.nn.weights import read_weights
from audiossl.pretrained.load import load_encoder
from recipes.federated import pretrain
from recipes.federated.pretrain import federated_mean
from tests.contracts import ENCODERS
from tests.experiment import stage

WORDS = [
    "--encoder", ENCODERS["patch_transformer"], "--method.projection_dim", "8",
    "--views.crop_samples", "8000", "--batch_size", "4", "--clients.label", "kind", "--rounds",
    "3", "--loop.steps", "2", "--loop.optimizer.rate", "0.01", "--resources.device", "cpu",
    "--contrast", "{weight: 2.0}",
]  # fmt: skip


def federate(experiment, output, *words):
    options = [*WORDS, "--cuts", str(experiment.cuts), "--output", str(output), *words]
    return stage(pretrain, pretrain.federate, *options)


@pytest.fixture(scope="module")
def trained(experiment, tmp_path_factory):
    output = tmp_path_factory.mktemp("federated") / "moon"
    federate(experiment, output)
    return output


def weights_of(output, rounds=3):
    paths = [p for n in range(rounds) for p in sorted((output / f"rounds/{n:04d}").iterdir())]
    return {str(path.relative_to(output)): read_weights(path) for path in paths}


def assert_same(one, other, rounds=3):
    found = weights_of(one, rounds), weights_of(other, rounds)
    assert found[0].keys() == found[1].keys()
    for name, weights in found[0].items():
        for key, value in weights.items():
            assert torch.equal(value, found[1][name][key]), (name, key)


def test_the_global_network_is_the_mean_of_clients_weighted_by_their_cuts(experiment, trained):
    receipts = [json.loads(p.read_text()) for p in sorted((trained / "receipts").iterdir())]
    counts = [receipt["num_items"] for receipt in receipts[:3]]
    assert counts == [12, 8, 12]
    states = [read_weights(trained / f"rounds/0002/000{number}.safetensors") for number in range(3)]
    mean = read_weights(trained / "rounds/0002/global.safetensors")
    for name, value in mean.items():
        expected = sum(c * s[name] for c, s in zip(counts, states, strict=True)) / 32
        assert_close(value, expected, rtol=1e-5, atol=1e-7)
    encoder = load_encoder(str(trained))
    assert_close(encoder.norm.weight, mean["encoder.norm.weight"])
    assert not list((trained / "clients").iterdir())


def test_any_number_of_workers_has_the_same_result(experiment, trained, tmp_path):
    federate(experiment, tmp_path / "two", "--resources.workers", "2", "--rounds", "2")
    assert_same(trained, tmp_path / "two", rounds=2)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(experiment, trained, tmp_path):
    output = tmp_path / "stopped"
    shutil.copytree(trained, output)
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").write_text(json.dumps({**record, "finished": None, "results": None}))
    shutil.rmtree(output / "rounds/0002")
    (output / "rounds/0001/0001.safetensors").unlink()
    (output / "encoder.safetensors").unlink()
    federate(experiment, output)
    assert_same(trained, output)


def test_the_term_changes_what_clients_become_after_the_first_round(experiment, trained, tmp_path):
    federate(experiment, tmp_path / "plain", "--rounds", "2", "--contrast", "null")
    plain, held = weights_of(tmp_path / "plain", 2), weights_of(trained)
    name = "encoder.norm.weight"
    first, second = "rounds/0000/0000.safetensors", "rounds/0001/0000.safetensors"
    assert torch.equal(plain[first][name], held[first][name])
    assert not torch.equal(plain[second][name], held[second][name])


def test_counters_are_no_means():
    states = [
        {"count": torch.tensor(3), "w": torch.ones(1)},
        {"count": torch.tensor(9), "w": torch.zeros(1)},
    ]
    mean = federated_mean(states, [1, 1])
    assert (mean["count"].item(), mean["w"].item()) == (3, 0.5)


def test_a_client_of_one_recording_is_named(experiment, tmp_path):
    with pytest.raises(UserError, match=r"client '.*' has 1 recordings"):
        federate(experiment, tmp_path / "one", "--clients.label", "recording")
