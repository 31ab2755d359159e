import os

import multi_quantization
import pytest
import torch
from safetensors.torch import load_file, save_file

from audiossl.errors import UserError
from audiossl.quantization.storage import build_quantizer, load_quantizer, write_quantizer
from tests.quantization.quantizers import frames, one_of_each


@pytest.mark.parametrize("quantizer", one_of_each(), ids=lambda quantizer: quantizer.kind)
def test_comes_back_as_it_was(quantizer, tmp_path):
    write_quantizer(tmp_path / "quantizer.safetensors", quantizer)
    again = load_quantizer(tmp_path / "quantizer.safetensors")
    assert type(again) is type(quantizer)
    assert again.id == quantizer.id
    assert not again.training
    assert torch.equal(again.encode(frames(20)), quantizer.encode(frames(20)))


def test_reads_a_state_dict_of_the_library(tmp_path):
    library = multi_quantization.Quantizer(12, 256, 4)
    torch.save(library.state_dict(), tmp_path / "library.pt")
    ours = load_quantizer(tmp_path / "library.pt")
    with torch.no_grad():
        assert torch.equal(ours.encode(frames(9)), library.encode(frames(9), 5))
    save_file(library.state_dict(), tmp_path / "library.safetensors")
    assert load_quantizer(tmp_path / "library.safetensors").id == ours.id


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "quantizer.safetensors"
    write_quantizer(path, one_of_each()[1])
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 0x40
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"holds quantizer .*, but says it is .*damaged"):
        load_quantizer(path)
    path.write_bytes(damaged[:-7])
    with pytest.raises(UserError, match="damaged or not safetensors"):
        load_quantizer(path)


class _Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_file_that_runs_code_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"centers": _Runs()}, "evil.pt")
    with pytest.raises(UserError, match=r"evil.pt: refused, because reading it would run code"):
        load_quantizer(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_quantizer(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="unknown kind of quantizer 'kmean'; did you mean 'kmeans'"):
        build_quantizer("kmean", {})
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="tensor 'centers' of three axes; found weight"):
        load_quantizer(tmp_path / "other.safetensors")
    write_quantizer(tmp_path / "a.safetensors", one_of_each()[0])
    assert set(load_file(tmp_path / "a.safetensors")) == set(one_of_each()[0].state_dict())
