import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from demucs.pretrained import get_model
from safetensors.torch import save_file

from audiossl.errors import UserError
from audiossl.nn.digests import digest_of_tensors
from audiossl.separation.demucs_weights import load_bag, write_network
from tests.separation.networks import SOURCES, package, small_htdemucs


@pytest.fixture(scope="module")
def network():
    return small_htdemucs()


@pytest.fixture
def folder(tmp_path, network):
    """A network as demucs writes it, with its checksum, and a yaml that names it."""
    write_pickle(tmp_path, "955717e8", package(network))
    (tmp_path / "small.yaml").write_text("models: ['955717e8']\n")
    return tmp_path


def write_pickle(folder, signature, content):
    path = folder / f"{signature}.th"
    torch.save(content, path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"{signature}-{checksum}.th")


def digest(bag):
    return digest_of_tensors(bag.state_dict())


def test_pickle_and_safetensors_hold_the_same_network(tmp_path, folder, network):
    write_network(tmp_path / "safe" / "955717e8.safetensors", network)
    bags = [load_bag(folder, "small"), load_bag(tmp_path / "safe", "955717e8")]
    assert digest(bags[0]) == digest(bags[1])
    assert all(bag.sources == SOURCES and bag.models[0].segment == 1.5 for bag in bags)
    assert not any(bag.training for bag in bags)


def test_the_same_files_load_as_in_demucs_itself(folder):
    theirs = get_model("small", repo=folder)
    assert digest(load_bag(folder, "small")) == digest(theirs)
    assert load_bag(str(folder), "955717e8").weights == theirs.weights


def test_what_is_written_here_is_read_by_demucs(tmp_path, network):
    from demucs.hf import load_safetensors_model

    write_network(tmp_path / "955717e8.safetensors", network)
    theirs = load_safetensors_model(tmp_path / "955717e8.safetensors")
    assert digest_of_tensors(theirs.state_dict()) == digest_of_tensors(network.state_dict())


def test_half_precision_weights_become_single(tmp_path, network):
    content = package(network)
    content["state"] = {name: value.half() for name, value in content["state"].items()}
    write_pickle(tmp_path, "955717e8", content)
    weight = next(load_bag(tmp_path, "955717e8").parameters())
    assert weight.dtype == torch.float32


def test_the_yaml_that_demucs_ships_need_not_be_copied(tmp_path, network):
    signatures = ("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d")
    for signature in signatures:
        write_network(tmp_path / f"{signature}.safetensors", network)
    bag = load_bag(tmp_path, "htdemucs_ft")
    assert len(bag.models) == 4
    assert bag.weights == np.eye(4).tolist()


def test_safetensors_are_preferred(folder, network):
    write_network(folder / "955717e8.safetensors", network)
    next(folder.glob("*.th")).write_bytes(b"damaged")
    assert load_bag(folder, "small").models


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_code_in_a_pickle_is_run_only_if_trusted(tmp_path, network, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pickle(tmp_path, "955717e8", package(network) | {"training_args": _Bomb()})
    with pytest.raises(UserError, match=r"refused.*trust_pickle"):
        load_bag(tmp_path, "955717e8")
    assert not Path("exploded").exists()
    assert load_bag(tmp_path, "955717e8", trust_pickle=True).models
    assert Path("exploded").exists()


def test_numpy_numbers_in_a_pickle_are_no_reason_to_refuse_it(tmp_path, network):
    content = package(network) | {"training_args": {"lr": np.float64(3e-4)}}
    write_pickle(tmp_path, "955717e8", content)
    assert load_bag(tmp_path, "955717e8").models


@pytest.mark.parametrize("kind", ["subprocess.Popen", "torch.nn.modules.linear.Linear"])
def test_safetensors_name_a_demucs_network_or_are_refused(tmp_path, kind):
    # demucs' own reader imports and calls whatever the file names.
    metadata = {"klass": kind, "args": json.dumps([["touch", "exploded"]]), "kwargs": "{}"}
    save_file({"weight": torch.zeros(1)}, tmp_path / "955717e8.safetensors", metadata=metadata)
    with pytest.raises(UserError, match=f"wants to be a {kind}"):
        load_bag(tmp_path, "955717e8")


def test_a_pickle_of_another_network_is_refused(tmp_path):
    content = {"klass": torch.nn.Linear, "args": (1, 1), "kwargs": {}, "state": {}}
    write_pickle(tmp_path, "955717e8", content)
    with pytest.raises(UserError, match=r"refused|wants to be a"):
        load_bag(tmp_path, "955717e8")
    with pytest.raises(UserError, match=r"wants to be a torch\.nn"):
        load_bag(tmp_path, "955717e8", trust_pickle=True)
    next(tmp_path.iterdir()).rename(tmp_path / "955717e8.th").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged, or of another version"):
        load_bag(tmp_path, "955717e8", trust_pickle=True)


def remove_weights(folder):
    next(folder.glob("*.th")).unlink()


def remove_yaml(folder):
    (folder / "small.yaml").unlink()


def truncate(folder):
    path = next(folder.glob("*.th"))
    path.write_bytes(path.read_bytes()[:-9])


def truncate_without_checksum(folder):
    truncate(folder)
    path = next(folder.glob("*.th"))
    path.rename(folder / "955717e8.th")


def duplicate(folder):
    path = next(folder.glob("*.th"))
    (folder / "955717e8.th").write_bytes(path.read_bytes())


def empty_yaml(folder):
    (folder / "small.yaml").write_text("")


def other_weights(folder):
    remove_weights(folder)
    content = package(small_htdemucs(dconv_comp=4))
    content["kwargs"] = package(small_htdemucs())["kwargs"]
    write_pickle(folder, "955717e8", content)


def quantized(folder):
    remove_weights(folder)
    content = package(small_htdemucs())
    content["state"] = {"__quantized": True}
    write_pickle(folder, "955717e8", content)


def bare_safetensors(folder):
    save_file({"weight": torch.zeros(1)}, folder / "955717e8.safetensors")


def damaged_safetensors(folder):
    (folder / "955717e8.safetensors").write_bytes(b"x" * 20)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_weights, r"no weights 955717e8 for small: put 955717e8\.safetensors.*small\.yaml"),
        (remove_yaml, r"no small\.yaml, and no weights.*the folder holds 955717e8-"),
        (truncate, r"damaged or incomplete, its checksum is"),
        (truncate_without_checksum, r"955717e8\.th: damaged"),
        (duplicate, r"are both 955717e8: keep one"),
        (empty_yaml, r"small\.yaml: no list of `models`"),
        (other_weights, r"weights that do not fit their network"),
        (quantized, r"quantized weights.*without the _q"),
        (bare_safetensors, r"does not say which Demucs network.*write_network"),
        (damaged_safetensors, r"damaged or not safetensors"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_bag(folder, "small")
    assert "\n" not in str(caught.value)


def test_a_missing_folder_does_not_end_the_process(tmp_path):
    with pytest.raises(UserError, match="no such folder of demucs weights"):
        load_bag(tmp_path / "nowhere", "htdemucs")


def test_a_mistyped_name_gets_a_suggestion(folder):
    with pytest.raises(UserError, match="did you mean 'small'"):
        load_bag(folder, "smalll")
    with pytest.raises(UserError, match="did you mean 'htdemucs'"):
        load_bag(folder, "htdemuc")
