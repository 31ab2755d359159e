import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from audiossl.errors import UserError
from audiossl.nn.weights import load_exactly, read_weights, write_weights


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_weights_come_back_bit_equal(tmp_path):
    module = nn.Linear(3, 2)
    write_weights(tmp_path / "w.safetensors", module.state_dict())
    torch.save({"model": module.state_dict()}, tmp_path / "w.pt")
    state = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(state["weight"], module.weight)
    assert torch.equal(read_weights(tmp_path / "w.pt")["model"]["bias"], module.bias)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_weights_are_read_by_whom_the_umask_lets_read(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_weights(tmp_path / "w.safetensors", {"a": torch.zeros(2)})
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("write", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write({"model": _Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(UserError, match=r"bomb\.pt: refused.*convert it to safetensors"):
        read_weights(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


def test_damaged_and_missing_files_are_named(tmp_path):
    for name in ("half.safetensors", "half.pt"):
        write_weights(tmp_path / "whole.safetensors", {"a": torch.zeros(100)})
        torch.save({"a": torch.zeros(100)}, tmp_path / "whole.pt")
        whole = (tmp_path / name.replace("half", "whole")).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=f"{name}: damaged"):
            read_weights(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        read_weights(tmp_path / "none.pt")


def test_what_does_not_fit_is_named_all_at_once():
    module = nn.Linear(3, 2)
    state = {"weights": torch.zeros(2, 3), "bias": torch.zeros(3)}
    with pytest.raises(UserError) as caught:
        load_exactly(module, state, "x.pt")
    message = str(caught.value)
    assert "x.pt" in message
    assert "1 of 2 tensors missing (weight)" in message
    assert "weights; did you mean 'weight'?" in message
    assert "bias is (3,), expected (2,)" in message


def test_half_precision_is_converted_and_nan_is_refused():
    module = nn.Linear(3, 2)
    load_exactly(module, {k: v.half() for k, v in nn.Linear(3, 2).state_dict().items()}, "x")
    assert module.weight.dtype == torch.float32
    with pytest.raises(UserError, match=r"NaN or infinite \(bias\)"):
        load_exactly(module, {**module.state_dict(), "bias": torch.full((2,), torch.nan)}, "x")


def test_the_same_weights_are_the_same_bytes_whatever_the_order_of_metadata(tmp_path):
    state = {"b": torch.arange(3), "a": torch.ones(2, 2)}
    metadata = {name: f'"{name}"\n\u00e9' for name in "qwertyuiopasdfg"}
    files = set()
    for index in range(8):
        path = tmp_path / f"{index}.safetensors"
        write_weights(path, state, dict(reversed(metadata.items())) if index % 2 else metadata)
        files.add(path.read_bytes())
    assert len(files) == 1
    with safe_open(path, "pt") as file:
        assert file.metadata() == metadata
        assert torch.equal(file.get_tensor("b"), state["b"])


_FULL = """
import resource, torch, sys
from pathlib import Path
from audiossl.errors import UserError
from audiossl.nn.weights import write_state, write_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
folder = Path(sys.argv[1])
state = {"a": torch.zeros(1 << 16), "b": torch.zeros(3)}
for write, name in ((write_state, "x.pt"), (write_weights, "x.safetensors")):
    try:
        write(folder / name, state)
    except UserError as error:
        print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("cannot be written (File too large): free some space" in line for line in lines)
    assert not list(tmp_path.iterdir())
    assert done.stderr == ""
